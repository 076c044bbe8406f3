"""What another read-out will do, said by rows left out: scores on tables whose changes are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isonum_core.studies.proxy_switch import foreseen, switch_scores, switched
from isonum_core.studies.proxy_verdicts import CELL


def moves(rng, said):
    """Eighty changes, half of them by less than a twentieth; `said` makes what was said of them."""
    came = np.tile([0.3, -0.2, 0.01, -0.02], 20)
    cells = [
        (net, True, world, target) for net in ("t5", "gpt2") for world in "ab" for target in "xy" for _ in range(10)
    ]
    frame = pd.DataFrame(cells, columns=CELL).assign(kind="series", site="read", end="weak", came=came)
    return frame.assign(said=said(came) if callable(said) else said)


@pytest.mark.parametrize(
    ("said", "rank", "beyond"),
    [
        (lambda came: came, 1.0, 1.0),
        (lambda came: 2 * came.mean() - came, -1.0, -3.0),
        (lambda came: came / 2 + came.mean() / 2, 1.0, 0.75),
        (lambda came: came + 1, 1.0, 1 - 1 / np.var([0.3, -0.2, 0.01, -0.02])),  # the right order, a level too high
    ],
)
def test_rank_and_what_is_said_beyond_the_mean(rng, said, rank, beyond):
    found = switch_scores(moves(rng, said), rng, draws=20).value
    assert found["series", "weak", "rank"] == pytest.approx(rank)
    assert found["series", "weak", "beyond"] == pytest.approx(beyond)


def test_only_changes_that_helped_are_foreseen(rng):
    assert foreseen(moves(rng, lambda came: came)) == (20, 20)
    assert foreseen(moves(rng, lambda came: abs(came))) == (0, 20), "small falls count nowhere"


def test_changes_are_logs_of_ratios_to_the_tuned_ridge_on_worlds_held_out():
    base = dict(network="t5", trained=True, target="next", site="read", error_tuned=0.5, error_few_tuned=0.5)
    base |= dict(
        left_out_tuned=0.4, left_out_weak=0.8, left_out_stopped=0.4, error_few_weak=1.0, error_few_stopped=0.25
    )
    found = switched(pd.DataFrame([base | dict(world=world) for world in ("ar1", "henon")])).set_index("end")
    assert set(found.world) == {"ar1"}, "henon was for looking"
    assert found.said.to_dict() == pytest.approx({"weak": np.log(2), "stopped": 0})
    assert found.came.to_dict() == pytest.approx({"weak": np.log(2), "stopped": -np.log(2)})
