from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from isonum_core.errors import IsonumError
from isonum_core.networks.batches import counting, text_batches

WORDS = "[PAD] [CLS] [SEP] [UNK] a b c d".split()


@pytest.fixture(scope="module")
def tokenizer():
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


def _words(batches):
    """Ids that count, in order, over all batches."""
    rows = [(batch, i) for batch in batches for i in range(len(batch["input_ids"]))]
    keep = [b["attention_mask"][i].bool() & ~b["special_tokens_mask"][i].bool() for b, i in rows]
    return torch.cat([b["input_ids"][i][k] for (b, i), k in zip(rows, keep, strict=True)]).tolist()


def test_every_position_is_labelled(tokenizer):
    (batch,) = text_batches(tokenizer, ["a b c", "d x"])
    assert batch["input_ids"].tolist() == [[1, 4, 5, 6, 2], [1, 7, 3, 2, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    # An unknown word is still a word.
    assert batch["special_tokens_mask"].tolist() == [[1, 0, 0, 0, 1], [1, 0, 0, 1, 1]]


@pytest.mark.parametrize("size", [1, 2, 16])
@pytest.mark.parametrize("max_length", [4, 5, 64])
def test_long_texts_lose_no_word(tokenizer, size, max_length):
    texts = ["a b c d a b c", "d", "c b a c"]
    batches = text_batches(tokenizer, texts, size, max_length)
    assert all(max(len(row) for row in b["input_ids"]) <= max_length and len(b["input_ids"]) <= size for b in batches)
    assert _words(batches) == [WORDS.index(word) for text in texts for word in text.split()]


@pytest.mark.parametrize("texts", ["a b", [], ["a", ""], ["a", " "], ["a", 3]])
def test_texts_must_be_texts(tokenizer, texts):
    with pytest.raises(IsonumError, match="a sequence of texts with at least one word each was expected, got"):
        text_batches(tokenizer, texts)


def test_slow_tokenizers_are_refused():
    with pytest.raises(IsonumError, match="a fast tokenizer was expected, got object"):
        text_batches(object(), ["a"])


@pytest.mark.parametrize("wrong", [dict(max_length=2), dict(max_length=65), dict(size=0)])
def test_a_length_holds_a_word_and_is_one_that_the_model_takes(tokenizer, wrong, monkeypatch):
    monkeypatch.setattr(tokenizer, "model_max_length", 64)
    with pytest.raises(IsonumError, match=rf"max_length from 3 to 64, .* got .*{'='.join(map(str, *wrong.items()))}"):
        text_batches(tokenizer, ["a b c"], **wrong)
    (batch,) = text_batches(tokenizer, ["a " * 100])
    assert batch["input_ids"].shape == (2, 64), "by default no longer than that"


def test_only_the_named_tokens_count(tokenizer):
    batches = text_batches(tokenizer, ["a b c", "d a"])
    chosen = counting(batches, {4, 6})
    assert _words(chosen) == [4, 6, 4] and _words(batches) == [4, 5, 6, 7, 4], "the original is untouched"
    assert torch.equal(chosen[0]["attention_mask"], batches[0]["attention_mask"]), "all are still read"
