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
    readout_spectrum,
    rms_guarantee,
    shared_head_guarantee,
    shift_susceptibility,
    transfer_constant,
)

seeds = st.integers(0, 2**32 - 1)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def logit_readout_constant(w, h, a):
    """kappa of g = <a, z>, a sum of raw logits."""
    return transfer_constant(w, h, (a @ w).expand(h.shape))


def centred_readout_constant(w, h, a):
    """kappa of g = <a, z - mean(z) 1>, a sum of centred logits."""
    return transfer_constant(w, h, (a @ centre_rows(w)).expand(h.shape))


def hidden_readout_constant(w, h, beta):
    """kappa of g = <beta, h>, a probe of the hidden state."""
    return transfer_constant(w, h, beta.expand(h.shape))


def forecast_constant(w, h, psi):
    """kappa of a functional of p with influence function psi: Var_p(psi) times R^2 of psi on the rows of W under p."""
    p = probabilities(w, h)
    return transfer_constant(w, h, (p * (psi - (p * psi).sum(-1, keepdim=True))) @ w)


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


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 6))
def test_susceptibility_is_the_distance_from_the_constant_vector(seed, d):
    """1 / (1 + S) = min_u E_p (1 - <w, u>)^2, by least squares; infinite when that is zero."""
    w, h = normal(seed, 20, d), normal(seed + 1, d)
    root = probabilities(w, h).sqrt()
    u = torch.linalg.lstsq(root[:, None] * w, root[:, None], driver="gelsd").solution
    distance_sq = ((root * (1 - (w @ u).squeeze(-1))) ** 2).sum()
    assert abs((1 + shift_susceptibility(w, h)) * distance_sq - 1) < 1e-10
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
    assert abs(forecast_mean(z, dz**2) / (2 * kl) / (1 + shift_susceptibility(w, h)) - 1) < 1e-3
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
    assert not shift_susceptibility(moved, h).allclose(shift_susceptibility(w, h), rtol=1e-3)
    w2, h2 = linear_gauge(w, h, torch.diag(torch.tensor([1.0, 2.0, 0.5, 4.0, 0.1]).double()))
    for f in (
        shift_susceptibility,
        lambda v, x: centred_readout_constant(v, x, a),
        lambda v, x: forecast_constant(v, x, psi),
    ):
        assert f(w2, h2).allclose(f(w, h), rtol=1e-9)
    assert not hidden_readout_constant(w2, h2, a[:5]).allclose(hidden_readout_constant(w, h, a[:5]), rtol=1e-3)
    s, m = shift_susceptibility(w, h), mean_embedding(w2, h2).square().sum(-1)  # S / (1 + S) caps the mean share
    spread_of_rows = fisher_information(w2, h2).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert (m / (m + spread_of_rows) < s / (1 + s)).all()


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


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 6))
def test_a_probe_in_its_own_unit_sees_no_gauge(seed, d):
    """err^2 / (2 KL Var(g)) is unchanged when the moved probe reads the same function; its worst and mean are read off
    the spectrum of F Cov(h), by the twin that forms the product."""
    w, h, beta = normal(seed, 20, d), normal(seed + 1, 200, d) @ normal(seed + 2, d, d), normal(seed + 3, d)
    cov, at = torch.cov(h.T), h[0] / (1 + h[0].norm())
    found = readout_spectrum(w, at, cov)
    product = torch.linalg.eigvals(fisher_information(w, at) @ cov).real.sort(descending=True).values
    cond = float(found[0] / found[-1])
    assert ((found - product).abs() <= 1e-12 * cond * found).all()
    share = hidden_readout_constant(w, at, beta) / (beta @ cov @ beta)
    assert 1 / found[0] * (1 - 1e-9) <= share <= 1 / found[-1] * (1 + 1e-9)
    # Var-1 probes, uniform over functions of the context: beta = L^-T u with L L^T = Cov, u on the sphere
    u = torch.nn.functional.normalize(normal(seed + 4, 4000, d), dim=1)
    probes = u @ torch.linalg.inv(torch.linalg.cholesky(cov))
    mean = transfer_constant(w, at.expand(4000, d), probes).mean()
    assert abs(mean / (1 / found).mean() - 1) < 0.2  # 4,000 draws of a number with a spread of up to its mean
    t = normal(seed + 5, d, d) + 3 * torch.eye(d, dtype=torch.float64)
    w2, x2 = linear_gauge(w, at, t)
    cov2 = torch.linalg.inv(t) @ cov @ torch.linalg.inv(t).T
    tol = 1e-11 * float(torch.linalg.cond(t)) ** 2 * cond
    assert ((readout_spectrum(w2, x2, (cov2 + cov2.T) / 2) / found - 1).abs() < tol).all()
    assert abs(hidden_readout_constant(w2, x2, t.T @ beta) / (t.T @ beta @ cov2 @ t.T @ beta) / share - 1) < tol
    # ... while the same coordinates read another function, of another variance
    assert abs(hidden_readout_constant(w2, x2, beta) / hidden_readout_constant(w, at, beta) - 1) > 1e-3


