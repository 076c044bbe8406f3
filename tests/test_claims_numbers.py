"""The rows of the ledger that rest on a number, recomputed from the committed tables with nothing but pandas and scipy.

A test here says what a row's conditions say. A table that is made again may turn one red: then the sentence is old.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr, t, ttest_1samp

from isonum_core.studies.learnt import RECIPES

BOOK = Path(__file__).resolve().parents[1] / "book"
SAID = {c["id"]: c["conditions"] for c in tomllib.loads((BOOK / "claims.toml").read_text(encoding="utf-8"))["claim"]}


def rows(name):
    return pd.read_csv(BOOK / "results" / f"{name}.cpu.csv")


def bounds(x):
    """Student's 95 % interval of a mean."""
    x = np.asarray(x, float)
    half = t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return x.mean() - half, x.mean() + half


@pytest.fixture(scope="module")
def istar():
    """Effect of each weight on the log error at the last step, half held out, by cell; decided by t over seeds."""
    table = rows("istar").query("part == 'held'")
    run = ["depth", "n", "target", "step", "seed"]
    base = table[table.weight == 0].set_index(run).error
    table = table[table.weight != 0].join(base.rename("base"), on=run)
    table = table[table.step == table.groupby("depth").step.transform("max")]
    table = table.assign(effect=np.log(table.error / table.base))
    found = table.groupby(["depth", "n", "target", "weight"]).effect.apply(
        lambda x: pd.Series(bounds(x), ["low", "high"])
    )
    found = found.unstack()
    return found.assign(mean=(found.low + found.high) / 2, better=found.high < 0, worse=found.low > 0)


def test_less_isotropy_helps_in_few_cells_and_little(istar):
    less = istar[istar.index.get_level_values("weight").isin([-0.1, -0.3])]
    assert "10 of 66 cells improve" in SAID["less-isotropy-helps"] and "Three get worse" in SAID["less-isotropy-helps"]
    assert (len(less), less.better.sum(), less.worse.sum()) == (66, 10, 3)
    assert less[less.better]["mean"].min() > -0.03
    by = less.groupby(["depth", "n"]).better.sum()
    assert by["last", 128] == 8 and by["all", 512] == 0
    assert 1 < 0.025 * len(less) < 2.5  # what chance alone gives on one side


def test_more_isotropy_harms_strong_directions_and_helps_weak_ones(istar):
    at = istar.xs(0.3, level="weight").loc["last"]
    assert at.loc[128].worse[["b0-2", "b2-5", "b5-12"]].all() and at.loc[128].better["b20-32"]
    assert at.loc[128].worse[["raw", "spread", "range", "rises", "bend", "above"]].sum() == 4  # "most natural ones"
    assert not at.loc[512].worse.any()
    weak = rows("istar").query("part == 'held' and depth == 'last' and n == 512").groupby("target")["index"].mean()
    assert (
        weak[at.loc[512].index[at.loc[512].better]].min() > 0.8
    )  # the index is 1 where all power is in weak directions


def test_on_sentences_every_weight_costs_likelihood_and_as_published_none_is_decided():
    table = rows("istar_language").query("model == 'minilm' and arm in ('none', 'istar')")
    last = table[table.step == table.step.max()].set_index(["task", "seed", "value"]).nll.unstack()
    effects = last.sub(last[0.0], axis=0).drop(columns=0.0)
    assert all(
        bounds(part[weight])[0] > 0 for _, part in effects.groupby("task") for weight in effects if abs(weight) > 0.1
    )
    wide = np.log(rows("istar_published").pivot(index=["target", "seed"], columns="weight", values="error"))
    means = wide.sub(wide[0.0], axis=0).drop(columns=0.0).groupby("target").mean()
    assert all(low < 0 < high for low, high in (bounds(means[weight]) for weight in means))


HELD_OUT = (
    ("istar", "part == 'held' and depth == 'last'"),
    ("istar_again", "part == 'again'"),
    ("istar_again", "part == 'third'"),
)


