"""A causal language model reads a series as decimal numerals and says how likely each next value is.

A value becomes one of 10^digits levels, written with that many digits; a separator follows. The model's probabilities
are renormalised over the ten digits where a digit must come. Gruver et al. 2023 (arXiv 2310.07820) read series so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.networks.models import Checkpoint


@dataclass(frozen=True)
class Numerals:
    """How series are written: `digits` digits a value, `separator` after each. `prompt` stands before the first."""

    checkpoint: Checkpoint
    digits: int = 2
    separator: str = ","
    prompt: str = ""

    @property
    def levels(self) -> int:
        return 10**self.digits

    @cached_property
    def _words(self) -> tuple[Int[Tensor, "10"], list[int], list[int]]:
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
        digit, separator, prompt = self._words
        written = [[int(digit[int(c)]) for c in f"{level:0{self.digits}d}"] + separator for level in levels]
        return torch.tensor([prompt + sum(written, [])])

    @torch.no_grad()
    def nll(self, levels: Int[np.ndarray, "T"]) -> Float[np.ndarray, "T"]:
        """Negative log-likelihood of each level given those before it, in nats a value. One pass."""
        digit, separator, prompt = self._words
        ids = self.ids(levels)
        logits = self.checkpoint.model(input_ids=ids[:, :-1], use_cache=False).logits[0]
        width = self.digits + len(separator)
        places = len(prompt) + (np.arange(len(levels))[:, None] * width + np.arange(self.digits)).ravel()
        # The logits at a place are those of the token after it.
        chosen = logits[places - 1][:, digit].double().log_softmax(-1)
        came = (ids[0, places][:, None] == digit).double().argmax(1)
        return -chosen[torch.arange(len(places)), came].view(-1, self.digits).sum(1).numpy()

    @torch.no_grad()
    def distribution(self, levels: Int[np.ndarray, "T"], least: float = 1e-3) -> Float[np.ndarray, "K"]:
        """Probabilities of all levels of the next value. Digits below `least` share what follows them evenly."""
        digit, _, _ = self._words
        out = self.checkpoint.model(input_ids=self.ids(levels), use_cache=True)
        cache, length = out.past_key_values, out.past_key_values.get_seq_length()

        def spread(logits: Tensor, read: list[int], depth: int) -> Float[Tensor, "k"]:
            p = logits[0, -1, digit].double().softmax(-1)
            if depth == self.digits:
                return p
            parts = []
            for i in range(10):
                if p[i] < least:
                    parts.append(p[i] * torch.full((10 ** (self.digits - depth),), 0.1 ** (self.digits - depth)))
                    continue
                fed = [*read, int(digit[i])]
                if extra := cache.get_seq_length() - length:
                    cache.crop(-extra)
                more = self.checkpoint.model(input_ids=torch.tensor([fed]), past_key_values=cache, use_cache=True)
                parts.append(p[i] * spread(more.logits, fed, depth + 1))
            return torch.cat([part.double() for part in parts])

        return spread(out.logits, [], 1).numpy()

    @torch.no_grad()
    def paths(
        self, levels: Int[np.ndarray, "T"], horizon: int, paths: int, generator: torch.Generator
    ) -> Int[np.ndarray, "S H"]:
        """Futures of `horizon` values, drawn digit by digit; separators are written, not drawn."""
        digit, separator, _ = self._words
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
