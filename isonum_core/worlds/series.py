"""Real series with what is needed to read and to cite them: unit, frequency, licence, source, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float

from isonum_core.errors import IsonumError

# Steps per year of 365.2425 days, the mean Gregorian year.
PER_YEAR = {
    "half-hourly": 365.2425 * 48,
    "hourly": 365.2425 * 24,
    "daily": 365.2425,
    "weekly": 365.2425 / 7,
    "monthly": 12.0,
    "quarterly": 4.0,
    "yearly": 1.0,
}


@dataclass(frozen=True)
class Series:
    """One regularly spaced series. `values` is float64 and read-only; a missing value is NaN and counted in `missing`.

    `start` is the decimal year of the first value, `frequency` a key of PER_YEAR.
    """

    name: str
    title: str
    values: Float[np.ndarray, "T"]
    unit: str
    frequency: str
    start: float
    missing: int
    source: str
    licence: str
    citation: str

    @property
    def years(self) -> Float[np.ndarray, "T"]:
        """Decimal year of each value, for a time axis: evenly spaced, so good to a day or two."""
        return self.start + np.arange(len(self.values)) / PER_YEAR[self.frequency]


def interpolated(series: Series) -> Series:
    """The same series with each missing value on the straight line between its neighbours; the title says how many.

    Raises IsonumError when the first or last value is missing: a line needs two ends, and we do not extrapolate.
    """
    absent = np.isnan(series.values)
    if absent[0] or absent[-1]:
        raise IsonumError(
            f"interpolation needs both ends of the series, got {series.name!r} with a missing first or last value. "
            "Cut the series to its first and last observed value."
        )
    steps = np.arange(len(absent))
    values = series.values.copy()
    values[absent] = np.interp(steps[absent], steps[~absent], values[~absent])
    title = f"{series.title}, {series.missing} missing values interpolated" if series.missing else series.title
    return replace(series, title=title, values=_frozen(values), missing=0)


def packaged(name: str) -> Series:
    """A series that travels with statsmodels: `names()` lists them. No download.

    Values are as published there: nothing is filled, scaled or cut. Raises IsonumError for an unknown name.
    """
    if name not in _PACKAGED:
        raise IsonumError(f"a packaged series was expected, got {name!r}. These exist: {', '.join(names())}.")
    return _PACKAGED[name]()


def names() -> list[str]:
    """Names that `packaged` knows, in alphabetical order."""
    return sorted(_PACKAGED)


def _frozen(values: np.ndarray) -> np.ndarray:
    values = np.array(values, dtype=np.float64)
    values.setflags(write=False)
    return values


def _dataset(module: str):
    # Imported here: statsmodels takes a second, and most users of this file want one series.
    import statsmodels.datasets as datasets

    return getattr(datasets, module)


def _series(module: str, read: Callable[[pd.DataFrame], np.ndarray], **facts) -> Callable[[], Series]:
    def load() -> Series:
        values = _frozen(read(_dataset(module).load_pandas().data))
        missing = int(np.isnan(values).sum())
        licence = "public domain, as statsmodels states"
        source = f"statsmodels.datasets.{module}"
        return Series(values=values, missing=missing, licence=licence, source=source, **facts)

    return load


def _macro(name: str, column: str, title: str, unit: str) -> Callable[[], Series]:
    return _series(
        "macrodata",
        lambda frame: frame[column].to_numpy(),
        name=name,
        title=title,
        unit=unit,
        frequency="quarterly",
        start=1959.0,
        citation="Federal Reserve Bank of St. Louis (FRED) and Bureau of Labor Statistics, compiled by S. Seabold.",
    )


_PACKAGED: dict[str, Callable[[], Series]] = {
    "sunspots": _series(
        "sunspots",
        lambda frame: frame["SUNACTIVITY"].to_numpy(),
        name="sunspots",
        title="Sunspot number",
        unit="sunspot number",
        frequency="yearly",
        start=1700.0,
        citation="Yearly mean sunspot numbers 1700-2008, National Geophysical Data Center, NOAA.",
    ),
    "co2": _series(
        "co2",
        lambda frame: frame["co2"].to_numpy(),
        name="co2",
        title="Atmospheric CO2, Mauna Loa",
        unit="ppmv",
        frequency="weekly",
        start=1958.0 + 87 / 365,  # Saturday 29 March 1958
        citation=(
            "Keeling, C.D. and T.P. Whorf (2004). Atmospheric CO2 concentrations derived from flask air samples at "
            "sites in the SIO network. Carbon Dioxide Information Analysis Center, Oak Ridge National Laboratory."
        ),
    ),
    "elnino": _series(
        "elnino",
        lambda frame: frame.drop(columns="YEAR").to_numpy().ravel(),  # one row a year, twelve months across
        name="elnino",
        title="Sea surface temperature, Nino 1+2",
        unit="degrees Celsius",
        frequency="monthly",
        start=1950.0,
        citation="ERSST.V3B, region Nino 1+2, 1950-2010, Climate Prediction Center, National Weather Service, NOAA.",
    ),
    "nile": _series(
        "nile",
        lambda frame: frame["volume"].to_numpy(),
        name="nile",
        title="Nile flow at Aswan",
        unit="10^8 m^3 a year",
        frequency="yearly",
        start=1871.0,
        citation="Cobb, G.W. (1978). The problem of the Nile: conditional solution to a changepoint problem. "
        "Biometrika 65(2), 243-251.",
    ),
    "us_gdp": _macro("us_gdp", "realgdp", "US real gross domestic product", "10^9 US$ of 2005, annual rate"),
    "us_unemployment": _macro("us_unemployment", "unemp", "US unemployment rate", "per cent"),
    "us_inflation": _macro("us_inflation", "infl", "US inflation", "per cent a year"),
}
