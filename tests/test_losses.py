"""The regularisers: value and slope against autograd in float64, against the published code, and over processes."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
import torch.multiprocessing
import transformers
from torch.utils.flop_counter import FlopCounterMode

from isonum_core.errors import IsonumError
from isonum_core.networks import losses
from isonum_core.networks.losses import Regulariser, cosreg, istar, mean_share_loss, pooled_covariance


def twin(x, zeta, c0):
    """1 - IsoScore* as the paper's algorithm 2 has it, in float64 and with autograd all the way."""
    x = x.double()
    d = x.shape[1]
    c = torch.cov(x.T)
    prior = torch.eye(d, dtype=x.dtype) * (c.trace() / d if c0 is None else 1.0) if not torch.is_tensor(c0) else c0
    if isinstance(c0, float):
        prior = c0 * torch.eye(d, dtype=x.dtype)
    spectrum = torch.linalg.svdvals((1 - zeta) * c + zeta * prior)
    spectrum = spectrum * d**0.5 / spectrum.norm()
    defect = (spectrum - 1).norm() / (2 * (d - d**0.5)) ** 0.5
    return 1 - ((d - defect**2 * (d - d**0.5)) ** 2 - d) / (d * (d - 1))


def slope(loss, x):
    x = x.clone().requires_grad_()
    loss(x).backward()
    return x.grad


def drawn(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape)) * torch.linspace(0.2, 3, shape[-1], dtype=torch.float64) + 0.7


@pytest.mark.parametrize("n, d", [(40, 6), (6, 40), (30, 30)])
@pytest.mark.parametrize("c0", [None, 1.0, 0.3, "full"])
@pytest.mark.parametrize("zeta", [0.0, 0.2, 0.9])
def test_value_and_slope_equal_the_twin(rng, n, d, c0, zeta):
    x = drawn(rng, n, d)
    c0 = torch.cov(drawn(rng, 3 * d, d).T) if c0 == "full" else c0
    assert float(istar(x, zeta=zeta, c0=c0)) == pytest.approx(float(twin(x, zeta, c0)), rel=1e-10, abs=1e-12)
    ours, want = slope(lambda x: istar(x, zeta=zeta, c0=c0), x), slope(lambda x: twin(x, zeta, c0), x)
    # The twin's slope passes through an SVD: rounding of its near-empty directions is some 1e-11 of its size.
    assert (ours - want).norm() <= 1e-9 * want.norm() + 1e-13


def test_value_and_slope_equal_the_published_code(oracles, peer_cloud):
    seen = 0
    for record in oracles["results"]:
        if record["function"].startswith("d isoscore_star/dX") and record["args"].get("C0", "identity") == "identity":
            x = peer_cloud(record["input"]).float()
            zeta, want = record["args"]["zeta"], record["value"]
            got = -slope(lambda x, zeta=zeta: istar(x, zeta=zeta, c0=1.0), x)
            assert float(got.norm()) == pytest.approx(want["grad_frobenius"], rel=1e-5)
            np.testing.assert_allclose(got[0].numpy(), want["grad_row0"], rtol=1e-5, atol=1e-7)
            seen += 1
    assert seen >= 2


def test_the_mean_half_has_its_own_two(rng):
    x = drawn(rng, 50, 7)
    unit = x / x.norm(dim=1, keepdim=True)
    cosines = unit @ unit.T
    assert float(cosreg(x)) == pytest.approx(float(cosines.sum() - 50) / (50 * 49), rel=1e-9)
    mean = x.mean(0)
    want = float(mean @ mean / (mean @ mean + torch.cov(x.T).trace()))
    assert float(mean_share_loss(x)) == pytest.approx(want, rel=1e-9)
    for loss in (cosreg, mean_share_loss):
        assert torch.autograd.gradcheck(loss, (x.requires_grad_(),))


def test_the_spectral_half_ignores_shifts_and_sizes_and_a_fixed_identity_does_not(rng):
    x = drawn(rng, 50, 7)
    for c0 in (None, 1.0):
        assert float(istar(x + 5, c0=c0)) == pytest.approx(float(istar(x, c0=c0)), rel=1e-9)
    assert float(istar(x / 9)) == pytest.approx(float(istar(x)), rel=1e-9)
    assert float(istar(x / 9, c0=1.0)) < 0.5 * float(istar(x, c0=1.0))
    # The gaming: along the slope of a fixed C0 the states shrink; of the scale-safe one they do not.
    assert float((slope(lambda x: istar(x, c0=1.0), x) * x).sum()) > 1e-3
    assert abs(float((slope(istar, x) * x).sum())) < 1e-9


def test_layers_are_pooled_and_padding_is_left_out(rng):
    layers = [torch.from_numpy(rng.normal(size=(3, 5, 4))) * s for s in (1.0, 2.0)]
    mask = torch.ones(3, 5).long()
    mask[0, 2:] = 0
    rows = torch.cat([layer[mask.bool()] for layer in layers])
    for loss in (istar, cosreg, mean_share_loss):
        assert float(loss(layers, mask)) == pytest.approx(float(loss(rows)), rel=1e-9)
        padded = slope(lambda x, loss=loss: loss([x, layers[1]], mask), layers[0])
        assert padded[0, 2:].abs().max() == 0 and padded[0, :2].abs().min() > 0
    with pytest.raises(IsonumError, match="one entry a state"):
        istar(layers, mask[:2])
    with pytest.raises(IsonumError, match="empty list"):
        istar([])


