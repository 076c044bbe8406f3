"""The layer study on a small language model: which tokens are counted, what the clouds are, and twins that differ."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import mean_cosine, participation_ratio
from isonum_core.lab.study import find_study
from isonum_core.networks.models import Checkpoint
from isonum_core.studies import checkpoints_layers as study
from isonum_core.studies.checkpoints_layers import Layers, matched


@pytest.fixture(scope="module")
def speaker():
    """Reads letters and digits one by one; its first block lengthens whatever stands first, as a sink is."""
    words = {word: i for i, word in enumerate(["<s>", *"0123456789 .,'-:;()", *map(chr, range(65, 123)), "\n"])}
    core = Tokenizer(models.WordLevel(words, unk_token="<s>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>")
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**sizes, vocab_size=len(words), initializer_range=0.3)
    model = transformers.LlamaForCausalLM(config).eval()

    def lengthened(module, args, out):
        out = out.clone()
        out[:, 0] *= 100
        return out

    model.model.layers[0].register_forward_hook(lengthened)
    return Checkpoint(model, tokenizer, {})


@pytest.fixture
def small_study(speaker, monkeypatch):
    for cached in (study.loaded, study.twin):
        cached.cache_clear()
    monkeypatch.setattr(study, "smollm2", lambda: speaker)
    yield study
    for cached in (study.loaded, study.twin):
        cached.cache_clear()


def rows_by(rows, side):
    return {row["site"]: row for row in rows if row["side"] == side}


def test_a_row_is_that_of_the_states_themselves(small_study, speaker):
    config = Layers(2, 3, "pretrained", 0)
    rows = small_study.run(config)
    assert find_study("checkpoints_layers").cells(config, rows)
    found = rows_by(rows, "text")
    assert [*found] == ["embed", "block.0", "block.1", "final_norm"]
    ids = torch.tensor(small_study.text_ids(speaker)[2])[None]
    met = []
    handle = speaker.model.model.layers[0].register_forward_hook(lambda module, args, out: met.append(out[0].detach()))
    with torch.no_grad():
        speaker.model(input_ids=ids)
    handle.remove()
    row, states = found["block.0"], met[0]
    assert row["sinks"] == row["at_start"] == 1 and found["embed"]["sinks"] == 0
    assert row["longest"] == pytest.approx(float(states[0].norm() / states.norm(dim=1).median()), rel=1e-4)
    for cloud, m in (("all", Moments.of(states)), ("without", Moments.of(states[1:]))):
        # five digits are kept
        assert row[f"pr_{cloud}"] == pytest.approx(float(participation_ratio(m)), rel=1e-4)
        assert row[f"cosine_{cloud}"] == pytest.approx(float(mean_cosine(m)), abs=1e-5)
    assert row["pr_all"] < 1.5 < row["pr_without"]


def test_both_sides_are_matched_token_by_token(small_study, speaker):
    text, numbers = study.text_ids(speaker)[0], study.number_ids(speaker)[0]
    digits = study.Numerals(speaker).words[0].numpy()
    (left,), (right,) = matched([text], [numbers], digits, np.random.default_rng(0))
    counts = [sorted(Counter(side[places].tolist()).values()) for side, places in ((text, left), (numbers, right))]
    assert counts[0] == counts[1] and len(counts[0]) == len(set(numbers.tolist()) & set(digits.tolist()))
    assert set(numbers[right]) <= set(digits.tolist())
    common = [word for word, _ in Counter(text.tolist()).most_common(study.TYPES)]
    assert set(text[left]) <= set(common) and len(set(left)) == len(left)
    rows = small_study.run(Layers(0, 1, "pretrained", 0))
    assert rows_by(rows, "text")["embed"]["n_matched"] == rows_by(rows, "numbers")["embed"]["n_matched"] == len(left)


def test_a_pool_is_the_cloud_of_its_texts_together(small_study, speaker):
    pooled = rows_by(small_study.run(Layers(0, 2, "pretrained", 0)), "numbers")["block.1"]
    each = [rows_by(small_study.run(Layers(i, i + 1, "pretrained", 0)), "numbers")["block.1"] for i in range(2)]
    assert pooled["sinks"] == sum(row["sinks"] for row in each)
    assert pooled["longest"] == max(row["longest"] for row in each)
    low, high = sorted(row["cosine_all"] for row in each)
    states = []
    for ids in study.number_ids(speaker)[:2]:
        with torch.no_grad():
            states.append(speaker.model(input_ids=torch.tensor(ids)[None], output_hidden_states=True))
    # transformers' last entry is after the final norm, so the one before it is block 0; block 1 is met by a hook
    assert low - 0.3 < pooled["cosine_all"] < high + 0.3
    rows = torch.cat([s.hidden_states[1][0] for s in states])
    found = rows_by(small_study.run(Layers(0, 2, "pretrained", 0)), "numbers")["block.0"]
    assert found["pr_all"] == pytest.approx(float(participation_ratio(Moments.of(rows))), rel=1e-4)


def test_series_are_numerals_and_texts_follow_each_other(small_study, speaker):
    numbers, texts = study.number_ids(speaker), study.text_ids(speaker)
    assert numbers.shape == texts.shape == (study.PAIRS, study.TOKENS)
    assert len(np.unique(texts, axis=0)) == len(np.unique(numbers, axis=0)) == study.PAIRS
    words = speaker.tokenizer.convert_ids_to_tokens(numbers[0].tolist())
    assert all(word.isdigit() != (i % 3 == 2) for i, word in enumerate(words))


def test_twins_are_reproducible_and_untrained(small_study, speaker):
    one, other = study.twin(1), study.twin(2)
    weights = [m.model.embed_tokens.weight for m in (one, other, speaker.model)]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert float(weights[0].detach().std()) == pytest.approx(16**-0.5, rel=0.1)  # of 1,264 weights: 2 % is one
    assert (one.model.norm.weight == 1).all()
    again = copy.deepcopy(weights[0])
    study.twin.cache_clear()
    assert torch.equal(study.twin(1).model.embed_tokens.weight, again)
    row = rows_by(small_study.run(Layers(0, 1, "random", 1)), "text")["final_norm"]
    assert row["pr_all"] != rows_by(small_study.run(Layers(0, 1, "random", 2)), "text")["final_norm"]["pr_all"]


def test_the_grid_pairs_every_text_with_a_twin():
    configs = study.grid("cpu")
    assert len(set(configs)) == len(configs) == 2 * study.PAIRS + 1 and {c.seed for c in configs} == {0, 1, 2, 3}
    assert [c.network for c in configs if c.last - c.first == study.PAIRS] == ["pretrained"]
    assert len(study.grid("quick")) == 2 and len(set(study.grid("gpu"))) == 11 * study.PAIRS + 2
