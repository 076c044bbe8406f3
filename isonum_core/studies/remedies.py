"""What is done to a cloud to make it rounder, as affine maps fitted on rows, and how well a search by cosine goes.

Centring, whitening (full, or softened by a share of the mean eigenvalue: Su et al. 2021 whiten in full), removal of
top directions (Mu and Viswanath 2018), and the opposite, which sharpens the spectrum. All but "nothing" centre.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments

SOFT = (0.1, 1.0)  # shares of the mean eigenvalue
TOP = (1, 10)  # directions taken away


class Remedy(NamedTuple):
    """The map x -> (x - shift) matrix."""

    shift: Float[Tensor, " d"]
    matrix: Float[Tensor, "d k"]

    def of(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Rows after the map, in float64."""
        return (x.double() - self.shift) @ self.matrix


def reshaped(l: Float[Tensor, " r"]) -> dict[str, Float[Tensor, " r"]]:
    """The spectrum that each remedy makes of l, largest first: of the same sum, or zero where a direction is taken."""
    found = {"whitening": torch.ones_like(l), "sharpening": l.square()}
    found |= {f"whitening softened by {soft:g}": l / (l + soft * l.mean()) for soft in SOFT}
    found = {"nothing": l, "centring": l} | {name: new * (l.sum() / new.sum()) for name, new in found.items()}
    for top in (top for top in TOP if 2 * top <= len(l)):
        found[f"without the top {top}"] = torch.cat([torch.zeros_like(l[:top]), l[top:]])
    return found


def remedies(m: Moments) -> dict[str, Remedy]:
    """Every remedy by name, fitted on the rows of m; all but the first two drop directions without variance there.

    Raises IsonumError where the rows do not differ.
    """
    spectrum, basis = (part.flip(-1) for part in torch.linalg.eigh(m.covariance))
    seen = spectrum > m.d * m.eps * spectrum[0]
    l, basis, whole = spectrum[seen], basis[:, seen], torch.eye(m.d, dtype=torch.float64)
    found = {name: Remedy(m.mean, basis * (new / l).sqrt()) for name, new in reshaped(l).items()}
    return found | {"nothing": Remedy(torch.zeros_like(m.mean), whole), "centring": Remedy(m.mean, whole)}


def found_by_cosine(
    queries: Float[Tensor, "q d"], documents: Float[Tensor, "N d"], relevant: Bool[Tensor, "q N"]
) -> Float[Tensor, "q 2"]:
    """nDCG@10 and recall@1 of each query, 0 to 1, when documents are ranked by cosine; relevance is yes or no.

    Raises IsonumError where a query has nothing relevant.
    """
    if not relevant.any(1).all():
        raise IsonumError("a relevant document for every query was expected, got a query without. Leave it out.")
    sides = (torch.nn.functional.normalize(x.float(), dim=1) for x in (queries, documents))
    first = (next(sides) @ next(sides).mT).topk(min(10, len(documents))).indices
    hits = relevant.gather(1, first).double()
    gains = 1 / torch.log2(torch.arange(2, hits.shape[1] + 2, dtype=torch.float64))
    best = gains.cumsum(0)[relevant.sum(1).clamp_max(hits.shape[1]) - 1]
    return torch.stack([hits @ gains / best, hits[:, 0]], 1)


def log_ratio(errors: Float[Tensor, " n"], base: Float[Tensor, " n"], z: float = 1.96) -> tuple[float, float, float]:
    """Log of mean(errors) / mean(base), paired by row, with the ends of its interval of z standard errors over rows.

    Of errors of rows left out the standard error is right with `leave_one_out(..., spread=True)`.
    """
    value, apart = (errors.mean() / base.mean()).log().item(), errors / errors.mean() - base / base.mean()
    half = z * apart.std().item() / math.sqrt(len(errors))
    return value, value - half, value + half
