"""Measures of one cloud in one report: each beside its null value, each absent one with the reason, and a verdict."""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.neighbours import two_nn
from isonum_core.geometry.partition import partition_isotropy
from isonum_core.geometry.scores import SCORES
from isonum_core.geometry.sinks import SinkMoments

# Name in the report -> name in SCORES.
SPECTRAL = "iso_score iso_score_unbiased participation_ratio participation_ratio_unbiased effective_rank".split()
COVARIANCE = {name.replace("iso_score", "isoscore"): name for name in (*SPECTRAL, "mean_cosine", "mean_share")}
# Seconds on one slow core, as measured; above the cap a measure is not begun unless it is asked for by name.
SECONDS = {"twonn": lambda n, d: n * n * d / 1.5e10, "partition_isotropy": lambda n, d: n * d / 5e5}
SECONDS["log_partition_isotropy"] = SECONDS["partition_isotropy"]
MEASURES = (*COVARIANCE, *SECONDS)
CAP = 120.0
SINK = 10.0  # times the median length: a row beyond is a sink
SLIGHT = 0.1  # a half that differs from its null by a smaller share is called slightly off
# Titles of the chapters that the verdict sends to.
CHAPTERS = {"spectral": "What is isotropy?", "mean": "Shift-invariance", "none": "The guarantee"}


@dataclass(frozen=True)
class Report:
    """Measures of a cloud of n samples in d dimensions.

    `values` and `null` are keyed alike: what was measured, and what an isotropic Gaussian cloud of this n and d gives,
    where a formula for that exists. `absent` says why another has no value, `notes` what weakens one. `sinks` are the
    rows far out, `without_sinks` the two halves without them, `verdict` the two lines for people.
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
    chosen = [name for name in MEASURES if (not measures or name in measures) and name not in without]
    unknown = [repr(name) for name in (*measures, *without) if name not in MEASURES]
    if unknown or not chosen:
        got = ", ".join(unknown) or "none that is not left out"
        raise IsonumError(f"a measure was expected, got {got}. There are: {', '.join(MEASURES)}.")
    if not 0 < radius < math.inf:
        raise IsonumError(f"a radius above 0 was expected, got {radius}. Take the length of the states that read x.")
    parts = SinkMoments.of(x).split(SINK)
    m = parts.everything
    found = Report(m.n, m.d, radius, sinks=parts.sinks.tolist())
    search = functools.cache(lambda: partition_isotropy(x, radius=radius))  # one for the value and its logarithm
    points = dict(zip(SECONDS, (lambda: two_nn(x), lambda: search().value, lambda: search().log_value), strict=True))
    for name in chosen:
        seconds = SECONDS[name](m.n, m.d) if name in SECONDS else 0
        if seconds > CAP and name not in measures:
            found.absent[name] = (
                f"not begun: about {seconds:.0f} s for {m.n} rows, more than {CAP:.0f}. Ask with --measures {name}."
            )
            continue
        begin(f"{name}, about {seconds:.0f} s")
        score = SCORES.get(COVARIANCE.get(name))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", WeakNumberWarning)
            try:
                value = found.values[name] = float(score.function(m) if score else points[name]())
            except IsonumError as error:
                found.absent[name] = str(error)
        notes = [str(warning.message) for warning in caught]
        if score and name in found.values:
            if score.null:
                found.null[name] = float(score.null(m.n, m.d))
            notes += [note] if (note := score.note(value, m.n, m.d)) else []
        found.notes.extend(dict.fromkeys(f"{name}: {note}" for note in notes))
    if 1 < m.n and 4 * m.n <= m.d:
        found.notes.append(f"{m.n} rows of {m.d} numbers: if samples are columns here, transpose the array")
    (off, words), sinks = halves(m), f"No row is longer than {SINK:.0f} times the median."
    if found.sinks:
        found.without_sinks.update(n=parts.without.n, **defined(parts.without, ["mean_share", "isoscore_unbiased"]))
        sinks = (
            f"Sinks, rows longer than {SINK:.0f} times the median: {len(found.sinks)}, the first at row "
            f"{found.sinks[0]} (from 0). Without: {halves(parts.without)[1]}"
        )
    found.verdict.extend([words, f"{sinks} Read next: {read_next(*off, bool(found.sinks))}"])
    return found


def defined(m: Moments, names: Collection[str]) -> dict[str, float]:
    """The covariance measures of these names that m has."""
    found = {}
    for name in names:
        with contextlib.suppress(IsonumError):
            found[name] = float(SCORES[COVARIANCE[name]].function(m))
    return found


def halves(m: Moments) -> tuple[tuple[bool | None, bool | None], str]:
    """Which half is off against its null: mean and spectral, None where that cannot be told; and a sentence."""
    (mean_off, mean), (spectrum_off, spectrum) = _mean_half(m), _spectral_half(m)
    return (mean_off, spectrum_off), f"The mean half {mean}; the spectral half {spectrum}."


def read_next(mean_off: bool | None, spectrum_off: bool | None, sinks: bool) -> str:
    """Title of the chapter that says what to make of it."""
    fine = mean_off is spectrum_off is False
    return CHAPTERS["spectral" if sinks else "mean" if mean_off and not spectrum_off else "none" if fine else "spectral"]


def _mean_half(m: Moments) -> tuple[bool | None, str]:
    """Whether the mean is longer than n independent rows explain, None where that cannot be told, and the words."""
    try:
        share, pr = (float(SCORES[name].function(m)) for name in ("mean_share", "participation_ratio"))
    except IsonumError:
        return None, f"cannot be told from n = {m.n}" + " rows that do not differ" * (m.n > 1)
    # n |mean|^2 / tr C has mean 1 and variance 2 / PR where the law has mean zero: four standard deviations
    off = share * m.n > (1 - share) * (1 + 4 * math.sqrt(2 / pr))
    word = "is as in a centred cloud" if not off else "is off" if share >= SLIGHT else "is slightly off"
    return off, f"{word} (the mean carries {share:.2%} of the mean squared length, by chance {1 / (m.n + 1):.2%})"


def _spectral_half(m: Moments) -> tuple[bool | None, str]:
    """Whether the variance is less even than n independent rows explain, None where that cannot be told; the words."""
    if m.d == 1:
        return None, "is one direction alone"
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
    word = "is as in an even cloud" if not off else "is off" if (pr - 1) / (m.d - 1) < 1 - SLIGHT else "is slightly off"
    return off, f"{word} (the variance fills about {min(max(pr, 1.0), m.d):.3g} of {m.d} directions)"
