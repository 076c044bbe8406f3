"""The readers of levels that stand beside the language model: each against its definition, and none sees ahead."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from test_numerals import small as small

from isonum_core.lab.study import find_study
from isonum_core.networks.numerals import levelled
from isonum_core.studies import checkpoints_forecasts as study
from isonum_core.studies.checkpoints_forecasts import AHEAD, EIGHT, KNOWN, LENGTH, LEVELS, ONE


@pytest.fixture
def levels(rng):
    return levelled(np.cumsum(rng.normal(size=LENGTH)), KNOWN)


@pytest.mark.parametrize(
    "reader", [study._ridge, study._analogue, study._walk, study._marginal, lambda x: study._seasonal(x, 12)]
)
def test_a_reader_sees_no_value_before_its_turn(levels, reader):
    """What comes after the last judged origin moves nothing but the judgement of itself."""
    before = reader(levels)
    seen = levels.copy()
    seen[LENGTH - 1] = (levels[LENGTH - 1] + 37) % LEVELS
    after = reader(seen)
    assert LENGTH - 1 not in ONE and max(EIGHT) + AHEAD < LENGTH
    assert after[1:] == before[1:]


def test_the_walk_is_a_walk(levels):
    nll, one, eight = study._walk(levels)
    steps = np.arange(KNOWN, LENGTH)
    assert one == pytest.approx(np.mean([(levels[t] - levels[t - 1]) ** 2 for t in ONE]))
    assert eight == pytest.approx(np.mean([(levels[t : t + AHEAD] - levels[t - 1]) ** 2 for t in EIGHT]))
    sds = [max(0.5, np.sqrt(np.mean(np.diff(levels[:t]) ** 2))) for t in steps]
    want = []
    for t, sd in zip(steps, sds, strict=True):
        law = norm(levels[t - 1], sd)
        inside = law.cdf(LEVELS - 0.5) - law.cdf(-0.5)
        p = (law.cdf(levels[t] + 0.5) - law.cdf(levels[t] - 0.5)) / inside
        want.append(-np.log(0.999 * p + 0.001 / LEVELS))
    assert nll == pytest.approx(np.mean(want), rel=1e-9)


def test_ridge_finds_a_linear_law_and_knows_its_spread(rng):
    x = np.zeros(LENGTH)
    for t in range(2, LENGTH):
        x[t] = 1.6 * x[t - 1] - 0.8 * x[t - 2] + rng.normal()
    levels = levelled(x, KNOWN)
    nll, one, _ = study._ridge(levels)
    walk = study._walk(levels)
    sd = 100 / (1.2 * np.ptp(x[:KNOWN]))  # of the noise, in levels
    assert one < 0.5 * walk[1] and nll < walk[0]
    assert nll == pytest.approx(0.5 * np.log(2 * np.pi * np.e * sd**2), abs=0.25)  # the entropy of that noise


def test_the_marginal_counts_what_it_has_seen(levels):
    nll, one, _ = study._marginal(levels)
    want = [(levels[:t] == levels[t]).sum() + 0.1 for t in range(KNOWN, LENGTH)] / (np.arange(KNOWN, LENGTH) + 10)
    assert nll == pytest.approx(-np.log(want).mean())
    assert one == pytest.approx(np.mean([(levels[t] - levels[:t].mean()) ** 2 for t in ONE]))
    assert study._seasonal(np.tile(np.arange(20), 10), 20)[1:] == (0.0, 0.0)


def test_the_analogue_finds_a_map_and_nothing_where_nothing_is(rng):
    x = np.empty(LENGTH)
    x[0] = 0.3
    for t in range(1, LENGTH):
        x[t] = 3.9 * x[t - 1] * (1 - x[t - 1])
    found, linear = (reader(levelled(x, KNOWN)) for reader in (study._analogue, study._ridge))
    assert found[0] < linear[0] - 1 and found[1] < 0.05 * linear[1] and found[2] < 0.5 * linear[2]
    noise = levelled(rng.normal(size=LENGTH), KNOWN)
    assert study._analogue(noise)[0] == pytest.approx(study._ridge(noise)[0], abs=0.15)  # both: the law of the noise


def test_the_laws_of_an_analogue_letter_by_letter(levels, monkeypatch):
    monkeypatch.setattr(study, "WIDTHS", ((4.0, 2.0),))
    nll, one, _ = study._analogue(levels)
    scale, logs, means = np.arange(LEVELS), [], {}
    for t in range(KNOWN, LENGTH):
        law, total = np.zeros(LEVELS), 0.0
        for s in range(2, t):
            far = (levels[t - 2] - levels[s - 2]) ** 2 + (levels[t - 1] - levels[s - 1]) ** 2
            weight = np.exp(-far / 32) + 1e-6
            bump = np.exp(-((scale - levels[s]) ** 2) / 8)
            law += weight * bump / bump.sum()
            total += weight
        law = 0.999 * law / total + 0.001 / LEVELS
        logs.append(-np.log(law[levels[t]]))
        means[t] = law @ scale
    assert nll == pytest.approx(np.mean(logs))
    assert one == pytest.approx(np.mean([(means[t] - levels[t]) ** 2 for t in ONE]))


class LastValue:
    """Stands for fracast: all nine quantiles of all 48 steps are the last value."""

    def forecast_batch(self, padded):
        return np.repeat(padded[:, -1:], 48 * 9, axis=1).reshape(-1, 48, 9)


def test_a_row_of_every_reader(small, monkeypatch):
    """With a small language model of random weights, and the last value in the place of fracast."""
    monkeypatch.setattr(study, "smollm2_or_twin", lambda trained: small)
    monkeypatch.setattr(study, "fracast_or_twin", lambda trained: LastValue())
    config = study.Draw("henon", 1.4, 3)
    rows = study.run(config)
    found = {row["reader"]: row for row in find_study("checkpoints_forecasts").cells(config, rows)}
    assert tuple(found) == study.READERS and found["fracast"]["nll"] == found["seasonal"]["nll"] == ""
    assert found["fracast"]["mse_one"] == found["walk"]["mse_one"]
    own, levels = rows[0], levelled(study.drawn(config)[0], KNOWN)
    read = study.Numerals(small).read(levels)
    assert own["nll"] == pytest.approx(read.nll()[KNOWN:].mean()) and 3 < own["nll"] < 9  # log 100 is 4.6
    laws = np.stack([read.laws([t])[0] for t in ONE])
    assert own["mse_one"] == pytest.approx(np.mean((laws @ np.arange(LEVELS) - levels[ONE]) ** 2))


def test_real_sets_are_cut_and_named():
    first, last = (study.drawn(study.Draw("elnino", 0.0, part)) for part in range(2))
    assert first[1] == 12 and len(first[0]) == len(last[0]) == LENGTH
    assert study.drawn(study.Draw("us_gdp", 0.0, 0))[1] == 1
    parts = [c for c in study.grid("cpu") if c.family not in study.FAMILIES]
    assert {c.family for c in parts} == {"co2", "elnino", "sunspots", "us_gdp", "us_inflation", "us_unemployment"}
    assert sorted(c.family for c in parts if c.seed) == ["co2", "elnino"]


def test_the_grid_is_one_of_draws_that_exist():
    configs = study.grid("cpu")
    assert len(set(configs)) == len(configs) == 54 and len({c.family for c in configs}) == 52
    assert {c.family for c in study.grid("quick")} == {"henon", "ar1"}
