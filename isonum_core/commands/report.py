"""Measures of one cloud in one report: each beside its null value, each absent one with the reason, and a verdict."""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import SCORES, outlier_dimensions
from isonum_core.geometry.sinks import SINK, SinkMoments, SinkSplit

# Name in the report -> what it is of moments: scores, and how much of the variance is in one place.
SPECTRAL = "iso_score iso_score_unbiased participation_ratio participation_ratio_unbiased effective_rank".split()
COVARIANCE: dict[str, Callable[[Moments], Tensor | float]] = {
    name.replace("iso_score", "isoscore"): SCORES[name].function for name in (*SPECTRAL, "mean_cosine", "mean_share")
}
COVARIANCE["top_dimension"] = lambda m: m.variances.max() / m.trace
COVARIANCE["top_direction"] = lambda m: m.eigenvalues[0] / m.trace
COVARIANCE["outlier_dimensions"] = lambda m: float(len(outlier_dimensions(m)))
# CPU seconds on one core, as measured; above the cap a measure is not begun unless it is asked for by name.
SECONDS = {"twonn": lambda n, d: n * n * d / 1.5e10, "partition_isotropy": lambda n, d: n * d / 1.5e6}
SECONDS["log_partition_isotropy"] = SECONDS["partition_isotropy"]
MEASURES = (*COVARIANCE, *SECONDS)
# Unbiased estimates, and where in d dimensions the numbers lie that they are of.
UNBIASED = {"isoscore_unbiased": lambda d: (0, 1), "participation_ratio_unbiased": lambda d: (1, d)}
CAP = 120.0
SLIGHT = 0.1  # a half that differs from its null by a smaller share is called slightly off
# Titles of the chapters that the verdict sends to.
CHAPTERS = {"spectral": "What is isotropy?", "mean": "Shift-invariance", "none": "The guarantee"}


@dataclass(frozen=True)
class Report:
    """Measures of a cloud of n samples in d dimensions.

    `values` and `null` are keyed alike: what was measured, and what an isotropic Gaussian cloud of this n and d gives,
    where a formula for that exists. `absent` says why another has no value, `notes` what weakens one. `sinks` are the
    places of the rows far out, `longest` the largest length over the median, `without_sinks` n and the measures of the
    rest. `off` says which half is off without sinks, mean and spectral; `verdict` are two lines for people.
    """

    n: int
    d: int
    radius: float
    values: dict[str, float] = field(default_factory=dict)
    null: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    outliers: list[int] = field(default_factory=list)
    sinks: list[int] = field(default_factory=list)
    longest: float | None = None
    without_sinks: dict[str, float] = field(default_factory=dict)
    off: list[bool | None] = field(default_factory=list)
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
    chosen = [name for name in MEASURES if (not measures or name in measures) and name not in without]
    unknown = [repr(name) for name in (*measures, *without) if name not in MEASURES]
    if unknown or not chosen:
        got = ", ".join(unknown) or "none that is not left out"
        raise IsonumError(f"a measure was expected, got {got}. There are: {', '.join(MEASURES)}.")
    if not 0 < radius < math.inf:
        raise IsonumError(f"a radius above 0 was expected, got {radius}. Take the length of the states that read x.")

    def neighbours() -> float:
        from isonum_core.geometry.neighbours import two_nn  # scikit-learn costs three seconds of imports

        return two_nn(x)

    @functools.cache  # one for the value and its logarithm
    def search() -> object:
        from isonum_core.geometry.partition import partition_isotropy  # SciPy's search costs half a second of imports

        return partition_isotropy(x, radius=radius)

    points = dict(zip(SECONDS, (neighbours, lambda: search().value, lambda: search().log_value), strict=True))
    return report_of(SinkMoments.of(x).split(), chosen, points, measures, radius, begin)


