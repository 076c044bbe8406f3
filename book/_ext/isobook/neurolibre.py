"""The repository as NeuroLibre asks for it (docs.neurolibre.org, "Structure your NRP repository").

    content/      _config.yml, _toc.yml and the chapters      binder/     what the runtime installs
    paper.md      title, authors and abstract                 paper.bib   what the chapters cite

All else stays as it is. `python -m isobook.neurolibre FOLDER` writes it from the files that git knows.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from isobook.cite import citation
from isobook.elsewhere import CPU_WHEELS, ROOT

# What a chapter's page is made of, besides the core, which is installed, and its tables, which come with it.
CONTENT = ("_config.yml", "_toc.yml", "CITATION.cff", "pyproject.toml", "requirements.txt", "requirements-nodeps.txt")
BIBLIOGRAPHY = "book/references.bib"


def files(root: Path) -> list[str]:
    """What git knows, less what is about its own workflows."""
    listed = subprocess.run(["git", "-C", root, "ls-files"], capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if not name.startswith(".") and (root / name).is_file()]


def paper(meta: dict) -> str:
    """The companion paper's first page: what CITATION.cff says."""
    authors = [
        {"name": a.get("name") or f"{a['given-names']} {a['family-names']}", "affiliation": 1} for a in meta["authors"]
    ]
    front = {
        "title": meta["title"],
        "tags": ["isotropy", "embeddings", "language models", "time series", "reproducibility"],
        "authors": authors,
        "affiliations": [{"name": "Independent", "index": 1}],
        "date": str(meta["date-released"]),
        "bibliography": "paper.bib",
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n# Summary\n\n{' '.join(meta['abstract'].split())}\n"


def lay_out(target: Path, root: Path = ROOT) -> None:
    """Write the layout into a folder, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    for name in files(root):
        places = [] if name in ("_config.yml", "_toc.yml", BIBLIOGRAPHY) else [name]
        if name in CONTENT or (name.startswith("book/") and not name.startswith("book/results/")):
            places = [f"content/{name}", *(place for place in places if not name.startswith("book/"))]
        for place in ["paper.bib"] if name == BIBLIOGRAPHY else places:
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, target / place)
    config = target / "content" / "_config.yml"
    config.write_text(config.read_text(encoding="utf-8").replace(BIBLIOGRAPHY, "../paper.bib"), encoding="utf-8")
    (target / "paper.md").write_text(paper(citation(root)), encoding="utf-8")
    binder = target / "binder"
    binder.mkdir()
    pins = (root / "requirements.txt").read_text(encoding="utf-8")
    (binder / "requirements.txt").write_text(f"--extra-index-url {CPU_WHEELS}\nrepo2data>=2.6.0\n{pins}.\n")
    (binder / "postBuild").write_text("#!/bin/sh\npython -m pip install --no-deps -r requirements-nodeps.txt\n")
    (binder / "postBuild").chmod(0o755)
    (binder / "runtime.txt").write_text("python-3.11\n")


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
