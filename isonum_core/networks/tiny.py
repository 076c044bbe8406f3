"""Tiny models from configurations of real transformers classes, with random weights that a seed decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    direct = config.architecture in DIRECT
    if config.d % (2 * config.heads) or (direct and (config.context % config.patch or config.tied)):
        raise IsonumError(
            "d divisible by 2 heads was expected, and in direct models context by patch and no table to tie, got "
            f"{config}. Change the one that is off."
        )
    # transformers draws weights from torch's global generator: it is lent for this call and given back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[config.architecture](config).train()


# Classes of configurations, and what all models here have in common: no dropout, numbers as they are.
CONFIGURATIONS = {
    "gpt2": (transformers.GPT2Config, dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)),
    "llama": (transformers.LlamaConfig, {}),
    "bert": (transformers.BertConfig, dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
    "t5": (transformers.T5Config, dict(dropout_rate=0.0, decoder_start_token_id=PAD)),
    "patchtst": (transformers.PatchTSTConfig, dict(norm_type="layernorm", scaling=None)),
    "patchtsmixer": (transformers.PatchTSMixerConfig, dict(dropout=0.0, scaling=None)),
}


def configured(kind: str, c: Any, **more: Any) -> transformers.PreTrainedConfig:
    """The configuration of a kind with the sizes of c, which has d, layers, heads, context and patch; and `more`."""
    sizes = dict(hidden_size=c.d, num_hidden_layers=c.layers, num_attention_heads=c.heads)
    if kind.startswith("patch"):
        sizes |= dict(context_length=c.context, patch_length=c.patch, patch_stride=c.patch)
    return CONFIGURATIONS[kind][0](**(sizes | CONFIGURATIONS[kind][1] | more))


def _words(c: Tiny) -> dict:
    special = dict(bos_token_id=EOS, eos_token_id=EOS, pad_token_id=PAD)
    return dict(vocab_size=c.vocabulary, max_position_embeddings=c.context + c.horizon, **special)


def _gpt2(c: Tiny) -> nn.Module:
    return transformers.GPT2LMHeadModel(configured("gpt2", c, tie_word_embeddings=c.tied, **_words(c)))


def _llama(c: Tiny) -> nn.Module:
    more = dict(intermediate_size=4 * c.d, tie_word_embeddings=c.tied, **_words(c))
    return transformers.LlamaForCausalLM(configured("llama", c, **more))


def _t5(c: Tiny) -> nn.Module:
    sizes = dict(d_kv=c.d // c.heads, d_ff=4 * c.d, num_decoder_layers=c.layers)
    found = configured("t5", c, **sizes, vocab_size=c.vocabulary, pad_token_id=PAD, eos_token_id=EOS)
    # Given to T5Config, tie_word_embeddings=False would leave the tables tied (transformers 5) and switch off the
    # factor d^-1/2 on the logits instead. Set here, it gives all four tables weights of their own, and the factor
    # stays; the encoder's and the decoder's are then tied again. The arms differ in the output table and nothing else.
    found.tie_word_embeddings = c.tied
    model = transformers.T5ForConditionalGeneration(found)
    model.set_input_embeddings(model.get_input_embeddings())
    return model


def _patchtst(c: Tiny) -> nn.Module:
    # The head reads every patch: a mean over patches would lose their order.
    more = dict(ffn_dim=4 * c.d, prediction_length=c.horizon, pooling_type=None)
    return transformers.PatchTSTForPrediction(configured("patchtst", c, **more))


def _patchtsmixer(c: Tiny) -> nn.Module:
    more = dict(prediction_length=c.horizon, head_dropout=0.0)
    return transformers.PatchTSMixerForPrediction(configured("patchtsmixer", c, **more))


TOKEN = {"gpt2": _gpt2, "llama": _llama, "t5": _t5}
DIRECT = {"patchtst": _patchtst, "patchtsmixer": _patchtsmixer}
ARCHITECTURES = TOKEN | DIRECT
