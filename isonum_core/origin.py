"""What stands behind a number: the commit of the checkout and the versions of what computed it."""

from __future__ import annotations

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


def software(*libraries: str) -> dict:
    """Python, system, and the versions of the libraries that every number rests on and of those named."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: metadata.version(name) for name in (*LIBRARIES, *libraries)},
    }
