"""One RO-Crate for the site: which file is which figure, and which chapter made it (https://w3id.org/ro/crate/1.1).

Written by hand rather than by a library: a hundred lines, and the same bytes from build to build.
"""

from __future__ import annotations

import json
from pathlib import Path

from isobook.publish import catalogue

MEDIA = {
    "svg": "image/svg+xml",
    "dark.svg": "image/svg+xml",
    "pdf": "application/pdf",
    "png": "image/png",
    "csv": "text/csv",
    "json": "application/json",
}
LICENCE = "https://creativecommons.org/licenses/by/4.0/"


def crate(meta: dict, figures: list[dict]) -> dict:
    """The JSON-LD document: the site, its figures as collections of files, and the chapter that made each."""
    site = {
        "@id": "./",
        "@type": "Dataset",
        "name": meta["title"],
        "description": " ".join(meta["abstract"].split()),
        "datePublished": str(meta["date-released"]),
        "version": str(meta["version"]),
        "license": reference(LICENCE),
        "author": one_or_all([reference(f"#author-{i}") for i, _ in enumerate(meta["authors"])]),
        "publisher": reference(meta["repository-code"]),
        "url": meta["url"],
        "hasPart": [reference(name) for figure in figures for name in file_names(figure)]
        + [reference(name) for name in instruments(figures)],
        "mentions": [reference(f"#{kind}{figure['id']}") for kind in ("", "make-") for figure in figures],
    }
    graph = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": reference("./"),
            "conformsTo": reference("https://w3id.org/ro/crate/1.1"),
        },
        site,
        {"@id": LICENCE, "@type": "CreativeWork", "name": "Creative Commons Attribution 4.0 International"},
        {
            "@id": meta["repository-code"],
            "@type": "Organization",
            "name": meta["title"].split(":")[0],
            "url": meta["repository-code"],
        },
        *({"@id": f"#author-{i}", **author(a, meta)} for i, a in enumerate(meta["authors"])),
    ]
    for name in instruments(figures):
        graph.append(instrument(name, meta))
    for figure in figures:
        graph += describe(figure)
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}


def describe(figure: dict) -> list[dict]:
    """A figure, its files, and the action that made them."""
    names = [reference(name) for name in file_names(figure)]
    whole = {
        "@id": f"#{figure['id']}",
        "@type": "Collection",
        "name": f"Figure {figure['number']}: {figure['title']}",
        "description": figure["caption"],
        "url": figure["url"],
        "hasPart": names,
    }
    action = {
        "@id": f"#make-{figure['id']}",
        "@type": "CreateAction",
        "name": f"make {figure['id']}",
        "description": json.dumps(figure["provenance"], sort_keys=True),
        "instrument": reference(chapter(figure)),
        "result": names,
    }
    files = [
        {
            "@id": name["@id"],
            "@type": "File",
            "name": name["@id"].rsplit("/", 1)[-1],
            "description": figure["title"],
            "encodingFormat": MEDIA[kind],
            "contentSize": str(facts["bytes"]),
            "sha256": facts["sha256"],
        }
        for name, (kind, facts) in zip(names, figure["files"].items(), strict=True)
    ]
    return [whole, action, *files]


def chapter(figure: dict) -> str:
    """The executed notebook that draws a figure, as a file of the site."""
    return f"_sources/{figure['page'].split('.html')[0]}.ipynb"


def instruments(figures: list[dict]) -> list[str]:
    """The chapters that draw, each once, in reading order."""
    return list(dict.fromkeys(map(chapter, figures)))


def instrument(name: str, meta: dict) -> dict:
    """A chapter as the program that makes its figures."""
    stem = name.rsplit("/", 1)[-1].removesuffix(".ipynb")
    return {
        "@id": name,
        "@type": ["File", "SoftwareSourceCode"],
        "name": f"the chapter {stem}, executed",
        "description": f"Run all cells, or `make run-{stem}` in a clone of the repository.",
        "encodingFormat": "application/x-ipynb+json",
        "programmingLanguage": "Python",
        "codeRepository": meta["repository-code"],
        "version": str(meta["version"]),
    }


def file_names(figure: dict) -> list[str]:
    return [f"figures/{figure['id']}/{figure['id']}.{kind}" for kind in figure["files"]]


def author(person: dict, meta: dict) -> dict:
    """An author as schema.org has it."""
    if "name" in person:
        return {"@type": "Organization", "name": person["name"], "url": meta["url"]}
    return {"@type": "Person", "name": f"{person['given-names']} {person['family-names']}"}


def one_or_all(items: list):
    """JSON-LD writes a list of one as that one."""
    return items[0] if len(items) == 1 else items


def reference(id: str) -> dict:
    return {"@id": id}


def write(app, error):
    if error or app.builder.format != "html":
        return
    document = json.dumps(crate(app.env.isonum_citation, catalogue(app)), indent=1, ensure_ascii=False) + "\n"
    (Path(app.outdir) / "ro-crate-metadata.json").write_text(document, encoding="utf-8")


def setup(app):
    app.connect("build-finished", write, priority=700)
