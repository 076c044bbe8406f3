"""BibTeX for all that can be cited. Authors, year and address come from CITATION.cff, so they are written once.

An entry compiles in plain LaTeX: short titles, TeX's own characters escaped, the book's macros written out.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import yaml
from docutils import nodes
from latexcodec.codec import find_latex

# Characters that TeX would read as commands.
_TEX = {c: "\\" + c for c in "&%#_{}$"}
_TEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
# Commands of packages, and what plain LaTeX has in their place.
_PLAIN = {"mathbb": r"\mathbf", "operatorname": r"\mathrm", "lVert": r"\|", "rVert": r"\|", "tfrac": r"\frac"}
_PLAIN |= {"dfrac": r"\frac", "boldsymbol": r"\mathbf", "text": r"\mathrm"}
LONGEST = 100  # letters of a title


def citation(root: Path) -> dict:
    """The parsed CITATION.cff."""
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def author_names(meta: dict) -> list[str]:
    """Authors as names; an entity keeps its braces, so that BibTeX does not split it into first and last."""
    return [f"{{{a['name']}}}" if "name" in a else f"{a['family-names']}, {a['given-names']}" for a in meta["authors"]]


def tex(node: nodes.Node, macros: dict) -> str:
    """The words and formulas of a node of the page, as TeX."""
    if isinstance(node, nodes.math):
        return f"${plain(node.astext(), macros)}$"
    if isinstance(node, nodes.Text):
        return words(node.astext())
    return "".join(tex(child, macros) for child in node.children)


def words(text: str) -> str:
    """Running text as TeX, in ASCII as far as TeX has a name for a letter."""
    return "".join(_TEX.get(c) or (c if c.isascii() else _letter(c)) for c in re.sub(r"\s+", " ", text))


def _letter(c: str) -> str:
    kind, _, number = unicodedata.decomposition(c).partition(" ")
    if kind == "<sub>":
        return f"$_{chr(int(number, 16))}$"
    return find_latex("ulatex").encode(c, "keep")[0]


def plain(formula: str, macros: dict) -> str:
    """A formula without the book's own macros and without commands that need a package."""
    for name, meaning in macros.items():
        body, slots = (meaning, 0) if isinstance(meaning, str) else meaning
        pattern = rf"\\{name}(?![a-zA-Z])" + r"\s*\{((?:[^{}]|\{[^{}]*\})*)\}" * slots
        formula = re.sub(pattern, lambda match, body=body: _filled(body, match.groups()), formula)
    formula = re.sub(r"\\([a-zA-Z]+)", lambda match: _PLAIN.get(match[1], match[0]), formula)
    return re.sub(r"\s+", " ", formula).strip()


def _filled(body: str, arguments: tuple[str, ...]) -> str:
    for place, argument in enumerate(arguments, start=1):
        body = body.replace(f"#{place}", argument)
    return body


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


def short(title: str, longest: int = LONGEST) -> str:
    """A title cut at the end of a clause, or else of a word, with dots for what is left out; formulas stay whole."""
    if len(title) <= longest:
        return title
    kept, clause = "", ""
    for piece in re.findall(r"(?:\\.|\$(?:\\.|[^$\\])*\$|[^\s$\\])+\s*", title):
        if len(kept + piece.rstrip()) > longest:
            break
        kept += piece
        if piece.rstrip()[-1] in ",;:" and len(kept) > longest / 3:
            clause = kept
    cut = clause or kept
    if cut.count("(") > cut.count(")"):
        cut = cut[: cut.rindex("(")]
    return cut.rstrip(" ,;:") + r"\ldots"


def entry(meta: dict, key: str, title: str, where: str, path: str, note: str = "CC BY 4.0") -> str:
    """One @misc entry; `title` and `where` are TeX, `path` the address below that of the site."""
    fields = {
        "title": f"{{{title}}}",
        "author": " and ".join(author_names(meta)),
        "year": str(meta["date-released"])[:4],
        "howpublished": where,
        "url": meta["url"] + path,
        "note": note,
    }
    width = max(map(len, fields))
    lines = [f"  {name:<{width}} = {{{value}}}" for name, value in fields.items()]
    return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}"


def load(app):
    app.env.isonum_citation = citation(Path(app.srcdir))


def setup(app):
    app.connect("builder-inited", load)
