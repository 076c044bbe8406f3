"""Lengths of training: the two measures against loops, relations that were put in, and the same rows as `proxy`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isonum_core.lab.expectation import judged
from isonum_core.lab.study import RESULTS, find_study
from isonum_core.studies import proxy, proxy_lengths
from isonum_core.studies.proxy_lengths import (
    EXPECTED,
    LENGTHS,
    NUMBERS,
    Length,
    along_both,
    correlated,
)
from isonum_core.studies.proxy_readouts import FREE, LABELLED


def made(rng, iso=0.0, loo=1.0, steps=0.3, h_score=1.0):
    """A table of the form of the study: log errors fall with steps by so much a length, and numbers go with them."""
    rows = []
    for world in ("a", "b", "c"):
        for network in ("t5", "patchtst"):
            for target in ("next", "mean", "range"):
                for depth in range(5):
                    for i, length in enumerate(LENGTHS):
                        log = 0.1 * rng.normal() - steps * i
                        facts = {name: rng.normal() for name in NUMBERS} | dict(steps=length, loo=loo * log)
                        facts |= dict(iso_score=iso * log + 0.01 * rng.normal(), h_score=-h_score * log)
                        facts["h_score"] += 0.01 * rng.normal()
                        key = dict(world=world, network=network, target=target, site=f"s{depth}", depth=depth)
                        rows.append(key | facts | dict(error=0.5 * np.exp(log)))
    return pd.DataFrame(rows)


def test_relations_that_were_put_in_are_found_and_judges_say_both(rng):
    table = made(rng, steps=0.0)
    assert correlated(table, "steps").loo.min() > 0.99 and len(correlated(table, "steps")) == 3 * 2 * 3 * 5
    assert len(correlated(table, "depth")) == 3 * 2 * 3 * len(LENGTHS)
    unskilled = table.assign(error=np.where(table.network == "t5", 0.95, table.error))
    assert set(correlated(unskilled, "steps").network) == {"patchtst"}
    yes = judged(EXPECTED, along_both(table, draws=30))
    assert [v.held for v in yes.verdicts] == [True] * 6 and yes.verdicts[0].found == "ahead: none; 10 compared"
    no = made(rng, iso=1.0, loo=0.0, steps=0.05, h_score=0.0)
    no = no.assign(loo=rng.normal(size=len(no)), self_cluster=no.iso_score)
    verdicts = judged(EXPECTED, along_both(no, draws=30)).verdicts
    assert [v.held for v in verdicts] == [False] * 6 and "iso_score" in verdicts[0].found


def test_a_run_is_rows_of_the_study(monkeypatch):
    monkeypatch.setattr(proxy_lengths, "AMOUNTS", dict(net=(14, 40)))
    monkeypatch.setattr(proxy_lengths, "TESTED", 20)
    config = Length("garch", "patchtst", 1, 0)
    rows = proxy_lengths.run(config)
    assert {row["target"] for row in rows} == {*proxy.NATURAL} and len(rows) == 4 * 5
    cells = find_study("proxy_lengths").cells(config, rows)
    assert {*NUMBERS, "error"} <= set(cells[0])
    assert len(proxy_lengths.grid("cpu")) == 40 and len(proxy_lengths.grid("gpu")) == 120
    assert proxy_lengths.grid("quick")[0].steps == 0


def test_the_ends_are_the_rows_of_proxy():
    """At 0 and 300 steps both tables read the same nets: what stands in both is equal to the digits that are kept."""
    one, two = (pd.read_csv(RESULTS / f"{name}.cpu.csv") for name in ("proxy_lengths", "proxy"))
    two["steps"] = proxy.STEPS * two.trained
    both = one.merge(two, on=["world", "network", "seed", "steps", "site", "target"], suffixes=("", "_there"))
    assert len(both) == len(one) / 2
    np.testing.assert_allclose(both.error, both.error_tuned, rtol=2e-3)
    for name in (*FREE, *LABELLED):
        # LogME there was made when it still counted n rows and not n - 1
        atol = 2e-3 if name == "log_me" else 1e-3
        np.testing.assert_allclose(both[name], both[f"{name}_there"], rtol=2e-3, atol=atol, err_msg=name)
