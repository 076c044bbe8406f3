from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.worlds.series import find_series, series_names
from isonum_core.worlds.tokens import EOS, PAD, MeanScale

NAN = math.nan
# ids and scale of Chronos v2.3.0 (MeanScaleUniformBins, float32), recorded from its own code.
CHRONOS = [
    ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [2049, 2079, 2110, 2140, 2170, 2201, 2231, 2261, 2291, 2322, 1], 4.5),
    ([0.0] * 6, [2049] * 6 + [1], 1.0),
    ([NAN] * 4, [0, 0, 0, 0, 1], 1.0),
    ([1, NAN, 3, NAN, 5], [2094, 0, 2185, 0, 2276, 1], 3.0),
    ([7.5], [2185, 1], 7.5),
    ([1e30, 2e30, -3e30], [2117, 2185, 1844, 1], 2.00000018121066e30),
    ([1e-44, 2e-44, 0.0], [2185, 2322, 2049, 1], 9.80908925027372e-45),
    ([0, 0, 0, 0, 1], [2049, 2049, 2049, 2049, 2731, 1], 0.20000000298023224),
    ([1.0] * 40 + [100.0], [2089] * 40 + [4095, 1], 3.4146342277526855),
]


@pytest.mark.parametrize(("series", "ids", "scale"), CHRONOS)
def test_ids_and_scale_are_those_of_chronos(series, ids, scale):
    tokens = MeanScale().encode(series)
    assert tokens.ids.tolist() == ids
    assert tokens.scale == scale
    assert tokens.mask.tolist() == [i != PAD for i in ids]
    assert tokens.special.tolist() == [i in (PAD, EOS) for i in ids]


def _rename(overrides: dict) -> dict:
    limits = overrides.get("tokenizer_kwargs", {})
    renamed = {"use_eos_token": "eos", "low_limit": "low", "high_limit": "high"}
    return {renamed.get(k, k): v for k, v in (overrides | limits).items() if k != "tokenizer_kwargs"}


def test_every_recorded_case_of_chronos(oracles):
    cases = oracles["chronos_tokenizer"]["cases"]
    finite = 0
    for case in cases:
        series = case["series"]
        if series == "see recipe":
            series = np.float32(np.cumsum(np.random.default_rng(30).normal(size=700)))
        series = np.asarray([float(v) for v in series])
        tokeniser = MeanScale(**_rename(case["config_overrides"]))
        tokens = tokeniser.encode(series)
        finite += 1
        assert tokens.scale == case["scale"], case["case"]
        ids = case["token_ids"]
        if isinstance(ids, dict):
            found = tokens.ids.tolist()
            assert (len(found), sum(found), tokens.cut) == (ids["length"], ids["sum"], 188)
            assert (found[: len(ids["head"])], found[-len(ids["tail"]) :]) == (ids["head"], ids["tail"])
            continue
        assert tokens.ids.tolist() == ids, case["case"]
        assert tokens.mask.int().tolist() == case["attention_mask"], case["case"]
        real = ~tokens.special
        theirs = torch.tensor(case["decoded"])[real]
        ours = tokeniser.decode(tokens.ids[real], tokens.scale)
        # One product in float32 on both sides.
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-6, atol=0)
    assert finite >= 16
    label = oracles["chronos_tokenizer"]["label_case"]
    assert MeanScale().encode(range(64), scale=label["scale"]).ids.tolist() == label["token_ids"]


def _nearest_centre(series: list[float]) -> list[int]:
    """The definition, letter by letter and in float64: the id is that of the nearest centre."""
    seen = [abs(x) for x in series if not math.isnan(x)]
    scale = sum(seen) / len(seen) if seen and sum(seen) else 1.0
    centres = [-15 + 30 * i / 4092 for i in range(4093)]
    ids = []
    for x in series:
        distance = [abs(x / scale - c) for c in centres]
        ids.append(PAD if math.isnan(x) else 3 + distance.index(min(distance)))
    return ids


@pytest.mark.parametrize("name", ["sunspots", "elnino", "nile"])
def test_twin_on_real_series(name):
    values = find_series(name).values[0, -120:]
    found = MeanScale(eos=False).encode(values).ids.numpy()
    steps = np.abs(found - _nearest_centre(values.tolist()))
    # float32 may round a value next to a boundary into the neighbouring bin: at most one of 120, here.
    assert steps.max() <= 1 and steps.sum() <= 1


REAL = st.floats(min_value=-(2.0**100), max_value=2.0**100, allow_nan=False, allow_subnormal=False, width=32)
SETUPS = st.sampled_from(
    [MeanScale(), MeanScale(n_tokens=64), MeanScale(n_tokens=1024, low=-20.0, high=20.0, eos=False)]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(REAL | st.just(NAN), min_size=1, max_size=40), SETUPS)
def test_decoding_is_within_half_a_bin_unless_clipped(values, tokeniser):
    tokens = tokeniser.encode(values)
    back = tokeniser.decode(tokens.ids, tokens.scale).double()
    x = torch.tensor(values, dtype=torch.float64)
    assert back.shape == x.shape
    assert torch.equal(back.isnan(), x.isnan())
    scaled = x / tokens.scale
    inside = (scaled >= tokeniser.low) & (scaled <= tokeniser.high)
    # 1e-5: float32 rounding of numbers up to 20, in units of the scale; subnormal products lose more, hence 1e-44.
    allowed = tokens.scale * (tokeniser.width / 2 + 1e-5) + 1e-44
    assert ((back - x).abs()[inside] <= allowed).all()
    outside = ~inside & ~x.isnan()
    assert ((back / tokens.scale).abs()[outside] <= max(-tokeniser.low, tokeniser.high) * (1 + 1e-6)).all()
    assert tokens.clipped <= outside.sum()


