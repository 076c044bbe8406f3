"""The verb `advise`: what centring, whitening or I-STAR would do to your read-out or search.

Exit status 0 with an answer ("leave it as it is" is one), 1 where it cannot be known, 2 where the input cannot be used.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from isonum_core.errors import IsonumError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import torch

    from isonum_core.commands.advice import Advice

BESIDE = ("accuracy", "recall@1")  # what is told of each remedy beside its effect
KINDS = ("ridge", "early-stopped", "least-squares", "adamw")


def add_advise(commands: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    verb = commands.add_parser("advise", help="what whitening, centring or I-STAR would do to your read-out or search")
    verb.description = (
        "Measure what each remedy of anisotropy would do to your own ridge regression or search, on rows held out, and "
        "name the best. Three forms: FEATURES TARGETS, a read-out (logistic regression: add --classes, ridge stands "
        "in); --pairs A B, a search; --retrieval Q D REL, a search with many matches. Files as for `scores`."
    )
    verb.epilog = (
        "remedies: centring; whitening in full; whitening softened, which divides each eigenvalue l of the covariance "
        "by l + s, s being 0.1 or 1 times the mean eigenvalue, or the median one; sharpening, the opposite; without "
        "the top 1 or 10 principal directions. Exit status: 0 an answer, 1 it cannot be known, 2 bad input."
    )
    verb.add_argument(
        "files", nargs="*", metavar="FEATURES TARGETS", help="states (n, d); n numbers or (--classes) labels"
    )
    verb.add_argument(
        "--pairs", nargs=2, metavar=("A", "B"), help="search by cosine: row i of B is what row i of A should find"
    )
    retrieval = "search by cosine: queries, documents, and the pairs (query, document) that match, from 0"
    verb.add_argument("--retrieval", nargs=3, metavar=("Q", "D", "REL"), help=retrieval)
    verb.add_argument(
        "--fit",
        metavar="ROWS",
        help="unlabelled states to fit remedies on: then all of yours judge (default: half of yours)",
    )
    verb.add_argument("--readout", choices=KINDS, default="ridge", help="linear, squared error (default: ridge)")
    verb.add_argument("--classes", action="store_true", help="targets are classes: whole numbers, or a word a line")
    verb.add_argument(
        "--sinks", choices=("keep", "drop"), default="keep", help="states over ten times as long as the median"
    )
    verb.add_argument("--types", metavar="FILE", help="a word or number a state: keep one state of each")
    verb.add_argument("--penalty", type=float, help="alpha of scikit-learn's Ridge (default: tuned)")
    verb.add_argument("--time", type=float, help="learning rate x steps, of early-stopped or adamw (default: tuned)")
    verb.add_argument(
        "--rows", type=int, metavar="N", help="foretell the effect for N rows that teach (default: yours)"
    )
    verb.add_argument("--save", metavar="FILE", help="write the remedy advised, FILE.npz: use (x - shift) @ matrix")
    verb.add_argument("--seed", type=int, default=0, help="draws the halves (default 0)")
    verb.add_argument("--json", action="store_true", help="for machines; numbers in full precision")
    verb.set_defaults(function=_advise)


def _advise(words: argparse.Namespace) -> str:
    import numpy as np
    import torch

    from isonum_core.commands.advice import advise_readout, advise_search

    ways = [bool(words.files), bool(words.pairs), bool(words.retrieval)]
    if sum(ways) != 1 or len(words.files) not in (0, 2):
        raise IsonumError("FEATURES and TARGETS, or --pairs, or --retrieval was expected. Give one of the three.")
    for name in ("penalty", "time", "rows", "seed"):
        value, least = getattr(words, name), int(name == "rows")
        if value is not None and not least <= value < math.inf:
            raise IsonumError(f"--{name} {least} or more was expected, got {value}. Leave it out for the default.")
    if words.save and (Path(words.save).suffix != ".npz" or not Path(words.save).parent.is_dir()):
        raise IsonumError(f"--save expects a name ending in .npz in a folder that exists, got {words.save}.")
    fixed = {"ridge": words.penalty, "early-stopped": words.time, "adamw": words.time}.get(words.readout)
    if (words.penalty is not None or words.time is not None) and fixed is None:
        raise IsonumError(f"--penalty is for ridge and --time for the others, got {words.readout}. Leave it out.")
    if words.rows and words.readout == "adamw":
        raise IsonumError("--rows is for read-outs that have a formula, got adamw. Leave it out.")
    if (words.types or words.sinks == "drop") and not words.files:
        raise IsonumError("--types and --sinks are for FEATURES and TARGETS. Leave such rows out of your files.")
    if not words.files and (words.classes or words.rows or words.readout != "ridge" or words.penalty is not None):
        raise IsonumError("--classes, --readout, --penalty and --rows are for FEATURES and TARGETS. Leave them out.")
    rng, fit = np.random.default_rng(words.seed), words.fit and torch.from_numpy(_rows(words.fit))
    if words.files:
        h = _rows(words.files[0])
        y = _one_hot(_labels(words.files[1], len(h)), words.files[1]) if words.classes else _targets(words.files[1])
        kept, notes = _kept(h, words, rng)
        if len(h) != len(y) or len(kept) < 20:
            got = f"{len(y)} targets for {len(h)} states, of which {len(kept)} count"
            raise IsonumError(f"a target for each state, and 20 states or more that count, were expected, got {got}.")
        notes += _cautions(y, words)
        _same_width(h, fit)
        h, y = (torch.from_numpy(rows if len(kept) == len(h) else rows[kept]) for rows in (h, y))
        told = advise_readout(h, y, fit, words.readout, fixed, words.rows, rng, words.classes)
        told.notes[:0] = notes
    else:
        first, second, *last = words.pairs or words.retrieval
        q, documents = torch.from_numpy(_rows(first)), torch.from_numpy(_rows(second))
        _same_width(q, fit)
        if not last and len(q) > len(documents):
            raise IsonumError(f"row i of B for each row i of A was expected, got {len(q)} rows and {len(documents)}.")
        pairs = _rows(last[0], ["1", "2"]) if last else np.arange(len(q))[:, None].repeat(2, 1)
        told = advise_search(q, documents, torch.from_numpy(_relevant(pairs, q, documents)), fit, rng)
    if words.save and told.remedy:
        with Path(words.save).open("wb") as file:
            np.savez(file, shift=told.remedy.shift.numpy(), matrix=told.remedy.matrix.numpy())
    text = _record(told) if words.json else _table(told, words)
    if told.answer is None:
        print(text)
        raise SystemExit(1)
    return text


def _rows(file: str, columns: list[str] | None = None) -> np.ndarray:
    """A matrix of finite numbers; one column where the file holds a vector."""
    import numpy as np

    from isonum_core.commands.reading import read_numbers

    x = read_numbers(file, columns=columns)[0]
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or not x.size:
        raise IsonumError(f"one row a state, shape (n, d), was expected in {file}, got {x.shape}. Reshape it.")
    if len(gaps := np.argwhere(~np.isfinite(x))):
        got = "{} that are not, the first in row {}, column {} (from 1)".format(len(gaps), *gaps[0] + 1)
        raise IsonumError(f"finite numbers were expected in {file}, got {got}. Fill or drop them.")
    return x


def _targets(file: str) -> np.ndarray:
    try:
        return _rows(file)
    except IsonumError as error:
        raise IsonumError(f"{error} If targets are classes, add --classes.") from error


def _same_width(x: np.ndarray | torch.Tensor, fit: torch.Tensor | None) -> None:
    if fit is not None and fit.shape[1] != x.shape[1]:
        raise IsonumError(f"--fit expects states of d = {x.shape[1]} like yours, got {fit.shape[1]}.")


def _labels(file: str, n: int) -> np.ndarray:
    """A word a line of a text, whose first is a header if they are n + 1; else whole numbers."""
    import numpy as np

    from isonum_core.commands.reading import TEXT, read_prose

    if Path(file).suffix.lower() in TEXT:
        lines = [line.strip() for line in read_prose(file)[0].splitlines() if line.strip()]
        return np.array(lines[len(lines) == n + 1 :])
    x = _rows(file)
    if x.shape[1] != 1 or (x != x.round()).any():
        raise IsonumError(f"one column of whole numbers was expected in {file}, got others. Words are for a text file.")
    return x[:, 0]


def _kept(h: np.ndarray, words: argparse.Namespace, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Places of the states that --sinks and --types leave, and what they left out."""
    import numpy as np

    from isonum_core.geometry.sinks import SINK

    kept, notes = np.arange(len(h)), []
    if words.sinks == "drop":
        length = np.linalg.norm(h, axis=1)
        kept = kept[length <= SINK * np.median(length)]
        notes.append(f"{len(h) - len(kept)} states longer than {SINK:.0f} times the median are left out, of {len(h)}")
    if words.types:
        labels = _labels(words.types, len(h))
        if len(labels) != len(h):
            raise IsonumError(f"a type for each of {len(h)} states was expected in {words.types}, got {len(labels)}.")
        kept = rng.permutation(kept)
        kept = np.sort(kept[np.unique(labels[kept], return_index=True)[1]])
        notes.append(f"one state of each of {len(kept)} types is kept, so that no type teaches what it is judged by")
    return kept, notes


