"""What goes with the error over the published sets: relations that were put in are found, twins stand beside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.studies.published_table import CHANGES, NUMBERS, SITES, TWIN
from isonum_core.studies.published_verdicts import (
    EXPECTED,
    MEASURES,
    across_sets,
    ahead,
    effects_of,
    seen,
    with_twins,
)
from isonum_core.worlds.kernels import PAPER_KERNELS

REAL = [*"abcdefghij"]


def made(
    rng, link=0.0, pooled=0.0, cosine=0.0, noise=0.1, iso=0.0, real=0.0, twin=0.0, naive=10.0, mean=0.0, worse=0.0
):
    """A table of that form. `link` ties the published cosine to the published error, `pooled` that to the right one;
    `iso`, `real` and `twin` tie IsoScore to the right error on kernels, on real sets, and the twin's on kernels, `mean`
    the mean cosine; `worse` is added to the log of SmolLM2's right error."""
    rows = []
    for network in SITES:
        for name in [*PAPER_KERNELS, *REAL]:
            right, wrong = rng.normal(size=2)
            right += worse * (network == "smollm2")
            wrong = pooled * right + wrong
            on_kernels = name in PAPER_KERNELS
            for end, change in [("", CHANGES[0]), (TWIN, CHANGES[0])] + [("", c) for c in CHANGES[1:] if on_kernels]:
                slope = twin if end and on_kernels else iso if on_kernels else real
                for site in SITES[network]:
                    row = dict(dataset=name, network=network + end, change=change, site=site, states=48, clusters=2)
                    row |= dict(cluster_cosine=cosine + 0.01 * (link * wrong + rng.normal()))
                    row |= dict(expected_cosine=0.001 * rng.normal(), mean_cosine=mean * right + rng.normal())
                    row["iso_score"] = (noise if change == "noisy" else 0) + 0.01 * (slope * right + rng.normal())
                    row |= dict(nmse_published=np.exp(wrong), nmse=np.exp(right), nmse_naive=naive)
                    rows.append(row | (dict.fromkeys(("nmse_published", "nmse", "nmse_naive")) if end else {}))
    return pd.DataFrame(rows)


def test_a_trained_network_stands_beside_its_twin(rng):
    table = made(rng)
    both = with_twins(table)
    assert len(both) == 20 * sum(map(len, SITES.values())) and not both.network.str.endswith(TWIN).any()
    row = both[(both.network == "gpt2") & (both.dataset == "c") & (both.site == "read")].iloc[0]
    own = table[(table.dataset == "c") & (table.site == "read") & (table.network == "gpt2_twin")].iloc[0]
    assert all(row[m + TWIN] == own[m] for m in MEASURES) and row.nmse > 0


def test_correlations_over_sets_are_spearmans(rng):
    table = made(rng, link=3)
    found = across_sets(table, draws=50)
    part = table[(table.change == CHANGES[0]) & (table.site == "block.0") & (table.network == "smollm2")]
    twin = table[(table.site == "block.0") & (table.network == "smollm2_twin")]
    for measure in MEASURES:
        at = ("all", "smollm2", "block.0", measure, "nmse_published")
        want = [stats.spearmanr(x[measure], part.nmse_published).statistic for x in (part, twin)]
        assert found.loc[(*at, "trained"), "value"] == pytest.approx(want[0])
        assert found.loc[(*at, "untrained"), "value"] == pytest.approx(want[1])
        assert found.loc[(*at, "difference"), "value"] == pytest.approx(want[0] - want[1])
    assert found.loc[("all", "smollm2", "block.0", "cluster_cosine", "nmse_published", "trained"), "low"] > 0.3
    kernels = part[part.dataset.isin(PAPER_KERNELS)]
    last = table[(table.change == CHANGES[0]) & (table.site == "read") & (table.network == "gpt2")]
    for kind, chosen in (("kernels", set(kernels.dataset)), ("real", set(REAL))):
        rows = last[last.dataset.isin(chosen)]
        got = found.loc[(kind, "gpt2", "read", "mean_cosine", "nmse", "trained"), "value"]
        assert got == pytest.approx(stats.spearmanr(rows.mean_cosine, rows.nmse).statistic)


def test_effects_are_differences_at_one_site(rng):
    table = made(rng, noise=0.3)
    effects = effects_of(table, "noisy")
    assert [*effects.index] == [*PAPER_KERNELS] and (effects.iso_score > 0).all() and set(NUMBERS) < {*effects}
    at = table[(table.dataset == "RBF_1") & (table.site == "final_norm") & (table.network == "fracast")]
    at = at.set_index("change")
    assert effects.error["RBF_1"] == pytest.approx(np.log(at.nmse["noisy"] / at.nmse[CHANGES[0]]))


def test_skill_is_counted_set_by_set(rng):
    table = made(rng, naive=1.0)
    counts = ahead(table)
    rows = table[(table.network == "smollm2") & (table.site == "final_norm") & (table.change == CHANGES[0])]
    assert counts.smollm2.sum() == (rows.nmse < 1).sum() and counts.shape == (20, 3)


@pytest.mark.parametrize(
    ("which", "held", "change"),
    [
        (0, True, {}),
        (0, False, dict(cosine=0.1)),
        (1, False, dict(link=5)),
        (2, True, {}),
        (2, False, dict(pooled=20)),
        (3, True, {}),
        (3, False, dict(noise=-0.3)),
        (4, True, dict(iso=9)),
        (4, False, dict(iso=-9)),
        (5, True, dict(twin=9)),
        (5, False, dict(iso=9)),
        (6, True, dict(iso=9, twin=9)),
        (6, False, dict(iso=9, twin=-9)),
        (7, True, dict(iso=9, real=-9)),
        (7, False, dict(real=9)),
        (8, False, dict(link=9)),
        (9, True, {}),
        (9, False, dict(naive=0.01)),
        (10, True, dict(twin=9)),
        (10, False, dict(twin=-9)),
        (11, True, {}),
        (11, False, dict(mean=-9)),
        (12, True, dict(worse=3.0, naive=1.0)),
        (12, False, dict(worse=-3.0, naive=1.0)),
        (13, True, {}),
        (13, False, dict(cosine=0.1)),
    ],
)
def test_the_judges(rng, which, held, change):
    verdict = EXPECTED[which].judge(seen(made(rng, **change), draws=40))
    assert verdict.held is held and verdict.found


def test_what_was_not_run_is_not_decided(rng):
    """Without the twin of one network, and without another."""
    table = made(rng, iso=9, twin=9)
    verdicts = [judge(seen(table[table.network != "smollm2_twin"], draws=20)) for _, judge in EXPECTED[4:7]]
    assert [v.held for v in verdicts] == [True, None, None] and "smollm2 was not run" in verdicts[1].found
    verdict = EXPECTED[13].judge(seen(table[table.network != "smollm2_twin"], draws=20))
    assert verdict == (None, "100% of rows; smollm2_twin was not run")
    left = seen(table[~table.network.str.startswith("smollm2")], draws=20)
    assert [EXPECTED[which].judge(left).held for which in (4, 5, 7, 9, 10, 11, 12, 13)] == [None] * 8
    against = seen(made(rng, iso=-9).query("network != 'smollm2'"), draws=20)
    assert [EXPECTED[which].judge(against).held for which in (4, 5)] == [False, False]  # one that fails is enough


@pytest.mark.parametrize("which", [1, 8])
def test_no_relation_at_any_site_is_what_two_expect(rng, which):
    found = seen(made(rng), draws=20)
    inside = found._replace(relations=found.relations.assign(low=-0.1, high=0.1))
    assert EXPECTED[which].judge(inside).held is True