def report_of(
    parts: SinkSplit,
    chosen: Collection[str],
    points: Mapping[str, Callable[[], float]],
    asked: Collection[str] = (),
    radius: float = 1.0,
    begin: Callable[[str], None] = lambda doing: None,
    rest: Mapping[str, Callable[[], float]] = MappingProxyType({}),
) -> Report:
    """As `report`, of rows whose moments are known.

    `points` has what else is chosen, which needs the rows themselves, and `rest` the same without sinks.
    """
    m = parts.everything
    longest = parts.longest if math.isfinite(parts.longest) else None
    found = Report(m.n, m.d, radius, sinks=parts.sinks.tolist(), longest=longest)
    for name in chosen:
        seconds = SECONDS[name](m.n, m.d) if name in SECONDS else 0
        if seconds > CAP and name not in asked:
            found.absent[name] = (
                f"not begun: about {seconds:.0f} s for {m.n} rows, more than {CAP:.0f}. Ask with --measures {name}."
            )
            continue
        begin(f"{name}, about {seconds:.0f} s")
        score = SCORES.get(name.replace("isoscore", "iso_score"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", WeakNumberWarning)
            try:
                value = found.values[name] = float(COVARIANCE[name](m) if name in COVARIANCE else points[name]())
            except IsonumError as error:
                found.absent[name] = str(error)
        notes = [str(warning.message) for warning in caught]
        if score and name in found.values:
            if score.null:
                found.null[name] = float(score.null(m.n, m.d))
            low, high = UNBIASED.get(name, lambda d: (-math.inf, math.inf))(m.d)
            if not low <= value <= high:
                notes.append(f"{value:.6g} lies outside [{low}, {high}], as an unbiased estimate from few samples may.")
        found.notes.extend(dict.fromkeys(f"{name}: {note}" for note in notes))
    if found.values.get("outlier_dimensions"):
        found.outliers.extend(outlier_dimensions(m).tolist())
    if 1 < m.n and 4 * m.n <= m.d:
        found.notes.append(f"{m.n} rows of {m.d} numbers: if samples are columns here, transpose the array")
    off, words = _halves(m)
    sinks = f"No row is longer than {SINK:.0f} times the median."
    if found.sinks:
        found.without_sinks.update(n=parts.without.n, **_defined(parts.without, chosen, rest))
        off, without = _halves(parts.without)
        sinks = (
            f"Sinks, rows longer than {SINK:.0f} times the median: {len(found.sinks)}, the first at row "
            f"{found.sinks[0]} (from 0). Without: {without}"
        )
    found.off.extend(off)
    found.verdict.extend([words, f"{sinks} Read next: {read_next(*off, bool(found.sinks))}"])
    return found


def read_next(mean_off: bool | None, spectrum_off: bool | None, sinks: bool) -> str:
    """Title of the chapter that says what to make of it."""
    if sinks or spectrum_off or mean_off is None or (not mean_off and spectrum_off is None):
        return CHAPTERS["spectral"]
    return CHAPTERS["mean" if mean_off else "none"]


def _defined(m: Moments, names: Collection[str], points: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Those that have a value among these names; what weakens them was noted before."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WeakNumberWarning)
        for name in (name for name in names if name in COVARIANCE or name in points):
            with contextlib.suppress(IsonumError):
                found[name] = float(points[name]() if name in points else COVARIANCE[name](m))
    return found


def _halves(m: Moments) -> tuple[tuple[bool | None, bool | None], str]:
    """Which half is off against its null: mean and spectral, None where that cannot be told; and a sentence."""
    (mean_off, mean), (spectrum_off, spectrum) = _mean_half(m), _spectral_half(m)
    return (mean_off, spectrum_off), f"Mean half: {mean}; spectral half: {spectrum}."


def _mean_half(m: Moments) -> tuple[bool | None, str]:
    """Whether the mean is longer than n independent rows explain, None where that cannot be told, and the words."""
    try:
        share, pr = (float(SCORES[name].function(m)) for name in ("mean_share", "participation_ratio"))
    except IsonumError:
        return None, f"cannot be told from n = {m.n}" + " rows that do not differ" * (m.n > 1)
    # n |mean|^2 / tr C has mean 1 and variance 2 / PR where the law has mean zero: four standard deviations
    off = share * m.n > (1 - share) * (1 + 4 * math.sqrt(2 / pr))
    far = "slightly off" if share < SLIGHT else "off"
    word = f"rows lie {far if off else 'around'} the origin"
    return off, f"{word} (the mean carries {share:.2%} of the mean squared length, by chance {1 / (m.n + 1):.2%})"


def _spectral_half(m: Moments) -> tuple[bool | None, str]:
    """Whether the variance is less even than n independent rows explain, None where that cannot be told; the words."""
    if m.d == 1:
        return None, "there is one direction alone"
    try:
        pr, plain = (float(SCORES[f"participation_ratio{name}"].function(m)) for name in ("_unbiased", ""))
    except IsonumError:
        return None, f"cannot be told from n = {m.n}"
    # d / PR of isotropic Gaussian rows is estimated with a standard deviation of 2 / n: three of them. Rows of unequal
    # length widen it by the factor E |x|^4 / (E |x|^2)^2, which is also what lowers the plain ratio: 1/PR + factor / n.
    noise = 6 / m.n * max(1.0, m.n * (1 / plain - 1 / pr))
    off = m.d / pr - 1 > noise
    if not off and noise > 0.5:
        return None, f"cannot be told: too few rows carry its variance (n = {m.n})"
    far = "slightly uneven" if (pr - 1) / (m.d - 1) >= 1 - SLIGHT else "uneven"
    word = f"variance is {far if off else 'even'}"
    return off, f"{word} (it fills about {min(max(pr, 1.0), m.d):.3g} of {m.d} directions)"
