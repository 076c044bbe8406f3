"""What is done to a cloud to make it rounder, as affine maps fitted on rows, and how well a search by cosine goes.

Centring, whitening (full, or softened by a share of the mean eigenvalue: Su et al. 2021 whiten in full), removal of
top directions (Mu and Viswanath 2018), and the opposite, which sharpens the spectrum. All but "nothing" centre. And
one that is no such map: ranks of a row in place of its values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments

SOFT = (0.1, 1.0)  # shares of the mean eigenvalue
TOP = (1, 10)  # directions taken away
# Where one direction holds nearly all the variance, a tenth of the mean eigenvalue is far above nearly all the others.
MEDIAN, LOPSIDED = "whitening softened by the median", 10.0  # asked for where the mean is so many medians
RANKS = "ranks in place of values"
# A gain has to be as large as the first to be advised; where none can be as large as the second, nothing is advised.
WORTH = {"error": (0.01, 0.05), "nDCG@10": (0.005, 0.02)}
SEARCHES = 512  # queries that judge, at most


class Remedy(NamedTuple):
    """The map x -> (x - shift) matrix."""

    shift: Float[Tensor, " d"]
    matrix: Float[Tensor, "d k"]

    def of(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Rows after the map, in float64."""
        return (x.double() - self.shift) @ self.matrix


def reshaped(l: Float[Tensor, " r"], median: bool = False) -> dict[str, Float[Tensor, " r"]]:
    """The spectrum that each remedy makes of l, largest first: of the same sum, or zero where a direction is taken."""
    found = {"whitening": torch.ones_like(l), "sharpening": l.square()}
    found |= {f"whitening softened by {soft:g}": l / (l + soft * l.mean()) for soft in SOFT}
    found |= {MEDIAN: l / (l + l.median())} if median else {}
    found = {"nothing": l, "centring": l} | {name: new * (l.sum() / new.sum()) for name, new in found.items()}
    for top in (top for top in TOP if 2 * top <= len(l)):
        found[f"without the top {top}"] = torch.cat([torch.zeros_like(l[:top]), l[top:]])
    return found


def remedies(m: Moments, median: bool = False) -> dict[str, Remedy]:
    """Every remedy by name, fitted on the rows of m; all but the first two drop directions without variance there.

    With `median`, MEDIAN among them where the spectrum is LOPSIDED. Raises IsonumError where the rows do not differ.
    """
    spectrum, basis = (part.flip(-1) for part in torch.linalg.eigh(m.covariance))
    seen = spectrum > m.d * m.eps * spectrum[0]
    l, basis, whole = spectrum[seen], basis[:, seen], torch.eye(m.d, dtype=torch.float64)
    median = median and bool(l.mean() > LOPSIDED * l.median())
    found = {name: Remedy(m.mean, basis * (new / l).sqrt()) for name, new in reshaped(l, median).items()}
    return found | {"nothing": Remedy(torch.zeros_like(m.mean), whole), "centring": Remedy(m.mean, whole)}


def row_ranks(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Each row's ranks, centred: their cosine is Spearman's correlation of two rows."""
    from scipy import stats  # a second and a half of imports, which the others do without

    return torch.from_numpy(stats.rankdata(x.numpy(), axis=1) - (x.shape[1] + 1) / 2)


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


def jointly(maps: Mapping[str, object]) -> float:
    """Standard errors of intervals that hold together at 95 %, over all remedies but "nothing" (Bonferroni)."""
    return NormalDist().inv_cdf(1 - 0.025 / (len(maps) - 1))


class Searched(NamedTuple):
    """A search by cosine under every remedy: the maps, which queries judged, and their nDCG@10 and recall@1.

    `effects` by remedy: the mean loss of nDCG@10 against nothing done, below 0 where it gains, and the ends of its
    interval; the intervals hold together, at 95 %.
    """

    maps: dict[str, Remedy]
    judged: Int[Tensor, " q"]
    scored: dict[str, Float[Tensor, "q 2"]]
    effects: dict[str, tuple[float, float, float]]


def searched(
    q: Float[Tensor, "Q d"],
    documents: Float[Tensor, "N d"],
    relevant: Bool[Tensor, "Q N"],
    fit: Float[Tensor, "f d"] | None,
    rng: np.random.Generator,
    more: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    median: bool = False,
) -> Searched:
    """Without `fit`, remedies are fitted on half of the queries and on their documents alone; the other half judges.

    `more` are maps of rows that need no fit, judged beside them; `median` as in `remedies`. Raises IsonumError where a
    query has nothing relevant, or where the rows to fit on do not differ.
    """
    order = torch.from_numpy(rng.permutation(len(q)))
    judged = order[: min(SEARCHES, len(q) if fit is not None else len(q) // 2)]
    near = relevant[judged]
    if fit is None:
        fit = torch.cat([q[order[len(judged) :]], documents[~near.any(0)]])
    maps, effects = remedies(Moments.of(fit), median), {}
    ways = {name: map.of for name, map in maps.items()} | dict(more or {})
    scored = {name: found_by_cosine(of(q[judged]), of(documents), near) for name, of in ways.items()}
    z = jointly(ways)
    for name, own in scored.items():
        apart = (scored["nothing"] - own)[:, 0]
        value, half = float(apart.mean()), z * float(apart.std()) / math.sqrt(len(apart))
        effects |= {name: (value, value - half, value + half)} if name != "nothing" else {}
    return Searched(maps, judged, scored, effects)


def advised(effects: Mapping[str, Sequence[float | None]], unit: str) -> str | None:
    """The remedy of the largest sure gain, "nothing" where none can be worth it, or None where neither is known.

    effects: by remedy a loss of that unit, below 0 where it gains, and the ends of its interval; more may follow.
    """
    least, possible = WORTH[unit]
    sure = [name for name, (value, _, high, *_) in effects.items() if high < 0 and value < -least]
    if sure:
        return min(sure, key=lambda name: effects[name][0])
    return "nothing" if all(low > -possible for _, low, *_ in effects.values()) else None
