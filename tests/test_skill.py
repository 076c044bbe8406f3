"""The study of skill: honest splits, errors by hand, and the same windows as the study of families."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from isonum_core.errors import IsonumError
from isonum_core.lab.engine import one_thread
from isonum_core.lab.study import find_study
from isonum_core.networks.patched import read
from isonum_core.studies import families
from isonum_core.studies.families import FamilyNet
from isonum_core.studies.learnt import TRAIN, family_of
from isonum_core.studies.skill import SCORED, TEST, Skill, run, skills_of, trained
from isonum_core.worlds.families import FAMILIES

TINY = Skill("sine_noise", "patchtst", 0, 3, "quick")


@pytest.fixture(autouse=True)
def one():
    one_thread()


def test_rows_are_errors_computed_by_hand():
    rows = run(TINY)
    assert [row["knob"] for row in rows] == list(FAMILIES["sine_noise"].grid)
    x = family_of("sine_noise").draw(0.1, 144, np.random.default_rng([TEST, 0]), 64)
    said = read(trained(TINY), torch.tensor(x[:, :128])).said.mean.numpy()
    naive = {"last": x[:, 127:128], "seasonal": x[:, 104:120], "mean": x[:, :128].mean(1, keepdims=True)}
    for name, forecast in {**naive, "network": said}.items():
        error = (x[:, 128:] - forecast) ** 2 / x[:, :128].var(1, keepdims=True)
        assert rows[0][f"nmse_{name}"] == pytest.approx(error.mean(), rel=1e-5)  # six digits
        assert rows[0][f"nmse_{name}_one"] == pytest.approx(error[:, 0].mean(), rel=1e-5)


def test_the_windows_are_those_of_families_and_skills_are_one_minus_the_ratio_to_the_best_naive_error():
    table = pd.DataFrame([{"family": "sine_noise", "model": "patchtst", "seed": 0, **row} for row in run(TINY)])
    found, there = skills_of(table), pd.DataFrame(families.run(FamilyNet("sine_noise", "gpt2", 0, True, "quick")))
    ridge, read_rows = found[found.model == "ridge"], there[there.site == "read"]
    assert ridge.skill.to_numpy() == pytest.approx(read_rows.ridge.to_numpy(float), abs=1e-4)
    assert ridge.skill_one.to_numpy() == pytest.approx(read_rows.ridge_one.to_numpy(float), abs=1e-4)
    row = found[found.model == "patchtst"].iloc[0]
    two = min(row.nmse_last, row.nmse_seasonal)
    assert row.skill_two == 1 - row.nmse_network / two
    assert row.skill == 1 - row.nmse_network / min(two, row.nmse_mean)
    assert row.skill_one == 1 - row.nmse_network_one / min(row.nmse_last_one, row.nmse_seasonal_one, row.nmse_mean_one)


def test_training_and_test_series_come_from_different_streams():
    for family in FAMILIES.values():
        knob = family.grid[1]
        train, test = (family.draw(knob, 144, np.random.default_rng([s, 0]), 8) for s in (TRAIN, TEST))
        assert not any(np.array_equal(a, b) for a in train for b in test)


def test_a_run_is_a_function_of_its_configuration():
    state = torch.get_rng_state()
    first = run(TINY)
    assert first == run(TINY) and first != run(dataclasses.replace(TINY, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_constant_contexts_have_no_errors_and_exact_naive_forecasts_leave_no_skill():
    rows = {row["knob"]: row for row in run(dataclasses.replace(TINY, family="cascade"))}
    assert all(rows[0.5][name] is None for name in SCORED)
    table = pd.DataFrame(run(dataclasses.replace(TINY, family="seasonal_walk"))).assign(model="patchtst")
    found = skills_of(table).set_index(["model", "knob"])
    assert found.loc[("patchtst", 0.0), ["skill", "skill_one", "skill_two"]].isna().all()
    assert found.loc[("patchtst", 0.0), "nmse_seasonal"] == 0 and np.isfinite(found.skill["patchtst", 1.0])


def test_grids_hold_what_they_say():
    study = find_study("skill")
    assert len(study.configs("cpu")) == len(FAMILIES) and len(study.configs("gpu")) == 5 * len(FAMILIES)
    assert set(study.tolerances) == {*SCORED, "knob"}


def test_an_unknown_family_is_named():
    with pytest.raises(IsonumError, match="A family is one of fgn, .* got 'weather'"):
        run(dataclasses.replace(TINY, family="weather"))
