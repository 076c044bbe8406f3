"""I-STAR at small weights, at equal training loss, and as published: states of all layers, C0 their pooled covariance.

Networks, windows, noise and order of batches are those of `istar`, of its half `held` at n = 512, and so are the
targets, of which all but "raw" and "spread" are taken (depth "all": PUBLISHED alone). Depth "last": the read-out's
states and the scale-safe C0 of `istar`, with marks all along the run, so that errors can be compared where two runs
fit their training windows equally well. Depth "all": every weight is tuned, and the penalty is of the states of all
layers and patches together, with C0 their covariance on the training windows, anew each epoch, as the authors train.

Seen before the first row: the same targets and seeds in `istar`, where at matched steps 0.3 harms strong directions
and helps weak ones, and effects with all layers tuned drown in the noise of seeds. No weight of 0.01, no path and
nothing of the published setting was seen.
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
from isonum_core.studies.istar import BUDGETS, ORDER, PARTS, TEST, Istar, pretrained, rows_of, task
from isonum_core.studies.istar_stack import Body, Way
from isonum_core.worlds.windows import anchored

BLOCKS = tuple(name for name in PARTS["held"] if name[1].isdigit())
TARGETS = (*BLOCKS, "range", "rises", "bend", "above")
PUBLISHED = ("b0-2", "b20-32", "range", "rises")
WEIGHTS = {"last": (0.0, 0.01, -0.01, 0.1, -0.1, 0.3, -0.3), "all": (0.0, 0.1, -0.1, 0.3, -0.3)}
COLUMNS = ("error", "train", "iso_score", "pooled")
TOLERANCES = {name: {"cpu": 0.5, "cuda": 0.5} for name in COLUMNS} | {"weight": {"cpu": 0.0, "cuda": 0.0}}
MAY_BE_MISSING = {"pooled"}


def grid(profile: str) -> list[Istar]:
    """quick: one of each depth. cpu: three seeds of `istar`. gpu: ten."""
    seeds = dict(quick=[0], cpu=range(6, 9), gpu=range(10, 20))[profile]
    return [Istar("held", depth, 64 if profile == "quick" else 512, s, profile) for depth in WEIGHTS for s in seeds]


def provisional(config: Istar) -> set[str]:
    """All: as the study `istar`."""
    return set(TOLERANCES)


def run(config: Istar, device: str = "cpu") -> list[dict]:
    """A row for each target, weight and mark: error on test windows, `train` on those that were trained on.

    iso_score is that of what the head reads; at depth "all" `pooled` is that of the states of all layers together.
    """
    budget, rows = BUDGETS[config.size, config.depth], []
    if config.depth == "last":
        marks = sorted({max(1, round(budget.steps * share)) for share in np.geomspace(0.03, 1, 12)})
        arms = [(target, Way("istar", weight)) for target in TARGETS for weight in WEIGHTS["last"]]
        for row in rows_of(config, marks, arms, device):
            facts = dict(target=row["target"], weight=row["value"], step=row["step"], pooled=None)
            rows.append(facts | {name: row[name] for name in COLUMNS[:3]})
        return rows
    x, h, clean, noised, _ = task(config, PUBLISHED, device)
    for target in PUBLISHED:
        for weight in WEIGHTS["all"]:
            body = copy.deepcopy(pretrained(config.seed, config.size, device)).requires_grad_(True)
            found = as_published(body, x, noised[target], weight, config)
            said, states, layers = (each.detach() for each in found)
            error = (said - clean[target]).square()[config.n : config.n + TEST[config.size]].mean()
            fit = (said - noised[target]).square()[: config.n].mean()
            test = slice(config.n, config.n + TEST[config.size])
            scores = [iso_score(Moments.of(part.double().cpu())) for part in (states[test], layers[test].flatten(0, 1))]
            values = map(float, (error, fit, *scores))
            named = {name: float(f"{value:.4g}") for name, value in zip(COLUMNS, values, strict=True)}
            rows.append(dict(target=target, weight=weight, step=budget.steps) | named)
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


def at_last_step(table: pd.DataFrame, depth: str, value: str = "error") -> pd.DataFrame:
    """log of a value over that of weight 0 after the last step; rows (target, seed), columns weights."""
    rows = table[(table.depth == depth) & (table.step == table.step.where(table.depth == depth).max())]
    wide = np.log(rows.pivot(index=["target", "seed"], columns="weight", values=value))
    return wide.sub(wide[0.0], axis=0).drop(columns=0.0)


def at_equal_fit(table: pd.DataFrame) -> pd.DataFrame:
    """log error over that of weight 0 where both fit their training windows equally well; as `at_last_step`.

    That is at the larger of the two least training errors; each path is read there, linear between marks in log error
    over log training error, of which the least so far counts.
    """
    found = {}
    for (target, seed), rows in table[table.depth == "last"].groupby(["target", "seed"]):
        paths = {}
        for weight, path in rows.sort_values("step").groupby("weight"):
            paths[weight] = np.log(path.train.cummin().to_numpy())[::-1], np.log(path.error.to_numpy())[::-1]
        for weight in set(paths) - {0.0}:
            level = max(paths[weight][0][0], paths[0.0][0][0])
            apart = np.interp(level, *paths[weight]) - np.interp(level, *paths[0.0])
            found[target, seed, weight] = float(apart)
    return pd.Series(found).rename_axis(["target", "seed", "weight"]).unstack()


def contrasts_of(effects: pd.DataFrame) -> pd.DataFrame:
    """Each weight's mean effect: crossed t over targets and seeds, Holm over the weights."""
    rows = {weight: crossed_t(effects[weight].unstack().to_numpy()) for weight in effects}
    found = pd.DataFrame(rows.values(), index=pd.Index(rows, name="weight"))
    return found.assign(p_holm=holm(found.p))


