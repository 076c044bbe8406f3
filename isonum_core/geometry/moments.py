"""Streaming, mergeable, masked sums of directions and moments, so that no score made of them ever sees raw states.

Merging the moments of two halves equals taking the moments of the whole. That one law makes streaming, several
processes, several devices and caching the same code. Every covariance score is a pure function of `Moments`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.products import gram, quadratic, squared_lengths
from isonum_core.geometry.rows import Array, accepted_rows, inverse_lengths, merged_chunks

# Rows per float32 product. Products are float32 (fast), sums over chunks are float64 (accurate): with 8192 rows the
# rounding of one product stays below 1e-6 of the second moment.
CHUNK = 8192


@dataclass(frozen=True)
class Directions:
    """Sum of the directions x / |x| of n samples in d dimensions, float64."""

    n: int
    unit_sum: Float[Tensor, "d"]
    zeros: int = 0  # of the n, rows of length zero: they have no direction and are left out of the sum

    @classmethod
    def of(cls, x: Array, mask: Array | None = None) -> Directions:
        """Directions of the rows of x (n, d); `mask` (n,) is true where a row counts. Differentiable in x.

        Raises IsonumError on a wrong shape, integers, non-finite rows, a size whose fourth power leaves float64 (as
        `Moments` do), and where no row is left.
        """
        x, _ = accepted_rows(x, mask)
        return merged_chunks(_directions, x, CHUNK)

    def merge(self, other: Directions) -> Directions:
        """Directions of both samples together; equal to one pass over their union."""
        d, other_d = len(self.unit_sum), len(other.unit_sum)
        if d != other_d:
            raise IsonumError(f"merge needs two of equal d, got d={d} and d={other_d}. Take both from the same site.")
        return Directions(self.n + other.n, self.unit_sum + other.unit_sum, self.zeros + other.zeros)


@dataclass(frozen=True)
class Moments:
    """Sums over n samples in d dimensions, from which every covariance score is computed. Memory O(d^2), float64.

    The second moment about the mean is held as the smaller of two equals: `rows` (r, d) with r < d, whose scatter is
    rows^T rows, or `dense` (d, d) itself. Scores read `trace`, `frobenius_sq`, `covariance` or `eigenvalues` and need
    not know which.
    """

    directions: Directions
    mean: Float[Tensor, "d"]
    squares: Float[Tensor, ""]  # sum of |x - mean|^2
    cubes: Float[Tensor, "d"]  # sum of |x - mean|^2 (x - mean)
    fourths: Float[Tensor, ""]  # sum of |x - mean|^4
    rows: Float[Tensor, "r d"] | None = None
    dense: Float[Tensor, "d d"] | None = None
    dropped: int = 0  # rows that the mask left out
    eps: float = torch.finfo(torch.float64).eps  # relative rounding of the products behind the sums

    @classmethod
    def of(cls, x: Array, mask: Array | None = None) -> Moments:
        """Moments of the rows of x (n, d); `mask` (n,) is true where a row counts. Differentiable in x.

        Raises IsonumError on a wrong shape, integers, non-finite rows, and where no row is left.

        >>> m = Moments.of(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
        >>> m.n, m.mean.tolist(), m.trace.item()
        (2, [2.0, 2.0], 10.0)
        >>> states, read = torch.zeros(5, 2), torch.tensor([True, True, True, False, False])
        >>> states[:3] = torch.tensor([[1.0, 0.0], [3.0, 4.0], [5.0, 2.0]])
        >>> m = Moments.of(states, read)  # padding is left out, and counted
        >>> m.n, m.dropped, m.covariance.tolist()
        (3, 2, [[4.0, 2.0], [2.0, 4.0]])
        >>> far = Moments.of(1e3 + torch.randn(9000, 4, generator=torch.Generator().manual_seed(0)))
        >>> 3.9 < far.trace.item() < 4.1  # a cloud of float32 far from zero keeps its digits
        True
        """
        x, dropped = accepted_rows(x, mask)
        return replace(merged_chunks(_moments, x, CHUNK), dropped=dropped)

    @property
    def n(self) -> int:
        return self.directions.n

    @property
    def d(self) -> int:
        return self.mean.shape[0]

    def merge(self, other: Moments) -> Moments:
        """Moments of both samples together; equal to one pass over their union.

        >>> a, b = torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[5.0, 2.0]])
        >>> m = Moments.of(a).merge(Moments.of(b))
        >>> m.n, m.mean.tolist(), round(m.trace.item(), 6)
        (3, [3.0, 2.0], 8.0)
        >>> whole = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
        >>> parts = [Moments.of(part) for part in whole.split(300)]
        >>> round((parts[0].merge(parts[1]).merge(parts[2].merge(parts[3])).trace / Moments.of(whole).trace).item(), 6)
        1.0
        >>> round((parts[0].merge(parts[0]).trace / parts[0].trace).item(), 4)  # twice the same: the mean square stays
        0.9983
        """
        directions = self.directions.merge(other.directions)
        mean = (self.n * self.mean + other.n * other.mean) / directions.n
        a, b = self.about(mean), other.about(mean)
        between = (self.n * other.n / directions.n) ** 0.5 * (other.mean - self.mean)
        return Moments(
            directions=directions,
            mean=mean,
            dropped=self.dropped + other.dropped,
            eps=max(self.eps, other.eps),
            **{k: a[k] + b[k] for k in a},
            **_joined(self, other, between),
        )

    def about(self, point: Tensor) -> dict[str, Tensor]:
        """Squares, cubes and fourths taken about `point` instead of the mean: expand |y - e|^k, where sum y = 0."""
        e = point - self.mean
        ee, ye = e @ e, self._times(e)
        return dict(
            squares=self.squares + self.n * ee,
            cubes=self.cubes - 2 * ye - (self.squares + self.n * ee) * e,
            fourths=self.fourths - 4 * self.cubes @ e + 4 * ye @ e + 2 * self.squares * ee + self.n * ee**2,
        )

    def _times(self, v: Tensor) -> Tensor:
        """Scatter times v, without forming the scatter."""
        if self.rows is None:
            return self.dense @ v
        return (self.rows.T @ (self.rows @ v.to(self.rows.dtype))).double()

    @cached_property
    def gram(self) -> Float[Tensor, "k k"]:
        """The smaller of scatter (d, d), float64, and rows rows^T (r, r), as the rows: equal non-zero eigenvalues."""
        self._freedom()  # or there is nothing to read
        return self.dense if self.rows is None else gram(self.rows)

    @cached_property
    def covariance(self) -> Float[Tensor, "d d"]:
        """Unbiased covariance, ddof = 1."""
        return _scatter(self) / self._freedom()

    @cached_property
    def trace(self) -> Float[Tensor, ""]:
        """tr C, total variance."""
        return self.squares / self._freedom()

    @cached_property
    def variances(self) -> Float[Tensor, "d"]:
        """Diagonal of C: the variance of each dimension, without forming C when n < d."""
        diagonal = self.dense.diagonal() if self.rows is None else (self.rows.double() ** 2).sum(0)
        return diagonal / self._freedom()

    @cached_property
    def concentration(self) -> Float[Tensor, ""]:
        """||C||_F / tr C, from 1/sqrt(d) (even) to 1 (a line)."""
        return torch.linalg.vector_norm(self.gram, dtype=torch.float64) / self.squares

    @cached_property
    def frobenius_sq(self) -> Float[Tensor, ""]:
        """tr C^2 = sum of squared eigenvalues."""
        return (self.gram.double() ** 2).sum() / (self.n - 1) ** 2

    def inner(self, other: Float[Tensor, "d d"]) -> Float[Tensor, ""]:
        """tr(C B) for a symmetric B, without forming C when n < d."""
        product = (self.dense * other).sum() if self.rows is None else quadratic(self.rows, other)
        return product / self._freedom()

    @cached_property
    def eigenvalues(self) -> Float[Tensor, "d"]:
        """Eigenvalues of C, largest first, padded with exact zeros beyond the rank that the rows allow."""
        found = torch.linalg.eigvalsh(self.gram.double()).flip(0).clamp_min(0) / (self.n - 1)
        return torch.cat([found, found.new_zeros(self.d - found.shape[0])])

    def _freedom(self) -> int:
        """n - 1, or IsonumError where no two samples differ."""
        if self.n < 2:
            raise IsonumError(
                f"a spread needs at least 2 samples, got n={self.n} (d={self.d}, {self.dropped} masked out). "
                "Give more rows, or check the mask."
            )
        # Equal rows leave only rounding behind, near 1e-15 of their length; real spread that small has no digits left.
        if not self.squares > self.n * (1e-13 * self.mean.norm()) ** 2:
            raise IsonumError(
                f"a spread needs samples that differ, got {self.n} equal rows (d={self.d}). "
                "A constant cloud has no spectrum: check that the states are not all padding."
            )
        return self.n - 1


def _directions(x: Tensor) -> Directions:
    x, inverse, zeros = inverse_lengths(x)
    return Directions(len(x), (inverse @ x).double(), zeros)


def _moments(x: Tensor) -> Moments:
    x, inverse, zeros = inverse_lengths(x)
    n, d = x.shape
    # Subtracting a fixed point first keeps float32 products accurate however far the cloud is from zero. A point near
    # the mean will do: its last digits do not matter.
    shift = x.new_full((n,), 1 / n) @ x.detach()
    y = x - shift
    rest = y.sum(0) / n
    y += -rest  # as -= and mean, without their two more passes through the rows on the way back
    q = squared_lengths(y)
    unit = q.detach().amax().clamp_min(torch.finfo(q.dtype).tiny)  # third powers in units of it, or they leave float32
    return Moments(
        directions=Directions(n, (inverse @ x).double(), zeros),
        mean=shift.double() + rest.double(),
        squares=q.double().sum(),
        cubes=((q / unit) @ y).double() * unit.double(),
        fourths=(q.double() ** 2).sum(),
        eps=torch.finfo(x.dtype).eps,
        **(dict(rows=y) if n < d else dict(dense=gram(y.T).double())),
    )


def _joined(a: Moments, b: Moments, between: Tensor) -> dict[str, Tensor]:
    """Scatter of both parts plus the scatter between their means, as rows while these are fewer than d."""
    if a.rows is not None and b.rows is not None and len(a.rows) + len(b.rows) + 1 < a.d:
        dtype = torch.promote_types(a.rows.dtype, b.rows.dtype)
        return dict(rows=torch.cat([a.rows.to(dtype), b.rows.to(dtype), between.to(dtype)[None]]))
    dense = torch.outer(between, between)
    return dict(dense=dense + _scatter(a) + _scatter(b))


def _scatter(m: Moments) -> Tensor:
    return m.dense if m.rows is None else gram(m.rows.T).double()
