"""The mergeable sum of unit vectors: all that a mean cosine needs, in O(nd) time and O(d) memory."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.rows import accepted_rows, inverse_lengths, merged_chunks

# Rows are read twice, for their lengths and for their sum; this many stay in the cache between the two.
CHUNK = 2048


@dataclass(frozen=True)
class Directions:
    """Sum of the directions x / |x| of n samples in d dimensions, float64."""

    n: int
    unit_sum: Float[Tensor, "d"]
    zeros: int = 0  # of the n, rows of length zero: they have no direction and are left out of the sum

    @classmethod
    def of(cls, x: Tensor, mask: Tensor | None = None) -> Directions:
        """Directions of the rows of x (n, d); `mask` (n,) is true where a row counts. Differentiable in x.

        Raises IsonumError on a wrong shape, integers, non-finite rows, a size whose fourth power leaves float64 (as
        `Moments` do), and where no row is left.
        """
        x, _ = accepted_rows(x, mask)
        return merged_chunks(_one_chunk, x, CHUNK)

    @property
    def d(self) -> int:
        return self.unit_sum.shape[0]

    def merge(self, other: Directions) -> Directions:
        """Directions of both samples together; equal to one pass over their union."""
        if self.d != other.d:
            raise IsonumError(
                f"merge needs two of equal d, got d={self.d} and d={other.d}. Take both from the same site."
            )
        return Directions(self.n + other.n, self.unit_sum + other.unit_sum, self.zeros + other.zeros)


def _one_chunk(x: Tensor) -> Directions:
    x, inverse, zeros = inverse_lengths(x)
    return Directions(len(x), (inverse @ x).double(), zeros)
