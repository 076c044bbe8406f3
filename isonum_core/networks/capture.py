"""Hidden states at named sites, met by hooks that feed moments and keep nothing."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.networks.sites import Site, find, listening

# The states that count, of one site in one batch, and the position of each in its own sequence, from 0.
Receive = Callable[[Site, Float[Tensor, "n d"], Int[Tensor, "n"]], None]
# Keys of a batch whose positions are read from numbers, not from words: a series has no padding and no special tokens.
NUMBERS = ("past_values", "context")


@dataclass(frozen=True)
class Sample:
    """Raw states of a bounded number of positions: row i of every site is token `ids[i]`, -1 in a series of numbers."""

    ids: Int[Tensor, "n"]
    states: dict[str, Float[Tensor, "n d"]]

    def one_per_type(self, types: int, rng: np.random.Generator, among: Iterable[int] | None = None) -> np.ndarray:
        """Rows of `types` different token ids, drawn evenly from the ids in the sample (or `among` them), one row each.

        Two samples drawn so have equal n and equally many types, whatever their vocabularies.
        Raises IsonumError when fewer ids are there.
        """
        ids = self.ids.numpy()
        there = np.unique(ids) if among is None else np.intersect1d(ids, list(among))
        if not 1 <= types <= len(there):
            raise IsonumError(f"{types} token types were asked for, got {len(there)} to draw from. Ask for fewer.")
        return np.array([rng.choice(np.flatnonzero(ids == i)) for i in rng.choice(there, types, replace=False)])


def capture(
    model: nn.Module,
    batches: Mapping | Iterable,
    sites: Iterable[str] | None = None,
    blocks: str | None = None,
    norm: str | None = None,
) -> dict[str, Moments]:
    """Moments of the hidden states at each site, over all batches. Memory does not grow with the number of tokens.

    A batch is what the model takes, as tensors, arrays or lists; one batch may stand for a list of one. It must say
    which positions count: `input_ids`, `attention_mask` (1 where a token is read) and `special_tokens_mask` (1 at
    [CLS], end of series and the like), all (B, T); the tokens that are read and not special do, the others are in
    `dropped`. A decoder's own positions need the same three with `decoder_` in front. `text_batches` makes such batches
    from text. Of a series of numbers (`past_values`, `context`) every position counts.

    sites: names from `sites(model)`; None takes all but `logits`, whose dimension is the vocabulary. blocks, norm: as
    in `sites`. The model must be in eval mode; no gradients are recorded.

    Raises IsonumError on an unknown site or architecture, a missing mask, padding on the left without position_ids,
    ids or lengths beyond the model's, a site that was not met once a batch, and where no position counts.
    """
    wanted = _wanted(model, sites, blocks, norm)
    moments, dropped = _summed(model, batches, wanted, lambda rows, places: Moments.of(rows))
    return {site.name: replace(moments[site.name], dropped=dropped[site.stream]) for site in wanted}


def capture_sums(model: nn.Module, batches: Mapping | Iterable, of: Callable[..., Any], *where: Any) -> dict[str, Any]:
    """As `capture` at sites, blocks and norm (`where`): what `of` makes of states and positions, which merges."""
    return _summed(model, batches, _wanted(model, *where), of)[0]


def _summed(model: nn.Module, batches: Mapping | Iterable, wanted: list[Site], of: Callable) -> tuple[dict, Counter]:
    sums, dropped = {}, Counter()

    def receive(site: Site, rows: Tensor, places: Tensor) -> None:
        try:
            found = of(rows, places)
        except IsonumError as error:
            raise IsonumError(f"at site {site.name!r}: {error}") from error
        sums[site.name] = sums[site.name].merge(found) if site.name in sums else found

    for _, kept in _passes(model, batches, wanted, receive):
        dropped.update({stream: int((~keep).sum()) for stream, keep in kept.items()})
    return sums, dropped


def collect(
    model: nn.Module,
    batches: Mapping | Iterable,
    sites: Iterable[str],
    limit: int,
    blocks: str | None = None,
    norm: str | None = None,
) -> Sample:
    """Raw states of the first `limit` tokens that count, for pictures and for measures that need neighbours.

    Takes limit * d floats a site; batches beyond the limit are not read. Masks and errors as in `capture`.
    All sites must belong to one stream of positions: not encoder and decoder together.
    """
    wanted = _wanted(model, sites, blocks, norm)
    if len({site.stream for site in wanted}) > 1 or limit < 1:
        names = ", ".join(site.name for site in wanted)
        raise IsonumError(
            f"sites of one stream and limit >= 1 were expected, got {names} and limit={limit}. Collect encoder and "
            "decoder one by one."
        )
    parts, words, taken = {site.name: [] for site in wanted}, [], 0

    def receive(site: Site, rows: Tensor, places: Tensor) -> None:
        parts[site.name].append(rows[: limit - taken].cpu())

    for batch, kept in _passes(model, batches, wanted, receive):
        ids = [batch[f"{stream}input_ids"][keep] for stream, keep in kept.items()]
        words += ids or [torch.full((len(parts[wanted[0].name][-1]),), -1)]
        taken += len(words[-1])
        if taken >= limit:
            break
    return Sample(torch.cat(words)[:limit].cpu(), {name: torch.cat(part) for name, part in parts.items()})


def _wanted(
    model: nn.Module, names: Iterable[str] | None = None, blocks: str | None = None, norm: str | None = None
) -> list[Site]:
    known = {site.name: site for site in find(model, blocks, norm)}
    names = known.keys() - {"logits"} if names is None else {names} if isinstance(names, str) else set(names)
    if not names or names - known.keys():
        unknown = sorted(names - known.keys()) or "none"
        raise IsonumError(f"sites of {type(model).__name__} were expected, got {unknown}. It has: {', '.join(known)}.")
    # In the order of the forward pass, so that the last one wanted is the last to be met.
    return [site for name, site in known.items() if name in names]


def _passes(
    model: nn.Module, batches: Mapping | Iterable, wanted: list[Site], receive: Receive
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """One forward pass a batch: its states go to `receive` and nowhere else, then it comes back with its masks."""
    if model.training:
        raise IsonumError("capture needs a model in eval mode, got one in training mode: dropout. Call model.eval().")
    batch, counted, left = None, Counter(), Counter()
    for batch in [batches] if isinstance(batches, Mapping) else batches:
        if not isinstance(batch, Mapping):
            raise IsonumError(
                f"a batch was expected as a mapping with input_ids and two masks, got {type(batch).__name__}. "
                "Make batches from text by text_batches(tokenizer, texts)."
            )
        device = next(model.parameters()).device
        try:
            batch = {key: torch.as_tensor(value).to(device) for key, value in batch.items()}
        except (TypeError, ValueError, RuntimeError) as error:
            raise IsonumError(
                f"{', '.join(batch)} were expected as numbers in rows of one length, got others ({error}). Pad the "
                "rows alike, with 0 in attention_mask, or let text_batches do it."
            ) from None
        numbers = not any(key.endswith("input_ids") for key in batch) and any(key in batch for key in NUMBERS)
        kept = {} if numbers else {stream: _kept(model, batch, stream) for stream in {site.stream for site in wanted}}
        _pass(model, batch, kept, wanted, receive)
        yield batch, kept
        for stream, keep in kept.items():
            counted[stream] += int(keep.sum())
            left[stream] += int((~keep).sum())
    if batch is None:
        raise IsonumError("at least one batch was expected, got none. An iterator that was read before is empty.")
    for stream in (stream for stream, n in counted.items() if n == 0):
        raise IsonumError(
            f"at least one position had to count in {stream}input_ids, got none: the masks left out all "
            f"{left[stream]}. Check attention_mask and special_tokens_mask."
        )


def _pass(
    model: nn.Module, batch: dict[str, Tensor], kept: dict[str, Tensor], wanted: list[Site], receive: Receive
) -> None:
    def met(site: Site, states: Tensor) -> None:
        keep = kept.get(site.stream, torch.ones(states.shape[:-1], dtype=torch.bool, device=states.device))
        if states.shape[:-1] != keep.shape:
            raise IsonumError(
                f"site {site.name!r} was expected to give one state a position, {tuple(keep.shape)}, got "
                f"{tuple(states.shape)}: the model pads or crops by itself. Give a length that it leaves as it is."
            )
        if keep.any():
            places = torch.arange(keep.shape[-1], device=keep.device).expand(keep.shape)
            receive(site, states[keep], places[keep])

    given = {key: value for key, value in batch.items() if not key.endswith("special_tokens_mask")}
    unasked = {"use_cache": False} | ({} if any(site.name == "logits" for site in wanted) else {"logits_to_keep": 1})
    given |= {key: value for key, value in unasked.items() if key in inspect.signature(model.forward).parameters}
    try:
        with torch.no_grad(), listening(wanted, met):
            model(**given)
    except IsonumError:
        raise
    except (AttributeError, IndexError, TypeError, ValueError, RuntimeError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        kind, keys = type(model).__name__, ", ".join(given)
        raise IsonumError(f"{kind} was expected to read {keys}, got from it: {said}. Give it its own keys.") from error


def _kept(model: nn.Module, batch: Mapping[str, Tensor], stream: str) -> Bool[Tensor, "B T"]:
    """Which positions of the batch count: those that are read and not special."""
    ids, read, special = (batch.get(f"{stream}{key}") for key in ("input_ids", "attention_mask", "special_tokens_mask"))
    for key, mask in (("attention_mask", read), ("special_tokens_mask", special)):
        if ids is None or mask is None or mask.shape != ids.shape or ids.ndim != 2 or not ids.numel():
            shapes = " and ".join("none" if x is None else str(tuple(x.shape)) for x in (ids, mask))
            raise IsonumError(
                f"every batch needs {stream}input_ids and {stream}{key} of equal shape (B, T), got {shapes}. "
                "Padding and special tokens must be labelled, or they would count as words."
            )
    read, special = read.bool(), special.bool()
    if not read[:, 0].all() and "position_ids" not in batch:
        raise IsonumError(
            f"{stream}attention_mask was expected to start with 1 in every sequence, got padding on the left: "
            "positions would be counted from the padding. Pad on the right, or give position_ids."
        )
    words, positions = limits(model)
    if ids.shape[1] > positions or int(ids.min()) < 0 or int(ids.max()) >= words:
        raise IsonumError(
            f"ids below {words} and at most {positions} positions were expected in {stream}input_ids, got "
            f"{int(ids.min())} to {int(ids.max())} in {ids.shape[1]} positions. Take the tokenizer of this checkpoint, "
            "and let text_batches split what is long."
        )
    return read & ~special


def limits(model: nn.Module) -> tuple[int | float, int | float]:
    """How many words and positions the model knows, as far as it says so."""
    words = None
    with suppress(AttributeError, NotImplementedError):
        words = model.get_input_embeddings()
    most = [getattr(getattr(model, "config", None), "max_position_embeddings", None) or math.inf]
    # RoBERTa and its kin keep the first rows of their table for padding: fewer positions than the configuration says.
    for table in (getattr(module, "position_embeddings", None) for module in model.modules()):
        if getattr(table, "padding_idx", None) is not None:
            most.append(table.num_embeddings - table.padding_idx - 1)
    return getattr(words, "num_embeddings", math.inf), min(most) if min(most) > 0 else math.inf
