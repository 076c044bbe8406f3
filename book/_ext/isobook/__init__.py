"""The book's Sphinx extension: one small file per job, put together here.

cache      the execution cache knows the code that the chapters call
execute    chapters run side by side, before Sphinx reads them
render     a citable figure in a notebook's output becomes a numbered figure of the page
strict     what stops the build: naked images, code cells that did not run
cite       BibTeX entries, from CITATION.cff
gallery    the page of all figures
claims     the table of claims with their verdicts
explore    pictures that the reader moves
publish    files, permanent addresses, index.json
crate      the RO-Crate that describes all of it to machines
mathjax    mathematics rendered by files of this site, when the reader comes near it
icons      the icons that pages use, and no others
pages      small repairs and additions to single pages
"""

from __future__ import annotations

from isobook import (
    cache,
    cite,
    claims,
    crate,
    execute,
    explore,
    gallery,
    icons,
    mathjax,
    pages,
    publish,
    render,
    strict,
)


def setup(app):
    for part in (cache, execute, cite, render, strict, gallery, claims, explore, mathjax, pages, publish, icons, crate):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": False}
