"""Transfer constants against solved systems, finite changes and regressions; the guarantee over random students."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.theory.divergence import forecast_mean, forecast_variance, kl_divergence, logit_error, spread
from isonum_core.theory.gauges import centre_rows, linear_gauge, row_gauge
from isonum_core.theory.loglinear import fisher_information, log_partition, logits, mean_embedding, probabilities
from isonum_core.theory.transfer import (
    centred_readout_constant,
    forecast_constant,
    hidden_readout_constant,
    is_vacuous,
    logit_readout_constant,
    raw_logit_constant,
    rms_guarantee,
    shift_susceptibility,
    transfer_constant,
)

seeds = st.integers(0, 2**32 - 1)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 6))
def test_constants_are_the_solved_system(seed, d):
    w, h, c = normal(seed, 20, d), normal(seed + 1, 9, d), normal(seed + 2, 9, d)
    fisher = fisher_information(w, h)
    slow = (c * torch.linalg.solve(fisher, c)).sum(-1)
    # Solving with F squares the condition number, which the constants themselves avoid.
    tol = 1e-14 * torch.linalg.cond(fisher) + 1e-12
    assert ((transfer_constant(w, h, c) / slow - 1).abs() < tol).all()
    m = mean_embedding(w, h)
    slow = (m * torch.linalg.solve(fisher, m)).sum(-1)
    assert ((shift_susceptibility(w, h) - slow).abs() < tol * (1 + slow)).all()
    a, beta = normal(seed + 3, 20), normal(seed + 4, d)
    assert logit_readout_constant(w, h, a).allclose(transfer_constant(w, h, (w.T @ a).expand(9, d)))
    assert centred_readout_constant(w, h, a).allclose(logit_readout_constant(w, h, a - a.mean()))
    assert hidden_readout_constant(w, h, beta).allclose(transfer_constant(w, h, beta.expand(9, d)))


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 6))
def test_susceptibility_is_the_distance_from_the_constant_vector(seed, d):
    """1 / (1 + S) = min_u E_p (1 - <w, u>)^2, by least squares; infinite when that is zero."""
    w, h = normal(seed, 20, d), normal(seed + 1, d)
    root = probabilities(w, h).sqrt()
    u = torch.linalg.lstsq(root[:, None] * w, root[:, None], driver="gelsd").solution
    distance_sq = ((root * (1 - (w @ u).squeeze(-1))) ** 2).sum()
    assert abs(raw_logit_constant(w, h) * distance_sq - 1) < 1e-10
    w[:, 0] = 2.0
    assert shift_susceptibility(w @ (normal(seed + 2, d, d) + 4 * torch.eye(d, dtype=torch.float64)), h).isinf()


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_each_constant_is_attained_and_never_exceeded_by_small_changes(seed):
    w, h = normal(seed, 20, 5), normal(seed + 1, 5)
    fisher = fisher_information(w, h)
    a, beta, values = normal(seed + 2, 20), normal(seed + 3, 5), normal(seed + 4, 20)
    readouts = {  # how each read-out answers a change dh, next to its constant and gradient
        "raw": (lambda x: a @ logits(w, x), logit_readout_constant(w, h, a), a @ w),
        "centred": (
            lambda x: a @ (logits(w, x) - logits(w, x).mean()),
            centred_readout_constant(w, h, a),
            a @ centre_rows(w),
        ),
        "hidden": (lambda x: beta @ x, hidden_readout_constant(w, h, beta), beta),
        "forecast": (
            lambda x: values @ probabilities(w, x),
            forecast_constant(w, h, values),
            (values * probabilities(w, h)) @ (w - mean_embedding(w, h)),
        ),
    }
    for name, (g, kappa, gradient) in readouts.items():
        x = h.clone().requires_grad_()
        assert (torch.autograd.grad(g(x), x)[0] - gradient).abs().max() < 1e-12 * (1 + gradient.abs().max()), name
        best = torch.linalg.solve(fisher, gradient)
        changes = torch.cat([normal(seed + 5, 200, 5), best[None]])
        changes = 1e-5 * changes / torch.einsum("ia,ab,ib->i", changes, fisher, changes).sqrt()[:, None]
        moved = torch.stack([g(h + dh) for dh in changes])
        ratio = (moved - g(h)) ** 2 / (2 * kl_divergence(logits(w, h).expand(201, 20), changes @ w.T))
        # What is left beyond first order is |dz|, near 1e-5, times the curvature of g.
        assert (ratio <= kappa * (1 + 1e-3) + 1e-12).all(), name
        assert abs(ratio[-1] / kappa - 1) < 1e-3, name
    # raw logits as a whole: E_p dz^2 / (2 KL) up to 1 + S, attained along F^-1 m; centred: exactly 1
    dh = torch.linalg.solve(fisher, mean_embedding(w, h))
    dz = w @ (1e-5 * dh / (dh @ fisher @ dh).sqrt())
    z = logits(w, h)
    kl = kl_divergence(z, dz)
    assert abs(forecast_mean(z, dz**2) / (2 * kl) / raw_logit_constant(w, h) - 1) < 1e-3
    assert abs(forecast_variance(z, dz) / (2 * kl) - 1) < 1e-3


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_who_sees_which_gauge(seed):
    w, h, a, psi = normal(seed, 20, 5), normal(seed + 1, 4, 5), normal(seed + 2, 20), normal(seed + 3, 4, 20)
    moved = row_gauge(w, 3 * normal(seed + 4, 5))
    blind = (lambda v: centred_readout_constant(v, h, a), lambda v: hidden_readout_constant(v, h, a[:5]))
    for f in (*blind, lambda v: forecast_constant(v, h, psi)):
        assert f(moved).allclose(f(w), rtol=1e-9)
    assert not logit_readout_constant(moved, h, a).allclose(logit_readout_constant(w, h, a), rtol=1e-3)
    assert not raw_logit_constant(moved, h).allclose(raw_logit_constant(w, h), rtol=1e-3)
    w2, h2 = linear_gauge(w, h, torch.diag(torch.tensor([1.0, 2.0, 0.5, 4.0, 0.1]).double()))
    for f in (
        raw_logit_constant,
        lambda v, x: centred_readout_constant(v, x, a),
        lambda v, x: forecast_constant(v, x, psi),
    ):
        assert f(w2, h2).allclose(f(w, h), rtol=1e-9)
    assert not hidden_readout_constant(w2, h2, a[:5]).allclose(hidden_readout_constant(w, h, a[:5]), rtol=1e-3)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_spectrum_free_forms(seed):
    w, h, psi = normal(seed, 20, 5), normal(seed + 1, 5), normal(seed + 2, 20)
    p = probabilities(w, h)
    root = p.sqrt()[:, None]
    rows, y = root * (w - mean_embedding(w, h)), root.squeeze(-1) * (psi - p @ psi)
    fitted = rows @ torch.linalg.lstsq(rows, y[:, None]).solution.squeeze(-1)
    assert abs(forecast_constant(w, h, psi) / (fitted @ fitted) - 1) < 1e-9  # explained variance of the regression
    assert forecast_constant(w, h, psi) <= y @ y * (1 + 1e-12)
    zero, centred = torch.zeros(5, dtype=torch.float64), centre_rows(w)
    projected = centred @ torch.linalg.pinv(centred) @ psi
    assert abs(centred_readout_constant(w, zero, psi) / (20 * projected @ projected) - 1) < 1e-10
    l = torch.linalg.eigvalsh(fisher_information(w, h))
    directions = normal(seed + 3, 300, 5)
    directions = directions / directions.norm(dim=1, keepdim=True)
    found = transfer_constant(w, h.expand(300, 5), directions)
    assert found.max() <= (1 + 1e-9) / l[0] and found.min() >= (1 - 1e-9) / l[-1]
    assert (1 / l).mean() >= 5 / l.sum() * (1 - 1e-12)


tightest = []


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(3, 40), st.integers(1, 8))
def test_guarantee_holds_for_every_student(seed, n_tokens, d):
    """300 students per example, 15,000 in all: any hidden state, the same head, delta the actual |log Z' - log Z|."""
    w = normal(seed, n_tokens, d)
    scale = 10 ** (4 * torch.rand(300, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 3)
    h = normal(seed + 1, 300, d)
    dh = scale * normal(seed + 2, 300, d)
    z, dz = logits(w, h), dh @ w.T
    e = logit_error(z, dz)
    delta = (log_partition(w, h + dh) - log_partition(w, h)).abs()
    bound = rms_guarantee(e.kl, spread(dz), delta)
    rms = e.mean_square.sqrt()
    assert (rms <= bound * (1 + 1e-9)).all()
    tightest.append(float((rms / bound).max()))


def test_guarantee_is_not_idle_and_knows_when_it_is_vacuous():
    test_guarantee_holds_for_every_student()
    assert max(tightest) > 0.9
    zero = torch.zeros(2, dtype=torch.float64)
    delta = torch.tensor([0.5, 2.0], dtype=torch.float64)
    bound = rms_guarantee(zero, zero, delta)
    assert bound.equal(delta)  # nothing left but delta at KL = 0
    assert is_vacuous(bound, torch.ones_like(delta)).tolist() == [False, True]


def test_a_kernel_direction_gives_infinity_and_others_stay_finite():
    w = normal(0, 20, 5)
    w[:, 4] = w[:, 3]
    h, c = normal(1, 5), torch.tensor([1.0, 0, 0, 1, 1], dtype=torch.float64)
    assert transfer_constant(w, h, c).isfinite()
    assert transfer_constant(w, h, torch.eye(5, dtype=torch.float64)[4]).isinf()
    assert shift_susceptibility(w, h).isfinite()  # W v = 0 hides nothing from the logits
    # the same answer as the head without the duplicate, read in the sum of the two coordinates
    small = transfer_constant(w[:, :4], h[:4] + h[4] * torch.eye(4, dtype=torch.float64)[3], c[:4])
    assert abs(transfer_constant(w, h, c) / small - 1) < 1e-12


def test_a_forecast_that_is_certain_has_no_constant():
    with pytest.raises(IsonumError, match="almost all mass on few tokens; use a smaller"):
        shift_susceptibility(normal(0, 20, 5), 1e3 * normal(1, 5))


def test_gradcheck():
    w, h, c = (normal(k, *shape).requires_grad_() for k, shape in enumerate([(9, 3), (2, 3), (2, 3)]))
    assert torch.autograd.gradcheck(transfer_constant, (w, h, c))
