"""Every isotropy number that the book compares, taken once from the same states: the two halves and their rivals."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import WeakNumberWarning
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.neighbours import cluster_centred_cosine, two_nn
from isonum_core.geometry.partition import partition_isotropy, partition_isotropy_centred
from isonum_core.geometry.scores import iso_score, mean_cosine, mean_share
from isonum_core.theory.gauges import logit_participation_ratio

MEASURES = (
    "mean_cosine",  # the mean half
    "mean_share",
    "iso_score",  # the spectral half
    "logit_pr",  # of the centred logits: the same in every gauge
    "two_nn",
    "cluster_cosine",  # as published in arXiv 2505.17135
    "partition_isotropy",  # of the output embeddings, at the states' own length
    "partition_isotropy_centred",
)
DIGITS = 6  # of a number in a table
LEAST_STATES = 32  # distinct states below which k-means up to 16 clusters and ratios of neighbours say nothing


def measured(states: Float[Tensor, "n d"], table: Float[Tensor, "N d"] | None) -> dict[str, float | None]:
    """MEASURES of the states that a head with output embeddings `table` reads.

    Without a table the three measures that need one are None; with fewer than 32 distinct states all are. TwoNN takes
    each distinct state once. Partition isotropy is log I in nats, at most 0, on the sphere of radius rms |h|: I itself
    spans thirty decades. The published cosine draws among more than 1000 states, always the same ones.
    """
    h = states.detach().double().cpu()
    distinct = h.unique(dim=0)
    found: dict[str, float | None] = dict.fromkeys(MEASURES)
    if len(distinct) < LEAST_STATES:
        return found
    m = Moments.of(h)
    found |= {score.__name__: float(score(m)) for score in (mean_cosine, mean_share, iso_score)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WeakNumberWarning)  # clusters of equal points: the published code has them too
        # The tables were made before states that differ by rounding were one: the next full run drops roundings=0.
        found |= {
            "two_nn": two_nn(distinct, roundings=0.0),
            "cluster_cosine": cluster_centred_cosine(h, np.random.default_rng(0)).value,
        }
    if table is not None:
        w, radius = table.detach().double().cpu(), float(h.square().sum(1).mean().sqrt())
        found["logit_pr"] = float(logit_participation_ratio(m, w))
        found["partition_isotropy"] = partition_isotropy(w, radius).log_value
        found["partition_isotropy_centred"] = partition_isotropy_centred(w, radius).log_value
    return found


def short(value: float | int | None, digits: int = DIGITS) -> float | int | None:
    """A float to the digits that are kept: a table is read, compared and stored, and rounding noise is neither."""
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
