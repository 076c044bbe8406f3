"""The Jacobian, gradients and curvature of one head against autograd, letter-by-letter twins, exact rational cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.theory.attention import (
    Attention,
    causal_mask,
    gauss_newton_spectrum,
    head_gradients,
    jacobian,
    learned_share,
    score_gradient,
    score_matrix,
    score_range,
)

# Agreement asked for everywhere: 1e-12 relative to the largest entry, in float64.
TIGHT = 1e-12


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max().clamp_min(1e-300))


def draw(seed: int, n: int, d: int, size: float = 1.0, offset: float = 0.0, v: int | None = None):
    """Tokens, scores and values of one random head; `offset` moves all tokens away from zero."""
    r = np.random.default_rng(seed)
    x = torch.tensor(r.normal(size=(n, d)) + offset * r.normal(size=d))
    a = torch.tensor(size * r.normal(size=(d, d)) / d)
    return x, a, None if v is None else torch.tensor(r.normal(size=(d, v)))


def output(x, a, mask=None, w_v=None, keys=None):
    """The head written with autograd's own pieces. `keys` are what is read, if not x itself."""
    keys = x if keys is None else keys
    s = torch.einsum("id,de,je->ij", x, a, keys)
    if mask is not None:
        s = s.masked_fill(~mask, -torch.inf)
    y = keys if w_v is None else keys @ w_v
    return torch.softmax(s, -1) @ y


def slow_jacobian(x, a, mask=None, w_v=None):
    """Product rule, one entry at a time: d f_i / d x_j = sum_k (d P_ik / d x_j) y_k + P_ij W_V^T."""
    n, d = x.shape
    v = torch.eye(d, dtype=x.dtype) if w_v is None else w_v
    p = Attention.of(x, a, mask).p
    out = torch.zeros(n, v.shape[1], n, d, dtype=x.dtype)
    for i in range(n):
        for j in range(n):
            for k in range(n):
                for m in range(n):  # softmax rule, then the two ways in which x_j enters the score s_im
                    dp = p[i, k] * (float(k == m) - p[i, m])
                    ds = (j == i) * (a @ x[m]) + (j == m) * (a.T @ x[i])
                    out[i, :, j, :] += torch.outer(v.T @ x[k], dp * ds)
            out[i, :, j, :] += p[i, j] * v.T
    return out


heads = st.tuples(
    st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 6), st.sampled_from([0.0, 1e-6, 0.3, 3.0, 30.0])
)


@given(heads, st.sampled_from([None, 1, 3]), st.booleans(), st.sampled_from([0.0, 3.0]))
@settings(deadline=None, max_examples=120)
def test_jacobian_equals_autograd(head, v, causal, offset):
    seed, n, d, size = head
    x, a, w_v = draw(seed, n, d, size, offset, v)
    mask = causal_mask(n) if causal else None
    want = torch.autograd.functional.jacobian(lambda x: output(x, a, mask, w_v), x)
    h = Attention.of(x, a, mask)
    got = jacobian(h, w_v)
    # Scores of size s carry rounding eps * s into the weights: autograd's error as much as ours.
    slack = max(1.0, float((h.pull @ x.mT).abs().max()))
    assert relative(got, want) <= TIGHT * slack


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("v", [None, 2])
def test_jacobian_equals_the_product_rule_written_out(causal, v):
    x, a, w_v = draw(3, 5, 4, 2.0, 1.0, v)
    mask = causal_mask(5) if causal else None
    assert relative(jacobian(Attention.of(x, a, mask), w_v), slow_jacobian(x, a, mask, w_v)) <= TIGHT


@given(heads, st.integers(1, 4), st.integers(1, 4), st.booleans())
@settings(deadline=None, max_examples=120)
def test_parameter_gradients_equal_autograd(head, k, v, causal):
    seed, n, d, size = head
    r = np.random.default_rng(seed)
    x, g = torch.tensor(r.normal(size=(n, d)) + 1), torch.tensor(r.normal(size=(n, v)))
    w_q, w_k, w_v = (torch.tensor(r.normal(size=(d, m)) / d**0.5, requires_grad=True) for m in (k, k, v))
    with torch.no_grad():
        w_q *= size
    mask = causal_mask(n) if causal else None
    a = score_matrix(w_q, w_k)
    a.retain_grad()
    (output(x, a, mask, w_v) * g).sum().backward()
    with torch.no_grad():
        h = Attention.of(x, score_matrix(w_q, w_k), mask)
        got = head_gradients(h, w_q, w_k, w_v, g)
    # A fully attended token leaves gradients of rounding size: compare on the scale of what was summed.
    scale = float(x.abs().max() ** 3 * g.abs().max() * n) * TIGHT
    for name, want in (("a", a.grad), ("w_q", w_q.grad), ("w_k", w_k.grad), ("w_v", w_v.grad)):
        assert float((getattr(got, name) - want).abs().max()) <= max(TIGHT * float(want.abs().max()), scale), name
    terms = torch.stack([torch.outer(x[i], h.covariance[i] @ (w_v @ g[i])) for i in range(n)]).detach()
    assert torch.allclose(got.a, terms.sum(0))
    if size in (0.3, 1e-6, 0.0):
        # Autograd loses digits where tokens are closer to each other than to zero. Keys hide a shift: centre them.
        b = a.detach().requires_grad_()
        (want,) = torch.autograd.grad((output(x, b, mask, w_v.detach(), keys=x - x.mean(0)) * g).sum(), b)
        assert float((got.a - want).abs().max()) <= TIGHT * float(terms.abs().sum(0).max())


