"""Gauss-Newton curvature against autograd's Jacobian in A, the product spectrum and the cube law with its band."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.theory.attention import Attention, causal_mask
from isonum_core.theory.attention_spectrum import gauss_newton_spectrum, learned_share, score_range


def cloud(r: np.random.Generator, n: int, spectrum: np.ndarray) -> torch.Tensor:
    """n centred tokens whose covariance (divisor n) has exactly this spectrum."""
    d = len(spectrum)
    x = r.normal(size=(n, d))
    x -= x.mean(0)
    x = np.linalg.qr(x)[0] * np.sqrt(n * spectrum)
    return torch.tensor(x @ np.linalg.qr(r.normal(size=(d, d)))[0])


def condition(values: torch.Tensor) -> float:
    return float(values[0] / values[-1])


@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(1, 4), st.booleans())
@settings(deadline=None, max_examples=60)
def test_curvature_equals_autograd(seed, n, d, causal):
    """The spectrum of J^T J, where J is autograd's Jacobian of the output in the entries of A."""
    r = np.random.default_rng(seed)
    x, a = torch.tensor(r.normal(size=(n, d)) + 1), torch.tensor(r.normal(size=(d, d)))
    mask = causal_mask(n) if causal else None

    def f(a):
        s = x @ a @ x.T if mask is None else (x @ a @ x.T).masked_fill(~mask, -torch.inf)
        return s.softmax(-1) @ x

    j = torch.autograd.functional.jacobian(f, a).reshape(-1, d * d)
    want = j.T @ j
    h = Attention.of(x, a, mask)
    # Nearly equal tokens or sharp rows: autograd's softmax carries eps |x|^2 where we carry eps |S_i|.
    scale = float(want.abs().max()) * max(1.0, float(x.abs().max() ** 2 / h.covariance.abs().max()))
    values = gauss_newton_spectrum(h)
    assert values.shape == (d * d,) and bool((values.diff() <= 0).all()) and bool((values >= 0).all())
    assert float((values - torch.linalg.eigvalsh(want).flip(0)).abs().max()) <= 1e-12 * scale


