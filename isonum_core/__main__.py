"""`python -m isonum_core`: measure a file of states, or turn a file's series into tokens and back."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence

import torch

from isonum_core.commands.reading import FORMATS, as_float64, read_array
from isonum_core.commands.report import Report, report
from isonum_core.commands.tables import add_commands
from isonum_core.errors import IsonumError
from isonum_core.worlds.tokens import MeanScale


def scores(options: argparse.Namespace) -> str:
    """Every measure of the states in a file, as a table or as JSON."""
    stored = read_array(options.file, options.key, options.header)
    if stored.ndim != 2:
        raise IsonumError(
            f"states of shape (n, d), one sample a row, were expected in {options.file}, got {tuple(stored.shape)}. "
            "Reshape before saving, for instance x.reshape(-1, x.shape[-1])."
        )
    x, note = as_float64(stored, options.file)
    found = report(x)
    found.notes.extend([note] if note else [])
    if not options.json:
        return _score_table(options.file, found)
    names = [*found.values, *found.absent]
    record = {"n": found.n, "d": found.d, **{name: found.values.get(name) for name in names}}
    return json.dumps(record | dict(null=found.null, absent=found.absent, notes=found.notes), allow_nan=False, indent=1)


def tokens(options: argparse.Namespace) -> str:
    """The tokens of the series in a file, and the values they stand for."""
    stored = read_array(options.file, options.key, options.header)
    if stored.ndim == 2 and stored.shape[1] == 1:
        stored = stored[:, 0]  # a .csv of one column
    if stored.ndim != 1:
        raise IsonumError(
            f"one series of shape (T,) was expected in {options.file}, got {tuple(stored.shape)}. "
            "Save one series a file, or one a key."
        )
    x, note = as_float64(stored, options.file)
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
        "notes": [note] if note else [],
    }
    if options.json:
        return json.dumps(record, allow_nan=False)
    return _token_table(options.file, x[coded.cut :], record, tokeniser)


def _score_table(file: str, found: Report) -> str:
    rows = [("measure", "value", "isotropic cloud")]
    rows += [(k, f"{v:.6g}", f"{found.null[k]:.6g}" if k in found.null else "") for k, v in found.values.items()]
    lines = [f"{file}: n = {found.n} samples, d = {found.d} dimensions", ""]
    lines += [f"{name:<30}{value:>14}{null:>18}".rstrip() for name, value, null in rows]
    lines += [f"{name:<30}{'-':>14}  {reason}" for name, reason in found.absent.items()]
    return "\n".join([*lines, *([""] if found.notes else []), *(f"note: {note}" for note in found.notes)])


def _token_table(file: str, x: torch.Tensor, record: dict, tokeniser: MeanScale) -> str:
    ids = record["ids"][: len(x)]
    missing = int(x.isnan().sum())
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


def parser() -> argparse.ArgumentParser:
    """The command line, from which the help is printed."""
    top = argparse.ArgumentParser(prog="python -m isonum_core", description=__doc__.split(": ", 1)[1])
    commands = top.add_subparsers(metavar="COMMAND")
    for function, shape in ((scores, "states of shape (n, d)"), (tokens, "a series of shape (T,)")):
        command = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        command.add_argument("file", metavar="FILE", help=f"{shape}: {', '.join(FORMATS)}")
        command.add_argument("--json", action="store_true", help="for machines; numbers in full precision")
        command.add_argument("--key", help="which array of a .npz or .safetensors file")
        command.add_argument(
            "--header",
            choices=["auto", "yes", "no"],
            default="auto",
            help="whether a .csv starts with column names (default: unless its first line is all numbers)",
        )
        command.set_defaults(function=function)
    command.add_argument("--n-tokens", type=int, default=4096, help="size of the vocabulary (default 4096)")
    command.add_argument("--context-length", type=int, default=512, help="how many last values are read (default 512)")
    add_commands(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit status 0, or 2 with one sentence on stderr when the input cannot be used."""
    top = parser()
    options = top.parse_args(arguments)
    if not hasattr(options, "function"):
        top.print_help()
        return 0
    try:
        print(options.function(options))
    except IsonumError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
