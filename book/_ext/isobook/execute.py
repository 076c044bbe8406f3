"""Execute the chapters side by side, one on each core, before Sphinx reads them one after another.

Each finished chapter is in the execution cache, where Sphinx finds it; so an interrupted build goes on where it was.
"""

from __future__ import annotations

import logging
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor
from myst_nb.core.read import is_myst_markdown_notebook


def side_by_side(app, env, docnames):
    """Execute those of the pages to be read that are notebooks and not in the cache yet."""
    if app.config.nb_execution_mode != "cache":
        return
    paths = [str(env.doc2path(name)) for name in sorted(docnames)]
    chapters = [path for path in paths if is_myst_markdown_notebook(Path(path).read_text(encoding="utf-8"))]
    cache = get_cache(app.config.nb_execution_cache_path)
    for chapter in chapters:
        cache.add_nb_to_project(chapter, read_data={"type": "plugin", "name": "myst_nb_md"})
    # At this level the executor prints which chapter begins and which is done.
    progress = logging.getLogger(__name__)
    progress.setLevel(logging.INFO)
    # A chapter that fails stays out of the cache: Sphinx executes it again, and says in its own words what is wrong.
    load_executor("local-parallel", cache, progress).run_and_cache(
        filter_uris=chapters, timeout=app.config.nb_execution_timeout
    )


def setup(app):
    app.connect("env-before-read-docs", side_by_side)
