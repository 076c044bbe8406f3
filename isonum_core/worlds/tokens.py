"""Numbers as words of a fixed vocabulary: mean scaling, then uniform bins, as Chronos does it; and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.worlds.digits import real_numbers

PAD, EOS = 0, 1  # a missing value; the end of the series


@dataclass(frozen=True)
class Tokens:
    """One tokenised series. `mask` is false where a value is missing; `special` is true at padding and end of series.

    `clipped` values lay beyond the outermost bins and come back as their centres; `cut` values were older than the
    context. `scale` is what one unit of a bin centre is worth in the unit of the series.
    """

    ids: Int[Tensor, "T"]
    mask: Bool[Tensor, "T"]
    special: Bool[Tensor, "T"]
    scale: float
    clipped: int
    cut: int


@dataclass(frozen=True)
class MeanScale:
    """Divide by the mean of |x|, then give each value the number of its bin: n_tokens - n_special - 1 equal bins.

    scale = mean |x| over observed values of the last `context_length`, or 1 where that is 0 or nothing is observed.
    id = n_special + 1 + index of the nearest centre; centres are evenly spaced from `low` to `high`.
    A missing value (NaN) becomes `PAD` and is masked; `EOS` closes the series where `eos` is true.

    Arithmetic is float32, as in Chronos: in float64 a few values near a boundary would fall into the next bin.
    Ansari et al. 2024, "Chronos: Learning the Language of Time Series", arXiv 2403.07815.
    """

    n_special: ClassVar[int] = 2  # padding and end of series
    n_tokens: int = 4096
    low: float = -15.0
    high: float = 15.0
    context_length: int = 512
    eos: bool = True

    def __post_init__(self) -> None:
        finite = np.isfinite([self.low, self.high]).all()
        if not finite or self.low >= self.high or self.context_length < 1 or self.n_tokens < 5:
            raise IsonumError(
                "MeanScale needs finite low < high, context_length >= 1 and n_tokens >= 5 (3 ids and at least 2 bins), "
                f"got low={self.low}, high={self.high}, context_length={self.context_length}, "
                f"n_tokens={self.n_tokens}. Correct the one that is off."
            )

    @cached_property
    def centres(self) -> Float[Tensor, "bins"]:
        """Scaled value that each bin decodes to."""
        return torch.linspace(self.low, self.high, self.n_tokens - self.n_special - 1)

    @cached_property
    def boundaries(self) -> Float[Tensor, "edges"]:
        """Midpoints between centres. The outer two bins reach to +-1e20, as in Chronos; beyond, ids are clamped."""
        middle = (self.centres[1:] + self.centres[:-1]) / 2
        return torch.cat([torch.tensor([-1e20]), middle, torch.tensor([1e20])])

    @property
    def width(self) -> float:
        """Width of a bin in units of the scale: a decoded value is off by at most scale * width / 2, unless clipped."""
        return (self.high - self.low) / (self.n_tokens - self.n_special - 2)

    def encode(self, values, scale: float | None = None) -> Tokens:
        """Tokens of a series of real numbers (list, array or tensor); NaN or a mask marks a missing value.

        Only the last `context_length` values are read. `scale` given: that scale is used, for values that follow a
        context already encoded. Raises IsonumError on a wrong shape, on infinite values and where the scale overflows:
        there every value would get the same id.
        """
        x, cut = self._read(values)
        mask = ~x.isnan()
        mean = x.abs().nansum(-1) / mask.sum(-1)
        used = torch.where(mean > 0, mean, 1.0) if scale is None else torch.tensor(scale, dtype=torch.float32)
        if not (used.isfinite() and used > 0):
            got = f"{scale}" if scale is not None else "an infinite mean of |x|: the sum overflows float32"
            raise IsonumError(
                f"the scale must be positive and finite in float32, got {got}. "
                "Divide the series by a constant first; mean scaling gives the same ids."
            )
        scaled = x / used
        ids = (torch.bucketize(scaled, self.boundaries, right=True) + self.n_special).clamp(0, self.n_tokens - 1)
        ids[~mask] = PAD
        beyond = (scaled - scaled.clamp(self.low, self.high)).abs() > self.width / 2
        special = ~mask
        if self.eos:
            ids, mask, special = (
                torch.cat([part, torch.tensor([end], dtype=part.dtype)])
                for part, end in ((ids, EOS), (mask, True), (special, True))
            )
        return Tokens(ids=ids, mask=mask, special=special, scale=float(used), clipped=int(beyond.sum()), cut=cut)

    def decode(self, ids, scale: float) -> Float[Tensor, "T"]:
        """Centre of each token's bin times the scale. `PAD` comes back as NaN, the missing value; `EOS` is left out.

        Chronos has no such exceptions: there both decode to the lowest centre. Raises IsonumError on ids that are not
        of this vocabulary.
        """
        ids = torch.as_tensor(ids)
        if ids.ndim != 1 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise IsonumError(
                f"ids must be whole numbers of shape (T,), got {ids.dtype} of shape {tuple(ids.shape)}. "
                "Pass the ids of one series."
            )
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.n_tokens:
            raise IsonumError(
                f"ids must lie in 0..{self.n_tokens - 1}, got {int(ids.min())}..{int(ids.max())}. "
                "Decode with the tokeniser that encoded them."
            )
        if not (np.isfinite(scale) and scale > 0):
            raise IsonumError(f"the scale must be positive and finite, got {scale}. Use the one that encode returned.")
        ids = ids[ids != EOS]
        bins = (ids - self.n_special - 1).clamp(0, len(self.centres) - 1)
        return torch.where(ids == PAD, torch.nan, self.centres[bins] * torch.tensor(scale, dtype=torch.float32))

    def _read(self, values) -> tuple[Tensor, int]:
        """The values within the context as float32, and how many older ones were cut."""
        x = real_numbers(values)
        if len(x) == 0:
            raise IsonumError("a series must have shape (T,) with T >= 1, got (0,). Encode one that has values.")
        cut = max(0, len(x) - self.context_length)
        single = torch.from_numpy(x[cut:]).float()
        infinite = single.isinf().nonzero().flatten()
        if len(infinite):
            raise IsonumError(
                f"values must be finite in float32 (below 3.4e38) or NaN where missing, got {len(infinite)} infinite, "
                f"the first at step {cut + int(infinite[0])}: the scale would be infinite and every id the same. "
                "Mark such values as NaN, or divide the series by a constant."
            )
        return single, cut
