"""SmolLM2's own head in gauges that no forecast shows: what partition isotropy, IsoScore and cosines say in each.

The states are those of the texts of `studies.checkpoints_layers` after the final norm; every twentieth is forecast.
as it is      the published head and states
centred rows  W - 1 w^T, w the mean row
moved rows    W + 1 a^T, with |a| ten times the mean length of a row, in the direction of the mean state
round states  (W T, T^-1 h) with T the root of Cov(h): the states' covariance is the identity
flat states   the same, but T^-1 stretches the widest principal axis of the states a thousandfold

The model has 4 bits a weight and was tuned to follow instructions. No expectation: each row is an identity of theory
(`theory.gauges`), to be seen on a real head, but for `log_z_sd` and `log_i`, which set what Z does at the states that
occur against what it does on the sphere of their radius.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.partition import eigenvector_heuristic
from isonum_core.geometry.scores import iso_score, mean_cosine, mean_share
from isonum_core.studies.anatomy import short
from isonum_core.studies.checkpoints_head import head, states_of
from isonum_core.theory.gauges import centre_rows, linear_gauge, logit_participation_ratio, row_gauge
from isonum_core.theory.loglinear import logits

GAUGES = ("as it is", "centred rows", "moved rows", "round states", "flat states")
EVERY = 20
_NAMES = ("iso_rows", "share_rows", "iso_states", "cosine_states", "logit_pr")
TOLERANCES = {name: {"cpu": 1e-2, "cuda": 1e-1} for name in (*_NAMES, "log_z_sd", "log_i", "radius")}
# What is left of equality by rounding: any number as small will do.
TOLERANCES |= {"log_p_moved": {"cpu": 1e-6, "cuda": 1e-6}}


@dataclass(frozen=True)
class Gauge:
    """A name of GAUGES."""

    gauge: str


def grid(profile: str) -> list[Gauge]:
    """Every profile: all five."""
    return [Gauge(name) for name in GAUGES]


def run(config: Gauge) -> list[dict]:
    """One row. log_p_moved: the largest change of a log-probability, in nats, against the head as it is.

    log_z_sd: standard deviation of log Z over the forecast states, in nats; log_i: log of min Z / max Z over the 2 d
    points of the sphere of radius rms |h| that Mu and Viswanath look at, so at most that far from 0 as the sphere is.
    """
    w, h = in_gauge(config.gauge, head(), states_of("text"))
    z, before = logits(w, h[::EVERY]), logits(head(), states_of("text")[::EVERY])
    rows, states, radius = Moments.of(w), Moments.of(h), float(h.square().sum(1).mean().sqrt())
    found = dict(log_p_moved=(z.log_softmax(-1) - before.log_softmax(-1)).abs().max(), log_z_sd=z.logsumexp(-1).std())
    found |= dict(iso_rows=iso_score(rows), share_rows=mean_share(rows), iso_states=iso_score(states))
    found |= dict(cosine_states=mean_cosine(states), logit_pr=logit_participation_ratio(states, w))
    found |= dict(radius=radius, log_i=eigenvector_heuristic(w, radius))
    return [{name: short(float(value), 5) for name, value in found.items()}]


def in_gauge(
    name: str, w: Float[Tensor, "N d"], h: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, "N d"], Float[Tensor, "n d"]]:
    """Head and states in one of GAUGES: the same forecasts."""
    if name == "as it is":
        return w, h
    if name == "centred rows":
        return centre_rows(w), h
    if name == "moved rows":
        mean = h.mean(0)
        return row_gauge(w, 10 * w.norm(dim=1).mean() * mean / mean.norm()), h
    values, basis = torch.linalg.eigh(Moments.of(h).covariance)
    if name == "round states":
        return linear_gauge(w, h, basis * values.sqrt())
    return linear_gauge(w, h, torch.cat([basis[:, :-1], basis[:, -1:] / 1000], 1))
