"""The plateau: a student whose forecasts become its teacher's, while its raw logits stop short.

Teacher: contexts x, hidden states h = x, head W with mean row of length one. Student: h' = B x and a head W', trained
on the teacher's exact forecasts, full batch, float64. The student can represent the teacher exactly, so whatever error
stays is not capacity, noise or sample size. One arm is handed the teacher's head and learns B alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isonum_core.theory.divergence import forecast_mean, kl_divergence

# Both optimisers act entry by entry, so seeds stacked in one tensor train as if alone.
_OPTIMISERS = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9),
}
ARMS = ("learned head, Adam", "learned head, momentum", "teacher's head, Adam")


@dataclass(frozen=True)
class Plateau:
    """Configuration. Each seed draws its own teacher, its own contexts and its own student."""

    arms: tuple[str, ...] = ARMS
    seeds: tuple[int, ...] = tuple(range(5))
    vocabulary: int = 48
    d: int = 6
    contexts: int = 128
    mean_length: float = 1.0
    steps: int = 1000


def run(config: Plateau) -> list[dict]:
    """One row for each arm, seed and recorded step (evenly spaced in log step). Averages are over contexts.

    `kl` in nats; `raw_mse` = `centred_mse` + `shift_mse` in nats^2, averaged over tokens with equal weight: the
    error of raw logits, of centred logits, and of the mean logit; `forecast_mse` is that of the forecast mean of values
    in [-1, 1].
    """
    record = {0} | {round(10 ** (i / 8)) for i in range(100) if 10 ** (i / 8) <= config.steps} | {config.steps}
    return [row for arm in config.arms for row in _train(config, arm, record)]


def _train(config: Plateau, arm: str, record: set[int]) -> list[dict]:
    whose, rule = arm.split(", ")
    x, w, head, b = map(torch.stack, zip(*(_draw(config, seed) for seed in config.seeds), strict=True))
    z = x @ w.mT
    learned, head = ([b, head], head) if whose == "learned head" else ([b], w)
    optimiser = _OPTIMISERS[rule]([p.requires_grad_() for p in learned])
    rows = []
    for step in range(config.steps + 1):
        z_student = x @ b.mT @ head.mT
        if step in record:
            rows += _measure(config.seeds, arm, step, z, z_student.detach())
        # KL up to a constant; seeds are summed, so that no gradient crosses between them.
        loss = (z_student.logsumexp(-1) - (z.softmax(-1) * z_student).sum(-1)).mean(-1).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return rows


def _draw(config: Plateau, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Contexts x (n, d), teacher's head W (N, d), student's first head and its B (d, d)."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    shape, d = (config.vocabulary, config.d), config.d
    w, mean = normal(*shape) / d**0.5, normal(d)
    w = w - w.mean(0) + config.mean_length * mean / mean.norm()
    return normal(config.contexts, d), w, 0.3 * normal(*shape) / d**0.5, normal(d, d) / d**0.5


def _measure(seeds: tuple[int, ...], arm: str, step: int, z: Tensor, z_student: Tensor) -> list[dict]:
    dz = z_student - z
    values = torch.linspace(-1, 1, z.shape[-1], dtype=z.dtype).expand_as(z)
    shift = dz.mean(-1, keepdim=True)
    columns = {
        "kl": kl_divergence(z, dz),
        "raw_mse": (dz**2).mean(-1),
        "centred_mse": ((dz - shift) ** 2).mean(-1),
        "shift_mse": shift.squeeze(-1) ** 2,
        "forecast_mse": (forecast_mean(z_student, values) - forecast_mean(z, values)) ** 2,
    }
    means = zip(*(value.mean(-1).tolist() for value in columns.values()), strict=True)
    return [
        dict(arm=arm, seed=seed, step=step, **dict(zip(columns, row, strict=True)))
        for seed, row in zip(seeds, means, strict=True)
    ]
