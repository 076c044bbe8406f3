"""Rows far longer than the others, set apart while states stream by: a few of them decide every spectral score.

In language models these are the states of attention sinks, often that of the first token (Xiao et al. 2024, Sun et al.
2024: massive activations). A row is a sink when it is more than SINK times as long as the median row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.rows import accepted_rows, refuse_non_finite

SINK = 10.0
SUSPECT = 3.0  # rows longer than this many medians of what was met so far are kept apart until all are known
FEW = 32  # rows that tell no median: each is a suspect until more have come


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
        x = accepted_rows(x)[0].detach()
        lengths = _lengths(x)
        if not lengths.isfinite().all():
            refuse_non_finite(x)
        places = torch.arange(len(x), device=x.device) if places is None else places
        return cls(None, x, places, lengths)._settled()

    def merge(self, other: SinkMoments) -> SinkMoments:
        """Of both samples together; `split` then equals one pass, but where medians on the way differ threefold."""
        both = [part.ordinary for part in (self, other) if part.ordinary is not None]
        return SinkMoments(
            reduce(Moments.merge, both) if both else None,
            *(torch.cat([getattr(self, name), getattr(other, name)]) for name in ("suspects", "places", "lengths")),
        )._settled()

    def _settled(self) -> SinkMoments:
        """The same with the suspects that are ordinary, by the median of all that was met, among the ordinary."""
        far = _lengths(self.suspects) > SUSPECT * self.lengths.median()
        if len(self.lengths) < FEW or far.all():
            return self
        near = Moments.of(self.suspects[~far] if far.any() else self.suspects)
        ordinary = near if self.ordinary is None else self.ordinary.merge(near)
        return SinkMoments(ordinary, self.suspects[far], self.places[far], self.lengths)

    def split(self) -> SinkSplit:
        """Moments with and without the sinks. With a median of zero no row is one, and `longest` is not finite."""
        median = self.lengths.median()
        far = (_lengths(self.suspects) > SINK * median) & (median > 0)
        parts = [self.ordinary, *(Moments.of(rows) for rows in (self.suspects[~far],) if len(rows))]
        without = reduce(Moments.merge, [part for part in parts if part is not None])
        everything = without.merge(Moments.of(self.suspects[far])) if far.any() else without
        return SinkSplit(everything, without, self.places[far].sort().values, float(self.lengths.max() / median))


@dataclass(frozen=True)
class SinkSplit:
    """`everything` and `without` its sinks; `sinks`: their places in order; `longest`: greatest length over median."""

    everything: Moments
    without: Moments
    sinks: Int[Tensor, "k"]
    longest: float


def _lengths(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=1, dtype=torch.float64)  # whose range no float32 leaves
