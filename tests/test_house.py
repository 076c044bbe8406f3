"""The rules of the house, read off the files: which way imports point, how long things are, what is explained."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

import isonum_core

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "isonum_core"
# A wing imports only from those before it; the machine of the lab from none but these three.
ORDER = "errors origin prose figures geometry theory worlds networks statistics lab studies commands __main__".split()
LAB = {"errors", "origin", "prose", "lab"}
# Lines that a wing may have. What "small" means is kept here and nowhere else.
SMALL = ("__init__", "errors", "origin", "prose", "figures", "geometry", "theory")
BUDGETS = {
    SMALL: 3300,
    ("worlds",): 1849,
    ("networks",): 1845,
    ("statistics",): 383,
    ("lab",): 685,
    ("studies",): 7327,
    ("commands", "__main__"): 1906,
}
# What every study is made of, so every study's file has it.
CONTRACT = {"grid", "run", "provisional"}
FILES = sorted(CORE.rglob("*.py"))
CHAPTERS = sorted((ROOT / "book").glob("*.md"))
TEXTS = [
    path
    for name in subprocess.run(
        ["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if (path := ROOT / name).is_file()
]


def name(path):
    return path.relative_to(ROOT).as_posix()


def wing(parts):
    """Place of a module in the order of wings; the package itself hands on from everywhere."""
    return ORDER.index(parts[0]) if parts and parts[0] in ORDER else None


def home(path):
    """The wing of a file: its folder, or its own name at the top."""
    return path.relative_to(CORE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_wing_imports_only_from_the_wings_above_it(path):
    if path == CORE / "__init__.py":
        return
    own = wing(path.relative_to(CORE).with_suffix("").parts)
    assert own is not None, "a new wing: give it its place in ORDER"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out in full"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        for module in modules:
            if module.startswith("isonum_core."):
                other = wing(module.split(".")[1:])
                assert other is not None and other <= own, f"{name(path)} imports {module}"
                assert ORDER[own] != "lab" or ORDER[other] in LAB, f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_holds_one_idea_and_explains_it(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 300
    tree = ast.parse(source)
    if source.strip():
        assert ast.get_docstring(tree)
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    assert not [n.name for n in public if not ast.get_docstring(n)]


@pytest.mark.parametrize("wings", BUDGETS, ids="+".join)
def test_a_wing_keeps_to_its_budget(wings):
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES if home(path) in wings}
    assert sum(lines.values()) <= BUDGETS[wings]


def test_every_file_is_in_one_wing_and_the_tests_weigh_as_much_as_the_core():
    assert {home(path) for path in FILES} == {wing for wings in BUDGETS for wing in wings}

    def lines(folder):
        return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py"))

    assert lines(ROOT / "tests") >= lines(CORE)


def test_one_name_stands_for_one_thing():
    """Public functions and classes of the whole house: a reader who met the name once knows it."""
    found = {}
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name(path))
    twice = {key: places for key, places in found.items() if len(places) > 1 and key not in CONTRACT}
    assert not twice


@pytest.mark.parametrize("rule", [["check"], ["format", "--check"]], ids=" ".join)
def test_code_is_linted_and_formatted(rule):
    done = subprocess.run([sys.executable, "-m", "ruff", *rule, ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_the_cells_of_a_chapter_are_linted(path):
    """As one program, from above to below; names that nothing has given are errors here."""
    cells = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    # a cell ends with what it shows, is short of lines, and imports where a reader first needs it
    allowed = "B018,B023,B905,E402,E501,E731,E741"
    words = ["-m", "ruff", "check", "--isolated", "--select", "E,F,UP,B", "--ignore", allowed, "--quiet", "-"]
    done = subprocess.run([sys.executable, *words], input="\n\n\n".join(cells), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_a_chapter_is_thin(path):
    cells = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    assert not [source for source in cells if len(source.splitlines()) > 25]
    banned = r"^\s*[%!]|sys\.path|warnings\.(filter|simplefilter)|\btqdm\b|pip install"
    assert not [source for source in cells if re.search(banned, source, re.MULTILINE)]


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_a_citable_figure_is_the_last_expression_of_its_cell(path):
    """Anywhere else a notebook does not show it, and the book is built without."""
    for cell in jupytext.read(path).cells:
        if cell.cell_type == "code" and re.search(r"^citable\(", cell.source, re.MULTILINE):
            assert ast.unparse(ast.parse(cell.source).body[-1]).startswith("citable(")


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_a_caption_stands_in_the_text_below_the_cell_of_its_figure(path):
    cells, drawn = jupytext.read(path).cells, 0
    for cell, below in itertools.pairwise(cells):
        if cell.cell_type == "code" and (id := re.search(r'^citable\(\s*fig, "([^"]+)"', cell.source, re.MULTILINE)):
            drawn += 1
            assert below.source.startswith(f"```{{caption}} {id[1]}\n:alt: "), id[1]
    assert drawn == sum(len(re.findall(r"^citable\(", cell.source, re.MULTILINE)) for cell in cells)


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_no_file_names_a_folder_of_somebodys_machine(path):
    if path.suffix in {".png", ".ico", ".npy", ".safetensors"}:
        return
    # put together here, so that this file passes too
    folders = "|".join(["/" + "work/", "/" + "tmp/", "/" + "root/", "/" + "home/", "/" + "Users/"])
    assert not re.search(folders, path.read_text(encoding="utf-8"))


def test_what_the_package_offers_exists():
    assert isonum_core.__all__ == sorted(isonum_core.__all__) and len(isonum_core.__all__) <= 32
    assert all(getattr(isonum_core, public) is not None for public in isonum_core.__all__)
    assert set(isonum_core.__all__) <= set(dir(isonum_core))
    with pytest.raises(AttributeError, match="has no 'isoscore'. It offers .*iso_score"):
        getattr(isonum_core, "iso" + "score")


def test_importing_the_package_loads_nothing_heavy():
    heavy = {"numpy", "torch", "matplotlib", "seaborn", "pooch", "sphinx", "transformers", "statsmodels", "IPython"}
    script = f"import isonum_core, sys; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_module_can_be_imported_by_itself(path):
    if path.name != "__main__.py":
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        importlib.import_module(module.removesuffix(".__init__"))
