"""All measures from the same states: each is the function it is named after, and None where it is not defined."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.neighbours import cluster_centred_cosine, two_nn
from isonum_core.geometry.partition import partition_isotropy, partition_isotropy_centred
from isonum_core.geometry.scores import iso_score, mean_cosine, mean_share
from isonum_core.studies.anatomy import LEAST_STATES, MEASURES, measured
from isonum_core.theory.gauges import linear_gauge, logit_participation_ratio, row_gauge


def cloud(n=120, d=6, seed=0):
    g = np.random.default_rng(seed)
    return torch.from_numpy(g.normal(size=(n, d)) * np.arange(1, d + 1) + 1), torch.from_numpy(g.normal(size=(20, d)))


def test_each_number_is_what_its_name_says():
    h, w = cloud()
    found, m, radius = measured(h, w), Moments.of(h), float((h**2).sum(1).mean().sqrt())
    assert tuple(found) == MEASURES
    assert found == pytest.approx(
        {
            "mean_cosine": float(mean_cosine(m)),
            "mean_share": float(mean_share(m)),
            "iso_score": float(iso_score(m)),
            "logit_pr": float(logit_participation_ratio(m, w)),
            "two_nn": two_nn(h),
            "cluster_cosine": cluster_centred_cosine(h, np.random.default_rng(0)).value,
            "partition_isotropy": partition_isotropy(w, radius).log_value,
            "partition_isotropy_centred": partition_isotropy_centred(w, radius).log_value,
        },
        rel=1e-12,
    )


def test_measures_are_a_function_of_the_states_also_where_the_published_cosine_draws_some():
    h, w = cloud(n=1200)
    assert measured(h, w) == measured(h, w)


def test_only_the_centred_logits_are_the_same_in_every_gauge(rng):
    h, w = cloud()
    plain = measured(h, w)
    shifted = measured(h, row_gauge(w, torch.ones(6).double() * 3))
    t = torch.from_numpy(rng.normal(size=(6, 6)))
    turned = measured(*reversed(linear_gauge(w, h, t)))
    assert plain["logit_pr"] == pytest.approx(shifted["logit_pr"], rel=1e-9)
    assert plain["logit_pr"] == pytest.approx(turned["logit_pr"], rel=1e-6)
    assert abs(plain["partition_isotropy"] - shifted["partition_isotropy"]) > 1
    assert abs(plain["iso_score"] - turned["iso_score"]) > 0.01


def test_without_a_table_and_with_few_distinct_states_numbers_are_missing():
    h, w = cloud()
    missing = [name for name, value in measured(h, None).items() if value is None]
    assert missing == ["logit_pr", "partition_isotropy", "partition_isotropy_centred"]
    few = h[: LEAST_STATES - 1].repeat(4, 1)
    assert set(measured(few, w).values()) == {None}


def test_repeated_states_count_once_for_neighbours_and_warn_nobody():
    h, _ = cloud()
    twice = measured(torch.cat([h, h]), None)
    assert twice["two_nn"] == measured(h, None)["two_nn"]
