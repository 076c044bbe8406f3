"""Numerals of a small model: one pass equals one value at a time, and probabilities are probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from isonum_core.errors import IsonumError
from isonum_core.networks.models import Checkpoint
from isonum_core.networks.numerals import Numerals, levelled, unlevelled


@pytest.fixture(scope="module")
def small():
    words = {word: i for i, word in enumerate(["<s>", *"0123456789", ",", " "])}
    core = Tokenizer(models.WordLevel(words, unk_token="<s>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>")
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=13)
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, initializer_range=0.5)).eval()
    return Checkpoint(model, tokenizer, {})


def test_one_pass_is_the_law_at_each_step(small):
    numerals = Numerals(small)
    levels = np.random.default_rng(0).integers(100, size=6)
    read = numerals.read(levels)
    nll, laws = read.nll(), read.laws(range(6))
    assert laws.shape == (6, 100)
    np.testing.assert_allclose(laws.sum(1), 1)
    # float32 model: another order of sums
    np.testing.assert_allclose(-np.log(laws[np.arange(6), levels]), nll, rtol=1e-5)
    changed = numerals.read(np.append(levels[:2], 9 - levels[2:] % 10))
    np.testing.assert_allclose(changed.laws([2])[0], laws[2], rtol=1e-4)  # what comes later is not seen


def test_mean_paths_are_means_of_law_after_law(small):
    """Several at once, each as if it were alone, and nothing is left behind in the series that was read."""
    numerals, levels = Numerals(small), np.random.default_rng(1).integers(100, size=6)
    read, scale = numerals.read(levels), np.arange(100)
    before = read.laws([2, 5])
    paths = read.mean_paths([2, 5, 6], 3)  # the last one begins where the series ends
    for start, path in zip((2, 5, 6), paths, strict=True):
        known = levels[:start]
        for value in path:
            law = numerals.read(np.append(known, 0)).laws([len(known)])[0]
            assert value == pytest.approx(law @ scale, rel=1e-5)
            known = np.append(known, round(value))
    np.testing.assert_allclose(read.laws([2, 5]), before, rtol=1e-6)


def test_a_series_is_written_with_two_digits_and_a_space(small):
    assert small.tokenizer.decode(Numerals(small).ids(np.array([3, 40]))[0]).replace(" ", "") == "<s>0340"
    assert Numerals(small).ids(np.array([3, 40])).tolist() == [[0, 1, 4, 12, 5, 1, 12]]


def test_levels_know_the_first_part_alone():
    values = np.array([0.0, 10.0, 5.0, 100.0, -100.0])
    levels = levelled(values, 3)
    assert levels.tolist() == [8, 91, 50, 99, 0]
    assert (levelled(np.append(values[:3], [7.0, 1e9]), 3)[:3] == levels[:3]).all()
    assert levelled(np.ones(4), 2).tolist() == [8] * 4
    with pytest.raises(IsonumError, match="finite values"):
        levelled(np.array([1.0, np.nan]), 2)


def test_a_level_stands_for_the_middle_of_what_it_spans(rng):
    values = rng.normal(size=50)
    back = unlevelled(levelled(values, 50).astype(float), values)
    assert abs(back - values).max() <= np.ptp(values) * 1.2 / 200 * (1 + 1e-12)
    np.testing.assert_allclose(unlevelled(np.array([49.5]), values), (values.min() + values.max()) / 2)


def test_a_tokenizer_that_keeps_numbers_whole_is_refused(small):
    core = Tokenizer(models.WordLevel({"<s>": 0, "12": 1}, unk_token="<s>"))
    whole = transformers.PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>")
    with pytest.raises(IsonumError, match="single digits"):
        Numerals(Checkpoint(small.model, whole, small.provenance)).read(np.array([1, 2]))
