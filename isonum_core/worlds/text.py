"""English that needs no download: prose from docstrings of installed packages, and lists of one kind of word."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from isonum_core.errors import IsonumError

# Common English words of one kind each, every one a single token of BERT's vocabulary; written for this book.
KINDS: dict[str, tuple[str, ...]] = {
    "first names": tuple(
        "john mary william anna james elizabeth george margaret charles sarah thomas emma henry jane robert alice "
        "edward catherine joseph helen peter laura paul julia david martha michael rose daniel clara samuel grace "
        "richard frances philip ruth simon lucy martin susan walter nancy arthur dorothy emily albert sophie oliver "
        "hannah eva".split()
    ),
    "countries": tuple(
        "france germany italy spain portugal poland russia china japan india brazil mexico canada egypt kenya nigeria "
        "ghana norway sweden denmark finland greece iran iraq israel syria cuba chile peru argentina colombia ireland "
        "scotland england wales belgium austria hungary romania bulgaria serbia croatia ukraine vietnam thailand "
        "indonesia malaysia australia jordan iceland".split()
    ),
    "animals": tuple(
        "dog cat horse cow pig sheep goat lion tiger bear wolf fox deer rabbit mouse rat bird fish snake frog eagle "
        "owl hawk duck goose swan chicken turkey crow shark whale dolphin seal turtle spider bee ant butterfly "
        "elephant monkey camel donkey bull bat cricket crab salmon trout hound pony".split()
    ),
}

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
            # Builtins' docstrings would tie the text to the version of Python.
            if (
                name.startswith("_")
                or isinstance(member, ModuleType)
                or getattr(member, "__module__", "") == "builtins"
            ):
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


def _paragraphs(doc: str) -> list[str]:
    joined = (" ".join(part.split()) for part in re.split(r"\n\s*\n", doc))
    return [text for text in joined if _SENTENCES.fullmatch(text) and "--" not in text]
