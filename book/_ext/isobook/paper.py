"""The whole book as one PDF, from the built site: `python -m isobook.paper _build/html _build/isonum.pdf`.

The articles of all pages stand one behind the other in a single page, whose links lead inside it; Chromium sets the
mathematics and prints, with bookmarks and page numbers. The style of paper is that of site.css.
"""

from __future__ import annotations

import re
import shutil
import sys
from html import escape
from pathlib import Path
from urllib.parse import urljoin

from isobook.cite import author_names, citation
from isobook.elsewhere import ROOT

LEFT_OUT = {"figures"}  # all pictures once more
SHEET = """
article.bd-article { break-before: page; max-width: none; padding: 0; }
.paper-front { padding-top: 5rem; }
.paper-title { font-size: 2.4rem; font-weight: 600; line-height: 1.2; }
.paper-contents { columns: 2; font-size: .9rem; list-style: none; padding: 0; }
.cite-page { display: none; }
body { background: none; }
"""
FOOTER = (
    '<div style="width: 100%; font: 8px sans-serif; padding: 0 16mm; display: flex; justify-content: space-between">'
    '<span>{words}</span><span class="pageNumber"></span></div>'
)


def article(page: str) -> str:
    """What a page says, without what stands around it."""
    return re.search(r'<article class="bd-article">(.*)</article>', page, re.DOTALL)[1]


def renamed(body: str, name: str, names: set[str], base: str) -> str:
    """An article whose ids begin with its page's name, and whose links lead to where the book has them now."""

    def link(found: re.Match) -> str:
        attribute, to = found.groups()
        page, _, place = to.partition("#")
        stem = page.removesuffix(".html") if page else name
        if stem in names and (page.endswith(".html") or not page):
            return f'{attribute}="#{stem}--{place}"' if place else f'{attribute}="#{stem}"'
        return f'{attribute}="{urljoin(f"{base}book/{name}.html", to)}"'

    body = re.sub(r'\b(id|for)="([^"]+)"', rf'\1="{name}--\2"', body)
    body = re.sub(r'\b(href)="([^"]*)"', link, body)
    return body.replace('loading="lazy"', 'loading="eager"')


def bound(pages: dict[str, str], meta: dict, base: str) -> str:
    """One page of HTML with all articles. `pages` are HTML by name, in reading order; the first lends its head."""
    head = re.search(r"<head>(.*?)</head>", next(page for page in pages.values() if "MathJax" in page), re.DOTALL)[1]
    kept = list(dict.fromkeys(re.findall(r'<link [^>]*rel="stylesheet"[^>]*>', "".join(pages.values()))))
    kept += re.findall(r"<script>window\.MathJax.*?</script>", head, re.DOTALL)
    kept += re.findall(r'<script[^>]*src="[^"]*tex-chtml[^"]*"></script>', head)
    titles = {name: re.search(r'<h1>(.*?)<a class="headerlink', article(page))[1] for name, page in pages.items()}
    listed = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in titles.items())
    authors = ", ".join(name.strip("{}") for name in author_names(meta))
    articles = "".join(
        f'<article class="bd-article" id="{name}">{renamed(article(page), name, set(pages), base)}</article>'
        for name, page in pages.items()
    )
    return (
        f'<!doctype html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">'
        f"<title>{escape(meta['title'])}</title>{''.join(kept)}<style>{SHEET}</style></head><body>"
        f'<div class="paper-front"><p class="paper-title">{escape(meta["title"])}</p><p>{escape(authors)}</p>'
        f"<p>Edition {meta['version']}, {meta['date-released']}. {escape(meta['url'])}</p>"
        f'<p>Text and figures: CC BY 4.0. Code: MIT.</p><ul class="paper-contents">{listed}</ul></div>{articles}'
        "</body></html>"
    )


def reading_pages(site: Path) -> tuple[dict[str, str], str]:
    """The pages to print by name, in reading order, and the address of the site."""
    places = re.findall("<loc>(.*?)</loc>", (site / "sitemap.xml").read_text(encoding="utf-8"))
    names = [name for place in places if (name := Path(place).stem) not in LEFT_OUT]
    pages = {name: (site / "book" / f"{name}.html").read_text(encoding="utf-8") for name in names}
    return pages, places[0].removesuffix("book/index.html")


def printed(site: Path, target: Path, browser) -> None:
    """Print the site of a folder with a running browser of Playwright."""
    meta, (pages, base) = citation(ROOT), reading_pages(site)
    whole = site / "book" / "_paper.html"  # among the pages, so that pictures and styles are where they say
    whole.write_text(bound(pages, meta, base), encoding="utf-8")
    try:
        tab = browser.new_page()
        tab.set_default_timeout(0)
        tab.emulate_media(media="print")
        tab.goto(whole.as_uri())
        tab.evaluate(
            """async () => {
                for (const folded of document.querySelectorAll("details.sd-dropdown")) folded.open = true;
                await MathJax.startup.promise;
                await MathJax.startup.document.lazyTypesetAll();
                await Promise.allSettled([...document.images].map(picture => picture.decode()));
            }"""
        )
        tab.pdf(
            path=target,
            format="A4",
            margin=dict(top="16mm", bottom="16mm", left="16mm", right="16mm"),
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER.format(words=f"{escape(meta['title'])}, {meta['version']}"),
            outline=True,
            tagged=True,
            print_background=True,
        )
        tab.close()
    finally:
        whole.unlink()


def chromium(playwright):
    """The system's Chromium, or the one that Playwright has installed."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])


if __name__ == "__main__":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        printed(Path(sys.argv[1]).resolve(), Path(sys.argv[2]), chromium(running))
    print(f"Printed {sys.argv[2]}")
