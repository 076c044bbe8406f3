"""Every mistake of the kill list turns its named check red, and the check is green without it."""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from mutants import MUTANTS

import isonum_core

HERE = Path(__file__).parent
SOURCE = Path(isonum_core.__file__).parent


@pytest.fixture
def copied_core(tmp_path, monkeypatch):
    """A copy of the core that is imported instead of the core, until the test ends."""
    shutil.copytree(SOURCE, tmp_path / "isonum_core", ignore=shutil.ignore_patterns("__pycache__"))
    ours = [name for name in sys.modules if name.split(".")[0] == "isonum_core"]
    kept = {name: sys.modules.pop(name) for name in ours}
    monkeypatch.syspath_prepend(tmp_path)
    # The checker of types remembers classes by name, so it would take a copy's Moments for the wrong Moments.
    plain = [finder for finder in sys.meta_path if not type(finder).__module__.startswith("jaxtyping")]
    monkeypatch.setattr(sys, "meta_path", plain)
    yield tmp_path / "isonum_core"
    for name in [name for name in sys.modules if name.split(".")[0] == "isonum_core"]:
        del sys.modules[name]
    sys.modules.update(kept)


def run(check, arguments, core):
    """Call one test function against the copy."""
    file, function = check
    spec = importlib.util.spec_from_file_location(f"mutated_{file}", HERE / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert Path(sys.modules["isonum_core"].__file__).parent == core
    getattr(module, function)(np.random.default_rng(0), **arguments)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[m.mistake for m in MUTANTS])
def test_without_the_mistake_the_check_is_green(mutant, copied_core):
    run(mutant.check, mutant.arguments, copied_core)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[m.mistake for m in MUTANTS])
def test_the_mistake_turns_its_check_red(mutant, copied_core):
    file = copied_core / mutant.file
    text = file.read_text()
    for right, wrong in mutant.edits:
        assert text.count(right) == 1, f"the core has moved on: {right!r} occurs {text.count(right)} times"
        text = text.replace(right, wrong)
    file.write_text(text)
    # A refusal of the core is red too, and so is a warning, which the tests make an error.
    with pytest.raises((AssertionError, ValueError, Warning)):
        run(mutant.check, mutant.arguments, copied_core)
