"""Moments are exact sums: however split, merged, masked or far from the origin, they are those of one pass."""

import dataclasses

import numpy as np
import pytest
import torch

from isonum_core import Directions, IsonumError, Moments
from isonum_core.errors import WeakNumberWarning
from isonum_core.geometry import moments
from isonum_core.geometry.neighbours import cluster_centred_cosine, mle_dimension, two_nn
from isonum_core.geometry.partition import eigenvector_heuristic, partition_isotropy, partition_isotropy_centred
from isonum_core.geometry.partition_expansions import first_order, hull_inradius
from isonum_core.geometry.rows import accepted_rows
from isonum_core.geometry.scores import iso_score_star

FIELDS = ["mean", "squares", "cubes", "fourths", "covariance"]


def cloud(rng, n, d, offset=1.0):
    return torch.from_numpy(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + offset * rng.normal(size=d))


def slow(x):
    """Every field from its definition, in float64 with NumPy."""
    x = x.double().numpy()
    y = x - x.mean(0)
    q = (y**2).sum(1)
    return dict(
        mean=x.mean(0),
        squares=q.sum(),
        cubes=q @ y,
        fourths=(q**2).sum(),
        covariance=np.cov(x.T).reshape(x.shape[1], x.shape[1]),
    )


def assert_moments(m, expected, rel=1e-10):
    for name in FIELDS:
        want = torch.as_tensor(expected[name])
        got = getattr(m, name)
        assert got.dtype == torch.float64
        # Relative to what is summed, since the sums themselves may cancel (two rows have cubes of zero).
        summed = dict(cubes=float(expected["squares"]) ** 1.5)
        size = summed.get(name, float(want.abs().max()))
        torch.testing.assert_close(got, want, rtol=0, atol=rel * size, msg=lambda s, k=name: f"{k}: {s}")


@pytest.mark.parametrize("n, d", [(2, 7), (12, 30), (30, 30), (200, 9), (50, 1)])
def test_every_field_is_its_definition(rng, n, d):
    x = cloud(rng, n, d)
    assert_moments(Moments.of(x), slow(x))


@pytest.mark.parametrize("n, d", [(20, 50), (60, 50), (300, 6)])
def test_merging_any_split_equals_one_pass(rng, n, d):
    x = cloud(rng, n, d, offset=30.0)  # the parts differ in mean, so that the term between means matters
    x[: n // 3] += 10 * torch.from_numpy(rng.normal(size=d))
    cuts = np.sort(rng.choice(np.arange(1, n), size=4, replace=False))
    parts = [Moments.of(part) for part in x.tensor_split(cuts.tolist())]
    one_by_one = parts[0]
    for part in parts[1:]:
        one_by_one = one_by_one.merge(part)
    as_a_tree = parts[4].merge(parts[3]).merge(parts[2].merge(parts[0].merge(parts[1])))
    for merged in (one_by_one, as_a_tree):
        assert merged.n == n
        assert_moments(merged, slow(x))
        torch.testing.assert_close(
            merged.eigenvalues, Moments.of(x).eigenvalues, rtol=0, atol=1e-10 * float(merged.trace)
        )


def test_single_rows_merge_to_one_pass(rng):
    x = cloud(rng, 25, 8)
    m = Moments.of(x[:1])
    for row in x[1:]:
        m = m.merge(Moments.of(row[None]))
    assert_moments(m, slow(x))


def test_chunks_are_merged(rng, monkeypatch):
    monkeypatch.setattr(moments, "CHUNK", 64)
    x = cloud(rng, 64 * 3 + 5, 7)
    assert_moments(Moments.of(x), slow(x))


def test_memory_is_of_order_d_squared(rng):
    d = 16
    m = Moments.of(cloud(rng, 5, d))
    for _ in range(100):
        m = m.merge(Moments.of(cloud(rng, 5, d)))
    tensors = [v for f in dataclasses.fields(m) if isinstance(v := getattr(m, f.name), torch.Tensor)]
    assert m.n == 505
    assert sum(t.untyped_storage().nbytes() for t in tensors) <= 8 * (d * d + 3 * d + 2)


@pytest.mark.parametrize("n, d", [(8192, 64), (40_000, 24), (40, 200)])
def test_second_moment_of_float32_far_from_the_origin(rng, n, d):
    x = (torch.from_numpy(rng.normal(size=(n, d))) + 1e3).float()
    exact = np.cov(x.double().numpy().T)
    error = np.linalg.norm(Moments.of(x).covariance.numpy() - exact) / np.linalg.norm(exact)
    assert error <= 1e-6  # the promise; about 1e-7 is measured, and without the shift it would be 1e-1


def test_unshifted_float32_products_would_break_the_promise(rng):
    x = (torch.from_numpy(rng.normal(size=(8192, 64))) + 1e3).float()
    raw = (x.T @ x).double() / 8192 - torch.outer(x.mean(0).double(), x.mean(0).double())
    exact = torch.from_numpy(np.cov(x.double().numpy().T))
    assert torch.linalg.norm(raw - exact) / torch.linalg.norm(exact) > 1e-3


@pytest.mark.parametrize("name, sums", [("_directions", Directions), ("_moments", Moments)])
def test_no_chunk_is_summed_in_mixed_precision(rng, monkeypatch, name, sums):
    chunk = getattr(moments, name)

    def watched(rows):
        assert not torch.is_autocast_enabled("cpu")
        return chunk(rows)

    monkeypatch.setattr(moments, name, watched)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.is_autocast_enabled("cpu") and sums.of(cloud(rng, 100, 12).float()).n == 100


def test_products_taken_inside_mixed_precision_are_those_outside(rng):
    x = cloud(rng, 100, 12).float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = Moments.of(x).frobenius_sq
    assert inside.item() == Moments.of(x).frobenius_sq.item()


def test_mask_equals_deletion(rng):
    x = cloud(rng, 60, 9)
    mask = torch.from_numpy(rng.random(60) < 0.6)
    masked = Moments.of(x, mask)
    assert (masked.n, masked.dropped) == (int(mask.sum()), 60 - int(mask.sum()))
    assert_moments(masked, slow(x[mask]))
    assert masked.merge(masked).dropped == 2 * masked.dropped


def test_masked_rows_may_hold_anything(rng):
    x = cloud(rng, 20, 4)
    x[3] = float("nan")
    mask = torch.ones(20, dtype=torch.bool)
    mask[3] = False
    assert_moments(Moments.of(x, mask), slow(x[mask]))


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e-14, 1e-12, 1e12, 1e14, 1e18, 1e30])
def test_float32_of_any_scale(rng, scale):
    x = cloud(rng, 50, 6).float()
    y = (x.double() * scale).float()
    m = Moments.of(y[:20]).merge(Moments.of(y[20:]))
    ratio = m.concentration / Moments.of(x).concentration
    assert float(ratio) == pytest.approx(1, abs=1e-6)  # rounding of y to float32
    assert_moments(m, slow(y), rel=1e-5)


