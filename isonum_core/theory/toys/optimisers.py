"""What training conserves: the sum of the output embeddings under different optimisers, losses and tying.

A next-token model small enough to see through: context c has the embedding e_c, the hidden state h_c = M e_c, and the
forecast softmax(W h_c). It is trained on the exact conditional distributions of a source with Zipf frequencies, full
batch, float64, so nothing but the optimiser, the loss and the tying differs between arms. Some tokens are never seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from isonum_core.errors import among


@dataclass(frozen=True)
class Arm:
    """One way to train. `rule` is sgd, momentum, adam or coupled (Adam whose head shares its second moment)."""

    rule: str
    rate: float
    tied: bool = False  # W is also the table of input embeddings
    decay: float = 0.0  # lambda: every step first shrinks the parameters by (1 - rate * lambda)
    smoothing: float = 0.0  # share of the target given to the uniform distribution
    z_loss: float = 0.0  # weight of (log Z)^2
    zipf: float = 1.0  # exponent of the token frequencies; 0 is uniform


ARMS = {
    "SGD": Arm("sgd", 1.0),
    "momentum": Arm("momentum", 0.1),
    "label smoothing": Arm("sgd", 1.0, smoothing=0.1),
    "coupled Adam": Arm("coupled", 0.01),
    "Adam": Arm("adam", 0.01),
    "weight decay": Arm("sgd", 1.0, decay=1e-3),
    "z-loss": Arm("sgd", 1.0, z_loss=1e-2),
    "tied SGD": Arm("sgd", 1.0, tied=True),
    "tied Adam": Arm("adam", 0.01, tied=True),
    "Adam, uniform": Arm("adam", 0.01, zipf=0.0),
}


@dataclass(frozen=True)
class Optimisers:
    """Configuration. Each seed draws its own source and its own initial weights, alike for all arms."""

    arms: tuple[str, ...] = tuple(ARMS)
    seeds: tuple[int, ...] = tuple(range(5))
    vocabulary: int = 120
    unused: int = 12  # the last tokens of the vocabulary: never a target
    contexts: int = 40
    d: int = 8
    steps: int = 800
    every: int = 40  # steps between rows


class Trained(NamedTuple):
    """Weights of one arm at one step; the first axis of every tensor is the seed."""

    step: int
    w: Float[Tensor, "S N d"]
    h: Float[Tensor, "S K d"]
    frequency: Float[Tensor, "S N"]
    excess: Float[Tensor, " S"]  # excess cross-entropy over the source's own entropy: KL in nats, per context


def run(config: Optimisers) -> list[dict]:
    """One row for each arm, seed and recorded step.

    With rms the root mean square length of a row, `drift` is |sum of rows - its initial value| / (N rms) and
    `mean_over_rms` |mean row| / rms, in [0, 1]; `unused_cosine` is the mean cosine of never-seen tokens with -E[h],
    `kl` the excess loss in nats.
    """
    rows = []
    for arm in config.arms:
        states = train_head(config, arm)
        for state in states:
            for i, seed in enumerate(config.seeds):
                measured = _measure(state.w[i], state.h[i], states[0].w[i], config.unused)
                rows.append({"arm": arm, "seed": seed, "step": state.step, **measured, "kl": float(state.excess[i])})
    return rows


@lru_cache(maxsize=2 * len(ARMS))  # a chapter asks first for the rows of all arms, then for their weights
def train_head(config: Optimisers, arm: str) -> tuple[Trained, ...]:
    """The recorded states of one arm, the first before any step. All seeds run side by side and never meet.

    Trained once and remembered: whoever asks again gets the same tensors, so do not change them in place.
    """
    how = among("way to train", arm, ARMS)
    draws = zip(*(_draw(config, how, seed) for seed in config.seeds), strict=True)
    target, frequency, entropy, *weights = map(torch.stack, draws)
    w, m, e = (p.requires_grad_() for p in weights)
    learned = [w, m] if how.tied else [w, m, e]
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in learned]
    found = []
    for step in range(config.steps + 1):
        h = (w[:, : config.contexts] if how.tied else e) @ m.mT
        z = h @ w.mT
        log_z = z.logsumexp(-1)
        # Cross-entropy per seed, averaged over contexts; seeds are summed, so that no gradient crosses between them.
        loss = (log_z - (target * z).sum(-1)).mean(-1)
        if step % config.every == 0:
            found.append(Trained(step, w.detach().clone(), h.detach(), frequency, loss.detach() - entropy))
        penalty = how.z_loss * (log_z**2).mean(-1)
        gradients = torch.autograd.grad((loss + penalty).sum(), learned)
        with torch.no_grad():
            for p, g, moment in zip(learned, gradients, moments, strict=True):
                p.mul_(1 - how.rate * how.decay)
                p.sub_(how.rate * _direction(how.rule, g, moment, step + 1, shared=p is w))
    return tuple(found)


def _direction(rule: str, g: Tensor, moments: tuple[Tensor, Tensor], t: int, shared: bool) -> Tensor:
    """What the optimiser subtracts, per unit of learning rate. Changes `moments` in place."""
    first, second = moments
    if rule == "sgd":
        return g
    if rule == "momentum":
        return first.mul_(0.9).add_(g)
    first.lerp_(g, 0.1)
    second.lerp_(g**2, 0.001)
    # Coupled: one second moment for all rows of the head, so a row's step is its own gradient times a common matrix.
    scale = second.mean(-2, keepdim=True) if rule == "coupled" and shared else second
    return (first / (1 - 0.9**t)) / ((scale / (1 - 0.999**t)).sqrt() + 1e-8)


def _draw(config: Optimisers, how: Arm, seed: int) -> tuple[Tensor, ...]:
    """Targets (K, N) the network sees, token frequencies (N,), the entropy that no network can beat, and its start.

    That is W (N, d) with rows of length about 1/3, M (d, d) near the identity and context embeddings (K, d) like W.
    """
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    seen, d = config.vocabulary - config.unused, config.d
    taste, tokens = normal(config.contexts, 4), normal(seen, 4)
    rank = torch.arange(1, seen + 1, dtype=torch.float64)
    p = (taste @ tokens.T / 2 - how.zipf * rank.log()).softmax(-1)
    p = torch.cat([p, p.new_zeros(config.contexts, config.unused)], 1)
    p = (1 - how.smoothing) * p + how.smoothing / config.vocabulary
    w, e = (normal(rows, d) / (3 * d**0.5) for rows in (config.vocabulary, config.contexts))
    m = torch.eye(d, dtype=torch.float64) + 0.1 * normal(d, d)
    return p, p.mean(0), -torch.special.xlogy(p, p).sum(-1).mean(), w, m, e


def _measure(w: Tensor, h: Tensor, start: Tensor, unused: int) -> dict[str, float]:
    rms = (w**2).sum(-1).mean().sqrt()
    return {
        "drift": float((w.sum(0) - start.sum(0)).norm() / (len(w) * rms)),
        "mean_over_rms": float(w.mean(0).norm() / rms),
        "unused_cosine": float(torch.cosine_similarity(w[-unused:], -h.mean(0, keepdim=True)).mean()),
    }
