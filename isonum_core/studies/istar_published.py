"""I-STAR as published: all of a network is tuned, the penalty is of the states of all layers, C0 their covariance.

Networks, windows, noise and order of batches are those of `istar`, of its half `held` at n = 512 and depth "all", with
four of its targets. C0 is the covariance of the states of all layers and patches on the training windows together, anew
each epoch, as the authors train.

Seen before the first row: these targets and seeds in `istar`, where the penalty is of the state that the head reads, C0
is scale-safe, and effects drown in the noise of seeds. EXPECTED was committed before the first row.
"""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score
from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.networks.losses import Regulariser, pooled_covariance
from isonum_core.prose import interval
from isonum_core.statistics.contrasts import crossed_t, holm
from isonum_core.statistics.intervals import decided
from isonum_core.studies.istar import BUDGETS, ORDER, TEST, Istar, pretrained, task
from isonum_core.studies.istar import WEIGHTS as BY_DEPTH
from isonum_core.studies.istar_stack import Body
from isonum_core.worlds.windows import anchored

TARGETS, WEIGHTS = ("b0-2", "b20-32", "range", "rises"), BY_DEPTH["all"]
COLUMNS = ("error", "train", "iso_score", "pooled")
TOLERANCES = {name: {"cpu": 0.5, "cuda": 0.5} for name in COLUMNS} | {"weight": {"cpu": 0.0, "cuda": 0.0}}


def grid(profile: str) -> list[Istar]:
    """quick: one. cpu: three seeds of `istar`. gpu: ten."""
    seeds = dict(quick=[0], cpu=range(6, 9), gpu=range(10, 20))[profile]
    return [Istar("held", "all", 64 if profile == "quick" else 512, seed, profile) for seed in seeds]


def provisional(config: Istar) -> set[str]:
    """All: as the study `istar`."""
    return set(TOLERANCES)


def run(config: Istar, device: str = "cpu") -> list[dict]:
    """A row for each target and weight: error on test windows, `train` on those that were trained on.

    iso_score is that of what the head reads, `pooled` that of the states of all layers together.
    """
    rows, (x, _, clean, noised, _) = [], task(config, TARGETS, device)
    test = slice(config.n, config.n + TEST[config.size])
    for target in TARGETS:
        for weight in WEIGHTS:
            body = copy.deepcopy(pretrained(config.seed, config.size, device)).requires_grad_(True)
            said, states, layers = as_published(body, x, noised[target], weight, config)
            scores = [iso_score(Moments.of(part.double().cpu())) for part in (states[test], layers[test].flatten(0, 1))]
            error, fit = ((said - of[target]).square() for of in (clean, noised))
            values = map(float, (error[test].mean(), fit[: config.n].mean(), *scores))
            named = {name: float(f"{value:.4g}") for name, value in zip(COLUMNS, values, strict=True)}
            rows.append(dict(target=target, weight=weight) | named)
    return rows


def layers_of(body: Body, x: Float[Tensor, "n C"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n s d"]]:
    """The state that a head reads; and what enters the first block and leaves each, the last after its norm."""
    last, scale = anchored(x)
    patches = body.embed(((x - last) / scale).unflatten(1, (-1, body.config.patch)))
    out = body.trunk(inputs_embeds=patches, output_hidden_states=True)
    return body.read(out.last_hidden_state.flatten(1)), torch.cat(out.hidden_states, 1)


def as_published(
    body: Body, x: Float[Tensor, "n C"], y: Float[Tensor, " n"], weight: float, config: Istar
) -> tuple[Tensor, Tensor, Tensor]:
    """Tune a body with a new head on the first windows; what it then says of all, its states, those of all layers."""
    budget, n = BUDGETS[config.size, config.depth], config.n
    head = nn.Linear(body.read.out_features, 1, device=x.device)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    optimiser = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=budget.rate, weight_decay=0.0)
    order = np.random.default_rng([ORDER, config.seed, n]).integers(n, size=(budget.steps, budget.batch))
    penalty = Regulariser("istar", weight)
    for step, chosen in enumerate(torch.from_numpy(order).to(x.device)):
        if weight and step % (n // budget.batch) == 0:
            with torch.no_grad():
                c0 = pooled_covariance([layers_of(body, x[:n])[1]]).float()
            penalty = Regulariser("istar", weight, c0=c0)
        states, layers = layers_of(body, x[chosen])
        loss = (head(states)[:, 0] - y[chosen]).square().mean() + penalty(layers)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.param_groups[0]["lr"] = budget.rate * (1 - step / budget.steps)
        optimiser.step()
    with torch.no_grad():
        states, layers = layers_of(body, x)
        return head(states)[:, 0], states, layers


def against_plain(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """log of a value over that of weight 0, a row a weight: crossed t over targets and seeds, Holm over weights."""
    wide = np.log(table.pivot(index=["target", "seed"], columns="weight", values=value))
    apart = wide.sub(wide[0.0], axis=0).drop(columns=0.0)
    rows = {weight: crossed_t(apart[weight].unstack().to_numpy()) for weight in apart}
    found = pd.DataFrame(rows.values(), index=pd.Index(rows, name="weight"))
    return found.assign(p_holm=holm(found.p))


def _words(rows: pd.DataFrame) -> str:
    return "; ".join(f"{weight:+g}: {interval(row['mean'], row.low, row.high, 3)}" for weight, row in rows.iterrows())


def _moves(table: pd.DataFrame) -> Verdict:
    rows = against_plain(table, "pooled")
    return Verdict(decided(rows.low[0.3] > 0 and rows.high[-0.3] < 0, *rows.low), _words(rows))


def _no_help(table: pd.DataFrame) -> Verdict:
    rows = against_plain(table, "error")
    held = not ((rows.p_holm < 0.05) & (rows["mean"] < 0)).any()
    return Verdict(decided(held, *rows.p_holm), _words(rows))


EXPECTED = (
    Expectation("As published, IsoScore of all layers rises at 0.3 and falls at -0.3, surely", _moves),
    Expectation("As published, no weight surely lowers the mean log error (Holm)", _no_help),
)
