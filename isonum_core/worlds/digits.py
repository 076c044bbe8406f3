"""Numbers as text, exactly: the shortest decimal that reads back as the same float64."""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Float

from isonum_core.errors import IsonumError

SEPARATOR = ", "
MISSING = "nan"
# Stricter than float(), which also takes "1_0", " 1 ", "Infinity" and digits of other scripts.
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?", re.ASCII)


def to_text(values) -> str:
    """A series as text: '5, 11.5, nan, -0.25'. Each number is the shortest decimal that reads back as itself.

    Whole numbers carry no point; from 1e16 upward and below 1e-4 Python's exponent form is used. NaN is 'nan'.
    Raises IsonumError on a wrong shape and on infinite values, which have no digits.

    >>> to_text([5.0, 0.1, float("nan")])
    '5, 0.1, nan'
    """
    try:
        x = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise IsonumError(
            f"a series of real numbers was expected, got {type(values).__name__} that numpy cannot read as such. "
            "Give a list or an array of shape (T,)."
        ) from None
    if x.ndim != 1:
        raise IsonumError(f"a series must have shape (T,), got {x.shape}. Render one series at a time.")
    if np.isinf(x).any():
        raise IsonumError(
            f"values must be finite or NaN to be written in digits, got {int(np.isinf(x).sum())} infinite. "
            "Mark them as NaN."
        )
    return SEPARATOR.join(repr(float(v)).removesuffix(".0") for v in x)


def from_text(text: str) -> Float[np.ndarray, "T"]:
    """The series that `to_text` wrote, exactly. Raises IsonumError on anything that `to_text` could not have written.

    >>> from_text("5, 0.1, nan").tolist()
    [5.0, 0.1, nan]
    """
    if text == "":
        return np.empty(0)
    words = text.split(SEPARATOR)
    for place, word in enumerate(words):
        if word != MISSING and not _NUMBER.fullmatch(word):
            raise IsonumError(
                f"numbers separated by {SEPARATOR!r} were expected, got {word[:40]!r} at place {place}. "
                "Write series with to_text."
            )
    values = np.array([float(word) for word in words])
    if np.isinf(values).any():
        raise IsonumError(
            f"numbers below 1.8e308 were expected, got {words[int(np.isinf(values).argmax())][:40]!r}. "
            "float64 cannot hold it."
        )
    return values
