"""What the book's Sphinx extension adds for readers: its pure parts, then a small book of one theorem and its use."""

from __future__ import annotations

import json
import re
import tomllib
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest
from docutils import nodes
from isobook.addresses import lost, sitemap
from isobook.notebooks import Writer
from isobook.previews import element, snippets
from isobook.reading import minutes, spoken
from isobook.tables import carded
from isobook.theorems import rests_on
from isobook.typography import break_formulas, keep_with_formulas, pieces, set_numbers, set_powers
from isobook.words import places
from small_book import built

ROOT = Path(__file__).resolve().parents[1]


def theorem(equations=(), names=()):
    return {"equations": set(equations), "names": set(names)}


def test_a_statement_rests_on_what_it_and_its_proof_refer_to():
    theorems = {
        "def-a": theorem(["eq-a"]),
        "thm-b": theorem(["eq-b"], [("math", "eq-a"), ("math", "eq-b"), ("math", "eq-of-no-statement")]),
        "cor-c": theorem([], [("prf", "thm-b"), ("prf", "cor-c"), ("math", "eq-b")]),
    }
    assert rests_on(theorems) == {"def-a": [], "thm-b": ["def-a"], "cor-c": ["thm-b"]}


@pytest.mark.parametrize(
    "typed, printed",
    [
        ("-0.92 [-0.97, -0.86]", "−0.92\xa0[−0.97,\xa0−0.86]"),
        ("+0.29 [-0.12, +0.59], say", "+0.29\xa0[−0.12,\xa0+0.59], say"),
        ("43 % [40%, 46 %]", "43\xa0%\xa0[40\xa0%,\xa046\xa0%]"),
        (" % of 2.5%", "\xa0% of 2.5\xa0%"),
        ("a % b, 3%20", "a % b, 3%20"),
        ("(-1, -.5)", "(−1, −.5)"),
        ("[2025] and [1, Theorem 2]", "[2025] and [1, Theorem 2]"),
        ("1e-05 [-2e-05, 3e-05]", "1e-05\xa0[−2e-05,\xa03e-05]"),
        ("2026-11-26, 1e-05, GPT-2, 0-4, a -b, --minutes", "2026-11-26, 1e-05, GPT-2, 0-4, a -b, --minutes"),
    ],
)
def test_numbers_are_set_with_a_true_minus_and_intervals_in_one_piece(typed, printed):
    assert set_numbers(typed) == printed
    assert set_numbers(printed) == printed


@pytest.mark.parametrize(
    "typed, printed",
    [
        ("from -2.30e-05 to 7e+16.", "from −2.30\xa0×\xa010^−5 to 7\xa0×\xa010^16."),
        ("1e+03, 1.0e-10, 1e150", "10^3, 10^−10, 10^150"),
        ("0e+00 and 0.0e+00, 2.5e+00", "0 and 0, 2.5"),
        ("418577e364, 3e274247e6, 12e3, 0x1e5, 1e5b, v1.2e3x", "418577e364, 3e274247e6, 12e3, 0x1e5, 1e5b, v1.2e3x"),
    ],
)
def test_large_and_small_numbers_are_powers_of_ten_and_hashes_are_not(typed, printed):
    parts = set_powers(set_numbers(typed))
    assert "".join("^" * isinstance(part, nodes.superscript) + part.astext() for part in parts) == printed


FORMULA = '<span class="math notranslate nohighlight">\\(n\\)</span>'


@pytest.mark.parametrize("before, after, rest", [("(", ").", " So"), ("", "-", "dimensional"), ("≈", ",", "</p>")])
def test_a_stop_stays_with_its_formula(before, after, rest):
    assert keep_with_formulas(f"a {before}{FORMULA}{after}{rest}") == (
        f'a <span class="whole">{before}{FORMULA}{after}</span>{rest}'
    )
    assert keep_with_formulas(f"a {FORMULA} b") == f"a {FORMULA} b"