def test_with_few_data_less_isotropy_helps_about_half_by_a_hundredth_and_with_four_times_few():
    """First page and `whiten`: weights of -0.1 and -0.3 at the last step, last layer, all parts held out."""
    effects = []
    for name, query in HELD_OUT:
        table = rows(name).query(query).query("step == step.max()")
        run = ["n", "target", "seed"]
        joined = table[table.weight.isin([-0.1, -0.3])].join(
            table[table.weight == 0].set_index(run).error.rename("plain"), on=run
        )
        effects.append(
            np.log(joined.error / joined.plain).groupby([joined.n, joined.target, joined.weight]).apply(list)
        )
    effects = pd.concat(effects)
    sure = effects.map(lambda x: int(bounds(x)[1] < 0) - int(bounds(x)[0] > 0)).groupby("n")
    better, worse = sure.apply(lambda x: (x > 0).mean()), sure.apply(lambda x: (x < 0).mean())
    planted = effects.index.get_level_values("target").str.match(r"b\d|raw|spread")
    natural = effects[~planted].map(lambda x: int(bounds(x)[1] < 0) - int(bounds(x)[0] > 0)).groupby("n")
    helped = natural.sum() / natural.count()  # none is harmed
    assert natural.min().min() == 0 and helped[128] > 0.8 and 0.4 < helped[512] < 0.6
    harmed = effects[effects.map(lambda x: bounds(x)[0] > 0)].index.unique("target")
    assert set(harmed) <= {"b20-32", "b26-32", "b18-32", "b22-28", "b28-32"}  # "planted in weak directions", of 32
    assert 0.4 < better[128] < 0.6 and worse.max() <= 0.12 and better[512] <= 0.25
    assert -0.015 < effects.map(np.mean)[128].median() < -0.005


def test_before_training_the_sign_is_foretold_more_often_than_not_on_all_parts_held_out():
    for name, query in HELD_OUT:
        table = rows(name).query(query)
        run = ["n", "target", "step", "seed"]
        joined = table[table.weight != 0].join(table[table.weight == 0].set_index(run).error.rename("plain"), on=run)
        joined = joined[joined.step > joined.step.min()].assign(effect=lambda x: np.log(x.error / x.plain))
        cells = joined.groupby(["n", "target", "step", "weight"])
        sure = cells.effect.apply(lambda x: bounds(x)[0] > 0 or bounds(x)[1] < 0)
        said, came = cells.forecast.mean() * np.sign(cells.weight.first()) > 0, cells.effect.mean() > 0
        right = (said == came)[sure]
        assert (right[came[sure]].mean() + right[~came[sure]].mean()) / 2 > 0.7


def test_the_penalty_on_cosines_lowers_isoscore_a_little():
    table = rows("istar_controls")
    run = ["n", "seed", "target", "stop"]
    none = table[(table.arm == "none") & (table.stop == "last")].set_index(run)
    moved = {}
    for arm in ("cosreg", "istar"):
        on = table[(table.arm == arm) & (table.value == 0.3) & (table.stop == "last")].set_index(run)
        moved[arm] = (on[["mean_share", "iso_score"]] - none[["mean_share", "iso_score"]]).dropna().mean()
    assert moved["cosreg"].mean_share < -0.2 and -0.1 < moved["cosreg"].iso_score < 0 < 0.2 < moved["istar"].iso_score


@pytest.fixture(scope="module")
def layers():
    table = rows("checkpoints_layers")
    return table[(table["last"] - table["first"] == 1) & (table.side == "text")]


def test_one_token_makes_a_line_of_blocks_12_to_28(layers):
    own = layers[layers.network != "random"].groupby("site")[["pr_all", "pr_without"]].mean()
    line, early = [f"block.{i}" for i in range(11, 28)], [f"block.{i}" for i in range(2, 9)]
    rest = own.drop(["embed", "final_norm"]).drop(line)
    assert own.pr_all[line].max() < 1.2 < 2 < rest.pr_all.min()  # "a line, and the network is rounder before and after"
    assert own.pr_without[line].min() > 30  # "tens of directions"
    alone = own.pr_without.drop(["embed", "final_norm"])
    assert alone[[*line, "block.10"]].min() > alone.drop([*line, "block.10"]).max()  # "the roundest of all"
    assert alone[early].max() < alone.drop(early).min()  # "blocks 3 to 9 the least round"


