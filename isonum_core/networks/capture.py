"""Hidden states at named sites, met by hooks that feed moments and keep nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.networks.sites import Site, find

Receive = Callable[[Site, Tensor, Tensor, Tensor], None]


@dataclass(frozen=True)
class Sample:
    """Raw states of a bounded number of positions: row i of every site is token `ids[i]` of sequence `sequence[i]`."""

    ids: Int[Tensor, "n"]
    sequence: Int[Tensor, "n"]  # counted over all batches, from 0
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
    batches: Iterable[Mapping[str, Tensor]],
    sites: Iterable[str] | None = None,
    positions: str = "content",
) -> dict[str, Moments]:
    """Moments of the hidden states at each site, over all batches. Memory does not grow with the number of tokens.

    A batch is what the model takes, and must say which positions count: `input_ids`, `attention_mask` (1 where a token
    is read) and `special_tokens_mask` (1 at [CLS], end of series and the like), all (B, T). A decoder's own positions
    need the same three with `decoder_` in front. `text_batches` makes such batches from text.

    positions: "content" counts tokens that are read and not special, "special" only the special ones, "all" both;
    what is left out is in `dropped`. sites: names from `sites(model)`; None takes all but `logits`, whose dimension is
    the vocabulary. The model must be in eval mode; no gradients are recorded.

    Raises IsonumError on an unknown site or architecture, a missing mask, padding on the left without position_ids, a
    site that did not fire, and where no position counts.
    """
    wanted = _wanted(model, sites)
    moments: dict[str, Moments] = {}
    dropped = dict.fromkeys((site.name for site in wanted), 0)

    def receive(site: Site, states: Tensor, keep: Tensor, ids: Tensor) -> None:
        dropped[site.name] += int((~keep).sum())
        if not keep.any():
            return
        try:
            found = Moments.of(states[keep])
        except IsonumError as error:
            raise IsonumError(f"at site {site.name!r}: {error}") from error
        so_far = moments.get(site.name)
        moments[site.name] = found if so_far is None else so_far.merge(found)

    _run(model, batches, wanted, positions, receive)
    for site in wanted:
        if site.name not in moments:
            raise IsonumError(
                f"at least one position had to count as {positions!r} at site {site.name!r}, got none: the masks left "
                f"out all {dropped[site.name]}. Check attention_mask and special_tokens_mask."
            )
    return {site.name: replace(moments[site.name], dropped=dropped[site.name]) for site in wanted}


def collect(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    sites: Iterable[str],
    limit: int,
    positions: str = "content",
) -> Sample:
    """Raw states of the first `limit` positions that count, for pictures and for measures that need neighbours.

    Takes limit * d floats a site; batches beyond the limit are not read. Masks, positions and errors as in `capture`.
    All sites must belong to one stream of positions: not encoder and decoder together.
    """
    wanted = _wanted(model, sites)
    if len({site.stream for site in wanted}) > 1 or limit < 1:
        raise IsonumError(
            "collect needs sites of one stream and limit >= 1, got "
            f"{', '.join(site.name for site in wanted)} and limit={limit}. Collect encoder and decoder one by one."
        )
    parts: dict[str, list[Tensor]] = {site.name: [] for site in wanted}
    words: list[Tensor] = []
    sequences: list[Tensor] = []
    read = [0, 0]  # positions taken, sequences seen

    def receive(site: Site, states: Tensor, keep: Tensor, ids: Tensor) -> None:
        parts[site.name].append(states[keep][: limit - read[0]].cpu())
        if site is wanted[-1]:
            rows = torch.arange(keep.shape[0], device=keep.device)[:, None].expand_as(keep)
            words.append(ids[keep][: limit - read[0]].cpu())
            sequences.append(rows[keep][: limit - read[0]].cpu() + read[1])
            read[0] += len(words[-1])
            read[1] += keep.shape[0]

    _run(model, _until(batches, lambda: read[0] >= limit), wanted, positions, receive)
    if read[0] == 0:
        raise IsonumError(f"at least one position had to count as {positions!r}, got none. Check both masks.")
    return Sample(torch.cat(words), torch.cat(sequences), {name: torch.cat(part) for name, part in parts.items()})


def _until(batches: Iterable, full: Callable[[], bool]) -> Iterable:
    for batch in batches:
        yield batch
        if full():
            return


def _wanted(model: nn.Module, names: Iterable[str] | None) -> list[Site]:
    known = {site.name: site for site in find(model)}
    if names is None:
        return [site for name, site in known.items() if name != "logits"]
    names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise IsonumError(
            f"sites of {type(model).__name__} were expected, got {unknown or 'none'}. It has: {', '.join(known)}."
        )
    # In the order of the forward pass, so that the last one wanted is the last to fire.
    return [site for name, site in known.items() if name in names]


def _run(model: nn.Module, batches: Iterable, wanted: list[Site], positions: str, receive: Receive) -> None:
    """Forward passes over the batches; each site's states go to `receive` and nowhere else."""
    if positions not in ("content", "special", "all"):
        raise IsonumError(f"positions must be 'content', 'special' or 'all', got {positions!r}. Choose one.")
    if model.training:
        raise IsonumError("capture needs a model in eval mode, got one in training mode: dropout. Call model.eval().")
    device = next(model.parameters()).device
    fired: dict[str, int] = {}
    current: dict[str, tuple[Tensor, Tensor]] = {}

    def met(site: Site, states: Tensor) -> None:
        fired[site.name] = fired.get(site.name, 0) + 1
        keep, ids = current[site.stream]
        if states.shape[:2] != keep.shape:
            raise IsonumError(
                f"site {site.name!r} was expected to give one state a position, {tuple(keep.shape)}, got "
                f"{tuple(states.shape)}. Call the model without caches or cropping of logits."
            )
        receive(site, states, keep, ids)

    handles = [_hook(site, met) for site in wanted]
    seen = 0
    try:
        for batch in batches:
            seen += 1
            batch = {key: value.to(device) for key, value in batch.items()}
            for stream in sorted({site.stream for site in wanted}):
                current[stream] = (_counted(batch, stream, positions), batch[f"{stream}input_ids"])
            fired.clear()
            with torch.no_grad():
                model(**{k: v for k, v in batch.items() if not k.endswith("special_tokens_mask")}, use_cache=False)
            wrong = {site.name: fired.get(site.name, 0) for site in wanted if fired.get(site.name, 0) != 1}
            if wrong:
                raise IsonumError(
                    f"every site was expected to fire once a batch, got {wrong}. "
                    f"{type(model).__name__} does not run through these sites as networks/sites.py has it."
                )
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise IsonumError("at least one batch was expected, got none. An iterator that was read before is empty.")


