"""Five trunks on twenty families: the rule that chose them, means over knobs, and shares of the variance by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from isonum_core.lab.engine import one_thread
from isonum_core.statistics.contrasts import variance_shares
from isonum_core.studies import effects, families, learnt
from isonum_core.studies.convergence import JUDGES
from isonum_core.studies.families import FamilyNet
from isonum_core.studies.learnt import COLUMNS, EVERY, RECIPES, TEST
from isonum_core.studies.trunks import CHOSEN, ELIGIBLE, grid, run, shares, skill_by_trunk
from isonum_core.worlds.families import FAMILIES

CONFIG = FamilyNet("sine_noise", "patchtst", 0, True, "quick")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    one_thread()
    monkeypatch.setitem(RECIPES, "quick", dataclasses.replace(RECIPES["quick"], steps=3, test=40))


def test_the_families_are_twenty_of_those_that_the_rule_lets_in():
    assert len(CHOSEN) == 20 == len(set(CHOSEN)) and set(CHOSEN) <= set(ELIGIBLE) <= set(FAMILIES)
    assert not set(ELIGIBLE) & set(JUDGES)
    seeds = [config.seed for config in grid("cpu")]
    assert seeds == sorted(seeds) and len(grid("cpu")) == 20 * 5 * 3 * 2


@pytest.mark.parametrize(("name", "inside"), [("drift", True), ("gp_tails", True), ("ma1", False), ("jumps", False)])
def test_the_rule_is_ridge_and_nothing_else(name, inside):
    recipe, family = dataclasses.replace(RECIPES["cpu"], pool=2048, test=256), EVERY[name]
    ridge, rng, logs = learnt.line(learnt.pool_of(family, 0, recipe)), np.random.default_rng([TEST, 0]), []
    for knob in family.grid:
        x = family.draw(knob, 144, rng, recipe.test)
        c, y = x[:, :128], x[:, 128:]
        said = c[:, -1:] + c.std(1, keepdims=True) * ridge.predict(learnt.anchored_rows(x)[:, :128])
        naive = (c[:, -1:], c.mean(1, keepdims=True))
        errors = [((y - f) ** 2 / c.var(1, keepdims=True)).mean() for f in (said, *naive)]
        logs.append(np.log(errors[0] / min(errors[1:])))
    # fewer windows than in the study: these four stand clear of .01
    assert (-np.expm1(np.mean(logs)) > 0.01) == inside == (name in ELIGIBLE)


def test_a_row_is_the_mean_over_knobs_and_skills_are_geometric():
    rows = pd.DataFrame(families.run(CONFIG))
    found = run(CONFIG)
    assert [row["site"] for row in found] == ["embed", "block1", "block2", "read"]
    read = rows[rows.site == "read"]
    assert found[-1]["nll"] == pytest.approx(read.nll.mean(), rel=1e-5)
    assert found[-1]["skill"] == pytest.approx(1 - np.exp(np.log(1 - read.skill.astype(float)).mean()), rel=1e-5)
    assert found[0]["iso_score"] == pytest.approx(rows[rows.site == "embed"].iso_score.mean(), rel=1e-5)
    assert np.isnan(found[0]["nll"])


def table():
    rng, rows = np.random.default_rng(0), []
    for f in "abcd":
        for m in ("gpt2", "t5", "llama"):
            for s in range(3):
                for trained in (True, False):
                    numbers = dict.fromkeys(COLUMNS, np.nan) | dict(mean_cosine=rng.random(), iso_score=rng.random())
                    numbers |= dict(skill=rng.random() / 2, ridge=0.25)
                    rows.append(dict(family=f, model=m, seed=s, trained=trained, size="cpu", site="read") | numbers)
    return pd.DataFrame(rows)


def test_shares_are_those_of_the_balanced_layout_with_and_without_each_trunk():
    t = table()
    found = shares(t, "read", np.random.default_rng(0), draws=20).set_index(["without", "network", "measure", "part"])
    for without in ("none", "t5"):
        rows = t[~t.trained & (t.model != without)]
        x = rows.pivot(index="model", columns=["family", "seed"], values="iso_score").to_numpy().reshape(-1, 4, 3)
        expected = variance_shares(x)
        for part, name in effects.PARTS.items():
            assert found.loc[(without, "untrained", "iso_score", name), "share"] == pytest.approx(expected[part])
    assert len(found) == 4 * 2 * 2 * 4 and (found.low <= found.high).all()


def test_skill_by_trunk_is_geometric_over_seeds():
    t = table()
    found = skill_by_trunk(t)
    own = t[t.trained & (t.family == "b") & (t.model == "t5")].skill
    assert found.loc["b", "t5"] == pytest.approx(1 - np.exp(np.log(1 - own).mean()))
    assert found.loc["b", "ridge"] == pytest.approx(0.25)
