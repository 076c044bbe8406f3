"""Tiny models are the classes, sizes and ties that their configuration says, and follow their seed."""

from __future__ import annotations

import pytest
import torch

from isonum_core.errors import IsonumError
from isonum_core.networks.tiny import ARCHITECTURES, DIRECT, TOKEN, Tiny, tiny_model

SMALL = dict(d=16, heads=2, context=32, horizon=4, patch=8, vocabulary=40)
ARMS = [(name, tied) for name in ARCHITECTURES for tied in ((False, True) if name in TOKEN else (False,))]
CLASSES = {
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "t5": "T5ForConditionalGeneration",
    "patchtst": "PatchTSTForPrediction",
    "patchtsmixer": "PatchTSMixerForPrediction",
}


def output(model):
    ids = torch.arange(3, 35).view(2, 16)
    kind = type(model).__name__
    if kind.startswith("PatchTS"):
        return model(past_values=torch.sin(ids.repeat(1, 2).float())[..., None]).prediction_outputs
    return model(ids, **({"labels": ids} if model.config.is_encoder_decoder else {})).logits


@pytest.mark.parametrize(("name", "tied"), ARMS)
def test_the_same_seed_gives_the_same_model_without_dropout(name, tied):
    state = torch.get_rng_state()
    first, again, other = (tiny_model(Tiny(name, tied=tied, **SMALL), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)  # the caller's generator is left alone
    assert type(first).__name__ == CLASSES[name] and first.training
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert torch.equal(output(first), output(first)) and torch.equal(output(first), output(again))
    assert all(p.dtype == torch.float32 for p in first.parameters())


@pytest.mark.parametrize("name", TOKEN)
def test_tied_models_write_with_the_table_they_read_with(name):
    tied, untied = (tiny_model(Tiny(name, tied=tied, **SMALL), 0) for tied in (True, False))
    for model, same in ((tied, True), (untied, False)):
        assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == same
    if name == "t5":
        assert untied.encoder.embed_tokens.weight is untied.decoder.embed_tokens.weight is untied.shared.weight
    count = [sum(p.numel() for p in model.parameters()) for model in (tied, untied)]
    assert count[1] - count[0] == SMALL["vocabulary"] * SMALL["d"]
    # Untying changes nothing but the table: logits start at the same size, within the luck of 40 x 16 draws.
    spread = [float(output(model).detach().std()) for model in (tied, untied)]
    assert 1 / 3 < spread[0] / spread[1] < 3


def test_untied_t5_is_what_its_configuration_alone_would_not_give():
    import transformers

    sizes = dict(vocab_size=9, d_model=4, d_kv=2, d_ff=4, num_layers=1, num_heads=2)
    asked = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, tie_word_embeddings=False))
    # The day this fails, transformers unties T5 by its configuration again, and `_t5` can be written plainly.
    assert asked.get_output_embeddings().weight is asked.get_input_embeddings().weight


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_sizes_are_those_of_the_configuration(name):
    model = tiny_model(Tiny(name, layers=3, **SMALL), 0)
    config = model.config
    assert config.hidden_size == 16 and config.num_hidden_layers == 3
    shape = (2, 4, 1) if name in DIRECT else (2, 16, 40)
    assert output(model).shape == shape


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (dict(architecture="lstm"), "An architecture is one of gpt2, .* got 'lstm'"),
        (dict(architecture="gpt2", d=30, heads=4), "d divisible by 2 heads was expected, .* d=30, .* heads=4"),
        (
            dict(architecture="patchtst", context=30, patch=8),
            "direct models context by patch .* context=30, .* patch=8",
        ),
        (dict(architecture="patchtst", tied=True), "no table to tie, got .* tied=True"),
    ],
)
def test_sizes_that_do_not_fit_are_named(wrong, words):
    with pytest.raises(IsonumError, match=words):
        tiny_model(Tiny(**{**SMALL, **wrong}), 0)
