"""What a study is: a module with a grid of frozen configurations and a pure function from a configuration to rows.

    grid(profile) -> list[Config]      profile "quick" (seconds), "cpu" (a laptop) or "gpu"; Config is a frozen
                                       dataclass of plain values that holds every seed
    run(config) -> list[dict]          rows; may take a second argument `device`, else it runs on the CPU alone
    TOLERANCES = {"loss": {"cpu": 1e-9, "cuda": 1e-3}}     for every column of floats
    MAY_BE_MISSING = {"skill"}         columns of floats that may be None or NaN (written as an empty cell)
    provisional(config) -> bool        whether another processor is known to give other rows; none are without it

Tolerance t allows |a - b| <= t max(1, |a|). Everything that is not a float is compared exactly.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import math
import pkgutil
from collections.abc import Callable
from typing import Any

from isonum_core.errors import IsonumError

PROFILES = ("quick", "cpu", "gpu")
HOME = "isonum_core.studies"  # the package whose modules are found by their names; the machine knows no more of it

Cells = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Study:
    """A study module, checked. `name` is the table's name, `columns` are the fields of its configurations."""

    name: str
    module: str
    title: str
    columns: Cells
    grid: Callable[[str], list]
    run: Callable[..., list[dict]]
    tolerances: dict[str, dict[str, float]]
    may_be_missing: frozenset[str]
    takes_device: bool
    provisional: Callable[[Any], bool]

    def configs(self, profile: str) -> dict[Cells, Any]:
        """The grid of a profile, keyed by the cells that stand for each configuration in the table."""
        if profile not in PROFILES:
            raise IsonumError(f"A profile is one of {', '.join(PROFILES)}, got {profile!r}. Choose one of them.")
        found = {}
        for config in self.grid(profile):
            key = tuple(cell(name, getattr(config, name)) for name in self.columns)
            if key in found:
                raise IsonumError(f"The {profile} grid of {self.name} holds {config} twice. Each may stand there once.")
            found[key] = config
        return found

    def tolerance(self, column: str, *devices: str) -> float:
        """Largest tolerance of a column among the devices that took part."""
        known = self.tolerances[column]
        if missing := [kind for kind in devices if kind not in known]:
            raise IsonumError(f"{self.name} states no tolerance of {column!r} on {missing[0]}. Add it to TOLERANCES.")
        return max(known[kind] for kind in devices)

    def cells(self, config: Any, rows: list[dict]) -> tuple[Cells, list[Cells]]:
        """Value columns and rows as text, or IsonumError: no rows, other columns, an undeclared float, NaN, infinity.

        A row may repeat fields of its configuration; they must agree, and stand in the table once.
        """
        if not rows:
            raise IsonumError(f"{self.name} returned no rows, expected at least one. A configuration leaves a result.")
        columns = tuple(name for name in rows[0] if name not in self.columns)
        for row in rows:
            if list(row) != list(rows[0]):
                raise IsonumError(f"{self.name} returned rows with different columns: {[*rows[0]]} and {[*row]}.")
            for name in set(row) & set(self.columns):
                if cell(name, row[name]) != cell(name, getattr(config, name)):
                    raise IsonumError(
                        f"A row of {self.name} says {name}={row[name]!r}, its configuration {getattr(config, name)!r}. "
                        "Rename the column of the row."
                    )
        return columns, [tuple(self._value(name, row[name]) for name in columns) for row in rows]

    def _value(self, name: str, value: Any) -> str:
        value = plain(value)
        if name in self.may_be_missing and (value is None or value != value):
            return ""
        if isinstance(value, float) and name not in self.tolerances:
            raise IsonumError(f"{name!r} is a float without a tolerance in {self.name}. Add it to TOLERANCES.")
        if value is None:
            raise IsonumError(f"{name!r} is None in {self.name}, which does not list it in MAY_BE_MISSING.")
        return cell(name, value)


def plain(value: Any) -> Any:
    """A NumPy or torch scalar as the Python number that it holds; anything else unchanged."""
    return value.item() if getattr(value, "shape", None) == () else value


def cell(name: str, value: Any) -> str:
    """A value as it stands in a table: floats round-trip, true and false in small letters, lists as JSON, None empty.

    IsonumError for NaN, infinities, the empty text (it would read as missing) and anything that is not plain.
    """
    value = plain(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return repr(value)
        raise IsonumError(f"{name!r} is {value}, expected a finite number. Training diverged, or 0/0 was taken.")
    if value is None:
        return ""
    if isinstance(value, bool | list | tuple | dict):
        return json.dumps(value, allow_nan=False)
    if isinstance(value, int) or (isinstance(value, str) and value):
        return str(value)
    raise IsonumError(f"{name!r} is {value!r}, expected a number, true or false, or words. Write it plainly.")


def find_study(name: str) -> Study:
    """The study of HOME with this name; a name with a dot is any importable module ("mine.depth").

    IsonumError when there is none, when it has no grid (chapters run such a file live), or it breaks the form above.
    """
    path = name if "." in name else f"{HOME}.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if not path.startswith(error.name or "?"):
            raise  # the study is there; something that it imports is not
        raise IsonumError(f"There is no study {name!r}. Known: {', '.join(study_names()) or 'none yet'}.") from None
    if not hasattr(module, "grid") or not hasattr(module, "run"):
        raise IsonumError(f"{name} has no grid or no run, so it makes no table. A chapter may run it live.")
    first = module.grid("quick")[0]
    if not dataclasses.is_dataclass(first) or not type(first).__dataclass_params__.frozen:
        raise IsonumError(f"The grid of {name} should hold frozen dataclasses, got {type(first).__name__}.")
    return Study(
        name=path.rpartition(".")[2],
        module=path,
        title=(module.__doc__ or "").strip().partition("\n")[0],
        columns=tuple(field.name for field in dataclasses.fields(first)),
        grid=module.grid,
        run=module.run,
        tolerances=getattr(module, "TOLERANCES", {}),
        may_be_missing=frozenset(getattr(module, "MAY_BE_MISSING", ())),
        takes_device="device" in inspect.signature(module.run).parameters,
        provisional=getattr(module, "provisional", lambda config: False),
    )


def study_names() -> list[str]:
    """Names of the modules of HOME that have a grid."""
    names = sorted(info.name for info in pkgutil.iter_modules(importlib.import_module(HOME).__path__))
    return [name for name in names if hasattr(importlib.import_module(f"{HOME}.{name}"), "grid")]
