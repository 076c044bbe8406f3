"""Numerals of a small model: one pass equals one value at a time, and probabilities are probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from isonum_core.errors import IsonumError
from isonum_core.networks.models import Checkpoint
from isonum_core.networks.numerals import Numerals, levelled


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


@pytest.mark.parametrize("separator", [",", ", "])
@pytest.mark.parametrize("digits", [1, 2])
def test_one_pass_is_the_law_at_each_step(small, digits, separator):
    numerals = Numerals(small, digits, separator)
    levels = np.random.default_rng(0).integers(10**digits, size=6)
    read = numerals.read(levels)
    nll, laws = read.nll(), read.laws(range(6))
    assert laws.shape == (6, 10**digits)
    np.testing.assert_allclose(laws.sum(1), 1)
    # float32 model: another order of sums
    np.testing.assert_allclose(-np.log(laws[np.arange(6), levels]), nll, rtol=1e-5)
    changed = numerals.read(np.append(levels[:2], 9 - levels[2:] % 10))
    np.testing.assert_allclose(changed.laws([2])[0], laws[2], rtol=1e-4)  # what comes later is not seen


def test_paths_follow_the_distribution(small):
    numerals, levels = Numerals(small, 1), np.array([3, 1, 4])
    drawn = numerals.paths(levels, 2, 4000, torch.Generator().manual_seed(0))
    assert drawn.shape == (4000, 2)
    want = numerals.read(np.append(levels, 0)).laws([3])[0]
    # Three standard errors of a share of 4,000.
    assert abs(np.bincount(drawn[:, 0], minlength=10) / 4000 - want).max() < 3 * 0.5 / 4000**0.5
    second = drawn[drawn[:, 0] == want.argmax(), 1]
    after = numerals.read(np.append(levels, [want.argmax(), 0])).laws([4])[0]
    assert abs(np.bincount(second, minlength=10) / len(second) - after).max() < 3 * 0.5 / len(second) ** 0.5


@pytest.mark.parametrize("digits", [1, 2])
def test_mean_paths_are_means_of_law_after_law(small, digits):
    """Several at once, each as if it were alone, and nothing is left behind in the series that was read."""
    numerals, levels = Numerals(small, digits), np.random.default_rng(1).integers(10**digits, size=6)
    read, scale = numerals.read(levels), np.arange(10**digits)
    before = read.laws([2, 5])
    paths = read.mean_paths([2, 5], 3)
    for start, path in zip((2, 5), paths, strict=True):
        known = levels[:start]
        for value in path:
            law = numerals.read(np.append(known, 0)).laws([len(known)])[0]
            assert value == pytest.approx(law @ scale, rel=1e-5)
            known = np.append(known, round(value))
    np.testing.assert_allclose(read.laws([2, 5]), before, rtol=1e-6)


def test_levels_know_the_first_part_alone():
    values = np.array([0.0, 10.0, 5.0, 100.0, -100.0])
    levels = levelled(values, 3)
    assert levels.tolist() == [8, 91, 50, 99, 0]
    assert (levelled(np.append(values[:3], [7.0, 1e9]), 3)[:3] == levels[:3]).all()
    assert levelled(np.ones(4), 2).tolist() == [8] * 4
    with pytest.raises(IsonumError, match="finite values"):
        levelled(np.array([1.0, np.nan]), 2)


def test_a_tokenizer_that_keeps_numbers_whole_is_refused(small):
    core = Tokenizer(models.WordLevel({"<s>": 0, "12": 1}, unk_token="<s>"))
    whole = transformers.PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>")
    with pytest.raises(IsonumError, match="single digits"):
        Numerals(Checkpoint(small.model, whole, small.provenance)).read(np.array([1, 2]))
    with pytest.raises(IsonumError, match="1 or 2 digits, got digits=3"):
        Numerals(small, 3)
