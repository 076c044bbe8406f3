"""Tables for narrow screens: each cell brings the head of its column along, so that site.css can show rows as cards.

Roles are written out, as browsers forget that a table is one when its rows are laid out otherwise. The copies of heads
are for eyes alone. Tables of two columns fit on any screen and stay as they are. A card is named by its first cell,
which brings its head where it is a bare number, and by as many more short ones as tell rows apart.
"""

from __future__ import annotations

import itertools
import re

from isobook.previews import SURPLUS

TABLE = re.compile(r'<table class="(?:[\w-]+ )*table"[^>]*>.*?</table>', re.DOTALL)
ROLES = {"table": "table", "thead": "rowgroup", "tbody": "rowgroup", "tr": "row", "th": "columnheader", "td": "cell"}
WORD = re.compile(r"[^\W\d_]")  # a letter
SHORT = 22  # letters that fit into half of a phone's width: an estimate with its interval


def carded(table: str) -> str:
    """The HTML of a table with roles, and with heads in the cells behind the first of each row."""
    head, _, body = table.partition("</thead>")
    heads = [re.sub(r"</?p>", "", SURPLUS.sub("", text)).strip() for text in contents("th", head)]
    if len(heads) < 3 or "colspan" in table or "rowspan" in table:
        return table
    cells = contents("td", body)
    sizes, names = list(map(letters, cells)), naming(cells, len(heads))
    bare = not WORD.search(re.sub(r"<[^>]*>", "", " ".join(cells[:: len(heads)])))
    wide = [max(sizes[column :: len(heads)], default=0) > SHORT for column in range(len(heads))]
    place = itertools.cycle(range(len(heads)))

    def cell(found: re.Match) -> str:
        column = next(place)
        said = heads[column] if column or bare else ""
        label = f'<span class="cell-head" aria-hidden="true">{said}</span>' if said else ""
        kind = " data-wide" if wide[column] else " data-name" * (0 < column < names)
        return f"<td{kind}{found[1]}>{label}"

    table = f"{head}</thead>{re.sub(r'<td([^>]*)>', cell, body)}"
    table = re.sub(r"<(table|thead|tbody|tr|th|td)\b", lambda tag: f'{tag[0]} role="{ROLES[tag[1]]}"', table)
    return table.replace("<table", "<table data-cards", 1).replace("<th role", '<th scope="col" role')


def contents(tag: str, html: str) -> list[str]:
    return re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", html, re.DOTALL)


def naming(cells: list[str], width: int) -> int:
    """How many of the first columns tell the rows apart; 1 where all but the last do not."""
    rows = list(zip(*[iter(cells)] * width, strict=False))
    return next((k for k in range(1, width) if len({row[:k] for row in rows}) == len(rows)), 1)


def letters(cell: str) -> int:
    """Length of a cell's longest line; a command of TeX counts as one letter."""
    text = re.sub(r"<[^>]*>", "", re.sub(r"<br ?/?>", "\n", cell))
    return max(len(re.sub(r"[{}$]", "", line)) for line in re.sub(r"\\[a-zA-Z]+ ?|&\w+;", "x", text).split("\n"))


def on_page(app, pagename, templatename, context, doctree):
    if "body" in context:
        context["body"] = TABLE.sub(lambda found: carded(found[0]), context["body"])


def setup(app):
    app.connect("html-page-context", on_page, priority=400)  # before the room for formulas is kept