def bottom_over_top(effects: pd.DataFrame, weight: float) -> pd.Series:
    """Effect on the weakest block of directions minus that on the strongest, seed by seed."""
    wide = effects[weight].unstack("target")
    return wide[BLOCKS[-1]] - wide[BLOCKS[0]]


def _printed(row: pd.Series, digits: int = 3) -> str:
    return interval(row["mean"], row.low, row.high, digits)


def _little(table: pd.DataFrame) -> Verdict:
    rows = contrasts_of(at_last_step(table, "last")).loc[[-0.01, 0.01]]
    words = "; ".join(f"{weight:+g}: {_printed(row)}" for weight, row in rows.iterrows())
    return Verdict(decided((rows.low > -0.01).all() and (rows.high < 0.01).all(), *rows.low), words)


def _blocks_at_equal_fit(table: pd.DataFrame) -> Verdict:
    gap = bottom_over_top(at_equal_fit(table), 0.3)
    words = ", ".join(f"{value:+.3f}" for value in gap)
    return Verdict(decided((gap < 0).all(), *gap), f"seed by seed {words}")


def _less_at_equal_fit(table: pd.DataFrame) -> Verdict:
    row = contrasts_of(at_equal_fit(table)).loc[-0.3]
    return Verdict(decided(row.low > -0.01, row.low), _printed(row))


def _published_moves(table: pd.DataFrame) -> Verdict:
    moved = at_last_step(table, "all", "pooled")
    rows = contrasts_of(moved)
    words = "; ".join(f"{weight:+g}: {_printed(row, 2)}" for weight, row in rows.iterrows())
    return Verdict(decided(rows.low[0.3] > 0 and rows.high[-0.3] < 0, *rows.low), words)


def _published_no_help(table: pd.DataFrame) -> Verdict:
    rows = contrasts_of(at_last_step(table, "all"))
    words = "; ".join(f"{weight:+g}: {_printed(row)}" for weight, row in rows.iterrows())
    return Verdict(decided(not ((rows.p_holm < 0.05) & (rows["mean"] < 0)).any(), *rows.p_holm), words)


EXPECTED = (
    Expectation("Weights of 0.01 and -0.01 move the mean log error by less than 0.01 (intervals within)", _little),
    Expectation(
        "At equal training error 0.3 still does more for the bottom block than for the top one, in every seed",
        _blocks_at_equal_fit,
    ),
    Expectation("At equal training error -0.3 lowers the mean log error by less than 0.01", _less_at_equal_fit),
    Expectation("As published, IsoScore of all layers rises at 0.3 and falls at -0.3, surely", _published_moves),
    Expectation("As published, no weight surely lowers the mean log error (Holm)", _published_no_help),
)
