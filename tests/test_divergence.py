"""KL to the last digit, its bands over more than 10,000 random cases each, and the exact error identity."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.theory.divergence import (
    chi,
    forecast_mean,
    forecast_variance,
    kl_band,
    kl_divergence,
    log_ratio_bound,
    logit_error,
    one_sided_kl_band,
    phi,
    reverse_kl_band,
    spread,
    variance_bound,
)

seeds = st.integers(0, 2**32 - 1)
CASES = 500  # per Hypothesis example; with 40 examples, 20,000 cases for every band
# Both sides of a band meet at v/2 as dz -> 0, where rounding of v and of KL, near 1e-15 each, decides who is larger.
SLACK = 1e-12


def cases(seed, n_tokens):
    """Random (z, dz): forecasts from flat to almost certain, changes from 1e-4 to 30 nats, on all or on few tokens."""
    g = torch.Generator().manual_seed(seed)
    rand, normal = (partial(f, generator=g, dtype=torch.float64) for f in (torch.rand, torch.randn))
    z = 10 ** (3.5 * rand(CASES, 1) - 2) * normal(CASES, n_tokens)
    dz = 10 ** (5.5 * rand(CASES, 1) - 4) * normal(CASES, n_tokens)
    sparse = rand(CASES, 1) < 0.3
    dz = torch.where(sparse & (rand(CASES, n_tokens) < 0.7), 0, dz)
    dz[..., 0] += (spread(dz) == 0) * 1e-3  # a case with no change at all is not a case
    return z, dz


def kl_twin(z, dz):
    """sum p log(p / p') in 60 decimal digits, from the definition."""
    with localcontext() as ctx:
        ctx.prec = 60
        z = [Decimal(float(x)) for x in z]
        y = [a + Decimal(float(b)) for a, b in zip(z, dz, strict=True)]
        log_z, log_y = sum(a.exp() for a in z).ln(), sum(a.exp() for a in y).ln()
        return float(sum((a - log_z).exp() * ((a - log_z) - (b - log_y)) for a, b in zip(z, y, strict=True)))


@pytest.mark.parametrize("scale", [1e-12, 1e-8, 1e-3, 1.0, 30.0, 2000.0])
@pytest.mark.parametrize("seed", range(3))
def test_kl_has_twelve_digits_at_every_size(scale, seed):
    g = torch.Generator().manual_seed(seed)
    z, dz = torch.randn(2, 9, generator=g, dtype=torch.float64)
    dz = scale * dz
    exact = kl_twin(z, dz)
    assert abs(float(kl_divergence(z, dz)) / exact - 1) <= 1e-12


def test_known_values():
    z = torch.zeros(2, dtype=torch.float64)
    dz = torch.tensor([3.0, 1.0], dtype=torch.float64).log()
    assert abs(float(kl_divergence(z, dz)) - 0.14384103622589045) < 1e-16  # log(4/3)/2
    one = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    for f, values in ((phi, [0.5, 0.7182818284590452, 0.36787944117144233]), (chi, [0.5, 1.0, 0.26424111765711533])):
        assert (
            f(one) - torch.tensor(values, dtype=torch.float64)
        ).abs().max() < 1e-15  # 1/2, e - 2, 1/e; 1/2, 1, 1 - 2/e
    assert float(kl_divergence(z, z)) == 0


@pytest.mark.parametrize("f, weight", [(phi, lambda u: 1 - u), (chi, lambda u: u)])
def test_phi_and_chi_are_their_integrals(f, weight):
    """integral over (0, 1) of weight(u) exp(u y), by 60-point Gauss-Legendre: exact to rounding for |y| <= 40."""
    import numpy as np

    x, c = np.polynomial.legendre.leggauss(60)
    u, c = torch.tensor((x + 1) / 2), torch.tensor(c / 2)
    y = torch.cat([torch.linspace(-40, 40, 801), torch.tensor([1e-9, -1e-9, 1.0, -1.0, 1.0000001])]).double()
    slow = (c * weight(u) * (y[:, None] * u).exp()).sum(1)
    assert ((f(y) - slow).abs() / slow).max() <= 1e-13
    ordered = f(y.sort().values)
    assert (ordered.diff() > 0).all() and (ordered > 0).all()
    far = torch.tensor([-1e4, -800.0], dtype=torch.float64)
    assert torch.allclose(f(far) * (far**2 if f is chi else -far), torch.ones(2).double(), atol=2e-3)


def test_gradients_of_phi_chi_and_kl():
    y = torch.tensor([-3.0, -1.0001, -0.5, 0.0, 0.7, 0.9999, 4.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(phi, y) and torch.autograd.gradcheck(chi, y)
    g = torch.Generator().manual_seed(0)
    z, dz = (torch.randn(3, 5, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(kl_divergence, (z, dz))


tightest = {}  # the largest ratio of value to bound over all cases, per bound


def holds(name, small, large):
    """small <= large in every case; remembers how near they came."""
    bad = small > large * (1 + SLACK)
    assert not bad.any(), (name, int(bad.sum()), small[bad][:3], large[bad][:3])
    tightest[name] = max(tightest.get(name, 0.0), float((small / large).max()))


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 40))
def test_no_band_is_ever_left(seed, n_tokens):
    z, dz = cases(seed, n_tokens)
    v, s = forecast_variance(z, dz), spread(dz)
    kl, reverse = kl_divergence(z, dz), kl_divergence(z + dz, -dz)
    seen = kl > 1e-280  # below, products of probabilities underflow and there is no number left to bound
    kl, reverse, v, s, z, dz = kl[seen], reverse[seen], v[seen], s[seen], z[seen], dz[seen]
    mean = forecast_mean(z, dz)
    below, above = mean - dz.amin(-1), dz.amax(-1) - mean
    band, back, side = kl_band(v, s), reverse_kl_band(v, s), one_sided_kl_band(v, below, above)
    holds("forward lower", band.lower, kl)
    holds("forward upper", kl, band.upper)
    holds("reverse lower", back.lower, reverse)
    holds("reverse upper", reverse, back.upper)
    holds("one-sided lower", side.lower, kl)
    holds("one-sided upper", kl, side.upper)
    holds("variance", v, variance_bound(kl, s))
    u, p = (z + dz).log_softmax(-1) - z.log_softmax(-1), z.softmax(-1)
    clear = kl > 1e-12  # below, log p'/p as a difference of two logarithms is rounding
    holds("log ratio", (p * u**2).sum(-1)[clear], variance_bound(kl, -u.amin(-1))[clear])
    holds("every token", u.abs()[clear], log_ratio_bound(kl[:, None].expand_as(p), p)[clear])
    # Where Hoeffding does not act, the one-sided band is the sharper one above.
    assert (side.upper <= v * phi(s.clamp_max(500)) * (1 + SLACK)).all()


def test_the_bands_are_not_idle():
    """Each bound is nearly attained by some case, and the exact shift attains them all at zero."""
    test_no_band_is_ever_left()
    assert min(tightest.values()) > 0.99, tightest
    z, dz = torch.randn(2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shift = torch.full_like(dz, 1e6)
    assert spread(shift) == 0
    assert kl_divergence(z, shift) < 1e-19  # E_p of the constant 1e6 is rounded at 1e-10, and KL is that squared


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 40))
def test_the_error_identity_is_exact(seed, n_tokens):
    z, dz = cases(seed, n_tokens)
    e = logit_error(z, dz)
    rebuilt = e.variance + (e.dlog_partition - e.kl) ** 2
    assert ((e.mean_square - rebuilt).abs() <= 1e-11 * e.mean_square).all()
    # The mean is a difference of two numbers near KL, and cancels where dz has both signs: rounding relative to those.
    drift = (forecast_mean(z, dz) - (e.dlog_partition - e.kl)).abs()
    assert (drift <= 1e-11 * (e.mean_square.sqrt() + e.kl)).all()
    plain = (z + dz).logsumexp(-1) - z.logsumexp(-1)
    size = 1 + z.abs().amax(-1) + dz.abs().amax(-1)  # the plain difference is good to this times 1e-15
    assert ((e.dlog_partition - plain).abs() <= 1e-14 * size).all()


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 3e-6), (torch.float64, 1e-13)])
def test_precision(dtype, bound):
    g = torch.Generator().manual_seed(0)
    z, dz = torch.randn(2, 300, 20, generator=g, dtype=torch.float64).to(dtype)
    low, high = kl_divergence(z, 1e-3 * dz), kl_divergence(z.double(), (1e-3 * dz).double())
    assert low.dtype == dtype
    assert ((low - high).abs() / high).max() <= bound


