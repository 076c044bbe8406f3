"""What stands behind a number: the commit of the checkout, the code and the versions of what computed it."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("numpy", "torch", "transformers", "pandas", "scipy", "scikit-learn", "statsmodels")


def checkout(root: Path = ROOT, *paths: str) -> tuple[str | None, bool | None]:
    """Commit of the checkout at `root`, and whether files differ from it (under `paths`, or anywhere).

    None and None where `root` is no checkout of its own: a folder inside somebody else's repository is not ours.
    """

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return None, None
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", *paths))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def code_hash(*files: str | Path) -> str:
    """Sha256 over the names and bytes of the package's Python files and of others, such as a study of one's own."""
    digest = hashlib.sha256()
    for path in (*sorted((ROOT / "isonum_core").rglob("*.py")), *map(Path, files)):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def environment(device: str, *libraries: str, within: tuple[str, ...] = ()) -> dict:
    """What computed a result: commit, whether files differ from it (`within` these paths), device, system, versions.

    `libraries` are named beside those that every number rests on. Where a tree travels without its history the
    environment variable ISONUM_COMMIT may name the commit; else it is "unknown", and `dirty` is null.
    """
    commit, dirty = checkout(ROOT, *within)
    return {
        "commit": commit or os.environ.get("ISONUM_COMMIT", "unknown"),
        "dirty": dirty,
        "device": device,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: metadata.version(name) for name in (*LIBRARIES, *libraries)},
    }
