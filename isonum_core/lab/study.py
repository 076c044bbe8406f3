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

import ast
import dataclasses
import importlib
import inspect
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isonum_core.errors import IsonumError
from isonum_core.origin import ROOT

PROFILES = ("quick", "cpu", "gpu")
HOME = "isonum_core.studies"  # the package whose modules are found by their names; the machine knows no more of it
RESULTS = ROOT / "book" / "results"

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

    def cells(self, config: Any, rows: list[dict]) -> tuple[Cells, list[Cells]]:
        """Value columns and rows as text, or IsonumError: no rows, other columns, an undeclared float, NaN, infinity.

        A row may repeat fields of its configuration; they must agree, and stand in the table once.
        """
        if len(kinds := {tuple(row) for row in rows}) != 1:
            raise IsonumError(f"{self.name} should return one row at least, all of the same columns, got {kinds or 0}.")
        own = dict(zip(self.columns, self.key(config), strict=True))
        for name, value in (pair for row in rows for pair in row.items()):
            if name in own and cell(name, value) != own[name]:
                raise IsonumError(f"A row says {name}={value!r}, its configuration {own[name]}. Rename the column.")
        columns = tuple(name for name in rows[0] if name not in own)
        return columns, [tuple(self._value(name, _plain(row[name])) for name in columns) for row in rows]

    def _value(self, name: str, value: Any) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            if name in self.may_be_missing:
                return ""
            raise IsonumError(f"{name!r} is {value} in {self.name}, which does not list it in MAY_BE_MISSING.")
        if isinstance(value, float) and name not in self.tolerances:
            raise IsonumError(f"{name!r} is a float without a tolerance in {self.name}. Add it to TOLERANCES.")
        return cell(name, value)

    def _repr_markdown_(self) -> str:
        lines = [f"**{self.name}**: {self.title}", "", f"A configuration: {', '.join(self.columns)}.", ""]
        lines += ["| profile | configurations | in the table |", "|---|---|---|"]
        for profile in PROFILES:
            done = record(table_path(self.name, profile)).get("configurations", 0)
            lines.append(f"| {profile} | {len(self.configs(profile))} | {done} |")
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    # a NumPy or torch scalar as the Python number that it holds; anything else unchanged
    return value.item() if getattr(value, "shape", None) == () else value


def cell(name: str, value: Any) -> str:
    """A value as it stands in a table: floats round-trip, true and false in small letters, lists as JSON, None empty.

    IsonumError for NaN, infinities, the empty text (it would read as missing) and anything that is not plain.
    """
    value = _plain(value)
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
    first = module.grid("quick")[0]
    if not dataclasses.is_dataclass(first) or not type(first).__dataclass_params__.frozen:
        raise IsonumError(f"The grid of {name} should hold frozen dataclasses, got {type(first).__name__}.")
    return Study(
        name=path.rpartition(".")[2],
        module=path,
        title=_title(module.__doc__),
        columns=tuple(field.name for field in dataclasses.fields(first)),
        grid=module.grid,
        run=module.run,
        tolerances=getattr(module, "TOLERANCES", {}),
        may_be_missing=frozenset(getattr(module, "MAY_BE_MISSING", ())),
        takes_device="device" in inspect.signature(module.run).parameters,
        provisional=getattr(module, "provisional", lambda config: False),
    )


def study_titles() -> dict[str, str]:
    """Name and title of each study: of the modules of HOME that define a grid. Read off the files, which is quick."""
    files = sorted((ROOT / HOME.replace(".", "/")).glob("*.py"))
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in files}
    makes_table = [name for name, tree in trees.items() if "grid" in (getattr(node, "name", "") for node in tree.body)]
    return {name: _title(ast.get_docstring(trees[name])) for name in makes_table}


def _title(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]
