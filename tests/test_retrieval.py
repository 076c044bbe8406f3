"""Search under remedies: pooling against a loop, the maps against their formulas, the rules on planted clouds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.nn.functional import cosine_similarity

from isonum_core.geometry.moments import Moments
from isonum_core.studies import retrieval
from isonum_core.studies.remedies import remedies
from isonum_core.studies.retrieval import FLOORED, RANKS, Pooled, floored, row_ranks


def test_pooling_is_a_mean_over_each_text_with_and_without_its_sinks(rng):
    sizes, x = [3, 1, 5, 2], torch.from_numpy(rng.normal(size=(11, 4)))
    x[0] *= 1000  # the first token of the first text
    x[3] *= 1000  # the one token of the second
    x[6] *= 1000  # the third of the third
    places = torch.cat([torch.arange(n) for n in sizes])
    found = Pooled.of(x, places)
    for i, text in enumerate(x.split(sizes)):
        np.testing.assert_allclose(found.whole[i], text.mean(0), rtol=1e-12)
        short = text[text.norm(dim=1) < 100]
        np.testing.assert_allclose(found.rest[i], (short if len(short) else text).mean(0), rtol=1e-12)
    assert found.sinks.tolist() == [1, 1, 1, 0] and found.first.tolist() == [1, 1, 0, 0]


def test_pools_of_two_batches_are_those_of_both(rng):
    x, places = torch.from_numpy(rng.normal(size=(10, 3))), torch.tensor([1, 2, 5, 0, 1, 2, 0, 1, 2, 3])
    parts = Pooled.of(x[:6], places[:6]).merge(Pooled.of(x[6:], places[6:]))
    for one, both in zip(parts, Pooled.of(x, places), strict=True):
        assert torch.equal(one, both)


def test_floored_whitening_is_the_inverse_root_of_the_clipped_covariance(rng):
    x = torch.from_numpy(rng.normal(size=(60, 20)) * np.logspace(0, -4, 20))
    m = Moments.of(x)
    l, v = np.linalg.eigh(np.cov(x.T))
    root = v @ np.diag(np.maximum(l, 1e-4 * l.max()) ** -0.5) @ v.T  # as its README has it, which turns nothing
    ours, theirs = floored(m).of(x), (x - x.mean(0)) @ torch.from_numpy(root)
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, rtol=1e-8, atol=1e-8)
    few = floored(Moments.of(x[:5]))  # no direction is dropped, whatever the rows span
    assert few.of(x).shape == x.shape and few.of(x).isfinite().all()
    plain = Moments.of(x[:, :8])  # nothing to floor: whitening, in another unit
    whole = remedies(plain)["whitening"].of(x[:, :8]).norm(dim=1)
    np.testing.assert_allclose(floored(plain).of(x[:, :8]).norm(dim=1), whole / (plain.trace / 8).sqrt(), rtol=1e-8)


def test_ranks_are_spearmans_correlation(rng):
    x = torch.from_numpy(rng.normal(size=(2, 30)).round(1))  # with ties
    one, other = row_ranks(x)
    assert cosine_similarity(one, other, dim=0).item() == pytest.approx(spearmanr(*x.numpy()).statistic, abs=1e-12)


def _sides(rng, cone, n=600, d=24):
    """Queries and documents that share a round meaning; with a cone, also directions that mean nothing."""
    meaning, sides = rng.normal(size=(n, d)), []
    for _ in range(2):
        x = meaning + 0.5 * rng.normal(size=(n, d))
        if cone:
            x[:, :3] = 15 * rng.normal(size=(n, 3)) + 15
        sides.append(torch.from_numpy(x))
    return sides


@pytest.mark.parametrize("cone", [True, False])
def test_remedies_are_fitted_on_one_half_and_judged_on_the_other(rng, cone):
    q, documents = _sides(rng, cone)
    rows = {row["remedy"]: row for row in retrieval._judged(q, documents)}
    assert list(rows)[0] == "nothing" and rows["nothing"]["gain"] == rows["nothing"]["half"] == 0
    assert {name for name, row in rows.items() if row["fit_loss"] is None} == {"nothing", FLOORED, RANKS}
    if cone:
        assert rows["whitening"]["gain"] > 0.3 and rows["whitening"]["fit_loss"] < -0.3
        assert rows["without the top 1"]["ndcg"] < 0.5 < rows["without the top 10"]["ndcg"]  # three mean nothing
    else:
        assert rows["nothing"]["ndcg"] > 0.9 and abs(rows["whitening"]["gain"]) < 0.05
    for row in rows.values():
        assert row["ndcg"] - rows["nothing"]["ndcg"] == pytest.approx(row["gain"], abs=1e-9)
        assert row["recall"] <= row["ndcg"]
    # the judged half has no part in any map: with other queries there, the map does the same to a document
    q[300:] = q[300:].flip(0)
    again = {row["remedy"]: row for row in retrieval._judged(q, documents)}
    assert all(
        again[name]["iso_score"] == row["iso_score"] and again[name]["ndcg"] < row["ndcg"] for name, row in rows.items()
    )


def test_the_share_of_dimensions_holds_95_percent(rng):
    x = torch.from_numpy(rng.normal(size=(400, 20)))
    x[:, 2:] *= 1e-3
    (row, *_) = retrieval._judged(x, x)
    assert row["dimensions"] == 2 / 20 and 0.4 < row["top_dimension"] < 0.6 and abs(row["mean_cosine"]) < 0.1
