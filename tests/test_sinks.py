"""Sinks: set apart while streaming, equal to looking at all rows at once."""

from __future__ import annotations

from functools import reduce

import pytest
import torch

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import mean_cosine, participation_ratio
from isonum_core.geometry.sinks import SinkMoments


def cloud(rng, n=400, d=6):
    x = torch.from_numpy(rng.normal(size=(n, d)))
    x[::50] *= 40  # eight sinks
    x[7::100] *= 4  # four that are long and no sinks
    return x


def same(a: Moments, b: Moments):
    assert a.n == b.n
    torch.testing.assert_close(a.covariance, b.covariance, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(a.mean, b.mean, rtol=1e-10, atol=1e-12)
    assert float(mean_cosine(a)) == pytest.approx(float(mean_cosine(b)), rel=1e-9)


@pytest.mark.parametrize("cuts", [(), (100,), (50, 130, 390)])
def test_a_stream_is_split_as_the_whole_is(rng, cuts):
    x = cloud(rng)
    places = torch.arange(len(x))
    parts = [SinkMoments.of(*part) for part in zip(x.tensor_split(cuts), places.tensor_split(cuts), strict=True)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    found = whole.split()
    lengths = x.norm(dim=1)
    sinks = lengths > 10 * lengths.median()
    assert sorted(found.sinks.tolist()) == sinks.nonzero()[:, 0].tolist() and len(found.sinks) >= 6
    same(found.everything, Moments.of(x))
    same(found.without, Moments.of(x[~sinks]))
    assert found.longest == pytest.approx(float(lengths.max() / lengths.median()), rel=1e-6)


def test_one_sink_takes_the_participation_ratio_and_not_the_mean_cosine(rng):
    x = torch.from_numpy(rng.normal(size=(500, 16))) + 1
    x[0] *= 100
    found = SinkMoments.of(x).split()
    assert found.sinks.tolist() == [0]
    assert float(participation_ratio(found.everything)) < 1.1 < 10 < float(participation_ratio(found.without))
    assert float(mean_cosine(found.everything)) == pytest.approx(float(mean_cosine(found.without)), abs=0.01)


@pytest.mark.parametrize("size", [1, 3, 31])
def test_batches_too_small_for_a_median_hide_no_sink(rng, size):
    """A sink that comes alone is its own median: it waits for others before it is judged."""
    x = torch.from_numpy(rng.normal(size=(60, 6)))
    x[[0, 59]] *= 40
    found = reduce(SinkMoments.merge, map(SinkMoments.of, x.split(size), torch.arange(60).split(size)))
    assert sorted(found.split().sinks.tolist()) == [0, 59] and len(found.suspects) == 2
    same(found.split().without, Moments.of(x[1:59]))


def test_what_waits_does_not_grow_with_the_rows(rng):
    found = reduce(SinkMoments.merge, (SinkMoments.of(torch.from_numpy(rng.normal(size=(8, 6)))) for _ in range(50)))
    assert len(found.lengths) == 400 and len(found.suspects) < 8


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_sinks_do_not_depend_on_the_unit(rng, scale):
    x = cloud(rng)
    assert SinkMoments.of(x * scale).split().sinks.tolist() == SinkMoments.of(x).split().sinks.tolist()


def test_rows_of_zeros_are_no_measure_of_length(rng):
    """Beside a median of zero every row would be a sink."""
    x = torch.from_numpy(rng.normal(size=(90, 4)))
    x[:60] = 0
    found = SinkMoments.of(x).split()
    assert not len(found.sinks)
    torch.testing.assert_close(found.everything.covariance, Moments.of(x).covariance, rtol=1e-10, atol=1e-12)


def test_what_moments_refuse_is_refused_with_its_row(rng):
    for bad in (torch.nan, torch.inf):
        x = torch.from_numpy(rng.normal(size=(50, 4)))
        x[[3, 41]] = bad
        with pytest.raises(IsonumError, match="2 of 50 rows with NaN or infinity, the first at row 3"):
            SinkMoments.of(x)
    with pytest.raises(IsonumError, match="no rows are left"):
        SinkMoments.of(torch.ones(0, 3))


def test_no_sinks_and_nothing_else_are_answered(rng):
    x = torch.from_numpy(rng.normal(size=(30, 4)))
    found = SinkMoments.of(x).split()
    assert not len(found.sinks)
    same(found.everything, found.without)
