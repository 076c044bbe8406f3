"""Numbers on their way into sentences: what a chapter's text says is computed by a cell and never typed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.display import Markdown


def say(**numbers: object) -> None:
    """Glue each value, as its str, under its name: the text prints it with {glue:text}`name`.

    Where MyST-NB is missing there is no such text: each value is printed with its name.
    """
    try:
        from myst_nb import glue
    except ImportError:

        def glue(name, value, display):
            print(f"{name.replace('_', ' ')}: {value}")

    for name, value in numbers.items():
        glue(name, str(value), display=False)


def tabled(head: Iterable[object], rows: Iterable[Iterable[object]]) -> Markdown:
    """A table as Markdown, so that formulas, links and references in its cells are set."""
    from IPython.display import Markdown

    head = list(map(str, head))
    lines = [head, ["---"] * len(head), *(map(str, row) for row in rows)]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def interval(value: float, low: float, high: float, digits: int = 2, sign: bool = True) -> str:
    """An estimate and its interval, all in the estimate's unit: "+0.29 [-0.12, +0.59]"; a share has no sign."""
    plus = "+" if sign else ""
    return f"{value:{plus}.{digits}f} [{low:{plus}.{digits}f}, {high:{plus}.{digits}f}]"
