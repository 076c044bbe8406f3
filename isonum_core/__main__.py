"""`python -m isonum_core`: measure a file of states, or turn a file's series into tokens and back.

Nothing heavy is imported before a verb is known: help must come at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from isonum_core.commands.advise import add_advise
from isonum_core.commands.tables import add_commands
from isonum_core.errors import IsonumError

READS = ".npy, .npz, .safetensors, .pt, .parquet, .csv, .tsv, .txt or word vectors; - reads a .csv from the pipe"


def parser() -> argparse.ArgumentParser:
    """The command line, from which the help is printed."""
    top = argparse.ArgumentParser(prog="python -m isonum_core", description=__doc__.split(": ", 1)[1].split("\n")[0])
    commands = top.add_subparsers(metavar="COMMAND")
    scores = commands.add_parser("scores", help="every measure of the states in a file, and a verdict")
    tokens = commands.add_parser("tokens", help="the tokens of the series in a file, and the values they stand for")
    for command, shape in ((scores, "states of shape (n, d), (B, T, d) or (L, B, T, d)"), (tokens, "a series (T,)")):
        command.description = f"From {shape} in a file."
        command.add_argument("file", metavar="FILE", help=READS)
        command.add_argument("--json", action="store_true", help="for machines; numbers in full precision")
        command.add_argument("--key", help="which array of a file that holds several")
        command.add_argument("--column", action="append", metavar="NAME", help="by name or number from 1; repeatable")
        header = "whether a text starts with column names (default: if a word stands over numbers)"
        command.add_argument("--header", choices=["auto", "yes", "no"], default="auto", help=header)
        command.set_defaults(verb=("verbs", command.prog.split()[-1]))
    scores.add_argument("--measures", metavar="A,B", help="these measures alone, whatever they cost")
    scores.add_argument("--without", metavar="A,B", help="all measures but these")
    scores.add_argument("--radius", type=float, default=1.0, help="of partition isotropy: length of the states (1)")
    scores.add_argument("--mask", metavar="FILE", help="true or 1 where a row counts; none: no position is padding")
    scores.add_argument("--mask-key", metavar="KEY", help="which array of the mask's file")
    scores.add_argument("--pool", action="store_true", help="of (L, B, T, d): all layers as one cloud")
    tokens.add_argument("--n-tokens", type=int, default=4096, help="size of the vocabulary (default 4096)")
    tokens.add_argument("--context-length", type=int, default=512, help="how many last values are read (default 512)")
    measure = commands.add_parser("measure", help="a model's states on a text or a series, site by site, and a verdict")
    measure.add_argument("model", metavar="MODEL", help="smollm2, minilm, fracast, a folder, or owner/name@commit")
    source = measure.add_mutually_exclusive_group()
    source.add_argument("--text", metavar="FILE", help="a text to read; - reads the pipe")
    source.add_argument("--series", metavar="FILE", help="numbers to read, as for `tokens`; each column is a series")
    source.add_argument("--default", action="store_true", help="English prose, or sunspots where numbers are read")
    measure.add_argument("--sites", metavar="A,B", help="such as embed,block.3 (default: all but logits)")
    measure.add_argument(
        "--sinks", choices=["keep", "drop", "both"], default="both", help="rows far longer than others"
    )
    per = "what a state stands for: every token, the first of a type, the last of a window (default: token)"
    measure.add_argument("--per", choices=["token", "type", "window"], help=per)
    measure.add_argument(
        "--length", type=int, metavar="T", help="tokens or steps a window (default 256, or the model's)"
    )
    measure.add_argument("--tokens", type=float, default=float("inf"), metavar="N", help="stop after about N states")
    measure.add_argument("--twonn", action="store_true", help="also the intrinsic dimension, of 2000 states a site")
    measure.add_argument("--blocks", metavar="PATH", help="of a model that is not known, as in model.layers")
    measure.add_argument("--norm", metavar="PATH", help="the norm after its last block")
    measure.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    measure.add_argument("--out", metavar="FILE", help="also write there what --json prints")
    measure.add_argument("--json", action="store_true", help="for machines; numbers in full precision")
    measure.set_defaults(verb=("measure", "measure"))
    add_advise(commands)
    add_commands(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit status 0, or 2 with one sentence on stderr when the input cannot be used."""
    top = parser()
    options, rest = top.parse_known_args(arguments)
    if rest and (not hasattr(options, "files") or any(word.startswith("-") for word in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    elif rest:  # a file that comes after an option
        options.files += rest
    try:
        if hasattr(options, "verb"):
            options.function = getattr(import_module(f"isonum_core.commands.{options.verb[0]}"), options.verb[1])
        if hasattr(options, "function"):
            print(options.function(options), flush=True)
        else:
            top.print_help()
    except IsonumError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
