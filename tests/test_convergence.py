"""How long and at which rate: the grid, a run at two lengths, and how the rate is chosen, by hand."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from isonum_core.lab.engine import one_thread
from isonum_core.lab.study import find_study
from isonum_core.studies.convergence import (
    JUDGES,
    LENGTHS,
    RATES,
    TRIED,
    Curve,
    flat,
    gained,
    grid,
    provisional,
    run,
)
from isonum_core.studies.families import grid as families_grid
from isonum_core.studies.learnt import RECIPES
from isonum_core.worlds.families import FAMILIES
from isonum_core.worlds.fresh import FRESH


@pytest.fixture(autouse=True)
def small(monkeypatch):
    one_thread()
    monkeypatch.setitem(RECIPES, "quick", dataclasses.replace(RECIPES["quick"], steps=3, test=40))


@pytest.mark.parametrize("name", ["convergence", "families", "trunks"])
def test_grids_hold_each_configuration_once(name):
    study = find_study(name)
    for profile in ("quick", "cpu", "gpu"):
        assert study.configs(profile)


def test_the_fresh_families_come_first_and_every_network_has_its_twin():
    own = families_grid("cpu")
    assert {c.family for c in own[: len(FRESH) * 6]} == set(FRESH) and {c.family for c in own} == set(FRESH) | set(
        FAMILIES
    )
    assert len(own) == 3 * 2 * (46 + len(FRESH))
    assert all(a == dataclasses.replace(b, trained=True) for a, b in zip(own[::2], own[1::2], strict=True))


def test_every_trunk_is_tried_at_every_rate_and_length():
    own = grid("cpu")
    for trunk, rate in RECIPES["cpu"].rates.items():
        assert {c.rate for c in own if c.model == trunk and c.steps == TRIED} >= set(RATES)
        assert {c.steps for c in own if c.model == trunk and c.rate == rate} >= {0, *LENGTHS}


def test_lengths_share_windows_and_ridge_and_differ_in_the_network():
    short, long = (run(Curve("sine_noise", "gpt2", 1e-2, steps, 0, "quick")) for steps in (2, 5))
    assert len(short) == 16 and [row["ridge"] for row in short] == [row["ridge"] for row in long]
    assert all(a["iso_score"] != b["iso_score"] for a, b in zip(short, long, strict=True))


def table(nll):
    rows = [
        dict(family=f, model=m, rate=r, steps=s, nll=nll(f, m, r, s))
        for f in JUDGES[:2]
        for m in ("gpt2", "t5")
        for r in RATES
        for s in (100, TRIED, 1000, 1500)
    ]
    return pd.DataFrame(rows)


def test_what_is_gained_is_a_share_of_the_nll_of_the_chosen_rate():
    t = table(lambda f, m, r, s: 4.0 if s == 100 else 3.0 if s == TRIED else 2.97)
    found = gained(t)
    assert found.loc["gpt2", TRIED] == pytest.approx(0.25) and found.loc["gpt2", 1000] == pytest.approx(0.01)


def test_flat_is_what_gains_less_than_a_percent_over_the_last_third():
    t = table(lambda f, m, r, s: 3.0 if s < 1500 else 2.98 if m == "gpt2" else 2.9)
    assert dict(flat(t)) == {"gpt2": True, "t5": False}


def test_rows_above_the_chosen_rate_or_beyond_300_steps_are_provisional_and_no_others():
    assert "nll" in provisional(Curve("sine_noise", "gpt2", 3e-2, 300, 0, "cpu"))
    assert not provisional(Curve("sine_noise", "gpt2", 1e-2, 300, 0, "cpu"))
    assert provisional(Curve("sine_noise", "gpt2", 1e-2, 1000, 0, "cpu"))
    assert provisional(Curve("sine_noise", "t5", 1e-2, 300, 0, "cpu")) and not provisional(grid("cpu")[0])