def _cautions(y: np.ndarray, words: argparse.Namespace) -> Iterator[str]:
    """What the answer takes for granted of these targets."""
    import numpy as np

    if not words.classes and len(np.unique(y)) == 2:
        yield "targets take two values: if they are classes, add --classes"
    if words.classes and words.readout == "ridge" and words.penalty is None:
        yield "the penalty is tuned here: LogisticRegressionCV() tunes it, LogisticRegression() does not"
    if words.classes and words.readout != "adamw":
        yield "accuracy is that of rows that judge, each left out in turn, whatever --rows is"


def _one_hot(y: np.ndarray, file: str) -> np.ndarray:
    import numpy as np

    labels, places = np.unique(y, return_inverse=True)
    if not 2 <= len(labels) <= 100:
        raise IsonumError(f"2 to 100 classes were expected in {file}, got {len(labels)}. Without --classes: numbers.")
    return np.eye(len(labels))[places]


def _relevant(pairs: np.ndarray, q: np.ndarray, documents: np.ndarray) -> np.ndarray:
    import numpy as np

    if q.shape[1] != documents.shape[1]:
        raise IsonumError(f"queries and documents of one d were expected, got {q.shape[1]} and {documents.shape[1]}.")
    top = np.array([len(q), len(documents)])
    if pairs.shape[1] != 2 or (pairs != pairs.round()).any() or (pairs < 0).any() or (pairs >= top).any():
        raise IsonumError(
            f"pairs (query, document) below {top.tolist()}, from 0, were expected. Match rows, or see REL."
        )
    relevant = np.zeros(top, dtype=bool)
    relevant[tuple(pairs.astype(int).T)] = True
    if not relevant.any(1).all() or len(q) < 20:
        raise IsonumError(
            f"20 queries or more, each with a relevant document, were expected, got {relevant.any(1).sum()}."
        )
    return relevant


