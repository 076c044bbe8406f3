"""All measures of one cloud in one report: each beside its null value, and each absent one with the reason."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.neighbours import two_nn
from isonum_core.geometry.partition import partition_isotropy
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
POINTS = {
    "twonn": two_nn,
    "partition_isotropy": lambda x: partition_isotropy(x, radius=1.0).value,
}


@dataclass(frozen=True)
class Report:
    """Measures of a cloud of n samples in d dimensions.

    `values` and `null` are keyed alike: what was measured, and what an isotropic Gaussian cloud of this n and d gives,
    where a formula for that exists. `absent` says for every other measure why it has no value. `notes` hold what
    weakens a value, such as rows without direction.
    """

    n: int
    d: int
    values: dict[str, float] = field(default_factory=dict)
    null: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def report(x: Float[Tensor, "n d"]) -> Report:
    """Every measure that is defined for the rows of x (n, d), and the reason for each that is not.

    partition_isotropy takes the rows as output embeddings, at radius 1. TwoNN takes O(n^2 d) time, all else O(n d^2).
    Raises IsonumError only where nothing can be measured: a wrong shape, no rows, NaN or infinity.
    """
    moments = Moments.of(x)
    found = Report(moments.n, moments.d)
    for name, key in COVARIANCE.items():
        score = SCORES[key]
        _enter(found, name, lambda score=score: float(score.function(moments)))
        if name in found.values and score.null is not None:
            found.null[name] = float(score.null(moments.n, moments.d))
        if name in found.values and (note := score.note(found.values[name], moments.n, moments.d)):
            found.notes.append(f"{name}: {note}")
    for name, measure in POINTS.items():
        _enter(found, name, lambda measure=measure: float(measure(x)))
    return found


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
