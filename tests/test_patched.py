"""Patched log-linear models: what they read, the log-linear head, the states on the way, and what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from isonum_core.errors import IsonumError
from isonum_core.networks.forecast import Predictive, word_ids
from isonum_core.networks.patched import TRUNKS, Patched, patched_model, read, word_loss
from isonum_core.networks.train import Training, train
from isonum_core.theory.loglinear import probabilities
from isonum_core.worlds.windows import anchored

SMALL = dict(d=16, heads=2, context=32, horizon=4, patch=8, words=12, reach=4.0)


def windows(n=6, length=32, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, length)).cumsum(1)).float()


@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_seed_gives_a_model_without_dropout_and_leaves_the_generator_alone(trunk):
    before = torch.get_rng_state()
    first, again, other = (patched_model(Patched(trunk, **SMALL), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before) and first.training
    assert torch.equal(first(windows()), again(windows())) and not torch.equal(first(windows()), other(windows()))
    assert all(p.dtype == torch.float32 for p in first.parameters())


@pytest.mark.parametrize("trunk", TRUNKS)
def test_one_step_ahead_is_the_log_linear_model_of_its_table_and_state(trunk):
    model = patched_model(Patched(trunk, **SMALL), 0).eval()
    reading = read(model, windows())
    states, said = reading.states, reading.said
    blocks = ["encoder.block.0", "decoder.block.0"] if trunk == "t5" else ["block.0", "block.1"]
    assert [name for name in states if "block" in name] == blocks and list(states)[-1] == "read"
    assert all(x.shape == (6, 16) and not x.requires_grad for x in states.values())
    expected = probabilities(model.table.double(), states["read"].double())
    assert torch.allclose(said.p[:, 0], expected.detach(), atol=1e-6)
    assert said.p.shape == (6, 4, 12)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_states_are_those_of_a_plain_hook_on_the_last_patch(trunk):
    model, met = patched_model(Patched(trunk, **SMALL), 0).eval(), []
    kinds = ("GPT2Block", "LlamaDecoderLayer", "BertLayer", "T5Block", "PatchTSTEncoderLayer", "PatchTSMixerLayer")
    for module in model.trunk.modules():
        if type(module).__name__ in kinds:
            module.register_forward_hook(lambda m, args, out: met.append(out[0] if isinstance(out, tuple) else out))
    states = read(model, windows()).states
    assert len(met) == 2, "one pass"
    first, second = (x for name, x in states.items() if "block" in name)
    for i, x in enumerate((first, second)):
        assert torch.equal(x, met[i].reshape(6, 4, 16)[:, -1])
    entered = next(iter(states.values()))
    assert not torch.equal(first, second) and not torch.equal(entered, first)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_reading_is_what_the_network_says_without_being_listened_to(trunk):
    model = patched_model(Patched(trunk, **SMALL), 0).eval()
    said = read(model, windows()).said
    with torch.no_grad():
        assert torch.equal(said.p, model(windows()).double().softmax(-1))
    last, scale = anchored(windows().double())
    assert torch.equal(said.last, last) and torch.equal(said.scale, scale)


def test_all_trunks_have_the_same_size_to_two_percent():
    sizes = [sum(p.numel() for p in patched_model(Patched(trunk), 0).parameters()) for trunk in TRUNKS]
    assert max(sizes) / min(sizes) < 1.02


@pytest.mark.parametrize("trunk", TRUNKS)
def test_shifting_and_scaling_a_series_shifts_and_scales_what_is_said(trunk):
    model = patched_model(Patched(trunk, **SMALL), 0).eval()
    x = windows()
    plain, moved = read(model, x).said, read(model, 40 + 8 * x).said
    assert torch.allclose(plain.p, moved.p, atol=1e-4)
    assert torch.allclose(40 + 8 * plain.mean, moved.mean, atol=1e-2)


def test_words_are_the_nearest_centres_and_the_outermost_take_the_rest():
    centres = torch.linspace(-4, 4, 9)
    y = torch.tensor([[-99.0, -3.6, -3.4, 0.49, 0.51, 77.0]])
    assert word_ids(y, centres).tolist() == [[0, 0, 1, 4, 5, 8]]


def test_the_loss_is_the_cross_entropy_of_what_is_said():
    model = patched_model(Patched("gpt2", **SMALL), 0).eval()
    x = windows(length=36)
    loss = word_loss(model, x[:, :32], x[:, 32:]).item()
    assert read(model, x[:, :32]).said.nll(x[:, 32:].double()).item() == pytest.approx(loss, rel=1e-5)
    flat = Predictive(
        torch.full((2, 3, 12), 1 / 12, dtype=torch.float64),
        torch.linspace(-4, 4, 12).double(),
        *(torch.ones(2, 1, dtype=torch.float64) for _ in range(2)),
    )
    assert flat.nll(torch.zeros(2, 3, dtype=torch.float64)).item() == pytest.approx(np.log(12))


def test_crps_is_the_integral_of_the_squared_distance_between_distributions(rng):
    centres = torch.linspace(-2, 2, 7).double()
    p = torch.from_numpy(rng.dirichlet(np.ones(7), size=(3, 2)))
    last, scale = torch.from_numpy(rng.normal(size=(3, 1))), torch.from_numpy(rng.uniform(0.5, 2, size=(3, 1)))
    target = torch.from_numpy(rng.normal(size=(3, 2)))
    y, grid = (target - last) / scale, np.linspace(-8, 8, 160_001)
    own = [
        trapezoid(((centres.numpy() <= grid[:, None]) @ p[i, j].numpy() - (grid >= y[i, j].item())) ** 2, grid)
        for i in range(3)
        for j in range(2)
    ]
    assert Predictive(p, centres, last, scale).crps(target).item() == pytest.approx(np.mean(own), abs=2e-4)


def test_a_certain_forecast_has_the_absolute_error_as_crps_and_itself_as_mean():
    centres = torch.linspace(-2, 2, 5).double()
    p = torch.nn.functional.one_hot(torch.tensor([[3]]), 5).double()
    said = Predictive(p, centres, torch.tensor([[10.0]]).double(), torch.tensor([[2.0]]).double())
    assert said.mean.item() == 12 and said.crps(torch.tensor([[15.0]]).double()).item() == pytest.approx(1.5)


def test_training_learns_a_sine_better_than_its_mean():
    t = torch.arange(36)
    x = torch.sin(0.4 * t + 6.28 * torch.rand(64, 1, generator=torch.Generator().manual_seed(0)))
    model = patched_model(Patched("gpt2", **SMALL), 0)
    train(model, lambda m, step: word_loss(m, x[:, :32], x[:, 32:]), Training(60, 1e-2))
    said = read(model.eval(), x[:, :32]).said
    assert ((said.mean - x[:, 32:]) ** 2).mean() < 0.1 * x[:, 32:].var()


def test_a_constant_context_is_read_as_zeros_in_its_own_unit():
    last, scale = anchored(torch.full((1, 32), 7.0))
    assert last.item() == 7 and scale.item() == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(trunk="mamba"), "A trunk is one of gpt2, llama, .* got 'mamba'"),
        (dict(d=18), "d divisible by 2 heads"),
        (dict(context=33), "context=33, patch=8"),
        (dict(words=1), "at least two words"),
    ],
)
def test_sizes_that_do_not_fit_are_named(wrong, message):
    with pytest.raises(IsonumError, match=message):
        patched_model(Patched(**{"trunk": "gpt2", **SMALL, **wrong}), 0)
