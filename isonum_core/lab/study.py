"""What a study is: a module with a grid of frozen configurations and a pure function from a configuration to rows.

    grid(profile) -> list[Config]      profile "quick" (seconds), "cpu" (a laptop) or "gpu"; Config is a frozen
                                       dataclass of plain values that holds every seed
    run(config) -> list[dict]          rows; may take a second argument `device`, else it runs on the CPU alone
    TOLERANCES = {"loss": {"cpu": 1e-9, "cuda": 1e-3}}     for every column of floats
    MAY_BE_MISSING = {"skill"}         columns of floats that may be None or NaN (written as an empty cell)
    provisional(config) -> set[str]    columns that another processor is known to change; none are without it

Tolerance t allows |a - b| <= t max(1, |a|). Everything that is not a float is compared exactly.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import inspect
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

from isonum_core.errors import IsonumError
from isonum_core.origin import ROOT

PROFILES = ("quick", "cpu", "gpu")
HOME = "isonum_core.studies"  # the package whose modules are found by their names; the machine knows no more of it
RESULTS = ROOT / "book" / "results"

Cells = tuple[str, ...]
Row = dict[str, str]  # a row of a table: each value as it stands there, by its column


class Study:
    """A study module, checked: what it defines, the `name` of its tables, the `columns` of its configurations."""

    def __init__(self, module: ModuleType):
        self.module, self.file, self.name = module.__name__, module.__file__, module.__name__.rpartition(".")[2]
        self.title = (module.__doc__ or "").strip().partition("\n")[0]
        self.columns: Cells = tuple(field.name for field in dataclasses.fields(module.grid("quick")[0]))
        self.grid, self.run = module.grid, module.run
        self.takes_device = "device" in inspect.signature(module.run).parameters
        self.tolerances: dict[str, dict[str, float]] = getattr(module, "TOLERANCES", {})
        self.may_be_missing = frozenset(getattr(module, "MAY_BE_MISSING", ()))
        self.provisional = getattr(module, "provisional", lambda config: set())

    def key(self, config: Any) -> Cells:
        """The cells that stand for a configuration in the table."""
        return tuple(cell(name, getattr(config, name)) for name in self.columns)

    def configs(self, profile: str) -> dict[Cells, Any]:
        """The grid of a profile, each configuration by its key."""
        if profile not in PROFILES:
            raise IsonumError(f"A profile is one of {', '.join(PROFILES)}, got {profile!r}. Choose one of them.")
        found = {self.key(config): config for config in self.grid(profile)}
        if len(found) < len(self.grid(profile)):
            raise IsonumError(f"The {profile} grid of {self.name} holds a configuration twice. List each once.")
        return found

    def cells(self, config: Any, rows: list[dict]) -> list[Row]:
        """Rows as text, configuration first; IsonumError: no rows, other columns, an undeclared float, NaN, infinity.

        A row may repeat fields of its configuration; they must agree, and stand in the table once.
        """
        if len(kinds := {tuple(row) for row in rows}) != 1:
            raise IsonumError(f"{self.name} should return one row at least, all of the same columns, got {kinds or 0}.")
        own = dict(zip(self.columns, self.key(config), strict=True))
        for name, value in (pair for row in rows for pair in row.items()):
            if name in own and cell(name, value) != own[name]:
                raise IsonumError(f"A row says {name}={value!r}, its configuration {own[name]}. Rename the column.")
        return [own | {name: self._value(name, _plain(row[name])) for name in row if name not in own} for row in rows]

    def _value(self, name: str, value: Any) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            if name not in self.may_be_missing:
                raise IsonumError(f"{name!r} is {value} in {self.name}, which does not list it in MAY_BE_MISSING.")
            return ""
        if isinstance(value, float) and name not in self.tolerances:
            raise IsonumError(f"{name!r} is a float without a tolerance in {self.name}. Add it to TOLERANCES.")
        return cell(name, value)

    def _repr_markdown_(self) -> str:
        lines = [f"**{self.name}**: {self.title}", "", f"A configuration: {', '.join(self.columns)}.", ""]
        lines += ["| profile | configurations | in the table |", "|---|---|---|"]
        done = {profile: record(table_path(self.name, profile)).get("configurations", 0) for profile in PROFILES}
        return "\n".join(
            lines + [f"| {profile} | {len(self.configs(profile))} | {done[profile]} |" for profile in done]
        )


def _plain(value: Any) -> Any:
    # a NumPy or torch scalar as the Python number that it holds; anything else unchanged
    return value.item() if getattr(value, "shape", None) == () else value


def cell(name: str, value: Any) -> str:
    """A value as it stands in a table: floats round-trip, true and false in small letters, lists as JSON, None empty.

    IsonumError for NaN, infinities, the empty text (it would read as missing) and anything that is not plain.
    """
    value = _plain(value)
    if value is None or (isinstance(value, str) and value):
        return value or ""
    with contextlib.suppress(TypeError, ValueError):
        if not isinstance(value, str):
            return json.dumps(value, allow_nan=False)
    raise IsonumError(f"{name!r} is {value!r}, expected a finite number, true or false, or words. Write it plainly.")


def table_path(name: str, profile: str, folder: Path | str = RESULTS) -> Path:
    """Where the table of one study (its name, or its module's) and profile lies: <folder>/<study>.<profile>.csv."""
    return Path(folder) / f"{name.rpartition('.')[2]}.{profile}.csv"


def record(path: Path) -> dict:
    """What the JSON beside a table says of it, unchecked; nothing where there is none."""
    beside = path.with_suffix(".json")
    return json.loads(beside.read_text()) if beside.exists() else {}


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
        raise IsonumError(f"There is no study {name!r}. Known: {', '.join(study_titles()) or 'none yet'}.") from None
    if not hasattr(module, "grid") or not hasattr(module, "run"):
        raise IsonumError(f"{name} has no grid or no run, so it makes no table. A chapter may run it live.")
    kind = type(module.grid("quick")[0])
    if not dataclasses.is_dataclass(kind) or not kind.__dataclass_params__.frozen:
        raise IsonumError(f"The grid of {name} should hold frozen dataclasses, got {kind.__name__}.")
    return Study(module)


def study_titles() -> dict[str, str]:
    """Name and title of each study: of the modules of HOME that define a grid. Read off the files, which is quick."""
    files = sorted((ROOT / HOME.replace(".", "/")).glob("*.py"))
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in files}
    makes_table = [name for name, tree in trees.items() if "grid" in (getattr(node, "name", "") for node in tree.body)]
    return {name: ast.get_docstring(trees[name]).partition("\n")[0] for name in makes_table}
