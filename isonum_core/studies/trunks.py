"""What the architecture does, second edition: five trunks on twenty families, five seeds, each at its own rate.

Families: those of the 46 on which ridge regression has a skill of .01 over the horizon (seed 0, geometric mean over
knobs), less those that chose rates and steps; of these 27, twenty drawn by a seed. The rule asks no trunk. All trunks
have the same number of weights to 2 %, but T5, whose two blocks beside two cost 12 % more. They see the same series in
the same order, each at its rate of `convergence`. No prediction was made: everything here describes. Two of the five
seeds were added when the other three had been read: then T5's fall at `read` came out of Holm's correction with p = .7.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import mean_cosine
from isonum_core.networks.double import double_model
from isonum_core.networks.patched import PatchedModel, read
from isonum_core.statistics.contrasts import crossed_t, holm, variance_shares
from isonum_core.statistics.intervals import crossed_intervals
from isonum_core.statistics.ranks import correlations
from isonum_core.studies import families, learnt
from isonum_core.studies.anatomy import short
from isonum_core.studies.closeness import DRAWS, TWIN, gated, points
from isonum_core.studies.families import FamilyNet
from isonum_core.studies.learnt import CONTEXT, EVERY, HALVES, RECIPES, TEST, Recipe, shape

TOLERANCES = {name: moved for name, moved in learnt.TOLERANCES.items() if name != "knob"}  # rows are means over knobs
MAY_BE_MISSING = learnt.MAY_BE_MISSING
ELIGIBLE = (
    *("fgn", "arfima", "ar2_period", "ar2_damping", "local_level", "drift", "seasonal_amplitude", "sine_noise"),
    *("square_duty", "chirp", "trend", "piecewise_trend", "quantised", "outliers", "stuck", "student_ar"),
    *("intermittent", "inar", "ingarch", "regimes", "logistic_map", "henon", "cascade"),
    *("gp_scale", "gp_tails", "gp_wandering_season", "gp_mixture"),
)
CHOSEN = tuple(ELIGIBLE[i] for i in sorted(np.random.default_rng(2025).permutation(len(ELIGIBLE))[:20]))
SKILLS = ("skill", "skill_one", "ridge", "ridge_one")
SHARED = ("embed", "block1", "last", "read")  # the sites that every trunk has
PARTS = {"first": "trunk", "second": "family", "both": "both", "rest": "seed"}


def grid(profile: str) -> list[FamilyNet]:
    """quick: two trunks. cpu, gpu: five trunks, five seeds, seed by seed."""
    if profile == "quick":
        return [FamilyNet("sine_noise", m, 0, t, profile) for m in ("t5", "patchtst") for t in (True, False)]
    trunks = RECIPES[profile].rates
    return [FamilyNet(f, m, s, t, profile) for s in range(5) for f in CHOSEN for m in trunks for t in (True, False)]


def provisional(config: FamilyNet) -> set[str]:
    """As in `families`."""
    return families.provisional(config)


def run(config: FamilyNet, device: str = "cpu") -> list[dict]:
    """One row for each site: the rows of `families`, means over the knobs; of skills the geometric mean of errors."""
    rows = pd.DataFrame(families.run(config, device)).drop(columns="knob")
    rows[list(SKILLS)] = np.log1p(-rows[list(SKILLS)].astype(float))
    found = rows.groupby("site", sort=False).mean()
    found[list(SKILLS)] = -np.expm1(found[list(SKILLS)])
    return [{"site": site} | {name: short(value) for name, value in row.items()} for site, row in found.iterrows()]


def shared_sites(table: pd.DataFrame) -> pd.DataFrame:
    """The rows at SHARED: `last` is the last block, T5's fourth, of its decoder; its encoder's second falls away."""
    last = table.site == np.where(table.model == "t5", "block4", "block2")
    sites = table.site.mask(last, "last")
    return table.assign(site=sites)[sites.isin(SHARED)]


def behind_ridge(table: pd.DataFrame, ending: str = "") -> pd.DataFrame:
    """Log error of each trained trunk over that of ridge regression, over the horizon or one step ahead ("_one").

    A row for each family and seed, a column for each trunk; infinite where ridge errs by nothing that the table's six
    digits could show, as one step ahead on smooth series.
    """
    rows = table[table.trained & (table.site == "read")]
    with np.errstate(divide="ignore"):
        logs = np.log1p(-rows["skill" + ending]) - np.log1p(-rows["ridge" + ending])
    return rows.assign(log=logs).pivot(index=["family", "seed"], columns="model", values="log")


def moved_by_training(table: pd.DataFrame) -> pd.DataFrame:
    """Trained minus untrained at each site of the table: a row for each trunk, half and site, of `contrasts.crossed_t`.

    `twin`: mean of the untrained; `up`, `down`: families that rise and fall, in the mean over seeds; `p_holm`: over all
    rows. IsonumError where a network has no twin.
    """
    wide = table.set_index(["model", "site", "family", "seed", "trained"])[list(HALVES)].unstack("trained")
    found = []
    for (model, site), part in wide.groupby(["model", "site"], sort=False):
        for half in HALVES:
            change = (part[half][True] - part[half][False]).unstack("seed")
            up, down = (int((way * change.mean(axis=1) > 0).sum()) for way in (1, -1))
            facts = dict(model=model, half=half, site=site, twin=part[half][False].mean(), up=up, down=down)
            found.append(facts | crossed_t(change.to_numpy())._asdict())
    found = pd.DataFrame(found)
    return found.assign(p_holm=holm(found.p))


def shares(
    table: pd.DataFrame, measures: tuple[str, ...], rng: np.random.Generator, draws: int = DRAWS
) -> pd.DataFrame:
    """Which share of a measure's variance goes with trunk, family, both and seed, by measure, site and network.

    `contrasts.variance_shares`, with the 95 % crossed bootstrap over families and seeds. `least` and `most`: the share
    where one trunk is left out, `without` the trunk that changes it most. A share that moves with one trunk is that
    trunk's. Trunks and families are those of the table; a resample holds fewer different families, which leans the
    intervals towards the trunk. IsonumError where a combination lacks a value.
    """
    cell, point = ["measure", "site", "trained"], ["family", "seed"]
    long = table.melt([*cell[1:], "model", *point], list(measures), "measure").dropna(subset="value")
    wide = long.pivot(index=[*cell, "model"], columns=point, values="value").sort_index(axis=1)
    if wide.isna().any(axis=None):
        raise IsonumError("A value for every trunk under every family and seed was expected, got gaps. Run the rest.")
    cells = {key: part.to_numpy() for key, part in wide.groupby(cell, sort=False)}
    names = list(wide.index.unique("model"))
    skeleton = wide.columns.to_frame(index=False).assign(place=np.arange(wide.shape[1]))

    def numbers(rows: pd.DataFrame, left_out: int | None = None) -> dict[tuple, float]:
        shape, place, found = (-1, rows.family.nunique(), rows.seed.nunique()), rows.place.to_numpy(), {}
        for key, x in cells.items():
            kept = x if left_out is None else np.delete(x, left_out, axis=0)
            parts = variance_shares(kept[:, place].reshape(shape))
            found |= {(*key, PARTS[part]): share for part, share in parts.items()}
        return found

    found = crossed_intervals(skeleton, numbers, rng, draws=draws).rename(columns={"value": "share"})
    left = pd.DataFrame({name: numbers(skeleton, i) for i, name in enumerate(names)})
    far = left.sub(found.share, axis=0).abs().idxmax(axis=1)
    found = found.assign(least=left.min(axis=1), most=left.max(axis=1), without=far)
    return found.rename_axis([*cell, "part"]).reset_index()


def without_shared(model: PatchedModel) -> PatchedModel:
    """The network itself, with zeros for what it adds to every window alike: biases, positions, a decoder's start."""
    with torch.no_grad():
        for name, values in (*model.named_parameters(), *model.named_buffers()):
            if name.endswith(("bias", "position_enc", "wpe.weight")) or name == "starts":
                values.zero_()
    return model


