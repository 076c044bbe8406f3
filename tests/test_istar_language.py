"""I-STAR on networks that learnt from text: the last block alone is the whole network, and verdicts say yes and no."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from isonum_core.lab.expectation import judged
from isonum_core.lab.study import find_study
from isonum_core.networks.models import Checkpoint
from isonum_core.studies import istar_language as study
from isonum_core.studies.istar_language_verdicts import EXPECTED, adapted, effects_on, moved_by

SMALL = dict(hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=40, vocab_size=50)


class Digits:
    """A tokenizer that gives every character an id of its own."""

    bos_token_id = 40

    def __call__(self, text, **how):
        if isinstance(text, str):
            return {"input_ids": [int(c) if c.isdigit() else 30 for c in text]}
        longest = max(map(len, text))
        rows = [[1 + ord(c) % 40 for c in line] for line in text]
        padded = [row + [0] * (longest - len(row)) for row in rows]
        return {"input_ids": padded, "attention_mask": [[int(i > 0) for i in row] for row in padded]}


@pytest.fixture
def small(monkeypatch):
    """Both kinds of model, small and random, in the place of the packages."""
    torch.manual_seed(0)
    causal = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, tie_word_embeddings=True)).eval()
    encoder = transformers.BertModel(transformers.BertConfig(**SMALL)).eval()
    made = {"smollm2": Checkpoint(causal, Digits(), {}), "minilm": Checkpoint(encoder, Digits(), {})}
    monkeypatch.setattr(study, "checkpoint_of", made.get)
    texts = [f"{'good' if i % 3 else 'bad'} {i} {'x' * (i % 7)}" for i in range(120)]
    monkeypatch.setattr(study, "sentences", lambda task: (texts, np.array([int(i % 3 > 0) for i in range(120)])))
    study.below.cache_clear()
    yield made
    study.below.cache_clear()


def test_the_last_block_over_cached_states_is_the_language_model(small):
    cached, model = study.below("smollm2", "ar2_period", 0, "quick"), small["smollm2"].model
    reader = study.Reader(small["smollm2"], cached.classes).eval()
    drawn = np.random.default_rng([study.DRAWN, 0, *b"ar2_period"])
    family = study.FAMILIES["ar2_period"]
    knob = family.grid[len(family.grid) // 2]
    values = family.draw(knob, study.LENGTH, drawn, 7)
    ids = torch.cat([study.Numerals(small["smollm2"]).ids(study.levelled(row, study.KNOWN)) for row in values])
    with torch.no_grad():
        whole = model(input_ids=ids).logits[:, :, :10]
        tokens, states = reader.leaving(*cached.of(np.arange(7))), reader(*cached.of(np.arange(7)))
        layers = model.model.layers[-1], model.model.rotary_emb
        own = layers[0](
            cached.states[:7], position_embeddings=layers[1](cached.states, torch.arange(ids.shape[1])[None])
        )
    torch.testing.assert_close(tokens, own.flatten(0, 1), rtol=1e-4, atol=1e-5)
    assert tokens.shape == (7 * ids.shape[1], 24) and states.shape == (7 * 40, 24)
    places = study.before_digits(ids.shape[1])
    # Sums of one kernel in another order.
    torch.testing.assert_close(reader.head(states).view(7, 40, 10), whole[:, places], rtol=1e-4, atol=1e-5)
    # What follows each place is the digit that is its label, and nothing else is.
    assert torch.equal(ids[:, places + 1], cached.labels[:7])


def test_padding_changes_nothing_that_a_sentence_says(small):
    cached = study.below("minilm", "praise", 1, "quick")
    reader, encoder = study.Reader(small["minilm"], 2).eval(), small["minilm"].model
    with torch.no_grad():
        states = reader(*cached.of(np.arange(80)))
        short = min(range(80), key=lambda i: int(cached.mask[i].sum()))
        alone = cached.states[short : short + 1, : int(cached.mask[short].sum())]
        own = encoder.encoder.layer[-1](alone).mean(1)
    torch.testing.assert_close(states[short : short + 1], own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", study.grid("quick"), ids=str)
def test_a_run_starts_alike_and_its_weight_moves_isoscore(small, config):
    rows = study.run(config)
    assert find_study("istar_language").cells(config, rows)
    assert [row["step"] for row in rows][::3] == [0, study.EFFORTS[config.size, config.model].steps]
    plain = study.run(study.Tuned(config.model, config.task, "none", 0.0, config.seed, config.size))
    assert rows[0] == plain[0] and study.run(config) == rows
    if config.model == "minilm" and config.value:
        assert rows[-1]["nll"] != plain[-1]["nll"]


@pytest.mark.parametrize("arm, value", [(arm.name, arm.value) for arm in study.ARMS[::4]])
def test_every_way_begins_alike_and_ends_elsewhere(small, arm, value):
    plain = study.run(study.Tuned("minilm", "praise", "none", 0.0, 0, "quick"))
    rows = study.run(study.Tuned("minilm", "praise", arm, value, 0, "quick"))
    assert rows[0] == plain[0]
    assert (rows[-1]["nll"] == plain[-1]["nll"]) == (arm == "none")


def test_what_validates_is_apart_from_what_teaches_and_judges(small):
    effort = study.EFFORTS["quick", "smollm2"]
    cached = study.below("smollm2", "ar2_period", 0, "quick")
    assert len(cached.labels) == effort.train + effort.test + effort.valid
    assert len(cached.labels.unique(dim=0)) == len(cached.labels)


def test_the_digits_keep_their_head_and_labels_get_a_new_one(small):
    digits, labels = study.Reader(small["smollm2"], 10), study.Reader(small["minilm"], 4)
    assert torch.equal(digits.head.weight, small["smollm2"].model.model.embed_tokens.weight[:10])
    assert not digits.head.weight.requires_grad and labels.head.weight.requires_grad
    assert float(labels.head.weight.detach().abs().max()) == 0 and labels.head.out_features == 4
    before = [p.clone() for p in small["smollm2"].model.parameters()]
    study.run(study.Tuned("smollm2", "ar2_period", "istar", 0.1, 0, "quick"))
    assert all(map(torch.equal, before, small["smollm2"].model.parameters()))


def test_sentences_of_a_task_have_one_label_each(monkeypatch):
    pairs = [
        ("Fit a line to a few points", "Rows are points. The last column is what is fitted."),
        ("Stop", "a b c d e f"),
    ]
    monkeypatch.setattr(study, "known_items", lambda name, sha256: pairs if sha256 else [])
    texts, labels = study.sentences.__wrapped__("package")
    assert texts[::2] == 4 * [pairs[0][0]] and labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


TASKS = {"smollm2": study.SERIES, "minilm": study.SENTENCES}


def made(rng, effect=None, fitted=-0.5, rounder=0.02, longest=1.0, noise=1e-3, follows=0.1):
    """A table in which a weight adds effect[model, weight] to the NLL and `follows` times itself to IsoScore."""
    rows = []
    for model, tasks in TASKS.items():
        for task in tasks:
            for seed in range(3):
                level = 1 + rng.normal()
                for weight in (0.0, 0.3, -0.3, 5.0, -5.0):
                    for step in (0, 20, 60):
                        late, added = step > 0, (effect or {}).get((model, weight), 0.0)
                        jitter = iter(noise * rng.normal(size=3))
                        facts = dict(model=model, task=task, weight=weight, seed=seed, size="cpu", step=step)
                        facts["nll"] = level + late * (fitted + added) + next(jitter)
                        facts["iso_score"] = 0.1 + late * (rounder + follows * weight) + next(jitter)
                        facts["longest"] = 3 * (longest if late else 1.0) * np.exp(next(jitter))
                        rows.append(facts)
    return pd.DataFrame(rows)


def test_effects_are_against_weight_zero_of_the_same_task_and_seed(rng):
    table = made(rng, {("minilm", 0.3): -0.2, ("smollm2", 0.3): 0.1})
    found = effects_on(table)
    assert len(found) == 12 and found.n["smollm2", 5.0] == 5 and found.n["praise", 5.0] == 3
    assert found["mean"]["praise", 0.3] == pytest.approx(-0.2, abs=0.006)
    assert found["mean"]["smollm2", 0.3] == pytest.approx(0.1, abs=0.003)
    assert abs(found["mean"]["smollm2", -0.3]) < 0.003
    assert adapted(table, "nll")["mean"]["smollm2"] == pytest.approx(-0.5, abs=0.003)
    assert adapted(made(rng, longest=2.0), "longest")["mean"]["smollm2"] == pytest.approx(np.log(2), abs=0.003)
    assert len(moved_by(table, "nll", 0.3)) == 5 + 6


RIGHT = {("smollm2", 5.0): 0.1, ("minilm", 0.3): -0.1}
LESS = {(model, weight): -0.1 for model in TASKS for weight in (-0.3, -5.0)}


@pytest.mark.parametrize(
    "which, change",
    [
        (0, dict(fitted=0.2)),
        (1, dict(rounder=-0.02)),
        (2, dict(longest=1.8)),
        (3, dict(follows=-0.1)),
        (4, dict(effect={("minilm", 0.3): -0.1})),
        (5, dict(effect=RIGHT | {("smollm2", -0.3): 0.01})),
        (6, dict(effect=RIGHT | LESS)),
    ],
)
def test_every_judge_says_yes_and_no(rng, which, change):
    yes = judged(EXPECTED, made(rng, RIGHT)).verdicts
    assert [verdict.held for verdict in yes] == [True] * len(EXPECTED)
    no = judged(EXPECTED, made(rng, **({"effect": RIGHT} | change))).verdicts[which]
    assert no.held is not True and "nan" not in no.found
