"""Every bound on at least 20,000 freshly drawn heads, the counterexample, the lemmas of the proof, and the slack."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.theory.attention import (
    Attention,
    causal_mask,
    collapse_bound,
    diameter,
    jacobian,
    jacobian_norm,
    preservation_floor,
    quoted_bound,
    repaired_bound,
    sharp_bound,
    simple_bound,
)

HEADS = 200  # in one batch; times max_examples = 100 gives 20,000 heads for each property
# Singular values carry eps times the largest one, and equality is attained (A = 0): allow that much and no more.
ROUNDING = 1 + 1e-12


def batch(seed: int, n: int, d: int, causal: bool, count: int = HEADS) -> Attention:
    """Heads with score sizes from 1e-6 to 100, common offsets, some unit-length and some nearly equal tokens."""
    r = np.random.default_rng(seed)
    x = r.normal(size=(count, n, d)) * 10 ** r.uniform(-1, 0.5, size=(count, 1, 1))
    x += r.choice([0, 1, 5], size=(count, 1, 1)) * r.normal(size=(count, 1, d))
    unit = r.random(count) < 0.3
    x[unit] /= np.linalg.norm(x[unit], axis=-1, keepdims=True)
    close = r.random(count) < 0.1
    x[close, 1:] = x[close, :1] + 1e-4 * x[close, 1:]
    a = (
        r.normal(size=(count, d, d))
        * 10 ** r.uniform(-6, 2, size=(count, 1, 1))
        / (x**2).sum(-1).max(-1)[:, None, None]
    )
    return Attention.of(torch.tensor(x), torch.tensor(a), causal_mask(n) if causal else None)


shapes = (st.integers(0, 2**31), st.integers(2, 6), st.integers(1, 5), st.booleans())


@given(*shapes)
@settings(deadline=None, max_examples=100)
def test_the_true_bounds_hold_and_are_ordered(seed, n, d, causal):
    h = batch(seed, n, d, causal)
    norm = jacobian_norm(h)
    assert bool((norm <= ROUNDING * sharp_bound(h)).all())
    assert bool((sharp_bound(h) <= ROUNDING * simple_bound(h)).all())
    assert bool((norm <= ROUNDING * repaired_bound(h)).all())


@given(*shapes)
@settings(deadline=None, max_examples=100)
def test_the_quoted_formula_bounds_what_is_left_after_p(seed, n, d, causal):
    """|J - P (x) I| <= quoted bound, on 20,000 heads; |J| itself is not bounded (next test)."""
    h = batch(seed, n, d, causal)
    rest = jacobian(h) - h.p[..., :, None, :, None] * torch.eye(d, dtype=h.p.dtype)[:, None, :]
    # Forming the difference costs eps * |P|, which matters only where A is near zero.
    size = torch.linalg.matrix_norm(rest.reshape(-1, n * d, n * d), 2)
    assert bool((size <= ROUNDING * quoted_bound(h) + 1e-14).all())


def test_the_quoted_bound_fails_as_scores_vanish():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    none = Attention.of(x, torch.zeros(2, 2, dtype=torch.float64))
    assert float(jacobian_norm(none)) == pytest.approx(1, abs=1e-14)
    assert float(quoted_bound(none)) == 0
    small = Attention.of(x, 1e-6 * torch.eye(2, dtype=torch.float64))
    assert float(jacobian_norm(small)) > 1e4 * float(quoted_bound(small))
    assert float(sharp_bound(small)) == pytest.approx(1, rel=1e-5)


def test_the_quoted_bound_is_the_formula_letter_by_letter():
    r = np.random.default_rng(0)
    x, a = torch.tensor(r.normal(size=(5, 3))), torch.tensor(r.normal(size=(3, 3)))
    h = Attention.of(x, a)
    p, s = h.p, torch.linalg.matrix_norm(a, 2)
    total = s / 2 * sum(x[j] @ x[j] for j in range(5))
    for i in range(5):
        mu = sum(p[i, k] * x[k] for k in range(5))
        total = total + s * (p[i, i] + 0.5) * (x[i] - mu) @ (x[i] - mu)
        total = total + s * sum(p[i, j] * (x[j] - mu) @ (x[j] - mu) for j in range(5) if j != i)
    assert float(quoted_bound(h)) == pytest.approx(float(total), rel=1e-13)


@pytest.mark.parametrize("causal", [False, True])
def test_the_true_bounds_are_their_formulas_letter_by_letter(causal):
    """Eq. (sharp) and the line under it, one token at a time: a constant that moves is seen, not only one too small."""
    r = np.random.default_rng(1)
    x, a = r.normal(size=(5, 3)), r.normal(size=(3, 3))
    s = x @ a @ x.T
    if causal:
        s[np.triu_indices(5, 1)] = -np.inf
    p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    norm, sigma = partial(np.linalg.norm, ord=2), []
    for i in range(5):
        mu = sum(p[i, j] * x[j] for j in range(5))
        sigma.append(sum(p[i, j] * np.outer(x[j] - mu, x[j] - mu) for j in range(5)))
    keys = max(sum(p[i, j] * norm(sigma[i]) * norm(a.T @ x[i]) ** 2 for i in range(5)) for j in range(5))
    sharp = norm(p) + max(norm(sigma[i] @ a.T) for i in range(5)) + keys**0.5
    simple = norm(p) + norm(a) * (3 / 2 * max(norm(c) for c in sigma) + 1 / 2 * sum(x[i] @ x[i] for i in range(5)))
    h = Attention.of(torch.tensor(x), torch.tensor(a), causal_mask(5) if causal else None)
    assert float(sharp_bound(h)) == pytest.approx(sharp, rel=1e-13)
    assert float(simple_bound(h)) == pytest.approx(simple, rel=1e-13)
    assert float(repaired_bound(h) - quoted_bound(h)) == pytest.approx(norm(p), rel=1e-13)


@given(st.integers(0, 2**31), st.integers(1, 8))
@settings(deadline=None, max_examples=100)
def test_the_lemma_twice_the_variance_plus_the_squared_mean(seed, n):
    """2 Var_P(y) + (E_P y)^2 <= |y|^2 for any weights: the step that repairs the quoted bound."""
    r = np.random.default_rng(seed)
    p = r.dirichlet(np.full(n, 10 ** r.uniform(-2, 1)), size=HEADS)
    y = r.normal(size=(HEADS, n)) * 10 ** r.uniform(-1, 1, size=(HEADS, n))
    mean = (p * y).sum(-1)
    variance = (p * (y - mean[:, None]) ** 2).sum(-1)
    assert np.all(2 * variance + mean**2 <= ROUNDING * (y**2).sum(-1))


def test_the_lemma_is_attained():
    """Weights (.7, .3) on y = (.7, -.3): 2 * .21 + .4^2 = .58 = .49 + .09."""
    p, y = np.array([0.7, 0.3]), np.array([0.7, -0.3])
    mean = p @ y
    assert 2 * p @ (y - mean) ** 2 + mean**2 == pytest.approx(y @ y, rel=1e-15)


def test_slack_of_the_three_bounds_is_as_the_chapter_says():
    """Medians over 4,000 Gaussian heads; a bound that became ten times looser would fail here."""
    r = np.random.default_rng(7)
    x, a = torch.tensor(r.normal(size=(4000, 6, 4))), torch.tensor(r.normal(size=(4000, 4, 4)))
    h = Attention.of(x, a * torch.tensor(10 ** r.uniform(-3, 0.5, size=(4000, 1, 1))))
    norm = jacobian_norm(h)
    sharp, simple, repaired = (float((f(h) / norm).median()) for f in (sharp_bound, simple_bound, repaired_bound))
    assert 1.0 <= sharp < 1.6
    assert sharp < simple < repaired
    assert 0.05 < float((norm > quoted_bound(h)).double().mean())  # the quoted formula is violated often


@given(*shapes)
@settings(deadline=None, max_examples=100)
def test_one_pass_contracts_by_dobrushin_and_by_the_cube(seed, n, d, causal):
    """tau(P) = 1/2 max_ik sum_j |P_ij - P_kj| bounds how the diameter shrinks, and tanh(|A| D^2 / 4) bounds tau."""
    h = batch(seed, n, d, causal)
    tau, before, after = torch.cdist(h.p, h.p, p=1).amax((-2, -1)) / 2, diameter(h.x), diameter(h.mean)
    rounding = 1e-14 * h.x.abs().amax((-2, -1))
    assert bool((after <= tau * before + n * rounding).all())
    # with the residual, halved: at best geometric
    assert bool((diameter((h.x + h.mean) / 2) <= (1 + tau) / 2 * before + n * rounding).all())
    if not causal:
        size = torch.linalg.matrix_norm(h.a, 2)
        # The weights carry eps times the size of the scores, which a common offset of the tokens raises.
        slack = 1e-15 * (1 + (h.pull @ h.x.mT).abs().amax((-2, -1)))
        assert bool((tau <= (size * before**2 / 4).tanh() + n * slack).all())
        assert bool((after <= collapse_bound(h) * ROUNDING + n * (rounding + slack * before)).all())
        # the bound of the first edition, (1 - exp(-rho)) D with rho the range of a row of scores, was never sharper
        scores = h.pull @ h.x.mT
        rho = (scores.amax(-1) - scores.amin(-1)).amax(-1)
        assert bool((tau <= -torch.expm1(-rho) + n * slack).all())


def test_the_cube_is_attained_and_its_constant_is_a_quarter():
    """Two tokens +-D/2 on a line: s = +-a D^2/4, so tau = tanh(a D^2/4) exactly, and the diameter shrinks by it."""
    for a, size in ((0.3, 1.0), (2.0, 0.1), (5.0, 2.0)):
        x = torch.tensor([[size / 2], [-size / 2]], dtype=torch.float64)
        h = Attention.of(x, torch.tensor([[a]], dtype=torch.float64))
        want = np.tanh(a * size**2 / 4) * size
        assert float(collapse_bound(h)) == pytest.approx(want, rel=1e-13)
        assert float(diameter(h.mean)) == pytest.approx(want, rel=1e-12)
        assert want < a * size**3 / 4


@given(st.integers(0, 2**31), st.integers(1, 8))
@settings(deadline=None, max_examples=100)
def test_structure_is_preserved_down_to_the_floor(seed, d):
    r = np.random.default_rng(seed)
    low = 10 ** r.uniform(-4, 0, size=(HEADS, 1))
    values = low ** r.random((HEADS, d))
    values[:, 0], values[:, -1] = 1, low[:, 0] if d > 1 else 1
    q = np.linalg.qr(r.normal(size=(HEADS, d, d)))[0]
    s = torch.tensor(q * values[:, None, :] @ q.swapaxes(1, 2))
    m = torch.tensor(r.normal(size=(HEADS, 5, d)) @ (q * 10 ** r.uniform(-3, 3, size=(HEADS, 1, d))).swapaxes(1, 2))
    cos = (m * (m @ s)).sum((-2, -1)) / torch.linalg.matrix_norm(m) / torch.linalg.matrix_norm(m @ s)
    floor = preservation_floor(torch.tensor(values.max(-1) / values.min(-1)))
    assert bool((cos >= floor - 1e-9).all())  # s is rebuilt from its spectrum, so its condition is good to eps * k


@pytest.mark.parametrize("k", [1.0, 10.0, 1e4])
def test_the_floor_is_attained(k):
    s = np.diag([k, 1.0])
    m = np.diag([1.0, k**0.5])  # squared weights 1 and k, opposite to the eigenvalues k and 1
    cos = (m * (m @ s)).sum() / np.linalg.norm(m) / np.linalg.norm(m @ s)
    assert cos == pytest.approx(preservation_floor(k), rel=1e-14)
    assert preservation_floor(10.0) == pytest.approx(0.5749595745760689, rel=1e-15)
