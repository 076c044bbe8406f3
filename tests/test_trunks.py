"""Five trunks on twenty families: the rule that chose them, means over knobs, and shares of the variance by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from isonum_core.errors import IsonumError
from isonum_core.lab.engine import one_thread
from isonum_core.networks.double import double_model
from isonum_core.networks.patched import read
from isonum_core.statistics.contrasts import crossed_t, holm, variance_shares
from isonum_core.statistics.intervals import crossed_intervals
from isonum_core.statistics.ranks import correlations, ranks_between
from isonum_core.studies import families, learnt, trunks
from isonum_core.studies.convergence import JUDGES
from isonum_core.studies.families import FamilyNet
from isonum_core.studies.learnt import COLUMNS, EVERY, HALVES, RECIPES, TEST, shape
from isonum_core.studies.trunks import (
    CHOSEN,
    ELIGIBLE,
    PARTS,
    SHARED,
    behind_ridge,
    grid,
    moved_by_training,
    relations_by_trunk,
    run,
    shared_sites,
    shares,
    skill_by_trunk,
)
from isonum_core.worlds.families import FAMILIES

CONFIG = FamilyNet("sine_noise", "patchtst", 0, True, "quick")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    one_thread()
    monkeypatch.setitem(RECIPES, "quick", dataclasses.replace(RECIPES["quick"], steps=3, test=40))


def test_the_families_are_twenty_of_those_that_the_rule_lets_in():
    assert len(CHOSEN) == 20 == len(set(CHOSEN)) and set(CHOSEN) <= set(ELIGIBLE) <= set(FAMILIES)
    assert not set(ELIGIBLE) & set(JUDGES)
    seeds = [config.seed for config in grid("cpu")]
    assert seeds == sorted(seeds) and len(grid("cpu")) == 20 * 5 * 5 * 2


@pytest.mark.parametrize(("name", "inside"), [("drift", True), ("gp_tails", True), ("ma1", False), ("jumps", False)])
def test_the_rule_is_ridge_and_nothing_else(name, inside):
    recipe, family = dataclasses.replace(RECIPES["cpu"], pool=2048, test=256), EVERY[name]
    ridge, rng, logs = learnt.line(learnt.pool_of(family, 0, recipe)), np.random.default_rng([TEST, 0]), []
    for knob in family.grid:
        x = family.draw(knob, 144, rng, recipe.test)
        c, y = x[:, :128], x[:, 128:]
        said = c[:, -1:] + c.std(1, keepdims=True) * ridge.predict(learnt.anchored_rows(x)[:, :128])
        naive = (c[:, -1:], c.mean(1, keepdims=True))
        errors = [((y - f) ** 2 / c.var(1, keepdims=True)).mean() for f in (said, *naive)]
        logs.append(np.log(errors[0] / min(errors[1:])))
    # fewer windows than in the study: these four stand clear of .01
    assert (-np.expm1(np.mean(logs)) > 0.01) == inside == (name in ELIGIBLE)


def test_a_row_is_the_mean_over_knobs_and_skills_are_geometric():
    rows = pd.DataFrame(families.run(CONFIG))
    found = run(CONFIG)
    assert [row["site"] for row in found] == ["embed", "block1", "block2", "read"]
    read = rows[rows.site == "read"]
    assert found[-1]["nll"] == pytest.approx(read.nll.mean(), rel=1e-5)
    assert found[-1]["skill"] == pytest.approx(1 - np.exp(np.log(1 - read.skill.astype(float)).mean()), rel=1e-5)
    assert found[0]["iso_score"] == pytest.approx(rows[rows.site == "embed"].iso_score.mean(), rel=1e-5)
    assert np.isnan(found[0]["nll"])


TRUNKS, MADE = ("gpt2", "t5", "llama"), "abcdef"


def table(noise=0.2, of_trunk=0.0):
    """Random halves at every site; `of_trunk` is added to the mean cosine of T5 alone."""
    rng, rows = np.random.default_rng(0), []
    for f in MADE:
        for m in TRUNKS:
            for s in range(3):
                for trained in (True, False):
                    blocks = ["block1", "block2"] + ["block3", "block4"] * (m == "t5")
                    for site in ("embed", *blocks, "read"):
                        halves = dict(mean_cosine=noise * rng.random() + of_trunk * (m == "t5"), iso_score=rng.random())
                        row = dict(family=f, model=m, seed=s, trained=trained, size="cpu", site=site)
                        row |= dict.fromkeys(COLUMNS, np.nan) | halves
                        if site == "read":
                            row |= {name: rng.random() / 2 for name in COLUMNS if name not in HALVES}
                            row |= dict.fromkeys(("ridge", "ridge_one"), 0.25 if trained else np.nan)
                        rows.append(row)
    return pd.DataFrame(rows)


def test_all_trunks_have_the_shared_sites_and_the_last_block_of_t5_is_its_decoders():
    t = table()
    found = shared_sites(t)
    assert {tuple(own.site.unique()) for _, own in found.groupby("model")} == {SHARED}
    for model, block in (("t5", "block4"), ("llama", "block2")):
        own = t[(t.model == model) & (t.site == block)].iso_score.to_numpy()
        assert np.array_equal(found[(found.model == model) & (found.site == "last")].iso_score, own)


@pytest.mark.parametrize("ending", ["", "_one"])
def test_a_trunk_behind_ridge_is_the_log_ratio_of_their_errors(ending):
    t = table()
    own = t[t.trained & (t.model == "t5") & (t.site == "read")].set_index(["family", "seed"])
    found = behind_ridge(t, ending)
    assert list(found) == sorted(TRUNKS) and len(found) == 3 * len(MADE)
    assert found.t5.to_numpy() == pytest.approx(np.log((1 - own["skill" + ending]) / 0.75).to_numpy())
    t["ridge" + ending] = t["ridge" + ending].mask(t.family == "b", 1.0)  # an error that six digits do not show
    assert np.isposinf(behind_ridge(t, ending).loc["b"]).all(axis=None)


def test_what_training_moves_is_signed_and_at_every_site():
    t = table()
    t.loc[t.trained & (t.model == "t5") & (t.site == "block3"), "mean_cosine"] -= 1.0
    found = moved_by_training(t)
    assert len(found) == 2 * (4 + 6 + 4) and np.allclose(found.p_holm, holm(found.p))
    row = found.set_index(["model", "half", "site"]).loc[("t5", "mean_cosine", "block3")]
    own = t[(t.model == "t5") & (t.site == "block3")].pivot(
        index=["family", "seed"], columns="trained", values="mean_cosine"
    )
    change = (own[True] - own[False]).to_numpy().reshape(-1, 3)
    assert row[["mean", "low", "high", "p"]].tolist() == pytest.approx([*crossed_t(change)[:4]])
    assert (row.up, row.down) == (0, len(MADE)) and row.high < -0.8
    assert row.twin == pytest.approx(own[False].mean())
    with pytest.raises(IsonumError, match="missing values"):
        moved_by_training(t.iloc[1:])


def test_shares_are_those_of_the_balanced_layout_with_and_without_each_trunk():
    t = shared_sites(table())
    mixed = t.sample(frac=1, random_state=1)  # the order of rows says nothing
    found = shares(mixed, HALVES, np.random.default_rng(0), draws=30).set_index(["measure", "site", "trained", "part"])
    assert len(found) == 2 * 4 * 2 * 4
    rows = t[~t.trained & (t.site == "last")].sort_values(["model", "family", "seed"])
    x = rows.iso_score.to_numpy().reshape(3, len(MADE), 3)
    left = {name: variance_shares(np.delete(x, i, axis=0)) for i, name in enumerate(sorted(TRUNKS))}
    slow = _slow_intervals(rows, 30)
    for part, name in PARTS.items():
        row, others = found.loc[("iso_score", "last", False, name)], {m: own[part] for m, own in left.items()}
        assert row.share == pytest.approx(variance_shares(x)[part])
        assert (row.least, row.most) == pytest.approx((min(others.values()), max(others.values())))
        assert row.without == max(others, key=lambda m: abs(others[m] - row.share))
        assert (row.low, row.high) == pytest.approx(tuple(slow.loc[part, ["low", "high"]]))


def _slow_intervals(rows, draws):
    def numbers(sample):
        shape = (3, sample.family.nunique(), sample.seed.nunique())
        x = np.full(shape, np.nan)
        for i, model in enumerate(sorted(TRUNKS)):
            own = sample[sample.model == model]
            x[i, own.family, own.seed] = own.iso_score
        return variance_shares(x)

    return crossed_intervals(rows, numbers, np.random.default_rng(0), draws=draws)


def test_a_share_that_moves_with_one_trunk_is_that_trunks():
    found = shares(shared_sites(table(noise=0.01, of_trunk=1.0)), ("mean_cosine",), np.random.default_rng(0), draws=5)
    own = found[found.part == "trunk"]
    assert (own.share > 0.99).all() and (own.without == "t5").all() and (own.least < 0.3).all()


def test_what_every_window_is_given_alike_is_zero_and_nothing_else():
    for trunk in RECIPES["quick"].rates:
        whole, model = (double_model(shape(trunk, RECIPES["quick"]), 0).eval() for _ in range(2))
        kept, zeros = dict(whole.named_parameters()), set()
        for name, x in trunks.without_shared(model).named_parameters():
            if not torch.equal(x, kept[name]):
                assert not x.any()
                zeros.add(name)
        assert "read.bias" in zeros and ("starts" in zeros) == (trunk == "t5")
        assert all(kept[name].ndim == 1 or name.endswith(("starts", "wpe.weight", "position_enc")) for name in zeros)


def test_a_patchtst_without_positions_knows_no_order():
    patches = torch.randn(3, 8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    both = [x.flatten(1) for x in (patches, patches[:, [1, 0, *range(2, 8)]])]
    model = double_model(shape("patchtst", RECIPES["quick"]), 0).eval()
    here, there = (read(model, x).states["block.1"] for x in both)
    assert not torch.allclose(here, there)
    here, there = (read(trunks.without_shared(model), x).states["block.1"] for x in both)
    assert torch.allclose(here, there)


def test_means_of_twins_by_hand(monkeypatch):
    monkeypatch.setattr(trunks, "CHOSEN", ("sine_noise", "drift"))
    recipe = RECIPES["quick"]
    found = trunks.means_of_twins(0, recipe, windows=40).set_index(["model", "family", "site"])
    assert len(found) == 5 * 2 * 3
    family = EVERY["sine_noise"]
    series = family.draw(family.grid[len(family.grid) // 2], 128, np.random.default_rng([TEST, 0]), 40)
    states = read(double_model(shape("t5", recipe), 0).eval(), torch.tensor(series)).states
    unit = torch.nn.functional.normalize(states["read"])
    expected = float((unit @ unit.T).sum() - 40) / (40 * 39)
    assert found.drawn["t5", "sine_noise", "read"] == pytest.approx(expected)
    assert (
        found.drawn["patchtst", "sine_noise", "last"]
        > 0.2
        > 0.05
        > abs(found.without["patchtst", "sine_noise", "last"])
    )


def test_relations_are_spearmans_of_the_families_means_and_their_difference_is_signed():
    t = shared_sites(table())
    found = relations_by_trunk(t.sample(frac=1, random_state=1), "ratio_one", np.random.default_rng(0), draws=40)
    assert len(found) == 3 * 2 * 4 * 3 and set(found.families) == {len(MADE)}
    of = found.set_index(["model", "half", "site", "predictor"])
    own = t[(t.model == "llama") & (t.site == "read")]
    error = np.log1p(-own[own.trained].skill_one).groupby(own.family).mean()
    rho = {
        name: stats.spearmanr(error, own[own.trained == trained].groupby("family").iso_score.mean())[0]
        for name, trained in (("trained", True), ("untrained", False))
    }
    rho["trained - untrained"] = rho["trained"] - rho["untrained"]
    for name, value in rho.items():
        assert of.loc[("llama", "iso_score", "read", name), "rho"] == pytest.approx(value)
    pair = own[own.trained].assign(error=np.log1p(-own.skill_one))

    def slow(rows):
        return {"rho": correlations(ranks_between(rows, ["error", "iso_score"]))[0, 1]}

    ends = crossed_intervals(pair, slow, np.random.default_rng(0), draws=40).loc["rho", ["low", "high"]]
    assert of.loc[("llama", "iso_score", "read", "trained"), ["low", "high"]].tolist() == pytest.approx([*ends])


def test_gaps_are_refused():
    t = shared_sites(table())
    hole = t.assign(iso_score=t.iso_score.where(t.index > 0))
    with pytest.raises(IsonumError, match="got gaps"):
        shares(hole, HALVES, np.random.default_rng(0), draws=5)
    for broken in (hole, t[~((t.family == "a") & (t.seed == 1) & (t.model == "t5"))]):
        with pytest.raises(IsonumError, match="got gaps|expected for every network"):
            relations_by_trunk(broken, "ratio", np.random.default_rng(0), draws=5)


def test_skill_by_trunk_is_geometric_over_seeds():
    t = table()
    found = skill_by_trunk(t)
    own = t[t.trained & (t.family == "b") & (t.model == "t5") & (t.site == "read")].skill
    assert found.loc["b", "t5"] == pytest.approx(1 - np.exp(np.log(1 - own).mean()))
    assert found.loc["b", "ridge"] == pytest.approx(0.25) and found.shape == (len(MADE), 4)
