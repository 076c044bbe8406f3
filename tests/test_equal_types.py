from __future__ import annotations

import numpy as np
import pytest
import torch

from isonum_core.errors import IsonumError
from isonum_core.geometry.null import iso_score_null
from isonum_core.networks.capture import Sample
from isonum_core.studies.equal_types import equal_types


def _sample(n=4000, kinds=400, d=12, seed=0, decay=0.0, noise=0.0):
    """States that are a Gaussian point per type, plus noise per occurrence, at one site."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, d + 1) ** -decay
    points = rng.normal(size=(kinds, d)) * scale
    ids = rng.integers(kinds, size=n)
    states = torch.from_numpy(points[ids] + noise * rng.normal(size=(n, d)))
    return Sample(torch.from_numpy(ids), {"embed": states})


def _run(sample, types=20, draws=40, seed=1, among=range(400)):
    return equal_types(sample, types, draws, np.random.default_rng(seed), among).iloc[0]


def test_plain_score_is_the_mean_over_draws_of_the_textbook_formula():
    sample = _sample()
    rng, scores = np.random.default_rng(1), []
    for _ in range(3):
        x = sample.states["embed"][sample.one_per_type(20, rng, range(400))].numpy()
        l = np.linalg.eigvalsh(np.cov(x.T))
        scores.append((l.sum() ** 2 / (l**2).sum() - 1) / 11)
    found = _run(sample, draws=3)
    assert found.iso_score == pytest.approx(np.mean(scores), rel=1e-10)  # two float64 computations
    assert (found.n, found.d, found.null) == (20, 12, iso_score_null(20, 12))


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_the_unbiased_score_does_not_depend_on_how_many_types_are_drawn(decay):
    sample = _sample(decay=decay)
    x = sample.states["embed"].numpy()
    l = np.linalg.eigvalsh(np.cov(np.unique(x, axis=0).T))
    population = (l.sum() ** 2 / (l**2).sum() - 1) / 11
    for types, draws in ((6, 300), (20, 90), (80, 22)):
        found = _run(sample, types=types, draws=draws)
        # Draws without replacement from 400 types, and a few hundred draws of 6 or as many states: within a tenth.
        assert found.unbiased == pytest.approx(population, rel=0.1)
    assert _run(sample, types=6).iso_score < 0.8 * population, "the plain score does"


def test_intervals_hold_the_estimate_and_shrink_with_draws():
    few, many = (_run(_sample(), draws=draws) for draws in (10, 160))
    for found in (few, many):
        assert found.iso_score_low < found.iso_score < found.iso_score_high
        assert found.unbiased_low < found.unbiased < found.unbiased_high
    assert many.unbiased_high - many.unbiased_low < 0.6 * (few.unbiased_high - few.unbiased_low)


def test_one_generator_gives_one_table():
    assert _run(_sample()).equals(_run(_sample())) and not _run(_sample()).equals(_run(_sample(), seed=2))


def test_only_the_named_types_are_drawn():
    sample = _sample()
    sample.states["embed"][sample.ids >= 30] = torch.nan  # would be refused
    assert np.isfinite(_run(sample, among=range(30)).unbiased)


@pytest.mark.parametrize(("types", "draws"), [(3, 10), (10, 1)])
def test_too_few(types, draws):
    with pytest.raises(IsonumError, match=f"at least 4 types and 2 draws are needed, got {types} and {draws}"):
        _run(_sample(), types, draws)
