"""A network that has learnt, read at every site, beside a ridge regression on the same windows.

What the second edition's studies share. Networks are trained in float64 (networks.double) and Gaussian families are
drawn through a root (worlds.roots): over 300 steps a row is then a property of its configuration. Over 1,500 it is not
(`families.provisional`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import RidgeCV
from torch import Tensor

from isonum_core.errors import among
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.partition import partition_isotropy, partition_isotropy_centred
from isonum_core.geometry.scores import iso_score, mean_cosine, mean_share
from isonum_core.networks.double import double_model
from isonum_core.networks.forecast import Reading
from isonum_core.networks.patched import Patched, PatchedModel, read, word_loss
from isonum_core.networks.train import Training, train
from isonum_core.studies.anatomy import short
from isonum_core.worlds.baselines import errors_of, naive_forecasts, skill_among, varies
from isonum_core.worlds.families import FAMILIES
from isonum_core.worlds.family import Family
from isonum_core.worlds.fresh import FRESH
from isonum_core.worlds.roots import STEADY

EVERY: dict[str, Family] = FAMILIES | STEADY | FRESH
TRAIN, TEST, ORDER = 30, 31, 32  # streams of random numbers; no pilot has seen them
CONTEXT, HORIZON = 128, 16
ALPHAS = np.logspace(-3, 4, 8)  # of the ridge, chosen by leave-one-out inside the training windows
HALVES = ("mean_cosine", "iso_score")  # at every site
# At the site `read` alone: what is said, and what only the state that the heads read has.
SAID = ("nll", "nll_one", "entropy_one", "skill", "skill_one", "ridge", "ridge_one", "iso_input")
READ = (*SAID, "mean_share", "log_i", "log_i_centred")
COLUMNS = (*HALVES, *READ)
TOLERANCES = {name: {"cpu": 1e-5, "cuda": 1e-3} for name in (*COLUMNS, "knob")}
MAY_BE_MISSING = set(COLUMNS)


@dataclass(frozen=True)
class Recipe:
    """What a profile scales: training windows of a family, test windows of a knob, width; and batch, steps and rates.

    `rates` has one learning rate for each trunk; a trunk that it lacks is not trained in that profile.
    """

    pool: int
    test: int
    batch: int
    d: int
    steps: int
    rates: Mapping[str, float]


_TRUNKS = ("gpt2", "llama", "t5", "patchtst", "patchtsmixer")
# Rates of `convergence`, of those at which a rounding stays one: shaken by 1e-15, GPT-2 at 3e-2 and T5 at 1e-2 end up
# to 4e-2 and 9e-2 elsewhere after 300 steps, though they learn faster there.
_RATES = dict.fromkeys(_TRUNKS, 1e-2) | {"t5": 3e-3}
RECIPES = {
    "quick": Recipe(pool=256, test=64, batch=32, d=16, steps=20, rates=_RATES),
    "cpu": Recipe(pool=16384, test=512, batch=64, d=32, steps=1500, rates=_RATES),
    "gpu": Recipe(pool=131072, test=1024, batch=256, d=64, steps=5000, rates={m: r / 2 for m, r in _RATES.items()}),
}


def shape(trunk: str, recipe: Recipe) -> Patched:
    """Two blocks; T5 has two beside two, narrower ones, and 12 % more weights than the others."""
    return Patched(trunk, d=recipe.d, layers=4 if trunk == "t5" else 2, context=CONTEXT, horizon=HORIZON)


def pool_of(family: Family, seed: int, recipe: Recipe) -> Float[np.ndarray, "n T"]:
    """Training windows, as many from each knob."""
    rng, each = np.random.default_rng([TRAIN, seed]), recipe.pool // len(family.grid)
    return np.concatenate([family.draw(knob, CONTEXT + HORIZON, rng, each) for knob in family.grid])


def learnt(
    trunk: str | Patched, seed: int, pool: np.ndarray, recipe: Recipe, rate: float, steps: int, device: str = "cpu"
) -> PatchedModel:
    """The network of a seed after so many steps on the pool, in random order, in eval mode; 0 steps: its twin.

    A trunk comes in the shape of the recipe, or with sizes of its own. The rate rises over a twentieth of the steps and
    falls along a cosine to zero: every length is a whole training.
    """
    model = double_model(shape(trunk, recipe) if isinstance(trunk, str) else trunk, seed).to(device)
    if not steps:
        return model.eval()
    how = Training(steps, rate, warmup=max(1, steps // 20), final=0.0, clip=1.0)
    return fitted(model, pool, np.random.default_rng([ORDER, seed]), recipe.batch, how)


def fitted(
    model: PatchedModel, pool: Float[np.ndarray, "n T"], order: np.random.Generator, batch: int, training: Training
) -> PatchedModel:
    """The model trained on the pool's rows, context then horizon, in a random order; in eval mode, in its precision."""
    home, context = next(model.parameters()), model.config.context
    series = torch.tensor(pool, dtype=home.dtype, device=home.device)
    drawn = torch.from_numpy(order.integers(len(series), size=(training.steps, batch))).to(home.device)

    def of_step(model: PatchedModel, step: int) -> Tensor:
        rows = series[drawn[step]]
        return word_loss(model, rows[:, :context], rows[:, context:])

    train(model, of_step, training)
    return model.eval()


