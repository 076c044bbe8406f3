"""Which number goes with the error of a read-out: a relation that was put in is found, none is found where none is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.studies.checkpoints_readouts import ERRORS, HEADS, MEASURES, TARGETS
from isonum_core.studies.layers import (
    BEYOND,
    EXPECTED,
    NETWORKS,
    across_series,
    layer_rows,
    layers,
    over_series,
    ranked,
    regrets,
    skilled_layers,
    skilled_share,
    slower_where_steep,
    trained_against_twin,
)

SITES, SERIES = 12, 8


def made(rng, link=0.0, skill=0.5, learned=0.5, slow=0.0, sinks=0.01, common=0.0):
    """A table of the form of `checkpoints_readouts`. `link`: how IsoScore enters the log error; `common`: a part of it
    that all targets share; `slow`: how IsoScore enters that of `stopped` over that of `ridge`."""
    rows = []
    for network in NETWORKS:
        for family in [f"f{i}" for i in range(SERIES)]:
            shared = rng.normal(size=SITES)
            iso = rng.normal(size=(2, SITES))
            noise = rng.normal(size=(4, SITES))
            for trained in (True, False):
                for depth in range(SITES):
                    row = dict(family=family, seed=0, network=network, trained=trained, site=f"s{depth}", depth=depth)
                    row |= {m: rng.normal() for m in MEASURES} | dict(states=9, sinks=1)
                    row["iso_score"] = iso[int(trained), depth]
                    row |= dict(iso_all=sinks, iso_kept=1.0) if network == "smollm2" else dict.fromkeys(MEASURES[4:])
                    for j, target in enumerate(TARGETS):
                        log = link * iso[1, depth] + common * shared[depth] + noise[j, depth]
                        ridge = 0.05 * log - (skill if trained else skill - learned) + 0.001 * rng.normal()
                        row |= {f"{h}_{target}": np.exp(ridge) for h in HEADS}
                        row[f"stopped_{target}"] = np.exp(ridge + slow * iso[1, depth] + 0.01 * rng.normal())
                    rows.append(row)
    values = dict(family="f0", seed=0, network="values", trained=True, site="lags", depth=0, states=9, sinks=0)
    return pd.DataFrame([*rows, values | dict.fromkeys((*MEASURES, *ERRORS), 1.0)])


def test_rows_stand_beside_their_twins_one_a_target(rng):
    table = made(rng)
    rows = layer_rows(table)
    assert len(rows) == 2 * SERIES * SITES * len(TARGETS) and not rows.network.eq("values").any()
    row = rows[(rows.network == "fracast") & (rows.family == "f3") & (rows.site == "s4") & (rows.target == "period")]
    own = table[(table.network == "fracast") & (table.family == "f3") & (table.site == "s4")].set_index("trained")
    assert row.ridge.item() == np.log(own.ridge_period[True]) and row.ridge_twin.item() == np.log(
        own.ridge_period[False]
    )
    assert row.iso_score_twin.item() == own.iso_score[False] and row.stopped.item() == np.log(own.stopped_period[True])


def test_rivals_never_hold_the_error_that_they_foretell(rng):
    table = made(rng)
    rows = layer_rows(table)
    changed = table.copy()
    here = (changed.family == "f0") & (changed.network == "smollm2") & changed.trained
    changed.loc[here, "ridge_next"] = rng.permutation(changed.loc[here, "ridge_next"])
    other = layer_rows(changed)
    same = (rows.family == "f0") & (rows.network == "smollm2") & (rows.target == "next")
    for rival in ("other targets", "elsewhere"):
        pd.testing.assert_series_equal(rows[same][rival], other[same][rival])
    ranks = rows[(rows.family == "f0") & (rows.network == "smollm2")].pivot(
        index="site", columns="target", values="ridge"
    )
    ranks = ranks.rank(pct=True)
    want = ranks.drop(columns="next").mean(axis=1)
    got = rows[same].set_index("site")["other targets"]
    np.testing.assert_allclose(got, want.loc[got.index])


def test_a_layer_without_skill_enters_nothing_and_six_must_be_left(rng):
    rows = layer_rows(made(rng))
    few = rows.assign(ridge=np.where((rows.family == "f0") & (rows.depth >= 5), 0.1, rows.ridge))
    kept = skilled_layers(few)
    assert (
        (kept.ridge < 0).all() and "f0" not in set(kept.family) and set(kept.family) == {f"f{i}" for i in range(1, 8)}
    )
    assert len(skilled_layers(rows)) == len(rows)
    assert skilled_share(few)["smollm2", "next"] == 7 / 8 and skilled_share(rows).eq(1).all()


def test_each_correlation_is_spearmans_over_the_layers_of_one_series(rng):
    rows = layer_rows(made(rng, link=1))
    each = ranked(rows).set_index(["network", "family", "measure", "predictor"]).rho
    part = [p for _, p in rows[(rows.network == "fracast") & (rows.family == "f2")].groupby("target")]

    def rho(name):
        return np.mean([stats.spearmanr(p[name], p.ridge).statistic for p in part])

    assert each["fracast", "f2", "iso_score", "trained"] == pytest.approx(rho("iso_score"))
    assert each["fracast", "f2", "iso_score", "untrained"] == pytest.approx(rho("iso_score_twin"))
    assert each["fracast", "f2", "depth", "trained"] == pytest.approx(rho("depth"))
    assert each["fracast", "f2", "elsewhere", "trained"] == pytest.approx(rho("elsewhere"))
    assert ("fracast", "f2", "iso_all", "trained") not in each.index


def test_a_relation_that_was_put_in_is_found_and_the_twin_has_none(rng):
    found = over_series(ranked(layer_rows(made(rng, link=2))))
    assert found.loc[("smollm2", "iso_score", "trained"), "low"] > 0.5
    assert found.loc[("smollm2", "iso_score", "trained"), "p_holm"] < 1e-4
    assert found.loc[("smollm2", "iso_score", "given depth"), "low"] > 0.5
    twin = found.loc[("smollm2", "iso_score", "untrained")]
    assert twin.low < 0 < twin.high
    assert found.loc[("smollm2", "mean_share", "trained"), "p_holm"] > 0.05


def test_what_all_targets_share_is_told_by_the_other_targets(rng):
    found = over_series(ranked(layer_rows(made(rng, common=3))))
    assert found.loc[("fracast", "other targets", "trained"), "low"] > 0.5
    beyond = found.xs(BEYOND, level="predictor")
    assert (beyond.high < 0).all() and "other targets" not in beyond.index.get_level_values("measure")


def test_across_series_a_common_level_is_found(rng):
    table = made(rng)
    level = dict(zip(sorted(set(table.family)), rng.permutation(SERIES), strict=True))
    for column in ("iso_score", *(f"ridge_{t}" for t in TARGETS)):
        shift = table.family.map(level) * (10 if column == "iso_score" else 1e-2)
        table[column] = np.where(table.trained, table[column] + shift - (column != "iso_score") * 0.5, table[column])
    found = across_series(layer_rows(table), rng, draws=50)
    assert found.loc[("smollm2", "iso_score", "trained"), "value"] > 0.2
    assert abs(found.loc[("smollm2", "iso_score", "untrained"), "value"]) < 0.4
    assert ("fracast", "iso_all", "trained") not in found.index


def test_a_rule_costs_what_its_layer_errs_beyond_the_best(rng):
    rows = layer_rows(made(rng, link=100))
    costs = regrets(rows).set_index(["network", "family", "rule"]).cost
    part = [p for _, p in rows[(rows.network == "smollm2") & (rows.family == "f1")].groupby("target")]
    last = np.mean([p.ridge[p.depth == SITES - 1].item() - p.ridge.min() for p in part])
    assert costs["smollm2", "f1", "last"] == pytest.approx(last)
    assert costs["smollm2", "f1", "any"] == pytest.approx(np.mean([p.ridge.mean() - p.ridge.min() for p in part]))
    # The error rises with IsoScore alone, so the roundest layer is the worst and the middle is like any other.
    assert costs["smollm2", "f1", "IsoScore"] == pytest.approx(np.mean([np.ptp(p.ridge) for p in part]))
    assert set(rows.middle) == {0.5, 1.5, 2.5, 3.5, 4.5, 5.5}
    assert regrets(rows.assign(ridge=rows.ridge.abs() + 1)).empty  # no skill, nothing to choose


def test_the_pieces_that_judges_read(rng):
    rows = layer_rows(made(rng, slow=-0.5))
    assert (slower_where_steep(rows).rho < -0.9).all()
    gains = trained_against_twin(rows)
    assert gains.gain.mean() == pytest.approx(-0.5, abs=0.02) and len(gains) == 2 * SERIES


@pytest.mark.parametrize(
    ("which", "held", "change"),
    [
        (0, True, {}),
        (0, False, dict(skill=-0.5)),
        (1, True, {}),
        (1, False, dict(learned=0.0)),
        (2, True, {}),
        (2, False, dict(sinks=0.5)),
        (3, True, dict(common=3)),
        (3, False, dict(link=3)),
        (4, True, {}),
        (4, False, dict(link=3)),
        (5, True, {}),
        (5, False, dict(link=3)),
        (6, True, dict(slow=-0.5)),
        (6, False, dict(slow=0.5)),
    ],
)
def test_the_judges(rng, which, held, change):
    found = layers(made(rng, **{k: v for k, v in change.items() if k != "skill"}))
    if "skill" in change:
        found = found._replace(rows=found.rows.assign(ridge=0.5))
    verdict = EXPECTED[which].judge(found)
    assert verdict.held is held and verdict.found
