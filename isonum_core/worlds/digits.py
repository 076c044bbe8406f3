"""Series as people give them, and as text: the shortest decimals that read back as the same float64."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from isonum_core.errors import IsonumError

SEPARATOR = ", "


def real_numbers(values) -> Float[np.ndarray, "T"]:
    """One series of real numbers (list, array, masked array or tensor) as float64. A masked value becomes NaN.

    Raises IsonumError on a wrong shape, and on what numpy would turn into numbers without being asked: complex
    numbers, dates, durations and words.
    """
    kind = type(values).__name__
    if hasattr(values, "detach"):  # a tensor, of any device and precision
        values = values.detach().cpu()
        values = (values if values.is_complex() else values.double()).numpy()
    try:
        x = np.ma.asarray(values)
        if x.dtype.kind not in "biufO":
            raise TypeError
        x = np.ma.filled(x.astype(np.float64), np.nan)
    except (TypeError, ValueError, OverflowError):
        raise IsonumError(
            f"a series of real numbers was expected, got {kind} that does not hold them. "
            "Give a list, an array or a tensor of shape (T,)."
        ) from None
    if x.ndim != 1:
        raise IsonumError(f"a series must have shape (T,), got {x.shape}. Take one series at a time.")
    return x


def to_text(values) -> str:
    """A series as text: '5, 11.5, nan, -0.25'. Each number is the shortest decimal that reads back as itself.

    Whole numbers carry no point; from 1e16 upward and below 1e-4 Python's exponent form is used. NaN is 'nan'.
    Raises IsonumError where `real_numbers` does and on infinite values, which have no digits.

    >>> to_text([5.0, 0.1, float("nan")])
    '5, 0.1, nan'
    """
    x = real_numbers(values)
    if np.isinf(x).any():
        raise IsonumError(
            f"values must be finite or NaN to be written in digits, got {int(np.isinf(x).sum())} infinite. "
            "Mark them as NaN."
        )
    return SEPARATOR.join(map(_word, x))


def from_text(text: str) -> Float[np.ndarray, "T"]:
    """The series that `to_text` wrote, exactly. Raises IsonumError on anything that `to_text` could not have written.

    >>> from_text("5, 0.1, nan").tolist()
    [5.0, 0.1, nan]
    """
    words = text.split(SEPARATOR) if text else []
    for place, word in enumerate(words):
        try:
            exact = _word(float(word)) == word and word not in ("inf", "-inf")
        except ValueError:
            exact = False
        if not exact:  # float() also takes "1_0", " 1", "1e999" and digits of other scripts
            raise IsonumError(
                f"numbers separated by {SEPARATOR!r} were expected, got {word[:40]!r} at place {place}. "
                "Write series with to_text."
            )
    return np.array([float(word) for word in words])


def _word(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