@pytest.mark.parametrize("name", ["sunspots", "co2", "elnino", "nile"])
@pytest.mark.parametrize("offset", [0.0, 7.0, 300.0, 1e4, 1e6])
def test_a_series_high_above_zero_has_few_words(name, offset):
    values = find_series(name).values[0, -512:] + offset
    tokeniser = MeanScale(eos=False)
    tokens = tokeniser.encode(values)
    used = len(set(tokens.ids[~tokens.special].tolist()))
    extent = np.nanmax(values) - np.nanmin(values)
    assert tokens.clipped == 0
    assert used <= extent / (tokens.scale * tokeniser.width) + 2
    if offset == 1e6:
        assert used <= 2, "the proposition of the chapter: a constant takes the words away"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=30), st.integers(-20, 20))
def test_a_power_of_two_changes_the_scale_and_no_id(values, power):
    one, other = MeanScale().encode(values), MeanScale().encode([v * 2.0**power for v in values])
    assert torch.equal(one.ids, other.ids) or not any(values)


@pytest.mark.parametrize("name", series_names(packaged=True))
def test_encoding_what_was_decoded_changes_no_id(name):
    tokeniser = MeanScale()
    values = find_series(name).values[0]
    tokens = tokeniser.encode(values)
    again = tokeniser.encode(tokeniser.decode(tokens.ids, tokens.scale), scale=tokens.scale)
    assert torch.equal(again.ids, tokens.ids)
    assert tokens.clipped == 0 and len(tokens.ids) == min(512, len(values)) + 1


def test_what_is_cut_or_clipped_is_counted():
    tokens = MeanScale(context_length=5).encode([1e6, 1, 1, 1, 1, 1])
    assert (tokens.cut, tokens.scale, tokens.clipped) == (1, 1.0, 0), "older values do not touch the scale"
    assert MeanScale().encode([1.0] * 40 + [100.0]).clipped == 1
    # The outermost bins reach half a width, 15/4092 = 0.0037, beyond their centres at -15 and 15.
    assert MeanScale().encode([15.003, -15.003, 15.004, -15.004], scale=1.0).clipped == 2


def test_special_tokens_carry_no_value():
    tokeniser = MeanScale()
    back = tokeniser.decode([2185, PAD, 2185, EOS], scale=2.0)
    assert back.shape == (3,) and back.isnan().tolist() == [False, True, False]


def test_a_masked_value_is_missing_whatever_number_lies_below_the_mask():
    """Fill values of climate files are near 1e37: read as numbers they would be the scale."""
    tokens = MeanScale().encode(np.ma.masked_array([1.0, 2.0, 9.96921e36, 4.0], mask=[0, 0, 1, 0]))
    assert tokens.ids.tolist() == [2107, 2166, 0, 2283, 1] and tokens.scale == pytest.approx(7 / 3, rel=1e-7)
    assert tokens.mask.tolist() == [True, True, False, True, True]


@pytest.mark.parametrize("series", [[1.0, math.inf], [3e38, 3e38], [1e300, 0.0], [-math.inf] * 3])
def test_a_scale_that_overflows_is_refused(series):
    with pytest.raises(IsonumError, match="finite in float32.* divide the series|got an infinite mean of .x..*Divide"):
        MeanScale().encode(series)


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ([[1.0, 2.0]], r"must have shape \(T,\), got \(1, 2\)"),
        ([], r"got \(0,\)"),
        (3.0, r"got \(\)"),
        (["one"], "real numbers was expected, got list"),
        ([1 + 2j], "real numbers was expected, got list"),
        (torch.ones(3, dtype=torch.complex64), "real numbers was expected, got Tensor"),
        (np.arange(3).astype("M8[D]"), "real numbers was expected, got ndarray"),
        ([1.0, math.inf], "got 1 infinite, the first at step 1"),
    ],
)
def test_bad_series(series, words):
    with pytest.raises(IsonumError, match=words):
        MeanScale().encode(series)


@pytest.mark.parametrize("scale", [0.0, -1.0, NAN, math.inf])
def test_bad_scale(scale):
    with pytest.raises(IsonumError, match="scale must be positive and finite"):
        MeanScale().encode([1.0], scale=scale)
    with pytest.raises(IsonumError, match="scale must be positive and finite"):
        MeanScale().decode([5], scale=scale)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([4096], r"ids must lie in 0..4095, got 4096..4096"),
        ([-1, 5], r"got -1..5"),
        ([1.5], "whole numbers of shape"),
        ([[5]], r"got torch.int64 of shape \(1, 1\)"),
    ],
)
def test_bad_ids(ids, words):
    with pytest.raises(IsonumError, match=words):
        MeanScale().decode(ids, scale=1.0)


@pytest.mark.parametrize(
    "facts", [dict(n_tokens=4), dict(low=1.0, high=1.0), dict(high=math.inf), dict(context_length=0)]
)
def test_bad_vocabulary(facts):
    with pytest.raises(IsonumError, match="MeanScale needs"):
        MeanScale(**facts)
