"""The study of I-STAR: many networks at once are what each would be alone, and the forecast is its own formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score
from isonum_core.lab.study import find_study
from isonum_core.networks import losses
from isonum_core.networks.patched import Patched, patched_model, read
from isonum_core.studies import istar, istar_controls, istar_scratch
from isonum_core.studies.istar_forecast import Alignment, adam_penalty, alignment, dose, forecast
from isonum_core.studies.istar_stack import Body, Stack, Way, path_length, penalties, tune
from isonum_core.studies.pretraining import CONTEXT, windows_of


@pytest.fixture(scope="module")
def body():
    model = patched_model(Patched("gpt2", d=16, context=CONTEXT, horizon=8, patch=12), 3)
    return model, Body(model).requires_grad_(False)


def series(n, seed=0):
    return windows_of(istar.skilful(), n, np.random.default_rng(seed))


def test_the_body_is_the_model_up_to_its_heads(body):
    model, made = body
    x = torch.tensor(series(20)[:, :CONTEXT], dtype=torch.float32)
    # Another kernel of attention sums in another order.
    torch.testing.assert_close(made(x), read(model.eval(), x).states["read"], rtol=1e-4, atol=1e-5)


def test_penalties_are_those_of_the_losses(rng):
    h = torch.from_numpy(rng.normal(size=(3, 40, 6))) * torch.linspace(0.3, 2, 6) + 0.5
    found = penalties(h, zeta=0.3)
    for i, x in enumerate(h):
        assert float(found["istar"][i]) == pytest.approx(float(losses.istar(x, zeta=0.3)), rel=1e-9)
        assert float(found["istar_identity"][i]) == pytest.approx(float(losses.istar(x, zeta=0.3, c0=1.0)), rel=1e-9)
        assert float(found["cosreg"][i]) == pytest.approx(float(losses.cosreg(x)), rel=1e-9)
        assert float(found["mean_share"][i]) == pytest.approx(float(losses.mean_share_loss(x)), rel=1e-9)


def alone(layer, arm, x, y, order, rate):
    """One network without a stack, its optimiser given rate and decay as torch has them."""
    torch.manual_seed(0)
    layer, head = nn.Linear(*layer.weight.T.shape), nn.Linear(layer.out_features, 1)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    layer.load_state_dict(arm["layer"])
    parameters = [*layer.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=arm.get("weight_decay", 0.0) / arm.get("rate", 1.0))
    penalty = losses.Regulariser("istar", arm.get("istar", 0.0))
    for step, chosen in enumerate(order):
        optimiser.param_groups[0]["lr"] = rate * arm.get("rate", 1.0) * (1 - step / len(order))
        h = layer(x[chosen])
        loss = (head(h)[:, 0] - y[chosen]).square().mean() + penalty(h)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return head(layer(x))[:, 0].detach()


@pytest.mark.parametrize(
    "name, value", [("none", 0.0), ("istar", 0.4), ("istar", -0.4), ("weight_decay", 3.0), ("rate", 2.0)]
)
def test_a_stack_is_each_network_alone(rng, name, value):
    x, y = torch.from_numpy(rng.normal(size=(60, 10))).float(), torch.from_numpy(rng.normal(size=60)).float()
    order = torch.from_numpy(rng.integers(60, size=(12, 20)))
    layer = nn.Linear(10, 6)
    stack = Stack(layer, [Way("istar", 0.1), Way(name, value), Way("rate", 0.5)], 6)
    targets, seen = torch.stack([-y, y, y]), []
    tune(stack, x, targets, order, 1e-2, (0, 12), seen.append, torch.Generator().manual_seed(0))
    own = alone(layer, {"layer": layer.state_dict(), name: value}, x, y, order, 1e-2)
    assert seen == [0, 12]
    # Two orders of summation in float32: where a slope is near zero, a step of Adam may differ by a share of the rate.
    torch.testing.assert_close(stack.said(stack.states(x))[1].detach(), own, rtol=0, atol=2e-3)


def test_dropout_leaves_states_out_of_training_alone(rng):
    x, y = torch.from_numpy(rng.normal(size=(60, 10))).float(), torch.from_numpy(rng.normal(size=(2, 60))).float()
    order = torch.from_numpy(rng.integers(60, size=(5, 20)))
    stack = Stack(nn.Linear(10, 6), [Way(), Way("dropout", 0.5)], 6)
    tune(stack, x, y[:1].expand(2, -1), order, 1e-2, (), print, torch.Generator().manual_seed(0))
    first, second = stack.said(stack.states(x)).detach()
    assert (first - second).abs().max() > 1e-3
    with pytest.raises(IsonumError, match=r"An arm is one of none, .*got \['whiten'\]"):
        Stack(nn.Linear(10, 6), [Way("whiten", 1.0)], 6)


def test_the_path_is_the_sum_of_the_rates():
    rates = [3e-3 * (1 - step / 50) for step in range(50)]
    assert [path_length(3e-3, 50, k) for k in (0, 7, 50)] == pytest.approx([sum(rates[:k]) for k in (0, 7, 50)])


def test_alignment_finds_where_a_target_lies(rng):
    spectrum = np.array([9.0, 4.0, 1.0, 0.25])
    h = torch.from_numpy(rng.normal(size=(20_000, 4)) * np.sqrt(spectrum) + 5)
    y = h[:, 2] + 0.5 * torch.from_numpy(rng.normal(size=20_000))
    found = alignment(h, y)
    # Sampling: 1 / sqrt(20,000) is 0.007.
    np.testing.assert_allclose(found.spectrum, spectrum, rtol=0.05)
    np.testing.assert_allclose(found.power, [0, 0, 1, 0], atol=0.05)
    assert found.noise == pytest.approx(0.25, rel=0.05) and found.variance == pytest.approx(1.25, rel=0.05)
    assert found.size == pytest.approx(float(h.square().mean())) and found.n == 20_000
    assert found.index == pytest.approx(1 - spectrum.sum() / (spectrum**2).sum(), abs=0.02)
    assert alignment(3 * h, y).index == pytest.approx(found.index, rel=1e-6)


def test_the_pull_is_the_slope_of_isoscore():
    """Along g_k the spectrum moves as IsoScore's slope in log l_k does, up to one factor times l_k."""
    l = torch.tensor([5.0, 2.0, 0.5, 0.1], dtype=torch.float64).log().requires_grad_()
    (l.exp().sum() ** 2 / l.exp().square().sum()).backward()
    found = Alignment(l.detach().exp(), l.detach(), 1.0, 1.0, 1.0, 9).pull
    ratio = l.grad / (found * l.detach().exp())
    assert float(ratio.min()) > 0 and torch.allclose(ratio, ratio[0].expand(4))