def test_gradcheck_through_the_weights():
    x, a, _ = draw(0, 4, 3)
    x.requires_grad_(), a.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, a: Attention.of(x, a, causal_mask(4)).mean, (x, a))
    assert torch.autograd.gradcheck(lambda x, a: Attention.of(x, a).covariance, (x, a))


def test_tiny_blocks_keep_their_digits():
    """Row 0 looks at row 1 with all its weight but e^-60: its own block is e^-60 times a number of size 1."""
    gap = 60.0
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]], dtype=torch.float64)
    a = torch.tensor([[-gap, 0.0], [0.0, 0.0]], dtype=torch.float64)  # s_0j = -gap x_j0: -60, 0, +60
    h = Attention.of(x, a)
    block = jacobian(h)[0, :, 1]
    # J_01 = P_01 (I + (x_1 - x_2) b^T) up to e^-60, with b = (-60, 0), x_1 - x_2 = (1, .5).
    e = math.exp(-gap)
    exact = e / (1 + e + e * e) * (np.eye(2) + np.outer([1, 0.5], [-gap, 0]))
    assert np.allclose(block.numpy(), exact, rtol=1e-12, atol=0)
    # S_0 = P_01 (x_1 - x_2)(x_1 - x_2)^T up to e^-120: one line in exact arithmetic.
    want = e * np.outer([1, 0.5], [1, 0.5])
    assert np.allclose(h.covariance[0].numpy(), want, rtol=1e-12, atol=0)


def test_deviations_have_small_relative_error_under_sharp_attention():
    x = torch.tensor([[1.0, 3.0], [1.25, 3.5], [0.5, 2.0]], dtype=torch.float64)
    p = torch.tensor([1.0, 2.0**-80, 0.0], dtype=torch.float64)  # x_0 - mu_0 = -2^-80 (x_1 - x_0), a binary number
    got = Attention(x, torch.eye(2, dtype=torch.float64), p.expand(3, 3)).deviations[0, 0]
    assert got.tolist() == [-(2.0**-80) * 0.25, -(2.0**-80) * 0.5]


def test_a_batch_equals_its_members():
    r = np.random.default_rng(1)
    x, a = torch.tensor(r.normal(size=(2, 3, 5, 4))), torch.tensor(r.normal(size=(2, 3, 4, 4)))
    g = torch.tensor(r.normal(size=(2, 3, 5, 4)))
    batch = Attention.of(x, a)
    for i in np.ndindex(2, 3):
        one = Attention.of(x[i], a[i])
        for f in (jacobian, lambda h: h.covariance):
            assert relative(f(batch)[i], f(one)) <= 1e-14
        assert relative(score_gradient(batch, g)[i], score_gradient(one, g[i])) <= 1e-14
    shared = Attention.of(x, a[0, 0])  # one score matrix for the whole batch
    assert relative(jacobian(shared)[0, 1], jacobian(Attention.of(x[0, 1], a[0, 0]))) <= 1e-14


@given(st.integers(0, 2**31), st.integers(2, 7), st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_a_key_shift_is_invisible_and_a_query_shift_is_not(seed, n, d):
    r = np.random.default_rng(seed)
    q, k, c = (torch.tensor(r.normal(size=s)) for s in ((n, d), (n, d), (d,)))
    p = (q @ k.T).softmax(-1)
    assert float(((q @ (k + c).T).softmax(-1) - p).abs().max()) <= 1e-13
    spread = float((k @ c).max() - (k @ c).min())
    moved = ((q + c) @ k.T).softmax(-1)
    # log P_ij - log P_ik moves by c.(k_j - k_k), so a spread of s moves some log-weight by at least s / 2.
    assert float((moved.log() - p.log()).abs().max()) >= spread / 2 - 1e-12


def test_causal_row_zero_passes_no_score_gradient():
    x, a, _ = draw(2, 4, 3)
    h = Attention.of(x, a, causal_mask(4))
    assert float(h.covariance[0].abs().max()) == 0
    assert torch.equal(jacobian(h)[0, :, 0], torch.eye(3, dtype=torch.float64))
    future = torch.ones(4, 4).triu(1).bool()
    assert float(jacobian(h).transpose(1, 2)[future].abs().max()) == 0  # it has no influence


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, 5e-5)])
def test_precision_table(dtype, bound):
    """Worst error of 20 heads against float64; the tokens lie 100 from zero, so scores reach 1e4 eps in float32."""
    for seed in range(20):
        x, a, w_v = draw(seed, 12, 6, 0.02, 3.0, 4)
        want = jacobian(Attention.of(x, a), w_v)
        cast = Attention.of(x.to(dtype), a.to(dtype))
        got = jacobian(cast, w_v.to(dtype))
        assert got.dtype == dtype and relative(got.double(), want) <= bound


@pytest.mark.parametrize(
    ("x", "a", "mask", "words"),
    [
        (torch.full((3, 2), torch.nan), torch.eye(2), None, "finite"),
        (torch.ones(3, 2), torch.eye(2), torch.ones(3, 3, dtype=torch.bool).triu(1), "look somewhere, got row 2"),
    ],
)
def test_bad_input_says_what_came_and_what_to_do(x, a, mask, words):
    with pytest.raises(IsonumError, match=words):
        Attention.of(x, a, mask)


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
        a = a - lr * score_gradient(h, h.mean - goal)
    left = vectors.T @ (a - target).numpy() @ vectors / (vectors.T @ -target.numpy() @ vectors)
    want = (1 - lr * 30 * np.outer(values, values**2)) ** steps
    weight = torch.tensor(np.outer(values, values**2))  # the largest is 1, and the step half of its inverse
    assert np.abs(1 - learned_share(weight, steps, 0.5).numpy() - want).max() < 1e-12
    assert np.abs(left - want).max() < 5e-3  # scores are of size 1e-3, and so is the departure from A = 0