def means_of_twins(seed: int, recipe: Recipe, windows: int = 256) -> pd.DataFrame:
    """Mean cosine of untrained states at embed, the last block and read, `drawn` and with `without_shared`.

    A row for each trunk, family of CHOSEN (its middle knob, fresh windows) and site.
    """
    rng, found = np.random.default_rng([TEST, seed]), []
    series = {
        name: (family := EVERY[name]).draw(family.grid[len(family.grid) // 2], CONTEXT, rng, windows) for name in CHOSEN
    }
    for trunk in recipe.rates:
        for how in ("drawn", "without"):
            model = double_model(shape(trunk, recipe), seed).eval()
            model = without_shared(model) if how == "without" else model
            for name, context in series.items():
                states = read(model, torch.tensor(context)).states
                block = [site for site in states if "block" in site][-1]
                for site, at in (("embed", next(iter(states))), ("last", block), ("read", "read")):
                    cosine = float(mean_cosine(Moments.of(states[at])))
                    found.append(dict(model=trunk, family=name, site=site, how=how, cosine=cosine))
    wide = pd.DataFrame(found).pivot(index=["model", "family", "site"], columns="how", values="cosine")
    return wide.rename_axis(columns=None).reset_index()


def relations_by_trunk(table: pd.DataFrame, error: str, rng: np.random.Generator, draws: int = DRAWS) -> pd.DataFrame:
    """Rank correlation over families of each half at each site with the trunk's own error, `ratio` or `ratio_one`.

    A row for each model, half, site and `predictor`: trained, untrained, and "trained - untrained", the signed
    difference; in [-1, 1] or [-2, 2], with the 95 % crossed bootstrap over families and seeds, the same resamples for
    all. Families: those on which ridge regression has skill at that horizon (`closeness.gated`).
    """
    measures = [f"{half} {site}" for half in HALVES for site in table.site.unique()]
    columns = [error, *measures, *(name + TWIN for name in measures)]
    own = {model: gated(points(rows), error) for model, rows in table.groupby("model", sort=False)}
    parts = [rows.set_index(["family", "seed"])[columns].add_prefix(f"{model} ") for model, rows in own.items()]
    wide = pd.concat(parts, axis=1).sort_index()
    if wide.isna().any(axis=None) or len(wide) != np.prod([len(level) for level in wide.index.levels]):
        raise IsonumError("Every number of every trunk, family and seed was expected, got gaps. Run the rest.")
    skeleton, x = wide.index.to_frame(index=False).assign(place=np.arange(len(wide))), wide.to_numpy()

    def numbers(rows: pd.DataFrame) -> dict[tuple, float]:
        shape = (rows.family.nunique(), rows.seed.nunique(), -1)
        r, found = correlations(rankdata(x[rows.place].reshape(shape).mean(1), axis=0)), {}
        for i, model in enumerate(own):
            of = dict(zip(columns, r[i * len(columns)][i * len(columns) :], strict=False))
            for measure in measures:
                key, trained, untrained = (model, *measure.split()), of[measure], of[measure + TWIN]
                found |= {(*key, "trained"): trained, (*key, "untrained"): untrained}
                found[*key, "trained - untrained"] = trained - untrained
        return found

    found = crossed_intervals(skeleton, numbers, rng, draws=draws).rename(columns={"value": "rho"})
    found = found.rename_axis(["model", "half", "site", "predictor"]).reset_index()
    return found.assign(error=error, families=wide.index.unique("family").size)


def skill_by_trunk(table: pd.DataFrame) -> pd.DataFrame:
    """Skill over the horizon: a row a family, a column a trunk, and `ridge`.

    Geometric means over seeds; the best naive forecast has 0.
    """
    rows = table[table.trained & (table.site == "read")]
    logs = np.log1p(-rows[["skill", "ridge"]])
    means = logs.join(rows[["family", "model"]]).groupby(["family", "model"])
    found = means.skill.mean().unstack()
    return -np.expm1(found.assign(ridge=means.ridge.mean().groupby("family").mean()))
