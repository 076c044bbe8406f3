"""What a folder of weights holds, looked at before anything is loaded: each fault with its cause and its cure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors

from isonum_core.errors import IsonumError

POINTER = b"version https://git-lfs"
TEXT = (".json", ".txt", ".model")
OTHER = (".bin", ".pt", ".pth", ".h5", ".ckpt", ".index", ".msgpack", ".gguf")


def whole_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, in order of their names, each whole.

    Raises IsonumError on an adapter without its base model, weights in another format or in a folder inside, pointers
    of Git LFS, shards that the index names and the folder lacks, and files that are cut or something else.
    """
    files = sorted(p for p in folder.glob("*.safetensors") if not p.name.startswith(("adapter_", "consolidated.")))
    read = (*TEXT, ".safetensors", *(OTHER if not files else ()))
    for path in (p for p in sorted(folder.iterdir()) if p.suffix in read and p.is_file()):
        with path.open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                cure = " and convert it, as other formats can run code when read" if path.suffix in OTHER else ""
                raise IsonumError(
                    f"{path.name} was expected to hold data, got a Git LFS pointer, three lines of text that stand for "
                    f"it. Run git lfs pull in the folder, or fetch the checkpoint again{cure}."
                )
    if not files or not (folder / "config.json").is_file():
        others = sorted(p.name for p in folder.glob("*") if p.suffix in OTHER or p.name.startswith("consolidated."))
        cure = "Other weight formats can run code when read: convert them, or choose a revision with safetensors."
        for inside in sorted(folder.glob("*/config.json"))[:1]:
            cure = f"Give {inside.parent.name}, the folder inside it."
        if not files and (folder / "adapter_config.json").is_file():
            others = ["an adapter without its base model"]
            cure = "Load both with peft, call merge_and_unload() and save_pretrained(), and give that folder."
        raise IsonumError(
            f"config.json and *.safetensors were expected in {folder}, got {', '.join(others) or 'neither'}. {cure}"
        )
    _object("config.json", (folder / "config.json").read_bytes())
    index = folder / "model.safetensors.index.json"
    named = set(_object(index.name, index.read_bytes()).get("weight_map", {}).values()) if index.is_file() else set()
    if not named and folder / "model.safetensors" not in files:
        raise IsonumError(
            f"model.safetensors or an index was expected in {folder}, got {files[0].name}. Fetch the index."
        )
    if absent := sorted(named - {path.name for path in files}):
        raise IsonumError(
            f"{len(named)} files of weights were expected, as {index.name} has it, got all but {', '.join(absent)}. "
            "Fetch what is missing."
        )
    for path in files:
        try:
            with safetensors.safe_open(path, "pt"):
                pass
        except safetensors.SafetensorError as error:
            raise IsonumError(
                f"whole safetensors were expected in {path.name}, got {path.stat().st_size} bytes that are cut or "
                f"something else ({error}). Fetch it again."
            ) from None
    return files


def hashed(files: list[Path], sha256: str | Mapping[str, str] | None) -> dict[str, str]:
    """sha256 of each file, which must be the one that is expected, where one is."""
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    asked = {files[0].name: sha256} if isinstance(sha256, str) else sha256 or found
    if set(asked) != set(found):
        raise IsonumError(
            f"hashes were given for {', '.join(sorted(asked))}, got files {', '.join(found)}. Give sha256 as a mapping "
            "that names each file once."
        )
    for name, expected in asked.items():
        if found[name] != expected.lower():
            raise IsonumError(
                f"{name} was expected to have sha256 {expected.lower()}, got {found[name]}; nothing was loaded. "
                "The file is damaged or another one: delete it and install or fetch it again, or correct the hash."
            )
    return found


def _object(name: str, data: bytes) -> dict:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise IsonumError(f"a JSON object was expected in {name}, got something else. Fetch it again.")
    return found
