"""Languages as ids: synthetic words with Zipf's frequencies that echo what was said, and English letter by letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from isonum_core.errors import IsonumError


@dataclass(frozen=True)
class Echo:
    """Words 0 .. words - 1 in order of rank, with p(rank r) proportional to r^-exponent, that repeat at a fixed lag.

    Each word is, with probability `echo`, the word `lag` places earlier, else a fresh draw from p; the first `lag`
    words are fresh. So every place has the law p exactly (rank against frequency falls with slope -exponent on log
    axes), whatever `echo` is: frequency and sequential structure are two knobs. exponent 0 is the uniform law.
    """

    words: int = 64
    exponent: float = 1.0
    echo: float = 0.5
    lag: int = 2

    def __post_init__(self) -> None:
        if self.words < 2 or not 0 <= self.exponent < np.inf or not 0 <= self.echo <= 1 or self.lag < 1:
            raise IsonumError(
                "Echo needs words >= 2, a finite exponent >= 0, echo within [0, 1] and lag >= 1, got "
                f"words={self.words}, exponent={self.exponent}, echo={self.echo}, lag={self.lag}. Correct the one "
                "that is off."
            )

    @cached_property
    def frequencies(self) -> Float[np.ndarray, "words"]:
        """Probability of each word, most frequent first: r^-exponent over its sum."""
        weights = np.arange(1, self.words + 1) ** -float(self.exponent)
        return weights / weights.sum()

    def draw(self, length: int, rng: np.random.Generator, n: int = 1) -> Int[np.ndarray, "n T"]:
        """n independent sequences of `length` words."""
        if length < 1 or n < 1:
            raise IsonumError(f"draw needs length >= 1 and n >= 1, got length={length}, n={n}.")
        said = rng.choice(self.words, size=(n, length), p=self.frequencies)
        repeats = rng.random((n, length)) < self.echo
        for t in range(self.lag, length):
            said[:, t] = np.where(repeats[:, t], said[:, t - self.lag], said[:, t])
        return said


def letters(passages: Sequence[str]) -> tuple[Int[np.ndarray, "T"], str]:
    """The passages joined by spaces, each character as its place in the alphabet; and that alphabet, sorted."""
    text = " ".join(passages)
    if not text:
        raise IsonumError("letters needs at least one passage with a character in it, got none.")
    alphabet, ids = np.unique(list(text), return_inverse=True)
    return ids, "".join(alphabet)


def excerpts(ids: Int[np.ndarray, "T"], length: int, rng: np.random.Generator, n: int = 1) -> Int[np.ndarray, "n L"]:
    """n stretches of `length` ids that start anywhere, drawn with replacement: they overlap where the text is short."""
    if not 1 <= length <= len(ids):
        raise IsonumError(f"An excerpt is 1 to {len(ids)} ids long, as the text is, got length={length}.")
    return ids[rng.integers(len(ids) - length + 1, size=n)[:, None] + np.arange(length)]
