"""BibTeX for a figure. Authors, year and address come from CITATION.cff, so they are written once."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

# Emphasis in Markdown. An asterisk with a word before it and none after it opens nothing: it is meant, as in IsoScore*.
_EMPHASIS = re.compile(r"(?<!\\)(?:(?<![\w*])|(?=\*+\w))(\*+)(?!\s)((?:\\.|[^*\\])+?)(?<!\s)\1")

# Characters that TeX would read as commands.
_TEX = {c: "\\" + c for c in "&%#_{}$"}
_TEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}


def citation(root: Path) -> dict:
    """The parsed CITATION.cff."""
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def author_names(meta: dict) -> list[str]:
    """Authors as names; an entity keeps its braces, so that BibTeX does not split it into first and last."""
    return [f"{{{a['name']}}}" if "name" in a else f"{a['family-names']}, {a['given-names']}" for a in meta["authors"]]


def first_sentence(caption: str) -> str:
    """The finding: the caption up to the first full stop that a space and a capital follow, formulas left whole."""
    done = ""
    for i, piece in enumerate(re.split(r"(?<!\\)\$", caption)):
        if i % 2:
            done += f"${piece}$"
        elif end := re.search(r"[.!?](?=\s+[A-Z(]|\s*$)", piece):
            return done + piece[: end.start()] + ("" if end.group() == "." else end.group())
        else:
            done += piece
    return done


def tex_title(sentence: str) -> str:
    """Markdown to TeX for a title: formulas stay, emphasis and backticks go, TeX's own characters are escaped."""

    def words(text: str) -> str:
        text = re.sub(r"\{[a-z:]+\}`[^`]*?<?([^`<>]*)>?`", r"\1", text)  # {numref}`fig-x` keeps its target's name
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
        text = re.sub(r"(?<!\\)`", "", text)
        text = re.sub(r"\\([*_`$#\\])", r"\1", text)
        return "".join(_TEX.get(c, c) for c in text)

    pieces = re.split(r"(?<!\\)\$", sentence)
    plain = _EMPHASIS.sub(r"\2", "\0".join(pieces[::2]))  # in one go, as emphasis may hold a formula
    pieces[::2] = map(words, plain.split("\0"))
    return "$".join(pieces)


def bibtex(meta: dict, id: str, caption: str, provenance: dict) -> str:
    """One @misc entry: the first sentence of the caption is the title, the permanent address the url."""
    state = {True: ", with uncommitted changes", False: "", None: ""}[provenance["dirty"]]
    fields = {
        "title": f"{{{tex_title(first_sentence(caption))}}}",
        "author": " and ".join(author_names(meta)),
        "year": str(meta["date-released"])[:4],
        "howpublished": f"Figure in: {tex_title(meta['title'])}, version {meta['version']}",
        "url": f"{meta['url']}fig/{id}.html",
        "note": f"Commit {provenance['commit'][:12]}{state}. CC BY 4.0",
    }
    width = max(map(len, fields))
    lines = [f"  {name:<{width}} = {{{value}}}" for name, value in fields.items()]
    return f"@misc{{isonum:{id},\n" + ",\n".join(lines) + "\n}"


def load(app):
    app.env.isonum_citation = citation(Path(app.srcdir))


def setup(app):
    app.connect("builder-inited", load)
