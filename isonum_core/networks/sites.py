"""Where a network's hidden states can be read, by name: `embed`, `block.0` ..., `final_norm`, `logits`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from isonum_core.errors import IsonumError

# Path of the blocks below the base model, and of the norm after the last one (None: each block ends with its own).
STACKS = {
    "GPT-2": ("h", "ln_f"),
    "Llama, Mistral, Qwen": ("layers", "norm"),
    "GPT-NeoX": ("layers", "final_layer_norm"),
    "BERT": ("encoder.layer", None),
    "DistilBERT": ("transformer.layer", None),
    "T5": ("block", "final_layer_norm"),
    "PatchTST": ("encoder.layers", None),
    "PatchTSMixer": ("encoder.mlp_mixer_encoder.mixers", None),
}


@dataclass(frozen=True)
class Site:
    """A place: what enters or leaves `module`. `stream` begins the batch's keys for its positions."""

    name: str
    module: nn.Module
    side: Literal["input", "output"]
    stream: Literal["", "decoder_"]


def sites(model: nn.Module) -> list[str]:
    """Names of the model's sites, in the order in which a forward pass meets them.

    `embed` is what enters the first block (positions and the embedding norm, where there is one, are in it), `block.i`
    what leaves block i, `final_norm` what the norm after the last block returns, `logits` what the output head returns.
    Encoder and decoder of one model carry their name in front: `encoder.block.0`.

    `block.L-1` is before the final norm; the last entry of transformers' hidden_states is after it.
    Raises IsonumError for an architecture that is not in STACKS.
    """
    return [site.name for site in find(model)]


def find(model: nn.Module) -> list[Site]:
    """The sites themselves; see `sites`."""
    base = getattr(model, "base_model", model)
    encoder, decoder = _get(base, "encoder"), _get(base, "decoder")
    if _stack(encoder) and _stack(decoder):
        parts = [("encoder.", encoder, ""), ("decoder.", decoder, "decoder_")]
    elif _stack(base):
        parts = [("", base, "")]
    elif _stack(encoder):
        parts = [("", encoder, "")]
    else:
        raise IsonumError(
            f"an architecture with blocks as in {'; '.join(STACKS)} was expected, got {type(model).__name__}. "
            "Add the path of its blocks and of its final norm to STACKS in networks/sites.py."
        )
    found = [site for part in parts for site in _sites_of(*part)]
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if head is not None:
        found.append(Site("logits", head, "output", parts[-1][2]))
    return found


def _sites_of(prefix: str, part: nn.Module, stream: str) -> list[Site]:
    path, norm = _stack(part)
    blocks = list(_get(part, path))
    found = [Site(f"{prefix}embed", blocks[0], "input", stream)]
    found += [Site(f"{prefix}block.{i}", block, "output", stream) for i, block in enumerate(blocks)]
    if norm is not None:
        found.append(Site(f"{prefix}final_norm", _get(part, norm), "output", stream))
    return found


def _stack(part: nn.Module | None) -> tuple[str, str | None] | None:
    """The row of STACKS that fits this module: its blocks are a list, its final norm exists where one is named."""
    for blocks, norm in STACKS.values():
        if isinstance(_get(part, blocks), nn.ModuleList) and (norm is None or _get(part, norm) is not None):
            return blocks, norm
    return None


def _get(module: nn.Module | None, path: str) -> nn.Module | None:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module
