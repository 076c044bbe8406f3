"""The second forecast of I-STAR: the slope of its own error, judged on tables whose effects are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from isonum_core.studies import istar_again as study
from isonum_core.studies.istar_forecast import alignment, dose, forecast
from isonum_core.studies.istar_verdicts import cells, effects, hits

TRUTH = dict(zip(study.TARGETS["again"], np.linspace(0.2, -0.2, len(study.TARGETS["again"])), strict=True))


def drawn(rng, n=400, d=6, noise=0.5, power=(0, 0, 0, 0, 1, 1)):
    spectrum = np.geomspace(4, 0.05, d)
    h = rng.normal(size=(n, d)) * np.sqrt(spectrum) + 0.3
    y = (h - 0.3) / np.sqrt(spectrum) @ np.array(power, float) + noise * rng.normal(size=n)
    return torch.from_numpy(h), torch.from_numpy(y)


def reshaped(h, t):
    """Every log eigenvalue of the cloud moved by t times the pull."""
    m = h.mean(0)
    l, u = torch.linalg.eigh(torch.cov(h.mT))
    pull = 1 - l * l.sum() / l.square().sum()
    return m + (h - m) @ u * (t * pull / 2).exp()


@pytest.mark.parametrize("noisy", [True, False])
def test_it_is_the_slope_of_the_error_of_ridge_left_out_on_average(rng, noisy):
    h, y = drawn(rng)
    kappa, step = 0.4, 1e-4

    def error(t):
        x = reshaped(h, t)
        x, z = x - x.mean(0), y - y.mean()
        n, d = x.shape
        smooth = x @ torch.linalg.solve(x.mT @ x + kappa * (n - 1) * torch.eye(d, dtype=torch.float64), x.mT)
        gcv = (z - smooth @ z).square().sum() / n / (1 - smooth.trace() / (n - 1)) ** 2 * (n / (n - 1)) ** 2
        return float(gcv), float((z - x @ torch.linalg.lstsq(x, z).solution).square().sum() / (n - d - 1))

    (up, noise), (down, _) = error(step), error(-step)
    level = (up + down) / 2
    slope = (up - down) / (2 * step) / max(level - (not noisy) * noise, study.LEAST * level)
    # gcv and this twin differ in factors 1 + 1/n, which no slope of a logarithm feels but through the noise.
    assert study.second_forecast(h, y, kappa, noisy) == pytest.approx(slope, rel=0.02)


def test_where_windows_abound_it_is_the_first_forecast(rng):
    for power in ((1, 1, 0, 0, 0, 0), (0, 0, 0, 0, 1, 1)):
        h, y = drawn(rng, n=20_000, noise=0.0, power=power)
        first = forecast(alignment(h, y), 0.3, noisy=True)
        assert study.second_forecast(h, y, 0.3, noisy=True) == pytest.approx(first, rel=0.05)


def made(rng, truth=TRUTH, second=None, small=0.0, noise=0.002, seeds=4):
    """Rows in which the effect of a weight is dose times truth[target]; of weights of 0.01 `small`."""
    rows = []
    for n in (128, 512):
        for seed in range(seeds):
            for target in study.TARGETS["again"]:
                level = 0.5 + 0.1 * rng.uniform()
                for weight in study.WEIGHTS:
                    for step in (30, 100, 300):
                        size = small if abs(weight) == 0.01 else dose(weight) * truth[target]
                        error = level * np.exp(size * (step > 30) + noise * rng.normal())
                        said = rng.normal() if second is None else second[target]
                        facts = dict(part="again", depth="last", n=n, seed=seed, size="cpu", target=target)
                        facts |= dict(weight=weight, step=step, error=error, valid=error, train=0.1, iso_score=0.1)
                        rows.append(facts | dict(index=0.1, forecast=rng.normal(), second=said))
    return pd.DataFrame(rows)


def test_the_second_forecast_is_scored_first_and_leads_are_its_own(rng):
    own = cells(effects(made(rng, second=TRUTH)))
    scores = hits(own[own.decided])
    assert scores["second", "sign"] > 0.95 and scores["second", "rank"] > 0.95
    assert scores["forecast", "lead rank"] == pytest.approx(scores["second", "rank"] - scores["forecast", "rank"])
    assert ("second", "lead rank") not in scores


@pytest.mark.parametrize(
    ("which", "held", "facts"),
    [
        (0, True, dict(second=TRUTH)),
        (0, False, dict(second={name: -value for name, value in TRUTH.items()})),
        (0, None, dict(second=TRUTH, truth=dict.fromkeys(TRUTH, 0.0))),
        (1, True, dict(second=TRUTH)),
        (1, False, dict(second={name: -value for name, value in TRUTH.items()})),
        (1, None, dict(second=TRUTH, truth=dict.fromkeys(TRUTH, 0.0))),
        (2, True, {}),
        (2, False, dict(small=0.1)),
    ],
)
def test_every_judge_says_yes_and_no(rng, which, held, facts):
    assert study.EXPECTED[which].judge(made(rng, **facts)).held is held


def test_a_run_says_what_istar_says_and_one_thing_more():
    config = study.grid("quick")[0]
    rows = pd.DataFrame(study.run(config))
    assert set(rows.target) == set(study.TARGETS["again"]) and set(rows.weight) == set(study.WEIGHTS)
    assert rows.groupby(["target", "step"]).second.nunique().eq(1).all() and rows.second.notna().all()
    assert set(study.TOLERANCES) <= set(rows.columns)
