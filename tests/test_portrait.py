"""The first edition's networks: twins, one pass a window, sites by depth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score, mean_cosine
from isonum_core.networks.patched import TRUNKS, Patched, patched_model, read
from isonum_core.studies.anatomy import MEASURES, measured
from isonum_core.studies.portrait import COLUMNS, SIZES, network, portrait

SMALL = Patched("gpt2", d=16, context=32, horizon=4, patch=8, words=12)
SIZE = dataclasses.replace(SIZES["quick"], steps=4, batch=8)


def series(n=50, length=36, seed=0):
    return np.random.default_rng(seed).normal(size=(n, length)).cumsum(1)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_without_a_pool_a_network_keeps_its_first_weights():
    twin, trained = network(SMALL, 2, None, SIZE, "cpu"), network(SMALL, 2, series(), SIZE, "cpu")
    assert same(twin, patched_model(SMALL, 2)) and not same(twin, trained)
    assert not twin.training and same(trained, network(SMALL, 2, series(), SIZE, "cpu"))


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