@pytest.mark.parametrize("noisy", [False, True])
def test_the_forecast_is_the_slope_of_the_error(rng, noisy):
    spectrum, power = (torch.from_numpy(rng.uniform(0.1, 3, size=5)) for _ in range(2))
    found = Alignment(spectrum, power, 0.7, 1.0, 1.0, 50)

    def log_error(move):
        l = spectrum * torch.exp(move * found.pull)
        phi = l / (l + 0.3)
        return ((1 - phi) ** 2 * power + 0.7 / 50 * phi**2).sum().add(noisy * 0.7).log()

    slope = float(log_error(1e-5) - log_error(-1e-5)) / 2e-5
    assert forecast(found, 0.3, noisy) == pytest.approx(slope, rel=1e-6)
    assert adam_penalty(found, 64, 0.5) == pytest.approx(math.sqrt(1 / 64) / 0.5)
    assert dose(-0.3) == -dose(0.3) < 0 == dose(0.0)


@pytest.mark.parametrize("name", [name for part in istar.PARTS.values() for name in part])
def test_a_target_is_standard_and_lies_where_its_name_says(rng, name):
    h = torch.from_numpy(rng.normal(size=(400, 32)) * np.linspace(3, 0.2, 32) + 1)
    y, noise = istar.target_of(name, h, series(400), 0)
    assert float(y.mean()) == pytest.approx(0, abs=1e-9) and float(y.std()) == pytest.approx(1)
    planted = name[1:2].isdigit() or name in ("centre", "raw", "spread")
    assert noise == (istar.NOISE if planted else 0.0)
    if name[1:2].isdigit():
        low, high = map(int, name[1:].split("-"))
        _, basis = torch.linalg.eigh(torch.cov(h.mT))
        power = ((h - h.mean(0)) @ basis.flip(1) / h.shape[0]).mT @ y
        inside = power[low:high].square().sum()
        assert float(inside / power.square().sum()) > 1 - 1e-9


