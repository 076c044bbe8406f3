"""Every judge of `pretraining` says yes, no and undecided, each on a made-up table."""

from __future__ import annotations

import numpy as np
import pytest
from test_pasts import TARGETS, made

from isonum_core.studies import pretraining
from isonum_core.studies.pasts import MARGIN, pasts


def at_the_end(value, way="full", **shifts):
    """The shift of `value` of each arm after adaptation."""
    return {(way, arm, value): shift for arm, shift in shifts.items()}


HURT = at_the_end("nll", zipf=0.1, text=0.1)
FLAT = at_the_end("iso_score", zipf=-0.1, text=-0.1)
HEAD = at_the_end("nll", "head", numeric=-0.1, zipf=-0.1)
ORDER = dict(target=-0.2, none=-0.1, numeric=0.0, zipf=0.1, text=0.2)
ROUND = at_the_end("nll", **ORDER) | at_the_end("iso_score", **{arm: -shift for arm, shift in ORDER.items()})
CENTRED = at_the_end("nll", **ORDER) | at_the_end("mean_share", **ORDER)


@pytest.mark.parametrize(
    ("which", "held", "shifts"),
    [
        (1, True, {}),
        (2, True, at_the_end("nll", target=-0.1)),
        (2, False, {}),
        (2, False, at_the_end("nll", target=0.1)),
        (3, True, HURT),
        (3, False, at_the_end("nll", zipf=0.1)),
        (3, False, at_the_end("nll", zipf=0.1, text=-0.1)),
        (4, True, FLAT),
        (4, False, at_the_end("iso_score", text=-0.1)),
        (5, True, at_the_end("nll", numeric=0.1)),
        (5, False, at_the_end("nll", target=0.1)),
        (6, True, HEAD),
        (6, False, at_the_end("nll", numeric=-0.1, zipf=-0.1)),
        (7, True, at_the_end("nll", "frozen", text=0.1)),
        (7, False, HURT),
        (8, True, ROUND),
        (8, False, CENTRED),
        (9, True, CENTRED),
        (9, False, ROUND),
        (10, True, {}),
        (10, False, at_the_end("nll", "warm", text=-0.2)),
        (10, None, at_the_end("nll", "warm", text=MARGIN)),
        (11, True, {}),
        (11, False, at_the_end("nll", coupled_adam=0.2)),
        (11, None, at_the_end("nll", coupled_adam=-MARGIN)),
    ],
)
def test_the_judges_of_pretraining(rng, which, held, shifts):
    expectation = pretraining.EXPECTED[which - 1]
    assert expectation.sentence.startswith(f"{which}. ")
    verdict = expectation.judge(pasts(made(rng, shifts)))
    assert verdict.held is held and verdict.found


@pytest.mark.parametrize("drift", [(1e-10, 0.3), (1e-16, 5e-3)])
def test_one_rule_out_of_place_is_enough(rng, drift):
    assert pretraining.EXPECTED[0].judge(pasts(made(rng, drift=drift))).held is False


@pytest.fixture(scope="module")
def found():
    return pasts(made(np.random.default_rng(0)))


@pytest.mark.parametrize("which", range(len(pretraining.EXPECTED)))
def test_a_missing_number_is_not_a_verdict(found, which):
    lost = {name: getattr(found, name) for name in ("contrasts", "warm", "rules", "ranks")}
    lost = {
        name: t.assign(**dict.fromkeys({"mean", "low", "high", "p_holm", "chance"} & set(t), np.nan))
        for name, t in lost.items()
    }
    arms = found.arms.assign(drift=found.arms.drift.where(found.arms.target != TARGETS[0]))
    assert pretraining.EXPECTED[which].judge(found._replace(arms=arms, **lost)).held is None
