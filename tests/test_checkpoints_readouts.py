"""Heads on frozen states: each against scikit-learn or gradient descent step by step; and no head sees what comes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from sklearn.linear_model import LinearRegression, Ridge
from tokenizers import Tokenizer, models, pre_tokenizers

from isonum_core.errors import DataAbsent
from isonum_core.networks.models import Checkpoint
from isonum_core.networks.numerals import Numerals
from isonum_core.studies import checkpoints_readouts as study
from isonum_core.studies.checkpoints_readouts import AHEAD, FITTED, KNOWN, PARTS, PENALTIES, STEPS, Frozen, heads

ORIGINS = np.arange(KNOWN, KNOWN + 5)


@pytest.fixture
def levels(rng):
    return rng.integers(0, 100, size=(PARTS, 64))


@pytest.fixture
def problem(rng):
    """States of 9 parts of 20 rows, two targets that are linear in them, noise."""
    part = np.repeat(np.arange(PARTS), 20)
    x = rng.normal(size=(len(part), 6)) * np.array([5, 3, 2, 1, 0.5, 0.2]) + 7
    y = x @ rng.normal(size=(6, 2)) + 3 * rng.normal(size=(len(part), 2))
    return x, y, part


def chosen(fitted, strengths, y, part, unit):
    """What a head should say: the strength of least squared error over parts left out, then all fitted parts."""
    cost = np.zeros((len(strengths), y.shape[1]))
    for p in range(FITTED):
        fit, held = (part < FITTED) & (part != p), part == p
        said = np.stack([fitted(fit, held, strength) for strength in strengths])
        cost += np.square((said - y[held]) * unit[held]).sum(1)
    final = np.stack([fitted(part < FITTED, part >= FITTED, strength) for strength in strengths])
    return np.stack([final[cost[:, k].argmin(), :, k] for k in range(y.shape[1])], axis=1)


def test_ridge_is_scikit_learns_at_the_penalty_that_left_out_parts_choose(problem, rng):
    x, y, part = problem
    unit = rng.uniform(0.5, 2, size=y.shape)

    def ridge(fit, new, penalty):
        top = np.linalg.svd(x[fit] - x[fit].mean(0), compute_uv=False)[0] ** 2
        return Ridge(alpha=penalty * top).fit(x[fit], y[fit]).predict(x[new])

    want = chosen(ridge, PENALTIES, y, part, unit)
    np.testing.assert_allclose(heads(x, y, unit, part)["ridge"], want, rtol=1e-6)


def test_stopped_is_gradient_descent_from_zero(problem, monkeypatch):
    x, y, part = problem
    monkeypatch.setattr(study, "STEPS", STEPS[:6])

    def descent(fit, new, steps):
        centre, middle = x[fit].mean(0), y[fit].mean(0)
        a, b, w = x[fit] - centre, y[fit] - middle, np.zeros((x.shape[1], y.shape[1]))
        rate = 1 / np.linalg.norm(a, 2) ** 2
        for _ in range(int(steps)):
            w -= rate * a.T @ (a @ w - b)
        return middle + (x[new] - centre) @ w

    want = chosen(descent, STEPS[:6], y, part, np.ones_like(y))
    np.testing.assert_allclose(heads(x, y, np.ones_like(y), part)["stopped"], want, rtol=1e-8)


@pytest.mark.parametrize("d", [6, 300])
def test_least_is_least_squares_and_of_least_norm_beyond_n(rng, d):
    part = np.repeat(np.arange(PARTS), 20)
    x, y = rng.normal(size=(len(part), d)), rng.normal(size=(len(part), 2))
    fit = part < FITTED
    want = LinearRegression().fit(x[fit], y[fit]).predict(x[~fit])
    np.testing.assert_allclose(heads(x, y, np.ones_like(y), part)["least"], want, atol=1e-8)


def test_least_does_not_feel_a_change_of_basis_and_ridge_does(problem, rng):
    x, y, part = problem
    one, other = (heads(z, y, np.ones_like(y), part) for z in (x, x @ rng.normal(size=(6, 6))))
    np.testing.assert_allclose(one["least"], other["least"], rtol=1e-6)
    assert abs(one["ridge"] - other["ridge"]).max() > 1e-3


def test_what_is_judged_is_not_fitted(problem):
    x, y, part = problem
    other = np.where(part[:, None] >= FITTED, 1e3, y)
    for name, said in heads(x, y, np.ones_like(y), part).items():
        np.testing.assert_array_equal(said, heads(x, other, np.ones_like(y), part)[name])


def test_targets_and_naive_forecasts_letter_by_letter(levels):
    wanted, (last, same) = study.targets(levels, ORIGINS), study.naive(levels, ORIGINS)
    rows = [(row, t) for row in levels for t in ORIGINS]
    assert len(rows) == len(wanted) == len(last)
    for i, (row, t) in enumerate(rows):
        for x, first, got in ((row[t + 1 : t + 17], row[t], wanted[i]), (row[t - 15 : t + 1], row[t - 16], same[i])):
            above = x > x.mean()
            crossings = sum(a != b for a, b in zip(above[1:], above[:-1], strict=True))
            volatility = np.log(1 + np.std(np.diff([first, *x])))
            assert got[1:] == pytest.approx([x.mean(), volatility, 32 / (1 + crossings)])
        assert wanted[i, 0] == row[t + 1] and same[i, 0] == pytest.approx(row[t - 15 : t + 1].mean())
        assert list(last[i, :2]) == [row[t]] * 2


def test_a_line_has_one_crossing_and_an_alternation_fifteen():
    line, zigzag = np.arange(64)[None], np.tile([0, 9], 32)[None]
    period = [study.targets(x, np.array([40]))[0, 3] for x in (line, zigzag)]
    assert period == [16, 2]


def test_states_of_values_are_the_last_32_levels(levels):
    states = study._lags(levels)
    origins = np.arange(KNOWN, levels.shape[1] - AHEAD)
    want = [row[t - 31 : t + 1] for row in levels for t in origins]
    np.testing.assert_array_equal(states, want)


def test_fracast_sees_everything_up_to_each_origin_and_nothing_after(levels, monkeypatch):
    met = []
    monkeypatch.setattr(study, "fracast_or_twin", lambda trained: None)
    monkeypatch.setattr(study, "fracast_states", lambda model, x: met.append(x.numpy()) or {"embed": x[:, -2:]})
    [(site, states, tokens)] = study._series(levels, ORIGINS, True)
    assert site == "embed" and tokens is None
    seen = np.concatenate(met)
    for window, (row, t) in zip(seen, [(row, t) for row in levels for t in ORIGINS], strict=True):
        np.testing.assert_array_equal(window[~np.isnan(window)], row[: t + 1])
    np.testing.assert_array_equal(states[:, -1], levels[:, ORIGINS].ravel())


@pytest.fixture
def small(monkeypatch):
    """A Llama of two blocks that reads digits, in the place of SmolLM2."""
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<s>", *"0123456789", " "])}, unk_token="<s>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>")
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=12)
    torch.manual_seed(3)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, initializer_range=0.5)).eval()
    checkpoint = Checkpoint(model, tokenizer, {})
    monkeypatch.setattr(study, "smollm2", lambda: checkpoint)
    monkeypatch.setattr(study, "BLOCKS", (0, 1))
    study.smollm2_or_twin.cache_clear()
    yield checkpoint
    study.smollm2_or_twin.cache_clear()


def test_states_of_a_language_model_stand_at_the_separator_after_each_origin(small, levels):
    found = {name: (states, tokens) for name, states, tokens in study._language(levels, ORIGINS, True)}
    assert [*found] == ["block.0", "block.1", "final_norm"]
    ids = Numerals(small).ids(levels[2])
    assert all(ids[0, 1 + 3 * t + 2] == 11 for t in ORIGINS)  # a space
    with torch.no_grad():
        hidden = small.model(input_ids=ids, output_hidden_states=True).hidden_states
    rows = slice(2 * len(ORIGINS), 3 * len(ORIGINS))
    for name, want in (("block.0", hidden[1]), ("final_norm", hidden[2])):
        np.testing.assert_allclose(found[name][0][rows], want[0, 1 + 3 * ORIGINS + 2], rtol=1e-5, atol=1e-6)
    assert found["block.0"][1].split().everything.n == PARTS * ids.shape[1]


def test_the_twin_has_the_same_form_and_weights_of_its_own_seed(small):
    torch.manual_seed(5)
    twin = study.smollm2_or_twin(False).model
    assert [p.shape for p in twin.parameters()] == [p.shape for p in small.model.parameters()]
    torch.manual_seed(study.TWIN)
    want = transformers.LlamaForCausalLM(small.model.config)
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), want.parameters(), strict=True))
    assert study.smollm2_or_twin(True) is small and not twin.training


def test_a_row_is_an_error_ratio_and_a_state_that_tells_the_target_has_none(levels, rng):
    origins = np.arange(KNOWN, levels.shape[1] - AHEAD)
    wanted = study.targets(levels, origins)
    states = np.column_stack([wanted, levels[:, origins].ravel(), rng.normal(size=len(wanted))])
    row = study._judged(levels, "smollm2", True, "block.0", 1, states, origins)
    # The smallest penalty is 1e-9 of the largest eigenvalue, and here the smallest direction has 1e-4 of it.
    assert all(row[f"{head}_{t}"] < 1e-6 for head in ("ridge", "least") for t in study.TARGETS)
    noise = study._judged(levels, "fracast", True, "block.0", 1, rng.normal(size=states.shape), origins)
    assert all(noise[f"ridge_{t}"] > 0.8 for t in study.TARGETS) and noise["sinks"] == 0
    assert all(noise[m] is None for m in ("iso_all", "iso_kept"))
    flat = study._judged(0 * levels, "smollm2", True, "block.0", 1, 0 * states, origins)
    assert flat["iso_score"] is None and flat["ridge_next"] is None


def test_stretches_are_levels_of_their_own_first_values(monkeypatch, tmp_path):
    monkeypatch.setenv("ISONUM_DATA", str(tmp_path))
    for name in ("henon", "elnino"):
        x = study.stretches(Frozen(name, 0))
        assert len(x) == PARTS and x.shape[1] <= study.LENGTH and 0 <= x.min() and x.max() <= 99
        assert ((x[:, :KNOWN].min(1) == 8) & (x[:, :KNOWN].max(1) == 91)).all()  # a margin of a tenth of the range
    with pytest.raises(DataAbsent):
        study.stretches(Frozen("ett_h1", 0))


def test_the_grid_lists_each_series_once():
    configs = study.grid("cpu")
    assert len(set(configs)) == len(configs) == 15 and study.grid("quick")[0] in study.grid("gpu")
