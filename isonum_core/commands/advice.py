"""What each remedy would do to one read-out or search, measured on rows that the remedies were not fitted on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isonum_core.commands.report import report
from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.studies.remedies import Remedy, advised, jointly, log_ratio, remedies, reshaped, searched
from isonum_core.theory import readout as law
from isonum_core.theory.readout import Aligned, Readout, aligned

JUDGED = 3072  # rows that judge, at most, which keeps the answer within seconds
EDGES = (0, 1, 5, 10, 30, 100, 300)  # blocks of principal directions in which the target is looked for
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

    def decide(self, maps: dict[str, Remedy]) -> Advice:
        """Itself, with the remedy of the largest sure gain, "nothing" where none can be worth it, or None."""
        self.answer = advised(self.effects, self.unit)
        self.verdict = f"Cannot know: with {self.judged} that judge, a gain can be neither shown nor excluded."
        if self.answer == "nothing":
            self.verdict = "Leave it as it is: no remedy can gain enough to be worth it."
        elif self.answer:
            self.remedy, self.verdict = maps[self.answer], f"Do this: {self.answer}."
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
    """Of a linear read-out of targets y by squared error: `kind` ridge, early-stopped or least-squares.

    Remedies are fitted on `fit`, or else on half of the rows; the other half judges. `fixed` is the penalty (as alpha
    of scikit-learn) or the time; without, each remedy has its best, chosen on other rows than those that judge it.
    `rows`: how many the read-out will learn from. Early-stopped, the mean and the bias are directions like others.
    Raises IsonumError where nothing can be judged.
    """
    order = torch.from_numpy(rng.permutation(len(h)))
    judged = order[: min(JUDGED, len(h) if fit is not None else len(h) // 2)].sort().values
    maps = remedies(Moments.of(h[order[len(judged) :]] if fit is None else fit))
    x, t, free = h[judged], y[judged] - y.mean(0), kind != "early-stopped"
    bias = torch.ones(len(x), 0 if free else 1, dtype=torch.float64)
    clouds = {name: aligned(torch.cat([remedy.of(x), bias], 1), t, free) for name, remedy in maps.items()}
    notes, n, centred = [], rows or len(h), aligned(x, t)
    try:
        _each(partial(law.gcv, clouds["nothing"], n=n), kind, fixed, clouds["nothing"])
    except IsonumError as error:
        notes, n = [f"{error} What follows is for {len(x)} rows."], len(x)
    found = Advice("error", *h.shape, len(x), n, 0.0, report(h.float(), ["isoscore"]).verdict, notes=notes)
    i = torch.arange(len(x))
    mean_only = (t - t.mean(0)).square().sum(1) * (len(t) / (len(t) - 1)) ** 2
    z, theory, own, best, sure = jointly(maps), {}, {}, {}, False
    for name, new in reshaped(centred.spectrum).items():
        a, same = clouds[name], clouds["nothing"] if name == "nothing" else centred
        tried = _each(partial(law.leave_one_out, a, n=n), kind, fixed, a)
        table = torch.stack([errors for errors, _ in tried], 1)
        best[name] = tried[int(table.mean(0).argmin())][1]
        halves = [
            tried[int(table[half::2].mean(0).argmin())][1] for half in (1, 0)
        ]  # each row's choice is made by others
        own[name] = torch.stack([law.leave_one_out(a, r, n, spread=True) for r in halves], 1)[i, i % 2]
        sure |= log_ratio(own[name], mean_only, z)[2] < 0
        kept = (same.spectrum if name == "nothing" else new) > 0
        same = same._replace(states=same.states[:, kept], spectrum=same.spectrum[kept])
        new = same.spectrum if name == "nothing" else new[kept]
        foretold = _each(partial(law.gcv, same, n=n, spectrum=new), kind, fixed, same._replace(spectrum=new))
        theory[name] = min(float(error) for error, _ in foretold)
        if classes:
            residual = (law.left_out(a, best[name].penalties) @ best[name].weights).real
            found.facts[f"accuracy, {name}"] = float(((t - residual).argmax(1) == t.argmax(1)).double().mean())
        if name != "nothing":
            effect = math.log(theory[name] / theory["nothing"])
            found.effects[name] = (*log_ratio(own[name], own["nothing"], z), effect)
    found.level = 1 - float(own["nothing"].mean() / mean_only.mean())
    if not sure:
        found.verdict = f"Cannot know: {len(x)} rows show nothing of the target, with any remedy or none."
        return found
    along = (x - x.mean(0)) @ x.mean(0)
    shared = (along @ (t - t.mean(0))).square().sum() / along.square().sum().clamp_min(1e-300)
    found.facts["R2 along the mean direction"] = float(shared / (t - t.mean(0)).square().sum())
    if len(centred.spectrum) < centred.freedom:
        found.istar, found.blocks = _istar(centred, best["centring"]), _blocks(centred)
    return found.decide(maps)


def advise_search(
    q: Float[Tensor, "q d"],
    documents: Float[Tensor, "N d"],
    relevant: Bool[Tensor, "q N"],
    fit: Float[Tensor, "f d"] | None,
    rng: np.random.Generator,
) -> Advice:
    """Of a search by cosine; `fit` and what is raised as in `studies.remedies.searched`."""
    maps, judged, scored, effects = searched(q, documents, relevant, fit, rng)
    near = relevant[judged]
    level, verdict = float(scored["nothing"][:, 0].mean()), report(documents.float(), ["isoscore"]).verdict
    found = Advice("nDCG@10", len(documents), q.shape[1], len(judged), len(documents), level, verdict)
    found.effects |= {name: (*effect, None) for name, effect in effects.items()}
    found.facts |= {f"recall@1, {name}": float(own[:, 1].mean()) for name, own in scored.items()}
    units = [torch.nn.functional.normalize(x.float(), dim=1) for x in (q[judged], documents)]
    cosines = units[0] @ units[1].mT
    found.facts |= {"cosine, related": float(cosines[near].mean()), "cosine, unrelated": float(cosines[~near].mean())}
    return found.decide(maps)


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
        less = a._replace(states=a.states[keep], targets=a.targets[keep], freedom=int(keep.sum()) - 1)
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
