"""Rules that choose a remedy, and judges that say yes and no, each on a made-up table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isonum_core.lab.study import find_study
from isonum_core.studies.retrieval import FLOORED, HELD, LOOKED, RANKS
from isonum_core.studies.retrieval_verdicts import CONSTANT, EXPECTED, apart, chosen, gains, over_collections, spans

# nDCG@10 of each remedy in a cell, IsoScore of the documents after it, and whether `advise` tries it.
REMEDIES = {
    "nothing": (0.30, 0.1, False),
    "centring": (0.31, 0.15, True),
    "whitening": (0.25, 0.05, True),
    CONSTANT: (0.40, 0.5, True),
    "whitening softened by 1": (0.41, 0.6, True),
    FLOORED: (0.32, 0.25, False),
    RANKS: (0.305, 0.2, False),
}

SITES = (("minilm", "embed"), ("minilm", "block.5"), ("smollm2", "block.2"), ("smollm2", "block.14"))


@pytest.fixture
def table(rng):
    """As expected in all: two collections that were looked at, which are the opposite, and four held out."""
    rows = []
    for collection in LOOKED | HELD:
        for encoder, site in (
            ("minilm", "embed"),
            ("minilm", "block.5"),
            ("smollm2", "block.2"),
            ("smollm2", "block.14"),
        ):
            sinks, noise = float(site == "block.14"), 0.002 * rng.normal()
            share = {"embed": 0.01, "block.5": 0.02, "block.2": 0.5, "block.14": 0.9}[site]
            for pooling in ("all tokens", "no sinks"):
                for name, (ndcg, iso, own) in REMEDIES.items():
                    ndcg, side = ndcg + noise + 0.006 * rng.normal(), 1 if collection in HELD else -1
                    ndcg += 0.2 * sinks * (pooling == "no sinks") + 0.1 * (name == RANKS) * (site == "block.2")
                    row = dict(collection=collection, encoder=encoder, site=site, pooling=pooling, remedy=name)
                    iso += 0.04 * rng.normal()
                    row |= dict(ndcg=0.5 + side * (ndcg - 0.5), iso_score=iso, fit_half=0.01 if own else None)
                    row |= dict(fit_loss=0.3 - REMEDIES[name][0] if own else None, sinks=sinks, top_dimension=share)
                    cosine = 0.7 + 0.01 * rng.normal() - 0.5 * (name == "centring")
                    rows.append(row | dict(cosine=cosine, mean_cosine=0.7, dimensions=0.3))
    return pd.DataFrame(rows)


def test_a_rule_loses_what_the_best_has_more(table):
    found = chosen(table).set_index(["collection", "encoder", "site", "rule"]).sort_index()
    one = found.loc["scipy", "minilm", "embed"]
    assert one.remedy.to_dict() == {
        "advise": "whitening softened by 1", "spectralyte": FLOORED, CONSTANT: CONSTANT, "nothing": "nothing",
    }  # fmt: skip
    assert one.loss["advise"] == pytest.approx(0, abs=0.01) and one.loss["spectralyte"] == pytest.approx(0.09, abs=0.01)
    assert (found.loss >= 0).all() and len(found) == 6 * 4 * 4


def test_spectralyte_whitens_a_cone_or_a_flat_cloud_and_nothing_else(table):
    def named(**facts):
        rows = chosen(table.assign(**facts))
        return set(rows.remedy[rows.rule == "spectralyte"])

    assert named(mean_cosine=0.39) == {"nothing"} and named(mean_cosine=0.4) == {FLOORED}
    assert named(mean_cosine=0.0, dimensions=0.099) == {FLOORED} and named(mean_cosine=0.0, dimensions=0.1) == {
        "nothing"
    }


@pytest.mark.parametrize("half, remedy", [(0.01, "whitening softened by 1"), (0.5, "nothing")])
def test_advise_needs_a_sure_gain(table, half, remedy):
    rows = chosen(table.assign(fit_half=table.fit_half * half / 0.01))
    assert set(rows.remedy[rows.rule == "advise"]) == {remedy}


def test_a_difference_is_of_means_of_collections(table):
    rows = chosen(table)
    found = apart(rows, "advise", "spectralyte")
    means = rows.groupby(["rule", "collection"]).loss.mean()
    each = means["advise"] - means["spectralyte"]
    assert (found.n, found.mean) == (6, pytest.approx(each.mean()))
    assert found.high - found.mean == pytest.approx(2.5706 * each.std() / 6**0.5, rel=1e-4)
    cells = gains(table).whitening
    assert over_collections(cells).mean == pytest.approx(cells.mean())


def test_a_gain_is_over_nothing_done_with_all_tokens(table):
    key = ("scipy", "smollm2", "block.14")
    own = table.set_index(["collection", "encoder", "site", "pooling", "remedy"]).sort_index().ndcg[key]
    assert gains(table, "no sinks").loc[key, "nothing"] == own["no sinks", "nothing"] - own["all tokens", "nothing"]
    assert gains(table).nothing.eq(0).all()


def _with(table, **columns):
    return table.assign(**columns)


def _remedy(table, name, more):
    return table.assign(ndcg=table.ndcg + more * (table.remedy == name))


# What makes each expectation, in its order, come out otherwise.
OTHERWISE = [
    lambda t: _remedy(t, FLOORED, 0.2),
    lambda t: _remedy(t, FLOORED, 0.2),
    lambda t: _remedy(t, FLOORED, 0.2),
    lambda t: _remedy(t, CONSTANT, 0.1),
    lambda t: _remedy(t, RANKS, 0.3),
    lambda t: _remedy(t, "whitening", 0.3),
    lambda t: _remedy(t, "whitening", 0.1),
    lambda t: _remedy(t, "centring", 0.1),
    lambda t: _with(t, top_dimension=0.5 * (t.site == "block.2") + 0.01 * (t.site == "embed")),
    lambda t: t.assign(ndcg=t.ndcg - 0.15 * (t.pooling == "no sinks")),
    lambda t: _with(t, iso_score=-t.iso_score),
]


@pytest.mark.parametrize("place", range(len(EXPECTED)))
def test_every_judge_says_yes_and_no(table, place):
    assert EXPECTED[place].judge(table).held, EXPECTED[place].judge(table).found
    verdict = EXPECTED[place].judge(OTHERWISE[place](table))
    assert verdict.held is not None and not verdict.held and verdict.found


def test_collections_that_were_looked_at_judge_nothing(table):
    turned = table.assign(ndcg=table.ndcg.where(table.collection.isin(HELD), 0.7))
    assert [e.judge(turned) for e in EXPECTED] == [e.judge(table) for e in EXPECTED]


def test_the_grid_has_forty_cells_held_out():
    configs = [*find_study("retrieval").configs("cpu").values()]
    assert not LOOKED.keys() & HELD.keys() and {c.collection for c in configs} == {*LOOKED, *HELD}
    assert sum({"minilm": 7, "smollm2": 13}[c.encoder] for c in configs if c.collection in HELD) >= 40
    assert len(find_study("retrieval").configs("quick")) == 1


def test_one_collection_decides_nothing(table):
    few = table[(table.encoder == "minilm") | (table.collection == "scipy")]
    verdicts = [e.judge(few).held for e in EXPECTED]
    assert verdicts[2] is None and verdicts[9] is None and False not in verdicts and verdicts[1] and verdicts[6]


def test_one_collection_gives_no_interval():
    index = pd.MultiIndex.from_product([["scipy"], ["a", "b"]], names=["collection", "site"])
    found = over_collections(pd.Series([1.0, 2.0], index))
    assert (found.mean, found.low, found.high) == (1.5, -np.inf, np.inf) and spans(found) == "+1.500, one collection"
