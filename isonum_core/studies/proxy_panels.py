"""What the figures of *When* draw: the cost of choosing a site by a number, and the cells of I-STAR on the map."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isonum_core.statistics.intervals import crossed_intervals
from isonum_core.studies import istar_verdicts
from isonum_core.studies.istar_again import ON_MAP
from isonum_core.studies.proxy_verdicts import CELL, FACTORS, LEAST, SKILL

NINE = {
    "iso_score": "IsoScore",
    "mean_cosine": "mean cosine",
    "partition": "partition isotropy",
    "two_nn": "TwoNN",
    "rank_me": "RankMe",
    "effective_rank": "matrix entropy",
    "alpha": "α-ReQ",
    "self_cluster": "Self-Cluster",
    "top_share": "top-dimension share",
}
PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)


def excess(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a cell of `proxy_verdicts` with skill and number: log error over that of the cell's best site at PLACES.

    A place is the rank of a site by the number, 0 where it is lowest and 1 where it is highest, linear between sites.
    A cell with a gap in a number, or in which the number does not vary, has no row of it. Beside NINE: leaving one out
    ("loo"), the place of the site ("depth"), and a site drawn at "random".
    """
    found = []
    for key, part in rows.groupby([*CELL, "kind"]):
        if len(part) < LEAST or not part.error_tuned.min() < SKILL:
            continue
        over = part.log_error - part.log_error.min()
        found.append((*key, "random", *[over.mean()] * len(PLACES)))
        for number in (*NINE, "depth", "loo"):
            if part[number].notna().all() and part[number].nunique() > 1:
                ordered = over.to_numpy()[np.argsort(part[number].to_numpy(), kind="stable")]
                at = np.interp(PLACES, np.linspace(0, 1, len(part)), ordered)
                found.append((*key, number, *at))
    return pd.DataFrame(found, columns=[*CELL, "kind", "number", *PLACES])


def along_rank(rows: pd.DataFrame, rng: np.random.Generator, draws: int = 300) -> pd.DataFrame:
    """Means of `excess` over cells by (kind, number, place), with intervals crossed over networks, worlds, targets."""
    each = excess(rows)
    parts = {}
    for key, own in each.groupby(["kind", "number"]):
        parts[key] = crossed_intervals(
            own[[*FACTORS, *PLACES]], lambda t: {p: t[p].mean() for p in PLACES}, rng, FACTORS, draws
        )
    return pd.concat(parts, names=["kind", "number", "place"])


def istar_acted(again: pd.DataFrame, d: int = 32) -> pd.DataFrame:
    """The cells of study `istar_again` at weight 0.3 after the last step, in the form of `acted_on`.

    place and slope are means over seeds; z is the mean effect over its standard error.
    """
    found = istar_verdicts.effects(again)
    found = found[(found.weight == ON_MAP) & (found.step == found.step.max())]
    means = found.groupby(istar_verdicts.CELL)[["place", "slope"]].mean()
    cells = istar_verdicts.cells(found).join(means, on=istar_verdicts.CELL)
    z = cells.effect / cells.sd * found.groupby(istar_verdicts.CELL).seed.nunique().to_numpy() ** 0.5
    return cells.assign(ratio=cells.n / d, white=cells.effect, z=z)
