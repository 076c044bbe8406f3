"""Numerals of a small model: one pass equals one value at a time, and probabilities are probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from isonum_core.errors import IsonumError
from isonum_core.networks.models import Checkpoint, Provenance
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
    return Checkpoint(model, tokenizer, Provenance("small", None, "a test", {}))


@pytest.mark.parametrize("separator", [",", ", "])
@pytest.mark.parametrize("digits", [1, 2])
def test_one_pass_is_the_distribution_at_each_step(small, digits, separator):
    numerals = Numerals(small, digits, separator)
    levels = np.random.default_rng(0).integers(10**digits, size=6)
    nll = numerals.nll(levels)
    for t in range(1, 6):
        p = numerals.distribution(levels[:t], least=0.0)
        assert p.shape == (10**digits,) and p.sum() == pytest.approx(1)
        assert -np.log(p[levels[t]]) == pytest.approx(nll[t], rel=1e-5)  # float32 model: another order of sums


def test_unlikely_digits_share_what_follows(small):
    numerals = Numerals(small, 2)
    exact, cut = (numerals.distribution(np.array([3, 14, 15]), least) for least in (0.0, 0.08))
    assert cut.sum() == pytest.approx(1) and abs(exact - cut).max() > 1e-6
    np.testing.assert_allclose(cut.reshape(10, 10).sum(1), exact.reshape(10, 10).sum(1), rtol=1e-6)


def test_paths_follow_the_distribution(small):
    numerals, levels = Numerals(small, 1), np.array([3, 1, 4])
    drawn = numerals.paths(levels, 2, 4000, torch.Generator().manual_seed(0))
    assert drawn.shape == (4000, 2)
    want = numerals.distribution(levels, 0.0)
    # Three standard errors of a share of 4,000.
    assert abs(np.bincount(drawn[:, 0], minlength=10) / 4000 - want).max() < 3 * 0.5 / 4000**0.5
    second = drawn[drawn[:, 0] == want.argmax(), 1]
    after = numerals.distribution(np.append(levels, want.argmax()), 0.0)
    assert abs(np.bincount(second, minlength=10) / len(second) - after).max() < 3 * 0.5 / len(second) ** 0.5


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
        Numerals(Checkpoint(small.model, whole, small.provenance)).nll(np.array([1, 2]))
