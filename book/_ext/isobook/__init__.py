"""The book's Sphinx extension: one small file per job, put together here.

cache      the execution cache knows the code that the chapters call
execute    chapters run side by side, before Sphinx reads them
render     a citable figure in a notebook's output becomes a numbered figure of the page
caption    what it shows, in the text below the cell
strict     what stops the build: naked images, code cells that did not run
cite       BibTeX that compiles, from CITATION.cff
entries    an entry below every figure, theorem and page
gallery    the page of all figures
theorems   the page of all theorems, with what each rests on
words      words that people search for, and where they lead
reading    how long a chapter takes; ways through the book
claims     the table of claims with their verdicts
explore    pictures that the reader moves
publish    files, permanent addresses, index.json
addresses  sitemap.xml and 404.html
crate      the RO-Crate that describes all of it to machines
api        what the package offers, from its source
typography a true minus, powers of ten, intervals in one piece
tables     rows as cards where the screen is narrow
mathjax    mathematics rendered by files of this site, when the reader comes near it
icons      the icons that pages use, and no others
previews   what a link leads to, for the reader who points at it
pages      small repairs to pages
notebooks  the executed chapter to take along, in plain Markdown
elsewhere  the wheel and the branch of notebooks, and links to where they run
last_ran   when the tests last passed with the newest libraries
"""

from __future__ import annotations

from isobook import (
    addresses,
    api,
    cache,
    caption,
    cite,
    claims,
    crate,
    elsewhere,
    entries,
    execute,
    explore,
    gallery,
    icons,
    last_ran,
    mathjax,
    notebooks,
    pages,
    previews,
    publish,
    reading,
    render,
    strict,
    tables,
    theorems,
    typography,
    words,
)

PARTS = (
    cache,
    execute,
    cite,
    render,
    caption,
    strict,
    entries,
    gallery,
    theorems,
    words,
    reading,
    claims,
    explore,
    api,
)
PARTS += (
    typography,
    tables,
    mathjax,
    pages,
    notebooks,
    elsewhere,
    last_ran,
    previews,
    publish,
    addresses,
    icons,
    crate,
)


def setup(app):
    for part in PARTS:
        part.setup(app)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": False}
