"""The three gauges leave the forecasts alone, and the companions alone; the folklore measures they move at will."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score as geometry_iso_score
from isonum_core.geometry.scores import participation_ratio
from isonum_core.theory.gauges import (
    anchor,
    centre_rows,
    linear_gauge,
    logit_participation_ratio,
    logit_spectrum,
    mean_invariant,
    row_gauge,
    shift_direction,
    visible_and_hidden,
)
from isonum_core.theory.loglinear import fisher_information, log_partition, logits, probabilities

seeds = st.integers(0, 2**32 - 1)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_shift_direction(seed, n_tokens=20, d=5):
    """A head whose column space holds the constant vector, and the u with W u = 1."""
    w = normal(seed, n_tokens, d)
    w[:, 0] = 1
    t = normal(seed + 1, d, d) + 3 * torch.eye(d, dtype=torch.float64)
    return w @ t, torch.linalg.inv(t)[:, 0]


def iso_score(x):
    """(PR - 1)/(d - 1) of the rows of x, from the definition: here to show that gauges move it."""
    l = torch.linalg.eigvalsh(torch.cov(x.T))
    return float((l.sum() ** 2 / (l**2).sum() - 1) / (x.shape[1] - 1))


@settings(max_examples=50, deadline=None)
@given(seeds, st.floats(-20, 20))
def test_no_gauge_changes_a_forecast(seed, size):
    w, h, a = normal(seed, 20, 5), normal(seed + 1, 30, 5), size * normal(seed + 2, 5)
    p = probabilities(w, h)
    # A shift of the logits by t costs them t times 1e-16, whatever p is.
    assert (probabilities(row_gauge(w, a), h) - p).abs().max() < 1e-15 * (10 + 10 * abs(size))
    assert (probabilities(centre_rows(w), h) - p).abs().max() < 1e-14
    t = normal(seed + 3, 5, 5) + 4 * torch.eye(5, dtype=torch.float64)
    w2, h2 = linear_gauge(w, h, t)
    assert (logits(w2, h2) - logits(w, h)).abs().max() < 1e-12 * float(torch.linalg.cond(t)) * 10
    w3, u = with_shift_direction(seed)
    moved = h + size * normal(seed + 4, 30, 1) * u
    change = (moved - h).norm(dim=1).max() * w3.norm()
    assert (probabilities(w3, moved) - probabilities(w3, h)).abs().max() < 1e-15 * (10 + 10 * float(change))


def test_gauges_move_every_folklore_measure():
    w, h = normal(0, 300, 8), normal(1, 500, 8)
    assert centre_rows(w).mean(0).abs().max() < 1e-15
    assert (row_gauge(w, torch.ones(8).double()).mean(0) - w.mean(0) - 1).abs().max() < 1e-13
    l, v = torch.linalg.eigh(torch.cov(h.T))
    whitening, spike = v @ torch.diag(l.sqrt()) @ v.T, torch.diag(torch.tensor([0.05] + 7 * [1.0]).double())
    assert abs(iso_score(linear_gauge(w, h, whitening)[1]) - 1) < 1e-12
    assert iso_score(linear_gauge(w, h, spike)[1]) < 0.01
    # ... and the companion stays
    values = [float(logit_participation_ratio(Moments.of(x), v)) for v, x in [(w, h), linear_gauge(w, h, spike)]]
    assert abs(values[0] / values[1] - 1) < 1e-11  # T has condition number 20, squared by the covariance


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 9), st.integers(2, 14))
def test_logit_spectrum_is_that_of_the_centred_logits(seed, d, n_tokens):
    """Twin: form the n x N centred logits and take the eigenvalues of their covariance, divided by N."""
    w, h = normal(seed, n_tokens, d), normal(seed + 1, 40, d) * torch.logspace(0, -2, d).double()
    z = logits(w, h)
    z = z - z.mean(-1, keepdim=True)
    slow = torch.linalg.eigvalsh(torch.atleast_2d(torch.cov(z.T))).flip(0) / n_tokens
    slow = torch.cat([slow, slow.new_zeros(d)])[:d]
    found = logit_spectrum(Moments.of(h), w)
    assert found.shape == (d,) and (found - slow).abs().max() <= 1e-13 * slow[0]
    assert abs(logit_participation_ratio(Moments.of(h), w) - slow.sum() ** 2 / (slow**2).sum()) < 1e-12 * d
    # eigenvalues of Cov(h) C, the second form
    centred = centre_rows(w)
    product = torch.linalg.eigvals(torch.cov(h.T).reshape(d, d) @ centred.T @ centred / n_tokens).real
    assert (product.sort(descending=True).values - found).abs().max() <= 1e-12 * found[0]


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(-10, 10))
def test_logit_spectrum_is_gauge_invariant(seed, size):
    w, h = normal(seed, 20, 5), normal(seed + 1, 60, 5)
    base = logit_spectrum(Moments.of(h), w)
    assert (logit_spectrum(Moments.of(h), row_gauge(w, size * normal(seed + 2, 5))) - base).abs().max() < 1e-11 * base[
        0
    ]
    t = normal(seed + 3, 5, 5) + 4 * torch.eye(5, dtype=torch.float64)
    w2, h2 = linear_gauge(w, h, t)
    assert (logit_spectrum(Moments.of(h2), w2) - base).abs().max() < 1e-13 * torch.linalg.cond(t) ** 2 * base[0]
    assert (logit_spectrum(Moments.of(h + size * normal(seed + 4, 5)), w) - base).abs().max() < 1e-11 * base[0]


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 6), st.booleans())
def test_shift_direction_exists_exactly_when_one_is_in_the_column_space(seed, d, exists):
    if exists:
        w, u = with_shift_direction(seed, 20, d)
        found = shift_direction(w)
        assert found is not None and (w @ found - 1).abs().max() < 1e-11
        assert (found - u).abs().max() < 1e-10 * u.norm() * torch.linalg.cond(w)
    else:
        assert shift_direction(normal(seed, 20, d)) is None
        # centring removes the constant vector (and with d = 1 leaves nothing but rounding)
        assert shift_direction(centre_rows(with_shift_direction(seed, 20, d + 1)[0])) is None


def test_small_vocabularies_always_have_one():
    assert shift_direction(normal(0, 4, 6)) is not None  # N <= d: the columns span everything
    assert shift_direction(torch.zeros(4, 2, dtype=torch.float64)) is None


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 6), st.booleans(), st.booleans())
def test_kernel_of_fisher_information_does_not_depend_on_the_state(seed, d, shift, duplicate):
    w = with_shift_direction(seed, 20, d)[0] if shift else normal(seed, 20, d)
    if duplicate:
        w = torch.cat([w, w[:, -1:]], 1)
    seen, hidden = visible_and_hidden(w)
    assert hidden.shape[1] == int(shift) + int(duplicate)
    basis = torch.cat([seen, hidden], 1)
    assert (basis.T @ basis - torch.eye(len(basis), dtype=torch.float64)).abs().max() < 1e-13
    spread = logits(w, hidden.T)
    assert (spread - spread.mean(-1, keepdim=True)).abs().max() < 1e-12 * w.norm() if hidden.numel() else True
    for k in range(3):  # twin: the null space of F(h) itself, at three states
        fisher = fisher_information(w, normal(seed + k, w.shape[1]) / d)
        l = torch.linalg.eigvalsh(fisher)
        assert int((l < 1e-12 * l[-1]).sum()) == hidden.shape[1]
        assert (fisher @ hidden).abs().max() < 1e-12 * l[-1] if hidden.numel() else True


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(2, 7), st.floats(-3, 3))
def test_the_mean_half_of_states_is_bounded_in_every_gauge(seed, d, size):
    """M = mu^T Cov^-1 mu stays; the mean share is at most M / (1 + M), and M / (M + d) once round. 24,000 gauges."""
    h = normal(seed, 60, d) @ normal(seed + 1, d, d) + 10**size * normal(seed + 2, d)
    m = Moments.of(h)
    big = float(mean_invariant(m))
    slow = m.mean @ torch.linalg.solve(m.covariance, m.mean)
    tol = 1e-12 * float(torch.linalg.cond(m.covariance))
    assert big == pytest.approx(float(slow), rel=tol)
    root = torch.linalg.cholesky(m.covariance)
    white = torch.linalg.solve_triangular(root, m.mean[:, None], upper=False)[:, 0]
    assert float(white @ white / (white @ white + d)) == pytest.approx(big / (big + d), rel=tol)
    t = normal(seed + 3, 400, d, d) * torch.logspace(0, -4, d, dtype=torch.float64)
    mean = torch.linalg.solve(t, white)
    inverse = torch.linalg.inv(t)
    shares = (mean**2).sum(-1) / ((mean**2).sum(-1) + (inverse**2).sum((-2, -1)))
    assert (shares <= big / (1 + big) * (1 + 1e-9)).all()
    w2, h2 = linear_gauge(normal(seed + 4, 20, d), h, normal(seed + 5, d, d) + 3 * torch.eye(d, dtype=torch.float64))
    assert float(mean_invariant(Moments.of(h2))) == pytest.approx(big, rel=1e4 * tol)


def test_the_cap_of_the_mean_share_is_approached():
    """Shrink every direction but that of the whitened mean: the share tends to M / (1 + M)."""
    h = normal(0, 500, 4) + torch.tensor([2.0, 0, 0, 0], dtype=torch.float64)
    m = Moments.of(h)
    root = torch.linalg.cholesky(m.covariance)
    white = torch.linalg.solve_triangular(root, m.mean[:, None], upper=False)[:, 0]
    basis = torch.linalg.qr(torch.cat([white[:, None], normal(1, 4, 3)], 1)).Q
    flat = basis @ torch.diag(torch.tensor([1.0, 1e-4, 1e-4, 1e-4], dtype=torch.float64)) @ basis.T
    moved = Moments.of(h @ torch.linalg.inv(root).T @ flat.T)
    big, mean = float(mean_invariant(m)), moved.mean
    assert float(mean @ mean / (mean @ mean + moved.trace)) == pytest.approx(big / (1 + big), rel=1e-7)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 6))
def test_an_anchor_is_the_best_affine_fit_and_a_row_gauge_moves_it(seed, d):
    w, h, a = normal(seed, 20, d), normal(seed + 1, 50, d), normal(seed + 2, d)
    found, log_z = anchor(w, h), log_partition(w, h)
    left = log_z - h @ found.v - found.constant
    assert float(left.square().mean().sqrt()) == pytest.approx(float(found.residual), rel=1e-9, abs=1e-14)
    assert abs(left.mean()) < 1e-12 and (left @ h).abs().max() < 1e-10 * 50  # normal equations
    assert float(found.spread) == pytest.approx(float(log_z.std(correction=0)), rel=1e-12)
    assert float(found.residual) <= float(found.spread) * (1 + 1e-12)
    moved = anchor(row_gauge(w, a), h)
    assert (moved.v - found.v - a).abs().max() < 1e-10 and abs(moved.residual - found.residual) < 1e-12
    assert abs(anchor(row_gauge(w, -found.v), h).spread - found.residual) < 1e-12  # log Z at its flattest


def test_on_states_whose_log_z_is_affine_the_anchored_logits_are_log_probabilities():
    """The rows +-u in one dimension and states +-c: log Z = log 2 cosh c on both, so v = 0 and z = log p + constant."""
    w = torch.tensor([[1.0], [-1.0]], dtype=torch.float64) + 5.0
    h = torch.tensor([[2.0], [-2.0]], dtype=torch.float64)
    found = anchor(w, h)
    assert float(found.residual) < 1e-13 and float(found.v) == pytest.approx(5, rel=1e-13)
    z = logits(row_gauge(w, -found.v), h)
    assert (z - probabilities(w, h).log() - found.constant).abs().max() < 1e-12


def test_the_participation_ratio_under_its_other_names():
    """PR = d / (1 + U) with John's sphericity statistic U, and IsoScore = 1 - FA^2 with fractional anisotropy FA."""
    l = torch.linalg.eigvalsh(torch.cov(normal(3, 40, 6).T))
    d, mean = 6, l.mean()
    john = ((l / mean - 1) ** 2).mean()
    anisotropy_sq = d / (d - 1) * ((l - mean) ** 2).sum() / (l**2).sum()
    m = Moments.of(normal(3, 40, 6))
    assert float(participation_ratio(m)) == pytest.approx(float(d / (1 + john)), rel=1e-13)
    assert float(geometry_iso_score(m)) == pytest.approx(float(1 - anisotropy_sq), rel=1e-13)


def test_bad_input_says_what_to_do():
    h = normal(1, 30, 5)
    with pytest.raises(IsonumError, match="full rank, got n=3, d=5. Take n > d"):
        mean_invariant(Moments.of(h[:3]))
    with pytest.raises(IsonumError, match="no spectrum"):
        logit_participation_ratio(Moments.of(h), torch.ones(20, 5, dtype=torch.float64))