def _record(told: Advice) -> str:
    facts = {name: value for name, value in vars(told).items() if name != "remedy"}
    facts["effects"] = {
        name: dict(zip(("measured", "low", "high", "theory"), row, strict=True)) for name, row in told.effects.items()
    }
    facts["blocks"] = [dict(zip(("from", "to", "variance", "r2"), row, strict=True)) for row in told.blocks]
    return json.dumps(facts, indent=1, allow_nan=False)


def _table(told: Advice, words: argparse.Namespace) -> str:
    """For people: how isotropic, what each remedy would do, where the target lies, and the verdict."""
    search = told.unit == "nDCG@10"
    kind = f"{words.readout} on classes as 0 and 1 (for logistic regression)" if words.classes else words.readout
    what = f"search by cosine among {told.n}" if search else f"{kind}, foretold for {told.rows} rows that teach"
    measure, turn = ("nDCG@10", lambda v: f"{-v:+.3f}") if search else ("R2", lambda v: f"{math.expm1(v):+.1%}")
    lines = [f"{what}, d = {told.d}, judged on {told.judged} held out: {measure} {told.level:.3f} with nothing done"]
    lines += ["Isotropy of your states, which alone decides nothing:", *told.isotropy]
    lines += ["", *_columns(told, turn, search)]
    if told.istar:
        value, low, high = told.istar
        lines += ["", "I-STAR in training, by theory: change of error for each unit by which it moves log variances"]
        for way, ends in (("above 0, rounder", (value, low, high)), ("below 0, less round", (-value, -high, -low))):
            lines.append("  weight {}: {}, {} to {}".format(way, *map(turn, ends)))
    lines += ["", "where the target lies: principal directions, their share of the variance, of R2"] * bool(told.blocks)
    lines += [f"{f'{i} to {j}':>12}   {variance:8.1%}   {r2:6.1%}" for i, j, variance, r2 in told.blocks]
    lines += ["", *(f"{k}: {value:.3f}" for k, value in told.facts.items() if not k.startswith(BESIDE))]
    lines += [f"note: {note}" for note in told.notes]
    saved = f" Saved in {words.save}." if told.remedy else " Nothing saved: there is no map."
    return "\n".join([*lines, "", told.verdict + saved * bool(words.save)])


def _columns(told: Advice, turn: Callable[[float], str], search: bool) -> Iterator[str]:
    """A line a remedy; without the column of theory, or of what stands beside, where there is none."""
    beside = next((name for name in BESIDE if f"{name}, nothing" in told.facts), "")
    foretold = any(theory is not None for *_, theory in told.effects.values())
    table = {f"change of {told.unit}": ("measured", "95 % interval", "theory" * foretold, beside)}
    table |= {"nothing": ("", "", "")} if beside else {}
    for name, (value, low, high, theory) in told.effects.items():
        ends = " to ".join(map(turn, sorted((low, high), reverse=search)))
        table[name] = (turn(value), ends, "" if theory is None else turn(theory))
    for name, cells in table.items():
        known = told.facts.get(f"{beside}, {name}")
        parts = (*cells[:3], cells[3] if len(cells) > 3 else "" if known is None else f"{known:.3f}")
        line = "".join(f"{part:>{width}}" for part, width in zip(parts, (10, 24, 11 * foretold, 11), strict=True))
        yield f"{name:<33}{line}".rstrip()
