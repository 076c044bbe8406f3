"""The study of the head on a small language model: against the theory's own functions, and gauges."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from test_checkpoints_layers import small_study as small_study
from test_checkpoints_layers import speaker as speaker

from isonum_core.geometry.moments import Moments
from isonum_core.lab.expectation import judged
from isonum_core.lab.study import find_study
from isonum_core.studies import checkpoints_gauges as gauges
from isonum_core.studies import checkpoints_head as study
from isonum_core.studies.checkpoints_head import EXPECTED, State
from isonum_core.theory.loglinear import fisher_information
from isonum_core.theory.transfer import readout_spectrum, shift_susceptibility


@pytest.fixture
def small_head(small_study):
    for cached in (study.head, study.states_of):
        cached.cache_clear()
    yield study
    for cached in (study.head, study.states_of):
        cached.cache_clear()


@pytest.fixture
def rows(small_head):
    return pd.DataFrame([row | dict(side=c.side, seed=c.seed) for c in study.grid("quick") for row in study.run(c)])


def test_one_triangle_gives_what_the_theory_gives(small_head):
    w, states = study.head(), study.states_of("text")
    h = states[7]
    triangle, s, change = study.hidden_shift(w, h)
    assert float(s) == pytest.approx(float(shift_susceptibility(w, h)), rel=1e-8)
    f = fisher_information(w, h)
    torch.testing.assert_close(triangle.mT @ triangle, f)
    torch.testing.assert_close(f @ change, h.new_tensor((w.T @ (w @ h).softmax(0)).tolist()))
    cov = Moments.of(states).covariance
    spectrum = torch.linalg.svdvals(triangle @ torch.linalg.cholesky(cov)) ** 2
    torch.testing.assert_close(spectrum, readout_spectrum(w, h, cov))


def test_the_rows_keep_the_guarantee_and_aim_well(rows, small_head):
    assert len(rows) == 2 * 2 * len(study.AIMED)
    small = rows[rows.aimed == 1e-6]
    assert small.kl.to_numpy() == pytest.approx(1e-6, rel=0.05)  # the KL to second order, at a small change
    assert (rows.rms <= rows.bound).all()
    worst = small[small.direction == "worst"]
    assert (worst.rms / worst.bound > 0.9).all() and not (small.rms / small.bound > 0.9).all()
    state = State("text", 0)
    assert find_study("checkpoints_head").cells(state, study.run(state))


def test_states_are_those_before_the_head(small_head, speaker):
    ids = study.text_ids(speaker)
    with torch.no_grad():
        out = speaker.model(input_ids=torch.tensor(ids[1])[None])
    told = study.states_of("text")[study.TOKENS : 2 * study.TOKENS] @ study.head().T
    torch.testing.assert_close(told.float(), out.logits[0], rtol=1e-4, atol=1e-4)  # float32 against float64


def test_gauges_change_the_measures_and_no_forecast(small_head):
    found = {c.gauge: gauges.run(c)[0] for c in gauges.grid("cpu")}
    assert [*found] == [*gauges.GAUGES]
    table = pd.DataFrame(found).T
    assert (table.log_p_moved < 1e-7).all()  # float64, |a| = 10 rows
    assert table.logit_pr.to_numpy() == pytest.approx(table.logit_pr.iloc[0], rel=1e-3)
    assert table.share_rows["centred rows"] < 1e-9 and table.share_rows["moved rows"] > 0.9
    assert table.iso_states["round states"] == pytest.approx(1) and table.iso_states["flat states"] < 0.01
    assert table.log_i["moved rows"] < table.log_i["centred rows"] <= 0
    for name in ("centred rows", "moved rows"):  # a row gauge is not seen by states, nor by the spread of rows
        assert table.iso_states[name] == table.iso_states["as it is"]
        assert table.iso_rows[name] == pytest.approx(table.iso_rows["as it is"], rel=1e-3)
    config = gauges.Gauge("as it is")
    assert find_study("checkpoints_gauges").cells(config, gauges.run(config))


def made(**changes):
    rows = []
    for side, log10_s in (("text", 2.0), ("numbers", 5.0)):
        for seed in range(6):
            for direction, share in (("worst", 0.9), ("drawn", 0.1)):
                for aimed in study.AIMED:
                    row = dict(side=side, seed=seed, direction=direction, aimed=aimed, rms=share, bound=1.0)
                    rows.append(
                        row | dict(log10_s=log10_s + seed / 10, outside=0.5 - log10_s / 20 - seed / 100, fcov_pr=5.0)
                    )
    table = pd.DataFrame(rows)
    for name, change in changes.items():
        table[name] = change(table)
    return table


NAN = float("nan")


@pytest.mark.parametrize(
    ("which", "column", "yes", "no"),
    [
        (0, "rms", 1.0, 1.01),
        (1, "rms", 0.51, 0.5),
        (2, "log10_s", 1.1, 1.0),
        (5, "fcov_pr", 19.0, 20.0),
    ],
)
def test_a_judge_of_one_number(which, column, yes, no):
    for value, held in ((yes, True), (no, False), (NAN, None)):
        verdict = EXPECTED[which].judge(made(**{column: lambda t, value=value: value}))
        assert verdict.held is held and verdict.found


def test_the_judges_of_two_numbers():
    assert EXPECTED[3].judge(made()).held is True and EXPECTED[4].judge(made()).held is True
    assert EXPECTED[3].judge(made(log10_s=lambda t: -t.log10_s)).held is False
    assert EXPECTED[4].judge(made(outside=lambda t: -t.outside)).held is False
    for which in (3, 4):
        assert EXPECTED[which].judge(made(log10_s=lambda t: NAN)).held is None
    assert all(verdict.held for verdict in judged(EXPECTED, made()).verdicts)
