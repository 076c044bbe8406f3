from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from isonum_core.commands.report import CAP, CHAPTERS, COVARIANCE, MEASURES, SECONDS, report
from isonum_core.errors import IsonumError
from isonum_core.geometry.clouds import CLOUDS
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.neighbours import two_nn
from isonum_core.geometry.null import iso_score_null
from isonum_core.geometry.partition import partition_isotropy
from isonum_core.geometry.scores import effective_rank, iso_score, mean_cosine, participation_ratio


def _cloud(n, d):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1


def test_values_are_those_of_the_core():
    x = _cloud(60, 8)
    m, found = Moments.of(x), report(x)
    assert (found.n, found.d, found.absent) == (60, 8, {})
    assert [note.split()[0] for note in found.notes] == ["isoscore_unbiased:", "participation_ratio_unbiased:"]
    core = dict(isoscore=iso_score, participation_ratio=participation_ratio, effective_rank=effective_rank)
    for name, function in (core | dict(mean_cosine=mean_cosine)).items():
        assert found.values[name] == float(function(m))
    assert found.values["twonn"] == two_nn(x)
    partition = partition_isotropy(x, radius=1.0)
    assert found.values["partition_isotropy"] == partition.value
    assert found.values["log_partition_isotropy"] == partition.log_value
    assert report(x, radius=2.0).values["log_partition_isotropy"] == partition_isotropy(x, radius=2.0).log_value
    assert found.null["isoscore"] == iso_score_null(60, 8)
    assert "effective_rank" not in found.null and set(found.null) < set(found.values)


