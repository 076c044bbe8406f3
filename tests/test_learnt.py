"""Networks that have learnt, read at every site: errors and ridge by hand, twins, lengths, and steady numbers."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score, mean_cosine
from isonum_core.lab.engine import one_thread
from isonum_core.networks.double import double_model
from isonum_core.networks.patched import Patched, patched_model, read, word_loss
from isonum_core.networks.train import Training, train
from isonum_core.studies import families, learnt, trunks
from isonum_core.studies.families import FamilyNet, run
from isonum_core.studies.learnt import (
    CONTEXT,
    EVERY,
    HALVES,
    HORIZON,
    RECIPES,
    TEST,
    TOLERANCES,
    anchored_rows,
    at_sites,
    family_of,
    shape,
)
from isonum_core.worlds.fresh import FRESH
from isonum_core.worlds.roots import STEADY

SMALL = dataclasses.replace(RECIPES["quick"], steps=4, test=40, pool=80)
FAMILY = EVERY["sine_noise"]


@pytest.fixture(autouse=True)
def one():
    one_thread()


@pytest.fixture
def series():
    return FAMILY.draw(0.3, 144, np.random.default_rng([TEST, 0]), 40)


def twin(trunk="gpt2"):
    return learnt.learnt(trunk, 0, np.empty((0, 144)), SMALL, 1e-2, 0)


def test_the_families_are_the_46_with_steady_draws_and_the_fresh_ones():
    assert (
        len(EVERY) == 46 + len(FRESH)
        and EVERY["gp_scale"] is STEADY["gp_scale"]
        and family_of("lorenz").name == "lorenz"
    )
    with pytest.raises(IsonumError, match="A family is one of fgn"):
        family_of("nothing")


def test_every_number_of_the_read_site_by_hand(series):
    model, pool = twin(), learnt.pool_of(FAMILY, 0, SMALL)
    rows = at_sites(model, series, 24, learnt.line(pool))
    assert [row["site"] for row in rows] == ["embed", "block1", "block2", "read"]
    found, c, y = rows[-1], series[:, :128], series[:, 128:]
    reading = read(model, torch.tensor(c))
    p, z = reading.said.p.numpy(), (y - c[:, -1:]) / c.std(1, keepdims=True)
    word = np.abs(z[..., None] - np.linspace(-5, 5, 64)).argmin(2)
    nll = -np.log(np.take_along_axis(p, word[..., None], 2))
    assert found["nll"] == pytest.approx(nll.mean(), rel=1e-5)
    assert found["nll_one"] == pytest.approx(nll[:, 0].mean(), rel=1e-5)
    assert found["entropy_one"] == pytest.approx(-(p[:, 0] * np.log(p[:, 0])).sum(1).mean(), rel=1e-5)
    network = c[:, -1:] + c.std(1, keepdims=True) * (p @ np.linspace(-5, 5, 64))
    x = anchored_rows(pool)
    assert len(pool) == 80
    alpha = learnt.line(pool).alpha_
    fit = Ridge(alpha).fit(x[:, :CONTEXT], x[:, CONTEXT:].clip(-5, 5))
    ridge = c[:, -1:] + c.std(1, keepdims=True) * fit.predict((c - c[:, -1:]) / c.std(1, keepdims=True))
    for ending, steps in (("", 16), ("_one", 1)):
        naive = (np.repeat(c[:, -1:], 16, 1), c[:, 104:120], np.repeat(c.mean(1, keepdims=True), 16, 1))

        def error(said, steps=steps):
            return ((y - said)[:, :steps] ** 2 / c.var(1, keepdims=True)).mean()

        best = min(map(error, naive))
        assert found[f"skill{ending}"] == pytest.approx(1 - error(network) / best, rel=1e-4)
        assert found[f"ridge{ending}"] == pytest.approx(1 - error(ridge) / best, rel=1e-4)
    for row, name in zip(rows, ("embed", "block.0", "block.1", "read"), strict=True):
        m = Moments.of(reading.states[name])
        assert row["mean_cosine"] == pytest.approx(float(mean_cosine(m)), rel=1e-5)
        assert row["iso_score"] == pytest.approx(float(iso_score(m)), rel=1e-5)
    assert found["log_i"] < 0 and all(row["nll"] is None and row["log_i"] is None for row in rows[:-1])


def test_a_twin_has_the_first_weights_and_no_ridge(series):
    model = twin()
    first = double_model(shape("gpt2", SMALL), 0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), first.parameters(), strict=True))
    found = at_sites(model, series, 24, None)[-1]
    assert found["ridge"] is None and found["ridge_one"] is None and found["skill"] is not None


def test_t5_has_two_blocks_beside_two_and_an_eighth_more_weights():
    sizes = {
        trunk: sum(w.numel() for w in double_model(shape(trunk, RECIPES["cpu"]), 0).parameters())
        for trunk in RECIPES["cpu"].rates
    }
    others = [size for trunk, size in sizes.items() if trunk != "t5"]
    assert max(others) <= 1.02 * min(others) and 1.1 < sizes["t5"] / sizes["gpt2"] < 1.13
    rows = at_sites(twin("t5"), FAMILY.draw(0.3, 144, np.random.default_rng(0), 40), 24, None)
    assert [row["site"] for row in rows] == ["embed", "block1", "block2", "block3", "block4", "read"]


@pytest.mark.parametrize("trunk", RECIPES["cpu"].rates)
def test_a_training_is_a_function_of_its_configuration_and_bears_a_rounding(trunk, monkeypatch):
    pool = learnt.pool_of(FAMILY, 0, SMALL)
    a, b = (learnt.learnt(trunk, 0, pool, SMALL, 3e-3, 8) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))

    def shaken(config, seed):
        model = double_model(config, seed)
        with torch.no_grad():
            for w in model.parameters():
                w.mul_(1 + 4e-16)
        return model

    monkeypatch.setattr(learnt, "double_model", shaken)
    c = learnt.learnt(trunk, 0, pool, SMALL, 3e-3, 8)
    assert max(float((x - y).detach().abs().max()) for x, y in zip(a.parameters(), c.parameters(), strict=True)) < 1e-9


def test_constant_windows_leave_numbers_missing_and_states_do_not():
    flat = np.ones((40, 144))
    assert all(
        value is None for row in at_sites(twin(), flat, 1, None) for name, value in row.items() if name != "site"
    )
    assert set(HALVES) < set(learnt.COLUMNS) == set(learnt.MAY_BE_MISSING)


def test_the_rate_has_fallen_to_zero_at_the_end_of_every_length(monkeypatch):
    said = []
    monkeypatch.setattr(learnt, "train", lambda model, loss, training: said.append(training))
    for steps in (10, 300):
        learnt.learnt("gpt2", 0, learnt.pool_of(FAMILY, 0, SMALL), SMALL, 1e-2, steps)
    assert [t.warmup for t in said] == [1, 15]
    assert all(t.rate_at(t.steps - 1) < 0.05 * t.rate for t in said) and said[1].rate_at(14) == 1e-2


def test_the_training_step_of_the_gpu_profile_is_rehearsed_without_a_gpu():
    """Shapes alone, on the meta device: the widths of the profile, its batch, and a step back through every trunk."""
    recipe = RECIPES["gpu"]
    for trunk in recipe.rates:
        model = copy.deepcopy(double_model(shape(trunk, recipe), 0)).to("meta")
        x = torch.empty(recipe.batch, CONTEXT, dtype=torch.float64, device="meta")
        logits = model(x)
        assert logits.shape == (recipe.batch, 16, 64)
        logits.sum().backward()
        assert all(w.grad is None or w.grad.shape == w.shape for w in model.parameters())


OTHER = dict(
    ATEN_CPU_CAPABILITY="default", ONEDNN_MAX_CPU_ISA="SSE41", MKL_CBWR="COMPATIBLE", OPENBLAS_CORETYPE="Nehalem"
)


def test_another_kind_of_arithmetic_gives_the_same_row():
    """The oldest kernels that the libraries have, in a process of its own; a smooth family."""
    script = (
        "from isonum_core.lab.engine import one_thread; one_thread()\n"
        "import json\nfrom isonum_core.studies.families import FamilyNet, run\n"
        "print(json.dumps(run(FamilyNet('gp_scale', 'gpt2', 0, True, 'quick'))[-1]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | OTHER)
    assert done.returncode == 0, done.stderr
    there, here = json.loads(done.stdout), run(FamilyNet("gp_scale", "gpt2", 0, True, "quick"))[-1]
    for name, value in here.items():
        if name != "site":
            assert abs(there[name] - value) <= TOLERANCES[name]["cpu"] * max(1.0, abs(value)), name


def test_fitting_is_the_training_loop_on_rows_in_the_order_drawn_in_the_model_s_precision():
    pool, sizes = (
        np.random.default_rng(0).normal(size=(50, 36)).cumsum(1),
        Patched("gpt2", 16, context=32, horizon=4, patch=8),
    )
    order, how = np.random.default_rng(7).integers(50, size=(4, 8)), Training(4, 1e-2, warmup=20, final=0.0, clip=1.0)
    for made in (patched_model, double_model):
        found, model = learnt.fitted(made(sizes, 3), pool, np.random.default_rng(7), 8, how), made(sizes, 3)
        rows = torch.tensor(pool, dtype=next(model.parameters()).dtype)
        train(model, lambda m, step, rows=rows: word_loss(m, rows[order[step], :32], rows[order[step], 32:]), how)
        assert all(torch.equal(x, y) for x, y in zip(found.parameters(), model.parameters(), strict=True))
        assert not found.training and next(found.parameters()).dtype == rows.dtype


def test_sizes_of_one_s_own_take_the_place_of_a_trunk_s_shape():
    rows = np.random.default_rng(0).normal(size=(60, 36)).cumsum(1)
    model = learnt.learnt(Patched("gpt2", 16, context=32, horizon=4, patch=8), 0, rows, SMALL, 1e-2, 3)
    ridge = learnt.line(rows, 32)
    found = at_sites(model, rows[:40], 1, ridge)[-1]
    x = (rows[:40] - rows[:40, 31:32]) / rows[:40, :32].std(1, keepdims=True)
    again = Ridge(ridge.alpha_).fit((y := anchored_rows(rows, 32))[:, :32], y[:, 32:].clip(-5, 5))
    said = rows[:40, 31:32] + rows[:40, :32].std(1, keepdims=True) * again.predict(x[:, :32])
    assert np.allclose(learnt.by_line(ridge, rows[:40, :32]), said, rtol=1e-9)  # two solvers of one least squares
    assert model.config.horizon == 4 and found["ridge"] is not None and found["log_i"] < 0


def test_contexts_that_hardly_move_do_not_decide_the_ridge():
    rng = np.random.default_rng(0)
    quiet = np.hstack([rng.normal(size=(4, CONTEXT)) * 1e-6, np.ones((4, HORIZON))])
    pool = np.vstack([np.repeat(rng.normal(size=(200, 1)), CONTEXT + HORIZON, 1) + rng.normal(size=(200, 144)), quiet])
    assert abs(learnt.line(pool).predict(anchored_rows(pool)[:, :CONTEXT])).max() < 5


def test_long_trainings_are_provisional_and_twins_are_not():
    assert families.provisional(FamilyNet("fgn", "gpt2", 0, True, "cpu")) == set(families.TOLERANCES)
    assert not families.provisional(FamilyNet("fgn", "gpt2", 0, False, "cpu"))
    assert not families.provisional(FamilyNet("fgn", "gpt2", 0, True, "quick"))
    assert trunks.provisional(FamilyNet("fgn", "t5", 0, True, "cpu"))
