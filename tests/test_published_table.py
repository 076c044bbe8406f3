"""The published experiment: the same windows for every network, errors by definition, each network given what it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_numerals import small as small

from isonum_core.lab.study import find_study
from isonum_core.networks.numerals import Numerals, levelled
from isonum_core.studies import published_table as study
from isonum_core.studies.learnt import CONTEXT, EVERY, HORIZON
from isonum_core.studies.published_table import CHANGES, NUMBERS, SITES, TWIN, Published
from isonum_core.worlds.kernels import PAPER_KERNELS
from isonum_core.worlds.roots import STEADY
from isonum_core.worlds.series import find_series


@pytest.fixture
def fake(monkeypatch, rng):
    """In the place of Fracast: it says the last value, and its states are noise and the context's end."""

    def states(context, horizon, trained):
        x = torch.from_numpy(np.hstack([context[:, -3:], rng.normal(size=(len(context), 3))]))
        return np.repeat(context[:, -1:], horizon, axis=1), dict.fromkeys(SITES["fracast"], x)

    monkeypatch.setitem(study.READERS, "fracast", states)


def test_both_errors_by_their_definitions(fake):
    config = Published("RBF_0.1", "fracast", "as published")
    rows = study.run(config)
    assert [row["site"] for row in rows] == [*SITES["fracast"]]
    context, actual = study.published_windows(config)
    assert context.shape == (48, 500) and actual.shape == (48, 48)
    square = np.square(context[:, -1:] - actual)
    assert rows[0]["nmse_published"] == pytest.approx(square.mean() / np.square(actual).mean(), rel=1e-5)
    assert rows[0]["nmse"] == pytest.approx((square / context.var(1, keepdims=True)).mean(), rel=1e-5)
    naive = [
        rows[0]["nmse"],
        (np.square(context.mean(1, keepdims=True) - actual) / context.var(1, keepdims=True)).mean(),
    ]
    assert rows[0]["nmse_naive"] == pytest.approx(min(naive), rel=1e-5)
    assert set(NUMBERS) < set(rows[0]) and rows[0]["states"] == 48


def test_a_twin_forecasts_nothing(fake):
    config = Published("RBF_0.1", "fracast" + TWIN, "as published")
    rows = study.run(config)
    assert find_study("published_table").cells(config, rows)
    assert all(row[name] is None for row in rows for name in study.ERRORS) and rows[0]["iso_score"] > 0


def test_a_change_leaves_what_comes_as_it_is():
    plain, short, noisy = (study.published_windows(Published("WhiteKernel_1", "fracast", change)) for change in CHANGES)
    np.testing.assert_array_equal(plain[1], short[1])
    np.testing.assert_array_equal(plain[1], noisy[1])
    np.testing.assert_array_equal(plain[0][:, -125:], short[0])
    noise = noisy[0] - plain[0]
    # Twenty thousand draws: the share is known to 1 %.
    assert np.mean(noise.std(1) / plain[0].std(1)) == pytest.approx(0.5, rel=0.01)
    again = study.published_windows(Published("WhiteKernel_1", "fracast", CHANGES[0]))
    np.testing.assert_array_equal(plain[0], again[0])


def test_every_network_is_given_a_part_of_the_same_windows():
    whole = study.published_windows(Published("RBF_1", "fracast", CHANGES[0]))
    for network, (every, known, ahead) in (("smollm2", (8, 96, 8)), ("gpt2_twin", (1, 128, 16))):
        context, actual = study.published_windows(Published("RBF_1", network, CHANGES[0]))
        np.testing.assert_array_equal(context, whole[0][::every, 500 - known :])
        np.testing.assert_array_equal(actual, whole[1][::every, :ahead])