def test_bounds_are_their_formulas():
    """Each bound by its value, in the notation of its statement: a constant that moves is seen."""
    v, wide, below, above = (torch.tensor([x], dtype=torch.float64) for x in (0.3, 2.0, 0.7, 1.1))

    def p(y):
        return (math.exp(y) - 1 - y) / y**2

    def c(y):
        return ((y - 1) * math.exp(y) + 1) / y**2

    want = {
        "forward": (kl_band(v, wide), 0.3 * p(-2), min(0.3 * p(2), 0.5)),
        "forward, wide": (kl_band(10 * v, wide), 3 * p(-2), 4 / 8),
        "reverse": (reverse_kl_band(v / 3, wide), 0.1 * c(-2), 0.1 * c(2)),
        "reverse, wide": (reverse_kl_band(10 * v, wide), 3 * c(-2), 4 / 8),
        "one-sided": (one_sided_kl_band(v, below, above), math.log1p(0.3 * p(-0.7)), math.log1p(0.3 * p(1.1))),
    }
    for name, (band, lower, upper) in want.items():
        assert float(band.lower) == pytest.approx(lower, rel=1e-13), name
        assert float(band.upper) == pytest.approx(upper, rel=1e-13), name
    # beyond the range in which exp is a number only Hoeffding, or nothing, is left, for a variance of zero too
    far = torch.tensor([700.0, 720.0, 720.0], dtype=torch.float64)
    tiny = torch.tensor([1e-305, 1e-305, 0.0], dtype=torch.float64)
    for band in (kl_band(tiny, far), reverse_kl_band(tiny, far)):
        assert band.upper[0] < 1e-3 and band.upper[1:].equal(far[1:] ** 2 / 8)
    assert (
        one_sided_kl_band(tiny, far, far).upper[0] < 1e-4 and one_sided_kl_band(tiny, far, far).upper[1:].isinf().all()
    )
    assert float(variance_bound(v, wide)) == pytest.approx(4 * 0.3, rel=1e-14)


