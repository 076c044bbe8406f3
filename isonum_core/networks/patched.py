"""A patched log-linear model: a transformer reads patches of a series, a softmax over number-words says what follows.

Number-words are bins of the anchored value, as in a quantising tokeniser; but the context enters as patches of numbers
and not as words, because small models that read word by word learn too slowly to forecast anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
import transformers
from jaxtyping import Float
from torch import Tensor, nn

from isonum_core.errors import IsonumError
from isonum_core.networks.forecast import Predictive, Reading, word_ids
from isonum_core.networks.sites import Site, find, listening
from isonum_core.networks.tiny import configured
from isonum_core.worlds.windows import anchored


@dataclass(frozen=True)
class Patched:
    """Sizes. `trunk` is a key of TRUNKS; `words` bins lie evenly between -reach and reach standard deviations."""

    trunk: str
    d: int = 32
    layers: int = 2
    heads: int = 4
    context: int = 128
    horizon: int = 16
    patch: int = 16
    words: int = 64
    reach: float = 5.0


class PatchedModel(nn.Module):
    """context (n, C) -> logits (n, H, V): logits of step t are W_t h, with one state h in R^d a window.

    h, the state that is read out, is linear in the last states of all patches. Build it with `patched_model`.
    """

    def __init__(self, config: Patched):
        super().__init__()
        self.config = config
        trunk, more = TRUNKS[config.trunk]
        self.trunk = trunk(configured(config.trunk, config, **more(config)))
        patches = config.context // config.patch
        # Trunks of PatchTST's kind cut the series themselves; the others are given one vector a patch.
        self.embed = None if config.trunk.startswith("patch") else nn.Linear(config.patch, config.d)
        # A decoder beside an encoder starts from one learnt vector a patch.
        self.starts = nn.Parameter(torch.randn(patches, config.d)) if self.trunk.config.is_encoder_decoder else None
        self.read = nn.Linear(patches * config.d, config.d)
        self.more_sites = {"read": self.read}  # what `networks.sites` finds between the blocks and the heads
        self.heads = nn.Linear(config.d, config.horizon * config.words, bias=False)
        self.register_buffer("centres", torch.linspace(-config.reach, config.reach, config.words))

    def forward(self, context: Float[Tensor, "n C"]) -> Float[Tensor, "n H V"]:
        last, scale = anchored(context)
        x = (context - last) / scale
        given = {"past_values": x[..., None]}
        if self.embed is not None:
            given = {"inputs_embeds": self.embed(x.unflatten(1, (-1, self.config.patch)))}
        if self.starts is not None:
            given["decoder_inputs_embeds"] = self.starts.expand(len(x), -1, -1)
        h = self.read(self.trunk(**given).last_hidden_state.flatten(1))
        return self.heads(h).view(len(context), self.config.horizon, -1)

    @property
    def table(self) -> Float[Tensor, "V d"]:
        """Output embeddings of the words one step ahead: the W of the log-linear model."""
        return self.heads.weight[: self.config.words]

    @property
    def base_model(self) -> nn.Module:
        """Where `networks.sites` finds the blocks."""
        return self.trunk


@torch.no_grad()
def read(model: PatchedModel, context: Float[Tensor, "n C"]) -> Reading:
    """One pass over the windows, on the model's device in its precision: forecast in float64, and states.

    The states are those of the last patch at each site of `networks.sites`, and `read`, one a window, that the heads
    read: forecasts of the first step are softmax(table read).
    """
    home, met = model.centres, {}
    x = context.to(home.device, home.dtype)

    def receive(site: Site, states: Tensor) -> None:
        met[site.name] = states.detach().reshape(len(x), -1, states.shape[-1])[:, -1]

    with listening(find(model), receive):
        p = model(x).double().softmax(-1).cpu()
    last, scale = anchored(context.double())
    return Reading(Predictive(p, home.double().cpu(), last.cpu(), scale.cpu()), met)


def word_loss(model: PatchedModel, context: Float[Tensor, "n C"], target: Float[Tensor, "n H"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of the words that came, in nats a word: what the model trains on."""
    last, scale = anchored(context)
    ids = word_ids((target - last) / scale, model.centres)
    return F.cross_entropy(model(context).flatten(0, 1), ids.flatten())


def patched_model(config: Patched, seed: int) -> PatchedModel:
    """The model with random weights that the seed decides, in float32 on the CPU, in training mode, without dropout.

    Raises IsonumError on an unknown trunk and on sizes that do not divide.
    """
    if config.trunk not in TRUNKS:
        raise IsonumError(f"A trunk is one of {', '.join(TRUNKS)}, got {config.trunk!r}. Choose one of them.")
    if config.d % (2 * config.heads) or config.context % config.patch or config.words < 2:
        raise IsonumError(
            "A patched model needs d divisible by 2 heads, context by patch, and at least two words, got "
            f"d={config.d}, heads={config.heads}, context={config.context}, patch={config.patch}, "
            f"words={config.words}. Change the one that is off."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PatchedModel(config).train()


# Class, and what its configuration says beside the sizes. Feed-forward widths are chosen so that all models have the
# same number of parameters to 2 %; T5 has half of its blocks in the encoder, half in the decoder. Patches come as
# vectors, so one word is enough.
ONE = dict(vocab_size=1, bos_token_id=0, eos_token_id=0, pad_token_id=0)
TRUNKS = {
    "gpt2": (transformers.GPT2Model, lambda c: dict(max_position_embeddings=c.context // c.patch, **ONE)),
    "llama": (transformers.LlamaModel, lambda c: dict(intermediate_size=8 * c.d // 3, **ONE)),
    "bert": (
        partial(transformers.BertModel, add_pooling_layer=False),
        lambda c: dict(max_position_embeddings=c.context // c.patch, intermediate_size=4 * c.d, **ONE),
    ),
    "t5": (
        transformers.T5Model,
        lambda c: (
            dict(d_kv=c.d // c.heads, d_ff=(3 if c.layers < 4 else 1) * c.d, num_decoder_layers=c.layers // 2, **ONE)
            | dict(num_hidden_layers=c.layers - c.layers // 2)
        ),
    ),
    "patchtst": (transformers.PatchTSTModel, lambda c: dict(ffn_dim=4 * c.d)),
    "patchtsmixer": (transformers.PatchTSMixerModel, lambda c: dict(expansion_factor=5)),
}
