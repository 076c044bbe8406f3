"""Every judge of `pretraining` says yes, no and undecided, each on a made-up table."""

from __future__ import annotations

import re

import numpy as np
import pytest
from test_pasts import STEPS, made

from isonum_core.studies import pretraining
from isonum_core.studies.pasts import pasts

NAN = float("nan")


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
