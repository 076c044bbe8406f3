"""Does a language model forecast? SmolLM2 reads series as numerals, beside readers that see the same levels.

A series of 200 steps becomes 100 levels between the extremes of its first half (networks.numerals); every reader sees
the levels alone, and at each step all of those before it. Judged are steps 100 to 199, in levels: `nll` in nats a value
over all of them, `mse_one` at every fifth (one step ahead), `mse_eight` over eight steps from every twenty-fifth.

Readers: smollm2; fracast (point errors of its mean over nine quantiles: it has no law of levels); ridge, an AR(8) whose
penalty is chosen by leave-one-out, fitted anew at each step, with Gaussian residuals; analogue, what followed when the
last two values were alike (kernel regression, its two widths chosen by leave-one-out on the first half); walk, a
Gaussian random walk; marginal, the levels seen so far; seasonal, the value one season ago (points alone).

Series: a draw of every family at its middle knob; and the first and the last 200 steps of each packaged real set
(one where they would overlap; nile has 100 steps and is left out). `outermost` is the share of judged levels that lie
at either end, where a series has left the range of its first half and every reader is told little.

The model has 4 bits a weight and was tuned to follow instructions. Separator and prompt were chosen on twenty other
draws of ten families (streams of their own): a space and none, mean NLL 3.416 nats; comma 3.471, comma and space 3.427,
and a prompt changed less than .01. Seen before the first run, in pilots: on single draws the model was ahead of ridge
on the Henon and the logistic map, and behind it on smooth and seasonal series and on the first steps of El Nino,
sunspots and CO2; the analogue was far ahead of ridge on both maps. EXPECTED stands in `studies.checkpoints_skill`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm
from sklearn.linear_model import RidgeCV

from isonum_core.networks.numerals import LEVELS, Numerals, levelled
from isonum_core.studies.checkpoints_readouts import fracast_or_twin, smollm2_or_twin
from isonum_core.studies.checkpoints_skill import EXPECTED as EXPECTED
from isonum_core.studies.real import SETS
from isonum_core.worlds.families import FAMILIES
from isonum_core.worlds.series import find_series, interpolated, series_names

KNOWN, LENGTH, LAGS, AHEAD = 100, 200, 8, 8
ONE = range(KNOWN, LENGTH, 5)
EIGHT = range(KNOWN, LENGTH - AHEAD, 25)
STREAM = 91
READERS = ("smollm2", "fracast", "ridge", "analogue", "walk", "marginal", "seasonal")
REAL = tuple(name for name in series_names(packaged=True) if name != "nile")
WIDTHS = tuple((near, smooth) for near in (1.0, 2.0, 4.0, 8.0, 16.0) for smooth in (0.7, 2.0, 6.0, 18.0))  # in levels
COLUMNS = ("nll", "mse_one", "mse_eight")
# float32 sums of another order move a logit by 1e-5 of its size; a mean that rounds to another level moves a path.
TOLERANCES = {"nll": {"cpu": 1e-3, "cuda": 1e-2}, "mse_one": {"cpu": 1e-2, "cuda": 1e-1}}
TOLERANCES |= {"mse_eight": {"cpu": 5e-2, "cuda": 5e-1}, "outermost": {"cpu": 0.0, "cuda": 0.0}}
MAY_BE_MISSING = {"nll"}


@dataclass(frozen=True)
class Draw:
    """One series: a draw of a family at one knob, or (knob 0) the first or the last steps of a real set."""

    family: str
    knob: float
    seed: int


def grid(profile: str) -> list[Draw]:
    """quick: two series. cpu: a draw of every family's middle knob, and the real sets. gpu: every knob, five draws."""
    if profile == "quick":
        return [Draw(name, FAMILIES[name].grid[0], 0) for name in ("henon", "ar1")]
    sets = [Draw(name, 0.0, part) for name in REAL for part in range(1 + (find_series(name).values.size >= 2 * LENGTH))]
    if profile == "cpu":
        middle = {name: f.grid[len(f.grid) // 2] for name, f in FAMILIES.items()}
        return [Draw(name, middle[name], 0) for name in FAMILIES] + sets
    return [Draw(name, knob, seed) for name, f in FAMILIES.items() for knob in f.grid for seed in range(5)] + sets


def run(config: Draw) -> list[dict]:
    """One row a reader. Models are loaded once a process."""
    values, season = drawn(config)
    levels = levelled(values, KNOWN)
    found = {
        "smollm2": _language(levels),
        "fracast": _fracast(levels),
        "ridge": _ridge(levels),
        "analogue": _analogue(levels),
        "walk": _walk(levels),
        "marginal": _marginal(levels),
        "seasonal": _seasonal(levels, season),
    }
    outermost = float(np.isin(levels[KNOWN:], (0, LEVELS - 1)).mean())
    return [
        {"reader": name, "outermost": outermost, **dict(zip(COLUMNS, found[name], strict=True))} for name in READERS
    ]


def drawn(config: Draw) -> tuple[Float[np.ndarray, "T"], int]:
    """The series of a configuration, LENGTH steps, and its season in steps."""
    if config.family in FAMILIES:
        family = FAMILIES[config.family]
        rng = np.random.default_rng([STREAM, config.seed, [*FAMILIES].index(config.family)])
        return family.draw(config.knob, LENGTH, rng, 1)[0], family.season(config.knob)
    values = interpolated(find_series(config.family).values)[0]
    season = SETS[config.family].season if config.family in SETS else 1
    return values[-LENGTH:] if config.seed else values[:LENGTH], season


def _language(levels: Int[np.ndarray, "T"]) -> tuple[float, float, float]:
    read = Numerals(smollm2_or_twin(True)).read(levels)
    one, eight = read.laws(ONE) @ np.arange(LEVELS), read.mean_paths(EIGHT, AHEAD)
    return float(read.nll()[KNOWN:].mean()), _mse(one, levels[ONE]), _mse(eight, _after(levels))


def _fracast(levels: Int[np.ndarray, "T"]) -> tuple[None, float, float]:
    """Its mean: that of the piecewise linear law through its nine quantiles, 0.1 to 0.9, its tails at the outer two."""

    def ahead(steps: range) -> Float[np.ndarray, "k 48"]:
        padded = np.full((len(steps), LENGTH), np.nan, dtype=np.float32)
        for row, t in zip(padded, steps, strict=True):
            row[LENGTH - t :] = levels[:t]
        return fracast_or_twin(True).forecast_batch(padded).mean(-1)

    return None, _mse(ahead(ONE)[:, 0], levels[ONE]), _mse(ahead(EIGHT)[:, :AHEAD], _after(levels))


def _ridge(levels: Int[np.ndarray, "T"]) -> tuple[float, float, float]:
    x = np.lib.stride_tricks.sliding_window_view(levels.astype(float), LAGS + 1)
    means, sds, fitted = np.empty(LENGTH), np.empty(LENGTH), {}
    for t in range(KNOWN, LENGTH):
        past = x[: t - LAGS]
        model = RidgeCV(alphas=np.logspace(-1, 5, 7)).fit(past[:, :-1], past[:, -1])
        means[t] = model.predict(levels[None, t - LAGS : t])[0]
        sds[t] = np.std(past[:, -1] - model.predict(past[:, :-1]))
        fitted[t] = model
    paths = []
    for t in EIGHT:
        path = list(levels[t - LAGS : t].astype(float))
        for _ in range(AHEAD):
            path.append(fitted[t].predict([path[-LAGS:]])[0])
        paths.append(path[LAGS:])
    steps = np.arange(KNOWN, LENGTH)
    return (
        _gaussian(means[steps], sds[steps], levels[steps]),
        _mse(means[ONE], levels[ONE]),
        _mse(paths, _after(levels)),
    )


def _analogue(levels: Int[np.ndarray, "T"]) -> tuple[float, float, float]:
    """Nadaraya and Watson: the law of what followed pairs of values, weighed by how like the last pair they were."""
    x, scale = levels.astype(float), np.arange(LEVELS)
    pairs, after = np.stack([x[:-2], x[1:-1]], 1), x[2:]  # after[i] = x[i + 2]
    seen = np.tri(len(after), k=-1)

    def weights(near: float, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n m"]:
        far = ((points[:, None] - pairs) ** 2).sum(-1)
        return np.exp(-far / (2 * near**2)) + 1e-6  # with nothing near, all of the past counts alike

    def laws(near: float, smooth: float, counted: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n K"]:
        kernel = np.exp(-((after[:, None] - scale) ** 2) / (2 * smooth**2))
        p = (weights(near, pairs) * counted) @ (kernel / kernel.sum(1, keepdims=True))
        return 0.999 * p / np.maximum(p.sum(1, keepdims=True), 1e-300) + 0.001 / LEVELS

    first = KNOWN - 2
    others = np.pad(1 - np.eye(first), ((0, len(after) - first), (0, len(after) - first)))

    def left_out(widths: tuple[float, float]) -> float:
        return -np.log(laws(*widths, others)[np.arange(first), levels[2:KNOWN]]).mean()

    near, smooth = min(WIDTHS, key=left_out)
    p = laws(near, smooth, seen)[first:]
    means = dict(zip(range(KNOWN, LENGTH), p @ scale, strict=True))
    paths = []
    for t in EIGHT:
        path = [x[t - 2], x[t - 1]]
        for _ in range(AHEAD):
            w = weights(near, np.array([path[-2:]]))[0, : t - 2]
            path.append(float(w @ after[: t - 2] / w.sum()))
        paths.append(path[2:])
    nll = -np.log(p[np.arange(LENGTH - KNOWN), levels[KNOWN:]]).mean()
    return float(nll), _mse([means[t] for t in ONE], levels[ONE]), _mse(paths, _after(levels))


def _walk(levels: Int[np.ndarray, "T"]) -> tuple[float, float, float]:
    steps = np.arange(KNOWN, LENGTH)
    sds = np.array([np.sqrt(np.mean(np.diff(levels[:t]) ** 2)) for t in steps])
    flat = np.repeat(levels[np.array(EIGHT) - 1], AHEAD).reshape(-1, AHEAD)
    nll = _gaussian(levels[steps - 1].astype(float), sds, levels[steps])
    return nll, _mse(levels[np.array(ONE) - 1], levels[ONE]), _mse(flat, _after(levels))


def _marginal(levels: Int[np.ndarray, "T"]) -> tuple[float, float, float]:
    """The mean of the past; its law is the count of each level plus a tenth, so that an unseen one has some room."""
    counts = np.stack([np.bincount(levels[:t], minlength=LEVELS) + 0.1 for t in range(KNOWN, LENGTH)])
    p = counts / counts.sum(1, keepdims=True)
    means = {t: levels[:t].mean() for t in (*ONE, *EIGHT)}
    nll = -np.log(p[np.arange(LENGTH - KNOWN), levels[KNOWN:]]).mean()
    flat = np.repeat([means[t] for t in EIGHT], AHEAD).reshape(-1, AHEAD)
    return float(nll), _mse([means[t] for t in ONE], levels[ONE]), _mse(flat, _after(levels))


def _seasonal(levels: Int[np.ndarray, "T"], season: int) -> tuple[None, float, float]:
    paths = [levels[t - season + np.arange(AHEAD) % season] for t in EIGHT]
    return None, _mse(levels[np.array(ONE) - season], levels[ONE]), _mse(paths, _after(levels))


def _gaussian(means, sds, came) -> float:
    """Mean negative log-likelihood of levels under Gaussians that are cut at the outermost and rounded to levels.

    The spread is at least half a level, and a thousandth of all mass lies evenly on the levels: no reader is ruined by
    one value that it thought impossible.
    """
    edges = np.arange(LEVELS + 1) - 0.5
    cdf = norm.cdf((edges - means[:, None]) / np.maximum(sds, 0.5)[:, None])
    p = np.diff(cdf) / np.maximum(cdf[:, -1:] - cdf[:, :1], 1e-12)
    p = 0.999 * p + 0.001 / LEVELS
    return float(-np.log(p[np.arange(len(came)), came]).mean())


def _after(levels: Int[np.ndarray, "T"]) -> Int[np.ndarray, "k 8"]:
    return np.stack([levels[t : t + AHEAD] for t in EIGHT])


def _mse(forecast, actual) -> float:
    return float(np.mean((np.asarray(forecast) - np.asarray(actual)) ** 2))
