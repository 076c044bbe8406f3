"""The study is a pure function of its configuration, its arms differ as they say, and training works."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isonum_core.lab.studies.attention_training import Config, run

SHORT = Config(steps=20, every=10, sequences=8)


def test_a_row_can_be_recomputed_alone():
    assert run(SHORT) == run(SHORT)
    assert run(replace(SHORT, seed=1)) != run(SHORT)


@pytest.mark.parametrize("arm", ["attention", "uniform", "none"])
def test_each_arm_learns_from_the_same_start(arm):
    rows = run(replace(SHORT, arm=arm))
    assert [r["step"] for r in rows] == [0, 10, 20]
    assert rows[0]["excess"] > rows[1]["excess"] > rows[2]["excess"] > 0
    assert rows[0]["pr_embeddings"] == run(SHORT)[0]["pr_embeddings"]


def test_attention_starts_as_uniform_and_leaves_it():
    """At A = 0 both arms are one model; after a step of the scores they are two."""
    learned, fixed = run(SHORT), run(replace(SHORT, arm="uniform"))
    assert learned[0] == fixed[0] | dict(arm="attention")
    assert learned[2]["excess"] != fixed[2]["excess"]


def test_a_student_with_the_teachers_spike_starts_as_stretched():
    assert run(replace(SHORT, spike=1.0))[0]["pr_embeddings"] > 5 > 3 > run(SHORT)[0]["pr_embeddings"]


def test_nothing_is_below_the_teachers_entropy():
    assert all(r["excess"] > 0 for r in run(replace(SHORT, steps=60, spike=1.0)))
