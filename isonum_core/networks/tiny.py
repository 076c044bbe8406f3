"""Tiny models from configurations of real transformers classes, with random weights that a seed decides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import transformers
from torch import nn

from isonum_core.errors import IsonumError
from isonum_core.worlds.tokens import EOS, PAD


@dataclass(frozen=True)
class Tiny:
    """Sizes of a tiny model. `architecture` is a key of ARCHITECTURES.

    Token models ("gpt2", "llama", "t5") read `vocabulary` ids and, with `tied`, write with the table that they read
    with. Direct models ("patchtst", "patchtsmixer") read `context` numbers in patches of `patch` steps and write
    `horizon` numbers at once; they have no vocabulary to tie.
    """

    architecture: str
    d: int = 32
    layers: int = 2
    heads: int = 4
    context: int = 128
    horizon: int = 16
    patch: int = 16
    vocabulary: int = 512
    tied: bool = False


def tiny_model(config: Tiny, seed: int) -> nn.Module:
    """The model, in float32 on the CPU, in training mode, without dropout. The same seed gives the same weights.

    The feed-forward layers are 4 d wide (2 d in the mixer, as published). Numbers reach direct models as
    they are, without the scaling that the PatchTST classes would add: `forecast.direct_forecast` scales. Raises
    IsonumError on an unknown architecture, on sizes that do not divide, and on a tied direct model.
    """
    if config.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise IsonumError(f"An architecture is one of {known}, got {config.architecture!r}. Choose one of them.")
    if config.d % (2 * config.heads):
        raise IsonumError(f"d should be a multiple of 2 heads, got d={config.d}, heads={config.heads}. Change one.")
    if config.architecture in DIRECT and config.context % config.patch:
        raise IsonumError(
            f"A context should hold whole patches, got context={config.context}, patch={config.patch}. Change one."
        )
    if config.architecture in DIRECT and config.tied:
        raise IsonumError(f"{config.architecture} has no vocabulary, got tied=True. Tie gpt2, llama or t5.")
    # transformers draws weights from torch's global generator: it is lent for this call and given back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[config.architecture](config).train()


def _gpt2(c: Tiny) -> nn.Module:
    sizes = dict(n_positions=c.context + c.horizon, n_embd=c.d, n_layer=c.layers, n_head=c.heads)
    none = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **none, **_words(c)))


def _llama(c: Tiny) -> nn.Module:
    sizes = dict(hidden_size=c.d, num_hidden_layers=c.layers, num_attention_heads=c.heads, intermediate_size=4 * c.d)
    positions = dict(max_position_embeddings=c.context + c.horizon)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **positions, **_words(c)))


def _words(c: Tiny) -> dict:
    """What the two decoders are told of their words."""
    special = dict(bos_token_id=EOS, eos_token_id=EOS, pad_token_id=PAD)
    return dict(vocab_size=c.vocabulary, tie_word_embeddings=c.tied, **special)


def _t5(c: Tiny) -> nn.Module:
    sizes = dict(d_model=c.d, d_kv=c.d // c.heads, d_ff=4 * c.d, num_layers=c.layers, num_heads=c.heads)
    none = dict(dropout_rate=0.0, pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=PAD)
    found = transformers.T5Config(vocab_size=c.vocabulary, **sizes, **none)
    # Given to T5Config, tie_word_embeddings=False would leave the tables tied (transformers 5) and switch off the
    # factor d^-1/2 on the logits instead. Set here, it gives all four tables weights of their own, and the factor
    # stays; the encoder's and the decoder's are then tied again. The arms differ in the output table and nothing else.
    found.tie_word_embeddings = c.tied
    model = transformers.T5ForConditionalGeneration(found)
    model.set_input_embeddings(model.get_input_embeddings())
    return model


def _patchtst(c: Tiny) -> nn.Module:
    sizes = dict(d_model=c.d, num_hidden_layers=c.layers, num_attention_heads=c.heads, ffn_dim=4 * c.d)
    # The head reads every patch: a mean over patches would lose their order.
    how = dict(norm_type="layernorm", pooling_type=None, scaling=None)
    return transformers.PatchTSTForPrediction(transformers.PatchTSTConfig(**sizes, **how, **_numbers(c)))


def _patchtsmixer(c: Tiny) -> nn.Module:
    none = dict(dropout=0.0, head_dropout=0.0, scaling=None)
    config = transformers.PatchTSMixerConfig(d_model=c.d, num_layers=c.layers, **none, **_numbers(c))
    return transformers.PatchTSMixerForPrediction(config)


def _numbers(c: Tiny) -> dict:
    """What the two direct models are told of their windows."""
    patches = dict(patch_length=c.patch, patch_stride=c.patch)
    return dict(context_length=c.context, prediction_length=c.horizon, **patches)


TOKEN = {"gpt2": _gpt2, "llama": _llama, "t5": _t5}
DIRECT = {"patchtst": _patchtst, "patchtsmixer": _patchtsmixer}
ARCHITECTURES = TOKEN | DIRECT
