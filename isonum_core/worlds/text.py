"""English: prose from docstrings of installed packages, lists of one kind of word, and texts that are downloaded.

`known_items` makes of docstrings, or of articles, pairs of a query and the document that it should find.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Int

from isonum_core.errors import DataAbsent, IsonumError
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


def known_items(source: str, sha256: str = "", query: int = 16, document: int = 24) -> list[tuple[str, str]]:
    """Query and document of each passage of the source that has both: its first sentence, and what follows it.

    source: a package, whose docstrings are read off its files and which is not imported, or a text of
    `published_text`, whose paragraphs are. Cut to so many words; a query has four words at least, a document a third of
    its measure. No two queries and no two documents are the same; in the order of the files.

    sha256: how the hash of all of them has to begin. Raises DataAbsent where it does not (another version), or the
    package or the text is not to be had.
    """
    found: dict[str, str] = {}
    for paragraphs in _articles(source) if source in TABLE["texts"] else _docstrings(source):
        plain = (" ".join(part.split()) for part in paragraphs)
        text = "\n".join(part for part in plain if part[:1].isalpha() and not re.search("--|>>>|::|==| : |[|]", part))
        first, rest = [*re.split(r"\n|(?<=[a-z)`'\"][.?!]) +(?=[A-Z`'\"(])", text, maxsplit=1), ""][:2]
        asked, told = (" ".join(words.split()[:most]) for words, most in ((first, query), (rest, document)))
        if len(asked.split()) >= 4 and len(told.split()) >= document / 3:
            found.setdefault(asked, told)
    pairs = [*{told: (asked, told) for asked, told in found.items()}.values()]
    got = hashlib.sha256("\n".join(map("\t".join, pairs)).encode()).hexdigest()
    if not got.startswith(sha256):
        raise DataAbsent(f"texts of {source} of sha256 {sha256} were expected, got {got[:12]}. See requirements.txt.")
    return pairs


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


def published_text(name: str) -> str:
    """A text of `series.toml`, as published: tinyshakespeare, wikitext2_valid, wikitext2_test or sentiment_amazon.

    Raises IsonumError for an unknown name, and DataAbsent where the file is not to be had.
    """
    if name not in TABLE["texts"]:
        raise IsonumError(f"a text was expected, got {name!r}. These exist: {', '.join(TABLE['texts'])}.")
    return original(TABLE["texts"][name]["file"]).read_text("utf-8")


def labelled_sentences() -> tuple[list[str], Int[np.ndarray, "n"]]:
    """1000 sentences of reviews, and whether each praises (1) or complains (0): 500 of either. As `published_text`."""
    lines = published_text("sentiment_amazon").rstrip("\n").split("\n")
    sentences, labels = zip(*(line.rsplit("\t", 1) for line in lines), strict=True)
    return list(sentences), np.array(labels, dtype=np.int64)


def _docstrings(package: str) -> Iterator[list[str]]:
    """Paragraphs of each docstring of a package, but of its tests."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise DataAbsent(f"the package {package} was expected, got none. Install requirements.txt.") from None
    for file in sorted(file.as_posix() for file in files if file.suffix == ".py" and "test" not in file.as_posix()):
        tree = ast.parse(Path(str(metadata.distribution(package).locate_file(file))).read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                yield re.split(r"\n\s*\n", ast.get_docstring(node) or "")


def _articles(name: str) -> Iterator[list[str]]:
    """Each paragraph of a text that has one a line."""
    for line in published_text(name).split("\n"):
        yield [re.sub(" (?=[.,;:?!)])|(?<=[(]) ", "", line.replace(" @-@ ", "-").strip())]


def _paragraphs(doc: str) -> list[str]:
    joined = (" ".join(part.split()) for part in re.split(r"\n\s*\n", doc))
    return [text for text in joined if _SENTENCES.fullmatch(text) and "--" not in text]
