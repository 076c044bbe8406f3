"""Real sets of the paper, or open stand-ins: where each comes from, its licence, how to read it. None is shipped."""

from __future__ import annotations

import numpy as np

from isonum_core.errors import IsonumError
from isonum_core.worlds.fetch import Columns, Dataset
from isonum_core.worlds.readers import csv_rows, decompressed, numbers, r_columns, read_rdata

GITHUB = "https://raw.githubusercontent.com"
MONASH = (
    "Godahewa, Bergmeir, Webb, Hyndman and Montero-Manso (2021). Monash Time Series Forecasting Archive. NeurIPS D&B."
)
EXPSMOOTH = (
    "Hyndman, Koehler, Ord and Snyder (2008). Forecasting with Exponential Smoothing. Springer; R package expsmooth."
)


def _r_matrix(data: bytes) -> Columns:
    (table,) = read_rdata(data).values()
    return r_columns(table)


def _r_list(data: bytes) -> Columns:
    """A list or data frame of numeric columns of one length."""
    (table,) = read_rdata(data).values()
    columns = [column.values for column in table.values]
    return table.attributes["names"].values, np.stack(columns)


def _nn5_weekly(data: bytes) -> Columns:
    """Sums of seven days from the first; a week with a missing day is missing."""
    names, daily = _r_list(data)
    return names, daily[:, : daily.shape[1] // 7 * 7].reshape(len(daily), -1, 7).sum(axis=2)


def _vic_elec(data: bytes) -> Columns:
    (table,) = read_rdata(data).values()
    column = table.attributes["names"].values.index("Demand")
    return ["Victoria"], table.values[column].values[None]


def _exchange_rate(data: bytes) -> Columns:
    rows = csv_rows(decompressed(data))
    # The file has no header; the order is that in which its repository lists the countries.
    names = ["Australia", "Britain", "Canada", "Switzerland", "China", "Japan", "New Zealand", "Singapore"]
    return names, np.stack([numbers(row) for row in rows], axis=1)


def _ett(data: bytes) -> Columns:
    header, *rows = csv_rows(data)
    return header[1:], np.stack([numbers(row[1:]) for row in rows], axis=1)


def _covid(data: bytes) -> Columns:
    """The 212 days from 22 January 2020 that the Monash archive holds."""
    header, *rows = csv_rows(data)
    if header[4] != "1/22/20":
        raise IsonumError(f"the first date 1/22/20 was expected in column 5, got {header[4][:40]!r}.")
    return [f"{row[0]} | {row[1]}" for row in rows], np.stack([numbers(row[4 : 4 + 212]) for row in rows])


def _rain(data: bytes) -> Columns:
    header, *rows = csv_rows(data)
    place = header.index("precipitation")
    names = sorted({row[0] for row in rows})
    return names, np.stack([numbers([row[place] for row in rows if row[0] == name]) for name in names])


def _solar(data: bytes) -> Columns:
    """Daily sums of the hourly global horizontal irradiance."""
    header, *rows = csv_rows(data, skip=1)
    hourly = numbers([row[header.index("GHI (W/m^2)")] for row in rows])
    return ["Greensboro"], hourly.reshape(-1, 24).sum(axis=1)[None]


def _table() -> list[Dataset]:
    expsmooth = f"{GITHUB}/robjhyndman/expsmooth/c19f978877f85e0dc324bef3e26a6a7dedab1c38/data"
    return [
        Dataset(
            name="hospital",
            title="Monthly patient counts",
            unit="patients",
            frequency="monthly",
            season=12,
            start=2000.0,
            windows=(72, 12),
            url=f"{expsmooth}/hospital.rda",
            sha256="d0699e2c1bdcc308687876e1fbc8bebaf1db3189a509083a27976bb3293d4675",
            licence="GPL-3 (R package expsmooth); the Monash copy of the same numbers is CC BY 4.0",
            citation=f"{EXPSMOOTH} {MONASH}",
            identity="the numbers of Monash record 4656014: its published seasonal-naive MASE is reproduced",
            why="positive, seasonal, no gaps: the set that proves a loader and a metric right",
            read=_r_matrix,
        ),
        Dataset(
            name="carparts",
            title="Monthly sales of car parts",
            unit="parts",
            frequency="monthly",
            season=12,
            start=1998.0,
            windows=(36, 12),
            url=f"{expsmooth}/carparts.rda",
            sha256="81f1d1f1785278e376651ff447b6b0e0a2cf763373f01d61fe04fad0b7f20b0c",
            licence="GPL-3 (R package expsmooth); the Monash copy of the same numbers is CC BY 4.0",
            citation=f"{EXPSMOOTH} {MONASH}",
            identity="the numbers of Monash record 4656022: its published seasonal-naive MASE is reproduced",
            why="intermittent counts with missing ends: zeros are values here, gaps are not",
            read=_r_matrix,
        ),
        Dataset(
            name="jewelry",
            title="Weekly sales of costume jewelry",
            unit="items",
            frequency="weekly",
            season=52,
            start=1998 + 4 / 52,
            windows=(24, 8),
            url=f"{expsmooth}/jewelry.rda",
            sha256="b9ecc06d19e4346939e9d1342843c890e42d9ffeb63cb326e34b6fefbbe7a1f4",
            licence="GPL-3 (R package expsmooth)",
            citation=EXPSMOOTH,
            identity="an open stand-in for Dominick's weekly retail sales, and not these",
            why="weekly retail with promotions",
            read=_r_matrix,
        ),
        Dataset(
            name="nn5_weekly",
            title="Weekly cash withdrawals from UK machines",
            unit="as published",
            frequency="weekly",
            season=52,
            start=1996 + 77 / 366,
            windows=(24, 8),
            url=f"{GITHUB}/robjhyndman/tscompdata/668b3451c17de3fbae399c9c77362932b5f4637a/data/nn5.rda",
            sha256="cde9277d9819dcb7cd516a8264121a87b15f4b2b05c4ccf847544f2b846572d5",
            licence="GPL-3 (R package tscompdata)",
            citation=f"NN5 forecasting competition. {MONASH}",
            identity="weekly sums of the daily series, a week with a missing day missing; Monash fills these days",
            why="gaps that are spread out, where filling would have to guess",
            read=_nn5_weekly,
        ),
        Dataset(
            name="fred_md",
            title="US macroeconomic series, levels",
            unit="as in FRED-MD",
            frequency="monthly",
            season=12,
            start=1959.0,
            windows=(36, 12),
            url=f"{GITHUB}/cran/BVAR/aeb14b44b1ab037b3c00aa1d2b0b7035dead11dc/data/fred_md.rda",
            sha256="416475720549a1a8ff99ecbf315b22e13ebfc2da974a677774c5f607d523aa0d",
            licence="modified ODC-BY 1.0, Federal Reserve Bank of St. Louis",
            citation="McCracken and Ng (2016). FRED-MD. Journal of Business and Economic Statistics 34(4.",
            identity="118 permitted series of a later vintage, levels; Monash has 107 x 728",
            why="many scales and trends side by side",
            read=_r_list,
        ),
        Dataset(
            name="elec_victoria",
            title="Half-hourly electricity demand of Victoria",
            unit="MWh",
            frequency="half-hourly",
            season=48,
            start=2012.0,
            windows=(144, 48),
            url=f"{GITHUB}/tidyverts/tsibbledata/a9c811a5ca1748df885491a4bcebe024c9d48e08/data/vic_elec.rda",
            sha256="82e38b6532879f880fd19d911ccf37fcb896018100606e412f26f98a9a16f7f8",
            licence="GPL-3 (R package tsibbledata); data by AEMO",
            citation=f"Australian Energy Market Operator; R package tsibbledata. {MONASH}",
            identity="Victoria, where the paper took Queensland and South Australia",
            why="one long series with a daily and a weekly season",
            read=_vic_elec,
        ),
        Dataset(
            name="exchange_rate",
            title="Daily exchange rates",
            unit="US$",
            frequency="daily",
            season=5,
            start=None,
            windows=(36, 12),
            url=f"{GITHUB}/laiguokun/multivariate-time-series-data/7f402f185cc2435b5e66aed13a3b560ed142e023/"
            "exchange_rate/exchange_rate.txt.gz",
            sha256="6a4fbb561dcdee43f071a83badbeec9223a335552278348656738b556f1c2e9d",
            licence="none stated by the repository",
            citation="Lai, Chang, Yang and Liu (2018). LSTNet. SIGIR, arXiv 1703.07015.",
            identity="the paper's file, without dates; the published seasonal-naive MASE is reproduced to 4e-7",
            why="close to random walks: the last value is hard to beat",
            read=_exchange_rate,
        ),
        Dataset(
            name="ett_h1",
            title="Electricity transformer, hourly",
            unit="load, and degrees Celsius for OT",
            frequency="hourly",
            season=24,
            start=2016 + 182 / 366,
            windows=None,
            url=f"{GITHUB}/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small/ETTh1.csv",
            sha256="f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
            licence="CC BY-ND 4.0",
            citation="Zhou et al. (2021). Informer. AAAI.",
            identity="not in the paper; a common benchmark",
            why="long and complete, with several columns of one system",
            read=_ett,
        ),
        Dataset(
            name="covid_deaths",
            title="Cumulative COVID-19 deaths",
            unit="deaths",
            frequency="daily",
            season=1,
            start=2020 + 21 / 366,
            windows=(90, 30),
            url=f"{GITHUB}/InsightVanta/Global-COVID19-PowerBI/03315c87def21eb13bf90868a80eb1ca088ad41f/data/"
            "time_series_covid19_deaths_global.csv",
            sha256="641430f78d93a432687964e8fe83e0ff09f567673981375012a7bb4de792bf8a",
            licence="CC BY 4.0 (Johns Hopkins University CSSE)",
            citation=f"Dong, Du and Gardner (2020). Lancet Infectious Diseases 20(5). {MONASH}",
            identity="a copy of the final file, 286 rows with later revisions; Monash record 4656009 has 266",
            why="growth from zero: what a scale taken from the context cannot foresee",
            read=_covid,
        ),
        Dataset(
            name="rain",
            title="Daily precipitation",
            unit="mm",
            frequency="daily",
            season=1,
            start=2012.0,
            windows=(90, 30),
            url=f"{GITHUB}/vega/vega-datasets/cad85578e232704bb0453544742440038038c6a2/data/weather.csv",
            sha256="27219f1ca8dbd94c9b6f4b9f4f52ab2f1eb33dfdcf719cd9fc6481ed50b74549",
            licence="US Government work, public domain (NOAA)",
            citation="NOAA National Climatic Data Center; vega-datasets.",
            identity="two US cities, a stand-in for the rain of Monash's weather set (Australia)",
            why="zeros and bursts with hardly any memory",
            read=_rain,
        ),
        Dataset(
            name="solar",
            title="Daily solar irradiation",
            unit="Wh/m^2",
            frequency="daily",
            season=1,
            start=None,
            windows=(90, 30),
            url=f"{GITHUB}/pvlib/pvlib-python/6382338a7598a5b9d94473f47fcbc787b0ac6408/pvlib/data/723170TYA.CSV",
            sha256="1e96f84638ce98e6b29002bc45a27aa69bb29b0ed0368d3b52b7b1f81610c6c9",
            licence="US Government work (NREL, National Solar Radiation Data Base)",
            citation="Wilcox and Marion (2008). Users Manual for TMY3 Data Sets. NREL/TP-581-43156; pvlib.",
            identity="one US site, a stand-in for the sun in Monash's weather set; a year stitched of months",
            why="a yearly envelope under clouds",
            read=_solar,
        ),
    ]


DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _table()}
