"""sitemap.xml for search engines, and 404.html for the reader who came by a link that is wrong."""

from __future__ import annotations

from html import escape
from pathlib import Path
from xml.sax.saxutils import escape as xml

from isobook.gallery import reading_order


def sitemap(urls: list[str]) -> str:
    """The addresses of all pages, as https://www.sitemaps.org/protocol.html asks for them."""
    places = "".join(f"<url><loc>{xml(url)}</loc></url>\n" for url in urls)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        f"{places}</urlset>\n"
    )


def lost(title: str, search: str, links: list[tuple[str, str]]) -> str:
    """A page that stands by itself: it is shown at any depth of the site, so that it may load nothing of it."""
    listed = "\n".join(f'<li><a href="{escape(url)}">{escape(name)}</a></li>' for url, name in links)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Page not found: {escape(title)}</title>
<style>:root {{ color-scheme: light dark }}
body {{ max-width: 40rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.6 sans-serif }}
li {{ margin: .3rem 0 }}</style>
</head>
<body>
<main>
<h1>This page is not here</h1>
<p>It may have been moved. <a href="{escape(search)}">Search the book</a>, or begin at one of its pages:</p>
<ul>
{listed}
</ul>
</main>
</body>
</html>
"""


def write(app, error):
    if error or app.builder.format != "html":
        return
    base, names = app.config.html_baseurl, reading_order(app.env)
    urls = [base + app.builder.get_target_uri(name) for name in names]
    titles = [app.env.titles[name].astext() for name in names]
    site = Path(app.outdir)
    (site / "sitemap.xml").write_text(sitemap(urls), encoding="utf-8")
    page = lost(app.config.html_title or app.config.project, f"{base}search.html", list(zip(urls, titles, strict=True)))
    (site / "404.html").write_text(page, encoding="utf-8")


def setup(app):
    app.connect("build-finished", write)
