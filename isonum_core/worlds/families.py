"""The table of one-parameter families: every generator that the decorator `family` marks, in the order of the files."""

from __future__ import annotations

from isonum_core.worlds import processes_gaussian as gaussian
from isonum_core.worlds import processes_linear as linear
from isonum_core.worlds import processes_nonlinear as nonlinear
from isonum_core.worlds import processes_shape as shape
from isonum_core.worlds import processes_tails as tails
from isonum_core.worlds.family import Family

# Tables and pictures keep this order; within a file it is that of the definitions.
FAMILIES: dict[str, Family] = {
    name: member.family
    for file in (linear, shape, tails, nonlinear, gaussian)
    for name, member in vars(file).items()
    if hasattr(member, "family") and member.__module__ == file.__name__
}
