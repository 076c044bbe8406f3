"""Numbers on their way into sentences: what a chapter's text says is computed by a cell and never typed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.display import Markdown

# What people call that for which code has a name of its own.
SPOKEN = tomllib.loads(Path(__file__).with_name("spoken.toml").read_text(encoding="utf-8"))


def spoken(text: str) -> str:
    """The text with names as people say them. They count blocks from 1, code from 0; what stands in code font stays.

    >>> spoken("gp_mixture after block.0 of `gpt2`")
    'mixture of Gaussian processes after block 1 of `gpt2`'
    """

    def said(hit: re.Match) -> str:
        name, block = hit.group(), hit.group(1)
        return f"block {int(block) + 1}" if block else SPOKEN.get(name, name.replace("_", " "))

    return re.sub(r"(?<![\w`./$\\^{])(?:block\.(\d+)|[a-z][a-z0-9_]*)(?![\w`/=(^{}\\])", said, text)


def say(**numbers: object) -> None:
    """Glue each value under its name: text and captions print it with {glue:text}`name`, a number with its format.

    A number stays one, so that {glue:text}`name:.2f` and {glue:text}`name:.0f` may stand side by side; of all else its
    str is glued. Where MyST-NB is missing there is no such text: each value is printed with its name.
    """
    try:
        from myst_nb import glue
    except ImportError:

        def glue(name, value, display):
            print(f"{name.replace('_', ' ')}:", f"{value:.6g}" if isinstance(value, float) else value)

    for name, value in numbers.items():
        value = value.item() if hasattr(value, "item") else value  # of NumPy's numbers, and of what holds one entry
        glue(name, value if isinstance(value, int | float) else str(value), display=False)


def tabled(head: Iterable[object], rows: Iterable[Iterable[object]]) -> Markdown:
    """A table as Markdown, so that formulas, links and references in its cells are set.

    From five columns on intervals stand below their estimates, which keeps a page's width. An empty cell shows a dash.
    """
    from IPython.display import Markdown

    head = list(map(str, head))
    below = r"\1<br>[" if len(head) >= 5 else r"\1 ["
    rows = [[re.sub(r"(\d) \[", below, str(cell).strip() or "–") for cell in row] for row in rows]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)))


def interval(value: float, low: float, high: float, digits: int = 2, sign: bool = True) -> str:
    """An estimate and its interval, all in the estimate's unit: "+0.29 [-0.12, +0.59]"; a share has no sign."""
    plus = "+" if sign else ""
    return f"{value:{plus}.{digits}f} [{low:{plus}.{digits}f}, {high:{plus}.{digits}f}]"
