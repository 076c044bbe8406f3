"""isonum: when does isotropy help, when does it hurt, and how would I know?"""

from isonum_core.errors import IsonumError, WeakNumberWarning
from isonum_core.geometry.moments import Moments

__all__ = ["IsonumError", "Moments", "WeakNumberWarning"]
