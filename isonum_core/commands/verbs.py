"""The verbs that read a file of numbers: `scores` of its states and `tokens` of its series, for people or machines."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

import numpy as np
import pandas as pd
import torch

from isonum_core.commands.reading import Numbers, read_mask, read_numbers
from isonum_core.commands.report import MEASURES, Report, read_next, report
from isonum_core.errors import IsonumError
from isonum_core.geometry.sinks import SINK
from isonum_core.worlds.tokens import MeanScale

# Measures of many clouds, and their heads.
HEADS = dict(mean_cosine="cosine", mean_share="share", participation_ratio="PR", participation_ratio_unbiased="unb.")
HEADS |= dict(isoscore="IsoScore", isoscore_unbiased="unb.", null="null", effective_rank="eff. rank", twonn="TwoNN")
HEADS |= dict(partition_isotropy="I", log_partition_isotropy="log I", top_dimension="top dim.")
HEADS |= dict(top_direction="top dir.", outlier_dimensions="outliers")


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
    return output(found, "layer", f"{file}: ", options.json)


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


def output(
    found: dict[int | str | None, Report], kind: str, title: str, machine: bool, facts: dict | None = None
) -> str:
    """One cloud beside its null, with the reasons for what is absent; or many, of a `kind`, a line each and another
    without sinks. For a machine a number or null for every measure, and the facts to judge it.
    """
    last = found[list(found)[-1]]
    if machine:
        records = []
        for name, one in found.items():
            about = dict(vars(one))
            values = {"n": one.n, "d": one.d, **dict.fromkeys(one.absent), **about.pop("values"), **about}
            records.append(values | ({} if name is None else {kind: name}))
        whole = records[0] if None in found else {**(facts or {}), f"{kind}s": records}
        return json.dumps(whole, allow_nan=False, indent=1)
    notes = dict.fromkeys(f"note: {note}" for one in found.values() for note in one.notes)
    if None in found:
        table = pd.DataFrame({"value": last.values, "isotropic cloud": last.null}).reindex(MEASURES).dropna(how="all")
        table = table.rename_axis(columns="measure")
        text = table.to_string(float_format="{:.6g}".format, na_rep="") if len(table) else ""
        absent = [f"{name} is absent: {reason}" for name, reason in last.absent.items()]
        lines = [f"{title}n = {last.n} samples, d = {last.d} dimensions", "", text, *absent, "", *notes]
        return "\n".join([*lines, *last.verdict])
    rows = []
    for name, one in found.items():
        places = ", ".join(f"{place} ({k})" for place, k in Counter(one.sinks).most_common(3))
        sinks = {"sinks at (how many)": places, "longest": one.longest} if places else {}
        null = {"null": one.null["isoscore"]} if "isoscore" in one.null else {}
        rows.append({kind: name, "rows": one.n, **one.values, **null, **sinks})
        rows += [{kind: "  without", "rows": one.without_sinks["n"], **one.without_sinks}] if places else []
    table = pd.DataFrame(rows)
    table = table[[name for name in (kind, "rows", *HEADS, "sinks at (how many)", "longest") if name in table]]
    text = table.rename(columns=HEADS).to_string(index=False, float_format="{:.3g}".format, na_rep="")
    lines = [f"{title}{len(found)} {kind}s, d = {last.d} dimensions (--json tells all)", "", text, "", *notes]
    return "\n".join([*lines, *_summary(found, kind)])


def _summary(found: dict[int | str | None, Report], kind: str) -> list[str]:
    """Two lines for people: the sinks and what they do; which half is off without them, and what to read next."""
    far, of = {name: one for name, one in found.items() if one.sinks}, f"of {len(found)} {kind}s"
    words = f"No row is longer than {SINK:.0f} times the median of its {kind}."
    if far:
        name, worst = max(far.items(), key=lambda item: item[1].longest)
        words = f"Sinks, rows longer than {SINK:.0f} times the median, at {len(far)} {of}, the longest at {name}"
        if pr := worst.without_sinks.get("participation_ratio"):
            words += f", where PR is {worst.values['participation_ratio']:.3g} with and {pr:.3g} without, of {worst.d}"
    flags = [[one.off[half] for one in found.values()] for half in (0, 1)]
    mean, spectral = (f"{sum(map(bool, f))}" + f" (untold at {f.count(None)})" * (None in f) for f in flags)
    off = [any(f) or (None if None in f else False) for f in flags]
    return [
        words.rstrip(".") + ".",
        f"{'Without them, beside' if far else 'Beside'} independent rows, states lie off the origin (mean half) at "
        f"{mean} and their variance is uneven (spectral half) at {spectral} {of}. Rows of one text depend on each "
        "other: a small excess says nothing. "
        f"Read next: {read_next(*off, bool(far))}",
    ]


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
