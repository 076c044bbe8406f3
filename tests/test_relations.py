"""Measure against error on tables whose truth is known: relations that the input makes, Simpson, gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.errors import IsonumError
from isonum_core.studies.anatomy import MEASURES
from isonum_core.studies.relations import (
    beside_twins,
    by_model,
    skilled_rows,
)
from isonum_core.worlds.families import FAMILIES

POSSIBLE = [name for name, family in FAMILIES.items() if all(map(family.beatable, family.grid))]


def made(rng, measure, families=20, seeds=3, model="m"):
    """Twins on families where skill is possible everywhere. `measure(u, v, e)` gives trained, untrained and error.

    u is a family's property that the windows show (iso_input is u), v one of the knob (centred), e three independent
    normal numbers: of the trained network, its twin and the error.
    log(1 - skill) is the error, shrunk and shifted to have skill.
    """
    rows = []
    for family in POSSIBLE[:families]:
        u = rng.normal()
        for knob, v in zip(FAMILIES[family].grid[:4], (-1.5, -0.5, 0.5, 1.5), strict=True):
            for seed in range(seeds):
                trained, untrained, error = measure(u, v, rng.normal(size=3))
                facts = dict(family=family, model=model, size="cpu", seed=seed, knob=knob, iso_input=u + 0.01 * v)
                facts |= dict(skill=1 - np.exp((error - 60) / 10), skill_one=1 - np.exp(-error), nll=error)
                rows.append(facts | dict(trained=True) | dict.fromkeys(MEASURES, trained))
                rows.append(facts | dict(trained=False, skill=-9.0) | dict.fromkeys(MEASURES, untrained))
    return pd.DataFrame(rows)


def by_input(u, v, e):
    """Trained, untrained and error see the windows, each with noise of its own."""
    return u + 2 * e


def simpson(u, v, e):
    return 3 * u + 9 * v + 3 * e[0], u - 9 * v + 3 * e[1], 3 * u - 9 * v + 3 * e[2]


def knowing(u, v, e):
    """The trained network knows the error, its twin and the windows nothing."""
    return e[0] + 3 * v * u, e[1], e[0] + 3 * v * u + 0.01 * e[2]


def one(table, rng, kind="between", measure="iso_score", error="ratio", draws=60):
    found = beside_twins(table, [measure], error, rng, draws)
    return found[found.kind == kind].set_index("predictor")


def test_numbers_are_scipy_s_of_family_means(rng):
    table = made(rng, by_input)
    found, rows = one(table, rng), table[table.trained]
    means = rows.assign(log=np.log(1 - rows.skill)).groupby("family")[["log", "iso_score", "iso_input"]].mean()
    untrained = table[~table.trained].groupby("family").iso_score.mean()
    columns = {"trained": means.iso_score, "untrained": untrained, "input": means.iso_input}
    rho = {name: stats.spearmanr(means.log, x)[0] for name, x in columns.items()}
    for name, value in rho.items():
        assert found.rho[name] == pytest.approx(value)
    assert found.rho["trained - input"] == pytest.approx(rho["trained"] - rho["input"])
    assert found.rho["|trained| - |untrained|"] == pytest.approx(abs(rho["trained"]) - abs(rho["untrained"]))
    r = np.corrcoef([stats.rankdata(x) for x in (means.log, means.iso_score, means.iso_input)])
    left = [
        x - np.polyval(np.polyfit(stats.rankdata(means.iso_input), x, 1), stats.rankdata(means.iso_input))
        for x in map(stats.rankdata, (means.log, means.iso_score))
    ]
    assert found.rho["trained given input"] == pytest.approx(np.corrcoef(left)[0, 1])
    assert r[0, 1] == pytest.approx(rho["trained"])
    assert set(found.families) == {20} and set(found.rows) == {240} and set(found.dropped) == {0}
    assert ((found.low <= found.rho) & (found.rho <= found.high)).all()


def test_a_relation_that_the_input_makes_is_not_the_network_s(rng):
    # The windows alone relate trained, untrained and error: no difference, and nothing left when they are held.
    runs, hits, sizes = 12, np.zeros(2), []
    for _ in range(runs):
        found = one(made(rng, by_input), rng, draws=40)
        null = found.loc[["trained - untrained", "trained given input"]]
        hits += ((null.low <= 0) & (null.high >= 0)).to_numpy()
        sizes.append(found.rho[["trained", "untrained"]])
    assert np.mean(sizes) > 0.5
    assert (hits >= stats.binom.ppf(1e-4, runs, 0.9)).all()  # 40 draws make an interval of 90 % rather than 95


def test_the_error_of_the_first_step_is_another_error(rng):
    table = made(rng, by_input)  # skill_one falls where skill rises
    first, all_steps = one(table, rng, error="one"), one(table, rng)
    assert first.rho["trained"] == pytest.approx(-all_steps.rho["trained"])
    assert set(skilled_rows(table).columns) >= {"ratio", "one"}


def test_no_exchange_judges_sizes(rng):
    table = made(rng, by_input)
    found = one(table, np.random.default_rng(1))
    sizes = found.index.str.startswith("|")
    assert found.p[sizes].isna().all() and found.p[~sizes].notna().all()


def test_what_only_training_knows_is_found(rng):
    found = one(made(rng, knowing), rng)
    assert found.low["trained"] > 0.9 and found.low["trained - untrained"] > 0.2
    assert found.low["trained given untrained"] > 0.9 and found.low["trained given input"] > 0.9
    assert found.p["trained"] < 0.001 and found.p["trained given untrained"] < 0.001
    assert found.p["untrained"] > 1e-4
    inside = one(made(rng, knowing), rng, "within")
    assert inside.low["trained"] > 0.9 and inside.p.isna().all()


def test_between_and_within_may_differ_in_sign(rng):
    table = made(rng, simpson)
    between, within = one(table, rng), one(table, rng, "within")
    assert between.low["trained"] > 0.1 and within.high["trained"] < -0.7
    assert within.low["untrained"] > 0.5


def test_families_without_skill_do_not_enter_and_missing_rows_are_counted(rng):
    table = made(rng, by_input)
    bad = (table.family == POSSIBLE[0]) & table.trained & (table.seed < 2)
    table["skill"] = table.skill.where(~bad, -1e6)
    no_skill = table.trained & (table.family == POSSIBLE[1]) & (table.knob == FAMILIES[POSSIBLE[1]].grid[0])
    no_twin = ~table.trained & (table.family == POSSIBLE[2]) & (table.seed == 0)
    table["skill"] = table.skill.where(~no_skill)
    table["iso_score"] = table.iso_score.where(~no_twin)
    assert POSSIBLE[0] not in set(skilled_rows(table).family)
    assert set(one(table, rng).families) == {19}
    for error, dropped in (("ratio", 3 + 4), ("nll", 4)):
        found = one(table, rng, error=error)
        assert set(found.dropped) == {dropped} and set(found.rows) == {19 * 12 - dropped}


def test_few_families_are_refused_by_name(rng):
    with pytest.raises(IsonumError, match="m has skill, and iso_score and nll, on 4 families, expected at least 5"):
        beside_twins(made(rng, by_input, families=4), ["iso_score"], "nll", rng)


def test_models_are_told_apart_by_sign(rng):
    def turned(u, v, e):
        return tuple(x * s for x, s in zip(knowing(u, v, e), (-1, 1, 1), strict=True))

    tables = {m: made(rng, measure, model=m) for m, measure in (("m", knowing), ("n", turned), ("o", by_input))}
    related = pd.concat(beside_twins(t, ["iso_score"], "ratio", rng, 40) for t in tables.values())
    found, of = by_model(related), related.set_index(["kind", "predictor", "model"])
    assert list(found.loc["between"].index) == list("mno")
    own = found.loc["between"]
    assert list(own.trained[:2]) == [True, False] and own.sure[:2].all() and own.closer[:2].all()
    for kind, model in found.index:
        for predictor in ("trained", "untrained", "input"):
            assert found.loc[(kind, model), predictor] == (of.rho[kind, predictor, model] > 0)
        assert found.sure[kind, model] == (of.low[kind, "trained", model] * of.high[kind, "trained", model] > 0)
    assert own.p_holm["m"] == pytest.approx(3 * of.p["between", "trained", "m"])
    assert found.loc["within"].p_holm.isna().all()
