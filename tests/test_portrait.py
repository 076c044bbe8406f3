"""What the studies share: training on a pool, naive forecasts and skill by hand, one pass a window, sites by depth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score, mean_cosine
from isonum_core.networks.forecast import direct_loss
from isonum_core.networks.patched import TRUNKS, Patched, patched_model, read, word_loss
from isonum_core.networks.tiny import Tiny, tiny_model
from isonum_core.networks.train import Training, train
from isonum_core.studies.anatomy import MEASURES, measured
from isonum_core.studies.portrait import (
    COLUMNS,
    SIZES,
    errors_of,
    fitted,
    naive_forecasts,
    network,
    portrait,
    skill_among,
    varies,
)

SMALL = Patched("gpt2", d=16, context=32, horizon=4, patch=8, words=12)
SIZE = dataclasses.replace(SIZES["quick"], steps=4, batch=8)


def series(n=50, length=36, seed=0):
    return np.random.default_rng(seed).normal(size=(n, length)).cumsum(1)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_fitting_is_the_training_loop_on_rows_in_the_order_drawn():
    pool = series()
    found = fitted(patched_model(SMALL, 3), word_loss, pool, 32, np.random.default_rng(7), SIZE)
    order = np.random.default_rng(7).integers(50, size=(4, 8))
    rows, model = torch.tensor(pool).float(), patched_model(SMALL, 3)

    def loss(model, step):
        return word_loss(model, rows[order[step]][:, :32], rows[order[step]][:, 32:])

    train(model, loss, Training(4, SIZE.rate, warmup=20, final=0.0, clip=1.0))
    assert same(found, model) and not found.training


def test_the_same_fitting_serves_direct_models():
    sizes = Tiny("patchtst", d=16, heads=2, context=32, horizon=4, patch=8)
    found = fitted(tiny_model(sizes, 0), direct_loss, series(), 32, np.random.default_rng(0), SIZE)
    assert not found.training and not same(found, tiny_model(sizes, 0))


def test_without_a_pool_a_network_keeps_its_first_weights():
    twin, trained = network(SMALL, 2, None, SIZE, "cpu"), network(SMALL, 2, series(), SIZE, "cpu")
    assert same(twin, patched_model(SMALL, 2)) and not same(twin, trained)
    assert not twin.training and same(trained, network(SMALL, 2, series(), SIZE, "cpu"))


def test_errors_and_skill_by_hand():
    x = series()
    context, actual = x[:, :32], x[:, 32:]
    naive = naive_forecasts(context, 4, 3)
    assert np.array_equal(naive["seasonal"], context[:, [29, 30, 31, 29]])
    errors = errors_of(context, actual, {"model": actual + 0.1, **naive})
    variance = context.var(1, keepdims=True)
    by_hand = {"model": 0.01 / variance, "last": (actual - context[:, -1:]) ** 2 / variance}
    for name, error in by_hand.items():
        assert errors[name] == pytest.approx(error.mean(), rel=1e-9)
    best = min(errors["last"], errors["seasonal"])
    assert skill_among(errors, leaving_out="mean") == 1 - errors["model"] / best
    assert skill_among(errors) == 1 - errors["model"] / min(best, errors["mean"])
    assert skill_among(errors | {"last": 0.0}) is None and skill_among(errors | {"mean": 0.0}, "mean") is not None
    assert varies(np.stack([np.full(5, 7.0), np.arange(5.0)])).tolist() == [False, True]


@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_portrait_holds_the_measures_of_the_state_read_and_both_halves_at_each_depth(trunk):
    model, x = patched_model(Patched(trunk), 0).eval(), series(40, 144)
    found = portrait(model, x[:, :128], x[:, 128:], 5)
    reading = read(model, torch.tensor(x[:, :128]))
    assert {*COLUMNS, "distinct"} == set(found) and found["distinct"] == 40
    assert found["nll"] == pytest.approx(float(reading.said.nll(torch.tensor(x[:, 128:]))), rel=1e-5)
    expected = measured(reading.states["read"], model.table)
    assert {name: found[name] for name in MEASURES} == pytest.approx(expected, rel=1e-5)
    embed, one, two = [h for site, h in reading.states.items() if "block" in site or site in ("embed", "encoder.embed")]
    for depth, h in (("embed", embed), ("block1", one), ("block2", two)):
        m = Moments.of(h.double())
        assert found[f"iso_{depth}"] == pytest.approx(float(iso_score(m)), rel=1e-5)
        assert found[f"cos_{depth}"] == pytest.approx(float(mean_cosine(m)), rel=1e-5)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_window_passes_the_network_once(trunk):
    model, x, passes = patched_model(Patched(trunk), 0).eval(), series(40, 144), []
    model.trunk.register_forward_hook(lambda module, args, out: passes.append(1))
    portrait(model, x[:, :128], x[:, 128:], 5)
    assert len(passes) == 1
