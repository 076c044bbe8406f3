"""Remedies as maps, against scikit-learn; search by cosine, against a loop; intervals, against simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import ndcg_score
from sklearn.metrics.pairwise import cosine_similarity

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score
from isonum_core.studies.remedies import advised, found_by_cosine, log_ratio, remedies, reshaped, searched
from isonum_core.theory.readout import aligned, leave_one_out, ridge


def _cloud(rng, n=300, d=24, mean=1.0):
    return torch.from_numpy(rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -0.5 @ rng.normal(size=(d, d)) + mean)


def test_remedies_have_the_spectra_that_are_said(rng):
    h = _cloud(rng)
    m = Moments.of(h)
    said = reshaped(m.eigenvalues)
    assert set(said) == set(remedies(m)) and next(iter(said)) == "nothing"
    for name, remedy in remedies(m).items():
        after = Moments.of(remedy.of(h))
        np.testing.assert_allclose(after.eigenvalues, said[name].sort(descending=True).values, rtol=1e-8, atol=1e-12)
        assert name == "nothing" or after.mean.abs().max() < 1e-10
        if not name.startswith("without"):  # the others keep the total variance, so one penalty means one thing
            assert after.trace.item() == pytest.approx(m.trace.item(), rel=1e-10)
    assert iso_score(Moments.of(remedies(m)["whitening"].of(h))).item() == pytest.approx(1, abs=1e-9)
    assert iso_score(Moments.of(remedies(m)["sharpening"].of(h))) < iso_score(m)


def test_whitening_is_scikit_learns(rng):
    h = _cloud(rng)
    ours, theirs = remedies(Moments.of(h))["whitening"].of(h), PCA(whiten=True).fit_transform(h)
    scale = Moments.of(h).trace.item() / h.shape[1]
    np.testing.assert_allclose(ours.abs(), np.abs(theirs) * scale**0.5, rtol=1e-6, atol=1e-8)  # directions have no sign


def test_a_map_is_fitted_on_its_rows_alone_and_leaves_out_what_they_do_not_span(rng):
    few, more = _cloud(rng, 10), _cloud(rng, 50)
    found = remedies(Moments.of(few))
    assert found["whitening"].of(more).shape == (50, 9)
    assert torch.equal(found["nothing"].of(more), more)
    np.testing.assert_allclose(found["centring"].of(more), more - few.mean(0), atol=1e-12)
    with pytest.raises(IsonumError, match="differ"):
        remedies(Moments.of(torch.ones(5, 3, dtype=torch.float64)))


def test_search_is_a_sort_by_cosine(rng):
    q, documents = _cloud(rng, 30), _cloud(rng, 40)
    relevant = torch.from_numpy(rng.random((30, 40)) < 0.1)
    relevant[:, 3] = True
    scores = cosine_similarity(q, documents)
    found = found_by_cosine(q, documents, relevant)
    for i in range(30):
        assert found[i, 0].item() == pytest.approx(ndcg_score(relevant[i : i + 1], scores[i : i + 1], k=10), abs=1e-9)
        assert found[i, 1].item() == float(relevant[i, scores[i].argmax()])
    assert found_by_cosine(q, q, torch.eye(30, dtype=torch.bool)).min() == 1
    with pytest.raises(IsonumError, match="a query without"):
        found_by_cosine(q, documents, torch.zeros(30, 40, dtype=torch.bool))


def test_a_ratio_of_errors_with_its_interval(rng):
    a = torch.from_numpy(rng.random(500) + 0.1)
    value, low, high = log_ratio(2 * a, a)
    assert value == pytest.approx(np.log(2)) and high - low < 1e-12  # paired: no doubt about a common factor
    value, low, high = log_ratio(a, a.flip(0))
    assert low < value < high and value == pytest.approx(0, abs=1e-12)
    assert [-x for x in log_ratio(a.flip(0), a)] == pytest.approx([value, high, low], abs=1e-12)
    wider = log_ratio(a, a.flip(0), z=3.0)
    assert wider[2] - wider[0] == pytest.approx((high - value) * 3 / 1.96)


def test_intervals_hold_what_more_draws_find(rng):
    """Whitening against nothing under one penalty, learned from 80 rows: 95 % intervals over 200 draws of all of them.

    Plain errors of rows are too sure, as all of them change with the rows that taught them.
    """
    d, readout, beta = 12, ridge(0.3), torch.from_numpy(rng.normal(size=(12, 1)))
    root = torch.arange(1, d + 1, dtype=torch.float64) ** -0.5
    flat = root.square().mean().sqrt() / root

    def draw():
        h = torch.from_numpy(rng.normal(size=(80, d))) * root
        y = h @ beta + torch.from_numpy(rng.normal(size=(80, 1)))
        clouds = [aligned(x, y) for x in (h * flat, h)]
        return [[leave_one_out(a, readout, spread=spread) for a in clouds] for spread in (True, False)]

    truth = torch.stack([torch.stack(draw()[1]).mean(1) for _ in range(800)]).mean(0)
    truth = (truth[0] / truth[1]).log().item()
    draws = [draw() for _ in range(200)]
    held, plain = (np.mean([low < truth < high for _, low, high in (log_ratio(*d[i]) for d in draws)]) for i in (0, 1))
    assert 0.9 < held < 1 and plain < held  # three standard errors of 200 draws below
    values = [log_ratio(*d[0])[0] for d in draws]
    assert values == pytest.approx([log_ratio(*d[1])[0] for d in draws], abs=1e-12)  # the estimate is the same


@pytest.mark.parametrize(
    "effects, answer",
    [
        ({"a": (-0.1, -0.2, -0.01), "b": (-0.3, -0.7, 0.1)}, "a"),  # of the sure ones the largest
        ({"a": (-0.1, -0.2, -0.01), "b": (-0.3, -0.5, -0.1, None)}, "b"),
        ({"a": (-0.004, -0.0041, -0.0039), "b": (0.2, 0.1, 0.3)}, "nothing"),  # sure, and too small
        ({"a": (0.1, -0.019, 0.3)}, "nothing"),
        ({"a": (0.1, -0.021, 0.3), "b": (0.1, 0.0, 0.2)}, None),
    ],
)
def test_only_a_sure_gain_is_advised(effects, answer):
    assert advised(effects, "nDCG@10") == answer


def test_half_of_the_queries_judge_what_the_others_fitted(rng):
    q, documents, relevant = _cloud(rng, 60), _cloud(rng, 80), torch.zeros(60, 80, dtype=torch.bool)
    relevant[range(60), range(60)] = True
    found = searched(q, documents, relevant, None, np.random.default_rng(0))
    judged = found.judged
    others = [i for i in range(80) if i not in judged.tolist()]
    fit = torch.cat([q[[i for i in others if i < 60]], documents[others]])
    assert len(judged) == 30
    torch.testing.assert_close(found.maps["centring"].shift, fit.mean(0))
    own = {n: found_by_cosine(map.of(q[judged]), map.of(documents), relevant[judged]) for n, map in found.maps.items()}
    assert all(torch.equal(own[name], found.scored[name]) for name in own) and set(found.effects) == {*own} - {
        "nothing"
    }
    value, low, high = found.effects["whitening"]
    apart = (own["nothing"] - own["whitening"])[:, 0]
    assert value == pytest.approx(apart.mean().item()) and high - value == pytest.approx(value - low)
    assert 2.6 < (high - value) / (apart.std().item() / 30**0.5) < 2.8  # seven intervals together
    given = searched(q, documents, relevant, documents, np.random.default_rng(0))
    assert len(given.judged) == 60
    torch.testing.assert_close(given.maps["centring"].shift, documents.mean(0))