@pytest.mark.parametrize(
    "parts",
    [
        (r"\ker F(h)", r"=\{v: Wv=0\}", r"=\ker W_c"),
        (r"\sum_{i=1}^n\lvert x_i\rvert", r"\le\left(\sum x=1\right)", r"=0"),
        (r"\left|x=y\right|=1",),
        (r"\begin{cases}a&x\\b&y\end{cases}=1",),
        ("[0,1)", "=a", "+f(x+y)", "=b"),
        ("x",),
    ],
)
def test_a_long_formula_breaks_at_its_relations(parts):
    assert pieces("".join(parts)) == list(parts)
    html = r'<span class="math notranslate nohighlight">\({}\)</span>'.format
    short, long = html("a=b"), "a" * 30
    assert break_formulas(short) == short
    assert break_formulas(html(f"{long}=b")) == html(long) + html("{}=b")


def test_the_cells_of_a_table_know_their_heads():
    heads = ("<p>one</p>", '<p><a href="#x">two</a></p>', "<p>three</p>")
    row = "".join(f"<td><p>{text}</p></td>" for text in ("a", "b", "a cell of more than twenty-two letters"))
    table = '<table class="table">\n<thead><tr class="row-odd">{}</tr></thead><tbody>{}</tbody></table>'
    made = carded(table.format("".join(f'<th class="head">{head}</th>' for head in heads), f"<tr>{row}</tr>" * 2))
    assert (
        re.findall(r'<td role="cell"( data-wide)?>(?:<span class="cell-head" aria-hidden="true">(\w+)</span>)?', made)
        == [
            ("", ""),
            ("", "two"),
            (" data-wide", "three"),
        ]
        * 2
    )
    assert made.count('scope="col" role="columnheader"') == 3 and made.startswith('<table data-cards role="table"')
    narrow = table.format("<th>one</th><th>two</th>", "<tr><td>a</td><td>b</td></tr>")
    assert carded(narrow) == narrow


def test_a_card_has_a_name_of_its_own():
    heads = "<th>weight</th><th>step</th><th>gain</th>"
    row = "<tr><td>{}</td><td>{}</td><td>1</td></tr>".format
    page = '<table class="table"><thead><tr>' + heads + "</tr></thead><tbody>{}</tbody></table>"
    numbers = carded(page.format(row("0.1", "100") + row("0.1", "200")))
    assert numbers.count('aria-hidden="true">weight<') == 2 == numbers.count("data-name")
    words = carded(page.format(row("GPT-2", "100") + row("T5", "100")))
    assert 'aria-hidden="true">weight<' not in words and "data-name" not in words


def test_a_word_leads_to_the_first_page_that_exists():
    listed = {"whitening": ["new", "old#place"], "ridge": ["old"], "gone": ["nowhere"]}
    assert places(listed, {"old"}.__contains__) == {"old": {"whitening": "place", "ridge": ""}}
    assert places(listed, {"old", "new"}.__contains__)["new"] == {"whitening": ""}


def test_every_word_and_every_path_of_this_book_leads_to_a_page():
    pages = {path.stem for path in (ROOT / "book").glob("*.md")}
    listed = tomllib.loads((ROOT / "book" / "words.toml").read_text(encoding="utf-8"))
    found = places(listed, pages.__contains__)
    assert sum(map(len, found.values())) == len(listed)
    assert all(word == word.strip() and ";" not in word for word in listed)
    for path in tomllib.loads((ROOT / "book" / "paths.toml").read_text(encoding="utf-8"))["path"]:
        assert len(pages & set(path["pages"])) >= 5


def test_reading_takes_words_formulas_and_figures_but_not_what_is_folded():
    page = nodes.section("", nodes.paragraph("", "word " * 220))
    assert minutes(page) == pytest.approx(1)
    page += nodes.figure("", nodes.caption("", "", *(nodes.math("", "a b c") for _ in range(5))))
    assert minutes(page) == pytest.approx(2)
    page += nodes.container("", nodes.paragraph("", "word " * 999), design_component="dropdown")
    page += nodes.literal_block("", "word " * 999)
    assert minutes(page) == pytest.approx(2)


