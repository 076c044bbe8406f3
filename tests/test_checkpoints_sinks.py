"""Layer profiles and the judges of the layer study, each yes, no and undecided, on a made-up table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isonum_core.studies.checkpoints_sinks import EXPECTED, layer_profile, single, text_over_numbers

SITES = ("embed", *(f"block.{i}" for i in range(14, 27)), "final_norm")


def table(network=None, side=None, **changes):
    """Five pairs, two twins each; `changes` are set on the rows of one network and side, or of all."""
    rows = []
    for first in range(5):
        for name, seeds in (("pretrained", (0,)), ("random", (1, 2))):
            for seed in seeds:
                for i, text in enumerate((True, False)):
                    for site in SITES:
                        own = name == "pretrained"
                        row = dict(first=first, last=first + 1, network=name, seed=seed, site=site)
                        row |= dict(side=("text", "numbers")[i], sinks=int(own), at_start=int(own), longest=2.0)
                        row |= dict(cosine_all=0.5, cosine_without=0.5, pr_all=1.01, pr_without=30.0 + 0.1 * first)
                        rows.append(row | dict(pr_matched=(2 + own) * (1 + text) * (1 + 0.01 * first * (own + text))))
    found = pd.DataFrame(rows)
    hit = ((found.network == network) | (network is None)) & ((found.side == side) | (side is None))
    for column, value in changes.items():
        found.loc[hit, column] = value
    return found


NAN = float("nan")


@pytest.mark.parametrize(
    ("which", "no", "missing"),
    [
        (0, dict(at_start=0.0), dict(at_start=NAN)),
        (1, dict(pr_all=2.0), dict(pr_all=NAN)),
        (2, dict(pr_all=7.0), dict(pr_all=NAN)),
        (3, dict(cosine_all=0.56), dict(cosine_all=NAN)),
        (4, dict(network="random", sinks=1), dict(longest=NAN)),
        (5, dict(pr_without=4.9), None),
        (6, dict(side="numbers", pr_matched=50.0), dict(pr_matched=NAN)),
    ],
)
def test_the_judges_of_layers(which, no, missing):
    judge = EXPECTED[which].judge
    assert judge(table()).held is True and judge(table(**no)).held is False
    assert missing is None or judge(table(**missing)).held is None


def test_a_lead_is_compared_with_that_of_the_twins():
    judge = EXPECTED[7].judge
    assert judge(table(network="pretrained", side="text", pr_matched=99.0)).held is True
    assert judge(table(network="random", side="text", pr_matched=99.0)).held is False
    assert judge(table(network="random", pr_matched=NAN)).held is None


def test_profiles_and_ratios_are_means_over_texts():
    rows = single(table())
    assert len(rows) == 5 * 2 * len(SITES)
    found = layer_profile(rows, ["pr_without"]).set_index(["side", "site"])
    assert found["mean"]["text", "embed"] == pytest.approx(30.2) and (found.low < found["mean"]).all()
    twins = single(table(), "random")
    assert len(twins) == len(rows)
    ratio = text_over_numbers(twins, "pr_matched").loc["embed"]
    assert ratio.to_numpy() == pytest.approx(np.log(2 * (1 + 0.01 * np.arange(5))))
