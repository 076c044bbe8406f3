"""The recipes of CONTRIBUTING.md, followed to the letter."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from isonum_core import Moments
from isonum_core.geometry import scores
from isonum_core.lab.engine import run_study
from isonum_core.lab.expectation import judged
from isonum_core.lab.table import load_table

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(file):
    """The code that the guide has for a file, in its order."""
    found = re.findall(r"^   ```python\n(.*?)^   ```", GUIDE, re.DOTALL | re.MULTILINE)
    return [block for block in map(textwrap.dedent, found) if block.startswith(f"# {file}\n")]


def test_the_score_of_the_guide_is_what_its_row_and_its_twin_say(rng):
    named, given = dict(vars(scores), SCORES={}), {"TWINS": {}, "np": np}
    for block in blocks("isonum_core/geometry/scores.py"):
        exec(block, named)
    (twin,) = blocks("tests/test_scores.py")
    exec(twin, given)
    (row,) = named["SCORES"].values()
    x = torch.from_numpy(rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)))
    got = float(row.function(Moments.of(x)))
    assert got == pytest.approx(given["TWINS"]["stable_rank"](x.numpy()), rel=1e-9)
    assert 1 <= got <= float(scores.participation_ratio(Moments.of(x)))
    assert got == pytest.approx(float(row.function(Moments.of(3 * x + 1))), rel=1e-9)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The study of the guide as a module that the lab finds."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "guide").mkdir()
    (folder / "guide" / "heavy_null.py").write_text(blocks("isonum_core/studies/heavy_null.py")[0])
    sys.path.insert(0, str(folder))
    yield importlib.import_module("guide.heavy_null"), folder
    sys.path.remove(str(folder))


def test_the_study_of_the_guide_makes_a_table(study):
    module, folder = study
    run_study("guide.heavy_null", "quick", folder=folder)
    table = load_table("guide.heavy_null", ("quick",), folder)
    assert list(table.frame.freedom) == [3.0, 30.0] and (table.frame.ratio > 0).all()
    assert len(module.grid("cpu")) == 60


@pytest.mark.parametrize("ratios, held", [([0.8, 0.82], True), ([1.2, 1.22], False), ([0.5, 1.4], None)])
def test_the_judge_of_the_guide_can_say_all_three(study, ratios, held):
    rows = pd.DataFrame({"freedom": 3.0, "ratio": ratios})
    assert judged(study[0].EXPECTED, rows).verdicts[0].held is (held if held is None else np.bool_(held))


def test_the_chapter_of_the_guide_keeps_the_rules_of_the_house():
    chapter = textwrap.dedent(re.search(r"^   ````markdown\n(.*?)^   ````", GUIDE, re.DOTALL | re.MULTILINE)[1])
    cells = re.findall(r"```\{code-cell\} ipython3\n:tags: \[[^\n]*\]\n\n(.*?)```", chapter, re.DOTALL)
    assert len(cells) == 3 and all(len(cell.splitlines()) <= 25 for cell in cells)
    assert [ast.parse(cell) for cell in cells]
    assert ast.unparse(ast.parse(cells[1]).body[-1]).startswith("citable(fig, 'fig-heavy-null'")
    said = {name for cell in cells for name in re.findall(r"\b(\w+)=", cell)}
    assert "```\n\n```{caption} fig-heavy-null\n:alt: " in chapter
    assert set(re.findall(r"\{glue:text\}`([^`:]*)", chapter)) <= said


def test_the_hook_runs_what_the_guide_says():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    commands = [hook["entry"] for repo in hooks for hook in repo["hooks"]]
    assert any(c.endswith("ruff check") for c in commands) and any(c.endswith("tests/test_house.py") for c in commands)
