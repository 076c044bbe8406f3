"""What a cell says is what a sentence can print."""

from __future__ import annotations

import sys

import numpy as np
import torch
from IPython.utils.capture import capture_output

from isonum_core.prose import SPOKEN, interval, say, spoken, tabled
from isonum_core.studies.learnt import EVERY
from isonum_core.worlds.series import series_names


def test_what_is_said_is_glued_as_numbers_or_words_and_not_shown(shell):
    with capture_output() as shown:
        say(share=0.5, name="drift", three=np.int64(3), third=np.float32(0.25), one=torch.tensor([1 / 3]))
    assert {o.metadata["scrapbook"]["name"]: o.data for o in shown.outputs} == {
        name: {"application/papermill.record/text/plain": value}
        for name, value in {
            "share": "0.5",
            "name": "'drift'",
            "three": "3",
            "third": "0.25",
            "one": "0.3333333432674408",  # float32, with nothing rounded on the way
        }.items()
    }


def test_an_interval_keeps_its_signs():
    assert interval(0.286, -0.12, 0.591) == "+0.29 [-0.12, +0.59]"
    assert interval(-1.0, -1.25, 0.0, digits=1) == "-1.0 [-1.2, +0.0]"


def test_where_there_is_no_book_what_is_said_is_printed(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "myst_nb", None)
    say(the_share=1 / 3, name="drift", n=8)
    assert capsys.readouterr().out == "the share: 0.333333\nname: drift\nn: 8\n"


def test_a_table_is_one_of_bars_and_an_empty_cell_shows_a_dash():
    assert (
        tabled(["$n$", "score"], [(1, "+0.5"), (2, ""), (0, " ")]).data
        == "| $n$ | score |\n| --- | --- |\n| 1 | +0.5 |\n| 2 | – |\n| 0 | – |"
    )


def test_in_a_wide_table_an_interval_stands_below_its_estimate():
    row = ["a", "+0.29 [-0.12, +0.59]*", "see [1]"]
    assert "+0.29 [-0.12" in tabled(list("abc"), [row]).data
    wide = tabled(list("abcde"), [[*row, 1, 2]]).data
    assert "+0.29<br>[-0.12, +0.59]*" in wide and "see [1]" in wide


def test_names_are_written_as_people_say_them():
    assert spoken("gp_mixture −0.35 at block.28; stochastic_volatility, ar1") == (
        "mixture of Gaussian processes −0.35 at block 29; stochastic volatility, AR(1)"
    )
    kept = "`block.0` of `gp_mixture`, studies/pasts.py, $W_th$ and \\lambda_k, the mean of two blocks, x.garch"
    assert spoken(kept) == kept


def test_every_family_and_set_has_a_name_of_its_own_without_a_trace_of_code():
    names = [*EVERY, *series_names()]
    words = [spoken(name) for name in names]
    assert len(set(words)) == len(names) and not [word for word in words if "_" in word]
    assert not [word for word in SPOKEN.values() if spoken(word) != word]  # said once is said
