"""Sites of real classes of transformers, built tiny and at random, against the hidden states that they return."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

from isonum_core.errors import IsonumError
from isonum_core.networks.models import AsSaved, load_checkpoint
from isonum_core.networks.patched import TRUNKS, Patched, patched_model
from isonum_core.networks.sites import find, listening, sites
from isonum_core.networks.tiny import DIRECT, Tiny, tiny_model

WORDS = dict(vocab_size=40, bos_token_id=0, eos_token_id=1, pad_token_id=0)
SHAPE = dict(
    hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, max_position_embeddings=64
)
HALVES = dict(d_model=16, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=32, decoder_ffn_dim=32)
HALVES |= dict(
    encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=64, decoder_start_token_id=0
)
OPT = dict(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, ffn_dim=32, max_position_embeddings=64)
# Name -> class, configuration, whether a norm follows the last block.
ONE_STACK = {
    "opt": ("OPTForCausalLM", dict(word_embed_proj_dim=16, **OPT), True),
    "opt, norms after": ("OPTForCausalLM", dict(word_embed_proj_dim=16, do_layer_norm_before=False, **OPT), False),
    "phi": ("PhiForCausalLM", SHAPE, True),
    "modernbert": ("ModernBertForMaskedLM", dict(cls_token_id=0, sep_token_id=1, **SHAPE), True),
    "albert": ("AlbertModel", dict(embedding_size=8, **SHAPE), False),
    "albert, two groups": ("AlbertModel", dict(embedding_size=8, num_hidden_groups=2, **SHAPE), False),
    "xlnet": ("XLNetModel", dict(d_model=16, n_layer=4, n_head=2, d_inner=32), False),
    "clip": ("CLIPTextModel", SHAPE, True),
    "xglm": ("XGLMForCausalLM", dict(d_model=16, num_layers=4, attention_heads=2, ffn_dim=32), True),
    "esm": ("EsmModel", dict(mask_token_id=2, **SHAPE), True),
}
TWO_STACKS = {
    "bart": ("BartForConditionalGeneration", False),
    "mbart": ("MBartForConditionalGeneration", True),
    "marian": ("MarianMTModel", False),
    "pegasus": ("PegasusForConditionalGeneration", True),
    "m2m100": ("M2M100ForConditionalGeneration", True),
}


def built(name, config):
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    model = kind(kind.config_class(**WORDS, **config)).eval()
    # Norms start as the identity; without this, a site before the norm could pass for the one after it.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def ids(rows=3, length=7, seed=0):
    return torch.randint(2, 40, (rows, length), generator=torch.Generator().manual_seed(seed))


def met(model, wanted=None, **inputs):
    states = {}
    with torch.no_grad(), listening(wanted or find(model), lambda site, x: states.update({site.name: x})):
        out = model(**inputs)
    return states, out


def same(states, hidden):
    # The same numbers, copied.
    assert states.shape == hidden.shape and torch.equal(states, hidden)


@pytest.mark.parametrize("name", ONE_STACK)
def test_sites_of_one_stack_are_the_hidden_states_of_transformers(name):
    kind, config, normed = ONE_STACK[name]
    model = built(kind, config)
    states, out = met(model, input_ids=ids(), attention_mask=torch.ones_like(ids()), output_hidden_states=True)
    names = ["embed", *(f"block.{i}" for i in range(4)), *["final_norm"] * normed]
    assert [site for site in sites(model) if site != "logits"] == names
    hidden = [h.transpose(0, 1) if name == "xlnet" and h.shape[0] == 7 else h for h in out.hidden_states]
    for site, expected in zip(names, hidden[:-1], strict=False):
        same(states[site], expected)
    # The last entry is after the norm, but in CLIP, whose norm only last_hidden_state has.
    last = out.last_hidden_state if name == "clip" else hidden[-1]
    same(states[names[-1]], last)
    if normed:
        assert (states["block.3"] - last).abs().max() > 1e-3
        same(states["block.3"], before_the_norm(model))


def before_the_norm(model):
    """What leaves the last block: transformers returns it where no norm follows, so its norm is taken away."""
    norm = next(site.module for site in find(model) if site.name == "final_norm")
    model.set_submodule(next(path for path, module in model.named_modules() if module is norm), nn.Identity())
    with torch.no_grad():
        given = dict(input_ids=ids(), attention_mask=torch.ones_like(ids()))
        return model(**given, output_hidden_states=True).hidden_states[-1]


def test_mamba_returns_states_after_its_blocks_and_none_before():
    model = built("MambaForCausalLM", dict(hidden_size=16, num_hidden_layers=3, state_size=4))
    states, out = met(model, input_ids=ids(), output_hidden_states=True)
    assert list(states) == ["embed", "block.0", "block.1", "block.2", "final_norm", "logits"]
    for site, expected in zip(list(states)[1:5], out.hidden_states, strict=True):
        same(states[site], expected)
    same(states["embed"], model.get_input_embeddings()(ids()))


@pytest.mark.parametrize("name", TWO_STACKS)
def test_both_halves_are_the_hidden_states_of_transformers(name):
    kind, normed = TWO_STACKS[name]
    model = built(kind, HALVES)
    states, out = met(model, input_ids=ids(), decoder_input_ids=ids(length=5, seed=1), output_hidden_states=True)
    blocks = [f"encoder.block.{i}" for i in range(2)], [f"decoder.block.{i}" for i in range(3)]
    for half, own, hidden in zip(
        ("encoder", "decoder"), blocks, (out.encoder_hidden_states, out.decoder_hidden_states), strict=True
    ):
        names = [f"{half}.embed", *own, *[f"{half}.final_norm"] * normed]
        assert [site for site in sites(model) if site.startswith(half)] == names
        for site, expected in zip(names, hidden[:-1], strict=False):
            same(states[site], expected)
        same(states[names[-1]], hidden[-1])
    same(states["logits"], out.logits - getattr(model, "final_logits_bias", 0))
    streams = {site.name: site.stream for site in find(model)}
    assert {streams[site] for site in blocks[0]} == {""} and streams["logits"] == "decoder_"
    assert {streams[site] for site in blocks[1]} == {"decoder_"}


# Without Marian, whose positions are computed and not saved: what `built` has added to them is lost.
@pytest.mark.parametrize("name", [name for name in (*ONE_STACK, *TWO_STACKS) if name != "marian"])
def test_a_checkpoint_that_was_saved_and_is_loaded_has_the_same_sites(name, tmp_path):
    kind, config = ONE_STACK[name][:2] if name in ONE_STACK else (TWO_STACKS[name][0], HALVES)
    model = built(kind, config)
    model.save_pretrained(tmp_path)
    loaded = load_checkpoint(tmp_path, model_class=AsSaved).model
    given = dict(input_ids=ids()) | (dict(decoder_input_ids=ids(length=5, seed=1)) if name in TWO_STACKS else {})
    (want, _), (found, _) = met(model, **given), met(loaded, **given)
    assert type(loaded) is type(model) and [*found] == [*want]
    for site, states in want.items():
        same(found[site], states)


def test_a_part_of_a_shared_block_s_calls_can_be_asked_for():
    model = built("AlbertModel", dict(embedding_size=8, **SHAPE))
    wanted = [site for site in find(model) if site.name == "block.2"]
    states, out = met(model, wanted, input_ids=ids(), output_hidden_states=True)
    same(states["block.2"], out.hidden_states[3])


@pytest.mark.parametrize("trunk", TRUNKS)
def test_our_own_networks_have_sites_and_the_state_that_is_read(trunk):
    found = sites(patched_model(Patched(trunk), 0))
    assert found[-1] == "read" and found[0].endswith("embed") and sum("block" in site for site in found) == 2


@pytest.mark.parametrize("name", DIRECT)
def test_direct_models_have_sites(name):
    assert sites(tiny_model(Tiny(name), 0)) == ["embed", "block.0", "block.1"]


class Own(nn.Module):
    """A network of nobody's library: blocks under a name of its own, and one that `order` never runs or runs twice."""

    def __init__(self, order=(0, 1)):
        super().__init__()
        self.order, self.inner = order, nn.Module()
        self.inner.stages = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.inner.last = nn.LayerNorm(4)

    def forward(self, x):
        for i in self.order:
            x = self.inner.stages[i](x)
        return self.inner.last(x)


