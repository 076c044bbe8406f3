"""What is made of the table of `pretraining`, on a table whose contrasts are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.statistics.contrasts import paired_contrasts
from isonum_core.studies import pretraining
from isonum_core.studies.pasts import MEASURED, PAIRS, PASTS, RULES, pasts, ranks_across_pasts, with_skill

TARGETS, STEPS = ("logistic_map", "chirp"), 100


def made(rng, shifts=(), drift=(1e-8, 0.3), seeds=4):
    """A row for each arm, target, seed, way and step 0 or STEPS; within a pair arms differ by noise of 0.01.

    `shifts` maps (way, step, arm, value) to what is added; `drift`: under the rules that keep the sum, and under AdamW.
    """
    arms = [("none", 0.0), ("numeric", 0.0), ("text", 0.0), ("target", 0.0), *(("zipf", e) for e in (0.5, 1.0, 1.5))]
    plain = [(a, t, False, "adamw") for a in arms for t in TARGETS]
    rest = [(a, TARGETS[0], *rule) for a in (arms[0], arms[1], arms[5]) for rule in VARIANTS]
    shifts, common, rows = dict(shifts), {}, []
    for (source, exponent), target, tied, optimiser in plain + rest:
        arm = f"zipf {exponent:g}" if source == "zipf" else source
        full_only = tied or optimiser != "adamw" or exponent in (0.5, 1.5)
        for seed in range(seeds):
            for way in ("full",) if full_only else pretraining.WAYS:
                for step in (0, STEPS):
                    facts = dict(source=source, exponent=exponent, target=target, tied=tied, optimiser=optimiser)
                    facts |= dict(seed=seed, phase="adaptation", adaptation=way, step=step, skill_one=0.5)
                    facts["drift"] = drift[optimiser == "adamw"] * rng.uniform(0.9, 1.1)
                    for value in (*MEASURED, "nmse_one"):
                        of_pair = common.setdefault((target, seed, value), 2 + rng.uniform())
                        facts[value] = of_pair + 0.01 * rng.normal() + shifts.get((way, step, arm, value), 0.0)
                    rows.append(facts)
    return pd.DataFrame(rows)


VARIANTS = ((True, "adamw"), (False, "sgd"), (False, "coupled_adam"))


def test_the_contrasts_are_those_of_the_plain_arms(rng):
    table = made(rng, {("head", STEPS, "text", "nll"): 1.0, ("full", 0, "zipf 1.5", "mean_share"): 0.5})
    found = pasts(table)
    assert found.steps == STEPS and len(found.contrasts) == 3 * 4 * len(PAIRS) and len(found.rules) == 3 * 3 * 3
    end = table[(table.step == STEPS) & ~table.tied & (table.optimiser == "adamw") & (table.adaptation == "head")]
    text, none = (end[end.source == s].set_index(["target", "seed"]).nll for s in ("text", "none"))
    row = found.contrasts.loc[("head", "nll", "text", "none")]
    assert row["mean"] == pytest.approx((text - none).mean()) and row.n == 8
    assert found.dose["mean"][0, "mean_share"] == pytest.approx(0.5, abs=0.03)
    assert abs(found.dose["mean"][STEPS, "mean_share"]) < 0.03
    assert set(found.last.arm) == {*PASTS, "zipf 0.5", "zipf 1.5"} and set(found.last.step) == {STEPS}
    assert len(found.drift) == 4 * (7 * 2 + 9) and set(found.drift.variant) == {"adamw", "tied", "sgd", "coupled_adam"}


def test_holm_counts_what_is_read_together(rng):
    found = pasts(made(rng)).contrasts
    for _, rows in found.reset_index().groupby("way"):
        fixed = rows[rows.value != "one"]
        assert fixed.p_holm.min() == pytest.approx(min(1, 21 * fixed.p.min()))
        alone = rows[rows.value == "one"]
        assert alone.p_holm.min() == pytest.approx(min(1, 7 * alone.p.min()))


def test_the_rules_are_compared_within_a_source_and_corrected_over_all(rng):
    table = made(rng)
    found = pasts(table)
    assert found.rules.p_holm.min() == pytest.approx(min(1, 27 * found.rules.p.min()))
    own = found.drift[(found.drift.arm == "numeric") & (found.drift.target == TARGETS[0])]
    expected = paired_contrasts(own, "variant", RULES, MEASURED, ["seed"])
    rows = found.rules[found.rules.arm == "numeric"].reset_index(drop=True)
    assert rows.drop(columns=["arm", "p_holm"]).equals(expected.drop(columns="p_holm"))


def test_only_targets_on_which_all_pasts_have_skill_are_ranked(rng):
    table = made(rng)
    bad = (table.adaptation == "frozen") & (table.target == "chirp") & (table.source == "text") & (table.seed > 0)
    table["skill_one"] = table.skill_one.where(~bad, -1.0)
    rows = with_skill(pasts(table).last)
    assert set(rows.arm) == set(PASTS)
    assert rows.groupby("adaptation").pair.nunique().to_dict() == dict(full=8, frozen=4, head=8)
    assert set(rows[rows.adaptation == "frozen"].target) == {"logistic_map"}


def test_ranks_are_taken_inside_a_pair(rng):
    rows = with_skill(pasts(made(rng)).last).query("adaptation == 'full'")
    rows = rows.assign(iso_score=-rows.nll + 100 * rows.seed)  # the pair's level says nothing
    found = ranks_across_pasts(rows, rng, draws=40)
    assert found["iso_score"] == pytest.approx((-1, -1, -1))
    own = [stats.spearmanr(part.mean_share, part.nll)[0] for _, part in rows.groupby("pair")]
    assert found["mean_share"].value == pytest.approx(np.mean(own))
    assert found["mean_share"].low <= found["mean_share"].value <= found["mean_share"].high
