"""Real series: what judges is seen by nobody, what chooses a length is not what judges, and every judge can say no."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from isonum_core.errors import DataAbsent, IsonumError
from isonum_core.lab.engine import one_thread
from isonum_core.studies import real
from isonum_core.studies.real import EARLY, EXPECTED, LATE, LENGTHS, SETS, Real, Shape, found_in, run, split
from isonum_core.worlds.series import find_series, series_names

TWIN = Real("elnino", "gpt2", 0, 0, "quick")


def test_no_value_of_a_test_target_is_seen_before_and_none_that_chooses_in_training():
    x = np.arange(3 * 100, dtype=float).reshape(3, 100)
    fit, held, test = split(x, Shape(20, 10, 10, 1))
    targets = {name: part[:, 20:] for name, part in (("held", held), ("test", test))}
    assert targets["test"].min() % 100 == 80 and held.max() % 100 == 79 and (held % 100).max() == 79
    assert targets["held"].min() % 100 == 64 and (fit % 100).max() == 63
    assert (np.diff(test) == 1).all() and (len(fit), len(held), len(test)) == (3 * 35, 3 * 7, 3 * 11)


def test_where_no_window_fits_twice_every_fifth_series_is_held_out():
    x = np.arange(10 * 50, dtype=float).reshape(10, 50)
    fit, held, test = split(x, Shape(24, 12, 12, 1))
    assert set(held[:, 0] // 50) == {4, 9} and set(fit[:, 0] // 50) == {0, 1, 2, 3, 5, 6, 7, 8}
    assert test[:, 24:].min() % 50 == 38 and max((fit % 50).max(), (held % 50).max()) == 37 and len(test) == 10


def test_the_cut_leaves_at_least_a_horizon_and_windows_with_gaps_are_dropped():
    x = np.arange(2 * 80, dtype=float).reshape(2, 80)
    assert (split(x, Shape(12, 18, 12, 1))[2][:, 12:] % 80).tolist() == [list(range(62, 80))] * 2
    x[0, 10] = np.nan
    fit = split(x, Shape(12, 18, 12, 1))[0]
    assert np.isfinite(fit).all() and len(fit) == 15 + 4


def test_every_set_is_known_and_its_lengths_fit_its_patches():
    assert set(SETS) <= set(series_names())
    for name, shape in SETS.items():
        assert shape.context % shape.patch == 0 and shape.season <= shape.context
        if windows := find_series(name).windows:
            assert shape.horizon == windows[1] and shape.context <= windows[0]


def test_a_packaged_series_runs_without_a_download_and_every_length_sees_the_same_windows(monkeypatch):
    one_thread()
    monkeypatch.setenv("ISONUM_DATA", "/nowhere")
    trained, twin = run(dataclasses.replace(TWIN, steps=3)), run(TWIN)
    assert [row["site"] for row in twin] == ["embed", "block1", "block2", "read"]
    last, first = trained[-1], twin[-1]
    assert last["windows"] == first["windows"] == 64 and last["iso_input"] == first["iso_input"]
    assert last["nll"] != first["nll"] != first["nll_held"] and last["ridge"] < 1 and first["ridge"] is None
    assert all(row["nll_held"] is None for row in twin[:-1])


def test_a_set_that_is_not_there_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("ISONUM_DATA", str(tmp_path))
    with pytest.raises(DataAbsent, match=r"hospital.rda .* was expected in the folder of ISONUM_DATA"):
        run(dataclasses.replace(TWIN, dataset="hospital"))


def test_every_set_leaves_windows_of_all_three_kinds(monkeypatch, shared):
    monkeypatch.setenv("ISONUM_DATA", str(shared / "data"))
    for name, shape in SETS.items():
        fit, held, test = split(real.values(name), shape)
        assert len(fit) > 90 and len(held) > 20 and len(test) > 32, name


def test_unknown_sets_are_refused():
    with pytest.raises(IsonumError, match="A set is one of hospital, .* got 'weather'"):
        run(dataclasses.replace(TWIN, dataset="weather"))


NAMES = list(SETS)


def made(own=None, chosen=300, ridge=0.5, skill=0.6):
    """A table of three seeds; `own` is what training adds to a half at a site and a number of steps."""
    rows, rng = [], np.random.default_rng(0)
    for at, dataset in enumerate(SETS):
        for seed in range(3):
            for steps in (0, *LENGTHS):
                for site in ("embed", "block1", "block2", "read"):
                    row = dict(dataset=dataset, model="gpt2", seed=seed, steps=steps, size="cpu", site=site)
                    row |= {half: 0.3 for half in ("mean_cosine", "iso_score")}
                    row |= {
                        half: row[half] + x
                        for (place, half, n), x in (own or {}).items()
                        if (place, n) == (site, steps)
                    }
                    row |= dict.fromkeys(
                        ("nll", "nll_one", "entropy_one", "iso_input", "mean_share", "log_i"), 0.1 * at
                    )
                    row |= dict(skill=skill, skill_one=skill, ridge=ridge, ridge_one=ridge)
                    row["nll_held"] = abs(steps - chosen) + rng.uniform() if site == "read" else np.nan
                    rows.append(row)
    return pd.DataFrame(rows)


def test_a_length_is_chosen_by_what_is_held_out_and_by_nothing_else():
    table = made()
    table.loc[table.dataset.isin(NAMES[:3]) & (table.steps == 30), "nll_held"] = -1.0
    table["nll"] = -table.steps.astype(float)
    found = real.length_of(table)
    assert (found[NAMES[:3]] == 30).all() and (found[NAMES[3:]] == 300).all()
    assert (real.points_at(table, found).groupby("family").nll.mean()[NAMES[3:]] == -300).all()
    assert (real.points_at(table, LATE).nll == -LATE).all()


@pytest.mark.parametrize(
    ("which", "held", "facts"),
    [
        (0, True, dict(own={("read", "mean_cosine", 300): 0.1})),
        (0, False, dict(own={("read", "mean_cosine", 300): -0.1})),
        (0, False, dict(own={("read", "mean_cosine", 300): 0.1}, chosen=100)),
        (1, True, dict(own={("block2", "iso_score", 300): 0.1})),
        (1, False, dict(own={("read", "iso_score", 300): 0.1})),
        (2, True, dict(own={("read", "mean_cosine", EARLY): 0.1})),
        (2, False, dict(own={("read", "mean_cosine", LATE): 0.1})),
        (3, True, dict(own={("read", "iso_score", LATE): 0.1})),
        (3, False, dict(own={("read", "iso_score", EARLY): 0.1})),
        (4, True, dict(skill=0.495)),
        (4, False, dict(skill=0.4)),
    ],
)
def test_every_judge_says_yes_and_no(which, held, facts):
    verdict = EXPECTED[which].judge(found_in(made(**facts)))
    assert verdict.held is held and "sets" in verdict.found


@pytest.mark.parametrize("sets", [0, 5])
def test_what_was_not_run_or_on_five_sets_decides_nothing(sets):
    table = made(own={("read", "iso_score", LATE): 0.1})
    table = table[(table.steps < LATE) | table.dataset.isin(NAMES[:sets])]
    verdict = EXPECTED[3].judge(found_in(table))
    assert verdict == (None, f"{sets} sets: not run") and EXPECTED[4].judge(found_in(table)).held is True


def test_only_long_trainings_are_provisional():
    assert real.provisional(dataclasses.replace(TWIN, steps=LATE)) == set(real.TOLERANCES)
    assert not any(real.provisional(dataclasses.replace(TWIN, steps=n)) for n in (0, *LENGTHS[:-1]))
