"""IsoScore of clouds that hold equally many token types: how a fair comparison of two vocabularies is drawn."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.null import iso_score_null, unbiased_traces
from isonum_core.geometry.scores import iso_score
from isonum_core.networks.capture import Sample


def equal_types(
    sample: Sample, types: int, draws: int, rng: np.random.Generator, among: Collection[int]
) -> pd.DataFrame:
    """IsoScore at each site of clouds of `types` token types `among` these, one occurrence each, over draws of both.

    One row a site, with n = types. `iso_score` is the mean over draws of the plain score, biased low where n is not
    large; `null` what an isotropic cloud of that n and d has. `unbiased` pools the two unbiased traces over draws
    before dividing. `_low` and `_high` are the 95 % percentile bootstrap over draws: they speak of the choice of types
    and occurrences within this sample, not of other samples, and the draws share their occurrences.
    Raises IsonumError with fewer than 4 types (the estimator needs 4 samples) or 2 draws.
    """
    if types < 4 or draws < 2:
        raise IsonumError(f"at least 4 types and 2 draws are needed, got {types} and {draws}. Ask for more of them.")
    chosen = [sample.one_per_type(types, rng, among) for _ in range(draws)]
    rows = []
    for site, states in sample.states.items():
        clouds = [Moments.of(states[drawn].double()) for drawn in chosen]
        plain = np.array([float(iso_score(m)) for m in clouds])
        tops, bottoms = np.array([[float(t) for t in unbiased_traces(m)] for m in clouds]).T
        d = states.shape[1]

        def pooled(top, bottom, axis=-1, d=d):
            return (top.mean(axis=axis) / bottom.mean(axis=axis) - 1) / (d - 1)

        # The same resamples at every site, so that sites can be compared.
        options = dict(n_resamples=999, method="percentile", paired=True, vectorized=True)
        a = bootstrap((plain,), np.mean, rng=np.random.default_rng(0), **options).confidence_interval
        b = bootstrap((tops, bottoms), pooled, rng=np.random.default_rng(0), **options).confidence_interval
        rows.append(
            dict(site=site, types=types, n=types, d=d, null=iso_score_null(types, d))
            | dict(iso_score=plain.mean(), iso_score_low=a.low, iso_score_high=a.high)
            | dict(unbiased=pooled(tops, bottoms), unbiased_low=b.low, unbiased_high=b.high)
        )
    return pd.DataFrame(rows)
