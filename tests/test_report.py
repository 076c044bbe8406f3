from __future__ import annotations

import pytest
import torch

from isonum_core.commands.report import COVARIANCE, POINTS, report
from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.neighbours import two_nn
from isonum_core.geometry.null import iso_score_null
from isonum_core.geometry.partition import partition_isotropy
from isonum_core.geometry.scores import effective_rank, iso_score, mean_cosine, participation_ratio


def _cloud(n, d):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1


def test_values_are_those_of_the_core():
    x = _cloud(60, 8)
    m, found = Moments.of(x), report(x)
    assert (found.n, found.d, found.absent) == (60, 8, {})
    assert [note.split()[0] for note in found.notes] == ["isoscore_unbiased:", "participation_ratio_unbiased:"]
    core = dict(isoscore=iso_score, participation_ratio=participation_ratio, effective_rank=effective_rank)
    for name, function in (core | dict(mean_cosine=mean_cosine)).items():
        assert found.values[name] == float(function(m))
    assert found.values["twonn"] == two_nn(x)
    assert found.values["partition_isotropy"] == partition_isotropy(x, radius=1.0).value
    assert found.null["isoscore"] == iso_score_null(60, 8)
    assert "effective_rank" not in found.null and set(found.null) < set(found.values)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_samples_give_what_is_defined_and_the_reason_for_the_rest(n):
    found = report(_cloud(n, 6))
    assert set(found.values) | set(found.absent) == set(COVARIANCE) | set(POINTS)
    assert not set(found.values) & set(found.absent)
    assert ("isoscore" in found.values) == (n >= 2)
    assert ("isoscore_unbiased" in found.values) <= (n >= 4)
    assert ("twonn" in found.values) <= (n >= 3)
    assert "partition_isotropy" in found.values
    if n == 1:
        assert "at least 2 samples, got n=1" in found.absent["participation_ratio"]
    if n == 3:
        assert "at least 4 samples, got n=3" in found.absent["isoscore_unbiased"]


def test_one_dimension_has_no_isoscore():
    found = report(_cloud(50, 1))
    assert "one direction" in found.absent["isoscore"].lower() and "isoscore" not in found.null
    assert found.values["participation_ratio"] == pytest.approx(1, abs=1e-12)


def test_a_constant_cloud_has_no_spectrum():
    found = report(torch.ones(10, 4, dtype=torch.float64))
    assert "equal rows" in found.absent["isoscore"]
    assert found.values["mean_cosine"] == pytest.approx(1, abs=1e-12)


def test_rows_of_zeros_are_noted():
    x = _cloud(30, 4)
    x[:5] = 0
    notes = report(x).notes
    assert any("mean_cosine: 5 of 30 rows have length zero" in note for note in notes)


def test_what_cannot_be_measured_at_all():
    x = _cloud(30, 4)
    x[7, 2] = torch.nan
    with pytest.raises(IsonumError, match="1 of 30 rows with NaN or infinity, the first at row 7"):
        report(x)
