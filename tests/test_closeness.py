"""Relations site by site: points, ridge's gate and signed differences by hand, Holm over sites, and chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.errors import IsonumError
from isonum_core.statistics.contrasts import holm
from isonum_core.studies import families
from isonum_core.studies.closeness import (
    as_good_as_ridge,
    changes,
    every_relation,
    gated,
    held_fixed,
    least_found,
    measures_of,
    points,
    signs,
    site_relations,
    skills,
)
from isonum_core.studies.families import EXPECTED, findings
from isonum_core.studies.learnt import COLUMNS, HALVES, SAID

SITES = ("embed", "block1", "block2", "read")


def table(n=24, seeds=3, seed=0, effect=0.0, twin=0.0, ridge=0.3):
    """Made-up rows: each family has a difficulty; the trained mean cosine at block 2 leans on it by `effect`."""
    rng, rows = np.random.default_rng(seed), []
    for family in range(n):
        hard, raw = rng.normal(size=2)
        own = rng.normal(size=(2, len(SITES), 2))
        for s in range(seeds):
            for trained in (True, False):
                for knob in (0.1, 0.2, 0.4):
                    for i, site in enumerate(SITES):
                        cos, iso = own[int(trained), i] + 0.1 * rng.normal(size=2)
                        cos += (effect if trained else twin) * hard * (site == "block2")
                        row = dict(
                            family=f"f{family}", model="gpt2", seed=s, trained=trained, size="cpu", knob=knob, site=site
                        )
                        row |= dict.fromkeys(COLUMNS) | dict(mean_cosine=cos, iso_score=iso)
                        if site == "read":
                            ratio = 0.2 * hard + 0.05 * rng.normal() - 0.4
                            row |= dict(nll=3 + ratio, nll_one=2 + ratio, entropy_one=2 + 0.1 * rng.normal())
                            row |= dict(skill=-np.expm1(ratio), skill_one=-np.expm1(ratio), iso_input=raw)
                            row |= dict(mean_share=rng.random(), log_i=-rng.random(), log_i_centred=-rng.random())
                            row |= dict(ridge=ridge, ridge_one=ridge) if trained else {}
                        rows.append(row)
    return pd.DataFrame(rows).astype(dict.fromkeys(COLUMNS, float))


def test_a_point_is_the_mean_over_knobs_and_logs_are_taken_of_error_ratios():
    t = table(6)
    found = points(t).set_index(["family", "seed"]).loc[("f3", 1)]
    rows = t[(t.family == "f3") & (t.seed == 1)]
    read = rows[rows.trained & (rows.site == "read")]
    assert found.ratio == pytest.approx(np.log(1 - read.skill).mean())
    assert found.ridge_one == pytest.approx(np.log(0.7)) and found.iso_input == pytest.approx(read.iso_input.mean())
    block = rows[rows.site == "block2"]
    assert found["iso_score block2"] == pytest.approx(block[block.trained].iso_score.mean())
    assert found["iso_score block2 twin"] == pytest.approx(block[~block.trained].iso_score.mean())
    assert set(measures_of(points(t))) == {f"{h} {s}" for h in HALVES for s in SITES} | {
        "mean_share read",
        "log_i read",
    }
    with pytest.raises(IsonumError, match="twin"):
        points(t[t.trained | (t.family != "f3")])


def test_a_skill_of_one_in_six_digits_is_a_ratio_of_one_in_a_million():
    t = table(6)
    t.loc[(t.family == "f1") & t.ridge.notna(), "ridge"] = 1.0
    found = points(t).set_index("family")
    assert found.ridge["f1"].to_numpy() == pytest.approx(np.log(1e-6)) and "f1" in set(gated(points(t), "ratio").family)


def test_ridge_opens_the_gate_at_its_horizon_and_the_network_is_not_asked():
    t = table(8)
    t.loc[t.family == "f0", "ridge"] = 0.005  # below what sampling leaves
    t.loc[t.family == "f1", "ridge_one"] = -0.2
    t.loc[t.family == "f2", ["skill", "skill_one"]] = -3.0
    p = points(t)
    assert set(gated(p, "ratio").family) == set(p.family) - {"f0"} == set(gated(p, "nll").family)
    assert set(gated(p, "ratio_one").family) == set(p.family) - {"f1"}
    good = as_good_as_ridge(p)
    assert "f2" in good["worse"] and "f0" not in good["worse"] + good["as good"]
    assert skills(p).loc["f2", "network"] == pytest.approx(-3.0) and skills(p).loc["f1", "ridge_one"] == pytest.approx(
        -0.2
    )


def test_relations_are_spearman_between_families_and_differences_are_signed():
    t = table(20, effect=-2.0, twin=2.0)
    p, name = points(t), "mean_cosine block2"
    found = site_relations(p, "ratio_one", np.random.default_rng(0), [name], draws=100).set_index("predictor")
    means = p.groupby("family")[["ratio_one", name, f"{name} twin", "iso_input", "entropy_one"]].mean()
    rho = {x: stats.spearmanr(means.ratio_one, means[x])[0] for x in means}
    assert found.rho["trained"] == pytest.approx(rho[name]) and found.rho["untrained"] == pytest.approx(
        rho[f"{name} twin"]
    )
    assert found.rho["trained - untrained"] == pytest.approx(rho[name] - rho[f"{name} twin"]) and rho[name] < -0.8
    assert found.high["trained - untrained"] < -1, "equally close with opposite signs is a difference"
    assert found.rho["trained - input"] == pytest.approx(rho[name] - rho["iso_input"])
    ranks = means.rank()
    residual = [
        ranks[x] - np.polyval(np.polyfit(ranks.entropy_one, ranks[x], 1), ranks.entropy_one)
        for x in ("ratio_one", name)
    ]
    assert found.rho["given entropy"] == pytest.approx(np.corrcoef(*residual)[0, 1])
    left = held_fixed(p, "ratio_one", name, "entropy_one", np.random.default_rng(0), draws=100)
    assert left.rho == pytest.approx(found.rho["given entropy"]) and -1 <= left.low < left.rho < left.high <= 1
    assert found.p["trained"] < 0.001 and found.families.unique() == [20] and np.isnan(found.p["untrained"])
    with pytest.raises(IsonumError, match="got 4"):
        site_relations(p[p.family.isin(["f0", "f1", "f2", "f3"])], "ratio", np.random.default_rng(0), [name])


def test_holm_is_taken_over_sites_and_horizons_of_one_half_one_kind_of_error_and_one_predictor():
    found = every_relation(points(table(8)), np.random.default_rng(0), draws=20)
    own = found[
        found.measure.str.startswith("iso_score") & found.error.str.startswith("nll") & (found.predictor == "trained")
    ]
    assert len(own) == 8 and np.allclose(own.p_holm, holm(own.p))
    assert found[found.predictor == "untrained"].p_holm.isna().all()


def test_changes_and_their_signs_by_hand():
    p = points(table(6))
    own = p[p.family == "f2"]
    assert changes(p).loc["f2", "iso_score read"] == pytest.approx(
        (own["iso_score read"] - own["iso_score read twin"]).mean()
    )
    assert signs(pd.Series([1.0, 2, 3, -1, 0])) == (3, 1, pytest.approx(0.625)) and signs(pd.Series([0.0])) == (
        0,
        0,
        1.0,
    )


def test_the_least_correlation_that_is_found_has_its_power():
    """Simulated: 2000 samples of bivariate normals, whose Spearman is 6/pi asin(r/2)."""
    rng, n = np.random.default_rng(0), 30
    rho = least_found(n)
    r, found = 2 * np.sin(np.pi * rho / 6), 0
    for _ in range(2000):
        x, e = rng.normal(size=(2, n))
        found += stats.spearmanr(x, r * x + np.sqrt(1 - r * r) * e).pvalue < 0.05
    assert found / 2000 == pytest.approx(0.8, abs=0.04)  # and the formula is an approximation
    assert rho == pytest.approx(0.504, abs=0.001)


@pytest.mark.parametrize("effect", [0.0, 3.0])
def test_predictions_come_true_where_something_is_behind_them_and_seldom_where_not(effect):
    """Eight made-up tables: 2.5 % by chance is at most two of eight in all but one in 1,300 times."""
    fresh, held = tuple(f"f{i}" for i in range(16)), np.zeros(3)
    for seed in range(8):
        found = findings(table(20, seed=seed, effect=effect), fresh, draws=100)
        held += [expectation.judge(found).held is True for expectation in EXPECTED[:3]]
    assert (held >= 7).all() if effect else (held <= 2).all()


def test_every_judge_can_say_yes_no_or_not_decided():
    t = table(20, effect=3.0)
    fresh = tuple(f"f{i}" for i in range(16))
    words = [expectation.judge(findings(t, fresh, draws=50)) for expectation in EXPECTED]
    assert all(word.held in (True, False, None) and word.found for word in words)
    worse = t.assign(skill=t.skill - 1)
    assert EXPECTED[-1].judge(findings(worse, fresh, draws=20)).held is False
    better = t.assign(skill=t.skill / 2 + 0.5)
    assert EXPECTED[-1].judge(findings(better, fresh, draws=20)).held is True
    up = t.assign(mean_cosine=t.mean_cosine + 9.0 * t.trained, iso_score=t.iso_score - 9.0 * t.trained)
    verdicts = [expectation.judge(findings(up, fresh, draws=20)).held for expectation in EXPECTED[5:8]]
    assert verdicts == [True, True, False]


def test_columns_that_judges_read_exist():
    assert set(SAID) < set(COLUMNS) and families.JUDGES[0] in families.FAMILIES
