"""Does training through attention feed anisotropy? Embeddings, head and scores learn a teacher, in three arms.

The gradient of the scores is filtered by the covariance of the tokens, so one may fear a loop: a stretched cloud gets
a stretched gradient, which stretches the cloud further. Two control arms without that path tell what the loop adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import participation_ratio


@dataclass(frozen=True)
class Config:
    """Runs of one kind: states x_i + sum_j P_ij x_j, soft labels of a teacher of the same form, full-batch descent.

    seeds          one run each; they share every step and nothing else
    arm            "attention" learns the scores; "uniform" keeps A = 0, so P_ij = 1/n; "none" drops the sum
    spike          standard deviation of the first direction of the initial embeddings over that of the others
    teacher_spike  the same for the teacher, in whose world the embeddings must live
    rate           plain descent: Adam rescales directions, and would hide what is asked here
    """

    seeds: tuple[int, ...] = (0,)
    arm: Literal["attention", "uniform", "none"] = "attention"
    spike: float = 4.0
    teacher_spike: float = 1.0
    vocabulary: int = 32
    d: int = 8
    length: int = 8
    sequences: int = 32
    steps: int = 500
    rate: float = 0.75
    every: int = 50


def run(config: Config) -> list[dict]:
    """One row for each seed every `every` steps, with

    excess         cross-entropy above the teacher's own, nats a token
    pr_embeddings  participation ratio of the embeddings' covariance, in [1, d]
    """
    c = config
    starts = zip(*(_start(c, seed) for seed in c.seeds), strict=True)
    tokens, teacher, embeddings, teacher_head, head = map(torch.stack, starts)
    scores = torch.zeros(len(c.seeds), 1, c.d, c.d, dtype=torch.float64)
    logits = _logits(tokens, teacher, scores + 0.2 * torch.eye(c.d), teacher_head)
    target = logits.softmax(-1)
    entropy = _cross_entropy(target, logits)

    learned = [p.requires_grad_() for p in [embeddings, head] + [scores] * (c.arm == "attention")]
    rows = []
    for step in range(c.steps + 1):
        loss = _cross_entropy(target, _logits(tokens, embeddings, None if c.arm == "none" else scores, head))
        gradients = torch.autograd.grad(loss.sum(), learned)
        with torch.no_grad():
            if step % c.every == 0:
                for i, seed in enumerate(c.seeds):
                    kind = dict(seed=seed, arm=c.arm, spike=c.spike, teacher_spike=c.teacher_spike, step=step)
                    ratio = float(participation_ratio(Moments.of(embeddings[i])))
                    rows.append(kind | dict(excess=float(loss[i] - entropy[i]), pr_embeddings=ratio))
            for p, gradient in zip(learned, gradients, strict=True):
                p -= c.rate * gradient
    return rows


def _start(c: Config, seed: int) -> tuple[Tensor, ...]:
    """Tokens, the teacher's embeddings, the student's, the teacher's head, the student's."""
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(c.vocabulary, (c.sequences, c.length), generator=g)
    teacher, embeddings, *heads = (_cloud(c, spike, g) for spike in (c.teacher_spike, c.spike, 1.0, 1.0))
    return tokens, teacher, embeddings, *(c.d**-0.5 * head for head in heads)


def _cloud(c: Config, spike: float, g: torch.Generator) -> Tensor:
    """One Gaussian row a token, total variance d whatever the spike: starts differ in shape, not in size."""
    stretch = torch.ones(c.d, dtype=torch.float64)
    stretch[0] = spike
    return torch.randn(c.vocabulary, c.d, generator=g, dtype=torch.float64) * stretch / stretch.square().mean().sqrt()


def _logits(tokens: Tensor, embeddings: Tensor, scores: Tensor | None, head: Tensor) -> Tensor:
    """Logits of states x_i + sum_j P_ij x_j, x the rows of `embeddings` at the tokens; without scores of x_i alone."""
    x = embeddings[torch.arange(len(embeddings))[:, None, None], tokens]
    # Without Attention.of, whose checks would cost a third of a step: these tokens are ours.
    states = x if scores is None else x + (x @ scores @ x.mT).softmax(-1) @ x
    return states.flatten(1, 2) @ head.mT


def _cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    return -(target * logits.log_softmax(-1)).sum(-1).mean(-1)
