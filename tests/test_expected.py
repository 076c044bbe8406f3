"""Every judge says yes, no and undecided, each on a made-up table; and how easily two of them say yes."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from test_pasts import STEPS, made

from isonum_core.lab.expectation import judged
from isonum_core.studies import data, pretraining
from isonum_core.studies.data import Evidence
from isonum_core.studies.effects import HALVES
from isonum_core.studies.pasts import pasts
from isonum_core.studies.relations import sign_by_family
from isonum_core.worlds.families import FAMILIES

NAN = float("nan")


def evidence(
    twin=(-0.5, 0.0), raw=(-0.5, 0.0), cosine=(-0.1, 0.1), far=0.04, halves=(-0.4, -0.1), signs=((-2, -1), (1, 2))
):
    """Each pair is an interval; `far`: the share of cluster-centred cosines beyond 0.05."""
    of_iso = {"|trained| - |untrained|": twin, "|trained| - |input|": raw}
    rows = [("iso_score", name, *ends) for name, ends in of_iso.items()] + [("cluster_cosine", "trained", *cosine)]
    relations = pd.DataFrame(rows, columns=["measure", "predictor", "low", "high"]).assign(rho=0.0, error="ratio")
    relations = pd.concat([relations.assign(kind="between"), relations.assign(kind="within", low=9.0, high=9.5)])
    both = pd.DataFrame([("between", "trained", 0.0, *halves)], columns=["kind", "network", "rho", "low", "high"])
    own = pd.DataFrame(signs, columns=["low", "high"]).assign(predictor="trained")
    own = pd.concat([own, pd.DataFrame(dict(low=[1.0], high=[2.0], predictor=["untrained"]))])
    cosines = pd.Series(np.where(np.arange(100) < 100 * far, -0.06, 0.05))
    return Evidence(relations, both.set_index(["kind", "network"]), own, cosines)


@pytest.mark.parametrize(
    ("which", "held", "change"),
    [
        (0, True, {}),
        (0, False, dict(twin=(0.01, 0.5))),
        (0, False, dict(raw=(0.01, 0.5))),
        (0, None, dict(twin=(NAN, 0.5))),
        (1, True, {}),
        (1, False, dict(cosine=(0.01, 0.1))),
        (1, False, dict(cosine=(-0.2, -0.1))),
        (1, False, dict(far=0.05)),  # 95 % exactly is not nearly every row
        (1, None, dict(cosine=(NAN, 0.1))),
        (2, True, {}),
        (2, False, dict(halves=(0.51, 0.9))),
        (2, False, dict(halves=(-0.9, -0.5))),
        (2, None, dict(halves=(-0.6, -0.1))),
        (2, None, dict(halves=(NAN, -0.1))),
        (3, True, {}),
        (3, False, dict(signs=((1, 2), (-1, 1)))),
        (3, False, dict(signs=((-2, -1), (-1, 1)))),
        (3, None, dict(signs=())),
    ],
)
def test_the_judges_of_data(which, held, change):
    verdict = data.EXPECTED[which].judge(evidence(**change))
    assert verdict.held is held and verdict.found


def test_the_verdict_says_its_numbers():
    found = [v.found for v in judged(data.EXPECTED, evidence(halves=(-0.6, -0.1))).verdicts]
    assert found == [
        "closer than the twin by +0.00 [-0.50, +0.00], than the raw windows by +0.00 [-0.50, +0.00]",
        "96.0% of rows; between families +0.00 [-0.10, +0.10]",
        "+0.00 [-0.60, -0.10]: the interval holds both",
        "1 families negative, 1 positive, 0 undecided",
    ]


def test_unrelated_curves_meet_the_fourth_expectation_of_data(rng):
    """Measure and error each follow a curve of their own over the knobs: no relation, and yes all the same."""
    held = 0
    for _ in range(4):
        rows = []
        for family in list(FAMILIES)[:30]:
            grid = [knob for knob in FAMILIES[family].grid if FAMILIES[family].beatable(knob)]
            for knob in grid:
                measure, error = rng.normal(size=2)
                for seed in range(5):
                    facts = dict(family=family, model="m", size="cpu", seed=seed, knob=knob, iso_input=rng.normal())
                    facts |= dict.fromkeys(HALVES, measure + 0.2 * rng.normal())
                    facts |= dict(skill=1 - np.exp(error + 0.2 * rng.normal() - 5), skill_one=0.5)
                    rows += [facts | dict(trained=True), facts | dict(trained=False)]
        signs = sign_by_family(pd.DataFrame(rows), "iso_score", "ratio", rng, draws=60)
        held += data.EXPECTED[3].judge(evidence()._replace(signs=signs)).held
    assert held == 4


def at_the_end(value, way="full", **shifts):
    """The shift of `value` of an arm after adaptation; zipf stands for exponent 1."""
    names = dict(zipf="zipf 1")
    return {(way, STEPS, names.get(arm, arm), value): shift for arm, shift in shifts.items()}


BEGUN = {("full", 0, "zipf 1.5", "mean_share"): 0.4}
LEFT = ("full", STEPS, "zipf 1.5", "mean_share")
HELPS = at_the_end("nll", numeric=-0.1, target=-0.2)


@pytest.mark.parametrize(
    ("which", "held", "shifts"),
    [
        (0, True, {}),
        (1, True, BEGUN),
        (1, False, {}),
        (1, False, {("full", 0, "zipf 1.5", "mean_share"): -0.4}),
        (2, True, BEGUN | {LEFT: 0.1}),
        (2, False, BEGUN | {LEFT: 0.3}),
        (3, True, {}),
        (3, False, at_the_end("nll", text=0.1)),
        (3, False, at_the_end("iso_score", zipf=-0.1)),
        (3, True, at_the_end("nll", numeric=0.1) | at_the_end("nll", "frozen", text=0.1)),
        (4, True, HELPS),
        (4, False, {}),
        (4, False, at_the_end("nll", numeric=0.1)),
        (5, True, HELPS),
        (5, False, at_the_end("nll", numeric=-0.2, target=-0.1)),
        (5, False, at_the_end("nll", numeric=0.2)),
        (6, True, at_the_end("nll", "frozen", numeric=-0.1)),
        (6, False, HELPS),
        (7, True, at_the_end("nll", "frozen", zipf=0.1)),
        (7, False, at_the_end("nll", "frozen", text=-0.1)),
        (7, False, at_the_end("nll", "frozen", zipf=-0.1)),
    ],
)
def test_the_judges_of_pretraining(rng, which, held, shifts):
    verdict = pretraining.EXPECTED[which].judge(pasts(made(rng, shifts)))
    assert verdict.held is held and verdict.found


@pytest.mark.parametrize("drift", [(1e-2, 0.3), (1e-8, 5e-3)])
def test_one_rule_out_of_place_is_enough(rng, drift):
    assert pretraining.EXPECTED[0].judge(pasts(made(rng, drift=drift))).held is False


def test_a_rest_whose_interval_holds_half_is_not_decided(rng):
    """The seeds disagree about what is left, by as much as there is: below half in the mean, and not surely."""
    table = made(rng, BEGUN)
    left = (table.step == STEPS) & (table.exponent == 1.5)
    table["mean_share"] += left * (0.15 + 0.15 * (table.seed - 1.5))
    verdict = pretraining.EXPECTED[2].judge(pasts(table))
    assert verdict.held is None and verdict.found.endswith("the interval holds both")


@pytest.fixture(scope="module")
def found():
    return pasts(made(np.random.default_rng(0)))


@pytest.mark.parametrize("which", range(len(pretraining.EXPECTED)))
def test_a_missing_number_is_not_a_verdict(found, which):
    numbers = ["mean", "low", "high", "p_holm"]
    lost = found._replace(
        arms=found.arms.assign(drift=found.arms.drift.where(found.arms.seed > 0)),
        contrasts=found.contrasts.assign(**dict.fromkeys(numbers, NAN)),
        dose=found.dose.assign(**dict.fromkeys(numbers, NAN)),
    )
    assert pretraining.EXPECTED[which].judge(lost).held is None


def test_what_moved_is_named(rng):
    found = pasts(made(rng, at_the_end("nll", zipf=0.1) | at_the_end("mean_share", text=0.1)))
    words = pretraining.EXPECTED[3].judge(found).found
    assert re.fullmatch(r"moved: NLL by Zipf 1 \(\+0\.\d\d .*\), mean share by text \(\+0\.\d\d .*\)", words)
