"""Tiny models from configurations of real transformers classes, with random weights that a seed decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn

from isonum_core.errors import among
from isonum_core.worlds.tokens import EOS, PAD


@dataclass(frozen=True)
class Tiny:
    """Sizes of a tiny token model: "gpt2" or "llama". With `tied` it writes with the table that it reads with."""

    architecture: str
    d: int = 32
    layers: int = 2
    heads: int = 4
    context: int = 128
    horizon: int = 16
    vocabulary: int = 512
    tied: bool = False


def tiny_model(config: Tiny, seed: int) -> nn.Module:
    """The model, in float32 on the CPU, in training mode, without dropout. The same seed gives the same weights.

    The feed-forward layers are 4 d wide. Raises IsonumError on an unknown architecture.
    """
    c = config
    kind = among("tiny model", c.architecture, ARCHITECTURES)
    more = dict(vocab_size=c.vocabulary, max_position_embeddings=c.context + c.horizon)
    more |= dict(intermediate_size=4 * c.d) if c.architecture == "llama" else {}  # of GPT-2 it is so by itself
    more |= dict(bos_token_id=EOS, eos_token_id=EOS, pad_token_id=PAD, tie_word_embeddings=c.tied)
    # transformers draws weights from torch's global generator: it is lent for this call and given back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(configured(c.architecture, c, **more)).train()


ARCHITECTURES = {"gpt2": transformers.GPT2LMHeadModel, "llama": transformers.LlamaForCausalLM}
# Classes of configurations, and what all models of ours have in common: no dropout, numbers as they are.
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
