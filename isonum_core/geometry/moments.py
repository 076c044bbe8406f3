"""Streaming, mergeable, masked first and second moments: the only thing in the core that ever sees raw states.

Merging the moments of two halves equals taking the moments of the whole. That one law makes streaming, several
processes, several devices and caching the same code. Every covariance score is a pure function of `Moments`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.geometry.products import centred, gram, quadratic, squared_lengths

# Rows per float32 product. Products are float32 (fast), sums over chunks are float64 (accurate): with 8192 rows the
# rounding of one product stays below 1e-6 of the second moment. Without the product, rows are read twice, and 1024 of
# them stay in the cache between the two.
CHUNK = {1: 1024, 2: 8192}
# Squares of float32 values outside this range underflow or overflow, so such states are multiplied in float64;
# fourth powers of float64 values outside the wider one do, and no score depends on units: the caller should rescale.
SAFE_SCALE = (1e-15, 1e15)
WIDEST_SCALE = (1e-70, 1e70)


@dataclass(frozen=True)
class Moments:
    """Sums over n samples in d dimensions, from which every covariance score is computed. Memory O(d^2), float64.

    The second moment about the mean is held as the smaller of two equals: `rows` (r, d) with r < d, whose scatter is
    rows^T rows, or `dense` (d, d) itself. Scores read `trace`, `frobenius_sq`, `covariance` or `eigenvalues` and need
    not know which. With order=1 both are absent, and only the mean half can be asked for.
    """

    n: int
    mean: Float[Tensor, "d"]
    unit_sum: Float[Tensor, "d"]  # sum of x / |x|, rows of length zero left out
    zeros: int = 0  # rows of length zero: they have no direction
    dropped: int = 0  # rows that the mask left out
    order: Literal[1, 2] = 2
    rows: Float[Tensor, "r d"] | None = None
    dense: Float[Tensor, "d d"] | None = None
    squares: Float[Tensor, ""] | None = None  # sum of |x - mean|^2
    cubes: Float[Tensor, "d"] | None = None  # sum of |x - mean|^2 (x - mean)
    fourths: Float[Tensor, ""] | None = None  # sum of |x - mean|^4

    @classmethod
    def of(cls, x: Tensor, mask: Tensor | None = None, order: Literal[1, 2] = 2) -> Moments:
        """Moments of the rows of x (n, d); `mask` (n,) is true where a row counts.

        order=1 keeps only what the mean half needs and costs O(nd). Differentiable in x.
        Raises IsonumError on a wrong shape, integers, non-finite rows, and where no row is left.
        """
        x, dropped = accepted_rows(x, mask)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 products would cost four digits
            # A split of one part would still copy the whole slope in the backward pass.
            chunks = [x] if len(x) <= CHUNK[order] else x.split(CHUNK[order])
            parts = (_one_chunk(chunk, order) for chunk in chunks)
            return replace(reduce(Moments.merge, parts), dropped=dropped)

    @property
    def d(self) -> int:
        return self.mean.shape[0]

    def merge(self, other: Moments) -> Moments:
        """Moments of both samples together; equal to one pass over their union."""
        if (self.d, self.order) != (other.d, other.order):
            raise IsonumError(
                f"merge needs moments of equal d and order, got d={self.d}, order={self.order} and "
                f"d={other.d}, order={other.order}. Take both from the same site with the same order."
            )
        n = self.n + other.n
        mean = (self.n * self.mean + other.n * other.mean) / n
        counts = dict(n=n, mean=mean, unit_sum=self.unit_sum + other.unit_sum, order=self.order)
        counts |= dict(zeros=self.zeros + other.zeros, dropped=self.dropped + other.dropped)
        if self.order == 1:
            return Moments(**counts)
        a, b = self._about(mean), other._about(mean)
        between = (self.n * other.n / n) ** 0.5 * (other.mean - self.mean)
        return Moments(
            **counts,
            **_joined(self, other, between),
            **{k: a[k] + b[k] for k in a},
        )

    def _about(self, point: Tensor) -> dict[str, Tensor]:
        """The radial sums taken about `point` instead of the mean: expand |y - e|^k, where sum y = 0."""
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
        self._need_second("this score")
        return self.dense if self.rows is None else gram(self.rows)

    @cached_property
    def covariance(self) -> Float[Tensor, "d d"]:
        """Unbiased covariance, ddof = 1."""
        self._need_second("the covariance")
        scatter = self.dense if self.rows is None else gram(self.rows.T).double()
        return scatter / (self.n - 1)

    @cached_property
    def trace(self) -> Float[Tensor, ""]:
        """tr C, total variance."""
        self._need_second("the total variance")
        return self.squares / (self.n - 1)

    @cached_property
    def variances(self) -> Float[Tensor, "d"]:
        """Diagonal of C: the variance of each dimension, without forming C when n < d."""
        self._need_second("the variance of each dimension")
        diagonal = self.dense.diagonal() if self.rows is None else (self.rows.double() ** 2).sum(0)
        return diagonal / (self.n - 1)

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
        self._need_second("this product")
        if self.rows is None:
            return (self.dense * other).sum() / (self.n - 1)
        return quadratic(self.rows, other) / (self.n - 1)

    @cached_property
    def eigenvalues(self) -> Float[Tensor, "d"]:
        """Eigenvalues of C, largest first, padded with exact zeros beyond the rank that the rows allow."""
        found = torch.linalg.eigvalsh(self.gram.double()).flip(0).clamp_min(0) / (self.n - 1)
        return torch.cat([found, found.new_zeros(self.d - found.shape[0])])

    def _need_second(self, what: str) -> None:
        if self.order < 2:
            raise IsonumError(f"{what} needs second moments, got order=1. Build with Moments.of(x, order=2).")
        if self.n < 2:
            raise IsonumError(
                f"{what} needs at least 2 samples, got n={self.n} (d={self.d}, {self.dropped} masked out). "
                "Give more rows, or check the mask."
            )
        # Equal rows leave only rounding behind, near 1e-15 of their length; real spread that small has no digits left.
        if not self.squares > self.n * (1e-13 * self.mean.norm()) ** 2:
            raise IsonumError(
                f"{what} needs samples that differ, got {self.n} equal rows (d={self.d}). "
                "A constant cloud has no spectrum: check that the states are not all padding."
            )


def accepted_rows(x: object, mask: Tensor | None = None) -> tuple[Tensor, int]:
    """The rows that count, in float32 or float64, and how many the mask dropped."""
    if not isinstance(x, Tensor):
        raise IsonumError(f"states must be a tensor of shape (n, d), got {type(x).__name__}. Use torch.as_tensor.")
    if x.ndim != 2 or x.shape[1] < 1:
        raise IsonumError(f"states must have shape (n, d), d >= 1, got {tuple(x.shape)}. Flatten batch and position.")
    if not x.is_floating_point():
        raise IsonumError(f"states must be real floating point, got {x.dtype}. If they are vectors, use x.double().")
    dropped = 0
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape != x.shape[:1]:
            raise IsonumError(
                f"mask must be boolean of shape ({x.shape[0]},), one entry a row, got {mask.dtype} {tuple(mask.shape)}."
            )
        total, x = x.shape[0], x[mask]
        dropped = total - x.shape[0]
    if x.shape[0] == 0:
        raise IsonumError(f"no rows are left: the mask dropped all {dropped}. Expected at least one row to count.")
    if x.dtype in (torch.float16, torch.bfloat16):
        bits = 11 if x.dtype == torch.float16 else 8
        warnings.warn(
            f"states are {x.dtype}: each value carries {bits} significant bits, so scores are good to about "
            f"{2.0**-bits:.0e}; products are taken in float32. Capture in float32 where you can.",
            WeakNumberWarning,
            stacklevel=3,
        )
        x = x.float()
    return x, dropped


def refuse_non_finite(x: Tensor) -> None:
    """IsonumError that counts the rows with NaN or infinity, if there are any."""
    rows = (~x.detach().isfinite().all(1)).nonzero().flatten()
    if len(rows):
        raise IsonumError(
            f"states must be finite, got {len(rows)} of {x.shape[0]} rows with NaN or infinity, the first at row "
            f"{int(rows[0])}. Drop them on purpose with mask=torch.isfinite(x).all(1)."
        )


def _one_chunk(x: Tensor, order: int) -> Moments:
    n, d = x.shape
    length = torch.linalg.vector_norm(x, dim=1)
    shortest, longest = (float(value) for value in length.detach().aminmax())
    if not SAFE_SCALE[0] < shortest <= longest < SAFE_SCALE[1]:
        # A length is not finite where an entry is not, or where its square overflows; a short row's square underflows.
        refuse_non_finite(x)
        length = torch.linalg.vector_norm(x, dim=1, dtype=torch.float64)
        longest = float(x.detach().abs().amax())
        if longest and not WIDEST_SCALE[0] < longest < WIDEST_SCALE[1]:
            raise IsonumError(
                f"states must lie between {WIDEST_SCALE[0]:.0e} and {WIDEST_SCALE[1]:.0e} in size, got {longest:.0e}: "
                "their powers leave float64. Divide by a common scale."
            )
        if longest and not SAFE_SCALE[0] < longest < SAFE_SCALE[1]:
            x = x.double()
    zero = length < torch.finfo(x.dtype).tiny
    inverse = torch.where(zero, 0, 1 / torch.where(zero, 1, length)).to(x.dtype)
    # One pass for both sums; the mean is what the next lines subtract, so its last digits do not matter.
    unit_sum, total = (torch.stack([inverse, torch.ones_like(inverse)]) @ x).double()
    first = dict(n=n, unit_sum=unit_sum, zeros=int(zero.sum()), order=order)
    if order == 1:
        return Moments(**first, mean=total / n)
    # Subtracting a fixed point first keeps float32 products accurate however far the cloud is from zero.
    shift = (total.detach() / n).to(x.dtype)
    y, rest = centred(x, shift)
    first |= dict(mean=shift.double() + rest.double())
    q = squared_lengths(y)
    radial = dict(squares=q.double().sum(), cubes=(q @ y).double(), fourths=(q.double() ** 2).sum())
    second = dict(rows=y) if n < d else dict(dense=gram(y.T).double())
    return Moments(**first, **radial, **second)


def _joined(a: Moments, b: Moments, between: Tensor) -> dict[str, Tensor]:
    """Scatter of both parts plus the scatter between their means, as rows while these are fewer than d."""
    if a.rows is not None and b.rows is not None and len(a.rows) + len(b.rows) + 1 < a.d:
        dtype = torch.promote_types(a.rows.dtype, b.rows.dtype)
        return dict(rows=torch.cat([a.rows.to(dtype), b.rows.to(dtype), between.to(dtype)[None]]))
    dense = torch.outer(between, between)
    for part in (a, b):
        dense = dense + (part.dense if part.rows is None else gram(part.rows.T).double())
    return dict(dense=dense)