@given(st.integers(0, 2**31), st.integers(2, 9), st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_uniform_attention_has_the_product_spectrum(seed, n, d):
    """At A = 0, H = X^T X (x) C^2: every eigenvalue is a product, also for tokens that are not centred."""
    r = np.random.default_rng(seed)
    x = torch.tensor(r.normal(size=(n, d)) + r.normal(size=d))
    got = gauss_newton_spectrum(Attention.of(x, torch.zeros(d, d, dtype=torch.float64)))
    c = torch.atleast_2d(torch.cov(x.T, correction=0))
    want = torch.outer(torch.linalg.eigvalsh(x.T @ x), torch.linalg.eigvalsh(c) ** 2).flatten().sort().values.flip(0)
    assert float((want - got).abs().max()) <= 1e-12 * float(got[0])


@pytest.mark.parametrize("kappa", [1.0, 3.0, 30.0, 1000.0])
def test_the_cube_law_is_exact_at_zero_scores(kappa):
    r = np.random.default_rng(0)
    spectrum = kappa ** -np.linspace(0, 1, 4)
    x = cloud(r, 24, spectrum)
    h = Attention.of(x, torch.zeros(4, 4, dtype=torch.float64))
    # the smallest eigenvalue carries eps relative to the largest singular value, kappa^1.5 of the smallest one
    assert condition(gauss_newton_spectrum(h)) == pytest.approx(kappa**3, rel=1e-13 * max(kappa**1.5, 100))
    assert float(gauss_newton_spectrum(h)[0]) == pytest.approx(24 * spectrum[0] ** 3, rel=1e-12)


@given(st.integers(0, 2**31), st.integers(2, 4), st.floats(1, 50), st.floats(-6, 1))
@settings(deadline=None, max_examples=150)
def test_the_condition_number_stays_in_its_band(seed, d, kappa, size):
    """With r = e^rho: k^3 / (r + r sqrt(k) (r - 1))^2 <= cond(H) <= r^4 k^3, because C / r <= S_i <= r C."""
    r = np.random.default_rng(seed)
    spectrum = kappa ** -np.linspace(0, 1, d)
    x = cloud(r, 5 * d, spectrum)
    h = Attention.of(x, torch.tensor(r.normal(size=(d, d)) * 10**size))
    rho, k = float(score_range(h)), float(spectrum[0] / spectrum[-1])
    c = x.T @ x / len(x)
    root = torch.linalg.inv(torch.linalg.cholesky(c))
    relative = torch.linalg.eigvalsh(root @ h.covariance @ root.T)
    assert float(relative.max()) <= np.exp(rho) * (1 + 1e-10)
    assert float(relative.min()) >= np.exp(-rho) * (1 - 1e-10) - 1e-12
    if rho < 20:  # beyond, both sides leave the range in which a condition number has digits
        got = condition(gauss_newton_spectrum(h))
        assert got <= np.exp(4 * rho) * k**3 * (1 + 1e-9)
        assert got >= np.exp(-2 * rho) * k**3 / (1 + k**0.5 * np.expm1(rho)) ** 2 * (1 - 1e-9)


@pytest.mark.parametrize("rho", [0.2, 0.5, 2.0])
def test_at_a_fixed_range_of_scores_the_power_falls_to_two(rho):
    """Four tokens (s1 a, s2 b, s1 s2 c) whose third moment lets a score correlate the first and the last coordinate."""

    def found(kappa):
        s = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
        x = torch.stack([s[:, 0], s[:, 1] * kappa**-0.5, s.prod(1)], 1)
        a = torch.zeros(3, 3, dtype=torch.float64)
        a[1, 2] = rho / 2 * kappa**0.5
        h = Attention.of(x, a)
        assert float(score_range(h)) == pytest.approx(rho, rel=1e-12)
        assert float(h.covariance[0, 0, 1].abs()) == pytest.approx(np.tanh(rho / 2) * kappa**-0.5, rel=1e-9)
        return condition(gauss_newton_spectrum(h))

    powers = [np.log10(found(10 * k) / found(k)) for k in (1e3, 1e5)]
    assert abs(powers[1] - 2) < abs(powers[0] - 2) + 1e-3 and abs(powers[1] - 2) < 0.02
    k = 1e6
    assert np.exp(-2 * rho) * k**3 / (1 + k**0.5 * np.expm1(rho)) ** 2 <= found(k) <= np.exp(4 * rho) * k**3


def test_gradient_descent_slows_down_by_the_cube():
    """Along the eigenvector of modes (a, b) the error shrinks by 1 - lr n l_a l_b^2 a step, near A = 0."""
    r = np.random.default_rng(1)
    spectrum = np.array([1.0, 0.5, 0.25])
    x = cloud(r, 30, spectrum)
    values, vectors = np.linalg.eigh((x.T @ x / 30).numpy())
    target = 1e-3 * torch.tensor(r.normal(size=(3, 3)))
    goal = Attention.of(x, target).mean
    a, lr, steps = torch.zeros(3, 3, dtype=torch.float64), 0.5 / 30, 40
    for _ in range(steps):
        h = Attention.of(x, a)
        a = a - lr * h.x.T @ h.covariance_times(h.mean - goal)
    left = vectors.T @ (a - target).numpy() @ vectors / (vectors.T @ -target.numpy() @ vectors)
    want = (1 - lr * 30 * np.outer(values, values**2)) ** steps
    weight = torch.tensor(np.outer(values, values**2))  # the largest is 1, and the step half of its inverse
    assert np.abs(1 - learned_share(weight, steps, 0.5).numpy() - want).max() < 1e-12
    assert np.abs(left - want).max() < 5e-3  # scores are of size 1e-3, and so is the departure from A = 0
