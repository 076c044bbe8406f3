"""The page of what the package offers says what the package is: read off the source, compared with the thing itself."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from isobook.api import File, comment_above, entry, explained, face, signature

import isonum_core

ROOT = Path(isonum_core.__file__).parent
FACE = face(ROOT / "__init__.py")
HOME = {name: module for module, names in FACE.items() for name in names}


def test_the_page_has_every_name_that_the_package_offers():
    assert sorted(HOME) == isonum_core.__all__


def test_a_package_without_a_face_is_refused(tmp_path):
    (tmp_path / "__init__.py").write_text("x = 1")
    with pytest.raises(ValueError, match="no table _WHERE"):
        face(tmp_path / "__init__.py")
    with pytest.raises(ValueError, match="has no y at its top"):
        File(tmp_path, "__init__").define("y")


@pytest.mark.parametrize("name", isonum_core.__all__)
def test_an_entry_has_the_words_and_the_arguments_of_the_thing_itself(name):
    thing, (found, file) = getattr(isonum_core, name), File(ROOT, HOME[name]).define(name)
    said = entry(name, found, file).astext()
    if not callable(thing):
        assert re.search(rf"\b{name}\b", signature(found))
        return
    assert " ".join(inspect.getdoc(thing).split())[:60].replace("`", "") in " ".join(said.split())
    if inspect.isfunction(thing):
        parsed = ast.parse(f"def {signature(found)}: ...").body[0].args
        names = [a.arg for a in (*parsed.args, *filter(None, [parsed.vararg]), *parsed.kwonlyargs)]
        names += [parsed.kwarg.arg] if parsed.kwarg else []
        assert names == list(inspect.signature(inspect.unwrap(thing)).parameters)


@pytest.mark.parametrize(
    "source, line",
    [
        ("def f(a, /, b: int = 2, *c, d=3, **e) -> str: ...", "f(a, /, b: int = 2, *c, d=3, **e) -> str"),
        ("def f(*, a: float): ...", "f(*, a: float)"),
        ("class A: ...", "class A"),
        ("A, B = 1, 2", "A, B = (1, 2)"),
        (f"A: tuple = {tuple(range(99))}", "A: tuple"),
    ],
)
def test_signatures(source, line):
    assert signature(ast.parse(source).body[0]) == line


def test_words_examples_and_lists_of_names_are_told_apart():
    words, example, names = explained("Of `x*` and\nmore.\n\n>>> 1 + 1\n2\n\na  the first\nbb  the second")
    assert words.astext() == "Of x* and more." and words[1].tagname == "literal"
    role = explained("Print it with {glue:text}`name`, or `so`.")[0]
    assert [part.astext() for part in role if part.tagname == "literal"] == ["{glue:text}`name`", "so"]
    assert (example["language"], names["language"]) == ("pycon", "text")
    assert names.astext() == "a  the first\nbb  the second"
    assert comment_above(3, ["# One", "# two", "x = 1"]) == "One two"