def test_states_of_both_networks_are_off_the_centre_and_the_untrained_ones_drift(layers):
    cosine = layers.groupby(["network", "site"])[["cosine_all", "cosine_without"]].mean()
    own = cosine.drop("random", level="network").droplevel("network")
    assert own.drop(["embed", "block.0"]).min().min() > 0.5  # "above a half from the second block on"
    twin = cosine.cosine_all["random"]
    assert twin["embed"] < 0.05 and twin["block.29"] == pytest.approx(0.25, abs=0.05)
    blocks = [twin[f"block.{i}"] for i in range(30)]
    assert spearmanr(range(30), blocks)[0] > 0.95 and blocks[0] > 0.1


@pytest.fixture(scope="module")
def trunks():
    table = rows("trunks")
    last = table.site == table.model.map({"t5": "block4"}).fillna("block2")
    return table.assign(site=table.site.mask(last, "last"))


def test_a_mixer_without_attention_leaves_the_centre_too_and_a_patch_model_comes_back(trunks):
    table = trunks[trunks.site == "last"].groupby(["model", "family", "trained"]).mean_cosine.mean().unstack()
    up = (table[True] > table[False]).groupby("model").sum()
    assert up.patchtsmixer == 20 and up.llama >= 17 and up.gpt2 >= 17 and up.patchtst == 0


def between(part, measure):
    """Share of the sum of squares of a trunk's mean, over families and seeds."""
    wide = part.pivot(index=["family", "seed"], columns="model", values=measure).to_numpy()
    return np.square(wide.mean(0) - wide.mean()).mean() / wide.var()


def test_the_trunk_decides_before_training_and_after_it_inside_alone(trunks):
    trunks = trunks[trunks.site.isin(["last", "read"])].assign(error=np.log1p(-trunks.skill))
    found = {}
    for (site, trained), part in trunks.groupby(["site", "trained"]):
        for half in ("mean_cosine", "iso_score"):
            left = [between(part[part.model != name], half) for name in part.model.unique()]
            found[half, site, trained] = between(part, half), min(left)
    assert found["mean_cosine", "read", False][1] > 0.8 and found["iso_score", "read", False][1] > 0.25
    assert found["mean_cosine", "last", True][1] > 0.25  # "more than a quarter ... whichever trunk is left out"
    assert found["mean_cosine", "read", True][1] < 0.01 > found["iso_score", "read", True][1] - 0.01
    assert found["iso_score", "last", True][0] == pytest.approx(1 / 6, abs=0.02)
    assert between(trunks[trunks.trained & (trunks.site == "read")], "error") < 0.02


def test_trained_roundness_has_no_common_sign_and_the_mean_half_has(trunks):
    own = trunks[trunks.trained & (trunks.site == "read")]
    own = own[own.groupby("family").ridge.transform("mean") > 0]
    means = own.assign(error=np.log1p(-own.skill)).groupby(["model", "family"])[["mean_cosine", "iso_score", "error"]]
    rho = means.mean().groupby("model").corr(method="spearman").error.unstack()
    assert (rho.mean_cosine > 0).all() and rho.iso_score.min() < 0 < rho.iso_score.max()


def test_a_past_is_in_the_states_handed_over_and_not_surely_there_after_adaptation():
    table = rows("pretraining").query("rule == 'adamw' and phase == 'adaptation' and step == 500")
    table = table.groupby(["target", "source", "adaptation"]).mean(numeric_only=True).reset_index()

    def gap(way, half):
        wide = table[table.adaptation == way].pivot(index="target", columns="source", values=half)
        return wide.drop(columns="none").sub(wide["none"], axis=0)

    assert (gap("head", "iso_score")[["numeric", "text", "target"]].apply(bounds).loc[1] < 0).all()
    assert (gap("head", "mean_share")[["zipf", "target"]].apply(bounds).loc[1] < 0).all()
    p = [ttest_1samp(gap("full", half), 0).pvalue for half in ("iso_score", "mean_share")]
    assert 21 * np.min(p) > 0.05