@pytest.mark.parametrize("n, d", [(9, 20), (20, 9)])
def test_both_sides_agree(rng, n, d):
    m = Moments.of(cloud(rng, n, d))
    b = cloud(rng, d, d)
    b = b + b.T
    c = m.covariance
    torch.testing.assert_close(m.trace, c.diagonal().sum())
    torch.testing.assert_close(m.frobenius_sq, (c**2).sum())
    torch.testing.assert_close(m.variances, c.diagonal())
    torch.testing.assert_close(m.inner(b), (c * b).sum())
    torch.testing.assert_close(m.concentration, (c**2).sum().sqrt() / c.diagonal().sum())
    torch.testing.assert_close(m.eigenvalues, torch.linalg.eigvalsh(c).flip(0), rtol=1e-9, atol=1e-10)
    assert len(m.eigenvalues) == d


@pytest.mark.parametrize("n, d", [(5, 8), (8, 5)])
def test_gradients_of_every_field(rng, n, d):
    x = cloud(rng, n, d).requires_grad_()

    def fields(x):
        m = Moments.of(x[:3]).merge(Moments.of(x[3:]))
        return m.mean, m.directions.unit_sum, m.squares, m.cubes, m.fourths, m.gram, m.covariance

    assert torch.autograd.gradcheck(fields, (x,))


