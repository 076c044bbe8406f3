"""The book's Sphinx extension: its pure parts one by one, then whole small books built by Sphinx."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from docutils import nodes
from isobook.cache import fingerprint
from isobook.cite import citation
from isobook.crate import crate
from isobook.execute import FAILED
from isobook.icons import used
from isobook.mathjax import height, width
from isobook.render import MIME as RENDERED_MIME
from isobook.strict import ran
from nbformat import v4
from small_book import built

from isonum_core.figures import MIME, citable

ROOT = Path(__file__).resolve().parents[1]


def test_both_sides_use_one_mime_type():
    assert RENDERED_MIME == MIME


# Widths in em as a browser measured them once.
@pytest.mark.parametrize(
    "tex, measured",
    [
        ("d", 0.56),
        ("M=\\mu^\\top\\Cov(h)^{-1}\\mu", 9.15),
        (r"\log Z(h)", 3.8),
        (r"\R^d", 1.26),
        (r"\cos_F(M,N)=\langle M,N\rangle_F/(\|M\|_F\|N\|_F)", 17.98),
    ],
)
def test_the_room_kept_for_a_formula_is_about_what_it_takes(tex, measured):
    assert abs(width(tex) - measured) <= max(0.5, 0.25 * measured)


def test_rows_and_fractions_take_height():
    assert height("a=b") < height(r"a=\frac1b") < height(r"a&=\frac1b\\c&=d")


def test_the_icons_kept_are_those_that_pages_name_and_the_style_sheet_sets():
    css = '.fa-moon:before{content:"\\f186"}.fa-find:before,.fa-search:before{content:"\\f002"}.note{--icon:"\uf0c1"}'
    css += '.fa-dog:before{content:"\\f6d3"}'
    texts = ['<i class="fa-solid fa-search fa-lg"></i>', 'i.className = "fa-moon"']
    assert used(texts, css) == {0xF186, 0xF002, 0xF0C1}


def test_the_fingerprint_follows_contents_and_names(tmp_path):
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "a.py").write_text("VALUE = 2")
    before = fingerprint(tmp_path, ("core/**/*.py",))
    assert before == fingerprint(tmp_path, ("core/**/*.py",))
    (tmp_path / "core" / "a.py").write_text("VALUE = 3")
    edited = fingerprint(tmp_path, ("core/**/*.py",))
    (tmp_path / "core" / "a.py").rename(tmp_path / "core" / "b.py")
    assert len({before, edited, fingerprint(tmp_path, ("core/**/*.py",))}) == 3


def test_the_fingerprint_of_this_book_sees_the_core():
    from isobook.cache import EXECUTED, RENDERED

    assert all(list(ROOT.glob(pattern)) for pattern in (*EXECUTED[:2], *RENDERED))


@pytest.mark.parametrize(
    "count, source, tags, verdict",
    [(1, "1", [], True), (None, "1", [], False), (None, " ", [], True), (None, "1", ["skip-execution"], True)],
)
def test_a_cell_has_run_or_has_a_reason_not_to(count, source, tags, verdict):
    cell = nodes.container("", nodes.literal_block(source, source), exec_count=count, cell_metadata={"tags": tags})
    assert ran(cell) is verdict


CAPTION = """```{{caption}} {id}
:alt: {alt}

{caption}
```"""
WORDS = {"id": "fig-line", "alt": 'A "rising" line of {glue:text}`n` dots: steep.'}
WORDS["caption"] = "It rises by $2^{{glue:text}`n`}$ & *more*, {glue:text}`rise:.1f` ({ref}`a-word`). Here $n=2$."
CAPTIONED = CAPTION.format(**WORDS)


def figure(**change):
    """A citable figure as a notebook's output, with changes to what it carries."""
    with mpl.rc_context():
        mpl.use("agg")
        fig, ax = plt.subplots()
        ax.plot([1, 2], [1, 4])
        made = citable(
            fig,
            "fig-line",
            data=pd.DataFrame({"x": [1, 2], "y": [1, 4]}),
            seeds=[0],
        )
    bundle = made._repr_mimebundle_()
    bundle[MIME] = {key: value for key, value in (bundle[MIME] | change).items() if value is not None}
    return bundle


def said(name, value):
    """The output of `say`."""
    data = {"application/papermill.record/text/plain": repr(value)}
    scrapbook = {"name": name, "mime_prefix": "application/papermill.record/"}
    return v4.new_output("display_data", data=data, metadata={"scrapbook": scrapbook})


