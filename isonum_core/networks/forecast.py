"""Forecasts: laws over number-words, sample paths token by token; and the loss that these train by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutputWithPast

from isonum_core.errors import IsonumError
from isonum_core.worlds.tokens import EOS, PAD, MeanScale

# What transformers calls the keys and values of tokens that were read: since 5.24 by the first name.
CACHE = next(name for name in ("cache", "past_key_values") if name in CausalLMOutputWithPast.__dataclass_fields__)


@dataclass(frozen=True)
class Predictive:
    """Predictive distributions of n windows: probabilities of the words at each step, and what the words are worth.

    A word v of window i stands for last_i + scale_i centre_v, in the unit of the series.
    """

    p: Float[Tensor, "n H V"]
    centres: Float[Tensor, "V"]
    last: Float[Tensor, "n 1"]
    scale: Float[Tensor, "n 1"]

    @property
    def mean(self) -> Float[Tensor, "n H"]:
        """Expected value of each step: the forecast for squared error, in the unit of the series."""
        return self.last + self.scale * (self.p @ self.centres)

    def nll(self, target: Float[Tensor, "n H"]) -> Float[Tensor, ""]:
        """Mean negative log-likelihood of the words that came, in nats a word; log V for a model that knows nothing."""
        ids = word_ids((target - self.last) / self.scale, self.centres)
        return -self.p.gather(2, ids[..., None]).clamp_min(torch.finfo(self.p.dtype).tiny).log().mean()

    def crps(self, target: Float[Tensor, "n H"]) -> Float[Tensor, ""]:
        """Mean continuous ranked probability score, in standard deviations of the context; smaller is better.

        E|X - y| - E|X - X'| / 2 over the words' own law, exact: no paths are drawn. Gneiting and Raftery 2007.
        """
        y = (target - self.last) / self.scale
        apart = (self.centres[:, None] - self.centres).abs()
        spread = ((self.p @ apart) * self.p).sum(-1)
        return ((self.p * (self.centres - y[..., None]).abs()).sum(-1) - spread / 2).mean()


@dataclass(frozen=True)
class Reading:
    """What one pass over n windows gives: what the network says next, and the state of each window at each site."""

    said: Predictive
    states: dict[str, Float[Tensor, "n d"]]


def word_ids(y: Float[Tensor, "n H"], centres: Float[Tensor, "V"]) -> Int[Tensor, "n H"]:
    """Number of the nearest of the evenly spaced centres; values beyond the outermost take these."""
    return ((y - centres[0]) / (centres[1] - centres[0])).round().clamp(0, len(centres) - 1).long()


def token_loss(model: nn.Module, context: Int[Tensor, "n C"], target: Int[Tensor, "n H"]) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats per token: of every next token in a decoder, of the target alone in T5.

    Padding (a missing value) is never a target.
    """
    if model.config.is_encoder_decoder:
        labels = target.masked_fill(target == PAD, -100)
        return model(input_ids=context, attention_mask=(context != PAD).long(), labels=labels).loss
    ids = torch.cat([context, target], dim=1)
    logits = model(input_ids=ids[:, :-1]).logits
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)


def token_windows(
    context: Float[Tensor, "n C"], target: Float[Tensor, "n H"], tokeniser: MeanScale
) -> tuple[Int[Tensor, "n C"], Int[Tensor, "n H"]]:
    """Ids of contexts, and of what follows them on the scale of its context: what `token_loss` trains on.

    End of series is left out, also where the tokeniser would add it: windows do not end.
    """
    coded = [tokeniser.encode(x) for x in context]
    after = [tokeniser.encode(y, code.scale) for y, code in zip(target, coded, strict=True)]
    return _ids(coded), _ids(after)


@torch.no_grad()
def sample_paths(
    model: nn.Module,
    tokeniser: MeanScale,
    context: Float[Tensor, "n C"],
    horizon: int,
    paths: int,
    generator: torch.Generator,
) -> Float[Tensor, "n H S"]:
    """Futures drawn token by token from a decoder and turned back to numbers, in the units of the series.

    Only the ids of bins are drawn, never padding or end of series: their probability is shared out among the bins.
    A series is read once; then its S paths run side by side. The generator lives on the model's device. The model's
    mode is left as it is: call `.eval()` first where it has dropout. IsonumError below one step or path, and on a
    model with an encoder.
    """
    if horizon < 1 or paths < 1 or model.config.is_encoder_decoder:
        got = f"{type(model).__name__}, horizon={horizon}, paths={paths}"
        raise IsonumError(f"a decoder alone and at least one step and one path were expected, got {got}.")
    coded = [tokeniser.encode(x) for x in context]
    read = _ids(coded).to(next(model.parameters()).device)
    first, drawn, cache = tokeniser.n_special + 1, [], None
    if read.shape[1] > 1:
        cache = model(input_ids=read[:, :-1], use_cache=True)[CACHE]
        cache.batch_repeat_interleave(paths)
    fed = read[:, -1:].repeat_interleave(paths, dim=0)
    for _ in range(horizon):
        out = model(input_ids=fed, use_cache=True, **{CACHE: cache})
        cache = out[CACHE]
        weights = out.logits[:, -1, first:].float().softmax(-1)
        fed = first + torch.multinomial(weights, 1, generator=generator)
        drawn.append(fed)
    ids = torch.cat(drawn, dim=1).view(len(coded), paths, horizon).cpu()
    decoded = [tokeniser.decode(x.flatten(), code.scale).view_as(x) for x, code in zip(ids, coded, strict=True)]
    return torch.stack(decoded).mT


def _ids(coded: list) -> Int[Tensor, "n T"]:
    """Ids side by side, without the end of series. Series of different lengths are refused by torch.stack."""
    return torch.stack([code.ids[:-1] if code.ids[-1] == EOS else code.ids for code in coded])
