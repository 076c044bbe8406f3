"""One training loop: the same seed gives the same weights, also when the run was killed and went on."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from isonum_core.errors import IsonumError

Loss = Callable[[nn.Module, int], Tensor]
OPTIMISERS = ("adamw", "sgd", "coupled_adam")
LOOK = 100  # steps between two looks at the loss: each makes a GPU wait


@dataclasses.dataclass(frozen=True)
class Training:
    """How to train. The rate rises linearly over `warmup` steps, then falls along a cosine to `final` times `rate`.

    coupled_adam is AdamW whose token embeddings, input and output, share one second moment over the vocabulary.
    `clip` bounds the norm of the gradient. precision "bfloat16" is mixed: weights and optimiser stay in float32.
    `seed` is that of dropout; the batches are the business of the loss.
    """

    steps: int
    rate: float
    optimiser: str = "adamw"
    weight_decay: float = 0.0
    momentum: float = 0.0
    warmup: int = 0
    final: float = 1.0
    clip: float | None = None
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        known = self.optimiser in OPTIMISERS and self.precision in ("float32", "bfloat16")
        if not (known and self.steps >= 1 and self.rate > 0 and self.warmup >= 0):
            raise IsonumError(
                f"an optimiser of {', '.join(OPTIMISERS)}, precision float32 or bfloat16, steps >= 1, rate > 0 and "
                f"warmup >= 0 were expected, got {self}. Correct the one that is off."
            )

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (self.final + (1 - self.final) * (1 + math.cos(math.pi * share)) / 2)


def train(
    model: nn.Module,
    loss: Loss,
    training: Training,
    checkpoint: Path | str | None = None,
    every: int = 0,
    optimiser: Optimizer | None = None,
) -> Float[Tensor, "steps"]:
    """Train the model in place, on the device where it is, and return the loss of every step.

    loss(model, step) is the loss of the batch of that step: a function of the step, so that a resumed run sees the
    batches that it would have seen. With `checkpoint`, a file, the run goes on from what is there, and saves weights
    and optimiser every `every` steps and at the end. With `optimiser` (of `make_optimiser`) it starts with its moments.

    Raises IsonumError when the loss is no longer finite (looked at every 100 steps), and when the checkpoint belongs to
    another class of model or another Training; torch says where its shapes do not fit.
    """
    device = next(model.parameters()).device
    optimiser = optimiser or make_optimiser(model, training)
    losses: list[Tensor] = []
    if checkpoint is not None and Path(checkpoint).exists():
        losses = list(_resume(Path(checkpoint), model, optimiser, training))
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bfloat16")
    model.train()
    # Dropout draws from the device's global generator: it is lent for the run, seeded anew at each step, given back.
    # The seeds are hashed, as the CPU's generator reads 32 bits alone, and all at once: hash by hash is 5 % of a run.
    seeds = np.random.SeedSequence(training.seed).generate_state(training.steps).tolist()
    generator = torch.cuda.default_generators[device.index] if device.type == "cuda" else torch.default_generator
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for step in range(len(losses), training.steps):
            generator.manual_seed(seeds[step])
            for group in optimiser.param_groups:
                group["lr"] = training.rate_at(step)
            with mixed:
                value = loss(model, step)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            if training.clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), training.clip)
            optimiser.step()
            losses.append(value.detach())
            done = step + 1
            if done % LOOK == 0 or done == training.steps:
                if len(bad := (~torch.stack(losses[-LOOK:]).isfinite()).nonzero()):
                    step = max(0, done - LOOK) + int(bad[0])
                    raise IsonumError(
                        f"a finite loss was expected, got none from step {step} on. Lower the rate or clip."
                    )
            if checkpoint is not None and (done == training.steps or (every and done % every == 0)):
                _save(Path(checkpoint), model, optimiser, training, losses)
    return torch.stack(losses).float().cpu()


def make_optimiser(model: nn.Module, training: Training) -> Optimizer:
    """The optimiser that `train` uses. Every parameter is decayed alike."""
    parameters, how = list(model.parameters()), dict(lr=training.rate, weight_decay=training.weight_decay)
    if training.optimiser == "sgd":
        return torch.optim.SGD(parameters, momentum=training.momentum, **how)
    if training.optimiser == "adamw":
        return torch.optim.AdamW(parameters, fused=True, **how)
    try:
        tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    except (AttributeError, NotImplementedError):
        tables = [None]
    if None in tables:
        raise IsonumError(f"coupled_adam needs token embeddings, got {type(model).__name__} without. Use adamw.")
    coupled = {id(table.weight) for table in tables}
    groups = [
        {"params": [p for p in parameters if (id(p) in coupled) == side], "coupled": side} for side in (False, True)
    ]
    return CoupledAdam(groups, **how)


class CoupledAdam(Optimizer):
    """AdamW in which all rows of a table share one second moment: the mean over its rows.

    m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,  p <- p (1 - r w) - r m_hat / (sqrt(mean over rows of v_hat) + e)

    with m_hat = m / (1 - b1^t), v_hat = v / (1 - b2^t). Groups with coupled=False are plain AdamW.
    Stollenwerk and Stollenwerk 2025, "Better Embeddings with Coupled Adam".
    """

    def __init__(self, params, lr: float, weight_decay: float = 0.0, betas=(0.9, 0.999), eps: float = 1e-8):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, betas=betas, eps=eps, coupled=False))

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step along the gradients that are there; parameters without a gradient stand still."""
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in (p for p in group["params"] if p.grad is not None):
                state = self.state[p]
                if not state:
                    state.update(step=torch.tensor(0.0), m=torch.zeros_like(p), v=torch.zeros_like(p))
                state["step"] += 1
                t = float(state["step"])
                state["m"].lerp_(p.grad, 1 - b1)
                state["v"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                v = state["v"].mean(0, keepdim=True) if group["coupled"] else state["v"]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] / (1 - b1**t) * state["m"] / ((v / (1 - b2**t)).sqrt() + group["eps"]))


def _save(path: Path, model: nn.Module, optimiser: Optimizer, training: Training, losses: list[Tensor]) -> None:
    """Weights, buffers, optimiser and losses in one file; a kill leaves the old file or the new."""
    state = dict(model=model.state_dict(), optimiser=optimiser.state_dict(), losses=torch.stack(losses))
    part = path.with_name(path.name + ".part")
    torch.save({"run": _run(model, training), **state}, part)
    os.replace(part, path)


def _resume(path: Path, model: nn.Module, optimiser: Optimizer, training: Training) -> Float[Tensor, "steps"]:
    """Put what `_save` wrote into model and optimiser; returns the losses of the steps already done."""
    with path.open("rb") as file:
        state = torch.load(file, map_location=next(model.parameters()).device, weights_only=True)
    before, now = state["run"], _run(model, training)
    if changed := ", ".join(f"{k} {before.get(k)} -> {now[k]}" for k in now if before.get(k) != now[k]):
        raise IsonumError(f"{path.name} was written by another run ({changed}). Use its settings, or another file.")
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return state["losses"]


def _run(model: nn.Module, training: Training) -> dict:
    return dict(model=type(model).__name__, **dataclasses.asdict(training))