@pytest.mark.parametrize(
    "time, words",
    [(0.2, "1 minute"), (1.4, "1 minute"), (22.4, "22 minutes"), (59.6, "1 h"), (64, "1 h"), (111, "1 h 50 min")],
)
def test_times_are_spoken(time, words):
    assert spoken(time) == words


def test_a_preview_is_the_whole_element_without_links_and_ids():
    body = (
        '<div class="proof theorem admonition" id="thm-a"><div id="x">one <a href="#y">two</a>'
        '<a class="headerlink" href="#x">#</a></div></div><div class="proof admonition">proof</div>'
        '<figure class="citable align-default" id="fig-a"><img src="a.svg"></figure>'
    )
    assert snippets(body) == {
        "thm-a": '<div class="proof theorem admonition"><div>one two</div></div>',
        "fig-a": '<figure class="citable align-default"><img src="a.svg"></figure>',
    }
    with pytest.raises(ValueError, match="not closed"):
        element("<div><div></div>", 0)


def test_the_sitemap_is_xml_and_the_lost_page_loads_nothing():
    root = ElementTree.fromstring(sitemap(["https://example.org/a.html?b&c"]))
    assert [place.text for place in root.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")] == [
        "https://example.org/a.html?b&c"
    ]
    page = lost("A & B", "https://example.org/search.html", [("https://example.org/a.html", "<A>")])
    assert not re.search(r"\b(src|rel)=", page) and "&lt;A&gt;" in page and "A &amp; B" in page


