"""What no machine here can run, rehearsed: a training step of each study's gpu profile, on the meta device.

That device holds shapes and no numbers, and refuses a mix of devices as an accelerator does. The study's own `run` is
called with it, up to the training; there one step goes forward, back, and into the optimiser. A study that pre-trains
and tunes is met at its first training; the tuning of `istar_stack` looks at numbers on its way and is not rehearsed.
"""

from __future__ import annotations

import importlib
import sys

import pytest
import torch
import transformers

from isonum_core.lab.engine import one_thread
from isonum_core.lab.study import find_study, study_titles
from isonum_core.networks import train as training

STUDIES = [name for name in study_titles() if find_study(name).takes_device]


class Rehearsed(Exception):
    """The step was taken."""


def one_step(model, loss, how, *rest, optimiser=None):
    places = {w.device.type for w in [*model.parameters(), *model.buffers()]}
    assert places == {"meta"}, "the network went to the device, whole"
    assert isinstance(how, training.Training)
    value = loss(model, 0)
    assert value.device.type == "meta" and value.shape == ()
    value.backward()
    moved = [w for w in model.parameters() if w.grad is not None]
    assert moved and all(w.grad.device.type == "meta" for w in moved)
    torch.optim.AdamW(moved, lr=how.rate).step()  # the fused one has no kernel for shapes alone
    raise Rehearsed


@pytest.fixture
def rehearsing(monkeypatch):
    for name in STUDIES:
        importlib.import_module(f"isonum_core.studies.{name}")
    for name, module in list(sys.modules.items()):
        if name.startswith("isonum_core.studies") and getattr(module, "train", None) is training.train:
            monkeypatch.setattr(module, "train", one_step)
    # Both look at numbers before the first step; neither is a part of it.
    pretraining = sys.modules["isonum_core.studies.pretraining"]
    monkeypatch.setattr(pretraining, "told", lambda *given: {})
    monkeypatch.setattr(pretraining, "of_table", lambda *given: {})
    monkeypatch.setattr(transformers.PreTrainedModel, "warn_if_padding_and_no_attention_mask", lambda *given: None)


def first(name):
    """The first configuration of the gpu profile that trains; of real sets the first that comes with a package."""
    every = (c for c in find_study(name).grid("gpu") if getattr(c, "dataset", "elnino") == "elnino")
    return next(c for c in every if getattr(c, "trained", True) and getattr(c, "steps", 1))


@pytest.mark.parametrize("name", STUDIES)
def test_a_training_step_of_every_study_goes_through_on_another_device(name, rehearsing):
    with pytest.raises(Rehearsed):
        find_study(name).run(first(name), device="meta")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch sees: make gpu")
@pytest.mark.parametrize("name", ["families", "trunks", "convergence"])
def test_a_quick_row_on_the_gpu_is_that_of_the_cpu(name):
    one_thread()
    study = find_study(name)
    config = next(c for c in study.grid("quick") if getattr(c, "trained", True))
    here, there = study.run(config, device="cpu"), study.run(config, device="cuda")
    for one, other in zip(here, there, strict=True):
        for column, value in one.items():
            if isinstance(value, float):
                assert other[column] == pytest.approx(value, abs=study.tolerances[column]["cuda"] * max(1, abs(value)))
            else:
                assert other[column] == value
