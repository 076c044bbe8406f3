"""Many fine-tunings as one: networks that differ in an arm or a target, side by side along the first axis of weights.

They share initial weights, windows and the order of batches, so each is the pair of every other. Written with
torch.func.vmap: a step of ninety small networks costs that of twenty.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

from isonum_core.errors import IsonumError
from isonum_core.networks.patched import PatchedModel
from isonum_core.worlds.windows import anchored

ARMS = ("none", "istar", "istar_identity", "cosreg", "mean_share", "weight_decay", "dropout", "rate")


class Way(NamedTuple):
    """One way to fine-tune: `value` is a weight in the loss, a decay, a share of states left out, a rate's factor."""

    name: str = "none"
    value: float = 0.0

    def of(self, name: str, otherwise: float = 0.0) -> float:
        """Its value if it is of this kind, `otherwise` if it is of another."""
        return self.value if self.name == name else otherwise


class Body(nn.Module):
    """The part of a patched model that makes the state: context (n, C) -> (n, d)."""

    def __init__(self, model: PatchedModel):
        super().__init__()
        self.config, self.embed, self.trunk, self.read = model.config, model.embed, model.trunk, model.read
        self.trunk.set_attn_implementation("eager")  # the fused kernels have no rule for a stack

    def forward(self, context: Float[Tensor, "n C"]) -> Float[Tensor, "n d"]:
        return self.read(self.seen(context))

    def seen(self, context: Float[Tensor, "n C"]) -> Float[Tensor, "n p"]:
        """What the last layer, `read`, makes the state of: the last states of all patches, side by side."""
        last, scale = anchored(context)
        patches = ((context - last) / scale).unflatten(1, (-1, self.config.patch))
        return self.trunk(inputs_embeds=self.embed(patches)).last_hidden_state.flatten(1)


class Stack:
    """`len(arms)` copies of a body, each with a linear head that starts at zero. `states` and `said` are of all."""

    def __init__(self, body: nn.Module, arms: Iterable[Way], d: int):
        self.arms, self.body = tuple(arms), body
        if unknown := {arm.name for arm in self.arms} - set(ARMS):
            raise IsonumError(f"An arm is one of {', '.join(ARMS)}, got {sorted(unknown)}. Choose one of them.")
        m = len(self.arms)
        # Weights that no state depends on (a table of words that patches bypass) have no slope and stay out.
        own = {name: p.detach() for name, p in body.named_parameters() if "wte" not in name}
        self.weights = {name: p.expand(m, *p.shape).clone().requires_grad_() for name, p in own.items()}
        home = next(iter(own.values()))
        self.head = torch.zeros(m, d, 1, device=home.device, requires_grad=True)
        self.bias = torch.zeros(m, 1, device=home.device, requires_grad=True)
        self._forward = vmap(lambda weights, x: functional_call(body, weights, (x,)), in_dims=(0, None))

    def of(self, name: str, otherwise: float = 0.0) -> Float[Tensor, "m"]:
        """The value of an arm's kind in every network, `otherwise` where its arm is another."""
        return torch.tensor([arm.of(name, otherwise) for arm in self.arms], device=self.head.device)

    def states(self, x: Float[Tensor, "n C"]) -> Float[Tensor, "m n d"]:
        """What each network's head reads."""
        return self._forward(self.weights, x)

    def said(self, h: Float[Tensor, "m n d"]) -> Float[Tensor, "m n"]:
        """What each head says of the states."""
        return (h @ self.head)[..., 0] + self.bias


def penalties(h: Float[Tensor, "m n d"], zeta: float = 0.2) -> dict[str, Float[Tensor, "m"]]:
    """`networks.losses` of each of m clouds: istar with the scale-safe C0 and with the identity, cosreg, mean_share.

    From traces alone: with S = (1 - zeta) C + zeta s I, IsoScore* = (tr(S)^2 / tr(S^2) - 1) / (d - 1).
    """
    n, d = h.shape[1:]
    mean = h.mean(1, keepdim=True)
    c = (h - mean).mT @ (h - mean) / (n - 1)
    trace, square = c.diagonal(dim1=1, dim2=2).sum(1), c.square().sum((1, 2))

    def defect(s: Tensor | float) -> Tensor:
        total = (1 - zeta) * trace + zeta * s * d
        squares = (1 - zeta) ** 2 * square + 2 * zeta * (1 - zeta) * s * trace + zeta**2 * s**2 * d
        return 1 - (total**2 / squares - 1) / (d - 1)

    middle = mean.square().sum((1, 2))
    unit = (h / h.norm(dim=2, keepdim=True).clamp_min(1e-12)).sum(1)
    return {
        "istar": defect(trace / d),
        "istar_identity": defect(1.0),
        "cosreg": (unit.square().sum(1) - n) / (n * (n - 1)),
        "mean_share": middle / (middle + trace),
    }


def tune(
    stack: Stack,
    x: Float[Tensor, "n C"],
    y: Float[Tensor, "m n"],
    order: Int[Tensor, "steps batch"],
    rate: float,
    marks: Collection[int],
    look: Callable[[int], None],
    generator: torch.Generator,
) -> None:
    """Fine-tune every network on its own row of y by squared error plus its penalty; `look(step)` at each mark.

    AdamW's steps at a rate that falls to zero along a line. Factor and decay are a network's own: an update does not
    depend on the size of the weights, so both are applied after it.
    """
    shown = [*stack.weights.values(), stack.head, stack.bias]
    optimiser = torch.optim.AdamW(shown, lr=rate, weight_decay=0.0, fused=True)
    factor, decay, left_out = stack.of("rate", 1.0), stack.of("weight_decay"), stack.of("dropout")
    weights = {name: stack.of(name) for name in ("istar", "istar_identity", "cosreg", "mean_share")}
    alike = bool((factor == 1).all() and (decay == 0).all())
    for step, chosen in enumerate(order):
        if step in marks:
            look(step)
        h = stack.states(x[chosen])
        drawn = torch.rand(h.shape[1:], generator=generator, device=h.device)
        kept = (drawn >= left_out[:, None, None]) / (1 - left_out[:, None, None])
        loss = (stack.said(h * kept) - y[:, chosen]).square().mean(1).sum()
        loss = loss + sum((weights[name] * value).sum() for name, value in penalties(h).items())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        now = optimiser.param_groups[0]["lr"] = rate * (1 - step / len(order))
        before = None if alike else [p.detach().clone() for p in shown]
        optimiser.step()
        for p, old in zip(shown, before or (), strict=bool(before)):
            wide = [-1] + [1] * (p.ndim - 1)
            with torch.no_grad():
                p.copy_(old + factor.view(wide) * (p - old - now * decay.view(wide) * old))
    if len(order) in marks:
        look(len(order))


def path_length(rate: float, steps: int, done: int) -> float:
    """Sum of the rates of `tune` over the first `done` of its steps."""
    return rate * (done - done * (done - 1) / (2 * steps))
