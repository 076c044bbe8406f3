"""A causal language model reads a series as decimal numerals and says how likely each next value is.

A value becomes one of 10^digits levels, written with that many digits; a separator follows. The model's probabilities
are renormalised over the ten digits where a digit must come. Gruver et al. 2023 (arXiv 2310.07820) read series so.
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
from isonum_core.networks.models import Checkpoint


@dataclass(frozen=True)
class Numerals:
    """How series are written: one or two `digits` a value, `separator` after each, `prompt` before the first."""

    checkpoint: Checkpoint
    digits: int = 2
    separator: str = " "
    prompt: str = ""

    def __post_init__(self) -> None:
        if self.digits not in (1, 2):
            raise IsonumError(f"A value is written with 1 or 2 digits, got digits={self.digits}. Choose one.")

    @property
    def levels(self) -> int:
        return 10**self.digits

    @cached_property
    def words(self) -> tuple[Int[Tensor, "10"], list[int], list[int]]:
        """Token ids: of the ten digits, of the separator, of what stands before the first value."""

        def ids(text: str) -> list[int]:
            return self.checkpoint.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []

        digits = [ids(str(i)) for i in range(10)]
        if any(len(found) != 1 for found in digits) or ids("12") != digits[1] + digits[2]:
            raise IsonumError("A tokenizer that splits numbers into single digits was expected, got another.")
        return (
            torch.tensor(digits)[:, 0],
            ids(self.separator),
            ids(self.prompt) or [self.checkpoint.tokenizer.bos_token_id],
        )

    def ids(self, levels: Int[np.ndarray, "T"]) -> Int[Tensor, "1 N"]:
        """Token ids of a prompt and of levels, each with its separator."""
        digit, separator, prompt = self.words
        written = [[int(digit[int(c)]) for c in f"{level:0{self.digits}d}"] + separator for level in levels]
        return torch.tensor([prompt + sum(written, [])])

    @torch.no_grad()
    def heard(self, ids: Int[Tensor, "B N"], cache: Any = None, **how) -> tuple[Float[Tensor, "B N 10"], Any]:
        """Logits of the ten digits after each token, whose head has no bias, and the cache that holds the tokens."""
        model = self.checkpoint.model
        out = model.base_model(input_ids=ids, past_key_values=cache, use_cache=True, **how)
        return out.last_hidden_state @ model.get_output_embeddings().weight[self.words[0]].T, out.past_key_values

    def read(self, levels: Int[np.ndarray, "T"]) -> SeriesRead:
        """One pass over a series; everything else is answered from it."""
        (logits,), cache = self.heard(self.ids(levels))
        return SeriesRead(self, levels, logits, cache)

    @torch.no_grad()
    def paths(
        self, levels: Int[np.ndarray, "T"], horizon: int, paths: int, generator: torch.Generator
    ) -> Int[np.ndarray, "S H"]:
        """Futures of `horizon` values, drawn digit by digit; separators are written, not drawn."""
        digit, separator, _ = self.words
        ids = self.ids(levels)
        _, cache = self.heard(ids[:, :-1])
        cache.batch_repeat_interleave(paths)
        fed = ids[:, -1:].repeat(paths, 1)
        drawn = []
        for _ in range(horizon):
            value = torch.zeros(paths, dtype=torch.long)
            for _ in range(self.digits):
                logits, cache = self.heard(fed, cache)
                place = torch.multinomial(logits[:, -1].float().softmax(-1), 1, generator=generator)
                fed, value = digit[place], 10 * value + place[:, 0]
            drawn.append(value)
            # The separator is read together with the last digit at the next step.
            fed = torch.cat([fed, torch.tensor(separator).expand(paths, -1)], dim=1)
        return torch.stack(drawn, dim=1).numpy()


@dataclass(frozen=True)
class SeriesRead:
    """A series that the model has read: what it expected at each step, from the values before it."""

    by: Numerals
    levels: Int[np.ndarray, "T"]
    logits: Float[Tensor, "N 10"]
    cache: Any

    def nll(self) -> Float[np.ndarray, "T"]:
        """Negative log-likelihood of each level given those before it, in nats a value."""
        places = self._places(range(len(self.levels)))[:, None] + torch.arange(self.by.digits)
        # The logits at a place are those of the token after it.
        chosen = self.logits[places.ravel() - 1].double().log_softmax(-1)
        written = [int(c) for level in self.levels for c in f"{level:0{self.by.digits}d}"]
        return -chosen[torch.arange(len(written)), torch.tensor(written)].view(-1, self.by.digits).sum(1).numpy()

    def laws(self, steps: Sequence[int]) -> Float[np.ndarray, "S K"]:
        """Probabilities of all K = 10^digits levels of the value at each step, given those before it. One pass."""
        places = self._places(steps)
        return self._laws(self.logits[places - 1], torch.arange(len(self.logits)) < places[:, None], places).numpy()

    def mean_paths(self, steps: Sequence[int], horizon: int) -> Float[np.ndarray, "S H"]:
        """The `horizon` values from each step on, each the mean of its law given the rounded means before it."""
        places, found = self._places(steps), []
        logits, seen = self.logits[places - 1], torch.arange(len(self.logits)) < places[:, None]
        for _ in range(horizon):
            law = self._laws(logits, seen, places)
            found.append((law @ torch.arange(self.by.levels, dtype=law.dtype)).numpy())
            fed = self.by.ids(found[-1].round().astype(int))[0, len(self.by.words[2]) :].view(len(places), -1)
            written = torch.ones(fed.shape[1], fed.shape[1], dtype=torch.bool).tril()
            logits = self._on(fed, seen, places[:, None] + torch.arange(len(written)), written)[:, -1]
            own = torch.eye(len(places), dtype=torch.bool).repeat_interleave(len(written), 1)
            seen, places = torch.cat([seen, own], 1), places + len(written)
        self.cache.crop(len(self.logits) - self.cache.get_seq_length())
        return np.stack(found, 1)

    def _laws(self, logits: Tensor, seen: Tensor, places: Tensor) -> Float[Tensor, "S K"]:
        """Laws of the values that follow branches, each of which has `seen` a part of the cache."""
        law = logits.double().softmax(-1)
        if self.by.digits == 1:
            return law
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
        _, separator, prompt = self.by.words
        return len(prompt) + torch.tensor(steps) * (self.by.digits + len(separator))


def levelled(
    values: Float[np.ndarray, "T"], known: int, levels: int = 100, margin: float = 0.1
) -> Int[np.ndarray, "T"]:
    """Values as levels 0 to levels - 1, evenly between the extremes of the first `known` and a margin beyond each.

    The margin is a share of their range. Later values beyond it take the outermost level. A constant start has range 1.
    """
    start = values[:known]
    if not np.isfinite(values).all() or known < 2:
        raise IsonumError(f"finite values and known >= 2 were expected, got known={known}. Interpolate gaps first.")
    span = np.ptp(start) or 1.0
    low = start.min() - margin * span
    return np.clip((values - low) / (span * (1 + 2 * margin)) * levels, 0, levels - 1).astype(int)
