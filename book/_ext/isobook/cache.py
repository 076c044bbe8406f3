"""Execute a chapter again when the code or the tables it reads have changed.

Jupyter Book's cache looks at the chapter alone: after an edit in the core it would go on showing the old numbers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

WATCHED = ("isonum_core/**/*.py", "requirements*.txt", "book/results/**/*")


def fingerprint(root: Path) -> str:
    """One hash over names and contents of everything that a chapter's outputs depend on, besides the chapter."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in WATCHED for path in root.glob(pattern) if path.is_file()):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def key_cache(app, config):
    # Sphinx reads every page again when this value changes: myst_nb registers it as part of the environment.
    config.nb_execution_cache_path = str(Path(app.outdir).parent / ".jupyter_cache" / fingerprint(Path(app.srcdir)))


def setup(app):
    app.connect("config-inited", key_cache)
