"""What a person sees when a number is undefined, and when it is defined but weak."""


class IsonumError(ValueError):
    """The input cannot give the number asked for. The message says what was expected, what came and what to do."""


class DataAbsent(IsonumError):
    """A real set or a packaged model can neither be downloaded nor found where it should lie. The code is not wrong."""


class WeakNumberWarning(UserWarning):
    """The number is defined, but the input carries too little precision or too few samples to lean on it."""
