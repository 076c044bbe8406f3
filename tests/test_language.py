"""The synthetic language has the frequencies and the memory that it states; letters come back as they were."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isonum_core.errors import IsonumError
from isonum_core.worlds.language import Echo, excerpts, letters
from isonum_core.worlds.text import docstring_prose


def entropies(language):
    """Nats of a word, and of a word given the one `lag` before, word by word."""
    weights = [(rank + 1) ** -language.exponent for rank in range(language.words)]
    p = [w / sum(weights) for w in weights]
    np.testing.assert_allclose(language.frequencies, p, rtol=1e-12)
    conditional = 0.0
    for y in range(language.words):
        for x in range(language.words):
            q = (1 - language.echo) * p[x] + (language.echo if x == y else 0)
            conditional -= p[y] * q * math.log(q)
    return -sum(x * math.log(x) for x in p), conditional


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
def test_rank_against_frequency_falls_with_the_exponent_at_every_place(exponent):
    language = Echo(64, exponent, 0.5, 2)
    said = language.draw(40, np.random.default_rng(3), 20000)
    ranks = np.arange(16)  # the rarest of 16 words comes 1000 times at least: its log is off by about 0.03
    for place in (slice(0, 1), slice(20, 40)):
        counts = np.bincount(said[:, place].ravel(), minlength=64)[ranks]
        slope = np.polyfit(np.log(ranks + 1), np.log(counts), 1)[0]
        assert slope == pytest.approx(-exponent, abs=0.06)


@pytest.mark.parametrize("language", [Echo(12, 1.0, 0.5, 1), Echo(12, 1.5, 0.3, 3), Echo(12, 0.5, 0.8, 2)], ids=str)
def test_drawn_words_have_the_conditional_entropy_of_the_definition_at_the_lag_and_at_no_other(language):
    said = language.draw(60, np.random.default_rng(5), 4000)
    entropy, conditional = entropies(language)
    assert conditional_entropy(said, language.lag) == pytest.approx(conditional, abs=0.01)
    assert conditional_entropy(said, language.lag + 1) > conditional + 0.05
    assert conditional_entropy(said[:, : language.lag + 1], language.lag) < entropy - 0.05


def conditional_entropy(said, lag):
    """Plug-in estimate from counts of pairs: 10^5 of them in 144 cells, so its bias is below 0.001."""
    pairs = np.zeros((12, 12))
    np.add.at(pairs, (said[:, :-lag].ravel(), said[:, lag:].ravel()), 1)
    pairs /= pairs.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(pairs > 0, pairs * np.log(pairs / pairs.sum(1, keepdims=True)), 0.0)
    return -terms.sum()


def test_extreme_languages_are_what_they_must_be():
    assert Echo(8, 0.0).frequencies.tolist() == [1 / 8] * 8
    parrot = Echo(8, 1.0, 1.0, 2).draw(9, np.random.default_rng(0), 50)
    assert (parrot[:, 2:] == parrot[:, :-2]).all() and len(np.unique(parrot)) > 2


def test_draws_follow_their_generator():
    one, same, other = (Echo().draw(30, np.random.default_rng(seed), 4) for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).any() and one.shape == (4, 30)


@pytest.mark.parametrize(
    "wrong", [dict(words=1), dict(exponent=-1.0), dict(exponent=math.inf), dict(echo=1.1), dict(lag=0)], ids=str
)
def test_impossible_languages_are_refused(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(IsonumError, match=f"Echo needs .* got .*{name}={value}.* Correct the one"):
        Echo(**wrong)


def test_letters_spell_the_text():
    ids, alphabet = letters(["It was.", "So it is."])
    assert "".join(alphabet[i] for i in ids) == "It was. So it is."
    assert list(alphabet) == sorted(set(alphabet))


def test_prose_fits_in_the_vocabulary_of_number_words():
    ids, alphabet = letters(docstring_prose())
    assert 50 <= len(alphabet) <= 64 and len(ids) > 20000
    assert alphabet[np.bincount(ids).argmax()] == " "


def test_excerpts_are_stretches_of_the_text_from_any_place():
    text = np.arange(10)
    cut = excerpts(text, 4, np.random.default_rng(0), 200)
    assert (np.diff(cut, axis=1) == 1).all()
    assert set(cut[:, 0]) == set(range(7))


def test_empty_and_overlong_requests_are_refused():
    with pytest.raises(IsonumError, match="at least one passage"):
        letters([])
    with pytest.raises(IsonumError, match="1 to 10 ids long, as the text is, got length=11"):
        excerpts(np.arange(10), 11, np.random.default_rng(0))
    with pytest.raises(IsonumError, match="got length=0, n=1"):
        Echo().draw(0, np.random.default_rng(0))
