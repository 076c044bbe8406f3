"""The book on paper: articles behind each other, whose links lead inside the one document that is printed."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from isobook.cite import citation
from isobook.paper import LEFT_OUT, article, bound, reading_pages, renamed

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
BASE = "https://example.org/"


def page(title, body):
    return (
        '<html><head><link rel="stylesheet" href="a.css"><link rel="next" href="b.html"><script>window.MathJax = 1;'
        '</script><script async src="m/tex-chtml.js"></script><script src="search.js"></script></head><body><h1>x</h1>'
        f'<article class="bd-article"><h1>{title}<a class="headerlink" href="#s">#</a></h1>{body}</article></html>'
    )


@pytest.mark.parametrize(
    "link, leads",
    [
        ("#thm", "#one--thm"),
        ("two.html#fig", "#two--fig"),
        ("two.html", "#two"),
        ("one.html", "#one"),
        ("figures.html", f"{BASE}book/figures.html"),
        ("../figures/a/a.csv", f"{BASE}figures/a/a.csv"),
        ("https://arxiv.org/#x", "https://arxiv.org/#x"),
    ],
)
def test_links_lead_inside_where_the_page_is_printed_and_to_the_site_elsewhere(link, leads):
    made = renamed(f'<a class="x" href="{link}">y</a>', "one", {"one", "two"}, BASE)
    assert made == f'<a class="x" href="{leads}">y</a>'


def test_the_document_has_each_article_once_and_only_the_scripts_of_mathematics():
    pages = {
        "one": page("One", '<p id="a">first</p>'),
        "two": page("Two", '<p id="a">second <a href="one.html#a">1</a></p>'),
    }
    assert article(pages["one"]).endswith('<p id="a">first</p>')
    whole = bound(pages, citation(ROOT), BASE)
    assert whole.index("first") < whole.index("second")
    assert re.findall(r'\bid="([^"]*)"', whole) == ["one", "one--a", "two", "two--a"]
    assert '<a href="#one--a">1</a>' in whole and '<li><a href="#two">Two</a></li>' in whole
    assert "tex-chtml.js" in whole and "window.MathJax" in whole and "a.css" in whole
    assert "search.js" not in whole and 'rel="next"' not in whole


@pytest.mark.site
@pytest.mark.skipif(not (SITE / "index.html").exists(), reason="no built site: run make book")
def test_every_link_of_the_printed_book_lands_in_it():
    pages, base = reading_pages(SITE)
    assert len(pages) > 20 and not LEFT_OUT & set(pages)
    whole = bound(pages, citation(ROOT), base)
    ids = Counter(re.findall(r'\bid="([^"]+)"', whole))
    assert max(ids.values()) == 1
    assert not set(re.findall(r'href="#([^"]+)"', whole)) - set(ids)
    for source in re.findall(r'<img [^>]*src="([^"]+)"', whole):
        assert (SITE / "book" / source).is_file()
