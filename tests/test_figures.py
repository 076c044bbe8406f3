"""The promises of a citable figure: its bytes repeat, its facts are plain, and it refuses what cannot be published."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

from isonum_core.errors import IsonumError
from isonum_core.figures import (
    DARK,
    DIVERGING,
    GRID,
    INK,
    LETTERS,
    MIME,
    PALETTE,
    PAPER,
    band,
    citable,
    dark_svg,
    ink_on,
    provenance,
    theme,
    whisker,
)

TABLE = pd.DataFrame({"n": [1, 2, 3], "score": [0.1, 1 / 3, 0.5]})


@pytest.fixture(autouse=True)
def drawing():
    with mpl.rc_context():
        mpl.use("agg")
        theme()
        yield
    plt.close("all")


def line():
    fig, ax = plt.subplots()
    ax.plot(TABLE.n, TABLE.score, label="score")
    ax.fill_between(TABLE.n, TABLE.score - 0.1, TABLE.score + 0.1, alpha=0.2)
    ax.grid()
    ax.legend()
    return fig


def file(made, kind):
    return base64.b64decode(made.files[kind])


def test_the_same_figure_has_the_same_bytes():
    first, second = (citable(line(), "fig-line", data=TABLE, seeds=[0]) for _ in range(2))
    assert set(first.files) == {"svg", "dark.svg", "pdf", "png", "csv", "json"}
    assert first == second
    for kind in ("svg", "pdf", "png"):
        assert not re.search(rb"20\d\d-\d\d-\d\d|/CreationDate", file(first, kind))


def test_the_csv_is_the_data():
    made = citable(line(), "fig-line", data=TABLE)
    back = pd.read_csv(io.BytesIO(file(made, "csv")))
    # ten significant digits are written
    pd.testing.assert_frame_equal(back, TABLE, rtol=1e-9)


def test_the_figure_is_closed():
    citable(line(), "fig-line", data=TABLE)
    assert plt.get_fignums() == []


def test_an_output_holds_everything_and_shows_the_picture_in_jupyter():
    made = citable(line(), "fig-line", data=TABLE, n=3)
    bundle = made._repr_mimebundle_()
    assert json.loads(json.dumps(bundle[MIME]))["files"] == made.files
    assert 'alt="fig-line"' in bundle["text/html"] and made.files["png"] in bundle["text/html"]
    assert bundle["text/plain"] == "fig-line"
    assert json.loads(file(made, "json")) == made.provenance


def test_provenance_says_where_from():
    @dataclass(frozen=True)
    class Config:
        seeds: tuple[int, ...] = (0, 1)
        rate: float = 0.5

    record = provenance(n=np.int64(3), config=Config(), w=torch.ones(2), model="m", device=torch.device("cpu"))
    assert record["facts"] == {"n": 3, "config": {"seeds": [0, 1], "rate": 0.5}, "w": [1.0, 1.0], "model": "m"}
    assert record["device"] == "cpu"
    assert record["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert json.loads(json.dumps(record, allow_nan=False)) == record


REFUSED = {
    "id without fig-": ({"id": "line"}, "fig-"),
    "id in capitals": ({"id": "fig-Line"}, "small letters"),
    "no rows": ({"data": TABLE.iloc[:0]}, "without rows"),
    "values in the index": ({"data": TABLE.set_index("n")}, "reset_index"),
    "values in a nameless index": ({"data": TABLE.set_axis(["a", "b", "c"])}, "reset_index"),
    "a fact that is not finite": ({"loss": float("nan")}, "finite"),
    "a fact that is an object": ({"model": object()}, "Write it plainly"),
}


@pytest.mark.parametrize("change, words", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_published_is_refused_with_a_sentence(change, words):
    given = {"fig": line(), "id": "fig-line", "data": TABLE} | change
    with pytest.raises(IsonumError, match=re.escape(words)):
        citable(**given)


def lightness(colour):
    """CIE L* of an sRGB colour: 0 black, 100 white."""
    return 116 * np.cbrt(luminance(colour)) - 16  # no colour here is dark enough for the linear toe (L* < 8)


def luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", [lambda c: c, DARK.__getitem__], ids=["light", "dark"])
def test_the_palette_is_readable_in_grey_and_against_the_page(mode):
    paper, *colours = map(mode, (PAPER, *PALETTE))
    assert contrast(mode(INK), paper) > 7
    assert min(contrast(colour, paper) for colour in colours) >= 3  # WCAG 2.1, 1.4.11: graphical objects
    assert min(abs(lightness(a) - lightness(b)) for a, b in combinations(colours, 2)) > 5


def test_more_and_less_are_told_apart_on_both_pages():
    less, nothing, more = (to_hex(DIVERGING(x)) for x in (0.0, 0.5, 1.0))
    for paper in (PAPER, DARK[PAPER]):
        assert min(contrast(less, paper), contrast(more, paper)) >= 3
        assert abs(np.log(contrast(less, paper) / contrast(more, paper))) < 0.3  # neither stands out against the other
    assert np.ptp(to_rgb(nothing)) < 0.01 < 0.3 < min(np.ptp(to_rgb(less)), np.ptp(to_rgb(more)))


def test_letters_in_a_colour_of_the_palette_are_dark_enough_to_read():
    fig, ax = plt.subplots()
    for i, colour in enumerate(PALETTE):
        ax.text(0, i / 6, "word", color=colour)
        ax.plot([0, 1], [i, i], color=colour)
    made = citable(fig, "fig-letters", data=TABLE)
    assert min(contrast(text.get_color(), PAPER) for text in ax.texts) >= 4.5  # WCAG 2.1, 1.4.3
    assert [line.get_color() for line in ax.lines] == list(PALETTE)
    seen = set(re.findall("#[0-9a-f]{6}", file(made, "dark.svg").decode()))
    assert not seen & set(LETTERS.values()) and {DARK[colour] for colour in PALETTE} <= seen


def test_a_band_and_its_line_have_one_colour():
    fig, ax = plt.subplots()
    band(ax, [0, 1], np.array([1, 2]), np.array([0, 1]), np.array([2, 4]), PALETTE[1], "o-", label="mean")
    (line,), (fill,) = ax.lines, ax.collections
    assert line.get_color() == PALETTE[1] == to_hex(fill.get_facecolor()[0]) and line.get_label() == "mean"
    assert fill.get_paths()[0].get_extents().bounds == (0, 0, 1, 4)


@pytest.mark.parametrize("name, clear", [("value", True), ("mean", False)])
def test_a_whisker_is_hollow_unless_it_is_clear(name, clear):
    fig, ax = plt.subplots()
    whisker(ax, 2, pd.Series({name: 0.5, "low": 0.1, "high": 0.7}), PALETTE[0], clear=clear, marker="s", label="it")
    bar, dot = ax.lines
    assert list(bar.get_xdata()) == [0.1, 0.7] and list(dot.get_xdata()) == [0.5] and list(dot.get_ydata()) == [2]
    assert dot.get_markerfacecolor() == (PALETTE[0] if clear else PAPER) and dot.get_marker() == "s"


def test_no_letter_is_smaller_than_nine_points():
    sizes = [value for key, value in mpl.rcParams.items() if re.search(r"(label|title|font)_?\.?size$", key)]
    assert sizes and min(size for size in sizes if isinstance(size, float | int)) >= 9


def test_the_dark_drawing_exchanges_only_the_colours_of_the_theme():
    values = np.linspace(0, 1, 12).reshape(3, 4)
    fig, ax = plt.subplots()
    ax.pcolormesh(values)
    ax.plot([0, 1], [0, 1])
    ax.grid()
    made = citable(fig, "fig-map", data=pd.DataFrame(values))
    light, dark = (file(made, kind).decode() for kind in ("svg", "dark.svg"))
    ours = {*DARK, *DARK.values()}
    assert [c for c in re.findall("#[0-9a-f]{6}", light) if c not in ours] == [
        c for c in re.findall("#[0-9a-f]{6}", dark) if c not in ours
    ]
    assert {INK, PAPER, GRID, PALETTE[0]} <= set(re.findall("#[0-9a-f]{6}", light))
    assert not set(DARK) & set(re.findall("#[0-9a-f]{6}", dark))
    assert dark == dark_svg(light)


@pytest.mark.parametrize("colour, ink", [("#ffffff", "#000000"), ("#000000", "#ffffff"), ("#fde725", "#000000")])
def test_words_on_a_colour_are_black_or_white(colour, ink):
    assert ink_on(colour) == ink
    assert contrast(colour, ink) >= 4.5
