"""Does a small model forecast better than the last value and the last season? Each family, each knob, fresh series.

One model is trained for each family and seed, on series of all the family's knobs, and judged knob by knob on series
that no training saw. Nothing is chosen on the test series: sizes, steps and rate are the same for every family.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from isonum_core.errors import IsonumError
from isonum_core.networks.forecast import direct_forecast, direct_loss
from isonum_core.networks.tiny import Tiny, tiny_model
from isonum_core.networks.train import Training, train
from isonum_core.worlds.baselines import last_value, mase, mean_value, nmse, seasonal_naive, skill
from isonum_core.worlds.families import FAMILIES

TRAIN, TEST, ORDER = 0, 1, 2  # streams of random numbers: [stream, seed] starts each
EXACT = 1e-12  # an nmse that is rounding error: a naive forecast that is never wrong leaves nothing to win


@dataclass(frozen=True)
class Skill:
    """One model. `pool` training series and `test` test series a knob, each of context + horizon steps."""

    family: str
    architecture: str
    seed: int
    steps: int = 250
    pool: int = 4096
    test: int = 256
    batch: int = 64
    rate: float = 3e-3
    d: int = 32
    layers: int = 2
    context: int = 128
    horizon: int = 16
    patch: int = 16


FORECASTS = ("model", "last", "seasonal", "mean")
SCORES = [f"{score}_{name}" for score in ("nmse", "mase") for name in FORECASTS] + ["skill", "skill_mean"]
# On another CPU sums are taken in another order. Weights changed by 1e-7 of their size before training changed no nmse
# by more than 1e-7 (three families, 250 steps); a GPU's products differ by more.
TOLERANCES = {name: {"cpu": 1e-4, "cuda": 1e-2} for name in SCORES} | {"knob": {"cpu": 0.0, "cuda": 0.0}}
MAY_BE_MISSING = set(SCORES)


def grid(profile: str) -> list[Skill]:
    """quick: two families and too few steps for skill. cpu: every family, five seeds. gpu: two models, longer."""
    if profile == "quick":
        small = dict(steps=20, pool=256, test=32)
        return [Skill(f, a, 0, **small) for f in ("sine_noise", "garch") for a in ("patchtst", "patchtsmixer")]
    architectures = ("patchtst",) if profile == "cpu" else ("patchtst", "patchtsmixer")
    steps = 250 if profile == "cpu" else 500
    return [Skill(f, a, seed, steps=steps) for f in FAMILIES for a in architectures for seed in range(5)]


def run(config: Skill, device: str = "cpu") -> list[dict]:
    """One row for each knob of the family's grid.

    nmse_* and mase_* are errors of the model and of three naive forecasts (worlds.baselines); `skill` is 1 - nmse of
    the model / the smaller nmse of last value and seasonal naive, `skill_mean` the same with the mean of the context
    among the naive ones. `naive` is the forecast that no other beats (worlds.family), "none" where skill is possible.
    `dropped` counts the points of constant contexts, which have no scale. Scores are missing where every context is
    constant, skill where a naive forecast is exact.
    """
    model = trained(config, device)
    family = FAMILIES[config.family]
    rng = np.random.default_rng([TEST, config.seed])
    rows = []
    for knob in family.grid:
        series = family.draw(knob, config.context + config.horizon, rng, config.test)
        context, actual = series[:, : config.context], series[:, config.context :]
        forecasts = _forecasts(model, context, config.horizon, family.season(knob))
        naive = family.naive(knob) or "none"
        rows.append({"knob": float(knob), "naive": naive, **_judged(context, actual, forecasts, family.season(knob))})
    return rows


def trained(config: Skill, device: str = "cpu") -> nn.Module:
    """The model of a configuration, trained from nothing, in eval mode."""
    if config.family not in FAMILIES:
        raise IsonumError(f"A family is one of {', '.join(FAMILIES)}, got {config.family!r}. Choose one of them.")
    family, length = FAMILIES[config.family], config.context + config.horizon
    rng = np.random.default_rng([TRAIN, config.seed])
    each = config.pool // len(family.grid)
    pool = np.concatenate([family.draw(knob, length, rng, each) for knob in family.grid])
    series = torch.tensor(pool, dtype=torch.float32, device=device)
    order = np.random.default_rng([ORDER, config.seed]).integers(len(series), size=(config.steps, config.batch))
    order = torch.from_numpy(order).to(device)

    def loss(model: nn.Module, step: int) -> torch.Tensor:
        batch = series[order[step]]
        return direct_loss(model, batch[:, : config.context], batch[:, config.context :])

    sizes = dict(context=config.context, horizon=config.horizon, patch=config.patch)
    model = tiny_model(Tiny(config.architecture, d=config.d, layers=config.layers, **sizes), config.seed).to(device)
    train(model, loss, Training(config.steps, config.rate, warmup=20, final=0.0, clip=1.0))
    return model.eval()


def _forecasts(model: nn.Module, context: np.ndarray, horizon: int, season: int) -> dict[str, np.ndarray]:
    device = next(model.parameters()).device
    with torch.no_grad():
        said = direct_forecast(model, torch.tensor(context, dtype=torch.float32, device=device))
    naive = (last_value(context, horizon), seasonal_naive(context, horizon, season), mean_value(context, horizon))
    return dict(zip(FORECASTS, (said.double().cpu().numpy(), *naive), strict=True))


def _judged(context: np.ndarray, actual: np.ndarray, forecasts: dict[str, np.ndarray], season: int) -> dict:
    found = {"dropped": actual.size, **dict.fromkeys(SCORES)}
    if not (context.std(axis=1) > 1e-12 * abs(context).max(axis=1)).any():  # `nmse` would find no scale
        return found
    for name, forecast in forecasts.items():
        error = nmse(context, actual, forecast)
        found |= {"dropped": error.dropped, f"nmse_{name}": error.value}
    if (context[:, season:] != context[:, :-season]).any():
        for name, forecast in forecasts.items():
            found[f"mase_{name}"] = mase(context, actual, forecast, season).value
    model, last, seasonal, mean = (found[f"nmse_{name}"] for name in FORECASTS)
    if min(last, seasonal) > EXACT:
        found |= {"skill": skill(model, last, seasonal), "skill_mean": skill(model, last, seasonal, mean)}
    return found