tightest = {}


@settings(max_examples=80, deadline=None)
@given(seeds, st.integers(4, 40), st.integers(1, 3), st.sampled_from([0.0, 1.0, 30.0]))
def test_the_guarantees_hold_for_every_student(seed, n_tokens, d, offset):
    """300 students per example, 24,000 in all: any state, and the worst direction F^-1 m; one head, any mean row."""
    w = normal(seed, n_tokens, d) + offset * normal(seed + 3, d)
    scale = 10 ** (5 * torch.rand(300, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 4)
    h = normal(seed + 1, 300, d)
    worst = torch.linalg.solve(fisher_information(w, h), mean_embedding(w, h))
    dh = torch.where(scale.log10() % 1 < 0.5, normal(seed + 2, 300, d), worst)
    dh = scale * dh / dh.norm(dim=1, keepdim=True)
    z, dz = logits(w, h), dh @ w.T
    e, rms = logit_error(z, dz), forecast_mean(z, dz**2).sqrt()
    shift = (log_partition(w, h + dh) - log_partition(w, h)).abs()
    any_head = rms_guarantee(e.kl, spread(dz), shift)
    one_head = shared_head_guarantee(e.kl, spread(dz), shift_susceptibility(w, h))
    # log p' - log p needs no shift at all: the first edition added KL, and was never smaller
    logs = forecast_mean(z, (dz - e.dlog_partition[:, None]) ** 2).sqrt()
    seen = e.kl > 1e-22 * (1 + offset) ** 2  # below, dz is rounding of the offset
    for name, small, large in (("any", rms, any_head), ("one", rms, one_head), ("logs", logs, any_head - shift)):
        assert (small <= large * (1 + 1e-7))[seen].all(), name
        tightest[name] = max(tightest.get(name, 0.0), float((small / large)[seen].max()))
    # The same students under both: how much the bound that knows of the shared head is sharper at its best.
    tightest["gain"] = max(tightest.get("gain", 0.0), float((any_head / one_head)[seen].max()))


def test_the_guarantees_are_not_idle_and_are_their_formulas():
    test_the_guarantees_hold_for_every_student()
    assert tightest["any"] > 0.9 and tightest["one"] > 0.999 and tightest["logs"] > 0.99, tightest
    assert tightest["gain"] > 1.3  # with |log Z' - log Z| known exactly; with osc log Z for it, without limit
    kl, wide, s, shift = (torch.tensor([x], dtype=torch.float64) for x in (0.02, 3.0, 7.0, 0.5))
    assert float(shared_head_guarantee(kl, wide, s)) == pytest.approx((8 * 5 * 0.02) ** 0.5, rel=1e-14)
    assert float(rms_guarantee(kl, wide, shift)) == pytest.approx((5 * 0.02) ** 0.5 + 0.5, rel=1e-14)


def test_a_long_mean_row_hides_behind_a_flat_spectrum_alone():
    """S = |m|^2 / l for F = l I: the two halves multiply, and a centred forecast (m = 0) costs nothing."""
    w = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    zero = torch.zeros(3, dtype=torch.float64)
    assert float(shift_susceptibility(w, zero)) == 0
    moved = row_gauge(w, torch.tensor([2.0, 0, 0], dtype=torch.float64))
    assert float(shift_susceptibility(moved, zero)) == pytest.approx(4 / (1 / 3), rel=1e-12)  # F = I/3, |m| = 2


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