def _hook(site: Site, met: Callable[[Site, Tensor], None]):
    def tensor_of(value) -> Tensor:
        return value[0] if isinstance(value, tuple) else value

    if site.side == "output":
        return site.module.register_forward_hook(lambda module, args, out: met(site, tensor_of(out)))
    return site.module.register_forward_pre_hook(
        lambda module, args, kwargs: met(site, args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )


def _counted(batch: Mapping[str, Tensor], stream: str, positions: str) -> Bool[Tensor, "B T"]:
    """Which positions of the batch count."""
    ids, read, special = (batch.get(f"{stream}{key}") for key in ("input_ids", "attention_mask", "special_tokens_mask"))
    for key, mask in (("attention_mask", read), ("special_tokens_mask", special)):
        if ids is None or mask is None or mask.shape != ids.shape:
            raise IsonumError(
                f"every batch needs {stream}input_ids and {stream}{key} of equal shape (B, T), got "
                f"{None if ids is None else tuple(ids.shape)} and {None if mask is None else tuple(mask.shape)}. "
                "Padding and special tokens must be labelled, or they would count as words."
            )
    read, special = read.bool(), special.bool()
    if not read[:, 0].all() and "position_ids" not in batch:
        raise IsonumError(
            f"{stream}attention_mask was expected to start with 1 in every sequence, got padding on the left: "
            "positions would be counted from the padding. Pad on the right, or give position_ids."
        )
    return {"content": read & ~special, "special": read & special, "all": read}[positions]
