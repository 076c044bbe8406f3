"""What a person sees when a number is undefined, and when it is defined but weak."""

from collections.abc import Mapping
from typing import TypeVar

Choice = TypeVar("Choice")


class IsonumError(ValueError):
    """The input cannot give the number asked for. The message says what was expected, what came and what to do."""


class DataAbsent(IsonumError):
    """A real set or a packaged model can neither be downloaded nor found where it should lie. The code is not wrong."""


class WeakNumberWarning(UserWarning):
    """The number is defined, but the input carries too little precision or too few samples to lean on it."""


def among(what: str, name: str, choices: Mapping[str, Choice]) -> Choice:
    """The choice of that name, or an IsonumError that lists them: where the name of a configuration is looked up."""
    if name not in choices:
        raise IsonumError(f"A {what} is one of {', '.join(choices)}, got {name!r}. Choose one of them.")
    return choices[name]
