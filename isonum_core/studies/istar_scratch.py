"""What I-STAR does to a forecaster that is trained from nothing: its loss, one step and the horizon, along training.

The network of `istar` before any fine-tuning: a small GPT-2 reads patches, a softmax over number-words says what
follows, all families where skill is possible mixed. Its loss is the cross-entropy of the words plus weight
(1 - IsoScore*) of the states that the heads read, or it trains in another way of `istar_elsewhere`. Networks of one
seed share initial weights and batches. Four seeds of I-STAR's weights were read before all else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score, mean_share
from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.networks.forecast import word_ids
from isonum_core.networks.losses import KINDS_OF_LOSS, Regulariser
from isonum_core.networks.patched import Patched, patched_model, read
from isonum_core.networks.train import Training, train
from isonum_core.prose import interval
from isonum_core.statistics.contrasts import paired_contrasts
from isonum_core.studies.anatomy import short
from isonum_core.studies.istar import BEFORE, TEST, skilful
from isonum_core.studies.istar_elsewhere import FROM_SCRATCH
from isonum_core.studies.istar_stack import Body, Way
from isonum_core.studies.pretraining import CONTEXT, HORIZON, windows_of
from isonum_core.worlds.baselines import errors_of
from isonum_core.worlds.windows import anchored

WEIGHTS = (0.0, 0.1, -0.1, 0.3, -0.3)
ARMS = (Way(), *(Way(*arm) for arm in FROM_SCRATCH))
BATCH, RATE = 64, 1e-2
POOL, JUDGED, ORDER, OTHERS = 34, 35, 36, 37  # streams of random numbers
COLUMNS = ("nll", "valid", "train", "nmse_one", "nmse", "iso_score", "mean_share")
TOLERANCES = {name: {"cpu": 0.3, "cuda": 0.3} for name in COLUMNS}


@dataclass(frozen=True)
class Scratch:
    """One network; `size` a key of `istar.BEFORE`, its number of steps."""

    arm: str
    value: float
    seed: int
    size: str


def grid(profile: str) -> list[Scratch]:
    """quick: two arms. cpu: eight seeds. gpu: ten, longer."""
    seeds = dict(quick=1, cpu=8, gpu=10)[profile]
    arms = ARMS[:2] if profile == "quick" else ARMS
    return [Scratch(*arm, seed, profile) for seed in range(seeds) for arm in arms]


def provisional(config: Scratch) -> set[str]:
    """All: training magnifies rounding."""
    return set(TOLERANCES)


def run(config: Scratch, device: str = "cpu") -> list[dict]:
    """A row after a tenth, a third and all of the steps, on windows that no training saw.

    nll in nats a word over the horizon, `valid` that on other windows, `train` on those it learns from; nmse_one and
    nmse in variances of the context, one step ahead and over the horizon; iso_score and mean_share of the states that
    the heads read.
    """
    steps, rows = BEFORE[config.size], []
    marks = {max(1, steps // 10), max(2, steps // 3), steps}
    pool, test, others = (
        torch.tensor(windows_of(skilful(), n, np.random.default_rng([stream, config.seed])), dtype=torch.float32)
        for stream, n in ((POOL, 16 * steps), (JUDGED, TEST[config.size]), (OTHERS, TEST[config.size]))
    )
    weights = int(np.random.SeedSequence([POOL, config.seed]).generate_state(1)[0])
    model = patched_model(Patched("gpt2", d=32, context=CONTEXT, horizon=HORIZON, patch=12), weights).to(device)
    body, pool, own = Body(model), pool.to(device), Way(config.arm, config.value)
    kind = own.name if own.name in KINDS_OF_LOSS else "istar"
    penalty = Regulariser(kind, own.of(kind))
    order = np.random.default_rng([ORDER, config.seed]).integers(len(pool), size=(steps, BATCH))

    def nll(windows: Tensor) -> float:
        return float(read(model, windows[:, :CONTEXT]).said.nll(windows[:, CONTEXT:].double()))

    def look(step: int) -> None:
        reading = read(model, test[:, :CONTEXT])
        said, future, moments = reading.said, test[:, CONTEXT:].double(), Moments.of(reading.states["read"].double())
        context, actual = test[:, :CONTEXT].double().numpy(), future.numpy()
        found = dict(nll=float(said.nll(future)), iso_score=float(iso_score(moments)))
        found |= dict(mean_share=float(mean_share(moments)), valid=nll(others), train=nll(pool[: len(test)].cpu()))
        for name, ahead in (("nmse_one", 1), ("nmse", HORIZON)):
            found[name] = errors_of(context, actual[:, :ahead], {"model": said.mean.numpy()[:, :ahead]})["model"]
        rows.append(dict(step=step) | {name: short(value) for name, value in found.items()})

    def loss(model: nn.Module, step: int) -> Tensor:
        if step in marks:
            look(step)
        batch = pool[order[step]]
        h = body(batch[:, :CONTEXT])
        last, scale = anchored(batch[:, :CONTEXT])
        ids = word_ids((batch[:, CONTEXT:] - last) / scale, model.centres)
        words = model.heads(F.dropout(h, own.of("dropout")))
        return F.cross_entropy(words.view(BATCH * HORIZON, -1), ids.flatten()) + penalty(h)

    rate, decay = RATE * own.of("rate", 1.0), own.of("weight_decay")
    train(model, loss, Training(steps, rate, weight_decay=decay, warmup=min(20, steps), final=0.0, clip=1.0))
    look(steps)
    return rows


def contrasts(table: pd.DataFrame) -> pd.DataFrame:
    """Every weight minus none at the last step: nll, the log of both errors, both halves. Pairs are seeds; Holm."""
    last = table[(table.step == table.step.max()) & table.arm.isin(("none", "istar"))]
    last = last.assign(arm=last.value.map("{:+g}".format), one=np.log(last.nmse_one), horizon=np.log(last.nmse))
    pairs = [(f"{weight:+g}", "+0") for weight in WEIGHTS[1:]]
    return paired_contrasts(last, "arm", pairs, ["nll", "one", "horizon", "iso_score", "mean_share"], ["seed"])


def _both_signs_cost(table: pd.DataFrame) -> Verdict:
    rows = contrasts(table).query("value == 'nll'").set_index("treated")
    words = "; ".join(f"{arm}: {interval(row['mean'], row.low, row.high, 3)}" for arm, row in rows.iterrows())
    return Verdict(bool((rows["mean"] > 0).all()), words)


EXPECTED = (Expectation("From scratch every weight, of either sign, raises the NLL in the mean", _both_signs_cost),)
