"""One network, trained or not, judged and measured on the same windows: what the studies of data and models share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score, mean_cosine
from isonum_core.networks.patched import Patched, PatchedModel, patched_model, read
from isonum_core.networks.train import Training
from isonum_core.studies.anatomy import MEASURES, measured, short
from isonum_core.studies.learnt import fitted
from isonum_core.worlds.baselines import errors_of, naive_forecasts, skill_among, varies

TRAIN, TEST, ORDER = 10, 11, 12  # streams of random numbers; no pilot has seen them
DEPTHS = ("embed", "block1", "block2")  # what enters the first block, what leaves each, whatever the halves are called
PROFILE = tuple(f"{half}_{depth}" for half in ("iso", "cos") for depth in DEPTHS)
COLUMNS = ("nll", "nmse", "nmse_one", "crps", "skill", "skill_one", "iso_input", *MEASURES, *PROFILE)
# Ten times what came of weights changed by 1e-7 of their size before 300 steps (three families): what another
# processor's order of summation may do. Kernels of a GPU differ by more.
_MOVED = {"nmse": 0.02, "skill": 0.02, "skill_one": 0.03, "logit_pr": 0.1, "two_nn": 0.15}
_MOVED |= {name: 0.02 for name in ("mean_cosine", "mean_share", "cos_block1", "cos_block2")}
_MOVED |= {name: 0.05 for name in ("partition_isotropy", "partition_isotropy_centred")}
# k-means takes another start where a state has moved a little; the cosine within its clusters jumps.
JUMPY = {"cluster_cosine"}
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


def network(config: Patched, seed: int, pool: Float[np.ndarray, "n T"] | None, size: Size, device: str) -> PatchedModel:
    """The network of a seed, in eval mode: trained on the pool, or with its first weights where there is none."""
    model = patched_model(config, seed).to(device)
    if pool is None:
        return model.eval()
    how = Training(size.steps, size.rate, warmup=20, final=0.0, clip=1.0)
    return fitted(model, pool, np.random.default_rng([ORDER, seed]), size.batch, how)


def portrait(
    model: PatchedModel, context: Float[np.ndarray, "n C"], actual: Float[np.ndarray, "n H"], season: int
) -> dict[str, float | int | None]:
    """COLUMNS, of one state a window, and `distinct`, how many of the windows differ. Each window is read once.

    nll is in nats a word, crps in standard deviations of the context, nmse in its variance, over the horizon or one
    step ahead; skill is 1 - nmse / the smallest nmse of last value, last season and mean of the context. MEASURES are
    of the state that the heads read (studies.anatomy); iso_* and cos_*: IsoScore and mean cosine at each depth, at the
    last patch. iso_input is the IsoScore of the anchored contexts themselves: no network at all.
    A number is None where it is not defined: constant contexts, exact naive forecasts, too few distinct states.
    """
    found: dict[str, float | int | None] = {**dict.fromkeys(COLUMNS), "distinct": len(np.unique(context, axis=0))}
    if not varies(context).any():  # no scale, so no error, and one state
        return found
    past, future = torch.tensor(context), torch.tensor(actual)
    reading = read(model, past)
    said, states = reading.said, reading.states
    found |= {"nll": float(said.nll(future)), "crps": float(said.crps(future))}
    for suffix, steps in (("", actual.shape[1]), ("_one", 1)):
        ahead = {"model": said.mean.numpy()[:, :steps], **naive_forecasts(context, steps, season)}
        errors = errors_of(context, actual[:, :steps], ahead)
        found |= {f"nmse{suffix}": errors["model"], f"skill{suffix}": skill_among(errors)}
    found |= measured(states["read"], model.table)
    if found["iso_score"] is not None:
        found["iso_input"] = float(iso_score(Moments.of((past - said.last) / said.scale)))
        # What enters a decoder's first block beside an encoder is learnt, the same for every window: left out.
        entered = next(x for site, x in states.items() if site.endswith("embed"))
        blocks = [x for site, x in states.items() if "block" in site]
        for depth, x in zip(DEPTHS, (entered, *blocks), strict=True):
            m = Moments.of(x.double().cpu())
            found |= {f"iso_{depth}": float(iso_score(m)), f"cos_{depth}": float(mean_cosine(m))}
    return {name: short(value) for name, value in found.items()}
