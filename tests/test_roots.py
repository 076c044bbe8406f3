"""Gaussian draws through a bent root: the law of the covariance, and nothing that hangs on eigenvectors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF

from isonum_core.worlds import roots
from isonum_core.worlds.families import FAMILIES
from isonum_core.worlds.roots import SOFT, STEADY, root_draws


def test_white_noise_times_the_root_has_the_covariance(rng):
    c = RBF(8.0)(np.arange(40.0)[:, None])
    # what a draw of the identity gives is the root itself: its square is the covariance, but for SOFT
    root = root_draws(c, _Identity(np.random.PCG64()), 40)
    assert np.allclose(root, root.T, atol=1e-12)
    assert abs(root @ root - c).max() < SOFT * np.linalg.eigvalsh(c)[-1]


def test_the_basis_of_equal_eigenvalues_and_signs_do_not_matter(monkeypatch):
    c = np.diag([2.0, 2.0, 1.0, 0.0])
    plain, eigh = root_draws(c, np.random.default_rng(0), 5), np.linalg.eigh

    def turned(matrix):
        values, vectors = eigh(matrix)
        spin = np.eye(4)
        spin[2:, 2:] = [[0.6, -0.8], [0.8, 0.6]]
        return values, -vectors @ spin

    monkeypatch.setattr(roots.np.linalg, "eigh", turned)
    assert np.allclose(root_draws(c, np.random.default_rng(0), 5), plain, atol=1e-12)


@pytest.mark.parametrize("name", STEADY)
def test_the_steady_families_have_the_law_of_the_first_ones(name, rng):
    new, old = STEADY[name], FAMILIES[name]
    assert (new.name, new.grid, new.range, new.season(old.grid[0])) == (
        name,
        old.grid,
        old.range,
        old.season(old.grid[0]),
    )
    assert new.draw.__doc__ == old.draw.__doc__
    a, b = (family.draw(old.grid[1], 64, np.random.default_rng(i), 4000) for i, family in enumerate((new, old)))
    # 4000 draws: a correlation is known to .016, six of these
    assert abs(np.cov(a.T) - np.cov(b.T)).max() < 0.15


def test_a_rounding_of_the_covariance_moves_a_draw_by_no_more_than_is_said():
    c = RBF(32.0)(np.arange(144.0)[:, None])
    shaken = c * (1 + 2e-16 * np.sign(np.random.default_rng(1).standard_normal(c.shape)))
    a, b = (root_draws((x + x.T) / 2, np.random.default_rng(0), 20) for x in (c, shaken))
    assert 0 < abs(a - b).max() < 2e-9


class _Identity(np.random.Generator):
    def standard_normal(self, shape):
        return np.eye(*shape)
