"""Where a result comes from: the commit, the code that ran, the device and the versions."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("numpy", "torch", "transformers", "pandas", "scipy", "scikit-learn", "statsmodels")


def environment(device: str, module_file: str) -> dict:
    """Commit, whether the package differs from it, hash of the code, device, Python, system and versions.

    `dirty` looks at isonum_core alone: the run itself changes the tables. `code` is the sha256 over the Python files of
    the package and the study's own file; it names the code where a tree travels without its history. There the
    environment variable ISONUM_COMMIT may name the commit; else commit and dirty are null.
    """
    commit, dirty = _commit()
    return {
        "commit": commit,
        "dirty": dirty,
        "code": code_hash(module_file),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: metadata.version(name) for name in LIBRARIES},
    }


def code_hash(module_file: str | Path) -> str:
    """Sha256 over the names and bytes of the package's Python files and of one more file."""
    digest = hashlib.sha256()
    for path in (*sorted((ROOT / "isonum_core").rglob("*.py")), Path(module_file)):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _commit() -> tuple[str | None, bool | None]:
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() == ROOT:
            return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", "isonum_core"))
    except (OSError, subprocess.CalledProcessError):
        pass
    return os.environ.get("ISONUM_COMMIT"), None
