"""Measures of one cloud in one report: each beside its null value, each absent one with the reason, and a verdict."""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import SCORES

# Name in the report -> name in SCORES.
COVARIANCE = {
    "isoscore": "iso_score",
    "isoscore_unbiased": "iso_score_unbiased",
    "participation_ratio": "participation_ratio",
    "participation_ratio_unbiased": "participation_ratio_unbiased",
    "effective_rank": "effective_rank",
    "mean_cosine": "mean_cosine",
    "mean_share": "mean_share",
}
POINTS = ("twonn", "partition_isotropy", "log_partition_isotropy")
MEASURES = (*COVARIANCE, *POINTS)
# Seconds on one slow core, as measured; above the cap a measure is not begun unless it is asked for by name.
SECONDS = {"twonn": lambda n, d: n * n * d / 1.5e10, "partition_isotropy": lambda n, d: n * d / 5e5}
SECONDS["log_partition_isotropy"] = SECONDS["partition_isotropy"]
CAP = 120.0
# A row is a sink where its length exceeds this many times the median length.
SINK = 10.0
# A half that differs from its null by less than this share is called slightly off.
SLIGHT = 0.1
# e^-745 is the least positive number of float64.
LEAST_LOG = -745.0
# Titles of the chapters that the verdict sends to.
CHAPTERS = {"spectral": "What is isotropy?", "mean": "Shift-invariance", "none": "The guarantee"}


@dataclass(frozen=True)
class Report:
    """Measures of a cloud of n samples in d dimensions.

    `values` and `null` are keyed alike: what was measured, and what an isotropic Gaussian cloud of this n and d gives,
    where a formula for that exists. `absent` says for every other measure why it has no value. `notes` hold what
    weakens a value, such as rows without direction. `sinks` are the rows far out, `without_sinks` the two halves
    without them, `verdict` the two lines for people.
    """

    n: int
    d: int
    radius: float
    values: dict[str, float] = field(default_factory=dict)
    null: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sinks: list[int] = field(default_factory=list)
    without_sinks: dict[str, float] = field(default_factory=dict)
    verdict: list[str] = field(default_factory=list)


def report(
    x: Float[Tensor, "n d"],
    measures: Collection[str] = (),
    without: Collection[str] = (),
    radius: float = 1.0,
    begin: Callable[[str], None] = lambda doing: None,
) -> Report:
    """The `measures` of the rows of x (n, d), all if none is named, but those `without`; a reason where one is absent.

    Partition isotropy takes the rows as output embeddings, in the ball of `radius`. TwoNN takes O(n^2 d) time, all else
    O(n d^2); above `CAP` seconds a measure waits to be named. `begin` hears of each before it starts.
    Raises IsonumError only where nothing can be measured: a wrong shape, no rows, NaN or infinity, an unknown name.
    """
    if unknown := [name for name in (*measures, *without) if name not in MEASURES]:
        raise IsonumError(f"a measure was expected, got {unknown[0]!r}. There are: {', '.join(MEASURES)}.")
    chosen = [name for name in MEASURES if (not measures or name in measures) and name not in without]
    if not chosen:
        raise IsonumError("at least one measure was expected, got none: all that were named are also left out.")
    if not 0 < radius < math.inf:
        raise IsonumError(f"a radius above 0 was expected, got {radius}. Take the length of the states that read x.")
    moments = Moments.of(x)
    found = Report(moments.n, moments.d, radius)
    points = _points(x, radius)
    for name in chosen:
        seconds = SECONDS[name](found.n, found.d) if name in SECONDS else 0
        if seconds > CAP and name not in measures:
            found.absent[name] = (
                f"not begun: about {seconds:.0f} s for {found.n} rows, more than {CAP:.0f}. Ask with --measures {name}."
            )
            continue
        begin(f"{name}, about {seconds:.0f} s")
        if name in points:
            _enter(found, name, points[name])
            continue
        score = SCORES[COVARIANCE[name]]
        _enter(found, name, lambda score=score: float(score.function(moments)))
        if name in found.values and score.null is not None:
            found.null[name] = float(score.null(moments.n, moments.d))
        if name in found.values and (note := score.note(found.values[name], moments.n, moments.d)):
            found.notes.append(f"{name}: {note}")
    if 1 < found.n and 4 * found.n <= found.d:
        found.notes.append(f"{found.n} rows of {found.d} numbers: if samples are columns here, transpose the array")
    _judge(found, x, moments)
    return found