def test_blocks_of_an_unknown_model_are_named_by_their_path():
    model, x = Own().eval(), torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(IsonumError, match='got Own with module lists at inner.stages. Name the path .*blocks="model'):
        sites(model)
    assert sites(model, "inner.stages") == ["embed", "block.0", "block.1"]
    states, out = met(model, find(model, "inner.stages", "inner.last"), x=x)
    assert torch.equal(states["embed"], x) and torch.equal(states["final_norm"], out)
    for wrong in (
        dict(blocks="inner.nothing"),
        dict(blocks="inner.last"),
        dict(blocks="inner.stages", norm="inner.no"),
    ):
        with pytest.raises(IsonumError, match=f"blocks were expected at {wrong['blocks']}.*, got Own with"):
            sites(model, **wrong)


def test_a_decoder_s_blocks_by_path_have_the_decoder_s_positions():
    model = built("BartForConditionalGeneration", HALVES)
    found = find(model, "model.decoder.layers")
    assert {site.stream for site in found} == {"decoder_"} and [s.name for s in found][:2] == ["embed", "block.0"]


def test_a_flag_that_is_called_like_a_norm_is_none_and_a_norm_before_the_blocks_is_told():
    model = nn.Module()
    model.layers, model.norm, model.layer_norm = nn.ModuleList([nn.Linear(4, 4)]), True, nn.LayerNorm(4)
    assert [site.module for site in find(model)][-1] is model.layer_norm
    with pytest.raises(IsonumError, match="in this order, got .*, in the order final_norm, embed, block.0. Name"):
        with listening(find(model), lambda site, states: None):
            model.layers[0](model.layer_norm(torch.zeros(1, 2, 4)))


@pytest.mark.parametrize("order", [(0,), (0, 0, 1), (1, 0)])
def test_a_block_that_is_not_met_once_and_in_its_turn_is_told(order):
    model = Own(order)
    with pytest.raises(IsonumError, match="met once a pass, in this order, got calls .*'block.1': .* Name the blocks"):
        met(model, find(model, "inner.stages"), x=torch.zeros(1, 2, 4))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_two_streams_in_one_block_are_refused():
    class Two(nn.Module):
        def forward(self, x):
            return x, x + 1

    model = nn.Module()
    model.layers = nn.ModuleList([Two()])
    with pytest.raises(IsonumError, match="one tensor of states was expected at site 'block.0', got others from Two"):
        with listening(find(model), lambda site, states: None):
            model.layers[0](torch.zeros(1, 2, 4))
