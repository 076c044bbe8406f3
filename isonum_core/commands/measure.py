"""`measure`: the states of a model on a text or a series, site by site, with their sinks and without them."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from isonum_core.commands.feeding import Batches, feed
from isonum_core.commands.report import COVARIANCE, Report, report_of
from isonum_core.commands.verbs import output
from isonum_core.errors import IsonumError
from isonum_core.geometry.neighbours import two_nn
from isonum_core.geometry.sinks import SINK, SinkMoments
from isonum_core.networks.capture import capture_sums
from isonum_core.networks.models import AsSaved, Checkpoint, load_checkpoint, minilm, quiet
from isonum_core.networks.packaged import fracast, fracast_states, smollm2

PACKAGED = {"smollm2": smollm2, "minilm": minilm, "fracast": fracast}
NEAREST = 2000  # states a site, the first, of which TwoNN is taken


class _Sums(NamedTuple):
    """Of a site: its states as sums, and the first NEAREST of them where TwoNN was asked for."""

    all: SinkMoments
    first: Tensor

    def merge(self, other: _Sums) -> _Sums:
        return _Sums(self.all.merge(other.all), torch.cat([self.first, other.first])[:NEAREST])


def measure(options: argparse.Namespace) -> str:
    """A table of every site, or JSON, and a verdict; of what was read until then where the keyboard interrupts."""
    options.per = options.per or ("window" if options.model == "fracast" else "token")
    checkpoint = _loaded(options.model, options.device)
    batches, notes = feed(checkpoint, options)
    met, stopped = _met(checkpoint, batches, options)
    notes += ["interrupted: this is of what was read until then"] * stopped
    notes += [f"TwoNN is of the first {NEAREST} states"] * options.twonn
    found = {site: _report(sums, options) for site, sums in met.items()}
    next(iter(found.values())).notes.extend(notes)
    facts = dict(model=checkpoint.provenance, per=options.per, interrupted=stopped)
    title = f"{checkpoint.provenance['id']} ({checkpoint.provenance['source']}), per {options.per}: "
    if options.out:
        try:
            Path(options.out).write_text(output(found, "site", title, True, facts), encoding="utf-8")
        except OSError as error:
            raise IsonumError(f"a file that can be written was expected at {options.out}, got: {error}.") from None
    return output(found, "site", title, options.json, facts)


def _loaded(name: str, device: str) -> Checkpoint:
    path, _, revision = name.partition("@")
    found = PACKAGED[name]() if name in PACKAGED else load_checkpoint(path, revision or None, model_class=AsSaved)
    try:
        return found if device == "cpu" else Checkpoint(found.model.to(device), found.tokenizer, found.provenance)
    except (AttributeError, RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise IsonumError(f"a device for {name} was expected, got {device!r}: {said}. Say --device cpu.") from None


def _met(checkpoint: Checkpoint, batches: Batches, options: argparse.Namespace) -> tuple[dict[str, _Sums], bool]:
    """The sums of every site over whole batches, and whether the keyboard ended them."""
    names = [name.strip() for name in options.sites.split(",")] if options.sites else None
    found: dict[str, _Sums] = {}

    def of(rows: Tensor, places: Tensor) -> _Sums:
        return _Sums(SinkMoments.of(rows, places), rows[: NEAREST * options.twonn].cpu())

    total, read, stopped = options.tokens if options.tokens < float("inf") else None, 0, True
    with tqdm(total=total, unit=" states", disable=None, leave=False) as bar, quiet(), suppress(KeyboardInterrupt):
        for batch in batches:
            if "series" in batch:
                states = fracast_states(checkpoint.model, batch["series"])
                if set(names or []) - states.keys():
                    raise IsonumError(
                        f"sites of fracast were expected, got {options.sites}. It has: {', '.join(states)}."
                    )
                last = batch["series"].shape[1] - 1
                new = {s: of(x, torch.full((len(x),), last)) for s, x in states.items() if not names or s in names}
            else:
                new = capture_sums(checkpoint.model, batch, of, names, options.blocks, options.norm)
            # Into a dictionary of its own: an interruption leaves what was found before this batch.
            found = {site: found[site].merge(new.pop(site)) if found else new.pop(site) for site in [*new]}
            read, before = len(next(iter(found.values())).all.lengths), read
            bar.update(read - before)
            if read >= options.tokens:
                break
        stopped = False
    if not found:
        got = "an interruption before the first" if stopped else "special tokens alone"
        raise IsonumError(f"states that count were expected, got {got}. Give another text, or more time.")
    return found, stopped


def _report(sums: _Sums, options: argparse.Namespace) -> Report:
    parts, first = sums.all.split(), sums.first
    lengths = first.norm(dim=1)
    near = first[lengths <= SINK * lengths.median()] if options.twonn else first
    if options.sinks == "drop":
        parts, first = replace(parts, everything=parts.without, sinks=parts.sinks[:0]), near
    if options.sinks == "keep":
        parts = replace(parts, sinks=parts.sinks[:0])
    chosen = [*COVARIANCE, *["twonn"] * options.twonn]
    points, rest = {"twonn": lambda: two_nn(first)}, {"twonn": lambda: two_nn(near)}
    return report_of(parts, chosen, points, ["twonn"], rest=rest)
