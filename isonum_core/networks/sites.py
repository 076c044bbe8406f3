"""Where a network's hidden states can be read, by name: `embed`, `block.0` ..., `final_norm`, `logits`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from torch import Tensor, nn

from isonum_core.errors import IsonumError

# Where transformers' classes keep their blocks below the base model (as one module list), and what they call the norm
# after the last block, which stands beside the list or in the base model; many have none: each block ends with its own.
BLOCKS = (
    *("h", "layers", "layer", "block", "blocks", "encoder.layer", "encoder.layers", "encoder.block"),
    *("transformer.layer", "decoder.layers", "encoder.albert_layer_groups", "encoder.mlp_mixer_encoder.mixers"),
)
NORMS = (
    *("ln_f", "norm", "norm_f", "ln_out", "final_norm", "final_layer_norm", "final_layernorm", "layer_norm"),
    "emb_layer_norm_after",
)


@dataclass(frozen=True)
class Site:
    """A place: what enters or leaves `module`. `stream` ("" or "decoder_") begins the batch's keys for its positions.

    A module that is run `turns` times a pass, its weights shared by as many blocks, is met at its call `turn`.
    Where the model lays out its states as (T, B, d), `time_first` says so.
    """

    name: str
    module: nn.Module
    side: str = "output"
    stream: str = ""
    turn: int = 0
    turns: int = 1
    time_first: bool = False


def sites(model: nn.Module, blocks: str | None = None, norm: str | None = None) -> list[str]:
    """Names of the model's sites, in the order in which a forward pass meets them.

    `embed` is what enters the first block (positions and the embedding norm, where there is one, are in it), `block.i`
    what leaves block i, `final_norm` what the norm after the last block returns, `logits` what the output head returns.
    Encoder and decoder of one model carry their name in front: `encoder.block.0`.

    `block.L-1` is before the final norm; the last entry of transformers' hidden_states is after it. Blocks and norm of
    a model whose layout is not known are named by their paths: blocks="model.layers", norm="model.norm".
    Raises IsonumError where no blocks are found.
    """
    return [site.name for site in find(model, blocks, norm)]


def find(model: nn.Module, blocks: str | None = None, norm: str | None = None) -> list[Site]:
    """The sites themselves; see `sites`."""
    base = getattr(model, "base_model", model)
    encoder, decoder = _get(base, "encoder"), _get(base, "decoder")
    if blocks is not None:
        for path, kind in ((blocks, nn.ModuleList), (norm or "", nn.Module)):
            if not isinstance(_get(model, path), kind):
                raise IsonumError(
                    f"a {kind.__name__} was expected at {path!r} in {type(model).__name__}, got {_inside(model)}."
                )
        two = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
        stream = "decoder_" if two and "decoder" in blocks else ""
        found = _sites_of("", _get(model, blocks), _get(model, norm) if norm else None, stream, model)
    elif (one := _stack(encoder, encoder)) and (other := _stack(decoder, decoder)):
        found = _sites_of("encoder.", *one, "", base) + _sites_of("decoder.", *other, "decoder_", base)
    elif one := _stack(base, base):
        found = _sites_of("", *one, "", base)
    else:
        raise IsonumError(
            f"blocks were expected at {', '.join(BLOCKS)}, got {type(model).__name__} with {_inside(model)}. "
            'Name their path, and that of the norm after them if there is one: blocks="model.layers", norm="model.norm".'
        )
    stream = found[-1].stream
    # A model of our own says what else can be read between its blocks and its head.
    found += [Site(name, module) for name, module in getattr(model, "more_sites", {}).items()]
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return found if head is None else [*found, Site("logits", head, stream=stream)]


@contextmanager
def listening(wanted: list[Site], receive: Callable[[Site, Tensor], None]) -> Iterator[None]:
    """One forward pass runs inside: states, batch first, go to `receive` as they are met, site by site.

    Raises IsonumError where a site is not met once, or not in the order of `wanted`, as `find` has it.
    """
    fired: list[str] = []
    calls = dict.fromkeys((site.name for site in wanted), 0)

    def met(site: Site, values: Any) -> None:
        calls[site.name] += 1
        if calls[site.name] != site.turn + 1:
            return
        fired.append(site.name)
        states, *others = values if isinstance(values, tuple | list) else (values,)
        if not isinstance(states, Tensor) or any(isinstance(x, Tensor) and x.shape == states.shape for x in others):
            raise IsonumError(
                f"one tensor of states was expected at site {site.name!r}, got {type(site.module).__name__}'s own form."
            )
        receive(site, states.transpose(0, 1) if site.time_first else states)

    def hook(site: Site):
        if site.side == "output":
            return site.module.register_forward_hook(lambda module, args, out: met(site, out))
        return site.module.register_forward_pre_hook(
            lambda module, args, kwargs: met(site, next(chain(args, kwargs.values()))), with_kwargs=True
        )

    handles = [hook(site) for site in wanted]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if fired != [site.name for site in wanted] or any(calls[site.name] != site.turns for site in wanted):
        raise IsonumError(
            f"every site was expected to be met once a pass, in the order {', '.join(calls)}, got {', '.join(fired)}, "
            f"with calls {calls}. Name the blocks and the norm that the model runs through: blocks=, norm=."
        )


def _sites_of(prefix: str, blocks: nn.ModuleList, norm: nn.Module | None, stream: str, model: nn.Module) -> list[Site]:
    config = getattr(model, "config", None)
    more = dict(stream=stream, time_first=getattr(config, "model_type", None) == "xlnet")
    # ALBERT runs each of its groups as often as there are layers to a group.
    turns = config.num_hidden_layers // len(blocks) if getattr(config, "model_type", None) == "albert" else 1
    found = [Site(f"{prefix}embed", blocks[0], "input", turns=turns, **more)]
    for i in range(turns * len(blocks)):
        found.append(Site(f"{prefix}block.{i}", blocks[i // turns], turn=i % turns, turns=turns, **more))
    return found if norm is None else [*found, Site(f"{prefix}final_norm", norm, stream=stream)]


def _stack(part: nn.Module | None, base: nn.Module | None) -> tuple[nn.ModuleList, nn.Module | None] | None:
    """Blocks of this part, and the norm after them."""
    for path in BLOCKS:
        if isinstance(blocks := _get(part, path), nn.ModuleList) and len(blocks):
            beside = _get(part, path.rpartition(".")[0])
            norms = [_get(place, name) for place in (beside, base) for name in NORMS]
            return blocks, next((norm for norm in norms if norm is not None), None)
    return None


def _inside(model: nn.Module) -> str:
    lists = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    return f"module lists at {', '.join(lists[:6])}" if lists else "no module list"


def _get(module: nn.Module | None, path: str) -> nn.Module | None:
    for name in path.split(".") if path else ():
        module = getattr(module, name, None)
    return module
