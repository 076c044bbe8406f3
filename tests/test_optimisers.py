"""What training conserves, seen in the study and in its parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from isonum_core.errors import IsonumError
from isonum_core.theory.toys.optimisers import ARMS, Optimisers, _direction, _draw, run, train_head

SHORT = Optimisers(seeds=(0, 1), vocabulary=30, unused=4, contexts=8, d=4, steps=60, every=20)


def last(rows, arm, key):
    return [row[key] for row in rows if row["arm"] == arm and row["step"] == SHORT.steps]


def test_the_sum_of_rows_is_conserved_where_the_proof_says_so_and_only_there():
    rows = run(SHORT)
    for arm in ("SGD", "momentum", "label smoothing", "coupled Adam"):
        assert max(last(rows, arm, "drift")) < 1e-14  # 60 steps of rounding
    for arm in ("Adam", "weight decay", "z-loss", "tied SGD", "tied Adam", "Adam, uniform"):
        assert min(last(rows, arm, "drift")) > 1e-4
    for arm in ARMS:
        first = [row["kl"] for row in rows if row["arm"] == arm and row["step"] == 0]
        assert max(last(rows, arm, "kl")) < min(first)


@pytest.mark.parametrize("arm", ["label smoothing", "z-loss", "tied Adam"])
def test_the_excess_is_the_divergence_of_the_forecasts(arm):
    """KL(target || softmax(W h)) a context, whatever else the loss holds; states and weights are of one step."""
    for state in train_head(SHORT, arm):
        for i, seed in enumerate(SHORT.seeds):
            p, frequency, *_ = _draw(SHORT, ARMS[arm], seed)
            q = (state.h[i] @ state.w[i].T).log_softmax(-1)
            kl = (torch.special.xlogy(p, p) - p * q).sum(-1).mean()
            assert float(state.excess[i]) == pytest.approx(float(kl), rel=1e-11)
            assert torch.equal(state.frequency[i], frequency)


def test_weight_decay_shrinks_the_sum_by_exactly_its_factor():
    states = train_head(SHORT, "weight decay")
    arm = ARMS["weight decay"]
    expected = states[0].w.sum(1) * (1 - arm.rate * arm.decay) ** SHORT.steps
    assert (states[-1].w.sum(1) - expected).abs().max() < 1e-13


@pytest.mark.parametrize(
    "rule, peer",
    [
        ("sgd", lambda p: torch.optim.SGD([p], lr=0.1)),
        ("momentum", lambda p: torch.optim.SGD([p], lr=0.1, momentum=0.9)),
        ("adam", lambda p: torch.optim.Adam([p], lr=0.1)),
    ],
)
def test_rules_are_those_of_torch(rule, peer):
    g = torch.Generator().manual_seed(0)
    ours = torch.randn(5, 3, generator=g, dtype=torch.float64)
    theirs = ours.clone().requires_grad_()
    optimiser, moments = peer(theirs), (torch.zeros_like(ours), torch.zeros_like(ours))
    for t in range(1, 30):
        gradient = torch.randn(5, 3, generator=g, dtype=torch.float64)
        theirs.grad = gradient.clone()
        optimiser.step()
        ours = ours - 0.1 * _direction(rule, gradient, moments, t, shared=False)
    assert (ours - theirs).abs().max() < 1e-13


def test_coupled_adam_is_adam_whose_rows_share_one_second_moment():
    g = torch.Generator().manual_seed(0)
    gradient = torch.randn(5, 3, generator=g, dtype=torch.float64)

    def zeros():
        return torch.zeros(5, 3).double(), torch.zeros(5, 3).double()

    found = _direction("coupled", gradient, zeros(), 1, shared=True)
    assert torch.allclose(found, gradient / ((gradient**2).mean(0).sqrt() + 1e-8), rtol=1e-12)
    alone = _direction("coupled", gradient, zeros(), 1, shared=False)
    assert alone.equal(_direction("adam", gradient, zeros(), 1, shared=True))


def test_muon_and_two_sided_shampoo_conserve_the_sum_and_row_normalised_steps_do_not():
    """1^T L G R = 0 where 1 is a left eigenvector of L: 30 steps of each rule, from gradients of a cross-entropy."""
    g = torch.Generator().manual_seed(0)
    h, target = torch.randn(60, 4, generator=g).double() + 1, torch.randint(25, (60,), generator=g)
    start = torch.randn(25, 4, generator=g).double()

    def drift(rule):
        w, left, right = start.clone(), 1e-4 * torch.eye(25).double(), 1e-4 * torch.eye(4).double()
        for _ in range(30):
            w.requires_grad_()
            (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(h @ w.T, target), w)
            left, right = left + gradient @ gradient.T, right + gradient.T @ gradient
            w = w.detach() - 0.05 * rule(gradient, left, right)
        assert (w - start).norm() > 0.1
        return float((w.sum(0) - start.sum(0)).norm())

    def power(m):
        l, q = torch.linalg.eigh(m)
        return q @ torch.diag(l**-0.25) @ q.T

    def muon(gradient, left, right):
        u, _, v = torch.linalg.svd(gradient, full_matrices=False)
        return u @ v

    assert drift(muon) < 1e-12
    assert drift(lambda gradient, left, right: power(left) @ gradient @ power(right)) < 1e-11  # left has condition 1e4
    assert drift(lambda gradient, left, right: torch.nn.functional.normalize(gradient, dim=1)) > 0.1


def test_no_gradient_below_an_untied_head_sees_the_row_gauge():
    """States get W^T q with q summing to zero: the same to rounding, while log Z moves by <a, h>."""
    g = torch.Generator().manual_seed(1)
    h, target = torch.randn(50, 4, generator=g).double(), torch.randint(25, (50,), generator=g)
    w, a = torch.randn(25, 4, generator=g).double(), 7 * torch.randn(4, generator=g).double()
    found = []
    for head in (w, w + a):
        h = h.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(h @ head.T, target), h)
        found.append((gradient, (h @ head.T).logsumexp(1).detach()))
    assert (found[0][0] - found[1][0]).abs().max() < 1e-15 * 50
    assert ((found[1][1] - found[0][1]) - h.detach() @ a).abs().max() < 1e-12


def test_any_row_can_be_computed_alone():
    both = [row for row in run(replace(SHORT, arms=("Adam",))) if row["seed"] == 1]
    alone = run(replace(SHORT, arms=("Adam",), seeds=(1,)))
    assert len(both) == len(alone)
    for a, b in zip(both, alone, strict=True):
        assert a.keys() == b.keys()
        # A batched product may sum in another order: rounding, carried through 60 steps.
        assert all(abs(a[k] - b[k]) < 1e-9 for k in a if k != "arm")


@pytest.mark.parametrize("arm", ["SGD", "label smoothing", "Adam, uniform"])
def test_a_source_is_its_description(arm):
    """Zipf frequencies but for taste, tokens that are never a target, a share of the uniform distribution, entropy."""
    config, how = Optimisers(contexts=4000), ARMS[arm]
    p, frequency, entropy, w, m, e = _draw(config, how, 0)
    floor = how.smoothing / config.vocabulary
    assert torch.allclose(p.sum(1), torch.ones(4000).double(), rtol=1e-13) and torch.equal(frequency, p.mean(0))
    assert p[:, -config.unused :].unique().tolist() == pytest.approx([floor]) and (p[:, : -config.unused] > floor).all()
    assert float(entropy) == pytest.approx(float(torch.distributions.Categorical(p).entropy().mean()), rel=1e-12)
    rank = torch.arange(1, 109).double().log()
    seen = (frequency[:108] - floor).log()
    slope = float(((rank - rank.mean()) * seen).sum() / ((rank - rank.mean()) ** 2).sum())
    assert slope == pytest.approx(-how.zipf, abs=0.2)  # taste moves each token by about half a nat: 0.05 of slope
    # Rows of length 1/3, and a matrix near the identity with entries of deviation 0.1: a fifth is ample at these sizes.
    rms = [float(t.square().sum(1).mean().sqrt()) for t in (w, e, m - torch.eye(8))]
    assert rms == pytest.approx([1 / 3, 1 / 3, 0.1 * 8**0.5], rel=0.2)


def test_an_arm_is_trained_once_and_again_for_another_configuration():
    assert train_head(SHORT, "SGD") is train_head(replace(SHORT), "SGD")
    other = train_head(replace(SHORT, seeds=(1, 0)), "SGD")[-1].w
    assert not other.equal(train_head(SHORT, "SGD")[-1].w)
    # A batched product may sum in another order: rounding, carried through 60 steps.
    assert (other.flip(0) - train_head(SHORT, "SGD")[-1].w).abs().max() < 1e-9


def test_unknown_arm_is_named():
    with pytest.raises(IsonumError, match="A way to train is one of SGD.*got 'adagrad'"):
        train_head(SHORT, "adagrad")
