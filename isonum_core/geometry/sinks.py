"""Rows far longer than the others, set apart while states stream by: a few of them decide every spectral score.

In language models these are the states of attention sinks, often that of the first token (Xiao et al. 2024, Sun et al.
2024: massive activations). A row is a sink when it is more than `times` as long as the median row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments

SUSPECT = 3.0  # rows longer than this many medians of their own batch are kept apart until the whole median is known


@dataclass(frozen=True)
class SinkMoments:
    """Moments of the ordinary rows, and the suspects row by row; mergeable. Memory is O(d^2 + suspects d + n).

    `places` says where each suspect stood, in whatever count the caller keeps (a position in its text, say).
    """

    ordinary: Moments | None
    suspects: Float[Tensor, "m d"]
    places: Int[Tensor, "m"]
    lengths: Float[Tensor, "n"]

    @classmethod
    def of(cls, x: Float[Tensor, "n d"], places: Int[Tensor, "n"] | None = None) -> SinkMoments:
        """Of the rows of x. Raises IsonumError on what `Moments.of` refuses.

        >>> x = torch.cat([torch.randn(99, 4, generator=torch.Generator().manual_seed(0)), torch.full((1, 4), 90.0)])
        >>> parts = SinkMoments.of(x).split()
        >>> parts.sinks.tolist(), parts.everything.n, parts.without.n
        ([99], 100, 99)
        """
        lengths = torch.linalg.vector_norm(x.detach().float(), dim=1)
        places = torch.arange(len(x), device=x.device) if places is None else places
        far = lengths > SUSPECT * lengths.median()
        ordinary = Moments.of(x[~far]) if (~far).any() else None
        return cls(ordinary, x[far].detach(), places[far], lengths)

    def merge(self, other: SinkMoments) -> SinkMoments:
        """Of both samples together; `split` then equals one pass, but where medians of batches differ threefold."""
        both = [part.ordinary for part in (self, other) if part.ordinary is not None]
        return SinkMoments(
            both[0].merge(both[1]) if len(both) == 2 else next(iter(both), None),
            *(torch.cat([getattr(self, name), getattr(other, name)]) for name in ("suspects", "places", "lengths")),
        )

    def split(self, times: float = 10.0) -> SinkSplit:
        """Moments with and without the sinks, the rows more than `times` as long as the median one."""
        if not times >= SUSPECT:
            raise IsonumError(f"sinks are at least {SUSPECT} times as long as the median row, got times={times}.")
        median = self.lengths.median()
        long = torch.linalg.vector_norm(self.suspects.float(), dim=1)
        parts = [self.ordinary, *(Moments.of(rows) for rows in (self.suspects[long <= times * median],) if len(rows))]
        without = _merged([part for part in parts if part is not None])
        sinks = self.suspects[long > times * median]
        everything = _merged([without, Moments.of(sinks)]) if len(sinks) else without
        return SinkSplit(everything, without, self.places[long > times * median], float(self.lengths.max() / median))


@dataclass(frozen=True)
class SinkSplit:
    """`everything` and `without` its sinks; `sinks` are their places, `longest` the largest length over the median."""

    everything: Moments
    without: Moments
    sinks: Int[Tensor, "k"]
    longest: float


def _merged(parts: list[Moments]) -> Moments:
    if not parts:
        raise IsonumError("rows that are no sinks were expected, got none. Give more rows.")
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    return whole
