"""The verbs that read a file of numbers: `scores` of its states and `tokens` of its series, for people or machines."""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
import pandas as pd
import torch

from isonum_core.commands.reading import Numbers, read_mask, read_numbers
from isonum_core.commands.report import MEASURES, Report, report
from isonum_core.errors import IsonumError
from isonum_core.worlds.tokens import MeanScale


def scores(options: argparse.Namespace) -> str:
    """Every measure of the states in a file, by layer where it has layers, as a table or as JSON."""
    file = options.file
    read = read_numbers(file, options.key, options.column, options.header)
    notes = read.notes
    words = [option.split(",") if option else [] for option in (options.measures, options.without)]
    found = {}
    for layer, rows in _clouds(read, options).items():
        found[layer] = report(torch.from_numpy(rows), *words, options.radius, _show)
        found[layer].notes.extend(notes)
    _show("")
    if options.json:
        records = [_record(one) | ({} if layer is None else {"layer": layer}) for layer, one in found.items()]
        return json.dumps(records[0] if None in found else {"layers": records}, allow_nan=False, indent=1)
    return _table(file, found)


def _show(doing: str) -> None:
    """On a terminal, the measure at work, on one line that is wiped in the end."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{doing}", end="", file=sys.stderr, flush=True)


def _clouds(read: Numbers, options: argparse.Namespace) -> dict[int | None, np.ndarray]:
    """The rows (n, d) that count, by layer; under None where the file has no layers or they are pooled."""
    x, notes, place = read
    if not 2 <= x.ndim <= 4 or (x.ndim > 2 and options.mask is None):
        raise IsonumError(
            f"states of shape (n, d), one sample a row, or (B, T, d) or (L, B, T, d) with --mask were expected in "
            f"{options.file}, got {x.shape}. Padding must not count: --mask FILE is true where a row counts, or none."
        )
    mask = np.ones(x.shape[:-1], dtype=bool)
    if options.mask not in (None, "none"):
        mask = read_mask(options.mask, options.mask_key)
        mask = mask.ravel() if x.ndim == 2 else mask  # of a text it is one column
        notes.append(f"the mask keeps {int(mask.sum())} of {mask.size} rows")
    if mask.shape not in (shapes := [x.shape[:-1], x.shape[1:-1]][: x.ndim - 1]):
        raise IsonumError(
            f"a mask of shape {' or '.join(map(str, shapes))}, true where a row of {options.file} counts, was expected "
            f"in {options.mask}, got {mask.shape}. Save the mask of these states."
        )
    layered = x.ndim == 4 or mask.ndim < x.ndim - 1
    mask = np.broadcast_to(mask, x.shape[:-1])
    if len(gaps := np.argwhere(mask & ~np.isfinite(x).all(-1)) + 1):
        at = place(gaps[0, 0]) if x.ndim == 2 else f"row {', '.join(map(str, gaps[0]))}, from 1"
        raise IsonumError(
            f"numbers were expected in every row of {options.file}, got {len(gaps)} of {mask.sum()} rows with NaN or "
            f"infinity, the first at {at}. Fill or --mask them."
        )
    return {k: x[k][mask[k]] for k in range(len(x))} if layered and not options.pool else {None: x[mask]}


def _record(found: Report) -> dict:
    """What a machine reads: a number or null for every measure, and the facts to judge it."""
    facts = dict(vars(found))
    return {"n": found.n, "d": found.d, **dict.fromkeys(found.absent), **facts.pop("values"), **facts}


def _table(file: str, found: dict[int | None, Report]) -> str:
    """The report of one cloud beside its null, with the reasons for what is absent; or of all layers side by side."""
    last = found[max(found, key=lambda layer: layer or 0)]
    if None in found:
        title, columns = f"n = {last.n} samples", {"value": last.values, "isotropic cloud": last.null}
        absent = [f"{name} is absent: {reason}" for name, reason in last.absent.items()]
    else:
        title, absent = f"{len(found)} layers (--pool makes one cloud, --json tells all)", []
        columns = {k: one.values | {"rows": one.n, "sinks": len(one.sinks)} for k, one in found.items()}
    table = pd.DataFrame(columns).reindex([*MEASURES, "rows", "sinks"]).dropna(how="all")
    table = table.rename_axis(columns="measure" if None in found else "layer")
    text = table.to_string(float_format=f"{{:.{6 if None in found else 4}g}}".format, na_rep="") if len(table) else ""
    notes = dict.fromkeys(f"note: {note}" for one in found.values() for note in one.notes)
    of = "" if None in found else f"Layer {max(found)}: "
    lines = [f"{file}: {title}, d = {last.d} dimensions", "", text, *absent, "", *notes]
    return "\n".join([*lines, of + last.verdict[0], last.verdict[1]])


def tokens(options: argparse.Namespace) -> str:
    """The tokens of the series in a file, and the values they stand for."""
    x, notes, _ = read_numbers(options.file, options.key, options.column, options.header)
    x = x[:, 0] if x.ndim == 2 and x.shape[1] == 1 else x
    if x.ndim != 1:
        raise IsonumError(
            f"one series of shape (T,) was expected in {options.file}, got {x.shape}. "
            "Choose one with --column, by name or by number from 1, or save one series a file."
        )
    tokeniser = MeanScale(n_tokens=options.n_tokens, context_length=options.context_length)
    coded = tokeniser.encode(x)
    ids, decoded, scale = coded.ids.tolist(), tokeniser.decode(coded.ids, coded.scale), coded.scale
    if options.json:
        record = dict(n_tokens=tokeniser.n_tokens, scale=scale, ids=ids, mask=coded.mask.int().tolist())
        record["decoded"] = [None if v != v else v for v in decoded.tolist()]
        return json.dumps(record | dict(clipped=coded.clipped, cut=coded.cut, notes=notes), allow_nan=False)
    x = x[coded.cut :]
    missing = int(np.isnan(x).sum())
    table = pd.DataFrame({"value": x, "id": ids[: len(x)], "decoded": decoded.tolist()[: len(x)]}).head(10)
    lines = [
        f"{options.file}: {len(x)} values, {missing} missing, scale {scale:.6g}, "
        f"{len(set(ids[: len(x)])) - (missing > 0)} of {len(tokeniser.centres)} bins in use",
        f"a decoded value is off by at most {scale * tokeniser.width / 2:.6g}; "
        f"{coded.clipped} clipped, {coded.cut} older than the context of {tokeniser.context_length}",
        "",
        table.to_string(index=False, float_format="{:.6g}".format, na_rep="missing"),
        *([f"... and {len(x) - 10} more: --json gives all"] if len(x) > 10 else []),
    ]
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])