def test_over_pasts_the_mean_half_goes_with_the_error_after_full_adaptation_and_roundness_not_surely():
    table = rows("pretraining").query("rule == 'adamw' and phase == 'adaptation' and step == 500")
    table = table.groupby(["target", "source", "adaptation"]).mean(numeric_only=True).reset_index()
    full = table[table.adaptation == "full"].groupby("target").filter(lambda x: (x.skill_one > 0).all())
    rho = {
        half: [spearmanr(part[half], part.nll)[0] for _, part in full.groupby("target")]
        for half in ("mean_share", "iso_score")
    }
    assert bounds(rho["mean_share"])[0] > 0 and np.prod(bounds(rho["iso_score"])) < 0


def test_a_language_model_is_behind_ridge_more_often_than_ahead():
    table = rows("checkpoints_forecasts").groupby(["family", "reader"])[["nll", "mse_one"]].mean().unstack()
    gap = table.nll.smollm2 - table.nll.ridge
    assert 0.2 < (gap < 0).mean() < 0.5
    assert bounds(np.log(table.mse_one.smollm2 / table.mse_one.ridge).dropna())[0] > 0


def test_the_optimiser_decides_the_mean_row():
    table = rows("pretraining").query("adaptation in ['full', 'warm'] and step == 500")
    kept = table.rule.isin(["sgd", "coupled_adam"])
    assert table[kept].drift.max() < 1e-12 < 0.2 < table[~kept].drift.min()


def test_rows_come_out_again_under_other_kernels_or_nearer_than_another_seed():
    told = pd.read_csv(BOOK / "arithmetics.csv")
    assert (told.groupby("arithmetic").size() >= 60).all() and set(told.verdict) <= {"holds", "another draw"}
    assert told.far.max() < 1 and told.far.notna().equals(told.verdict == "another draw")
    assert all(told.config.str.contains(name).any() for name in ("t5", "llama", "patchtst'", "patchtsmixer", "henon"))


def test_one_family_makes_the_mean_beside_ridge_and_one_trunk_is_slower(trunks):
    own = trunks[trunks.trained & (trunks.site == "read")]
    behind = np.log1p(-own.skill) - np.log1p(-own.ridge)
    means = behind.groupby(own.model).mean()
    assert (means > 0).all() and (behind[own.family != "gp_mixture"].groupby(own.model).mean() < 0).all()
    assert np.log1p(-own.skill).groupby(own.model).mean().idxmax() == "t5"
    rates = dict(RECIPES["cpu"].rates)
    assert rates.pop("t5") < 0.4 * min(rates.values())
    ridge = own.groupby("family").ridge.mean()
    assert list(ridge.index[ridge < 0.01]) == ["cascade"]


def test_on_every_real_set_longer_training_rounds_the_read_state_over_fitted_or_not():
    """First page and `data`; where it over-fits the held-out NLL is larger than before."""
    table = rows("real").query("site == 'read'")
    means = table.groupby(["dataset", "steps"])[["mean_cosine", "iso_score", "nll_held"]].mean().unstack("steps")
    change = pd.DataFrame({name: means[name][1500] - means[name][300] for name in ("mean_cosine", "iso_score")})
    worse = means.nll_held[1500] > means.nll_held[300]
    assert len(change) == 14 and (change.mean_cosine < 0).all() and (change.iso_score > 0).all()
    assert 4 <= worse.sum() <= 10


def moved_from_the_centre(table):
    """By trunk: mean change of the mean cosine over its standard error, over families and seeds."""
    table, z = table.set_index(["model", "family", "seed", "trained"]).mean_cosine.unstack(), {}
    for model, change in (table[True] - table[False]).groupby("model"):
        wide = change.unstack("seed").to_numpy()
        spread = wide.mean(1).var(ddof=1) / wide.shape[0] + wide.mean(0).var(ddof=1) / wide.shape[1]
        z[model] = wide.mean() / np.sqrt(spread)
    return z


def test_gpt2_and_llama_have_left_the_centre_and_t5_has_come_back_some_of_the_way(trunks):
    """First page and `models`: at the state that is read, and after the last block."""
    z, last = (moved_from_the_centre(trunks[trunks.site == site]) for site in ("read", "last"))
    assert min(z["gpt2"], z["llama"]) > 6 and z["t5"] < -3.5 and -3 < z["patchtst"] < 0 < z["patchtsmixer"]
    assert last["patchtst"] < -8 and last["patchtsmixer"] > 8