def test_the_cap_of_a_token_inverts_its_equation_and_is_nearly_attained():
    """exp(-x) - 1 + x = KL / p over 15 decades; a token of probability 1e-6 whose logit falls by 3 reaches it."""
    x = torch.logspace(-12, 3, 60, dtype=torch.float64)
    assert (log_ratio_bound(x**2 * phi(-x), torch.ones_like(x)) / x - 1).abs().max() < 1e-14
    assert log_ratio_bound(torch.zeros(2).double(), torch.ones(2).double()).equal(torch.zeros(2).double())
    z = torch.tensor([math.log(1e-6), 0.0, 0.0], dtype=torch.float64)
    dz = torch.tensor([-3.0, 0, 0], dtype=torch.float64)
    u = ((z + dz).log_softmax(-1) - z.log_softmax(-1))[0]
    cap = log_ratio_bound(kl_divergence(z, dz), z.softmax(-1)[0])
    assert 0.9999 < float(-u / cap) <= 1
    # the first edition: 2 sqrt(KL/2) / p_min, and only where KL <= p_min^2 / 2: a scale of p_min, not of its square
    kl, p = torch.tensor(1e-8, dtype=torch.float64), torch.tensor(1e-3, dtype=torch.float64)
    assert float(log_ratio_bound(kl, p)) < 5e-3 < 2 * float((kl / 2).sqrt() / p)


def test_unbounded_change_is_infinite_nowhere_but_in_phi():
    v, s = torch.tensor([1e3, 1e3]).double(), torch.tensor([400.0, 4000.0]).double()
    for band in (kl_band(v, s), reverse_kl_band(v, s)):
        assert band.upper.equal(s**2 / 8) and (band.lower > 0).all() and band.lower.isfinite().all()


def test_masked_tokens_are_refused():
    z = torch.tensor([0.0, float("-inf")], dtype=torch.float64)
    with pytest.raises(IsonumError, match="must be finite.*Masked tokens: drop them"):
        kl_divergence(z, torch.zeros(2, dtype=torch.float64))
