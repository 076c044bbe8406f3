"""SmolLM2's own head against the theory: how much a forecast hides of raw logits, what probes can lose, and the bound.

A state is one position of a text or of a series of numerals (studies.checkpoints_layers), drawn evenly from its last
200 tokens, after the final norm; Cov(h) is that of all 6,300 states of the same side. The head has 49,152 rows of 576.
At each state the logits are moved by a change of h in two directions: "worst", F(h)^-1 w with w the mean row under the
forecast p, which theory says moves raw logits most at a given KL; and "drawn", a Gaussian with Cov(h). Each is scaled
so that half the squared length under F is `aimed`, the KL to second order.

The model has 4 bits a weight and was tuned to follow instructions. Seen before the run: nothing of these numbers.
Reasons for EXPECTED: 1 / (1 + S) is the squared distance, under p, of the constant vector from the columns of the head;
where p lies on a few hundred tokens, 576 columns can nearly spell the constant out, and S is large.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.geometry.moments import Moments
from isonum_core.lab.expectation import Expectation, Verdict
from isonum_core.networks.capture import collect
from isonum_core.statistics.intervals import decided
from isonum_core.studies.anatomy import short
from isonum_core.studies.checkpoints_layers import PAIRS, SIDES, STREAM, TOKENS, loaded, number_ids, text_ids
from isonum_core.theory.divergence import kl_divergence, logit_error, spread
from isonum_core.theory.loglinear import logits, mean_embedding, weighted_rows
from isonum_core.theory.transfer import shared_head_guarantee

AIMED = (1e-6, 1e-3, 1e-1)  # nats
# States that were moved by 1e-5 of their size, ten times what another order of sums does, moved these by 4e-4.
TOLERANCES = {name: {"cpu": 0.01, "cuda": 0.1} for name in ("kl", "rms", "bound", "log10_s", "fcov_pr", "fcov_mean")}
TOLERANCES |= {"aimed": {"cpu": 0.0, "cuda": 0.0}, "entropy": {"cpu": 1e-2, "cuda": 0.1}}
TOLERANCES |= {"log_z": {"cpu": 1e-2, "cuda": 0.1}, "outside": {"cpu": 1e-2, "cuda": 0.1}}


@dataclass(frozen=True)
class State:
    """One state: of a text or a series (`side`), the number of it."""

    side: str
    seed: int


def grid(profile: str) -> list[State]:
    """quick: one of each side. cpu: five of each. gpu: all."""
    seeds = {"quick": range(1), "cpu": range(5), "gpu": range(PAIRS)}[profile]
    return [State(side, seed) for side in SIDES for seed in seeds]


def run(config: State) -> list[dict]:
    """A row for each direction and size. log10_s: of S(h); outside: the mass of p outside the 576 likeliest tokens.

    entropy and log_z are in nats; fcov_pr and fcov_mean: participation ratio and mean of the spectrum of F(h) Cov(h);
    rms: root mean square of the raw logits' change under p, in nats, and `bound` the guarantee for it at the true KL.
    """
    states, w = states_of(config.side), head()
    rng = np.random.default_rng([STREAM, 1, config.seed, SIDES.index(config.side)])
    h = states[TOKENS * config.seed + int(rng.integers(TOKENS - 200, TOKENS))]
    root = torch.linalg.cholesky(Moments.of(states).covariance)
    triangle, s, change = hidden_shift(w, h)
    spectrum = torch.linalg.svdvals(triangle @ root) ** 2
    z = logits(w, h)
    p = z.softmax(-1)
    facts = dict(
        log10_s=float(s.log10()), log_z=float(z.logsumexp(-1)), entropy=float(-(p * p.clamp_min(1e-300).log()).sum())
    )
    facts |= dict(outside=float(1 - p.topk(min(w.shape[1], len(p))).values.sum()))
    facts |= dict(fcov_pr=float(spectrum.sum() ** 2 / (spectrum**2).sum()), fcov_mean=float(spectrum.mean()))
    rows = []
    for name, step in (("worst", change), ("drawn", root @ torch.from_numpy(rng.normal(size=len(h))))):
        for aimed in AIMED:
            dz = logits(w, step * (2 * aimed) ** 0.5 / (triangle @ step).norm())
            kl = kl_divergence(z, dz)
            found = dict(
                kl=kl, rms=logit_error(z, dz).mean_square.sqrt(), bound=shared_head_guarantee(kl, spread(dz), s)
            )
            rows.append(dict(direction=name, aimed=aimed, **{k: float(v) for k, v in found.items()}, **facts))
    return [{k: short(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def hidden_shift(
    w: Float[Tensor, "N d"], h: Float[Tensor, " d"]
) -> tuple[Float[Tensor, "d d"], Float[Tensor, ""], Float[Tensor, " d"]]:
    """R with R^T R = F(h), S(h) = m^T F^-1 m and F^-1 m, with m the mean row under p; from one triangle of N x d.

    `theory.transfer` takes a singular value decomposition, which is safer and slow for a head of 49,152 rows.
    """
    triangle, m = torch.linalg.qr(weighted_rows(w, h), mode="r").R, mean_embedding(w, h)
    half = torch.linalg.solve_triangular(triangle.mT, m[:, None], upper=False)
    return triangle, (half**2).sum(), torch.linalg.solve_triangular(triangle, half, upper=True)[:, 0]


@cache
def head() -> Float[Tensor, "N d"]:
    """The output embeddings, float64."""
    return loaded().model.get_output_embeddings().weight.detach().double()


@cache
def states_of(side: str) -> Float[Tensor, "n d"]:
    """What the head reads: states of all texts or series after the final norm, text after text, float64."""
    ids = (text_ids if side == "text" else number_ids)(loaded())
    batches = [
        dict(input_ids=row[None], attention_mask=0 * row[None] + 1, special_tokens_mask=0 * row[None]) for row in ids
    ]
    return collect(loaded().model, batches, ["final_norm"], ids.size).states["final_norm"].double()


def _holds(table: pd.DataFrame) -> Verdict:
    share = float((table.rms / table.bound).max(skipna=False))
    return Verdict(decided(share <= 1, share), f"error over bound at most {share:.2f}")


def _attained(table: pd.DataFrame) -> Verdict:
    small = table[(table.direction == "worst") & (table.aimed == min(AIMED))]
    share = float((small.rms / small.bound).min(skipna=False))
    return Verdict(decided(share > 0.5, share), f"error over bound at least {share:.2f}")


def _large(table: pd.DataFrame) -> Verdict:
    least = float(table.log10_s.min(skipna=False))
    return Verdict(decided(least > 1, least), f"S from {10**least:.3g} to {10 ** table.log10_s.max():.3g}")


def _larger_on_numbers(table: pd.DataFrame) -> Verdict:
    numbers, text = (table[table.side == side].log10_s for side in ("numbers", "text"))
    least, middle = float(numbers.min(skipna=False)), float(text.median(skipna=False))
    return Verdict(
        decided(least > middle, least, middle), f"numbers from {10**least:.3g} on, text's median {10**middle:.3g}"
    )


def _sure_is_hidden(table: pd.DataFrame) -> Verdict:
    one = table.groupby(["side", "seed"])[["log10_s", "outside"]].first()
    rho = float(one.log10_s.corr(one.outside, "spearman"))
    return Verdict(decided(rho < -0.5, rho), f"Spearman {rho:+.2f} over {len(one)} states")


def _few_directions(table: pd.DataFrame) -> Verdict:
    most = float(table.fcov_pr.max(skipna=False))
    return Verdict(decided(most < 20, most), f"participation ratio of F Cov(h) at most {most:.1f} of 576")


EXPECTED = (
    Expectation("The guarantee for raw logits of a shared head holds at every state, direction and size", _holds),
    Expectation("In the worst direction, at the smallest KL, more than half of it is attained", _attained),
    Expectation("S exceeds 10 at every state", _large),
    Expectation("S is larger at every state of numbers than at the median state of text", _larger_on_numbers),
    Expectation(
        "S falls with the forecast's mass outside 576 tokens (Spearman below -0.5 over states)", _sure_is_hidden
    ),
    Expectation("F Cov(h) has a participation ratio below 20 at every state", _few_directions),
)