def test_how_much_of_the_variance_is_in_one_place():
    """Six times the variance in one dimension of twelve, then turned by 45 degrees in a plane."""
    x = torch.randn(4000, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[:, 3] *= 6
    turned = x.clone()
    turned[:, 3], turned[:, 4] = (x[:, 3] - x[:, 4]) / 2**0.5, (x[:, 3] + x[:, 4]) / 2**0.5
    names = ["top_dimension", "top_direction", "outlier_dimensions"]
    share = float(x[:, 3].var() / x.var(0).sum())
    straight, crooked = (report(y, names) for y in (x, turned))
    assert straight.values["top_dimension"] == pytest.approx(share, rel=1e-9) and straight.outliers == [3]
    assert crooked.values["top_direction"] == pytest.approx(straight.values["top_direction"], rel=1e-9)
    assert straight.values["top_direction"] == pytest.approx(share, rel=0.01)
    assert crooked.values["top_dimension"] < 0.6 * share and crooked.values["outlier_dimensions"] == 0
    assert crooked.outliers == []


def test_the_longest_row_is_told_in_medians():
    x = CLOUDS["isotropic"](300, 16, np.random.default_rng(0))
    lengths = x.norm(dim=1)
    assert report(x, ["mean_share"]).longest == pytest.approx(float(lengths.max() / lengths.median()), rel=1e-9)
    assert report(torch.zeros(9, 4, dtype=torch.float64), ["mean_cosine"]).longest is None


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_samples_give_what_is_defined_and_the_reason_for_the_rest(n):
    found = report(_cloud(n, 6))
    assert set(found.values) | set(found.absent) == set(COVARIANCE) | set(SECONDS)
    assert not set(found.values) & set(found.absent)
    assert ("isoscore" in found.values) == (n >= 2)
    assert ("isoscore_unbiased" in found.values) <= (n >= 4)
    assert ("twonn" in found.values) <= (n >= 3)
    assert "partition_isotropy" in found.values
    if n == 1:
        assert "at least 2 samples, got n=1" in found.absent["participation_ratio"]
    if n == 3:
        assert "at least 4 samples, got n=3" in found.absent["isoscore_unbiased"]


def test_one_dimension_has_no_isoscore():
    found = report(_cloud(50, 1))
    assert "one direction" in found.absent["isoscore"].lower() and "isoscore" not in found.null
    assert found.values["participation_ratio"] == pytest.approx(1, abs=1e-12)


def test_a_constant_cloud_has_no_spectrum():
    found = report(torch.ones(10, 4, dtype=torch.float64))
    assert "equal rows" in found.absent["isoscore"]
    assert found.values["mean_cosine"] == pytest.approx(1, abs=1e-12)


def test_rows_of_zeros_are_noted():
    x = _cloud(30, 4)
    x[:5] = 0
    notes = report(x).notes
    assert any("mean_cosine: 5 of 30 rows have length zero" in note for note in notes)


def test_what_cannot_be_measured_at_all():
    x = _cloud(30, 4)
    x[7, 2] = torch.nan
    with pytest.raises(IsonumError, match="1 of 30 rows with NaN or infinity, the first at row 7"):
        report(x)


def test_measures_are_chosen_or_left_out():
    x = _cloud(60, 8)
    assert list(report(x, ["mean_share", "twonn"]).values) == ["mean_share", "twonn"]
    assert set(report(x, without=SECONDS).values) == set(COVARIANCE)
    assert set(report(x, ["mean_share", "twonn"], ["twonn"]).values) == {"mean_share"}
    with pytest.raises(IsonumError, match="a measure was expected, got 'two_nn'. There are: isoscore, .*twonn"):
        report(x, ["two_nn"])
    with pytest.raises(IsonumError, match="a measure was expected, got none that is not left out"):
        report(x, ["twonn"], ["twonn"])


@pytest.mark.parametrize("radius", [0.0, -1.0, math.inf, math.nan])
def test_a_radius_is_positive(radius):
    with pytest.raises(IsonumError, match="a radius above 0 was expected"):
        report(_cloud(10, 2), radius=radius)


def test_a_long_measure_waits_to_be_asked_for(monkeypatch):
    x, heard = _cloud(60, 8), []
    monkeypatch.setitem(SECONDS, "twonn", lambda n, d: 2 * CAP)
    found = report(x, begin=heard.append)
    assert "not begun: about 240 s for 60 rows, more than 120. Ask with --measures twonn" in found.absent["twonn"]
    assert len(heard) == len(MEASURES) - 1 and not any("twonn" in doing for doing in heard)
    assert report(x, ["twonn"], begin=heard.append).values["twonn"] == two_nn(x)
    assert heard[-1] == "twonn, about 240 s"


def test_a_vocabulary_of_gpt2_has_its_partition_measured_and_not_its_neighbours():
    assert SECONDS["partition_isotropy"](50257, 768) < CAP < SECONDS["twonn"](50257, 768)


def test_partition_isotropy_that_underflows_is_never_zero():
    """The recipe's log I is -5990.119; by hand, h = -e_64 against +e_64, it is not below -5990.095."""
    r = np.random.default_rng(5)
    x = torch.from_numpy(np.c_[r.normal(size=(500, 63)), 3000 + 50 * r.normal(size=500)])
    found = report(x)
    assert found.values["log_partition_isotropy"] == pytest.approx(-5990.119, abs=5e-4)  # as many digits as are given
    assert (
        "smaller than any float (e^-745)" in found.absent["partition_isotropy"]
        and "partition_isotropy" not in found.values
    )
    assert report(x, radius=1e-3).values["partition_isotropy"] > 0


def test_fewer_rows_than_numbers_by_far_get_a_word():
    assert "transpose" in report(_cloud(6, 24), ["mean_share"]).notes[0]
    assert not report(_cloud(7, 24), ["mean_share"]).notes


# --- the verdict ---


def _word(found):
    """Of both halves: off, fine or unknown."""
    halves = found.verdict[0].split("; spectral half: ")
    return tuple("off" if " off" in h or "uneven" in h else "unknown" if "cannot" in h else "fine" for h in halves)


@pytest.mark.parametrize(("n", "d"), [(20, 4), (60, 60), (50, 300), (400, 10)])
@pytest.mark.parametrize(
    ("cloud", "mean", "spectral"),
    [
        ("isotropic", "fine", "fine"),
        ("heavy tails", "fine", "fine"),
        ("shifted mean", "off", "fine"),
        ("decaying spectrum", "fine", "off"),
        ("shifted and decaying", "off", "off"),
        ("two points ±u", "fine", "off"),
    ],
)
def test_the_verdict_names_the_half_that_is_off(n, d, cloud, mean, spectral):
    """Over 40 seeds: a false alarm in one of twenty at most, and what is off is missed as seldom where n >= 50."""
    words = Counter()
    for seed in range(40):
        found = report(CLOUDS[cloud](n, d, np.random.default_rng(seed)), ["mean_share"])
        words.update(zip(("mean", "spectral"), _word(found), strict=True))
    for half, true in (("mean", mean), ("spectral", spectral)):
        wrong = words[half, "off" if true == "fine" else "fine"]
        assert wrong <= 2 if true == "fine" or n >= 50 else wrong < 20, words


def test_the_verdict_gives_the_numbers_and_the_null():
    found = report(CLOUDS["shifted mean"](400, 10, np.random.default_rng(0)), ["mean_share"])
    assert len(found.verdict) == 2
    share = found.values["mean_share"]
    assert (
        f"Mean half: rows lie off the origin (the mean carries {share:.2%} of the mean squared length, by chance 0.25%)"
        in (found.verdict[0])
    )
    assert "of 10 directions)" in found.verdict[0]
    assert found.verdict[1] == "No row is longer than 10 times the median. Read next: Shift-invariance"


def test_sinks_are_counted_and_both_halves_told_without_them():
    x = CLOUDS["isotropic"](300, 16, np.random.default_rng(0))
    sinks = [5, 17, 200]
    x[sinks] = 500 + 0 * x[sinks]
    found = report(x, ["mean_share", "isoscore_unbiased"])
    rest = torch.ones(300, dtype=torch.bool)
    rest[sinks] = False
    clean = report(x[rest], ["mean_share", "isoscore_unbiased"])
    assert found.sinks == sinks and found.without_sinks == {"n": 297, **clean.values}
    assert _word(found) == ("fine", "off")
    assert "median: 3, the first at row 5 (from 0). Without: Mean half: rows lie around the origin" in found.verdict[1]
    assert "spectral half: variance is even" in found.verdict[1]
    assert found.verdict[1].endswith(CHAPTERS["spectral"])


def test_one_row_that_carries_the_variance_cannot_tell_its_spectrum():
    """The unbiased estimate knows one pair of nothing else: 15.6 of 16 directions, while the plain one says 1.0."""
    x = CLOUDS["isotropic"](200, 16, np.random.default_rng(5))
    x[0] *= 1000
    found = report(x, ["participation_ratio", "participation_ratio_unbiased"])
    assert found.values["participation_ratio"] < 1.1 and found.values["participation_ratio_unbiased"] > 10
    assert _word(found) == ("fine", "unknown")


@pytest.mark.parametrize("x", [torch.ones(1, 4), torch.ones(9, 4), torch.zeros(9, 4), torch.arange(2.0)[:, None]])
def test_where_nothing_can_be_told_the_verdict_says_so(x):
    verdict = report(x.double(), ["mean_cosine"]).verdict
    assert "cannot be told" in verdict[0] or "one direction alone" in verdict[0]
    assert verdict[1] == "No row is longer than 10 times the median. Read next: What is isotropy?"


def test_the_verdict_sends_to_chapters_that_exist():
    book = Path(__file__).resolve().parents[1] / "book"
    titles = {line for path in book.glob("*.md") for line in path.read_text(encoding="utf-8").splitlines()}
    assert {f"# {title}" for title in CHAPTERS.values()} <= titles
