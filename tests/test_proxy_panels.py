"""Choosing a site by a number: the excess at its lowest and highest place, on cells whose order is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_istar_again import made as made_istar

from isonum_core.studies.proxy_panels import NINE, PLACES, along_rank, excess, istar_acted


def made(rng, worlds=3, sites=5):
    """IsoScore orders the sites as the error does, RankMe against it, TwoNN is missing, the rest is noise."""
    rows = []
    for kind in ("series", "text"):
        for world in range(worlds):
            for network in ("a", "b"):
                for target in ("x", "y", "z"):
                    for site in range(sites):
                        facts = {name: rng.normal() for name in (*NINE, "loo")}
                        log = 0.1 * site - 1 + 0.001 * rng.normal()
                        facts |= dict(iso_score=site, rank_me=-site, two_nn=np.nan, alpha=1.0, loo=log)
                        key = dict(network=network, trained=True, world=f"{kind}{world}", target=target, kind=kind)
                        rows.append(key | facts | dict(site=site, depth=site, log_error=log, error_tuned=np.exp(log)))
    return pd.DataFrame(rows)


def test_the_excess_rises_along_what_orders_the_error_and_falls_along_its_reverse(rng):
    found = along_rank(made(rng), rng, draws=20).value.loc["series"]
    np.testing.assert_allclose(found["iso_score"], 0.4 * np.array(PLACES), atol=0.01)
    np.testing.assert_allclose(found["rank_me"], 0.4 * (1 - np.array(PLACES)), atol=0.01)
    assert found["loo"].iloc[0] == 0  # the best site is where the error left out is least, here by construction
    assert 0.1 < found["self_cluster"].mean() < 0.3
    assert found["random"].to_numpy() == pytest.approx(0.2, abs=0.01) and found["depth", 1.0] > 0.39


def test_a_gap_or_a_constant_has_no_curve_and_cells_need_skill_and_sites(rng):
    table = made(rng)
    assert not {"two_nn", "alpha"} & set(excess(table).number)
    assert excess(table.assign(error_tuned=1.0)).empty
    assert excess(table[table.site < 3]).empty
    few = excess(table[table.kind == "text"])
    assert set(few.kind) == {"text"} and few[PLACES[0]].min() == pytest.approx(0)


def test_cells_of_istar_have_the_mean_place_and_slope_of_their_seeds(rng):
    table = made_istar(rng)
    table = table.assign(place=table.seed / 4, slope=-table.seed)
    found = istar_acted(table).set_index(["target", "ratio"])
    assert len(found) == 9 * 2 and set(found.place) == {1.5 / 4} and set(found.slope) == {-1.5}
    assert found.white["b0-4", 4.0] > 0 > found.white["far", 16.0] and found.z["b0-4", 4.0] > 2
