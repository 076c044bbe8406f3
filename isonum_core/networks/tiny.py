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


# What `networks.patched` builds its trunks from as well: c has d, layers, heads, context and patch.
def gpt2_config(c, positions: int, **more) -> transformers.GPT2Config:
    """A decoder with learnt positions."""
    sizes = dict(n_positions=positions, n_embd=c.d, n_layer=c.layers, n_head=c.heads)
    return transformers.GPT2Config(**sizes, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **more)


def llama_config(c, width: int, **more) -> transformers.LlamaConfig:
    """A decoder with rotary positions, gated."""
    sizes = dict(hidden_size=c.d, num_hidden_layers=c.layers, num_attention_heads=c.heads, intermediate_size=width)
    return transformers.LlamaConfig(**sizes, **more)


def t5_config(c, width: int, blocks: tuple[int, int], **more) -> transformers.T5Config:
    """So many blocks in the encoder and in the decoder."""
    sizes = dict(d_model=c.d, d_kv=c.d // c.heads, d_ff=width, num_heads=c.heads, dropout_rate=0.0)
    depth = dict(num_layers=blocks[0], num_decoder_layers=blocks[1])
    return transformers.T5Config(pad_token_id=PAD, decoder_start_token_id=PAD, **depth, **sizes, **more)


def patchtst_config(c, **more) -> transformers.PatchTSTConfig:
    """An encoder of patches that follow each other."""
    sizes = dict(d_model=c.d, num_hidden_layers=c.layers, num_attention_heads=c.heads, ffn_dim=4 * c.d)
    window = dict(context_length=c.context, patch_length=c.patch, patch_stride=c.patch)
    return transformers.PatchTSTConfig(norm_type="layernorm", scaling=None, **sizes, **window, **more)


def patchtsmixer_config(c, **more) -> transformers.PatchTSMixerConfig:
    """Patches mixed without attention."""
    window = dict(context_length=c.context, patch_length=c.patch, patch_stride=c.patch)
    return transformers.PatchTSMixerConfig(
        d_model=c.d, num_layers=c.layers, dropout=0.0, scaling=None, **window, **more
    )


def _words(c: Tiny) -> dict:
    special = dict(bos_token_id=EOS, eos_token_id=EOS, pad_token_id=PAD)
    return dict(vocab_size=c.vocabulary, tie_word_embeddings=c.tied, **special)


def _gpt2(c: Tiny) -> nn.Module:
    return transformers.GPT2LMHeadModel(gpt2_config(c, c.context + c.horizon, **_words(c)))


def _llama(c: Tiny) -> nn.Module:
    more = dict(max_position_embeddings=c.context + c.horizon, **_words(c))
    return transformers.LlamaForCausalLM(llama_config(c, 4 * c.d, **more))


def _t5(c: Tiny) -> nn.Module:
    found = t5_config(c, 4 * c.d, (c.layers, c.layers), vocab_size=c.vocabulary, eos_token_id=EOS)
    # Given to T5Config, tie_word_embeddings=False would leave the tables tied (transformers 5) and switch off the
    # factor d^-1/2 on the logits instead. Set here, it gives all four tables weights of their own, and the factor
    # stays; the encoder's and the decoder's are then tied again. The arms differ in the output table and nothing else.
    found.tie_word_embeddings = c.tied
    model = transformers.T5ForConditionalGeneration(found)
    model.set_input_embeddings(model.get_input_embeddings())
    return model


def _patchtst(c: Tiny) -> nn.Module:
    # The head reads every patch: a mean over patches would lose their order.
    return transformers.PatchTSTForPrediction(patchtst_config(c, prediction_length=c.horizon, pooling_type=None))


def _patchtsmixer(c: Tiny) -> nn.Module:
    config = patchtsmixer_config(c, prediction_length=c.horizon, head_dropout=0.0)
    return transformers.PatchTSMixerForPrediction(config)


TOKEN = {"gpt2": _gpt2, "llama": _llama, "t5": _t5}
DIRECT = {"patchtst": _patchtst, "patchtsmixer": _patchtsmixer}
ARCHITECTURES = TOKEN | DIRECT
