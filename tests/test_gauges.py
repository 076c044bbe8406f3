"""The three gauges leave the forecasts alone, and the companions alone; the folklore measures they move at will."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.geometry.moments import Moments
from isonum_core.theory.gauges import (
    centre_rows,
    fisher_kernel,
    linear_gauge,
    logit_participation_ratio,
    logit_spectrum,
    row_gauge,
    shift_direction,
    visible_and_hidden,
)
from isonum_core.theory.loglinear import fisher_information, logits, probabilities

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
    assert hidden.equal(fisher_kernel(w))
    basis = torch.cat([seen, hidden], 1)
    assert (basis.T @ basis - torch.eye(len(basis), dtype=torch.float64)).abs().max() < 1e-13
    spread = logits(w, hidden.T)
    assert (spread - spread.mean(-1, keepdim=True)).abs().max() < 1e-12 * w.norm() if hidden.numel() else True
    for k in range(3):  # twin: the null space of F(h) itself, at three states
        fisher = fisher_information(w, normal(seed + k, w.shape[1]) / d)
        l = torch.linalg.eigvalsh(fisher)
        assert int((l < 1e-12 * l[-1]).sum()) == hidden.shape[1]
        assert (fisher @ hidden).abs().max() < 1e-12 * l[-1] if hidden.numel() else True


def test_bad_input_says_what_to_do():
    w, h = normal(0, 20, 5), normal(1, 30, 5)
    with pytest.raises(IsonumError, match="invertible T, got a singular one"):
        linear_gauge(w, h, torch.zeros(5, 5, dtype=torch.float64))
    with pytest.raises(IsonumError, match="must share d, got 4 and 5.*feeds the head"):
        logit_spectrum(Moments.of(h[:, :4]), w)
    with pytest.raises(IsonumError, match="no spectrum"):
        logit_participation_ratio(Moments.of(h), torch.ones(20, 5, dtype=torch.float64))