def build(folder, *outputs, ran=True, words=CAPTIONED):
    """A book of one chapter that holds these outputs, then these words, and one page with the index of figures."""
    cells = [v4.new_markdown_cell("# Chapter\n\n(a-word)=\n## Section\n\nSee {numref}`fig-line`.")]
    for count, bundle in enumerate(outputs, start=1):
        numbers = [said("rise", 2.983), said("n", 2)] if count == 1 else []
        output = v4.new_output("execute_result", data=bundle, execution_count=count)
        cells.append(v4.new_code_cell("1", outputs=[*numbers, output], execution_count=count if ran else None))
    cells.append(v4.new_markdown_cell(words))
    (folder / "book").mkdir()
    python = {"language_info": {"name": "python", "pygments_lexer": "python"}}
    nbformat.write(v4.new_notebook(cells=cells, metadata=python), folder / "book" / "chapter.ipynb")
    (folder / "index.md").write_text("# Book\n\n```{toctree}\nbook/chapter\nbook/figures\n```\n")
    (folder / "book" / "figures.md").write_text("# Figures\n\n```{figure-index}\n```\n")
    return built(folder)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    status, complaint = build(folder, figure())
    assert status == 0, complaint
    return folder / "_build" / "html"


def test_a_figure_has_number_caption_alternative_text_and_files(site):
    page = (site / "book" / "chapter.html").read_text()
    assert re.search(r'href="#fig-line"><span class="std std-numref">Fig. 1', page)
    assert page.count('alt="A &quot;rising&quot; line of 2 dots: steep."') == 2  # the light and the dark drawing
    assert r"\(2^{2}\)" in page and "<em>more</em>" in page
    for link in re.findall(r'(?:href|src)="(\.\./fig[^"#]*)"', page):
        assert (site / "book" / link).resolve().is_file(), link
    assert len(re.findall(r'href="\.\./figures/fig-line/[^"]*" download', page)) == 5
    assert re.search(r'<img class="only-light"[^>]* width="\d+" height="\d+"', page)


PLACES = "book/chapter.html book/figures.html fig/fig-line.html figures/index.json ro-crate-metadata.json "


@pytest.mark.parametrize("place", (PLACES + "_sources/book/chapter.ipynb").split())
def test_every_place_that_shows_a_caption_shows_its_numbers(site, place):
    text = unescape((site / place).read_text())
    assert re.search(r"more[*$<\\/a-z>]*, 3\.0 \(", text) and ("dots: steep" in text or "ro-crate" in place)
    assert "glue:text" not in text and "{ref}" not in text and "{caption}" not in text


def test_the_title_to_cite_has_the_numbers(site):
    bibtex = unescape(re.sub("<[^>]*>", "", (site / "book" / "chapter.html").read_text()))
    assert re.search(r"title += \{\{It rises by \$2\^\{2\}\$ \\& more, 3\.0 \(Section\)\}\}", bibtex)


def test_the_notebook_to_take_along_has_the_caption_below_its_picture(site):
    _, install, cell, caption = nbformat.read(site / "_sources" / "book" / "chapter.ipynb", as_version=4).cells[-4:]
    assert 'alt="A &quot;rising&quot; line of 2 dots: steep."' in cell.outputs[0]["data"]["text/html"]
    assert "figcaption" not in cell.outputs[0]["data"]["text/html"]
    assert caption.source.startswith("**Figure 1.** It rises by $2^{2}$ & *more*, 3.0 ([Section](")


CAPTIONS_REFUSED = {
    "of no figure": ({"id": "fig-other"}, "no cell above draws fig-other"),
    "with a number that no cell has said": ({"caption": "It is {glue:text}`unsaid:.1f`."}, "prints unsaid, which no"),
    "that is no sentence": ({"caption": "It rises"}, "no sentence with a full stop"),
    "with an open formula": ({"caption": "It rises with $n."}, "odd number"),
    "without an alternative text": ({"alt": ""}, "that can be read aloud"),
    "with TeX for those who listen": ({"alt": "A line of $n$"}, "that can be read aloud"),
    "said twice": ({"caption": "It rises.", "alt": "It rises."}, "that can be read aloud"),
}


@pytest.mark.parametrize("change, reason", CAPTIONS_REFUSED.values(), ids=CAPTIONS_REFUSED)
def test_a_caption_that_cannot_be_published_stops_the_build(tmp_path, change, reason):
    status, complaint = build(tmp_path, figure(), words=CAPTION.format(**WORDS | change))
    assert status != 0 and reason in complaint


def test_index_and_permanent_address_lead_to_the_figure(site):
    assert 'href="chapter.html#fig-line"' in (site / "book" / "figures.html").read_text()
    assert "tex-chtml.js" in (site / "book" / "figures.html").read_text()
    assert 'content="0; url=../book/chapter.html#fig-line"' in (site / "fig" / "fig-line.html").read_text()
    assert 'id="fig-line"' in (site / "book" / "chapter.html").read_text()


