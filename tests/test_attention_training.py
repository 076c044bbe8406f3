"""The study is a pure function of its configuration, its arms differ as they say, and training works."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch

from isonum_core.theory.attention import Attention
from isonum_core.theory.toys.attention_training import Config, _logits, _start, run

SHORT = Config(steps=20, every=10, sequences=8)


def test_a_run_does_not_see_the_others():
    assert run(SHORT) == run(SHORT)
    alone, beside = pd.DataFrame(run(replace(SHORT, seeds=(1,)))), pd.DataFrame(run(replace(SHORT, seeds=(0, 1))))
    pd.testing.assert_frame_equal(alone, beside[beside.seed == 1].reset_index(drop=True), rtol=1e-9)
    assert run(replace(SHORT, seeds=(1,)))[0]["excess"] != run(SHORT)[0]["excess"]


def test_states_are_tokens_plus_what_they_read():
    tokens, _, embeddings, _, head = _start(SHORT, 3)
    scores = torch.randn(1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, alone = (_logits(tokens[None], embeddings[None], a, head[None])[0] for a in (scores[None], None))
    for i, sequence in enumerate(tokens):
        x = embeddings[sequence]
        rows = slice(i * SHORT.length, (i + 1) * SHORT.length)
        assert torch.allclose(found[rows], (x + Attention.of(x, scores[0]).mean) @ head.T, atol=1e-12)
        assert torch.allclose(alone[rows], x @ head.T, atol=1e-12)


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
