"""Tiny models from configurations of real transformers classes, with random weights that a seed decides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import transformers
from torch import nn

from isonum_core.errors import IsonumError

PAD, EOS = 0, 1  # as in worlds.tokens, which numbers its bins from 3


@dataclass(frozen=True)
class Tiny:
    """Sizes of a tiny model. `architecture` is a key of ARCHITECTURES.

    Token models ("gpt2", "llama", "t5") read `vocabulary` ids and, with `tied`, write with the table that they read
    with. Direct models ("patchtst", "patchtsmixer", "timesfm") read `context` numbers in patches of `patch` steps and
    write `horizon` numbers at once; they have no vocabulary to tie.
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

    The feed-forward layers are 4 d wide (2 d in the mixer, d in TimesFM, as published). Numbers reach direct models as
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


def _gpt2(config: Tiny) -> nn.Module:
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=config.vocabulary,
            n_positions=config.context + config.horizon,
            n_embd=config.d,
            n_layer=config.layers,
            n_head=config.heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=EOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
            tie_word_embeddings=config.tied,
        )
    )


def _llama(config: Tiny) -> nn.Module:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config.vocabulary,
            max_position_embeddings=config.context + config.horizon,
            hidden_size=config.d,
            intermediate_size=4 * config.d,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            bos_token_id=EOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
            tie_word_embeddings=config.tied,
        )
    )


def _t5(config: Tiny) -> nn.Module:
    found = transformers.T5Config(
        vocab_size=config.vocabulary,
        d_model=config.d,
        d_kv=config.d // config.heads,
        d_ff=4 * config.d,
        num_layers=config.layers,
        num_heads=config.heads,
        dropout_rate=0.0,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
    )
    # Given to T5Config, tie_word_embeddings=False would leave the tables tied (transformers 5) and switch off the
    # factor d^-1/2 on the logits instead. Set here, it gives all four tables weights of their own, and the factor
    # stays; the encoder's and the decoder's are then tied again. The arms differ in the output table and nothing else.
    found.tie_word_embeddings = config.tied
    model = transformers.T5ForConditionalGeneration(found)
    model.set_input_embeddings(model.get_input_embeddings())
    return model


def _patchtst(config: Tiny) -> nn.Module:
    return transformers.PatchTSTForPrediction(
        transformers.PatchTSTConfig(
            context_length=config.context,
            prediction_length=config.horizon,
            patch_length=config.patch,
            patch_stride=config.patch,
            d_model=config.d,
            ffn_dim=4 * config.d,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            norm_type="layernorm",
            pooling_type=None,  # the head reads every patch: a mean over patches would lose their order
            scaling=None,
        )
    )


def _patchtsmixer(config: Tiny) -> nn.Module:
    return transformers.PatchTSMixerForPrediction(
        transformers.PatchTSMixerConfig(
            context_length=config.context,
            prediction_length=config.horizon,
            patch_length=config.patch,
            patch_stride=config.patch,
            d_model=config.d,
            num_layers=config.layers,
            dropout=0.0,
            head_dropout=0.0,
            scaling=None,
        )
    )


def _timesfm(config: Tiny) -> nn.Module:
    return transformers.TimesFm2_5ModelForPrediction(
        transformers.TimesFm2_5Config(
            context_length=config.context,
            horizon_length=config.horizon,
            patch_length=config.patch,
            hidden_size=config.d,
            intermediate_size=config.d,
            head_dim=config.d // config.heads,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=config.context // config.patch,
            # The point forecast alone: no quantiles, one pass instead of two, and negative numbers stay negative.
            quantiles=(),
            decode_index=0,
            output_quantile_len=1,
            use_continuous_quantile_head=False,
            force_flip_invariance=False,
            infer_is_positive=False,
        )
    )


TOKEN = {"gpt2": _gpt2, "llama": _llama, "t5": _t5}
DIRECT = {"patchtst": _patchtst, "patchtsmixer": _patchtsmixer, "timesfm": _timesfm}
ARCHITECTURES = TOKEN | DIRECT
