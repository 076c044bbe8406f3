"""A causal language model reads a series as decimal numerals and says how likely each next value is.

A value becomes one of a hundred levels, written with two digits and a space; nothing but the token of a beginning
stands before the first. The model's probabilities are renormalised over the ten digits where a digit must come. Gruver
et al. 2023 (arXiv 2310.07820) read series so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.networks.forecast import CACHE
from isonum_core.networks.models import Checkpoint

DIGITS, LEVELS = 2, 100
TOKENS = DIGITS + 1  # a value


@dataclass(frozen=True)
class Numerals:
    """How a checkpoint is given series, and what it says of them."""

    checkpoint: Checkpoint

    @cached_property
    def words(self) -> tuple[Int[Tensor, "10"], int, int]:
        """Token ids: of the ten digits, of the space, of what stands before the first value."""

        def ids(text: str) -> list[int]:
            return self.checkpoint.tokenizer(text, add_special_tokens=False)["input_ids"]

        digits = [ids(str(i)) for i in range(10)]
        if any(len(found) != 1 for found in digits) or ids("12") != digits[1] + digits[2] or len(ids(" ")) != 1:
            raise IsonumError("A tokenizer that splits numbers into single digits was expected, got another.")
        return torch.tensor(digits)[:, 0], ids(" ")[0], self.checkpoint.tokenizer.bos_token_id

    def ids(self, levels: Int[np.ndarray, "T"]) -> Int[Tensor, "1 N"]:
        """Token ids of the beginning and of levels, each with its space."""
        digit, space, start = self.words
        values = torch.from_numpy(levels)
        written = torch.stack([digit[values // 10], digit[values % 10], torch.full_like(values, space)], 1)
        return torch.cat([torch.tensor([start]), written.flatten()])[None]

    @torch.no_grad()
    def heard(self, ids: Int[Tensor, "B N"], cache: Any = None, **how) -> tuple[Float[Tensor, "B N 10"], Any]:
        """Logits of the ten digits after each token, whose head has no bias, and the cache that holds the tokens."""
        model = self.checkpoint.model
        out = model.base_model(input_ids=ids, use_cache=True, **{CACHE: cache}, **how)
        return out.last_hidden_state @ model.get_output_embeddings().weight[self.words[0]].T, out[CACHE]

    def read(self, levels: Int[np.ndarray, "T"]) -> SeriesRead:
        """One pass over a series; everything else is answered from it."""
        (logits,), cache = self.heard(self.ids(levels))
        return SeriesRead(self, levels, logits, cache)


@dataclass(frozen=True)
class SeriesRead:
    """A series that the model has read: what it expected at each step, from the values before it."""

    by: Numerals
    levels: Int[np.ndarray, "T"]
    logits: Float[Tensor, "N 10"]
    cache: Any

    def nll(self) -> Float[np.ndarray, "T"]:
        """Negative log-likelihood of each level given those before it, in nats a value."""
        places = self._places(range(len(self.levels)))[:, None] + torch.arange(DIGITS)
        # The logits at a place are those of the token after it.
        chosen = self.logits[places - 1].double().log_softmax(-1)
        written = torch.from_numpy(np.stack([self.levels // 10, self.levels % 10], 1))
        return -chosen.gather(2, written[..., None])[..., 0].sum(1).numpy()

    def laws(self, steps: Sequence[int]) -> Float[np.ndarray, "S 100"]:
        """Probabilities of all levels of the value at each step, given those before it. One pass."""
        places = self._places(steps)
        return self._laws(self.logits[places - 1], torch.arange(len(self.logits)) < places[:, None], places).numpy()

    def mean_paths(self, steps: Sequence[int], horizon: int) -> Float[np.ndarray, "S H"]:
        """The `horizon` values from each step on, each the mean of its law given the rounded means before it."""
        places, found = self._places(steps), []
        logits, seen = self.logits[places - 1], torch.arange(len(self.logits)) < places[:, None]
        for _ in range(horizon):
            law = self._laws(logits, seen, places)
            found.append((law @ torch.arange(LEVELS, dtype=law.dtype)).numpy())
            fed = self.by.ids(found[-1].round().astype(int))[0, 1:].view(len(places), -1)
            written = torch.ones(fed.shape[1], fed.shape[1], dtype=torch.bool).tril()
            logits = self._on(fed, seen, places[:, None] + torch.arange(len(written)), written)[:, -1]
            own = torch.eye(len(places), dtype=torch.bool).repeat_interleave(len(written), 1)
            seen, places = torch.cat([seen, own], 1), places + len(written)
        self.cache.crop(len(self.logits) - self.cache.get_seq_length())
        return np.stack(found, 1)

    def _laws(self, logits: Tensor, seen: Tensor, places: Tensor) -> Float[Tensor, "S 100"]:
        """Laws of the values that follow branches, each of which has `seen` a part of the cache."""
        law = logits.double().softmax(-1)
        firsts = self.by.words[0].repeat(len(places), 1)
        after = self._on(firsts, seen, places[:, None].repeat(1, 10), torch.eye(10, dtype=torch.bool))
        self.cache.crop(-firsts.numel())
        return (law[:, :, None] * after.double().softmax(-1)).flatten(1)

    def _on(self, ids: Tensor, seen: Tensor, places: Tensor, among: Tensor) -> Float[Tensor, "S k 10"]:
        """Feed k tokens to each branch in one pass: they see what it has seen, and each other as `among` says."""
        own = torch.kron(torch.eye(len(ids)), among.float()).bool()
        hidden = ~torch.cat([seen.repeat_interleave(len(among), 0), own], 1)
        mask = torch.zeros(hidden.shape).masked_fill(hidden, torch.finfo(torch.float32).min)[None, None]
        logits, _ = self.by.heard(ids.view(1, -1), self.cache, attention_mask=mask, position_ids=places.view(1, -1))
        return logits.view(*ids.shape, 10)

    def _places(self, steps: Sequence[int]) -> Int[Tensor, "S"]:
        """How many tokens stand before the value of each step."""
        return 1 + TOKENS * torch.tensor(steps)


def levelled(values: Float[np.ndarray, "T"], known: int) -> Int[np.ndarray, "T"]:
    """Values as levels 0 to 99, evenly between the extremes of the first `known` and a tenth of their range beyond.

    Later values beyond that take the outermost level. A constant start has range 1.
    """
    if not np.isfinite(values).all() or known < 2:
        raise IsonumError(f"finite values and known >= 2 were expected, got known={known}. Interpolate gaps first.")
    low, span = _reach(values[:known])
    return np.clip((values - low) / span * LEVELS, 0, LEVELS - 1).astype(int)


def unlevelled(levels: Float[np.ndarray, "H"], start: Float[np.ndarray, "K"]) -> Float[np.ndarray, "H"]:
    """What levels stand for, the middles of what they span, where `start` are the values that were known."""
    low, span = _reach(start)
    return low + (levels + 0.5) / LEVELS * span


def _reach(start: np.ndarray) -> tuple[float, float]:
    """The least value that has a level of its own, and how far all levels reach."""
    span = np.ptp(start) or 1.0
    return start.min() - 0.1 * span, span * 1.2
