"""Forecasts converge, raw logits stop where the frozen shift leaves them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isonum_core.errors import IsonumError
from isonum_core.theory.toys.plateau import Plateau, run

SHORT = Plateau(seeds=(0, 1, 2), steps=400)


def test_raw_logits_stall_while_forecasts_converge_unless_the_head_is_shared():
    end = {(row["arm"], row["seed"]): row for row in run(SHORT) if row["step"] == 400}
    for seed in SHORT.seeds:
        learned, shared = end["learned head, momentum", seed], end["teacher's head, Adam", seed]
        assert learned["kl"] < 1e-8 and learned["centred_mse"] < 1e-7 and learned["forecast_mse"] < 1e-9
        assert learned["raw_mse"] > 0.3
        assert shared["kl"] < 1e-4 and shared["raw_mse"] < 1e-3  # one head: raw logits follow the forecasts down


def test_raw_error_is_centred_error_plus_shift_error():
    for row in run(replace(SHORT, steps=10)):
        assert abs(row["raw_mse"] - row["centred_mse"] - row["shift_mse"]) < 1e-12 * (1 + row["raw_mse"])


def test_a_centred_teacher_leaves_only_the_students_own_frozen_mean():
    """The teacher's mean row is most of the plateau: without it, what is left is the student's first mean row."""
    kept = [r["raw_mse"] for r in run(replace(SHORT, mean_length=1.0)) if r["step"] == 400 and "momentum" in r["arm"]]
    none = [r["raw_mse"] for r in run(replace(SHORT, mean_length=0.0)) if r["step"] == 400 and "momentum" in r["arm"]]
    assert max(none) < min(kept) / 3


def test_any_row_can_be_computed_alone():
    both = [row for row in run(replace(SHORT, steps=30)) if row["seed"] == 1]
    for a, b in zip(both, run(replace(SHORT, steps=30, seeds=(1,))), strict=True):
        assert all(abs(a[k] - b[k]) < 1e-9 for k in a if k != "arm")


def test_unknown_arm_is_named():
    with pytest.raises(IsonumError, match="unknown arm 'x'; expected one of learned head, Adam"):
        run(replace(SHORT, arms=("x",)))
