"""isonum: when does isotropy help, when does it hurt, and how would I know?

The names that a chapter or a user calls first. Each is loaded when it is asked for, so that the command line begins at
once; everything else is imported from the file where it stands.

>>> import numpy as np
>>> from isonum_core import Moments, iso_score
>>> states = np.random.default_rng(0).normal(size=(1000, 8))  # a round cloud
>>> round(float(iso_score(Moments.of(states))), 2)
0.99
"""

import importlib

_WHERE = {
    "errors": ("IsonumError", "WeakNumberWarning"),
    "figures": ("INK", "PALETTE", "citable", "theme"),
    "prose": ("interval", "say", "spoken", "tabled"),
    "geometry.moments": ("Directions", "Moments"),
    "geometry.scores": ("SCORES", "iso_score", "iso_score_star", "mean_cosine", "mean_share", "participation_ratio"),
    "geometry.null": ("iso_score_null", "iso_score_unbiased"),
    "geometry.neighbours": ("two_nn",),
    "geometry.partition": ("partition_isotropy",),
    "theory.loglinear": ("fisher_information", "log_partition", "logits", "probabilities"),
    "worlds.families": ("FAMILIES",),
    "worlds.tokens": ("MeanScale",),
    "networks.batches": ("text_batches",),
    "networks.capture": ("capture",),
    "networks.models": ("minilm",),
    "lab.table": ("load_table",),
}
_HOME = {name: module for module, names in _WHERE.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"isonum_core has no {name!r}. It offers {', '.join(__all__)}.")
    value = getattr(importlib.import_module(f"isonum_core.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
