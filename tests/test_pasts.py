"""What is made of the table of `pretraining`, on a table whose contrasts are known."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.statistics.contrasts import paired_t
from isonum_core.studies import pretraining
from isonum_core.studies.pasts import AGAINST_ADAMW, HALVES, PAIRS, PASTS, VALUES, pasts, ranks_across_pasts
from isonum_core.studies.pretraining import Pretraining, grid, ways

TARGETS, STEPS = pretraining.TARGETS[:5], 500


def made(rng, shifts=(), drift=(1e-16, 0.3), seeds=2):
    """A row for each arm, target, seed, way and step 0 or STEPS; within a target arms differ by noise of 0.01.

    `shifts` maps (way, source or rule, value) to what is added at the end; `drift`: under the rules that keep the sum,
    and under AdamW.
    """
    shifts, common, rows = dict(shifts), {}, []
    for config in (c for c in grid("cpu") if c.target in TARGETS and not c.seed):
        arm = config.source if config.rule == "adamw" else config.rule
        for seed in range(seeds):
            for way in ways(config):
                for step in (0, STEPS):
                    facts = vars(Pretraining(config.source, config.target, config.rule, seed, "cpu")) | dict(step=step)
                    facts |= dict(phase="adaptation", adaptation=way, skill_one=0.5)
                    facts["drift"] = drift[config.rule in ("adamw", "tied")] * rng.uniform(0.9, 1.1)
                    for value in (*VALUES, "nmse_one", "table_mean"):
                        of_target = common.setdefault((config.target, seed, value), 2 + rng.uniform())
                        shift = shifts.get((way, arm, value), 0.0) * (step == STEPS)
                        facts[value] = of_target + 0.01 * rng.normal() + shift
                    rows.append(facts)
    return pd.DataFrame(rows)


def test_a_point_is_a_target_and_the_mean_over_its_seeds(rng):
    table = made(rng, {("head", "text", "nll"): 1.0})
    found = pasts(table)
    assert len(found.contrasts) == 3 * 4 * len(PAIRS) and len(found.warm) == 4 * 3
    end = table[(table.step == STEPS) & (table.rule == "adamw") & (table.adaptation == "head")]
    text, none = (end[end.source == s].groupby("target").nll.mean() for s in ("text", "none"))
    row, by_hand = found.contrasts.loc[("head", "nll", "text", "none")], paired_t(text - none)
    assert row["mean"] == pytest.approx(by_hand.mean) and row.low == pytest.approx(by_hand.low)
    assert row.n == len(TARGETS) and row["mean"] == pytest.approx(1.0, abs=0.03)
    assert set(found.ends.target) == set(TARGETS) and not found.ends.duplicated().any()


def test_holm_counts_what_is_read_together(rng):
    found = pasts(made(rng))
    for _, rows in found.contrasts.reset_index().groupby("way"):
        fixed = rows[rows.value != "one"]
        assert fixed.p_holm.min() == pytest.approx(min(1, 21 * fixed.p.min()))
        alone = rows[rows.value == "one"]
        assert alone.p_holm.min() == pytest.approx(min(1, 7 * alone.p.min()))
    for rows in (found.warm, found.rules):
        assert len(rows) == 12 and rows.p_holm.min() == pytest.approx(min(1, 12 * rows.p.min()))


def test_warm_is_set_beside_the_same_past_anew_and_rules_beside_adamw_without_a_past(rng):
    found = pasts(made(rng, {("warm", "zipf", "nll"): -0.5, ("full", "sgd", "iso_score"): 0.5}))
    assert found.warm["mean"]["zipf", "nll"] == pytest.approx(-0.5, abs=0.03)
    assert found.rules["mean"]["sgd", "iso_score"] == pytest.approx(0.5, abs=0.03)
    others = [*found.warm["mean"].drop(("zipf", "nll")), *found.rules["mean"].drop(("sgd", "iso_score"))]
    assert max(map(abs, others)) < 0.03
    assert set(found.rules.index.unique("treated")) == {rule for rule, _ in AGAINST_ADAMW}
    assert len(found.drift) == 2 * len(TARGETS) * (5 + 4 + 3), "full, warm, and the other rules, each seed"


def test_ranks_are_taken_inside_a_target_and_chance_over_the_orders_of_the_pasts(rng):
    ends = pasts(made(rng)).ends.query("rule == 'adamw' and adaptation == 'full'")
    level = dict(zip(TARGETS, range(len(TARGETS)), strict=True))
    tilted = ends.assign(iso_score=-ends.nll + 100 * ends.target.map(level))  # the target's level says nothing
    tilted.loc[tilted.index[0], "iso_score"] = 1e3  # one past of one target out of order
    found = ranks_across_pasts(tilted)
    for half in HALVES:
        own = {t: stats.spearmanr(part[half], part.nll)[0] for t, part in tilted.groupby("target")}
        assert found["each"]["full", half] == pytest.approx(own)
        assert found["mean"]["full", half] == pytest.approx(np.mean(list(own.values())))
        wide = tilted.pivot(index="target", columns="source", values=[half, "nll"])
        shuffled = [
            np.mean(
                [
                    stats.spearmanr(x, y)[0]
                    for x, y in zip(wide[half].to_numpy()[:, o], wide.nll.to_numpy(), strict=True)
                ]
            )
            for o in map(list, permutations(range(len(PASTS))))
        ]
        expected = np.mean(np.abs(shuffled) >= abs(found["mean"]["full", half]) - 1e-9)
        assert found.chance["full", half] == pytest.approx(expected)
    assert found.low["full", "iso_score"] < found["mean"]["full", "iso_score"] < -0.5


def test_only_targets_on_which_all_pasts_have_skill_are_ranked(rng):
    ends = pasts(made(rng)).ends.query("rule == 'adamw' and adaptation != 'warm'")
    bad = (ends.adaptation == "frozen") & (ends.target == TARGETS[0]) & (ends.source == "text")
    bad |= (ends.adaptation == "head") & (ends.target != TARGETS[0]) & (ends.source == "none")
    found = ranks_across_pasts(ends.assign(skill_one=ends.skill_one.where(~bad, -1.0)))
    assert dict(found.n.xs("iso_score", level="half")) == dict(full=5, frozen=4, head=1)
    assert np.isnan(found["mean"]["head", "iso_score"]), "one target has no interval"
