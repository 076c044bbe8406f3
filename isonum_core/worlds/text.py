"""English: prose from docstrings of installed packages, lists of one kind of word, and texts that are downloaded."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from types import ModuleType

import numpy as np
from jaxtyping import Int

from isonum_core.errors import IsonumError
from isonum_core.worlds.series import TABLE, original

KINDS: dict[str, tuple[str, ...]] = {kind: tuple(words.split()) for kind, words in TABLE["words"].items()}
_SENTENCES = re.compile(r"[A-Z][A-Za-z ,;:'()-]+\.( [A-Z][A-Za-z ,;:'()-]+\.)*")


def docstring_prose(least: int = 30) -> list[str]:
    """Passages of English: the plain sentences of each docstring of numpy and pandas, in alphabetical order.

    One passage a docstring, of at least `least` words; a paragraph counts if it holds whole sentences of letters and
    common punctuation only, so no code, headings, lists or digits, and counts once however many docstrings repeat it.
    Technical English, and fixed only as far as the versions of both packages are: say them beside any number.
    """
    import pandas

    passages, seen = [], set()
    for owner in (np, pandas, pandas.DataFrame):
        for name in sorted(vars(owner)):
            member = vars(owner)[name]
            builtin = getattr(member, "__module__", "") == "builtins"  # would tie the text to the version of Python
            if name.startswith("_") or isinstance(member, ModuleType) or builtin:
                continue
            found = [p for p in _paragraphs(inspect.getdoc(member) or "") if p not in seen]
            seen.update(found)
            if len(" ".join(found).split()) >= least:
                passages.append(" ".join(found))
    return passages


def word_lists(
    pool: Sequence[str], kinds: int, rng: np.random.Generator, lists: int = 6, length: int = 30
) -> list[str]:
    """Lists like 'rose, john, rose, ...' of words drawn evenly from `kinds` different words of the pool.

    The format is that of `digits.to_text`, so lists of numerals and of words differ in nothing but the words. Each of
    the kinds appears at least once over all lists. Raises IsonumError when the pool or the lists are too small.
    """
    if not 1 <= kinds <= min(len(set(pool)), lists * length):
        raise IsonumError(
            f"kinds must lie between 1 and both the {len(set(pool))} different words of the pool and the "
            f"{lists * length} places in the lists, got {kinds}. Draw fewer kinds, or write more lists."
        )
    chosen = rng.choice(sorted(set(pool)), kinds, replace=False)
    places = np.concatenate([chosen, rng.choice(chosen, lists * length - kinds)])
    return [", ".join(row) for row in rng.permutation(places).reshape(lists, length)]


def read_text(name: str) -> str:
    """A text of `series.toml`, as published: tinyshakespeare, wikitext2_valid, wikitext2_test or sentiment_amazon.

    Raises IsonumError for an unknown name, and DataAbsent where the file is not to be had.
    """
    if name not in TABLE["texts"]:
        raise IsonumError(f"a text was expected, got {name!r}. These exist: {', '.join(TABLE['texts'])}.")
    return original(TABLE["texts"][name]["file"]).read_text("utf-8")


def labelled_sentences() -> tuple[list[str], Int[np.ndarray, "n"]]:
    """1000 sentences of reviews, and whether each praises (1) or complains (0): 500 of either. As `read_text`."""
    lines = read_text("sentiment_amazon").rstrip("\n").split("\n")
    sentences, labels = zip(*(line.rsplit("\t", 1) for line in lines), strict=True)
    return list(sentences), np.array(labels, dtype=np.int64)


def _paragraphs(doc: str) -> list[str]:
    joined = (" ".join(part.split()) for part in re.split(r"\n\s*\n", doc))
    return [text for text in joined if _SENTENCES.fullmatch(text) and "--" not in text]
