"""Networks in float64 throughout: what a short training run gives is then a property of its configuration.

Training spreads a rounding error: 1e-7 in the weights becomes 1e-3 to 1e-1 in the measures after 300 steps at rate 1e-2
(float32, two kinds of arithmetic on one machine), and 1e-16 stays below 1e-9. It helps only if nothing on the way is
rounded to float32: neither the first weights, whose draws take another path on each processor, nor a norm.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.activations import NewGELUActivation
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding
from transformers.models.t5.modeling_t5 import T5LayerNorm

from isonum_core.networks.patched import Patched, patched_model
from isonum_core.networks.tiny import Tiny, tiny_model


def double_model(config: Patched | Tiny, seed: int) -> nn.Module:
    """`patched_model` or `tiny_model`, drawn and computed in float64. A seed draws other weights here than there.

    Norms of root mean squares, and the angles of Llama's positions, are rounded to float32 in transformers' classes,
    whatever the weights are: they are replaced by their definitions. GPT-2's activation, eight operations there, is one
    of torch here: a sixth of the time.
    """
    standard = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model = patched_model(config, seed) if isinstance(config, Patched) else tiny_model(config, seed)
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, LlamaRMSNorm | T5LayerNorm):
                    setattr(parent, name, nn.RMSNorm(config.d, eps=child.variance_epsilon))
                elif isinstance(child, NewGELUActivation):
                    setattr(parent, name, nn.GELU("tanh"))
                elif isinstance(child, LlamaRotaryEmbedding):
                    setattr(parent, name, _Angles(child.config.rope_parameters["rope_theta"], config.d // config.heads))
        return model
    finally:
        torch.set_default_dtype(standard)


class _Angles(nn.Module):
    """Cosine and sine of position * base^(-2i/d), each twice, as LlamaRotaryEmbedding returns them."""

    def __init__(self, base: float, d: int):
        super().__init__()
        self.register_buffer("frequency", base ** (-torch.arange(0, d, 2) / d), persistent=False)

    def forward(self, x: Float[Tensor, "..."], position_ids: Int[Tensor, "b T"]) -> tuple[Tensor, Tensor]:
        angles = (position_ids[..., None] * self.frequency).repeat(1, 1, 2)
        return angles.cos(), angles.sin()
