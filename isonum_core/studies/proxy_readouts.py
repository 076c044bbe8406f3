"""What is asked of one site: how its read-outs err on new rows, and what the rows that taught them say beforehand.

Read-outs: ridge with the penalty that leaving one out prefers (`tuned`), a tenth (`fixed`) or a thousandth (`weak`) of
the mean eigenvalue; gradient descent from zero at rate 1 / (largest eigenvalue), its steps preferred likewise (`timed`)
or STEPS of them (`stopped`). Whitening is fitted on the rows that teach; it keeps the mean eigenvalue, and with it what
is fixed.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from scipy.optimize import nnls
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.neighbours import two_nn
from isonum_core.geometry.partition import partition_isotropy
from isonum_core.geometry.scores import effective_rank, iso_score, mean_cosine, mean_share
from isonum_core.theory.readout import (
    Aligned,
    Readout,
    aligned,
    early_stopped,
    gcv,
    leave_one_out,
    left_out,
    raised,
    ridge,
    spectral_risk,
)

STEPS = 32
PENALTIES, TIMES = 10.0 ** np.arange(-5, 2.5, 0.5), 2.0 ** np.arange(11, -1, -1)  # the strongest last
READOUTS: dict[str, Callable[[Tensor], list[Readout]]] = {
    "tuned": lambda l: [ridge(float(p * l.mean())) for p in PENALTIES],
    "fixed": lambda l: [ridge(float(l.mean() / 10))],
    "weak": lambda l: [ridge(float(l.mean() / 1000))],
    "timed": lambda l: [early_stopped(float(t / l[0])) for t in TIMES],
    "stopped": lambda l: [early_stopped(float(STEPS / l[0]))],
}
FREE = ("iso_score", "mean_cosine", "mean_share", "partition", "two_nn", "rank_me", "effective_rank", "alpha")
FREE += ("self_cluster", "top_share")
LABELLED = ("log_me", "h_score", "train", "gcv", "risk", "loo")
FIFTHS, NEAR = 5, 0.01  # classes that a target is cut into; exponents around 1 that the sensitivity is read between
SHARES, SUBSETS = (0.25, 0.375, 0.5, 0.75), 8  # of the curve fitted to subsamples
TIE = 1.001  # of equally good ones the strongest is taken: where all are equal, rounding would choose


class Taught(NamedTuple):
    """Rows that teach, in their own basis, and the way into it: `basis` maps centred states to `cloud.states`."""

    cloud: Aligned
    centre: Float[Tensor, " d"]
    middle: Float[Tensor, " m"]
    basis: Float[Tensor, "d r"]

    @classmethod
    def of(cls, h: Float[Tensor, "n d"], y: Float[Tensor, "n m"]) -> Taught:
        """IsonumError without three rows that differ."""
        a = aligned(h, y)
        return cls(a, h.mean(0), y.mean(0), (h - h.mean(0)).mT @ a.states / (a.spectrum * a.freedom))

    def misses(self, h: Float[Tensor, "k d"], y: Float[Tensor, "k m"], filters: Float[Tensor, "r m"]) -> Tensor:
        """Residuals (k, m) of other rows, each target under its own filter."""
        a = self.cloud
        weights = filters * a.shared / a.spectrum[:, None]
        return y - self.middle - (h - self.centre) @ self.basis @ weights


def whitened(a: Aligned) -> Aligned:
    """The same rows with all eigenvalues equal to their mean."""
    return raised(a, 0.0)


def preferred(a: Aligned, readouts: list[Readout]) -> tuple[Int[Tensor, " m"], Float[Tensor, "g m"]]:
    """For each target the place of the read-out that leaving one out prefers; and every mean squared error left out."""
    errors = torch.stack([(left_out(a, r.penalties) @ r.weights).real.square().mean(0) for r in readouts])
    good = errors <= TIE * errors.min(0).values
    return (good * torch.arange(1, len(readouts) + 1)[:, None]).argmax(0), errors


def filters_of(a: Aligned, name: str) -> tuple[Float[Tensor, "r m"], Float[Tensor, " m"]]:
    """Filters of one of READOUTS, a column a target, and the mean squared error left out of each."""
    readouts = READOUTS[name](a.spectrum)
    place, errors = preferred(a, readouts)
    return torch.stack([r.filter(a.spectrum) for r in readouts])[place].mT, errors.gather(0, place[None])[0]


def free_numbers(h: Float[Tensor, "n d"]) -> dict[str, float | None]:
    """FREE: what states say without labels. Missing: two_nn where distances repeat, alpha below 14 directions.

    rank_me: exp entropy of the singular values, uncentred (Garrido et al. 2023); effective_rank: of the eigenvalues of
    the covariance (matrix entropy); alpha: minus the slope of log eigenvalue on log rank, ranks 5 to r / 2, at most 100
    (Agrawal et al. 2022; the range is ours); top_share: the variance in the strongest coordinate (not direction);
    partition: log I(W; 1) (Mu and Viswanath 2018) with the states, at root mean square length 1, as rows of W;
    self_cluster: see there.
    """
    m = Moments.of(h)
    found = {f.__name__: float(f(m)) for f in (iso_score, mean_cosine, mean_share, effective_rank)}
    shares = torch.linalg.svdvals(h)
    found["rank_me"] = float(torch.special.entr(shares / shares.sum()).sum().exp())
    l = aligned(h, h[:, :1]).spectrum
    ranks = np.arange(5, min(100, len(l) // 2) + 1)
    found["alpha"] = -float(np.polyfit(np.log(ranks), np.log(l[ranks - 1].numpy()), 1)[0]) if len(ranks) > 2 else None
    variances = m.covariance.diagonal()
    found["top_share"] = float(variances.max() / variances.sum())
    found["partition"] = partition_isotropy(h / h.square().sum(1).mean().sqrt()).log_value
    found["self_cluster"] = self_cluster(h)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WeakNumberWarning)
        try:
            found["two_nn"] = two_nn(h.unique(dim=0))
        except IsonumError:
            found["two_nn"] = None
    return {name: found[name] for name in FREE}


def self_cluster(h: Float[Tensor, "n d"]) -> float:
    """Mean squared cosine of two rows, less 1/d and over 1 - 1/d: 0 if directions are uniform, 1 if they are one.

    Tsitsulin et al. 2023.
    """
    u, (n, d) = torch.nn.functional.normalize(h, dim=1), h.shape
    return float(((u.mT @ u).square().sum() - n) / (n * (n - 1)) - 1 / d) / (1 - 1 / d)


def h_scores(h: Float[Tensor, "n d"], y: Float[Tensor, "n m"]) -> list[float]:
    """The regularised H-score (Ibrahim et al. 2022) of each target, cut into fifths; larger is better.

    tr(C^-1 B) (1 - a), with C the covariance shrunk by a (Ledoit and Wolf) and B that of the class means.
    """
    covariance, shrinkage = ledoit_wolf(h.numpy())
    x, inverse, found = (h - h.mean(0)).numpy(), np.linalg.pinv(covariance, hermitian=True), []
    for column in y.T.numpy():
        part = (stats.rankdata(column, method="ordinal") - 1) * FIFTHS // len(column)
        means = np.array([x[part == k].mean(0) for k in range(FIFTHS)])
        found.append(float((1 - shrinkage) * np.trace(inverse @ means.T @ means) / FIFTHS))
    return found


def risks(a: Aligned) -> list[float]:
    """For each target the least `spectral_risk` of the tuned ridges, by sample spectrum, power less chance and noise.

    The noise is what the ridge that leaving one out prefers leaves, a degree of freedom.
    """
    readouts = READOUTS["tuned"](a.spectrum)
    chosen, _ = preferred(a, readouts)
    found = []
    for j, best in enumerate(chosen.tolist()):
        phi, shared = readouts[best].filter(a.spectrum), a.shared[:, j]
        rest = (a.targets[:, j] - a.states @ (phi * shared / a.spectrum)).square().sum()
        noise = float(rest / max(a.freedom - float(phi.sum()), 1.0))
        power = (shared.square() / a.spectrum - noise / a.freedom).clamp_min(0)
        found.append(min(float(spectral_risk(a.spectrum, power, noise, a.freedom, r)) for r in readouts))
    return found


def sensitivity(a: Aligned, name: str) -> list[float]:
    """`slope_at_one` of each target, read as a name of READOUTS says. What is tuned stays at its place on the grid."""
    chosen, _ = preferred(a, READOUTS[name](a.spectrum))
    columns = [replace(a, targets=a.targets[:, j : j + 1]) for j in range(len(chosen))]
    return [slope_at_one(one, lambda l, k=k: READOUTS[name](l)[k]) for one, k in zip(columns, chosen, strict=True)]


def slope_at_one(a: Aligned, readout_of: Callable[[Tensor], Readout]) -> float:
    """d log GCV / dp at p = 1: the spectrum l^p, kept at its mean. Above zero a flatter spectrum lowers the error."""
    sides = []
    for p in (1 + NEAR, 1 - NEAR):
        l = raised(a, p).spectrum
        sides.append(float(gcv(a, readout_of(l), spectrum=l).log()))
    return (sides[0] - sides[1]) / (2 * NEAR)


def log_me(a: Aligned) -> list[float]:
    """Log evidence a row of a linear model, for each target: strength of weights and noise at their maximum.

    You et al. 2021, on what centring leaves: freedom, not n, independent rows, or few rows would be fitted for ever.
    """
    s, z = a.spectrum * a.freedom, (a.states.mT @ a.targets).square() / (a.spectrum * a.freedom)[:, None]
    found, n, d = [], a.freedom, len(a.spectrum)
    for j, total in enumerate(a.targets.square().sum(0)):
        alpha, beta = torch.ones((), dtype=torch.float64), 1 / (total / n)
        for _ in range(200):
            t = (alpha / beta).clamp_max(1e9 * s[0])  # where nothing is linear the strength has no maximum
            m2 = (s * z[:, j] / (t + s).square()).sum()
            r2 = (z[:, j] * (t / (t + s)).square()).sum() + (total - z[:, j].sum()).clamp_min(0)
            gamma = (s / (s + t)).sum()
            beta = (n - gamma) / r2
            alpha = (gamma / m2).clamp_max(1e9 * s[0] * beta)
        fit = d * alpha.log() + n * (beta / (2 * torch.pi)).log() - (alpha + beta * s).log().sum()
        found.append(float(fit - beta * r2 - alpha * m2) / (2 * n))
    return found


def place(a: Aligned) -> Float[Tensor, " m"]:
    """A, where each target lies: 1 in the strongest direction alone, 0 in the weakest, 1/2 if spread over all evenly.

    Area under the cumulative power of what tuned ridge learns (Canatar et al. 2021 draw that curve): its power in each
    direction against the direction's rank. With few rows weak directions are not learned, so A leans to 1.
    """
    power = (filters_of(a, "tuned")[0] * a.shared).square() / a.spectrum[:, None]
    rank = (torch.arange(len(a.spectrum), dtype=torch.float64) + 0.5) / len(a.spectrum)
    return 1 - (rank @ power) / power.sum(0)


def curve(sizes: Float[np.ndarray, "k"], errors: Float[np.ndarray, "k"], n: int) -> float:
    """The error at n of the power law a + b size^-c, a and b not below zero, that is nearest in relative squares."""
    fits = []
    for c in np.linspace(0.05, 3, 60):
        design = np.column_stack([np.ones(len(sizes)), (sizes / sizes[-1]) ** -c])
        (a, b), rest = nnls(design / errors[:, None], np.ones(len(sizes)))
        fits.append((rest, a + b * (n / sizes[-1]) ** -c))
    return float(min(fits)[1])


def subsampled(
    h: Float[Tensor, "n d"], y: Float[Tensor, "n m"], names: list[str], n: int, rng: np.random.Generator
) -> dict[str, list[float]]:
    """What `curve` says of n rows: errors of SUBSETS subsets of each size on the rows left, and all rows left out."""
    sizes = [round(share * len(h)) for share in SHARES]
    errors = {name: [] for name in names}
    for size in sizes:
        met = {name: [] for name in names}
        for _ in range(SUBSETS):
            order = torch.from_numpy(rng.permutation(len(h)))
            some, rest = order[:size], order[size:]
            taught = Taught.of(h[some], y[some])
            for name in names:
                filters, _ = filters_of(taught.cloud, name)
                met[name].append(taught.misses(h[rest], y[rest], filters).square().mean(0))
        for name in names:
            errors[name].append(torch.stack(met[name]).mean(0))
    whole, said = Taught.of(h, y).cloud, {}
    for name in names:
        points = torch.stack([*errors[name], filters_of(whole, name)[1]]).numpy()
        said[name] = [curve(np.array([*sizes, len(h)], float), column, n) for column in points.T]
    return said


def foretold(a: Aligned, name: str, n: int) -> list[float | None]:
    """What each target's error would be had n rows taught: `leave_one_out` at n, least over the read-outs of a name.

    None where the rows resolve none of them.
    """
    told = []
    for readout in READOUTS[name](a.spectrum):
        with contextlib.suppress(IsonumError):
            told.append(leave_one_out(a, readout, n, each=True).mean(0))
    return torch.stack(told).min(0).values.tolist() if told else [None] * a.targets.shape[1]


def shares_of_gcv(a: Aligned, name: str, even: bool) -> list[float]:
    """GCV of each target under the tuned or fixed read-outs of a name, least over them; `even`: were it whitened."""
    l = whitened(a).spectrum if even else a.spectrum
    columns = [replace(a, targets=a.targets[:, j : j + 1]) for j in range(a.targets.shape[1])]
    return [min(float(gcv(one, r, spectrum=l)) for r in READOUTS[name](l)) for one in columns]