def test_a_pool_is_one_covariance_up_to_its_limit(rng):
    batches = [torch.from_numpy(rng.normal(size=(4, 5, 3))) for _ in range(4)]
    rows = torch.cat([batch.flatten(0, 1) for batch in batches])
    torch.testing.assert_close(pooled_covariance(batches), torch.cov(rows.T))
    torch.testing.assert_close(pooled_covariance(batches, limit=50), torch.cov(rows[:50].T))
    mask = torch.arange(20).reshape(4, 5) % 3 > 0
    kept = torch.cat([batch[mask] for batch in batches])
    torch.testing.assert_close(pooled_covariance([(batch, mask) for batch in batches]), torch.cov(kept.T))
    with pytest.raises(IsonumError, match="at least one batch"):
        pooled_covariance([])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_keeps_the_score_in_float32(rng, dtype):
    x = drawn(rng, 64, 16).to(dtype)  # what a network hands over under autocast
    with torch.autocast("cpu", torch.bfloat16):
        got = istar(x)
        moved = slope(istar, x)
    assert got.dtype == torch.float32 and moved.dtype == dtype
    # Equal to the score of the same numbers: nothing but the numbers themselves is in half precision.
    assert float(got) == pytest.approx(float(istar(x.double())), rel=1e-5)
    big = (x.float() * 200).to(dtype)  # squares leave float16
    assert float(istar(big)) == pytest.approx(float(istar(big.double())), rel=1e-5)


def test_a_regulariser_is_a_weight_and_a_measure(rng):
    x = drawn(rng, 20, 4)
    assert Regulariser("istar", 0.0)(x) == 0.0
    assert float(Regulariser("istar", -0.3, c0=1.0)(x)) == pytest.approx(-0.3 * float(istar(x, c0=1.0)))
    assert float(Regulariser("cosreg", 2.0)(x)) == pytest.approx(2 * float(cosreg(x)))
    with pytest.raises(IsonumError, match="istar, cosreg, mean_share, got 'whiten'"):
        Regulariser("whiten", 1.0)


LOSSES = {"istar": istar, "pooled": lambda x, group: istar(x, c0=torch.eye(5), group=group)}
LOSSES |= {"cosreg": cosreg, "mean_share": mean_share_loss}


def _process(rank, file, x, sent):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    half = x[:13] if rank == 0 else x[13:]  # of unequal size
    world = torch.distributed.group.WORLD
    found = {}
    for name, loss in LOSSES.items():
        found[name] = slope(lambda x, loss=loss: loss(x, group=world), half)
    sent.put((rank, {name: value.numpy() for name, value in found.items()}))
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_slope_of_the_whole_batch(rng, tmp_path):
    x = drawn(rng, 30, 5)
    spawn = torch.multiprocessing.get_context("spawn")
    sent = spawn.SimpleQueue()
    processes = [spawn.Process(target=_process, args=(r, tmp_path / "meet", x, sent)) for r in range(2)]
    for process in processes:
        process.start()
    found = dict(sent.get() for _ in processes)
    for process in processes:
        process.join()
    for name, loss in LOSSES.items():
        # DistributedDataParallel averages over the two, so each holds twice its share.
        both = np.concatenate([found[0][name], found[1][name]]) / 2
        np.testing.assert_allclose(both, slope(lambda x, loss=loss: loss(x, group=None), x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weight", [0.5, -0.5])
def test_ten_lines_put_it_into_a_loop(rng, weight):
    """A weight above zero rounds the states, one below zero flattens them; the targets are the same."""
    x, y = drawn(rng, 256, 12).float(), torch.from_numpy(rng.normal(size=256)).float()
    torch.manual_seed(0)
    body, head = torch.nn.Linear(12, 8), torch.nn.Linear(8, 1)
    before = float(istar(body(x).detach(), zeta=0.0))

    penalty = Regulariser("istar", weight)
    optimiser = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=1e-2)
    for step in range(60):
        batch = torch.arange(64) + 64 * (step % 4)
        h = body(x[batch])
        loss = (head(h)[:, 0] - y[batch]).square().mean() + penalty(h)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    assert weight * (before - float(istar(body(x).detach(), zeta=0.0))) > 0.02


def test_value_and_slope_take_three_products_of_the_states(rng):
    """Counted as torch runs them: products that cost n d min(n, d), forward and backward together."""
    for n, d in ((40, 24), (24, 40)):
        x = drawn(rng, n, d).requires_grad_()
        with FlopCounterMode(display=False) as counter:
            istar(x).backward()
        assert counter.get_total_flops() <= 3 * 2 * n * d * min(n, d)


def test_ten_lines_put_it_into_a_trainer(tmp_path):
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    rows = [dict(input_ids=torch.arange(6) + i, attention_mask=torch.ones(6).long(), labels=i % 2) for i in range(8)]

    class Rounder(transformers.Trainer):
        penalty = Regulariser("istar", 0.5)

        def compute_loss(self, model, inputs, return_outputs=False, **more):
            loss, out = super().compute_loss(model, {**inputs, "output_hidden_states": True}, True, **more)
            loss = loss + self.penalty(out.hidden_states, inputs["attention_mask"])
            return (loss, out) if return_outputs else loss

    how = dict(output_dir=tmp_path, max_steps=20, learning_rate=1e-2, report_to=[], use_cpu=True, disable_tqdm=True)
    args = transformers.TrainingArguments(
        **how, save_strategy="no", logging_strategy="no", per_device_train_batch_size=8
    )

    def score():
        batch = {k: torch.stack([torch.as_tensor(row[k]) for row in rows]) for k in rows[0]}
        with torch.no_grad():
            out = model(**batch, output_hidden_states=True)
        return 1 - float(istar(out.hidden_states, batch["attention_mask"], zeta=0.0))

    before = score()
    Rounder(model=model, args=args, train_dataset=rows).train()
    assert score() > before + 0.05


def test_the_examples_run():
    assert doctest.testmod(losses, extraglobs={"torch": torch}).failed == 0
