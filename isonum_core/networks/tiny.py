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

    The feed-forward layers are 4 d wide (2 d in the mixer, as published). Numbers reach direct models as they are,
    without the scaling that the PatchTST classes would add. Raises IsonumError on an unknown architecture, on sizes
    that do not divide, and on a tied direct model.
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
    kind, more = ARCHITECTURES[config.architecture]
    found = configured(config.architecture, config, **more(config))
    # Given to T5Config, tie_word_embeddings=False would leave the tables tied (transformers 5) and switch off the
    # factor d^-1/2 on the logits instead. Set here, it gives all four tables weights of their own, and the factor
    # stays; the encoder's and the decoder's are then tied again. The arms differ in the output table and nothing else.
    found.tie_word_embeddings = config.tied
    # transformers draws weights from torch's global generator: it is lent for this call and given back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(found).train()
    if not direct:
        model.set_input_embeddings(model.get_input_embeddings())
    return model


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


def _words(c: Tiny) -> dict[str, int]:
    special = dict(bos_token_id=EOS, eos_token_id=EOS, pad_token_id=PAD)
    return dict(vocab_size=c.vocabulary, max_position_embeddings=c.context + c.horizon, **special)


# Class of the whole model, and what its configuration says beside the sizes.
TOKEN = {
    "gpt2": (transformers.GPT2LMHeadModel, _words),
    "llama": (transformers.LlamaForCausalLM, lambda c: dict(intermediate_size=4 * c.d, **_words(c))),
    "t5": (
        transformers.T5ForConditionalGeneration,
        lambda c: dict(d_kv=c.d // c.heads, d_ff=4 * c.d, num_decoder_layers=c.layers, **_words(c)),
    ),
}
DIRECT = {
    # The head reads every patch: a mean over patches would lose their order.
    "patchtst": (
        transformers.PatchTSTForPrediction,
        lambda c: dict(ffn_dim=4 * c.d, prediction_length=c.horizon, pooling_type=None),
    ),
    "patchtsmixer": (
        transformers.PatchTSMixerForPrediction,
        lambda c: dict(prediction_length=c.horizon, head_dropout=0.0),
    ),
}
ARCHITECTURES = TOKEN | DIRECT
