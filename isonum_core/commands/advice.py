"""What each remedy would do to one read-out or search, measured on rows that the remedies were not fitted on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isonum_core.commands.report import report, report_of
from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.products import gram
from isonum_core.geometry.sinks import SinkMoments
from isonum_core.studies.remedies import (
    LOPSIDED,
    MEDIAN,
    RANKS,
    WORTH,
    Remedy,
    advised,
    jointly,
    log_ratio,
    remedies,
    reshaped,
    row_ranks,
    searched,
)
from isonum_core.theory import readout as law
from isonum_core.theory.readout import Aligned, Readout, adamw_weights, aligned

JUDGED = 3072  # rows that judge, at most (or AMPLE), which keeps the answer within seconds
AMPLE = 2  # rows a direction from which more rows are foretold: below, whitened clouds are foretold with the wrong sign
EDGES = (0, 1, 5, 10, 30, 100, 300)  # blocks of principal directions in which the target is looked for
AXES, RATES, UPDATES = "principal axes alone", (1e-3, 1e-2, 1e-1), [2**k for k in range(10)]  # of AdamW
GRID = tuple(10 ** (g / 2) for g in range(-8, 7))  # penalties over, and one over times by, the mean eigenvalue


@dataclass
class Advice:
    """What was found. `effects` by remedy: measured, low, high and (None where there is none) theory; below 0 is good.

    Of an error the effect is a log ratio, of nDCG@10 a difference with its sign turned. `answer` is the remedy advised,
    "nothing", or None where that cannot be known. Intervals hold together, at 95 %, over all remedies.
    """

    unit: str
    n: int
    d: int
    judged: int
    rows: int
    level: float  # R^2, or nDCG@10, with nothing done
    isotropy: list[str]
    effects: dict[str, tuple[float, float, float, float | None]] = field(default_factory=dict)
    blocks: list[tuple[int, int, float, float]] = field(default_factory=list)  # from, to, share of variance, R^2
    istar: tuple[float, float, float] | None = None
    facts: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    answer: str | None = None
    verdict: str = ""
    remedy: Remedy | None = None

    def lopsided(self, l: Float[Tensor, " r"]) -> Advice:
        """Itself, with a note where the mean eigenvalue, by shares of which whitening is softened, is no usual one."""
        over = float(l.mean() / l.median())
        if over < math.inf:
            self.facts["mean eigenvalue over the median"] = over
        if over > LOPSIDED and MEDIAN in self.effects:
            self.notes.append(
                f"one direction has {float(l.max() / l.sum()):.0%} of the variance, and the mean eigenvalue is "
                f"{over:.0f} medians: softened by 1 hardly whitens the median direction, softened by the median does. "
                "If a few rows far out make that direction, leave them out"
            )
        return self

    def decide(self, maps: dict[str, Remedy]) -> Advice:
        """Itself, with the remedy of the largest sure gain, "nothing" where none can be worth it, or None."""
        self.answer = advised(self.effects, self.unit)
        open_to = [name for name, (_, low, *_) in self.effects.items() if low <= -WORTH[self.unit][1]]
        self.verdict = (
            f"Cannot know: {self.judged} rows that judge neither show nor exclude a gain by {', '.join(open_to)}. "
            "Until more do, leave it as it is."
        )
        if self.answer == "nothing":
            self.verdict = "Leave it as it is: no remedy can gain enough to be worth it."
        elif self.answer:
            self.remedy, self.verdict = maps.get(self.answer), f"Do this: {self.answer}."
        return self


def advise_readout(
    h: Float[Tensor, "n d"],
    y: Float[Tensor, "n m"],
    fit: Float[Tensor, "f d"] | None,
    kind: str,
    fixed: float | None,
    rows: int | None,
    rng: np.random.Generator,
    classes: bool = False,
) -> Advice:
    """Of a linear read-out of targets y by squared error: `kind` ridge, early-stopped, least-squares or adamw.

    Remedies are fitted on `fit`, or else on half of the rows; the other half judges. `fixed` is the penalty (as alpha
    of scikit-learn) or the time; without, each remedy has its best, chosen on other rows than those that judge it.
    `rows`: how many the read-out will learn from. Early-stopped and by AdamW, the mean and the bias are directions like
    others. AdamW has no leaving out: it learns from the rows that do not judge, or by halves where all do.
    Raises IsonumError where nothing can be judged.
    """
    order, most = torch.from_numpy(rng.permutation(len(h))), max(JUDGED, AMPLE * (h.shape[1] + 1))
    judged = order[: min(most, len(h) if fit is not None else len(h) // 2)].sort().values
    taught, mean = order[len(judged) :].sort().values, y.mean(0)
    if (y[judged] == y[judged[0]]).all():
        raise IsonumError("targets that differ were expected, got one value for all rows that judge.")
    x, t, notes, n = h[judged], y[judged] - mean, [], rows or len(h)
    ours = [SinkMoments.of(h[places], places) for places in (taught, judged) if len(places)]  # each row is met once
    maps = remedies(ours[0].split().everything if fit is None else Moments.of(fit), median=True)
    i, centred = torch.arange(len(x)), aligned(x, t)
    ample = len(x) >= AMPLE * len(centred.spectrum)
    if kind == "adamw":
        # a turn alone: what whitening has of its basis
        maps[AXES] = maps["whitening"]._replace(matrix=torch.nn.functional.normalize(maps["whitening"].matrix, dim=0))
        parts = [(x[i % 2 == k], t[i % 2 == k], i % 2 != k) for k in (0, 1)]
        if fit is None:
            parts = [(h[taught], y[taught] - mean, i >= 0)]
        n, sums = len(parts[0][0]), [(*_sums(rows, targets), where) for rows, targets, where in parts]
        tried = {name: _by_adamw(remedy, x, t, sums, fixed) for name, remedy in maps.items()}
    else:
        clouds = {"nothing": centred, "centring": centred}  # where the intercept is free
        for name, remedy in maps.items():
            if kind == "early-stopped":
                clouds[name] = aligned(torch.nn.functional.pad(remedy.of(x), (0, 1), value=1.0), t, False)
            elif name not in clouds:
                clouds[name] = aligned(remedy.of(x), t)
        try:
            if n > len(x) and not ample:
                raise IsonumError(
                    f"the effect at {n} rows is foretold only where {AMPLE} rows a direction or more judge."
                )
            _each(partial(law.gcv, clouds["nothing"], n=n), kind, fixed, clouds["nothing"])
        except IsonumError as error:
            notes, n = [f"{error} Here it is that at {len(x)} rows. With other states as --fit all yours judge"], len(x)
        tried = {name: _by_filters(a, kind, fixed, n) for name, a in clouds.items()}
    isotropy = report_of(reduce(SinkMoments.merge, ours).split(), ["isoscore"], {}).verdict
    found = Advice("error", *h.shape, len(x), n, 0.0, isotropy, notes=notes)
    mean_only = (t - t.mean(0)).square().sum(1) * (len(t) / (len(t) - 1)) ** 2
    z, theory, own, sure = jointly(maps), {}, {}, False
    for name, one in tried.items():
        halves = [int(one.errors[half::2].mean(0).argmin()) for half in (1, 0)]  # each row's is chosen by others
        spread = {g: one.spread(g) for g in {*halves}}
        own[name] = torch.stack([spread[g] for g in halves], 1)[i, i % 2]
        sure |= log_ratio(own[name], mean_only, z)[2] < 0
        if classes:
            hits = (t - one.residual(int(one.errors.mean(0).argmin()))).argmax(1) == t.argmax(1)
            found.facts[f"accuracy, {name}"] = float(hits.double().mean())
    if kind != "adamw" and ample:
        theory = _foretold(clouds["nothing"], centred, MEDIAN in maps, kind, fixed, n)
    for name in (name for name in own if name != "nothing"):
        effect = math.log(theory[name] / theory["nothing"]) if theory else None
        found.effects[name] = (*log_ratio(own[name], own["nothing"], z), effect)
    found.level = 1 - float(own["nothing"].mean() / mean_only.mean())
    if not sure:
        found.verdict = f"Cannot know: on {len(x)} rows no fit is surely better than the mean of the targets."
        return found
    along = (x - x.mean(0)) @ x.mean(0)
    shared = (along @ (t - t.mean(0))).square().sum() / along.square().sum().clamp_min(1e-300)
    found.facts["R2 along the mean direction"] = float(shared / (t - t.mean(0)).square().sum())
    if len(centred.spectrum) < centred.freedom:
        found.blocks = _blocks(centred)
        if kind != "adamw":
            one = tried["centring"]
            found.istar = _istar(centred, one.readouts[int(one.errors.mean(0).argmin())])
    return found.lopsided(centred.spectrum).decide(maps)


def advise_search(
    q: Float[Tensor, "q d"],
    documents: Float[Tensor, "N d"],
    relevant: Bool[Tensor, "q N"],
    fit: Float[Tensor, "f d"] | None,
    rng: np.random.Generator,
) -> Advice:
    """Of a search by cosine; `fit` and what is raised as in `studies.remedies.searched`."""
    maps, judged, scored, effects = searched(q, documents, relevant, fit, rng, {RANKS: row_ranks}, median=True)
    near = relevant[judged]
    level, verdict = float(scored["nothing"][:, 0].mean()), report(documents.float(), ["isoscore"]).verdict
    found = Advice("nDCG@10", len(documents), q.shape[1], len(judged), len(documents), level, verdict)
    found.effects |= {name: (*effect, None) for name, effect in effects.items()}
    found.facts |= {f"recall@1, {name}": float(own[:, 1].mean()) for name, own in scored.items()}
    units = [torch.nn.functional.normalize(x.float(), dim=1) for x in (q[judged], documents)]
    cosines = units[0] @ units[1].mT
    found.facts |= {"cosine, related": float(cosines[near].mean()), "cosine, unrelated": float(cosines[~near].mean())}
    return found.lopsided(Moments.of(documents).eigenvalues.clamp_min(0)).decide(maps)


class _Tried(NamedTuple):
    """One remedy: each row's error under every setting; of one setting the same with the spread of the mean, and
    residuals; and, of filters, what the settings are."""

    errors: Float[Tensor, "n g"]
    spread: Callable[[int], Float[Tensor, " n"]]
    residual: Callable[[int], Float[Tensor, "n m"]]
    readouts: list[Readout]


def _by_filters(a: Aligned, kind: str, fixed: float | None, n: int) -> _Tried:
    """Every row left out, under each penalty or time that rows resolve."""
    tried = _each(partial(law.leave_one_out, a, n=n), kind, fixed, a)
    readouts = [readout for _, readout in tried]
    return _Tried(
        torch.stack([errors for errors, _ in tried], 1),
        lambda g: law.leave_one_out(a, readouts[g], n, spread=True),
        lambda g: (law.left_out(a, readouts[g].penalties) @ readouts[g].weights).real,
        readouts,
    )


def _sums(h: Float[Tensor, "n d"], t: Float[Tensor, "n m"]) -> tuple[Tensor, Tensor]:
    """Second moments of rows that end in a one, with themselves and with targets."""
    z = torch.nn.functional.pad(h, (0, 1), value=1.0)
    return gram(z.mT) / len(z), z.mT @ t / len(z)


def _by_adamw(remedy: Remedy, x: Tensor, t: Tensor, sums: list[tuple], fixed: float | None) -> _Tried:
    """Rows under what AdamW learns from others: `sums` of those, as they are, and which rows they judge.

    Rates are in units that take a weight from zero to the size of the targets in one step; with `fixed`, its 1e-3.
    """
    pad = torch.nn.functional.pad
    turn = torch.cat([pad(remedy.matrix, (0, 1)), pad((-remedy.shift @ remedy.matrix)[None], (0, 1), value=1.0)])
    z, residual = pad(remedy.of(x), (0, 1), value=1.0), None
    for second, shared, where in sums:
        second, shared = turn.mT @ second @ turn, turn.mT @ shared
        unit = float(t.square().mean().sqrt() / second.diagonal()[:-1].mean().sqrt())
        rates, steps = [rate * unit for rate in RATES], UPDATES
        if fixed is not None:
            rates, steps = [1e-3], [max(1, round(fixed / 1e-3))]
        weights = adamw_weights(second, shared, rates, steps).flatten(0, 1)
        residual = t.new_empty(len(weights), *t.shape) if residual is None else residual
        residual[:, where] = t[where] - z[where] @ weights
    errors = residual.square().sum(2).mT
    return _Tried(errors, lambda g: errors[:, g], lambda g: residual[g], [])


def _foretold(nothing: Aligned, centred: Aligned, median: bool, kind: str, fixed: float | None, n: int) -> dict:
    """GCV of the spectrum that each remedy makes, at its best penalty or time."""
    theory = {}
    for name, new in reshaped(centred.spectrum, median).items():
        same = nothing if name == "nothing" else centred
        kept = (same.spectrum if name == "nothing" else new) > 0
        same = replace(same, states=same.states[:, kept], spectrum=same.spectrum[kept])
        new = same.spectrum if name == "nothing" else new[kept]
        foretold = _each(partial(law.gcv, same, n=n, spectrum=new), kind, fixed, replace(same, spectrum=new))
        theory[name] = min(float(error) for error, _ in foretold)
    return theory


def _each(score: Callable[[Readout], Tensor], kind: str, fixed: float | None, a: Aligned) -> list[tuple]:
    """Score and read-out, for the penalty or time asked for or a grid of them; those that rows resolve, or a raise."""
    unit = float(a.spectrum.mean())
    if kind == "early-stopped":
        times = [1 / (g * unit) for g in GRID] if fixed is None else [fixed]
        readouts = [law.early_stopped(time, nodes=12) for time in times]  # good to 4e-7
    elif kind == "ridge" and fixed is None:
        readouts = [law.ridge(g * unit) for g in GRID]
    else:
        readouts = [law.ridge((fixed or 0.0) / a.freedom)]
    found, sentence = [], ""
    for readout in readouts:
        try:
            found.append((score(readout), readout))
        except IsonumError as error:
            sentence = str(error)
    if not found:
        raise IsonumError(sentence)
    return found


def _istar(a: Aligned, readout: Readout, parts: int = 8) -> tuple[float, float, float]:
    """`istar_effect` with a jackknife over parts of the rows, in the basis of all."""
    own, left, place = float(law.istar_effect(a, readout)), [], torch.arange(len(a.states)) % parts
    for keep in (place != i for i in range(parts)):
        less = replace(a, states=a.states[keep], targets=a.targets[keep], freedom=int(keep.sum()) - 1)
        left.append(float(law.istar_effect(less, readout)))
    half = 1.96 * math.sqrt((parts - 1) * float(np.var(left)))
    return own, own - half, own + half


def _blocks(a: Aligned) -> list[tuple[int, int, float, float]]:
    """Of each block of directions the share of variance, and of the targets' mean square without what chance adds."""
    size, r = a.targets.square().sum() / a.freedom, len(a.spectrum)
    noise = (size - a.power.sum()) / (a.freedom - r)
    edges = [edge for edge in EDGES if edge < r] + [r]
    shares = (a.spectrum / a.spectrum.sum(), (a.power - noise) / size)
    return [(i + 1, j, *(float(s[i:j].sum()) for s in shares)) for i, j in zip(edges, edges[1:], strict=False)]