def test_the_catalogue_lists_every_file_with_its_checksum(site):
    (entry,) = json.loads((site / "figures" / "index.json").read_text())
    assert entry["id"] == "fig-line" and entry["page"] == "book/chapter.html#fig-line"
    assert entry["provenance"]["facts"] == {"seeds": [0]}
    for kind, facts in entry["files"].items():
        content = (site / "figures" / "fig-line" / f"fig-line.{kind}").read_bytes()
        assert facts == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_the_crate_describes_files_that_exist_and_nothing_dangles(site):
    document = json.loads((site / "ro-crate-metadata.json").read_text())
    entities = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(entities) == len(document["@graph"])
    for id, entity in entities.items():
        for value in entity.values():
            for link in value if isinstance(value, list) else [value]:
                if isinstance(link, dict):
                    assert link["@id"] in entities or link["@id"].startswith("https://w3id.org/ro/crate/"), (id, link)
        if "File" in entity["@type"]:
            assert (site / id).is_file()
        if entity["@type"] == "CreateAction":
            assert entities[entity["instrument"]["@id"]]["@type"] == ["File", "SoftwareSourceCode"]
    assert document == crate(citation(ROOT), json.loads((site / "figures" / "index.json").read_text()))


def test_the_executed_notebook_can_be_taken_along(site):
    notebook = nbformat.read(site / "_sources" / "book" / "chapter.ipynb", as_version=4)
    install, *code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1] and install.metadata.tags == ["install"]


def test_mathjax_comes_from_the_site(site):
    page = (site / "book" / "chapter.html").read_text()
    assert re.search(r'src="\.\./_static/mathjax/tex-chtml\.js', page)
    assert (site / "_static" / "mathjax" / "tex-chtml.js").stat().st_size > 1e6


WAITING = """---
file_format: mystnb
kernelspec: {{name: python3, display_name: Python 3, language: python}}
---
# Chapter {me}

```{{code-cell}} ipython3
import time
from pathlib import Path

Path("{me}").touch()
while not Path("{other}").exists():
    time.sleep(0.02)
assert not {fails}, "the core of chapter {me}"
```
"""


ORDERS = [[("a", FAILED[1]), ("b", "")], [("b", ""), ("a", FAILED[1])]]


@pytest.mark.skipif(os.cpu_count() == 1, reason="one core executes one chapter at a time")
def test_chapters_run_side_by_side_and_a_failure_is_reported_and_repeated_alone(tmp_path):
    # Each of the two ends only once the other has begun.
    (tmp_path / "a.md").write_text(WAITING.format(me="a", other="b", fails=True))
    (tmp_path / "b.md").write_text(WAITING.format(me="b", other="a", fails=False))
    (tmp_path / "index.md").write_text("# Book\n\n```{toctree}\na\nb\n```\n")
    (tmp_path / "conf.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        "extensions = ['myst_nb', 'isobook.execute']\n"
        "nb_execution_mode, nb_execution_timeout, nb_execution_raise_on_error = 'cache', 60, True\n"
        "nb_execution_show_tb, nb_execution_cache_path, exclude_patterns = True, '_build/.cache', ['_build']\n"
    )
    command = [sys.executable, "-m", "sphinx", "-b", "html", ".", "_build/html"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert first.returncode != 0 and "the core of chapter a" in first.stderr
    (tmp_path / "a.md").write_text(WAITING.format(me="a", other="b", fails=False))
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert re.findall(r"^ *\d/\d  (\w) +\d+ s(.*)$", first.stdout, re.MULTILINE) in ORDERS
    assert re.findall(r"^ *1/1  (\w) +\d+ s$", second.stdout, re.MULTILINE) == ["a"]
    assert "encryption" not in second.stdout + second.stderr


STOPPED = {
    "no caption": ([{}, {"id": "fig-other"}], "fig-other has no caption"),
    "no provenance": ([{"provenance": None}], "has no provenance"),
    "no name": ([{"id": None}], "has no id"),
    "one name twice": ([{}, {}], "already a figure"),
    "a picture that is not citable": (["image/png"], "not citable"),
    "a picture inside HTML": (["text/html"], "not citable"),
    "a cell that did not run": ([{}], "did not run"),
    "a directive that reads as text": (["text/markdown"], "reads as text"),
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.mark.parametrize("outputs, words", STOPPED.values(), ids=STOPPED)
def test_what_stops_the_build(tmp_path, outputs, words):
    naked = {
        "image/png": {"image/png": PIXEL},
        "text/markdown": {"text/markdown": "Proof. ```{note}\nof it\n```"},
        "text/html": {"text/html": f'<img src="data:;base64,{PIXEL}">'},
    }
    bundles = [naked[output] if isinstance(output, str) else figure(**output) for output in outputs]
    shown = "" if bundles[0] in naked.values() else CAPTIONED
    status, complaint = build(tmp_path, *bundles, ran=words != "did not run", words=shown)
    assert status != 0
    assert words in complaint
