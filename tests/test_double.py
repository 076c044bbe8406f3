"""Networks in float64: the same functions as transformers' own, and nothing on the way that float32 rounds."""

from __future__ import annotations

import copy

import pytest
import torch

from isonum_core.networks.double import double_model
from isonum_core.networks.patched import TRUNKS, Patched, patched_model, read, word_loss
from isonum_core.networks.tiny import Tiny, tiny_model
from isonum_core.networks.train import Training, train

SMALL = dict(d=16, heads=2, context=32, horizon=4, patch=8, words=12, reach=4.0)


def windows(n=8, length=32, seed=0):
    return torch.randn(n, length, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).cumsum(1)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_it_is_the_model_of_transformers_but_for_rounding(trunk):
    model, theirs = double_model(Patched(trunk, **SMALL), 0).eval(), patched_model(Patched(trunk, **SMALL), 0).eval()
    assert torch.get_default_dtype() == torch.float32, "given back"
    weights = {name: w for name, w in model.state_dict().items() if name in theirs.state_dict()}
    assert set(weights) == set(theirs.state_dict())
    theirs.load_state_dict(weights)
    # float32 has 24 bits, and two blocks add a few roundings
    assert torch.allclose(model(windows()), theirs(windows().float()).double(), atol=2e-5)


def test_a_reader_of_words_is_that_of_transformers_too():
    words = Tiny("gpt2", d=16, heads=2, context=24, horizon=4, vocabulary=40)
    model, theirs = double_model(words, 0).eval(), tiny_model(words, 0).eval()
    assert {w.dtype for w in model.parameters()} == {torch.float64}
    theirs.load_state_dict(model.state_dict())
    ids = torch.randint(3, 40, (4, 28), generator=torch.Generator().manual_seed(0))
    # float32 has 24 bits, and two blocks add a few roundings
    assert torch.allclose(model(input_ids=ids).logits, theirs(input_ids=ids).logits.double(), atol=2e-5)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_nothing_on_the_way_is_rounded_to_float32(trunk):
    """A change of 1e-12 of the series comes through in its size: a rounding to float32 would swallow or blow it up."""
    model = double_model(Patched(trunk, **SMALL), 0).eval()
    assert {w.dtype for w in model.parameters()} == {torch.float64}
    x, along = windows(), windows(seed=1)
    moved = (model(x + 1e-12 * along) - model(x)) / 1e-12
    slope = (model(x + 1e-6 * along) - model(x - 1e-6 * along)) / 2e-6
    # in float64 the first quotient is off by 1e-16 / 1e-12 of the logits, which are of size 1
    assert (moved - slope).abs().max() < 1e-2 * slope.abs().max() + 1e-2
    with torch.no_grad():
        assert all(h.dtype == torch.float64 for h in read(model, x).states.values())


@pytest.mark.parametrize("trunk", ["gpt2", "t5", "llama"])
def test_training_spreads_a_rounding_of_the_weights_no_further_than_a_measure_can_bear(trunk):
    model, pool = double_model(Patched(trunk, **SMALL), 0), windows(64, 36)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for w in other.parameters():
            w.mul_(1 + 1e-15)
    for network in (model, other):
        train(network, lambda m, step: word_loss(m, pool[:, :32], pool[:, 32:]), Training(60, 1e-2, clip=1.0))
    apart = (model(windows()) - other(windows())).abs().max()
    assert 0 < apart < 1e-8, "measured: 1e-13 to 1e-11"