NAN, INF = float("nan"), float("inf")
REFUSED = {
    "one axis": (lambda: torch.ones(4), r"shape \(n, d\).*got \(4,\)"),
    "three axes": (lambda: torch.ones(2, 3, 4), r"got \(2, 3, 4\)\. Flatten batch and position"),
    "no columns": (lambda: torch.ones(3, 0), r"d >= 1, got \(3, 0\)"),
    "integers": (lambda: torch.arange(6).reshape(3, 2), r"floating point, got torch.int64.*x\.double"),
    "complex": (lambda: torch.ones(3, 2, dtype=torch.complex64), "real floating point, got torch.complex64"),
    "no rows": (lambda: torch.ones(0, 3), "no rows are left"),
    "NaN": (
        lambda: torch.tensor([[1.0, 2], [NAN, 0], [3, 4]]),
        "1 of 3 rows with NaN or infinity, the first at row 1.*isfinite",
    ),
    "infinity": (
        lambda: torch.tensor([[1.0, INF], [1, -INF], [3, 4]]),
        "2 of 3 rows with NaN or infinity, the first at row 0",
    ),
    "overflow": (lambda: torch.full((3, 2), 1e200, dtype=torch.float64), "Divide by a common scale"),
    "underflow": (lambda: torch.full((3, 2), 1e-200, dtype=torch.float64), "Divide by a common scale"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_states_are_refused_with_a_sentence(name):
    make, words = REFUSED[name]
    with pytest.raises(IsonumError, match=words):
        Moments.of(make())


@pytest.mark.parametrize("sums", [Moments, Directions])
def test_a_refusal_counts_the_rows_of_the_whole(rng, sums):
    x = cloud(rng, 9000, 2).float()
    x[8500, 1] = NAN
    with pytest.raises(IsonumError, match="1 of 9000 rows with NaN or infinity, the first at row 8500"):
        sums.of(x)


DOORS = {
    "Moments": lambda x: Moments.of(x).covariance.tolist(),
    "Directions": lambda x: Directions.of(x).unit_sum.tolist(),
    "two_nn": two_nn,
    "mle_dimension": lambda x: mle_dimension(x, 5),
    "cluster_centred_cosine": lambda x: cluster_centred_cosine(x, np.random.default_rng(0)),
    "partition_isotropy": partition_isotropy,
    "partition_isotropy_centred": partition_isotropy_centred,
    "eigenvector_heuristic": eigenvector_heuristic,
    "first_order": first_order,
    "hull_inradius": hull_inradius,
}
ARRAYS = {
    "float32": lambda x: x.astype("f4"),
    "reversed": lambda x: x[::-1],
    "columns first": np.asfortranarray,
    "of a larger one": lambda x: np.concatenate([x, x], axis=1)[::2, : x.shape[1]],
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("door", DOORS)
def test_an_array_of_floats_is_what_the_tensor_is(rng, door, kind):
    array = ARRAYS[kind](rng.normal(size=(60, 3)))
    array.flags.writeable = False  # as pandas and memory maps give it
    expected = DOORS[door](torch.from_numpy(array.copy()))
    assert DOORS[door](array) == expected


def test_masks_and_priors_may_be_arrays(rng):
    x, mask, prior = rng.normal(size=(9, 4)), np.arange(9) < 7, np.diag([1.0, 2.0, 3.0, 4.0])
    of_arrays, of_tensors = Moments.of(x, mask), Moments.of(*map(torch.from_numpy, (x, mask)))
    assert of_arrays.dropped == of_tensors.dropped == 2
    assert iso_score_star(of_arrays, 0.5, prior) == iso_score_star(of_tensors, 0.5, torch.from_numpy(prior))


def test_lists_and_integer_arrays_are_refused_with_a_sentence():
    with pytest.raises(IsonumError, match=r"tensor or array of shape \(n, d\), got list.*as_tensor"):
        accepted_rows([[1.0, 2.0]])  # `Moments.of` is typed, and the type check of the tests comes first
    with pytest.raises(IsonumError, match="real floating point, got torch.int64"):
        Moments.of(np.arange(6).reshape(3, 2))


MASKS = {
    "empty": (torch.zeros(3, dtype=torch.bool), "the mask dropped all 3.*at least one row"),
    "not boolean": (torch.ones(3), "boolean.*got torch.float32"),
    "wrong length": (torch.ones(2, dtype=torch.bool), r"shape \(3,\).*\(2,\)"),
}


@pytest.mark.parametrize("name", MASKS)
def test_bad_masks_are_refused_with_a_sentence(name):
    mask, words = MASKS[name]
    with pytest.raises(IsonumError, match=words):
        Moments.of(torch.ones(3, 2), mask)


def test_one_sample_and_constant_clouds_have_no_spectrum(rng):
    with pytest.raises(IsonumError, match="at least 2 samples, got n=1.*Give more rows"):
        _ = Moments.of(torch.ones(1, 3)).trace
    for value in (0.0, 0.1, 1e6 / 3):
        with pytest.raises(IsonumError, match="samples that differ, got 9 equal rows.*padding"):
            _ = Moments.of(torch.full((9, 3), value)).covariance


def test_a_small_spread_about_a_large_mean_is_not_taken_for_constant(rng):
    x = torch.from_numpy(1e4 + 1e-6 * rng.normal(size=(50, 4)))
    assert float(Moments.of(x).trace) == pytest.approx(4e-12, rel=0.5)


def test_half_precision_warns_with_its_digits(rng):
    x = cloud(rng, 20, 4)
    with pytest.warns(WeakNumberWarning, match="float16.*11 significant bits"):
        Moments.of(x.half())
    with pytest.warns(WeakNumberWarning, match="bfloat16.*8 significant bits"):
        Moments.of(x.bfloat16())


def test_float16_sums_that_would_overflow_do_not(rng):
    x = torch.from_numpy(rng.normal(size=(4096, 16)) * 300).half()  # sums of squares pass 65504 at once
    with pytest.warns(WeakNumberWarning):
        m = Moments.of(x)
    assert_moments(m, slow(x), rel=1e-5)  # float32 products of 4096 rows


def test_unequal_moments_do_not_merge(rng):
    with pytest.raises(IsonumError, match="equal d, got d=3 and d=4"):
        Moments.of(cloud(rng, 5, 3)).merge(Moments.of(cloud(rng, 5, 4)))
