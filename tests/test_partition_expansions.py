"""Every remainder of log Z on a sphere, over more than 10,000 random directions each, and the hull at large radii."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.geometry.partition_expansions import (
    Bracket,
    first_order,
    hull_inradius,
    log_partition_bounds,
    phi,
    row_diameter,
    row_spectrum,
    sphere_maximum,
)

seeds = st.integers(0, 2**32 - 1)
DIRECTIONS = 300  # per Hypothesis example; with 40 examples, 12,000 cases for every bound
# A band of width r^2 D^2 / 8 is narrower than rounding of log Z (1e-16 times log N) when r D < 1e-6.
SLACK = 1e-12


def random_head(seed):
    """A head of 2 to 40 rows in 1 to 6 dimensions, with any spectrum and any mean, and a radius from 1e-3 to 100."""
    g = np.random.default_rng(seed)
    n, d = int(g.integers(2, 41)), int(g.integers(1, 7))
    w = g.standard_normal((n, d)) * g.uniform(0.05, 2, d) + g.uniform(0, 2) * g.standard_normal(d)
    return torch.from_numpy(w), float(10 ** g.uniform(-3, 2)), torch.from_numpy(g.standard_normal((DIRECTIONS, d)))


def on_sphere(x, r):
    return r * x / x.norm(dim=1, keepdim=True)


def sphere_extremes(w, r, k=20_001):
    """min and max of log Z on a circle of radius r by brute force: a grid, then a finer grid around its best points."""

    def values(t):
        return (r * torch.stack([t.cos(), t.sin()], 1) @ w.T).logsumexp(1)

    t = torch.linspace(0, 2 * math.pi, k, dtype=torch.float64)
    ends = []
    for sign in (-1, 1):
        centre, width = t[(sign * values(t)).argmax()], 2 * math.pi / k
        for _ in range(3):
            fine = centre + torch.linspace(-width, width, 401, dtype=torch.float64)
            found = values(fine)
            centre, width = fine[(sign * found).argmax()], width / 100
        ends.append(float(sign * (sign * found).max()))
    return ends


# The chapter's other brackets. No chapter calls them, so they live here: each states what its test then tries to break.


def second_order(w, r):
    """delta(r) between two quadratic problems: q_c(h) = <wbar, h> + c h^T C h at c = phi(-rD) and phi(rD)."""
    low, high = log_partition_bounds(w, r, row_diameter(w))
    mean, spectrum, basis = row_spectrum(w)
    lin = basis.T @ mean
    estimate = sphere_maximum(lin, spectrum / 2, r) + sphere_maximum(-lin, -spectrum / 2, r)
    return Bracket(max(low[1] - high[0], 0.0), estimate, high[1] - low[0])


def large_radius(w, r):
    """delta(r) = r (m - rho) +- log N, as max_i <w_i, h> <= log Z(h) <= max_i <w_i, h> + log N."""
    middle, slack = r * (float(w.norm(dim=1).max()) - hull_inradius(w)), math.log(len(w))
    return Bracket(max(middle - slack, 0.0), middle, middle + slack)


def lower_bound(w, r):
    """I(W; r) >= max(N - r |W^T 1| + phi(-M) s_min^2 r^2, N exp(-r |wbar|)) / (N + r |W^T 1| + phi(M) s_max^2 r^2)."""
    n, total, s_sq = len(w), float(w.sum(0).norm()), torch.linalg.eigvalsh(w.T @ w).clamp_min(0)
    big = torch.tensor(r * float(w.norm(dim=1).max()), dtype=torch.float64)  # M
    numerator = max(n - r * total + float(phi(-big) * s_sq[0]) * r**2, n * math.exp(-r * total / n))
    return numerator / (n + r * total + (float(phi(big) * s_sq[-1]) * r**2 if s_sq[-1] else 0.0))


@pytest.mark.parametrize("r", [0.01, 0.7, 5.0])
def test_first_order_is_its_statement(rng, r):
    """2 r |wbar| - r^2 D^2 / 8 <= delta(r) <= 2 r |wbar| + r^2 D^2 / 8, by value, on a triangle of sides 3, 4, 5."""
    found = first_order(torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]), r)
    push, slack = 2 * r * (5 / 3), r**2 * 25 / 8  # the mean row is (1, 4/3), the diameter 5
    assert found.estimate == pytest.approx(push, rel=1e-14)
    assert found.upper == pytest.approx(push + slack, rel=1e-14)
    assert found.lower == pytest.approx(max(push - slack, 0), rel=1e-12)


def test_unless_told_the_sphere_is_the_unit_sphere(rng):
    """As in Mu and Viswanath, whose Z(c) is over |c| = 1."""
    w = torch.from_numpy(rng.normal(size=(50, 4)))
    assert first_order(w) == first_order(w, 1.0)


@pytest.mark.parametrize("r", [0.01, 0.7, 5.0, 40.0])
def test_the_bounds_on_both_ends_are_their_statement(r):
    """Lemma: <wbar, h> + phi(-rD) h'Ch <= log Z/N <= <wbar, h> + min(phi(rD) h'Ch, r^2 D^2 / 8), and <= r max |w_i|."""
    w = torch.tensor([[2.0], [-1.0], [-1.0], [4.0]], dtype=torch.float64)  # in one dimension h is r or -r
    mean, c, spread, longest = 1.0, 4.5, 5.0, 4.0
    a, b = ((math.exp(y) - 1 - y) / y**2 for y in (-r * spread, r * spread))
    below, above = log_partition_bounds(w, r, spread)
    cap = min(b * c * r**2, (r * spread) ** 2 / 8)
    assert below == pytest.approx((-r * mean + a * c * r**2, r * mean + a * c * r**2), rel=1e-9)
    assert above == pytest.approx((-r * mean + cap, min(r * mean + cap, r * longest)), rel=1e-9)


@pytest.mark.parametrize("y", [-700.0, -40.0, -1.0, -0.011, -0.009, -1e-5, 0.0, 1e-9, 0.0099, 0.0101, 3.0, 700.0])
def test_phi_has_twelve_digits_on_both_sides_of_its_series(y):
    with localcontext() as ctx:
        ctx.prec = 60
        exact = float((Decimal(y).exp() - 1 - Decimal(y)) / Decimal(y) ** 2) if y else 0.5
    # At |y| = 0.01 the quotient has lost the digits of y^2/2 against y: 2e-14 of 1/2, times a few roundings.
    assert float(phi(torch.tensor(y, dtype=torch.float64))) == pytest.approx(exact, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_log_z_lies_in_all_three_bands_in_every_direction(seed):
    w, r, x = random_head(seed)
    n, h = len(w), on_sphere(x, r)
    mean, spectrum, basis = row_spectrum(w)
    excess = (h @ w.T).logsumexp(1) - math.log(n) - h @ mean  # K(h)
    quadratic = ((h @ basis) ** 2 * spectrum).sum(1)  # h^T C h
    y = torch.tensor(r * row_diameter(w), dtype=torch.float64)
    room = SLACK * (1 + r * float(w.norm(dim=1).max()))  # rounding of logits of that size
    assert (excess >= phi(-y) * quadratic - room).all()
    assert (excess <= y**2 / 8 + room).all()
    if float(y) < 700:
        assert (excess <= phi(y) * quadratic * (1 + SLACK) + room).all()
    # The same for Z itself, about zero instead of the mean: the band that `lower_bound` rests on.
    big = torch.tensor(r * float(w.norm(dim=1).max()), dtype=torch.float64)
    if float(big) < 300:
        second = ((h @ w.T) ** 2).sum(1)
        rest = (h @ w.T).exp().sum(1) - n - (h @ w.T).sum(1)
        room = SLACK * (h @ w.T).exp().sum(1)
        assert (rest >= phi(-big) * second - room).all()
        assert (rest <= phi(big) * second * (1 + SLACK) + room).all()


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_no_direction_leaves_the_brackets(seed):
    w, r, x = random_head(seed)
    values = (on_sphere(x, r) @ w.T).logsumexp(1) - math.log(len(w))
    room = SLACK * (1 + r * float(w.norm(dim=1).max()))
    below, above = log_partition_bounds(w, r, row_diameter(w))
    assert (values >= below[0] - room).all() and (values <= above[1] + room).all()
    seen = float(values.max() - values.min())
    for bracket in (first_order(w, r), second_order(w, r), large_radius(w, r)):
        assert 0 <= bracket.lower <= bracket.upper
        assert seen <= bracket.upper + room
    ratio = math.exp(float(values.min() - values.max()))
    assert lower_bound(w, r) <= ratio + SLACK


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_second_order_is_never_wider_than_first_order(seed):
    w, r, _ = random_head(seed)
    one, two = first_order(w, r), second_order(w, r)
    room = SLACK * (1 + one.upper)
    assert two.lower >= one.lower - room and two.upper <= one.upper + room


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("r", [0.01, 0.3, 2.0, 40.0])
def test_the_circle_by_brute_force_lies_in_every_bracket(seed, r):
    g = np.random.default_rng(seed)
    w = torch.from_numpy(g.standard_normal((int(g.integers(3, 30)), 2)) * [1, 0.4] + (seed % 3) * g.standard_normal(2))
    low, high = sphere_extremes(w, r)
    for bracket in (first_order(w, r), second_order(w, r), large_radius(w, r)):
        assert bracket.lower - 1e-9 <= high - low <= bracket.upper + 1e-9
    below, above = log_partition_bounds(w, r, row_diameter(w))
    assert below[0] - 1e-9 <= low - math.log(len(w)) <= above[0] + 1e-9
    assert below[1] - 1e-9 <= high - math.log(len(w)) <= above[1] + 1e-9
    assert lower_bound(w, r) <= math.exp(low - high) + 1e-12


def test_each_band_is_attained():
    # Two rows +-1: K(h) = log cosh h <= h^2 / 2 = (rD)^2 / 8, and the ratio tends to 1 as h -> 0.
    line = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    h = 1e-3
    assert math.log(math.cosh(h)) / ((2 * h) ** 2 / 8) > 0.999999
    # Rare token of share e: K = log(1 + e (e^s - 1)) - e s ~ e s^2 phi(s) along it and e s^2 phi(-s) against it.
    for sign in (1, -1):
        e, s = 1e-6, sign * 3.0
        excess = math.log1p(e * math.expm1(s)) - e * s
        assert excess / (e * (1 - e) * s**2 * float(phi(torch.tensor(s, dtype=torch.float64)))) == pytest.approx(
            1, rel=1e-4
        )
    # Two opposite rows far out: max_i <w_i, h> + log N is attained at h orthogonal to both.
    flat = torch.tensor([[1.0, 0], [-1, 0]], dtype=torch.float64)
    low, high = sphere_extremes(flat, 50.0)
    assert high - low == pytest.approx(50 - math.log(2), abs=1e-9)
    assert large_radius(flat, 50.0).lower == pytest.approx(50 - math.log(2), abs=1e-12)
    assert first_order(line, 1e-3).lower == 0


def test_second_order_of_a_centred_head_is_the_spectral_gap():
    g = np.random.default_rng(0)
    w = torch.from_numpy(g.standard_normal((400, 5)) * [3, 1, 1, 1, 0.5])
    w = w - w.mean(0)
    values, r = row_spectrum(w)[1], 1e-3
    gap = float(r**2 * (values[-1] - values[0]) / 2)
    bracket = second_order(w, r)
    assert bracket.estimate == pytest.approx(gap, rel=1e-9)
    y = torch.tensor(r * row_diameter(w), dtype=torch.float64)
    lower = r**2 * (phi(-y) * values[-1] - phi(y) * values[0])
    assert bracket.lower == pytest.approx(float(lower), rel=1e-9)
    assert bracket.upper == pytest.approx(float(r**2 * (phi(y) * values[-1] - phi(-y) * values[0])), rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_quadratics_on_a_circle_are_solved_exactly(seed):
    g = np.random.default_rng(seed)
    lin, curvature = g.standard_normal(2) * g.integers(0, 2, 2), 5 * g.standard_normal(2)
    r = float(10 ** g.uniform(-2, 2))
    t = np.linspace(0, 2 * np.pi, 400_001)
    values = r * (lin @ [np.cos(t), np.sin(t)]) + r**2 * (curvature @ [np.cos(t) ** 2, np.sin(t) ** 2])
    # A grid of step s misses a maximum of curvature c by at most c s^2 / 8.
    room = (r * np.linalg.norm(lin) + 4 * r**2 * np.abs(curvature).max()) * (t[1] - t[0]) ** 2
    found = sphere_maximum(torch.from_numpy(lin), torch.from_numpy(curvature), r)
    assert values.max() - 1e-12 * abs(found) <= found <= values.max() + room + 1e-12 * abs(found)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_quadratics_on_spheres_bound_every_direction_and_are_attained(seed):
    g = np.random.default_rng(seed)
    d, r = int(g.integers(1, 9)), float(10 ** g.uniform(-2, 2))
    lin, curvature = torch.from_numpy(g.standard_normal(d)), torch.from_numpy(g.standard_normal(d))
    x = on_sphere(torch.from_numpy(g.standard_normal((500, d))), r)
    found = sphere_maximum(lin, curvature, r)
    for _ in range(2000):  # h <- r (c + s) h + lin/2 with c + s > 0 climbs: the shifted objective is convex
        push = 2 * (curvature - curvature.min()) * x + lin
        x = on_sphere(push, r)
    best = float((x @ lin + (x**2) @ curvature).max())
    assert best <= found + 1e-10 * (1 + abs(found))
    assert best >= found - 1e-4 * (r + r**2)  # the climb is slow where the two top curvatures are close


def test_diameter_is_the_largest_distance():
    g = np.random.default_rng(1)
    w = g.standard_normal((1500, 3))  # more than one chunk
    twin = max(np.linalg.norm(w - row, axis=1).max() for row in w)
    assert row_diameter(torch.from_numpy(w)) == pytest.approx(twin, rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "rho"),
    [
        ([[1, 1], [1, -1], [-1, 1], [-1, -1]], 1.0),  # square
        ([[2, 0], [-1, 3**0.5], [-1, -(3**0.5)]], 1.0),  # triangle about its centre
        ([[3, 1], [3, -1], [5, 0]], -3.0),  # 0 outside, nearest an edge
        ([[3, 4], [6, 8]], -5.0),  # 0 outside, nearest a corner, flat hull
        ([[1, 0], [-1, 0]], 0.0),  # flat hull through 0
        ([[-2], [3]], 2.0),  # a line
        ([[0, 0], [1, 0], [0, 1]], 0.0),  # 0 is a corner
    ],
)
def test_hull_inradius_of_shapes_drawn_by_hand(rows, rho):
    assert hull_inradius(torch.tensor(rows, dtype=torch.float64)) == pytest.approx(rho, abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_hull_inradius_is_the_lowest_support(seed):
    g = np.random.default_rng(seed)
    w = g.standard_normal((12, 2)) + (seed % 3) * g.standard_normal(2)
    t = np.linspace(0, 2 * np.pi, 200_001)
    support = (w @ [np.cos(t), np.sin(t)]).max(0).min()
    # The support function has slope at most max |w_i|, so the grid misses its minimum by at most that times the step.
    room = np.linalg.norm(w, axis=1).max() * (t[1] - t[0])
    assert support - room <= hull_inradius(torch.from_numpy(w)) <= support + 1e-12


@pytest.mark.parametrize("function", [first_order, hull_inradius])
def test_every_function_looks_at_its_rows(function):
    with pytest.raises(IsonumError, match="NaN or infinity, the first at row 2"):
        function(torch.tensor([[1.0, 2], [0, 1], [0, float("inf")]]))


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), float("inf")])
def test_a_radius_is_positive(radius):
    with pytest.raises(IsonumError, match="positive number"):
        first_order(torch.eye(2), radius)


def test_the_hull_in_many_dimensions_is_refused():
    with pytest.raises(IsonumError, match="only up to d=8, got d=9"):
        hull_inradius(torch.eye(9))
