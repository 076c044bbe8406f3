"""Where a network's hidden states can be read, by name: `embed`, `block.0` ..., `final_norm`, `logits`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

from torch import Tensor, nn

from isonum_core.errors import IsonumError

# Where transformers' classes keep their blocks below the base model (as one module list), and what they call the norm
# after the last block, which stands beside the list or in the base model; many have none: each block ends with its own.
BLOCKS = (
    *("h", "layers", "layer", "block", "blocks", "encoder.layer", "encoder.layers", "encoder.block"),
    *("transformer.layer", "decoder.layers", "encoder.albert_layer_groups", "encoder.mlp_mixer_encoder.mixers"),
)
NORMS = ("ln_f", "norm", "norm_f", "ln_out", "final_norm", "final_layer_norm", "final_layernorm", "layer_norm")


@dataclass(frozen=True)
class Site:
    """A place: what enters or leaves `module`. `stream` ("" or "decoder_") begins the batch's keys for its positions.

    A module whose weights several blocks share is run `turns` times a pass, and met here at its call `turn`. States
    that the model lays out as (T, B, d) are `time_first`.
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
    halves = [_stack(_get(base, half)) for half in ("encoder", "decoder")]
    if blocks is not None:
        two = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
        stream = "decoder_" if two and "decoder" in blocks else ""
        parts = [("", (_get(model, blocks), _get(model, norm) if norm else None), stream)]
    elif all(halves):
        parts = [("encoder.", halves[0], ""), ("decoder.", halves[1], "decoder_")]
    else:
        parts = [("", _stack(base) or (None, None), "")]
    stack, last = parts[0][1]
    if not isinstance(stack, nn.ModuleList | nn.Sequential) or (norm and (last is None or blocks is None)):
        lists = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
        raise IsonumError(
            f"blocks were expected at {blocks or ', '.join(BLOCKS)}{f' and a norm at {norm}' if norm else ''}, got "
            f"{type(model).__name__} with module lists at {', '.join(lists[:8]) or 'no place'}. Name the path of the "
            'blocks, and of the norm after them if there is one, as in blocks="model.layers", norm="model.norm".'
        )
    found = [site for prefix, pair, stream in parts for site in _sites_of(prefix, *pair, stream, base)]
    stream = found[-1].stream
    # A model of our own says what else can be read between its blocks and its head.
    found += [Site(name, module) for name, module in getattr(model, "more_sites", {}).items()]
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return found if head is None else [*found, Site("logits", head, stream=stream)]


@contextmanager
def listening(wanted: list[Site], receive: Callable[[Site, Tensor], None]) -> Iterator[None]:
    """One forward pass runs inside: states, batch first, go to `receive` as they are met, site by site.

    Raises IsonumError where a site is not met once, or not in the order of `wanted`, which is that of `find`.
    """
    calls, fired = {site.name: 0 for site in wanted}, []

    def met(site: Site, values: Tensor | tuple) -> None:
        calls[site.name] += 1
        if calls[site.name] != site.turn + 1:
            return
        fired.append(site.name)
        states, *others = values if isinstance(values, tuple | list) else (values,)
        # Two streams in one block, as in Reformer: neither is the state.
        if not isinstance(states, Tensor) or any(isinstance(x, Tensor) and x.shape == states.shape for x in others):
            kind = type(site.module).__name__
            raise IsonumError(f"one tensor of states was expected at site {site.name!r}, got others from {kind}.")
        receive(site, states.transpose(0, 1) if site.time_first else states)

    def hook(site: Site):
        def entered(module, args, kwargs):
            met(site, next(chain(args, kwargs.values())))

        if site.side == "input":
            return site.module.register_forward_pre_hook(entered, with_kwargs=True)
        return site.module.register_forward_hook(lambda module, args, out: met(site, out))

    handles = [hook(site) for site in wanted]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if fired != list(calls) or any(calls[site.name] != site.turns for site in wanted):
        raise IsonumError(
            f"every site was expected to be met once a pass, in this order, got calls {calls}, in the order "
            f"{', '.join(fired) or 'of none'}. Name the blocks and the norm that it runs through: blocks=, norm=."
        )


def _sites_of(prefix: str, blocks: nn.Module, norm: nn.Module | None, stream: str, base: nn.Module) -> list[Site]:
    kind = getattr(getattr(base, "config", None), "model_type", None)
    # ALBERT runs each of its groups as often as there are layers to a group.
    turns = base.config.num_hidden_layers // len(blocks) if kind == "albert" else 1
    more = dict(stream=stream, turns=turns, time_first=kind == "xlnet")
    found = [Site(f"{prefix}embed", blocks[0], "input", **more)]
    for i in range(turns * len(blocks)):
        found.append(Site(f"{prefix}block.{i}", blocks[i // turns], turn=i % turns, **more))
    return found if norm is None else [*found, Site(f"{prefix}final_norm", norm, stream=stream)]


def _stack(base: nn.Module | None) -> tuple[nn.ModuleList, nn.Module | None] | None:
    """Blocks of a model or of half of it, and the norm after them."""
    for path in BLOCKS:
        if isinstance(blocks := _get(base, path), nn.ModuleList) and len(blocks):
            places = [_get(base, path.rpartition(".")[0]), base]
            norms = [_get(place, name) for place in places for name in (*NORMS, "emb_layer_norm_after")]
            return blocks, next((norm for norm in norms if norm is not None), None)
    return None


def _get(module: nn.Module | None, path: str) -> nn.Module | None:
    for name in path.split(".") if path else ():
        module = getattr(module, name, None)
    return module if isinstance(module, nn.Module) else None
