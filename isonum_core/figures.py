"""Figures that carry their own files, data and provenance, so that each can be cited, checked and drawn again.

`theme()` once per chapter, then one `citable(fig, "fig-...", data=..., **facts)` per figure, and below its cell, in the
text of the book, its {caption}.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from isonum_core.errors import IsonumError
from isonum_core.origin import environment

# What a citable figure is called inside a notebook's output. The book's Sphinx extension looks for this name.
MIME = "application/vnd.isonum.figure+json"

# Ink, paper and grid are colours that nothing else uses, so that `dark_svg` can exchange them and leave data alone.
INK, PAPER, GRID = "#1b2733", "#fffffe", "#d8dde3"
# Blue, apricot, magenta, teal, ochre, wine: at least 19 apart (CIE 1976) for normal, protan, deutan and tritan eyes,
# no two closer than 6 in lightness (so a photocopy still tells them apart), all 3:1 or more against the paper.
PALETTE = ("#144889", "#cc7d68", "#a80f5e", "#018d94", "#856928", "#611329")
# The same hues where they are letters, which need 4.5:1: `citable` writes with these.
LETTERS = {PALETTE[1]: "#a85a46", PALETTE[3]: "#017f86"}
# The same hues for the dark page; a caption that says "the blue line" stays true there.
DARK = dict(
    zip(
        (INK, PAPER, GRID, *PALETTE, *LETTERS.values()),
        "#dfe5ec #121212 #3a3f46 #4d92db #fbc7ad #f175a8 #67ced9 #e2a01c #d3424c #fbc7ad #67ced9".split(),
        strict=True,
    )
)
# From less to more on both pages: its ends are 3:1 or more against white and black, its middle is grey.
DIVERGING = LinearSegmentedColormap.from_list("isonum", ["#7c62c4", "#8d8d8d", "#c06a10"])

# No dates: two builds must give the same bytes.
_METADATA = dict(svg={"Date": None}, pdf={"CreationDate": None}, png={"Software": None})


def theme() -> None:
    """Set the look of every later figure: white paper, our ink and palette, no letter below 9 points.

    In a notebook a figure then appears where it is cited, or by `plt.show()`, and not after each cell that prepares it.
    """
    import seaborn as sns  # a second to import, which a page without figures need not wait for

    plt.switch_backend(mpl.get_backend())  # loaded here, as a notebook's backend turns the drawing on when it is loaded
    plt.ioff()
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette=list(PALETTE),
        rc={
            **{"figure.figsize": (6.4, 3.6), "figure.dpi": 100, "figure.constrained_layout.use": True},
            **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor", "patch.edgecolor"), PAPER),
            **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor"), INK),
            **dict.fromkeys(("xtick.color", "ytick.color"), INK),
            **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
            **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"), 9.5),
            **{"font.size": 10, "axes.labelsize": 10.5, "axes.titlesize": 11, "axes.titlelocation": "left"},
            **{"grid.color": GRID, "grid.linewidth": 0.8, "axes.linewidth": 0.8, "lines.linewidth": 1.8},
            "image.cmap": "cividis",  # lightness rises evenly, for colour-blind readers too
            "svg.fonttype": "path",  # the letters travel inside the file
            "pdf.fonttype": 42,
        },
    )


def ink_on(colour: Any) -> str:
    """Black or white, whichever is read more easily on `colour`: for words on heat-map cells, in both page modes."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = float(np.dot((0.2126, 0.7152, 0.0722), linear))
    # WCAG 2 contrast with black is (Y + .05)/.05, with white 1.05/(Y + .05): they are equal at this luminance.
    return "#000000" if luminance > (1.05 * 0.05) ** 0.5 - 0.05 else "#ffffff"


def band(ax: Axes, x: Any, middle: Any, low: Any, high: Any, colour: Any, style: str = "-", **line: Any) -> None:
    """A curve with its interval or range as a band of its colour; `line` as for `plot`."""
    ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.plot(x, middle, style, color=colour, **line)


def whisker(ax: Axes, y: float | int, row: Any, colour: Any, *, clear: bool | np.bool_ = True, **dot: Any) -> None:
    """One line of a forest plot: a dot at the estimate, a bar over its interval, at height y.

    `row` has the estimate ("value" or "mean"), "low" and "high". The dot is hollow unless the finding is `clear`; `dot`
    as for `plot`, such as its label.
    """
    value, low, high = row["value" if "value" in row else "mean"], row["low"], row["high"]
    ax.plot([low, high], [y, y], color=colour, linewidth=1.6)
    look = dict(marker="o", linestyle="", color=colour, markerfacecolor=colour if clear else PAPER)
    ax.plot(value, y, **look | dot)