def line(pool: Float[np.ndarray, "n T"], context: int = CONTEXT) -> RidgeCV:
    """Ridge regression of the anchored horizon on the anchored context: the learned forecaster that is no network.

    Its targets are cut at the outermost words, as the network's are: without that, the few contexts that hardly move
    decide all (on struck_bell its skill was -500; seen in a begun table of 18 trained networks, which was thrown away).
    """
    x, reach = anchored_rows(pool, context), Patched("gpt2").reach
    return RidgeCV(ALPHAS).fit(x[:, :context], x[:, context:].clip(-reach, reach))


def by_line(ridge: RidgeCV, context: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n H"]:
    """What `line` forecasts, in the unit of the series."""
    scale = np.where(varies(context), context.std(1), 1.0)[:, None]
    return context[:, -1:] + scale * ridge.predict(anchored_rows(context, context.shape[1]))


def anchored_rows(rows: Float[np.ndarray, "n T"], steps: int = CONTEXT) -> Float[np.ndarray, "n T"]:
    """Rows less the last value of their context, in its standard deviations (1 where it is constant)."""
    context = rows[:, :steps]
    return (rows - context[:, -1:]) / np.where(varies(context), context.std(1), 1.0)[:, None]


def at_sites(
    model: PatchedModel, series: Float[np.ndarray, "n T"], season: int, ridge: RidgeCV | None
) -> list[dict[str, str | float | None]]:
    """One row for each site: embed, each block, read; one state a window, at the last patch. COLUMNS.

    Skill: 1 - nmse / the smallest of last value, last season and mean of the context (worlds.baselines), over the
    horizon and (`_one`) one step ahead; `ridge` is that of the ridge regression. nll is in nats a word, `entropy_one`
    the mean entropy in nats of the law of the first step. log_i is partition isotropy of that step's output embeddings
    on the sphere of radius rms |h|, raw rows and centred, in nats.
    A number is missing where it is not defined: constant contexts, exact naive forecasts, states that do not differ.
    """
    context, actual = series[:, : model.config.context], series[:, model.config.context :]
    reading = read(model, torch.tensor(context))
    entered = next(name for name in reading.states if name.endswith("embed"))
    blocks = [name for name in reading.states if "block" in name]
    names = {"embed": entered, **{f"block{i}": name for i, name in enumerate(blocks, start=1)}, "read": "read"}
    rows = []
    for site, name in names.items():
        found: dict[str, str | float | None] = {"site": site, **dict.fromkeys(COLUMNS)}
        if varies(context).any():
            m = Moments.of(reading.states[name].double().cpu())
            found |= {"mean_cosine": float(mean_cosine(m)), "iso_score": float(iso_score(m))}
            if site == "read":
                w, radius = model.table.detach().cpu(), float(reading.states[name].square().sum(1).mean().sqrt())
                found |= {"mean_share": float(mean_share(m)), "log_i": partition_isotropy(w, radius).log_value}
                found |= {"log_i_centred": partition_isotropy_centred(w, radius).log_value}
                found |= said(reading, context, actual, season, ridge)
        rows.append({key: short(value) if key != "site" else value for key, value in found.items()})
    return rows


def tested(
    model: PatchedModel, family: Family, seed: int, recipe: Recipe, ridge: RidgeCV | None
) -> list[dict[str, str | float | None]]:
    """`at_sites` on fresh windows of every knob, the same ones for every network of a seed; `knob` stands first."""
    rng, rows = np.random.default_rng([TEST, seed]), []
    for knob in family.grid:
        series = family.draw(knob, CONTEXT + HORIZON, rng, recipe.test)
        rows += [{"knob": float(knob), **row} for row in at_sites(model, series, family.season(knob), ridge)]
    return rows


def said(reading: Reading, context: np.ndarray, actual: np.ndarray, season: int, ridge: RidgeCV | None) -> dict:
    """SAID, of forecasts; `ridge` and `ridge_one` are missing without one."""
    law, future = reading.said, torch.tensor(actual)
    p = law.p[:, 0]
    anchored = anchored_rows(context, context.shape[1])
    found = {"nll": float(law.nll(future)), "nll_one": float(law_of(reading, 1).nll(future[:, :1]))}
    found["entropy_one"] = float(torch.special.entr(p).sum(1).mean())
    found["iso_input"] = float(iso_score(Moments.of(torch.from_numpy(anchored))))
    forecasts = {"model": law.mean.numpy()}
    if ridge is not None:
        forecasts["ridge"] = by_line(ridge, context)
    for suffix, steps in (("", actual.shape[1]), ("_one", 1)):
        naive = errors_of(context, actual[:, :steps], naive_forecasts(context, steps, season))
        for name, forecast in forecasts.items():
            error = errors_of(context, actual[:, :steps], {"model": forecast[:, :steps]})
            key = ("skill" if name == "model" else name) + suffix
            found[key] = skill_among(error | naive)
    return found


def law_of(reading: Reading, steps: int):
    """The law of the first steps."""
    law = reading.said
    return type(law)(law.p[:, :steps], law.centres, law.last, law.scale)


def family_of(name: str) -> Family:
    """The family of that name, or an IsonumError that lists all."""
    return among("family", name, EVERY)
