"""A causal language model reads a series as decimal numerals and says how likely each next value is.

A value becomes one of 10^digits levels, written with that many digits; a separator follows. The model's probabilities
are renormalised over the ten digits where a digit must come. Gruver et al. 2023 (arXiv 2310.07820) read series so.
"""

from __future__ import annotations

import copy
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
    def read(self, levels: Int[np.ndarray, "T"]) -> SeriesRead:
        """One pass over a series; everything else is answered from it."""
        out = self.checkpoint.model(input_ids=self.ids(levels), use_cache=True)
        return SeriesRead(self, levels, out.logits[0], out.past_key_values)

    @torch.no_grad()
    def paths(
        self, levels: Int[np.ndarray, "T"], horizon: int, paths: int, generator: torch.Generator
    ) -> Int[np.ndarray, "S H"]:
        """Futures of `horizon` values, drawn digit by digit; separators are written, not drawn."""
        digit, separator, _ = self.words
        ids = self.ids(levels)
        cache = self.checkpoint.model(input_ids=ids[:, :-1], use_cache=True).past_key_values
        cache.batch_repeat_interleave(paths)
        fed = ids[:, -1:].repeat(paths, 1)
        drawn = []
        for _ in range(horizon):
            value = torch.zeros(paths, dtype=torch.long)
            for _ in range(self.digits):
                out = self.checkpoint.model(input_ids=fed, past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                place = torch.multinomial(out.logits[:, -1, digit].float().softmax(-1), 1, generator=generator)
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
    logits: Float[Tensor, "N V"]
    cache: Any

    def nll(self) -> Float[np.ndarray, "T"]:
        """Negative log-likelihood of each level given those before it, in nats a value."""
        digit, _, _ = self.by.words
        places = self._place(np.arange(len(self.levels))[:, None]) + np.arange(self.by.digits)
        # The logits at a place are those of the token after it.
        chosen = self.logits[places.ravel() - 1][:, digit].double().log_softmax(-1)
        written = [int(c) for level in self.levels for c in f"{level:0{self.by.digits}d}"]
        return -chosen[torch.arange(len(written)), torch.tensor(written)].view(-1, self.by.digits).sum(1).numpy()

    @torch.no_grad()
    def law(self, step: int) -> Float[np.ndarray, "K"]:
        """Probabilities of all K = 10^digits levels of the value at a step, given those before it."""
        length = int(self._place(step))
        return _law(self.by, self.logits[length - 1], _cropped(self.cache, length)).numpy()

    @torch.no_grad()
    def mean_path(self, step: int, horizon: int) -> Float[np.ndarray, "H"]:
        """The `horizon` values from a step on, each the mean of its law given the rounded means before it."""
        length = int(self._place(step))
        logits, cache, found = self.logits[length - 1], _cropped(self.cache, length), []
        for _ in range(horizon):
            law = _law(self.by, logits, cache)
            found.append(float(law @ torch.arange(self.by.levels, dtype=torch.float64)))
            fed = self.by.ids(np.array([round(found[-1])]))[:, len(self.by.words[2]) :]
            logits = self.by.checkpoint.model(input_ids=fed, past_key_values=cache, use_cache=True).logits[0, -1]
        return np.array(found)

    def _place(self, step):
        """How many tokens stand before the value of a step."""
        _, separator, prompt = self.by.words
        return len(prompt) + step * (self.by.digits + len(separator))


def _law(by: Numerals, logits: Float[Tensor, "V"], cache: Any) -> Float[Tensor, "K"]:
    """Law of the value that follows what is in the cache, which is left as it was."""
    digit, _, _ = by.words
    law = logits[digit].double().softmax(-1)
    if by.digits == 2:
        # Ten places of one sequence that are all the next one: each sees what came before and itself.
        length = cache.get_seq_length()
        seen = torch.zeros(1, 1, 10, length + 10)
        seen[..., length:] = torch.full((10, 10), torch.finfo(seen.dtype).min).fill_diagonal_(0)
        how = dict(attention_mask=seen, position_ids=torch.full((1, 10), length), use_cache=True)
        after = by.checkpoint.model(input_ids=digit[None], past_key_values=cache, **how)
        cache.crop(-10)
        law = (law[:, None] * after.logits[0][:, digit].double().softmax(-1)).flatten()
    return law


def _cropped(cache: Any, length: int) -> Any:
    """A copy of a cache that holds its first tokens."""
    cache = copy.deepcopy(cache)
    if extra := cache.get_seq_length() - length:
        cache.crop(-extra)
    return cache


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