def test_real_windows_are_published_ones(shared, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", str(shared / "data"))
    context, actual = study.published_windows(Published("hospital", "fracast", CHANGES[0]))
    assert context.shape == (48, 72) and actual.shape == (48, 12)
    values = find_series("hospital").values
    assert all((values[:, :72] == row).all(1).any() for row in context[:3])
    assert study.published_windows(Published("hospital", "smollm2", CHANGES[0]))[1].shape == (6, 8)


def test_the_grid_has_every_kernel_and_every_published_set():
    configs, every = study.grid("cpu"), study.grid("gpu")
    assert len(set(configs)) == len(configs) == 120 and not [c for c in configs[:40] if c.network != "fracast"]
    assert {c.dataset for c in configs if c.change == "noisy"} == set(PAPER_KERNELS)
    assert set(configs) < set(every) and {c.network for c in set(every) - set(configs)} == {"smollm2_twin"}
    for network in (name + end for name in SITES for end in ("", TWIN)):
        assert len({c.dataset for c in every if c.network == network and c.change == CHANGES[0]}) == 20
    assert study.provisional(Published("RBF_1", "gpt2", CHANGES[0])) == {*study.TOLERANCES}
    assert not study.provisional(Published("RBF_1", "gpt2_twin", CHANGES[0]))
    assert study.provisional(Published("RBF_1", "smollm2", CHANGES[0])) == {*study.TOLERANCES} - {*NUMBERS[2:]}


def test_a_language_model_reads_levels_and_is_met_at_the_last_eight_spaces(small, monkeypatch, rng):
    sites = ("block.0", "block.1", "final_norm")
    monkeypatch.setitem(study.SITES, "smollm2", sites)
    monkeypatch.setattr(study, "smollm2_or_twin", lambda trained: small)
    context = rng.normal(size=(3, 10))
    said, states = study.READERS["smollm2"](context, 2, True)
    assert [*states] == [*sites] and said.shape == (3, 2)
    assert len(study.READERS["smollm2"](context, 2, False)[0]) == 0
    for i, values in enumerate(context):
        levels = levelled(values, 10)
        ids = Numerals(small).ids(levels)
        with torch.no_grad():
            hidden = small.model(input_ids=ids, output_hidden_states=True).hidden_states
        want = hidden[-1][0, [3 * t for t in range(3, 11)]]  # of 31 tokens: the spaces after the last eight values
        torch.testing.assert_close(states["final_norm"][8 * i : 8 * i + 8].float(), want, rtol=1e-5, atol=1e-6)
        law = Numerals(small).read(np.append(levels, 0)).laws([10])[0]
        span = np.ptp(values)
        first = values.min() - 0.1 * span + (law @ np.arange(100) + 0.5) * span * 1.2 / 100
        assert said[i, 0] == pytest.approx(first, rel=1e-5)


def test_our_network_knows_neither_a_kernel_nor_white_noise(monkeypatch):
    """What it is trained on, and that a short context reads as its first value again and again."""
    monkeypatch.setattr(study, "POOL", 20)
    pool = study.training_pool()
    told = [f for f in EVERY.values() if f.name not in STEADY and any(f.predictable(k) for k in f.grid)]
    assert pool.shape[1] == CONTEXT + HORIZON and 18 * len(told) <= len(pool) <= 20 * len(told)
    assert not {"gp_scale", "gp_tails", "gp_wandering_season", "gp_mixture", "garch"} & {f.name for f in told}
    repeated = (pool[:, :CONTEXT] == pool[:, :1]).cumprod(1).sum(1)
    assert repeated.max() >= CONTEXT - study.SHORTEST and np.mean(repeated > 52) > 0.4


def test_our_network_forecasts_what_a_shift_and_a_scale_do_not_change(monkeypatch, rng):
    monkeypatch.setitem(study.RECIPES, "cpu", replace(study.RECIPES["quick"], steps=2))
    monkeypatch.setattr(study, "POOL", 20)
    network = study.own_network.__wrapped__(True)
    monkeypatch.setattr(study, "own_network", lambda trained: network)
    x = rng.normal(size=(20, 40))
    said, states = study.READERS["gpt2"](x, 12, True)
    assert said.shape == (20, 12) and [*states] == [*SITES["gpt2"]]
    moved, same = study.READERS["gpt2"](3 + 10 * x, 12, True)
    np.testing.assert_allclose(moved, 3 + 10 * said, rtol=1e-6)
    torch.testing.assert_close(same["read"], states["read"])
    longer = np.hstack([np.repeat(x[:, :1], 30, axis=1), x])
    np.testing.assert_array_equal(study.READERS["gpt2"](longer, 12, True)[0], said)
