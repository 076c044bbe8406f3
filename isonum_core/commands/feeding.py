"""What `measure` gives a model to read: a text or a series of the user's, or the book's own, in batches for capture."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from isonum_core.commands.reading import read_numbers, read_prose
from isonum_core.errors import IsonumError
from isonum_core.networks.batches import text_batches
from isonum_core.networks.capture import limits
from isonum_core.networks.models import Checkpoint
from isonum_core.networks.numerals import levelled
from isonum_core.worlds.series import find_series, interpolated
from isonum_core.worlds.text import docstring_prose
from isonum_core.worlds.windows import windows

CHARACTERS = 40_000  # of a text, that become batches at a time: memory does not grow with its length
# Of a batch. With 2,048 SmolLM2 took 1.7 GB after two batches and more after each, with 512 it stays at 1.4: sums that
# stay may come to lie between large pieces that are freed, and memory in pieces is not given back.
TOKENS = 512
Batches = Iterable[dict[str, Tensor]]


def feed(checkpoint: Checkpoint, options: argparse.Namespace) -> tuple[Batches, list[str]]:
    """Batches of `options.text` or `options.series`, else of the book's own, and notes on what they are.

    A text is cut into windows of `options.length` tokens. A series is written as two-digit levels for a model that
    reads words, and goes in windows of so many steps to one that reads numbers. `options.per` leaves every token, the
    first of each type, or the last of each window. Raises IsonumError on what the model cannot read.
    """
    model, tokenizer, notes = checkpoint.model, checkpoint.tokenizer, []
    config, fracast = getattr(model, "config", None), hasattr(model, "forecast_batch")
    least = 8 if fracast else 1
    if not options.tokens > 0 or (options.length is not None and options.length < least):
        got = f"--tokens {options.tokens:g} and --length {options.length}"
        raise IsonumError(f"--tokens above 0 and a --length of at least {least} were expected, got {got}.")
    if tokenizer is None:
        if options.text or options.per != ("window" if fracast else "token"):
            got = options.text or f"--per {options.per}"
            raise IsonumError(
                f"a model that reads words was expected for {got}, got one that reads numbers. Give it a --series, and "
                f"--per {'window' if fracast else 'token'}."
            )
        rows, length = _series(options.series, notes), options.length or getattr(config, "context_length", 64)
        cut = windows(rows, range(rows.shape[1]), length, 1)
        notes.append(
            f"windows of {length} steps, one from every step: they overlap; {cut.dropped} held a missing value"
        )
        parts = torch.from_numpy(cut.context).float().split(64)
        return [{"series": part} if fracast else {"past_values": part[..., None]} for part in parts], notes
    if options.series:
        rows = (levelled(row, len(row)) for row in interpolated(_series(options.series, notes)))
        text = "\n".join(" ".join(f"{level:02d}" for level in row) for row in rows)
        notes.append("each series is written as two-digit levels between its extremes")
    elif options.text:
        text, own = read_prose(options.text)
        notes += own
    else:
        text = "\n\n".join(docstring_prose())
        notes.append("the text is what docstrings of numpy and pandas say")
    if not text.strip():
        raise IsonumError(f"a text with a word at least was expected in {options.text}, got none. Give another.")
    length = options.length or min(256, limits(model)[1], tokenizer.model_max_length)
    size = max(1, int(TOKENS // length))
    made = (batch for piece in _pieces(text) for batch in text_batches(tokenizer, [piece], size, length))
    if getattr(config, "is_encoder_decoder", False):
        notes.append("the decoder is given the same text as the encoder")
        return ({**b, **{f"decoder_{key}": x for key, x in b.items()}} for b in _thinned(made, options.per)), notes
    return _thinned(made, options.per), notes


def _series(file: str | None, notes: list[str]) -> np.ndarray:
    """Series (k, T), one a row."""
    if file is None:
        notes.append("the series is the yearly number of sunspots")
        return find_series("sunspots").values
    x, own, _ = read_numbers(file)
    if x.ndim not in (1, 2) or len(x) < 2:
        raise IsonumError(f"series (T,), or one a column (T, k), were expected in {file}, got shape {x.shape}.")
    notes += own
    return np.ascontiguousarray(np.atleast_2d(x.T))


def _pieces(text: str) -> Iterator[str]:
    """The text in parts that end before a blank."""
    at = 0
    while at < len(text):
        end = at + CHARACTERS
        blank = max(text.rfind(" ", at + 1, end), text.rfind("\n", at + 1, end)) if end < len(text) else -1
        end = blank if blank > 0 else end
        if (piece := text[at:end]).strip():
            yield piece
        at = end


def _thinned(batches: Batches, per: str) -> Iterator[dict[str, Tensor]]:
    """The batches in which something counts, all else labelled special: read, but not counted."""
    seen: set[int] = set()
    for batch in batches:
        counts = batch["attention_mask"].bool() & ~batch["special_tokens_mask"].bool()
        if per == "window":
            steps = torch.arange(counts.shape[1])
            counts &= steps == (counts * steps).argmax(1, keepdim=True)
        elif per == "type":
            new = [i not in seen and not seen.add(i) for i in batch["input_ids"][counts].tolist()]
            counts[counts.clone()] = torch.tensor(new, dtype=torch.bool)
        if counts.any():
            yield batch | {"special_tokens_mask": (~counts).long()}