def dark_svg(svg: str) -> str:
    """The same drawing for a dark page: ink, paper, grid and palette exchanged, every other colour left as it is."""
    return re.sub("|".join(DARK), lambda hit: DARK[hit.group()], svg)


def provenance(**facts: Any) -> dict:
    """What made a result: commit, whether the tree was dirty, device, versions, and the caller's own facts.

    Facts may be numbers, words, arrays, tables, lists, dicts and dataclasses; `device="..."` replaces "cpu".
    IsonumError when a fact cannot be written as JSON (an object without a plain form, a NaN or an infinity).
    """
    for key, value in facts.items():
        try:
            facts[key] = json.loads(json.dumps(value, default=_plain, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise IsonumError(
                f"The fact {key} should be a finite number, words or a list of them: {error}. Write it plainly."
            ) from error
    return {**environment(facts.pop("device", "cpu"), "isonum", "matplotlib", "seaborn"), "facts": facts}


@dataclasses.dataclass(frozen=True)
class CitableFigure:
    """A finished figure: its files as base64 text, and its provenance. Its words stand in the chapter."""

    id: str
    files: dict[str, str]
    provenance: dict

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        source = f"data:image/png;base64,{self.files['png']}"
        return {
            MIME: {field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "text/html": f'<figure><img src="{source}" alt="{self.id}" style="max-width: 100%; width: 640px"></figure>',
            "text/plain": self.id,
        }


def citable(fig: Figure, id: str, *, data: pd.DataFrame, **facts: Any) -> CitableFigure:
    """Freeze a figure with the numbers it shows and what made them. Last expression of a cell; closes the figure.

    id       "fig-", then small letters, digits and hyphens: the figure's address, its name in the text, its files' name
    data     a tidy table of exactly what is drawn; it becomes the CSV (ten significant digits)
    facts    n=..., d=..., seeds=[...], model=..., config=dataclass...: into the provenance

    Holds SVG (light and dark), PDF, PNG, CSV and the provenance as JSON. The same input gives the same bytes of all but
    the last on one platform. IsonumError when id or data cannot be published.
    """
    _check(id, data)
    record = provenance(**facts)
    files = {}
    for word in fig.findobj(Text):
        word.set_color(LETTERS.get(to_hex(word.get_color()), word.get_color()))
    # Laid out and measured once for the three files, where matplotlib would do both anew for each: half of the time.
    fig.set_dpi(200)
    fig.draw_without_rendering()
    paper = fig.get_tightbbox().padded(0.08)
    settled = {"svg.hashsalt": id, "figure.autolayout": False, "figure.constrained_layout.use": False}
    with mpl.rc_context(settled):
        fig.set_layout_engine(None)
        for kind, fields in _METADATA.items():
            sink = io.BytesIO()
            fig.savefig(sink, format=kind, bbox_inches=paper, dpi=200, metadata=fields)
            files[kind] = sink.getvalue()
    plt.close(fig)
    files["dark.svg"] = dark_svg(files["svg"].decode()).encode()
    files["csv"] = data.to_csv(index=False, float_format="%.10g", lineterminator="\n").encode()
    files["json"] = (json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    return CitableFigure(id, {k: base64.b64encode(v).decode() for k, v in files.items()}, record)


def _check(id: str, data: pd.DataFrame) -> None:
    if not re.fullmatch(r"fig-[a-z0-9]+(-[a-z0-9]+)*", id):
        raise IsonumError(f'A figure id is "fig-" and small letters, digits or hyphens, got {id!r}. Rename it.')
    if data.empty:
        raise IsonumError(f"{id} needs its data, got a table without rows. Pass exactly what is drawn.")
    if data.index.nlevels > 1 or data.index.name is not None or not pd.api.types.is_integer_dtype(data.index):
        raise IsonumError(f"The data of {id} hold values in the index, which the CSV drops. Call reset_index() first.")


def _plain(value: Any) -> Any:
    """A fact that JSON does not know, one level plainer."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, pd.DataFrame | pd.Series):
        return value.to_dict("list" if isinstance(value, pd.DataFrame) else "dict")
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return value.tolist()
    if isinstance(value, torch.device | torch.dtype):
        return str(value)
    if isinstance(value, set | range):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no plain form")