def test_the_two_halves_share_nothing_but_the_code():
    assert not set(istar.PARTS["build"]) & set(istar.PARTS["held"])
    seeds = {part: {c.seed for c in istar.grid("cpu") if c.part == part} for part in istar.PARTS}
    controls = {c.seed for c in istar_controls.grid("cpu")}
    assert not seeds["build"] & seeds["held"] and not controls & (seeds["build"] | seeds["held"])


@pytest.fixture(scope="module")
def rows():
    return [(c, istar.run(c)) for c in istar.grid("quick")]


def test_a_run_has_a_row_for_each_target_weight_and_mark(rows):
    known = find_study("istar")
    for config, found in rows:
        weights, marks = istar.WEIGHTS[config.depth], istar.BUDGETS[config.size, config.depth].marks
        assert len(found) == len(istar.PARTS[config.part]) * len(weights) * len(marks)
        assert known.cells(config, found)
        end = [row for row in found if row["step"] == marks[-1]]
        mean = {w: np.mean([row["iso_score"] for row in end if row["weight"] == w]) for w in (-0.3, 0.0, 0.3)}
        assert mean[-0.3] < mean[0.0] < mean[0.3]
        own = {(row["target"], row["step"]): row["forecast"] for row in found}
        assert all(own[row["target"], row["step"]] == row["forecast"] for row in found)


def test_a_row_is_the_same_again(rows):
    assert istar.run(rows[0][0]) == rows[0][1]


def test_controls_stop_where_validation_says_and_least_squares_has_no_basis():
    config = istar_controls.grid("quick")[0]
    found = istar_controls.run(config)
    assert find_study("istar_controls").cells(config, found)
    by = {(row["stop"], row["target"], row["arm"], row["value"]): row for row in found}
    for (stop, *rest), row in by.items():
        if stop == "best":
            assert row["valid"] <= by["last", *rest]["valid"]
    raw, white = ([r for r in found if r["arm"] == "ols" and r["value"] == v] for v in (0.0, 1.0))
    assert [r["error"] for r in raw] == pytest.approx([r["error"] for r in white], rel=1e-3)
    # Whitened by 64 windows: other windows of the same 32 dimensions are not round, but rounder.
    assert white[0]["iso_score"] > raw[0]["iso_score"] + 0.05


def test_from_scratch_the_weight_moves_isoscore():
    config = istar_scratch.grid("quick")
    none, some = (istar_scratch.run(c) for c in config)
    assert find_study("istar_scratch").cells(config[0], none)
    assert some[-1]["iso_score"] > none[-1]["iso_score"] and none[-1]["nll"] > 0


@pytest.mark.parametrize("arm, value", [("dropout", 0.2), ("weight_decay", 0.3), ("rate", 2.0), ("cosreg", 0.3)])
def test_from_scratch_every_way_begins_with_the_same_weights_and_batches(arm, value):
    none, some = (istar_scratch.run(istar_scratch.Scratch(*way, 0, "quick")) for way in (("none", 0.0), (arm, value)))
    assert none[-1] != some[-1] and abs(none[0]["nll"] - some[0]["nll"]) < 0.1  # one step has been taken
    again = istar_scratch.run(istar_scratch.Scratch(arm, 0.0 if arm != "rate" else 1.0, 0, "quick"))
    assert again == none


def test_isoscore_of_a_row_is_that_of_its_states(body):
    x = torch.tensor(series(64)[:, :CONTEXT], dtype=torch.float32)
    h = body[1](x)[None]
    assert float(1 - penalties(h, zeta=0.0)["istar"][0]) == pytest.approx(
        float(iso_score(Moments.of(h[0].double()))), rel=1e-4
    )
