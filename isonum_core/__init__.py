"""isonum: when does isotropy help, when does it hurt, and how would I know?"""

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.geometry.directions import Directions
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.null import iso_score_null, iso_score_unbiased
from isonum_core.geometry.scores import SCORES, iso_score, iso_score_star, mean_cosine, participation_ratio

__all__ = [
    "Directions",
    "IsonumError",
    "Moments",
    "SCORES",
    "WeakNumberWarning",
    "iso_score",
    "iso_score_null",
    "iso_score_star",
    "iso_score_unbiased",
    "mean_cosine",
    "participation_ratio",
]
