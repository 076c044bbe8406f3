"""Forecasts converge, raw logits stop where the frozen shift leaves them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from isonum_core.theory.toys.plateau import Plateau, _draw, run

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


@pytest.mark.parametrize("length", [0.0, 0.5, 3.0])
def test_the_teachers_mean_row_is_as_long_as_asked(length):
    x, w, head, b = _draw(replace(SHORT, mean_length=length, d=4), 7)
    assert float(w.mean(0).norm()) == pytest.approx(length, abs=1e-14)
    assert [tuple(t.shape) for t in (x, w, head, b)] == [(128, 4), (48, 4), (48, 4), (4, 4)]
    # Rows of length one beside their mean, and of 0.3 in the student's first head: of 48 rows, to a fifth.
    rms = [float(t.square().sum(1).mean().sqrt()) for t in (w - w.mean(0), head)]
    assert rms == pytest.approx([1, 0.3], rel=0.2) and torch.equal(
        w, _draw(replace(SHORT, mean_length=length, d=4), 7)[1]
    )


def test_any_row_can_be_computed_alone():
    both = [row for row in run(replace(SHORT, steps=30)) if row["seed"] == 1]
    for a, b in zip(both, run(replace(SHORT, steps=30, seeds=(1,))), strict=True):
        assert all(abs(a[k] - b[k]) < 1e-9 for k in a if k != "arm")
