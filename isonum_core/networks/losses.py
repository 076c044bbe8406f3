"""Regularisers that act on isotropy while a network trains: I-STAR on the spectral half, two others on the mean half.

Each takes states and gives a number to add to the loss, times a weight of either sign. All are scores of `Moments`, so
value and slope cost two products of the states; in several processes the moments are summed over all of them first, and
the score is that of the whole batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Directions, Moments
from isonum_core.geometry.scores import iso_score_star, mean_cosine, mean_share

States = Tensor | Sequence[Tensor]
Group = Any  # a torch.distributed process group


def istar(
    states: States,
    mask: Tensor | None = None,
    zeta: float = 0.2,
    c0: float | Float[Tensor, "d d"] | None = None,
    group: Group | None = None,
) -> Float[Tensor, ""]:
    """1 - IsoScore* of the states, in [0, 1]: loss + weight * istar(h) evens the spectrum out for a weight above zero.

    `states` are (n, d) or (B, T, d), or several of them, which are pooled (the hidden states of all layers, as
    published); `mask` (n,) or (B, T) is true where a position counts. c0=None shrinks towards (tr C / d) I, which
    growing or shrinking all states does not change. A number c is c I: with c fixed the score rises when the states
    shrink, so a network can satisfy it without becoming rounder. A tensor is C0 itself, see `pooled_covariance`.
    Under autocast the products stay in float32; the value has the precision of the states, float32 at least. With a
    `group` (torch.distributed.group.WORLD) the batch is that of all processes, and the slope is the one that
    DistributedDataParallel averages to the slope of the whole batch.
    Rudman and Eickhoff 2024 (arXiv 2305.19358), with the sign of its weight.

    >>> h = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0] + 7 * [1.0])
    >>> round(float(istar(h)), 2)
    0.88
    >>> round(float(istar(h, zeta=1.0)), 2)  # shrunk to the identity altogether
    0.0
    """
    rows = _rows(states, mask)
    return 1 - iso_score_star(whole(Moments.of(rows), group), zeta, c0).to(rows.dtype)


def cosreg(states: States, mask: Tensor | None = None, group: Group | None = None) -> Float[Tensor, ""]:
    """Mean cosine of two different states, in [-1, 1]: a weight above zero drives them apart. States as in `istar`.

    The cosine regulariser of Gao et al. 2019, over pairs of different rows; it acts on the mean half alone.

    >>> round(float(cosreg(torch.eye(4) + 1)), 2)
    0.86
    """
    rows = _rows(states, mask)
    found = Directions.of(rows)
    if group is not None:
        n, zeros = _total(torch.tensor([found.n, found.zeros], device=rows.device), group).tolist()
        found = Directions(n, _total(found.unit_sum, group), zeros)
    return mean_cosine(found).to(rows.dtype)


def mean_share_loss(states: States, mask: Tensor | None = None, group: Group | None = None) -> Float[Tensor, ""]:
    """Share of the mean in the mean squared length, in [0, 1]: the twin of `istar` on the mean half.

    A weight above zero centres the cloud and leaves its spectrum alone. Smooth at rows of zeros. States as in `istar`.

    >>> round(float(mean_share_loss(torch.eye(4) + 1)), 2)
    0.86
    """
    rows = _rows(states, mask)
    return mean_share(whole(Moments.of(rows), group)).to(rows.dtype)


def pooled_covariance(batches: Iterable[States], limit: int = 250_000) -> Float[Tensor, "d d"]:
    """Covariance of up to `limit` states, for the C0 of `istar`: the authors' training takes it anew each epoch.

    `batches` are states as in `istar`, or pairs of states and mask; no slope is kept. Left out past the limit are rows,
    not layers: the pool ends with the batch that reaches it.
    """
    pooled = None
    for batch in batches:
        pair = isinstance(batch, tuple) and len(batch) == 2 and batch[1].dtype == torch.bool
        rows = _rows(*batch) if pair else _rows(batch, None)
        found = Moments.of(rows.detach()[: limit - (pooled.n if pooled else 0)])
        pooled = pooled.merge(found) if pooled else found
        if pooled.n >= limit:
            break
    if pooled is None:
        raise IsonumError("pooled_covariance needs at least one batch of states, got none. Check the loader.")
    return pooled.covariance


def whole(moments: Moments, group: Group | None) -> Moments:
    """Moments of the batch of all processes of a group, equal to one pass over all its rows; differentiable."""
    if group is None:
        return moments
    n = _total(torch.tensor(moments.n, device=moments.mean.device), group)
    mean = _total(moments.n * moments.mean, group) / n
    away = mean - moments.mean
    dense = moments.covariance * (moments.n - 1) + moments.n * torch.outer(away, away)
    return dataclasses.replace(
        moments,
        directions=Directions(int(n), _total(moments.directions.unit_sum, group)),
        mean=mean,
        rows=None,
        dense=_total(dense, group),
        **{name: _total(value, group) for name, value in moments.about(mean).items()},
    )


@dataclass(frozen=True)
class Regulariser:
    """A weight and a measure, to be called on states: `loss + Regulariser("istar", 0.1)(hidden_states, mask)`.

    `kind` is istar, cosreg or mean_share; zeta and c0 are of istar. Weight zero costs nothing.
    """

    kind: str
    weight: float
    zeta: float = 0.2
    c0: float | Tensor | None = None
    group: Group | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS_OF_LOSS:
            raise IsonumError(f"A regulariser is one of {', '.join(KINDS_OF_LOSS)}, got {self.kind!r}. Choose one.")

    def __call__(self, states: States, mask: Tensor | None = None) -> Tensor | float:
        if self.weight == 0:
            return 0.0
        more = dict(zeta=self.zeta, c0=self.c0) if self.kind == "istar" else {}
        return self.weight * KINDS_OF_LOSS[self.kind](states, mask, group=self.group, **more)


KINDS_OF_LOSS = {"istar": istar, "cosreg": cosreg, "mean_share": mean_share_loss}


class _AllReduce(torch.autograd.Function):
    """Sum over the processes; the slope is summed too, as every process holds the same loss of the same sum."""

    @staticmethod
    def forward(ctx, x, group):
        ctx.group = group
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, slope):
        return _total(slope, ctx.group), None


_total = _AllReduce.apply


def _rows(states: States, mask: Tensor | None) -> Float[Tensor, "n d"]:
    """The rows that count, of one tensor or of several together, in float32 at least."""
    parts = [states] if isinstance(states, Tensor) else list(states)
    if not parts:
        raise IsonumError("A regulariser needs states, got an empty list. Ask the model for output_hidden_states.")
    rows = []
    for part in parts:
        flat = part.flatten(0, -2)
        if mask is not None and mask.numel() != len(flat):
            raise IsonumError(
                f"A mask has one entry a state: states are {tuple(part.shape)}, the mask {tuple(mask.shape)}. "
                "Give the attention mask of the same batch."
            )
        flat = flat if mask is None else flat[mask.flatten().bool()]
        rows.append(flat if flat.dtype == torch.float64 else flat.float())
    return rows[0] if len(rows) == 1 else torch.cat(rows)
