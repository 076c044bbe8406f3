"""Where a result comes from: the commit, the code that ran, the device and the versions."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch

from isonum_core.origin import ROOT, checkout, software


def environment(device: str, module_file: str) -> dict:
    """Commit, whether the package differs from it, hash of the code, device, Python, system and versions.

    `dirty` looks at isonum_core alone: the run itself changes the tables. `code` is the sha256 over the Python files of
    the package and the study's own file; it names the code where a tree travels without its history. There the
    environment variable ISONUM_COMMIT may name the commit; else commit and dirty are null.
    """
    commit, dirty = checkout(ROOT, "isonum_core")
    return {
        "commit": commit or os.environ.get("ISONUM_COMMIT"),
        "dirty": dirty,
        "code": code_hash(module_file),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        **software(),
    }


def code_hash(module_file: str | Path) -> str:
    """Sha256 over the names and bytes of the package's Python files and of one more file."""
    digest = hashlib.sha256()
    for path in (*sorted((ROOT / "isonum_core").rglob("*.py")), Path(module_file)):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
