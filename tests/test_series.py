from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from isonum_core.errors import IsonumError
from isonum_core.worlds.series import PER_YEAR, Series, interpolated, names, packaged

# Length, missing values, first, last and sum: facts of the published data, so that no release can change them unseen.
FACTS = {
    "sunspots": (309, 0, 5.0, 2.9, 15373.4),
    "co2": (2284, 59, 316.1, 371.5, 756816.5),
    "elnino": (732, 0, 23.11, 22.07, 16903.8),
    "nile": (100, 0, 1120.0, 740.0, 91935.0),
}


@pytest.mark.parametrize("name", FACTS)
def test_values_are_the_published_ones(name):
    series = packaged(name)
    length, missing, first, last, total = FACTS[name]
    assert (len(series.values), series.missing) == (length, missing)
    assert (series.values[0], series.values[-1]) == (first, last)
    assert np.nansum(series.values) == pytest.approx(total, rel=1e-12)  # one rounding per term, at most


@pytest.mark.parametrize("name", names())
def test_every_series_says_what_it_is(name):
    series = packaged(name)
    assert series.name == name
    assert series.values.dtype == np.float64 and not series.values.flags.writeable
    assert series.missing == np.isnan(series.values).sum() and not np.isinf(series.values).any()
    assert series.frequency in PER_YEAR
    for fact in (series.title, series.unit, series.source, series.licence, series.citation):
        assert len(fact) > 5 or fact == "ppmv"


def test_years_span_what_the_source_says():
    assert packaged("sunspots").years[[0, -1]].tolist() == [1700, 2008]
    # 732 months from January 1950 end with December 2010.
    assert packaged("elnino").years[-1] == pytest.approx(2010 + 11 / 12, abs=1e-9)
    # The last weekly sample was taken on 29 December 2001; a mean year drifts by at most two days.
    assert packaged("co2").years[-1] == pytest.approx(2001 + 362 / 365, abs=2 / 365)


def test_elnino_is_read_along_the_months():
    import statsmodels.datasets as datasets

    frame = datasets.elnino.load_pandas().data
    assert packaged("elnino").values[:14].tolist() == [*frame.loc[0].tolist()[1:], *frame.loc[1].tolist()[1:3]]


def test_interpolation_is_asked_for_and_says_so():
    raw = packaged("co2")
    filled = interpolated(raw)
    seen = ~np.isnan(raw.values)
    assert filled.missing == 0 and np.isfinite(filled.values).all()
    assert np.array_equal(filled.values[seen], raw.values[seen])
    assert "59 missing values interpolated" in filled.title
    assert raw.missing == 59, "the original is untouched"


def test_interpolation_is_a_straight_line():
    line = _series([0.0, np.nan, np.nan, 3.0, 10.0])
    assert interpolated(line).values.tolist() == [0, 1, 2, 3, 10]


@pytest.mark.parametrize("values", [[np.nan, 1.0, 2.0], [1.0, 2.0, np.nan]])
def test_interpolation_never_extrapolates(values):
    with pytest.raises(IsonumError, match="both ends of the series, got 'toy' with a missing first or last"):
        interpolated(_series(values))


def test_a_series_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        packaged("nile").name = "amazon"
    with pytest.raises(ValueError, match="read-only"):
        packaged("nile").values[0] = 0


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(IsonumError, match="got 'enso'. These exist: co2, elnino, nile, sunspots"):
        packaged("enso")


def _series(values) -> Series:
    values = np.array(values)
    facts = dict(title="toy", unit="1", frequency="yearly", start=0.0, source="", licence="", citation="")
    return Series(name="toy", values=values, missing=int(np.isnan(values).sum()), **facts)
