"""One network, trained or not, judged and measured on the same windows: what the studies of data and models share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score, mean_cosine
from isonum_core.networks.forecast import anchored
from isonum_core.networks.patched import Patched, PatchedModel, patched_model, predict, word_loss
from isonum_core.networks.train import Training, train
from isonum_core.studies.anatomy import MEASURES, measured, short
from isonum_core.worlds.baselines import last_value, mean_value, nmse, seasonal_naive, skill

TRAIN, TEST, ORDER, DRAW = 10, 11, 12, 13  # streams of random numbers; no pilot has seen them
EXACT = 1e-12  # an nmse that is rounding error: a naive forecast that is never wrong leaves nothing to win

ERRORS = ("nll", "nmse", "nmse_one", "crps", "skill", "skill_one")
PROFILE = tuple(f"{half}_{site}" for half in ("iso", "cos") for site in ("embed", "block1", "block2"))
COLUMNS = (*ERRORS, "iso_input", *MEASURES, *PROFILE)
# Ten times what came of weights changed by 1e-7 of their size before 300 steps (three families): what another
# processor's order of summation may do. Kernels of a GPU differ by more.
_MOVED = {"nmse": 0.02, "skill": 0.02, "skill_one": 0.03, "logit_pr": 0.1, "two_nn": 0.15}
_MOVED |= {name: 0.02 for name in ("mean_cosine", "mean_share", "cos_block1", "cos_block2")}
_MOVED |= {name: 0.05 for name in ("partition_isotropy", "partition_isotropy_centred")}
TOLERANCES = {name: {"cpu": _MOVED.get(name, 5e-3), "cuda": 5 * _MOVED.get(name, 5e-3)} for name in COLUMNS}


@dataclass(frozen=True)
class Size:
    """Everything that a profile scales: `pool` training and `test` test windows a knob or set, and the training."""

    steps: int
    pool: int
    test: int
    batch: int
    rate: float
    d: int


SIZES = {
    "quick": Size(steps=20, pool=256, test=64, batch=32, rate=1e-2, d=16),
    "cpu": Size(steps=300, pool=4096, test=512, batch=64, rate=1e-2, d=32),
    "gpu": Size(steps=1500, pool=32768, test=1024, batch=256, rate=5e-3, d=64),
}


def fitted(config: Patched, pool: Float[np.ndarray, "n T"], seed: int, size: Size, device: str) -> PatchedModel:
    """The model of a seed trained on the pool's rows, context then horizon, in an order of its own; in eval mode."""
    series = torch.tensor(pool, dtype=torch.float32, device=device)
    order = np.random.default_rng([ORDER, seed]).integers(len(series), size=(size.steps, size.batch))
    order = torch.from_numpy(order).to(device)

    def loss(model: PatchedModel, step: int) -> torch.Tensor:
        batch = series[order[step]]
        return word_loss(model, batch[:, : config.context], batch[:, config.context :])

    model = patched_model(config, seed).to(device)
    train(model, loss, Training(size.steps, size.rate, warmup=20, final=0.0, clip=1.0))
    return model.eval()


def portrait(
    model: PatchedModel, context: Float[np.ndarray, "n C"], actual: Float[np.ndarray, "n H"], season: int, seed: int
) -> dict[str, float | int | None]:
    """COLUMNS, of one state a window, and `distinct`, how many of the windows differ.

    nll is in nats a word, crps in standard deviations of the context, nmse in its variance, over the horizon or one
    step ahead; skill is 1 - nmse / the smallest nmse of last value, last season and mean of the context. MEASURES are
    of the state that the heads read (studies.anatomy); iso_* and cos_*: IsoScore and mean cosine at each depth, at the
    last patch. iso_input is the IsoScore of the anchored contexts themselves: no network at all.
    A number is None where it is not defined: constant contexts, exact naive forecasts, too few distinct states.
    """
    found: dict[str, float | int | None] = {**dict.fromkeys(COLUMNS), "distinct": len(np.unique(context, axis=0))}
    varies = context.std(axis=1) > 1e-12 * abs(context).max(axis=1)
    if not varies.any():  # no scale, so no error, and one state
        return found
    past, future = torch.tensor(context), torch.tensor(actual)
    said = predict(model, past)
    found |= {"nll": float(said.nll(future)), "crps": float(said.crps(future))}
    found |= _errors(context, actual, said.mean.numpy(), season)
    states = model.states(past.float().to(model.centres.device))
    found |= measured(states["read"], model.table, np.random.default_rng([DRAW, seed]))
    last, scale = anchored(past)
    if found["iso_score"] is not None:
        found["iso_input"] = float(iso_score(Moments.of((past - last) / scale)))
        for site in ("embed", "block1", "block2"):
            m = Moments.of(states[site].double().cpu())
            found |= {f"iso_{site}": float(iso_score(m)), f"cos_{site}": float(mean_cosine(m))}
    return {name: short(value) for name, value in found.items()}


def _errors(context: np.ndarray, actual: np.ndarray, forecast: np.ndarray, season: int) -> dict[str, float]:
    found = {}
    for suffix, steps in (("", actual.shape[1]), ("_one", 1)):
        own, *naive = (
            nmse(context, actual[:, :steps], said[:, :steps]).value
            for said in (
                forecast,
                last_value(context, steps),
                seasonal_naive(context, steps, season),
                mean_value(context, steps),
            )
        )
        found[f"nmse{suffix}"] = own
        found[f"skill{suffix}"] = skill(own, *naive) if min(naive) > EXACT else None
    return found