CHAPTER = r"""
(ch-one)=
# One: -1 and more

```{prf:theorem} All $n$ are even; or not
:label: thm-even

$$
n=2m
$$ (eq-even)
```

````{prf:proof}
```{note}
By counting. $\blacksquare$
```
````

```{prf:corollary} Half
:label: cor-half

It is `a -1` by {eq}`eq-even`, or -1 [-2, -1].
```
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    (folder / "book").mkdir()
    (folder / "index.md").write_text(
        "# Book\n\n```{toctree}\n:numbered:\nbook/one\nbook/two\n```\n\n```{paths} book/p.toml\n```\n"
    )
    (folder / "book" / "one.md").write_text(CHAPTER)
    (folder / "book" / "two.md").write_text("# Two\n\n```{theorem-index}\n```\n")
    (folder / "book" / "words.toml").write_text('"parity" = ["none", "one#ch-one"]\n')
    (folder / "book" / "p.toml").write_text(
        '[[path]]\nreader = "All"\nwants = "it"\npages = ["book/one", "book/none"]\n'
    )
    status, said = built(folder, "sphinx_proof")
    assert status == 0, said
    return folder / "_build" / "html"


def text(page):
    return re.sub("[ \n]+", " ", unescape(re.sub("<[^>]*>", "", page.read_text(encoding="utf-8"))))


def test_the_list_of_theorems_names_links_and_cites_each(site):
    page, said = (site / "book" / "two.html").read_text(), text(site / "book" / "two.html")
    assert 'href="one.html#thm-even">Theorem 1' in page and r"\(n\)" in page
    assert "2 numbered statements: 1 theorem, 1 corollary." in said
    assert "followed by its proof, except Corollary 1" in said
    assert "Rests on Theorem 1" in said and "Used by Corollary 1" in said
    assert "isonum:thm-even" in said and "Theorem 1.1 in: isonum" in said


def test_the_search_finds_statements_by_label_and_title_and_words_by_the_page_that_answers_them(site):
    index = json.loads((site / "searchindex.js").read_text().removeprefix("Search.setIndex(").removesuffix(")"))
    (page,) = [place for place, name in enumerate(index["docnames"]) if name == "book/one"]
    entries = index["indexentries"]
    assert entries["thm-even"] == [[page, "thm-even", True]]
    assert entries["all n are even, or not"] == [[page, "thm-even", True]]
    assert entries["parity"] == [[page, "ch-one", True]]
    assert 'href="book/one.html#thm-even"' in (site / "genindex.html").read_text()


def test_a_proof_may_begin_with_a_directive(site):
    page = (site / "book" / "one.html").read_text()
    assert re.search(r"<p>Proof\.\s*</p>\s*<div class=\"admonition note", page) and "{note}" not in page


def test_previews_hold_statements_and_equations(site):
    script = (site / "previews" / "book" / "one.js").read_text()
    page, found = re.fullmatch(r'previews\("([^"]*)", (.*)\);\n', script, re.DOTALL).groups()
    assert page == "book/one" and set(json.loads(found)) == {"thm-even", "cor-half", "equation-eq-even"}


def test_a_page_says_its_time_and_how_to_cite_it(site):
    said = text(site / "book" / "one.html")
    assert "1 minute to read" in said and "isonum:one" in said and "Chapter 1 in: isonum" in said
    assert "or −1\xa0[−2,\xa0−1]" in said and "a -1" in said
    said = text(site / "index.html")
    assert "All: it (1 minute). One: −1 and more." in said
    assert "Cite this book" in said


def test_the_sitemap_lists_the_pages(site):
    found = re.findall("<loc>(.*?)</loc>", (site / "sitemap.xml").read_text())
    assert found == [f"https://example.org/{name}.html" for name in ("index", "book/one", "book/two")]
    assert (site / "404.html").exists()


@pytest.fixture(scope="module")
def writer():
    class Page:
        toc_fignumbers = {"a": {"displaymath": {"equation-eq-a": (1, 2)}, "theorem": {"thm-a": (3, 1)}}}
        isonum_theorems = {"thm-a": {"docname": "a", "kind": "theorem", "counted_as": "theorem"}}

    return Writer("https://example.org/book/a.html", Page, "a")


def said(words):
    return nodes.paragraph("", words)


def link(**to):
    return nodes.reference("", "there", **to)


@pytest.mark.parametrize(
    "node, written",
    [
        (nodes.paragraph("", "5 * 3 costs $2 in a_b"), r"5 \* 3 costs \$2 in a_b"),
        (
            nodes.inline("", "", nodes.math("", r"\R^d"), nodes.strong("", "x"), nodes.literal("", "a*b")),
            r"$\R^d$**x**`a*b`",
        ),
        (nodes.math_block("", "a\\\\b", ids=["equation-eq-a"]), "$$\n\\begin{split}a\\\\b\\end{split}\\tag{1.2}\n$$"),
        (nodes.section("", nodes.title("", "One"), nodes.section("", nodes.title("", "Two"))), "# One\n\n## Two"),
        (link(refuri="b.html#x"), "[there](https://example.org/book/b.html#x)"),
        (link(refid="x"), "[there](https://example.org/book/a.html#x)"),
        (link(refuri="https://arxiv.org"), "[there](https://arxiv.org)"),
        (nodes.enumerated_list("", nodes.list_item("", *map(said, "pq"))), "1. p\n\n   q"),
        (nodes.block_quote("", said("so")), "> so"),
        (nodes.literal_block("", "x = 1", language="python"), "```python\nx = 1\n```"),
        (nodes.inline("", "10", nodes.superscript("", "−5")), "10<sup>−5</sup>"),
        (nodes.raw("", "<b>", format="html"), ""),
    ],
)
def test_a_page_becomes_plain_markdown(writer, node, written):
    assert writer.write(node).strip() == written


def test_a_table_becomes_one_of_bars(writer):
    row = nodes.row("", *(nodes.entry("", nodes.paragraph("", text)) for text in ("a | b", "c")))
    table = nodes.table(
        "", nodes.title("", "T"), nodes.tgroup("", nodes.thead("", row), nodes.tbody("", row.deepcopy()))
    )
    assert writer.write(table).strip() == "**T**\n\n| a \\| b | c |\n|---|---|\n| a \\| b | c |"
