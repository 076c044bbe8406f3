"""`python -m isonum_core`: measure a file of states, or turn a file's series into tokens and back.

Nothing heavy is imported before a verb is known: help must come at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

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
        command.set_defaults(verb=command.prog.split()[-1])
    scores.add_argument("--measures", metavar="A,B", help="these measures alone, whatever they cost")
    scores.add_argument("--without", metavar="A,B", help="all measures but these")
    scores.add_argument("--radius", type=float, default=1.0, help="of partition isotropy: length of the states (1)")
    scores.add_argument("--mask", metavar="FILE", help="true or 1 where a row counts; none: no position is padding")
    scores.add_argument("--mask-key", metavar="KEY", help="which array of the mask's file")
    scores.add_argument("--pool", action="store_true", help="of (L, B, T, d): all layers as one cloud")
    tokens.add_argument("--n-tokens", type=int, default=4096, help="size of the vocabulary (default 4096)")
    tokens.add_argument("--context-length", type=int, default=512, help="how many last values are read (default 512)")
    add_advise(commands)
    add_commands(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit status 0, or 2 with one sentence on stderr when the input cannot be used."""
    top = parser()
    options = top.parse_args(arguments)
    try:
        if hasattr(options, "verb"):
            from isonum_core.commands import verbs

            options.function = getattr(verbs, options.verb)
        if hasattr(options, "function"):
            print(options.function(options), flush=True)
        else:
            top.print_help()
    except IsonumError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
