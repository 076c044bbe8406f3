"""Put the figures' files on the site, with a permanent address each and a list of all for machines."""

from __future__ import annotations

import json
import shutil
from html import escape
from pathlib import Path

from isobook.gallery import number, ordered
from isobook.render import store


def publish(app, error):
    if error or app.builder.format != "html":
        return
    site, made = Path(app.outdir), Path(app.outdir).parent / "jupyter_execute" / "figures"
    for folder in ("figures", "fig"):  # nothing stays of a figure that was renamed or dropped
        shutil.rmtree(site / folder, ignore_errors=True)
        (site / folder).mkdir()
    for id in store(app.env):
        shutil.copytree(made / id, site / "figures" / id)
        (site / "fig" / f"{id}.html").write_text(permalink(app, id), encoding="utf-8")
    index = json.dumps(catalogue(app), indent=1, ensure_ascii=False) + "\n"
    (site / "figures" / "index.json").write_text(index, encoding="utf-8")


def catalogue(app) -> list[dict]:
    """What is known of each figure, in reading order."""
    base, kept = app.config.html_baseurl, ("title", "caption", "alt", "files", "provenance")
    return [
        {
            "id": id,
            "number": number(app.env, id),
            "url": f"{base}fig/{id}.html",
            "page": app.builder.get_target_uri(store(app.env)[id]["docname"]) + "#" + id,
            **{field: store(app.env)[id][field] for field in kept},
        }
        for id in ordered(app.env)
    ]


def permalink(app, id: str) -> str:
    """A page that leads to the figure wherever the book has moved it, and shows it where redirects are off."""
    figure = store(app.env)[id]
    page = app.builder.get_target_uri(figure["docname"])
    title = escape(f"Figure {number(app.env, id)}: {figure['title']}")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<meta http-equiv="refresh" content="0; url=../{page}#{id}">
<link rel="canonical" href="{escape(app.config.html_baseurl)}{page}">
<link rel="icon" href="../_static/favicon.svg">
<style>body {{ max-width: 44rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.6 sans-serif }}
img {{ max-width: 100%; height: auto }}</style>
</head>
<body>
<main>
<h1>Figure {number(app.env, id)}</h1>
<p><a href="../{page}#{id}"><img src="../figures/{id}/{id}.svg" alt="{escape(figure["alt"])}"></a></p>
<p>{escape(figure["caption"])}</p>
</main>
</body>
</html>
"""


def setup(app):
    app.connect("build-finished", publish, priority=600)
