"""Execute a chapter again when the code or the tables it reads have changed, and no sooner.

Jupyter Book's cache looks at the chapter alone: after an edit in the core it would go on showing the old numbers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

EXECUTED = ("isonum_core/**/*.py", "isonum_core/**/*.toml", "requirements*.txt", "book/results/**/*")
RENDERED = ("book/_ext/**/*.py", "CITATION.cff")


def fingerprint(root: Path, patterns: tuple[str, ...]) -> str:
    """One hash over the names and contents of all files that match."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in root.glob(pattern) if path.is_file()):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def key_cache(app, config):
    root = Path(app.srcdir)
    # Both values are registered as part of Sphinx's environment: when one changes, every page is read again.
    config.nb_execution_cache_path = str(Path(app.outdir).parent / ".jupyter_cache" / fingerprint(root, EXECUTED))
    config.isobook_version = fingerprint(root, RENDERED)


def setup(app):
    app.add_config_value("isobook_version", "", "env", str)
    app.connect("config-inited", key_cache)
