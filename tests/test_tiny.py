"""Tiny models are the classes, sizes and ties that their configuration says, and follow their seed."""

from __future__ import annotations

import pytest
import torch

from isonum_core.errors import IsonumError
from isonum_core.networks.tiny import ARCHITECTURES, Tiny, tiny_model

SMALL = dict(d=16, heads=2, context=32, horizon=4, vocabulary=40)


def output(model):
    return model(torch.arange(3, 35).view(2, 16)).logits


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_same_seed_gives_the_same_model_without_dropout(name, tied):
    state = torch.get_rng_state()
    first, again, other = (tiny_model(Tiny(name, tied=tied, **SMALL), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)  # the caller's generator is left alone
    assert type(first).__name__ == {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM"}[name] and first.training
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert torch.equal(output(first), output(first)) and torch.equal(output(first), output(again))
    assert all(p.dtype == torch.float32 for p in first.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tied_models_write_with_the_table_they_read_with(name):
    tied, untied = (tiny_model(Tiny(name, tied=tied, **SMALL), 0) for tied in (True, False))
    for model, same in ((tied, True), (untied, False)):
        assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == same
    count = [sum(p.numel() for p in model.parameters()) for model in (tied, untied)]
    assert count[1] - count[0] == SMALL["vocabulary"] * SMALL["d"]
    # Untying changes nothing but the table: logits start at the same size, within the luck of 40 x 16 draws.
    spread = [float(output(model).detach().std()) for model in (tied, untied)]
    assert 1 / 3 < spread[0] / spread[1] < 3


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_sizes_are_those_of_the_configuration(name):
    model = tiny_model(Tiny(name, layers=3, **SMALL), 0)
    config = model.config
    assert config.hidden_size == 16 and config.num_hidden_layers == 3 and config.max_position_embeddings == 36
    assert output(model).shape == (2, 16, 40)
    wide = {tuple(p.shape) for name, p in model.named_parameters() if "mlp" in name and p.ndim == 2}
    assert wide == {(16, 64), (64, 16)}  # 4 d


def test_an_architecture_that_is_not_known_is_named():
    with pytest.raises(IsonumError, match="A tiny model is one of gpt2, llama, got 'lstm'"):
        tiny_model(Tiny("lstm"), 0)
