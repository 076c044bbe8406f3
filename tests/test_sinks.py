"""Sinks: set apart while streaming, equal to looking at all rows at once."""

from __future__ import annotations

import pytest
import torch

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import mean_cosine, participation_ratio
from isonum_core.geometry.sinks import SUSPECT, SinkMoments


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


def test_no_sinks_and_nothing_else_are_answered(rng):
    x = torch.from_numpy(rng.normal(size=(30, 4)))
    found = SinkMoments.of(x).split()
    assert not len(found.sinks)
    same(found.everything, found.without)
    with pytest.raises(IsonumError, match="times=2"):
        SinkMoments.of(x).split(times=SUSPECT - 1)
