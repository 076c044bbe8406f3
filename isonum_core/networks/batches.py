"""Text to batches that say which positions are words, which are special and which are padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from isonum_core.errors import IsonumError

# What a padding position holds in each key; the token id comes from the tokenizer.
_PADDING = {"attention_mask": 0, "special_tokens_mask": 1, "token_type_ids": 0}


def text_batches(tokenizer, texts: Sequence, size: int = 16, max_length: int | None = None) -> list[dict[str, Tensor]]:
    """Batches for `capture`, in the order of the texts: input_ids, attention_mask, special_tokens_mask, each (B, T).

    A text longer than `max_length` tokens (256, or fewer where the model takes no more) becomes several sequences, so
    no token is lost. Padding is on the right. Raises IsonumError without texts, on an empty text, on a tokenizer that
    cannot label special tokens, and on lengths that the model does not take or that hold no word.
    """
    if isinstance(texts, str) or not len(texts) or not all(isinstance(t, str) and t.strip() for t in texts):
        raise IsonumError(
            f"a sequence of texts with at least one word each was expected, got {texts!r:.60}. "
            "Put one text into a list, and drop the empty ones."
        )
    if not getattr(tokenizer, "is_fast", False):
        raise IsonumError(
            f"a fast tokenizer was expected, got {type(tokenizer).__name__}: only those split long texts without "
            "losing tokens. Load it with AutoTokenizer."
        )
    least, most = tokenizer.num_special_tokens_to_add() + 1, tokenizer.model_max_length
    max_length = max_length or min(256, most)
    if not least <= max_length <= most or size < 1:
        raise IsonumError(
            f"max_length from {least} to {most}, as the tokenizer has it, and size >= 1 were expected, got "
            f"max_length={max_length}, size={size}. Correct the one that is off."
        )
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=max_length,
        return_overflowing_tokens=True,
        return_special_tokens_mask=True,
    )
    # A model without a padding token may hold any id there: the mask leaves it out.
    padding = _PADDING | {"input_ids": tokenizer.pad_token_id or 0}
    keys = [key for key in encoded if key in padding]
    rows = [{key: encoded[key][i] for key in keys} for i in range(len(encoded["input_ids"]))]
    return [_padded(rows[i : i + size], padding) for i in range(0, len(rows), size)]


def counting(batches: Iterable[dict[str, Tensor]], ids: Iterable[int]) -> list[dict[str, Tensor]]:
    """The same batches with every token labelled special whose id is not among `ids`: read, but not counted."""
    wanted = torch.tensor(sorted(ids))
    return [
        batch
        | dict(special_tokens_mask=batch["special_tokens_mask"] | (~torch.isin(batch["input_ids"], wanted)).long())
        for batch in batches
    ]


def _padded(rows: list[dict[str, list[int]]], padding: dict[str, int]) -> dict[str, Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)
    return {
        key: torch.tensor([row[key] + [padding[key]] * (longest - len(row[key])) for row in rows]) for key in rows[0]
    }
