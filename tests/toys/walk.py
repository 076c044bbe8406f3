"""A toy study: random walks. Two rows each. Trouble on demand, from outside, so that the next run can go well."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch

TOLERANCES = {"end": {"cpu": 1e-9, "cuda": 1e-3}, "norm": {"cpu": 1e-9, "cuda": 1e-3}, "skill": {"cpu": 1e-9}}
MAY_BE_MISSING = {"skill"}

SIZES = {"quick": 3, "cpu": 20, "gpu": 1}


@dataclass(frozen=True)
class Config:
    seed: int
    step: float
    shape: tuple[int, ...] = (300, 40)
    tied: bool = False


def grid(profile: str) -> list[Config]:
    return [Config(seed, step) for seed in range(SIZES[profile]) for step in (0.1, 1.0)]


def run(config: Config) -> list[dict]:
    time.sleep(float(os.environ.get("TOY_PAUSE", 0)))
    trouble = os.environ.get("TOY_TROUBLE") if (config.seed, config.step) == (1, 0.1) else None
    if trouble == "raise":
        raise RuntimeError("the loss went up")
    if trouble == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory")
    if trouble == "interrupt":
        raise KeyboardInterrupt
    if trouble == "lost":
        os._exit(9)
    walk = config.step * torch.randn(config.shape, generator=torch.Generator().manual_seed(config.seed))
    rows = []
    for label, x in (("walk", walk.cumsum(0)), ("noise, white", walk)):
        end = float("nan") if trouble == "nan" else x[-1].sum()
        # A matrix product and a long sum: what another number of threads would round in another way.
        row = {"seed": config.seed, "label": label, "end": end, "norm": float((x @ x.T).double().norm())}
        rows.append({**row, "large": bool(row["norm"] > 1e4), "skill": float(x.mean()) if label == "walk" else None})
    return rows[:0] if trouble == "nothing" else rows


def set_environment(environment: dict[str, str]) -> None:
    os.environ.update(environment)


def run_under(environment: dict[str, str], *words) -> None:
    """A run in another process, which does not see the environment of the test."""
    from isonum_core.lab.engine import run_study

    set_environment(environment)
    run_study("toys.walk", *words)


def threads_of(config: Config) -> int:
    """How many threads torch takes after a configuration was computed as a worker computes it."""
    from isonum_core.lab.engine import compute

    compute("toys.walk", config, "cpu")
    return torch.get_num_threads()
