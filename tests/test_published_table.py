"""The published experiment: the same windows under every change, errors by definition, relations that were put in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from isonum_core.studies import published_table as study
from isonum_core.studies.published_table import (
    CHANGES,
    EXPECTED,
    NUMBERS,
    SITES,
    Published,
    across_sets,
    effects_of,
    seen,
)
from isonum_core.worlds.kernels import PAPER_KERNELS
from isonum_core.worlds.series import find_series


@pytest.fixture
def fake(monkeypatch, rng):
    """In the place of Fracast: it says the last value, and its states are noise and the context's end."""

    def states(context, horizon):
        x = torch.from_numpy(np.hstack([context[:, -3:], rng.normal(size=(len(context), 3))]))
        return np.repeat(context[:, -1:], horizon, axis=1), dict.fromkeys(SITES, x)

    monkeypatch.setattr(study, "_series", states)


def test_both_errors_by_their_definitions(fake):
    config = Published("RBF_0.1", "fracast", "as published")
    rows = study.run(config)
    assert [row["site"] for row in rows] == [*SITES]
    context, actual = study.published_windows(config)
    assert context.shape == (48, 500) and actual.shape == (48, 48)
    square = np.square(context[:, -1:] - actual)
    assert rows[0]["nmse_published"] == pytest.approx(square.mean() / np.square(actual).mean(), rel=1e-5)
    assert rows[0]["nmse"] == pytest.approx((square / context.var(1, keepdims=True)).mean(), rel=1e-5)
    naive = [
        rows[0]["nmse"],
        (np.square(context.mean(1, keepdims=True) - actual) / context.var(1, keepdims=True)).mean(),
    ]
    assert rows[0]["nmse_naive"] == pytest.approx(min(naive), rel=1e-5)
    assert set(NUMBERS) < set(rows[0]) and rows[0]["states"] == 48


def test_a_change_leaves_what_comes_as_it_is():
    plain, short, noisy = (study.published_windows(Published("WhiteKernel_1", "fracast", change)) for change in CHANGES)
    np.testing.assert_array_equal(plain[1], short[1])
    np.testing.assert_array_equal(plain[1], noisy[1])
    np.testing.assert_array_equal(plain[0][:, -125:], short[0])
    noise = noisy[0] - plain[0]
    # Twenty thousand draws: the share is known to 1 %.
    assert np.mean(noise.std(1) / plain[0].std(1)) == pytest.approx(0.5, rel=0.01)
    again = study.published_windows(Published("WhiteKernel_1", "fracast", CHANGES[0]))
    np.testing.assert_array_equal(plain[0], again[0])


def test_real_windows_are_published_ones(shared, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", str(shared / "data"))
    context, actual = study.published_windows(Published("hospital", "fracast", CHANGES[0]))
    assert context.shape == (48, 72) and actual.shape == (48, 12)
    values = find_series("hospital").values
    assert all((values[:, :72] == row).all(1).any() for row in context[:3])


def test_the_grid_has_every_kernel_and_every_published_set():
    configs = study.grid("cpu")
    assert len(set(configs)) == len(configs) == 40 and {c.network for c in configs} == {"fracast"}
    assert {c.dataset for c in configs if c.change == "noisy"} == set(PAPER_KERNELS)


def made(rng, link=0.0, pooled=0.0, cosine=0.0, noise=0.1):
    """A table of that form: `link` ties the published cosine to the published error, `pooled` that to the right one."""
    rows, names = [], [*PAPER_KERNELS, *"abcdefgh"]
    for name in names:
        right, wrong = rng.normal(size=2)
        wrong = pooled * right + wrong
        for change in CHANGES:
            for site in SITES:
                iso = rng.uniform(0.1, 0.2) + (noise if change == "noisy" else 0)
                row = dict(dataset=name, network="fracast", change=change, site=site, states=48, clusters=2)
                row |= dict(
                    cluster_cosine=cosine + 0.01 * (link * wrong + rng.normal()), expected_cosine=0.001 * rng.normal()
                )
                row |= dict(iso_score=iso, mean_cosine=rng.normal(), nmse_published=np.exp(wrong), nmse=np.exp(right))
                rows.append(row | dict(nmse_naive=1.0))
    return pd.DataFrame(rows)


def test_correlations_over_sets_are_spearmans(rng):
    table = made(rng, link=3)
    found = across_sets(table, rng, draws=50)
    part = table[(table.change == CHANGES[0]) & (table.site == "block.3")]
    for measure in NUMBERS[:1] + NUMBERS[2:]:
        want = stats.spearmanr(part[measure], part.nmse_published).statistic
        assert found.loc[("fracast", "block.3", measure, "nmse_published"), "value"] == pytest.approx(want)
    assert found.loc[("fracast", "block.3", "cluster_cosine", "nmse_published"), "low"] > 0.3


def test_effects_are_differences_at_one_site(rng):
    table = made(rng, noise=0.3)
    effects = effects_of(table, "noisy")
    assert [*effects.index] == [*PAPER_KERNELS] and (effects.iso_score > 0).all()
    at = table[(table.dataset == "RBF_1") & (table.site == "final_norm")].set_index("change")
    assert effects.error["RBF_1"] == pytest.approx(np.log(at.nmse["noisy"] / at.nmse[CHANGES[0]]))


@pytest.mark.parametrize(
    ("which", "held", "change"),
    [
        (0, True, {}),
        (0, False, dict(cosine=0.1)),
        (1, False, dict(link=5)),
        (2, True, {}),
        (2, False, dict(pooled=20)),
        (3, True, {}),
        (3, False, dict(noise=-0.3)),
    ],
)
def test_the_judges(rng, which, held, change):
    verdict = EXPECTED[which].judge(seen(made(rng, **change), draws=60))
    assert verdict.held is held and verdict.found


def test_no_relation_at_any_site_is_what_the_second_expects(rng):
    found = seen(made(rng), draws=60)
    inside = found._replace(relations=found.relations.assign(low=-0.1, high=0.1))
    assert EXPECTED[1].judge(inside).held is True
