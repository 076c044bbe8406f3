"""Forecasts come back as numbers of the series, and sample paths follow the model's own probabilities."""

from __future__ import annotations

import pytest
import torch

from isonum_core.errors import IsonumError
from isonum_core.networks.forecast import sample_paths, token_loss, token_windows
from isonum_core.networks.tiny import Tiny, tiny_model
from isonum_core.worlds.tokens import MeanScale

SMALL = dict(d=16, heads=2, context=32, horizon=4, patch=8, vocabulary=40)
DECODERS = ("gpt2", "llama")
TOKENS = MeanScale(n_tokens=40, low=-3.0, high=3.0, context_length=32)


@pytest.fixture
def context(rng):
    return torch.from_numpy(rng.normal(size=(3, 32)).cumsum(axis=1)).float()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("eos", [True, False])
def test_windows_become_ids_on_the_scale_of_their_context(context, eos):
    tokeniser = MeanScale(n_tokens=4096, context_length=32, eos=eos)
    target = context[:, :4]
    read, after = token_windows(context, target, tokeniser)
    assert read.shape == (3, 32) and after.shape == (3, 4)
    for x, y, a, b in zip(context, target, read, after, strict=True):
        scale = float(x.abs().mean())
        assert (tokeniser.decode(a, scale) - x).abs().max() <= scale * tokeniser.width / 2 * 1.001  # float32
        assert (tokeniser.decode(b, scale) - y).abs().max() <= scale * tokeniser.width / 2 * 1.001


def test_a_decoder_s_loss_is_over_every_next_token_but_padding():
    model = tiny_model(Tiny("gpt2", **SMALL), 0)
    read, after = torch.tensor([[5, 6, 0, 7]]), torch.tensor([[8, 9]])
    p = model(torch.tensor([[5, 6, 0, 7, 8]])).logits.log_softmax(-1)[0]
    expected = -(p[0, 6] + p[2, 7] + p[3, 8] + p[4, 9]) / 4
    assert torch.allclose(token_loss(model, read, after), expected, atol=1e-5)


def test_the_loss_of_t5_is_over_the_target_but_padding():
    model = tiny_model(Tiny("t5", **SMALL), 0)
    read, after = torch.tensor([[5, 6, 7]]), torch.tensor([[8, 0, 9]])
    p = model(read, decoder_input_ids=torch.tensor([[0, 8, 0]])).logits.log_softmax(-1)[0]
    assert torch.allclose(token_loss(model, read, after), -(p[0, 8] + p[2, 9]) / 2, atol=1e-5)


def greedy(model, read, horizon):
    """Likeliest bin after likeliest bin, each time from the start: slow, and without a cache to get wrong."""
    for _ in range(horizon):
        read = torch.cat([read, model(read).logits[:, -1, 3:].argmax(-1, keepdim=True) + 3], 1)
    return read[:, -horizon:]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", DECODERS)
def test_cold_paths_are_the_likeliest_tokens_in_the_units_of_the_series(name, tied, context):
    model = tiny_model(Tiny(name, tied=tied, **SMALL), 0).eval()
    coded = [TOKENS.encode(x) for x in context]
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1e6)  # so cold that one token alone is likely
    ids = greedy(model, torch.stack([c.ids[:-1] for c in coded]), 4)
    expected = torch.stack([TOKENS.decode(i, c.scale) for i, c in zip(ids, coded, strict=True)])
    paths = sample_paths(model, TOKENS, context, 4, 2, generator())
    assert paths.shape == (3, 4, 2)
    assert torch.allclose(paths, expected[..., None].expand(-1, -1, 2))


@pytest.mark.parametrize("name", DECODERS)
def test_paths_follow_the_model_s_probabilities(name, context):
    model = tiny_model(Tiny(name, **SMALL), 0).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(100)  # far from even, or nothing is tested
    code = TOKENS.encode(context[0])
    p = model(code.ids[:-1][None]).logits[0, -1, 3:].softmax(-1).detach()
    assert p.max() > 0.1
    paths = sample_paths(model, TOKENS, context[:1], 1, 4000, generator())
    values = paths[0, 0] / code.scale
    drawn = (values[:, None] - TOKENS.centres).abs().argmin(1)
    share = torch.bincount(drawn, minlength=37) / 4000
    error = (p * (1 - p) / 4000).sqrt()
    assert ((share - p).abs() <= 5 * error + 1e-9).all()


def test_paths_follow_their_generator(context):
    model = tiny_model(Tiny("gpt2", **SMALL), 0).eval()
    first, again, other = (sample_paths(model, TOKENS, context, 4, 3, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_what_cannot_be_sampled_is_named(context):
    model = tiny_model(Tiny("gpt2", **SMALL), 0)
    for wrong in (dict(horizon=0), dict(paths=0)):
        asked = {"horizon": 1, "paths": 1, **wrong}
        with pytest.raises(IsonumError, match=f"got .*{next(iter(wrong))}={next(iter(wrong.values()))}"):
            sample_paths(model, TOKENS, context, generator=generator(), **asked)
    with pytest.raises(IsonumError, match="a decoder alone .* got T5ForConditionalGeneration, horizon=1, paths=1"):
        sample_paths(tiny_model(Tiny("t5", **SMALL), 0), TOKENS, context, 1, 1, generator())


def test_a_context_of_one_step_is_continued(context):
    model = tiny_model(Tiny("llama", **SMALL), 0).eval()
    assert sample_paths(model, TOKENS, context[:, :1], 2, 3, generator()).isfinite().all()
