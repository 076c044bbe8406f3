"""The verbs that read a file of numbers: `scores` of its states and `tokens` of its series, for people or machines."""

from __future__ import annotations

import argparse
import json
import math
import sys

import numpy as np
import torch

from isonum_core.commands.reading import Numbers, read_mask, read_numbers
from isonum_core.commands.report import MEASURES, Report, report
from isonum_core.errors import IsonumError
from isonum_core.worlds.tokens import MeanScale


def scores(options: argparse.Namespace) -> str:
    """Every measure of the states in a file, by layer where it has layers, as a table or as JSON."""
    stored = read_numbers(options.file, options.key, options.column, options.header)
    words = [option.split(",") if option else [] for option in (options.measures, options.without)]
    found = {}
    for layer, x in _clouds(stored, options).items():
        found[layer] = report(torch.from_numpy(x), *words, options.radius, _show)
        found[layer].notes.extend(stored.notes)
    _show("")
    if options.json:
        records = [_record(one) | ({} if layer is None else {"layer": layer}) for layer, one in found.items()]
        return json.dumps(records[0] if None in found else {"layers": records}, allow_nan=False, indent=1)
    return _layer_table(options.file, found) if None not in found else _score_table(options.file, found[None])


def _show(doing: str) -> None:
    """On a terminal, the measure at work, on one line that is wiped in the end."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{doing}", end="", file=sys.stderr, flush=True)


def _clouds(stored: Numbers, options: argparse.Namespace) -> dict[int | None, np.ndarray]:
    """The rows (n, d) that count, by layer; under None where the file has no layers or they are pooled."""
    x, file = stored.values, options.file
    if not 2 <= x.ndim <= 4 or (x.ndim > 2 and options.mask is None):
        raise IsonumError(
            f"states of shape (n, d), one sample a row, or (B, T, d) or (L, B, T, d) with --mask were expected in "
            f"{file}, got {x.shape}. Padding must not count: --mask FILE is true where a row counts, none if all do."
        )
    mask = np.ones(x.shape[:-1], dtype=bool)
    if options.mask not in (None, "none"):
        mask = read_mask(options.mask, options.mask_key)
        mask = mask[:, 0] if x.ndim == 2 and mask.shape == (len(x), 1) else mask
        stored.notes.append(f"the mask keeps {int(mask.sum())} of {mask.size} rows")
    if mask.shape != x.shape[:-1] and (x.ndim == 2 or mask.shape != x.shape[1:-1]):
        wanted = " or ".join(map(str, [x.shape[:-1], x.shape[1:-1]][: x.ndim - 1]))
        raise IsonumError(
            f"a mask of shape {wanted}, true where a row of {file} counts, was expected in {options.mask}, "
            f"got {mask.shape}. Save the mask of these states."
        )
    layered = x.ndim == 4 or mask.shape != x.shape[:-1]
    mask = np.broadcast_to(mask, x.shape[:-1])
    found = {k: x[k][mask[k]] for k in range(len(x))} if layered and not options.pool else {None: x[mask]}
    for rows in found.values():
        bad = np.flatnonzero(~np.isfinite(rows).all(1))
        if len(bad):
            raise IsonumError(
                f"states without gaps were expected in {file}, got {len(bad)} of {len(rows)} rows with NaN or infinity,"
                f" the first at row {bad[0]} (from 0). Fill them, or leave rows out with --mask FILE."
            )
    return found


def _record(found: Report) -> dict:
    """What a machine reads: a number or null for every measure, and the facts to judge it."""
    values = {name: found.values.get(name) for name in [*found.values, *found.absent]}
    facts = ("radius", "null", "absent", "notes", "sinks", "without_sinks", "verdict")
    return {"n": found.n, "d": found.d, **values, **{fact: getattr(found, fact) for fact in facts}}


def _score_table(file: str, found: Report) -> str:
    rows = [("measure", "value", "isotropic cloud")]
    rows += [(k, f"{v:.6g}", f"{found.null[k]:.6g}" if k in found.null else "") for k, v in found.values.items()]
    lines = [f"{file}: n = {found.n} samples, d = {found.d} dimensions", ""]
    lines += [f"{name:<30}{value:>14}{null:>18}".rstrip() for name, value, null in rows]
    lines += [f"{name:<30}{'-':>14}  {reason}" for name, reason in found.absent.items()]
    return "\n".join([*lines, "", *(f"note: {note}" for note in found.notes), *found.verdict])


def _layer_table(file: str, found: dict[int | None, Report]) -> str:
    columns = {name: [one.values.get(name, math.nan) for one in found.values()] for name in MEASURES}
    columns |= {"rows": [one.n for one in found.values()], "sinks": [len(one.sinks) for one in found.values()]}
    lines = [f"{file}: {len(found)} layers, d = {found[0].d} dimensions; --pool makes one cloud, --json tells all", ""]
    lines.append(f"{'layer':<30}" + "".join(f"{layer:>12}" for layer in found))
    for name, values in columns.items():
        if not all(map(math.isnan, values)):
            lines.append(f"{name:<30}" + "".join(f"{value:>12.4g}" for value in values))
    notes = dict.fromkeys(f"note: {note}" for one in found.values() for note in one.notes)
    last = max(found)
    return "\n".join([*lines, "", *notes, f"Layer {last}: {found[last].verdict[0]}", *found[last].verdict[1:]])


def tokens(options: argparse.Namespace) -> str:
    """The tokens of the series in a file, and the values they stand for."""
    stored = read_numbers(options.file, options.key, options.column, options.header)
    x = stored.values[:, 0] if stored.values.ndim == 2 and stored.values.shape[1] == 1 else stored.values
    if x.ndim != 1:
        raise IsonumError(
            f"one series of shape (T,) was expected in {options.file}, got {x.shape}. "
            "Choose one with --column, by name or by number from 1, or save one series a file."
        )
    tokeniser = MeanScale(n_tokens=options.n_tokens, context_length=options.context_length)
    coded = tokeniser.encode(x)
    back = [None if math.isnan(v) else v for v in tokeniser.decode(coded.ids, coded.scale).tolist()]
    record = {
        "n_tokens": tokeniser.n_tokens,
        "scale": coded.scale,
        "ids": coded.ids.tolist(),
        "mask": coded.mask.int().tolist(),
        "decoded": back,
        "clipped": coded.clipped,
        "cut": coded.cut,
        "notes": stored.notes,
    }
    if options.json:
        return json.dumps(record, allow_nan=False)
    return _token_table(options.file, x[coded.cut :], record, tokeniser)


def _token_table(file: str, x: np.ndarray, record: dict, tokeniser: MeanScale) -> str:
    ids = record["ids"][: len(x)]
    missing = int(np.isnan(x).sum())
    kinds = len(set(ids)) - (missing > 0)
    lines = [
        f"{file}: {len(x)} values, {missing} missing, scale {record['scale']:.6g}, "
        f"{kinds} of {len(tokeniser.centres)} bins in use",
        f"a decoded value is off by at most {record['scale'] * tokeniser.width / 2:.6g}; "
        f"{record['clipped']} clipped, {record['cut']} older than the context of {tokeniser.context_length}",
        "",
        f"{'value':>14}{'id':>8}{'decoded':>14}",
    ]
    for value, token, back in list(zip(x.tolist(), ids, record["decoded"], strict=True))[:10]:
        lines.append(f"{value:>14.6g}{token:>8}{'missing' if back is None else format(back, '.6g'):>14}")
    if len(x) > 10:
        lines.append(f"... and {len(x) - 10} more: --json gives all")
    return "\n".join([*lines, *(f"note: {note}" for note in record["notes"])])