def _points(x: Tensor, radius: float) -> dict[str, Callable[[], float]]:
    """The measures of the points; partition isotropy and its logarithm come from one search."""

    @functools.cache
    def search():
        from isonum_core.geometry.partition import partition_isotropy

        return partition_isotropy(x, radius=radius)

    def twonn() -> float:
        from isonum_core.geometry.neighbours import two_nn

        return float(two_nn(x))

    def value() -> float:
        if search().log_value < LEAST_LOG:
            raise IsonumError(
                f"below e^{LEAST_LOG:.0f}, the least number of float64: read log_partition_isotropy, or take a "
                "smaller --radius."
            )
        return search().value

    return dict(zip(POINTS, (twonn, value, lambda: search().log_value), strict=True))


def _enter(found: Report, name: str, measure: Callable[[], float]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", WeakNumberWarning)
        try:
            found.values[name] = measure()
        except IsonumError as error:
            found.absent[name] = str(error)
    for warning in caught:
        note = f"{name}: {warning.message}"
        if note not in found.notes:
            found.notes.append(note)


def _affordable(found: Report, name: str, asked: Collection[str]) -> bool:
    cost = COST[name](found.n, found.d)
    if cost > CAP and name not in asked:
        found.absent[name] = (
            f"left out: {cost:.0e} multiplications for {found.n} rows, more than {CAP:.0e}. Ask with --measures {name}."
        )
    return cost <= CAP or name in asked


def _judge(found: Report, x: Tensor, moments: Moments) -> None:
    """Which half is off, against its null and its sinks, and the chapter to read."""
    lengths = torch.linalg.vector_norm(x, dim=1)
    far = (lengths > SINK * lengths.median()) & (lengths.median() > 0)
    found.sinks.extend(far.nonzero().flatten().tolist())
    (mean_off, mean), (spectrum_off, spectrum) = _mean_half(moments), _spectral_half(moments)
    found.verdict.append(f"The mean half {mean}; the spectral half {spectrum}.")
    sinks = f"No row is longer than {SINK:.0f} times the median"
    if found.sinks:
        rest = Moments.of(x, ~far)
        found.without_sinks["n"] = rest.n
        for name in ("mean_share", "isoscore_unbiased"):
            with contextlib.suppress(IsonumError):  # the sentence says that it cannot be told
                found.without_sinks[name] = float(SCORES[COVARIANCE[name]].function(rest))
        sinks = (
            f"Sinks, rows longer than {SINK:.0f} times the median: {len(found.sinks)}, the first at row "
            f"{found.sinks[0]} (from 0). Without, the mean half {_mean_half(rest)[1]}; the spectral half "
            f"{_spectral_half(rest)[1]}"
        )
    fine = mean_off is spectrum_off is False and not found.sinks
    chapter = CHAPTERS["none" if fine else "mean" if mean_off and not spectrum_off and not found.sinks else "spectral"]
    found.verdict.append(f"{sinks}. Read next: {chapter}")


def _mean_half(m: Moments) -> tuple[bool | None, str]:
    """Whether the mean is longer than n independent rows explain, None where that cannot be told, and the words."""
    try:
        share, pr = (float(SCORES[name].function(m)) for name in ("mean_share", "participation_ratio"))
    except IsonumError:
        return None, f"cannot be told from n = {m.n}" + (" rows that do not differ" if m.n > 1 else "")
    # n |mean|^2 / tr C has mean 1 and variance 2 / PR where the law has mean zero: four standard deviations
    off = share * m.n > (1 - share) * (1 + 4 * math.sqrt(2 / pr))
    word = "is as in a centred cloud" if not off else "is off" if share >= SLIGHT else "is slightly off"
    return off, f"{word} (the mean carries {share:.2%} of the mean squared length, by chance {1 / (m.n + 1):.2%})"


def _spectral_half(m: Moments) -> tuple[bool | None, str]:
    """Whether the variance is less even than n independent rows explain, None where that cannot be told; the words."""
    if m.d == 1:
        return None, "is one direction alone"
    try:
        pr = float(SCORES["participation_ratio_unbiased"].function(m))
        plain = float(SCORES["participation_ratio"].function(m))
    except IsonumError:
        return None, f"cannot be told from n = {m.n}"
    # d / PR of isotropic Gaussian rows is estimated with a standard deviation of 2 / n: three of them. Rows of unequal
    # length widen it by the factor E |x|^4 / (E |x|^2)^2, which is also what lowers the plain ratio: 1/PR + factor / n.
    noise = 6 / m.n * max(1.0, m.n * (1 / plain - 1 / pr))
    off = m.d / pr - 1 > noise
    if not off and noise > 0.5:
        return None, f"cannot be told: too few rows carry its variance (n = {m.n})"
    word = "is as in an even cloud" if not off else "is off" if (pr - 1) / (m.d - 1) < 1 - SLIGHT else "is slightly off"
    return off, f"{word} (the variance fills about {min(max(pr, 1.0), m.d):.3g} of {m.d} directions)"
