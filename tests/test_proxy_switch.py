"""What another read-out will do, said by rows left out: scores on tables whose changes are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isonum_core.studies.proxy_switch import switch_scores, switched
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
    ("said", "sign", "share"),
    [
        (lambda came: came, 1.0, 1.0),
        (lambda came: -came, 0.0, -3.0),
        (lambda came: np.where(abs(came) > 0.1, came, -came), 1.0, 1 - 0.002 / 0.1305),  # small ones have no sign
        (0.0, 0.0, 0.0),
    ],
)
def test_sign_and_share_of_squares(rng, said, sign, share):
    found = switch_scores(moves(rng, said), rng, draws=20).value
    assert found["series", "weak", "sign"] == pytest.approx(sign)
    assert found["series", "weak", "share"] == pytest.approx(share, abs=1e-3)


def test_changes_are_logs_of_ratios_to_the_tuned_ridge_on_worlds_held_out():
    base = dict(network="t5", trained=True, target="next", site="read", error_tuned=0.5, error_few_tuned=0.5)
    base |= dict(
        left_out_tuned=0.4, left_out_weak=0.8, left_out_stopped=0.4, error_few_weak=1.0, error_few_stopped=0.25
    )
    found = switched(pd.DataFrame([base | dict(world=world) for world in ("ar1", "henon")])).set_index("end")
    assert set(found.world) == {"ar1"}, "henon was for looking"
    assert found.said.to_dict() == pytest.approx({"weak": np.log(2), "stopped": 0})
    assert found.came.to_dict() == pytest.approx({"weak": np.log(2), "stopped": -np.log(2)})
