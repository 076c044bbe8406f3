"""Every example in a docstring of the core is run, and the face of geometry has some that climb."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

import isonum_core

CORE = Path(isonum_core.__file__).parent
RUNNER = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)


def examples(path):
    """(name, docstring) of what holds examples, read off the source: doctest overlooks functions wrapped in checks."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ">>>" in (ast.get_docstring(node) or ""):
            yield getattr(node, "name", path.stem), ast.get_docstring(node)


FOUND = [(path, *found) for path in sorted(CORE.rglob("*.py")) for found in examples(path)]


@pytest.mark.parametrize("path, name, text", FOUND, ids=[f"{path.stem}.{name}" for path, name, _ in FOUND])
def test_an_example_gives_what_it_says(path, name, text):
    module = importlib.import_module(".".join(path.relative_to(CORE.parent).with_suffix("").parts))
    said = []
    case = doctest.DocTestParser().get_doctest(text, {"torch": torch, "np": np, **vars(module)}, name, str(path), 0)
    failed, tried = RUNNER.run(case, out=said.append)
    assert tried and not failed, "".join(said)


def test_an_example_that_is_wrong_is_seen():
    case = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert RUNNER.run(case, out=lambda words: None).failed == 1


@pytest.mark.parametrize(
    "name",
    "iso_score iso_score_star iso_score_null iso_score_unbiased mean_cosine mean_share participation_ratio two_nn "
    "partition_isotropy cluster_centred_cosine of merge".split(),
)
def test_examples_of_the_face_climb(name):
    """The smallest case, the usual one, the surprising one."""
    (text,) = [
        text for path, found, text in FOUND if found == name and path.parent.name == "geometry" and path.stem != "sinks"
    ]
    assert sum(bool(example.want) for example in doctest.DocTestParser().get_examples(text)) >= 3
