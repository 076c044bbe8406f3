"""What is made of the table of `proxy`: relations that were put in are found, and every judge says yes and no."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isonum_core.lab.expectation import judged
from isonum_core.studies.proxy import ACTED, ENDS, SERIES, TEXTS, WAYS
from isonum_core.studies.proxy_readouts import FREE, LABELLED
from isonum_core.studies.proxy_verdicts import (
    EXPECTED,
    SKILL,
    Proxies,
    acted_on,
    beforehand,
    foresight,
    judged_from,
    over_sites,
    proxies,
    whitening,
    with_rivals,
)

SITES = 7
DRAWS = 20


def made(
    rng,
    iso=0.0,
    static=1.0,
    own=0.05,
    loo=0.02,
    bend=0.0,
    off=None,
    follow=1.0,
    few_harm=0.5,
    skill=0.6,
    senses=1.0,
    wander=0.05,
):
    """A table of the form of `proxy`. Log errors over sites: `static` times an order that all cells share, and noise of
    size `own`; `iso`: how IsoScore enters; `bend`: how the distance from the middle does. `off`: log misses of WAYS."""
    off = off or dict(left_out=0.3, foretold=0.1, curve=0.6)
    order, rows = rng.permutation(SITES) / SITES, []
    kinds = [("series", SERIES["held"][:3], ("net", "fracast")), ("text", TEXTS["held"], ("minilm", "smollm2"))]
    for kind, worlds, networks in kinds:
        for world in worlds:
            for network in networks:
                for target in ("a", "b", "c", "d") if kind == "series" else ("e", "f", "g"):
                    world_level = rng.normal()
                    for depth in range(SITES):
                        facts = {name: rng.normal() for name in (*FREE, *LABELLED)}
                        log = static * order[depth] + iso * facts["iso_score"] + own * rng.normal()
                        log = 0.1 * (log + bend * abs(depth - SITES // 2)) + np.log(skill) - 0.3
                        facts["loo"] = log + loo * rng.normal()
                        place = rng.uniform()
                        row = dict(world=world, network=network, trained=True, seed=0, site=f"s{depth}", depth=depth)
                        row |= dict(d=32, few=64, many=384, target=target, place=place, **facts)
                        row |= {f"error_{name}": np.exp(log) for name in (*ACTED, "weak")}
                        for name in ENDS:
                            change = -0.5 + 0.2 * rng.normal()
                            level = log if name == "tuned" else world_level
                            row |= {f"error_{name}": np.exp(level), f"error_few_{name}": np.exp(level - change)}
                            row |= {f"off_{way}_{name}": off[way] ** 2 for way in WAYS}
                            said = dict(left_out=level - change, foretold=level, curve=level + off["curve"])
                            row |= {f"{way}_{name}": np.exp(said[way] + 0.01 * rng.normal()) for way in WAYS}
                        for name in ACTED:
                            white = follow * (place - 0.5) + wander * rng.normal()
                            white *= 0.05 if name == "tuned" else 1
                            row |= {f"white_{name}": white, f"sure_{name}": 9 * white}
                            row[f"slope_{name}"] = row[f"slope_few_{name}"] = -senses * white + 0.01 * rng.normal()
                            harm = few_harm + 0.01 * rng.normal()
                            row |= {f"white_few_{name}": harm, f"sure_few_{name}": 9 * harm}
                        rows.append(row)
    return pd.DataFrame(rows)


def test_the_static_ranking_is_that_of_other_worlds_on_other_targets(rng):
    rows = with_rivals(made(rng))
    rank = rows.groupby(["network", "trained", "world", "target"]).log_error.rank(pct=True)
    row = rows[(rows.network == "net") & (rows.target == "b") & (rows.site == "s2")].iloc[0]
    others = rows[(rows.network == "net") & (rows.site == "s2") & (rows.world != row.world) & (rows.target != "b")]
    assert row.elsewhere == pytest.approx(rank[others.index].mean()) and len(others) == 2 * 3
    assert set(rows.part) == {"held"} and set(rows.kind) == {"series", "text"}
    assert with_rivals(made(rng).query("world == 'amazon'")).elsewhere.isna().all()  # one world has no other


def test_correlations_over_sites_are_spearmans(rng):
    rows = with_rivals(made(rng, iso=0.5))
    rows.loc[rows.site == "s3", "two_nn"] = np.nan
    each = over_sites(rows)
    part = rows[(rows.world == "amazon") & (rows.network == "minilm") & (rows.target == "e")]
    cell = each[(each.world == "amazon") & (each.network == "minilm") & (each.target == "e")].iloc[0]
    assert cell.iso_score == pytest.approx(stats.spearmanr(part.iso_score, part.log_error)[0])
    assert each.two_nn.isna().all() and each.iso_score.notna().all()
    assert len(each) == 3 * 2 * 4 + 2 * 2 * 3
    assert over_sites(rows.assign(error_tuned=SKILL)).empty and over_sites(rows[rows.depth < 3]).empty


def test_what_the_middle_says_is_taken_away(rng):
    table = made(rng, static=0.0, bend=3.0)
    table["iso_score"] = -abs(table.depth - SITES // 2) - 0.01 * rng.normal(size=len(table))
    each = over_sites(with_rivals(table))
    assert each.iso_score.mean() < -0.9 and abs(each["iso_score given depth"].mean()) < 0.2


def test_a_lead_over_the_static_ranking_is_found_and_turned_to_favour_the_number(rng):
    for iso, sign in ((2.0, 1), (-2.0, 1), (0.0, -1)):
        each = over_sites(with_rivals(made(rng, iso=iso, static=1.0 if not iso else 0.0)))
        found = proxies(each[each.kind == "series"], rng, DRAWS)
        lead = found.loc[("iso_score", "lead")]
        assert sign * lead.value > 0.3 and sign * (lead.low if sign > 0 else lead.high) > 0
        assert np.sign(found.loc[("iso_score", "plain")].value) == np.sign(iso) or not iso


def test_foresight_is_one_less_the_misses(rng):
    rows = with_rivals(made(rng))
    told = beforehand(rows)
    found = foresight(told, rng, DRAWS)
    part = told[told["end"] == "weak"]
    spread = np.square(part.measured - part.measured.mean()).sum()
    assert found.value["weak", "error", "foretold"] == pytest.approx(1 - 0.01 * len(part) / spread)
    assert found.value["tuned", "change", "left_out"] == 0 and found.value["weak", "change", "foretold"] > 0.9
    wanted = found.value["weak", "error", "foretold"] - found.value["weak", "error", "curve"]
    assert found.value["weak", "lead", "curve"] == pytest.approx(wanted)
    assert found.value["weak", "rank", "foretold"] == pytest.approx(
        stats.spearmanr(part.change, part["foretold change"])[0]
    )
    np.testing.assert_allclose(part.factor - part.left_out, np.log((1 - 32 / 63) / (1 - 32 / 383)))
    lead = found.value["weak", "first", "foretold"] - found.value["weak", "first", "factor"]
    assert found.value["weak", "first lead", "factor"] == pytest.approx(lead) and lead > 0
    assert found.value["weak", "change", "hindsight"] == pytest.approx(
        part.change.mean() ** 2 / np.square(part.change).mean()
    )
    rows["foretold_weak"] = np.nan  # what was not resolved enters for no way
    assert set(beforehand(rows)["end"]) == {"tuned", "stopped"}


def test_whitening_is_told_by_read_out_and_amount(rng):
    rows = with_rivals(made(rng))
    acted = acted_on(rows)
    assert len(acted) == 2 * len(ACTED) * len(rows) and set(acted.ratio) == {2.0, 12.0}
    found = whitening(acted, rng, DRAWS).value
    fixed = acted[(acted.readout == "fixed") & (acted.amount == "many")]
    assert found["fixed", "many", "rho"] == pytest.approx(stats.spearmanr(fixed.white, fixed.place)[0])
    assert found["fixed", "many", "sensed"] == pytest.approx(stats.spearmanr(fixed.white, -fixed.slope)[0])
    assert found["fixed", "many", "helps"] == pytest.approx((fixed.z < -2).mean())
    assert found["tuned", "many", "large"] == 0 and found["tuned", "few", "harms"] == 1
    assert acted_on(rows.assign(error_tuned=1.0)).empty


@pytest.mark.parametrize(
    ("which", "held", "change"),
    [
        (0, True, {}),
        (0, False, dict(static=0.0, iso=2.0)),
        (1, True, {}),
        (1, False, dict(static=0.0, iso=2.0)),
        (2, True, {}),
        (2, False, dict(loo=5.0)),
        (3, True, {}),
        (3, False, dict(off=dict(left_out=0.1, foretold=0.3, curve=0.6))),
        (4, True, dict(off=dict(left_out=0.1, foretold=0.1, curve=0.6))),
        (4, False, dict(off=dict(left_out=0.6, foretold=0.1, curve=0.6))),
        (4, False, dict(off=dict(left_out=0.1, foretold=0.3, curve=0.1))),
        (5, True, {}),
        (6, True, {}),
        (6, False, dict(follow=0.0)),
        (6, False, dict(follow=-1.0)),
        (7, True, {}),
        (7, False, dict(follow=12.0)),
        (8, True, {}),
        (8, False, dict(few_harm=0.1)),
        (9, True, dict(wander=0.3)),
        (9, False, dict(senses=0.0)),
        (9, False, dict(senses=-1.0, wander=0.3)),
    ],
)
def test_every_judge_says_yes_and_no(rng, which, held, change):
    found = judged_from(made(rng, **change), draws=DRAWS)
    assert judged(EXPECTED, found).verdicts[which].held is held


def test_a_change_that_is_not_foretold_is_not_as_expected(rng):
    table = made(rng)
    for name in ENDS:
        table[f"foretold_{name}"] = table[f"left_out_{name}"] * np.exp(0.01 * rng.normal(size=len(table)))
    assert judged(EXPECTED, judged_from(table, draws=DRAWS)).verdicts[5].held is False


def test_a_number_that_is_missing_decides_nothing(rng):
    found = judged_from(made(rng), draws=DRAWS)
    gone = Proxies(
        {k: rows * np.nan for k, rows in found.relations.items()}, found.foresight * np.nan, found.whitening * np.nan
    )
    assert all(verdict.held is None for verdict in judged(EXPECTED, gone).verdicts)
