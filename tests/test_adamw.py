"""AdamW on two sums, against torch's optimiser on the rows."""

from __future__ import annotations

import pytest
import torch

from isonum_core.theory.adamw import adamw_weights


def _torch(h, y, rate, steps, decay):
    w = torch.zeros(h.shape[1], y.shape[1], dtype=h.dtype, requires_grad=True)
    optimiser = torch.optim.AdamW([w], lr=rate, weight_decay=decay)
    for _ in range(steps):
        optimiser.zero_grad()
        ((h @ w - y).square().sum() / (2 * len(h))).backward()
        optimiser.step()
    return w.detach()


@pytest.fixture
def rows(rng):
    h = torch.from_numpy(rng.normal(size=(50, 6))) * torch.arange(1, 7, dtype=torch.float64) ** -1.0
    return h, h @ torch.from_numpy(rng.normal(size=(6, 2))) + 0.3 * torch.from_numpy(rng.normal(size=(50, 2)))


@pytest.mark.parametrize("decay", [0.01, 0.3])
def test_two_sums_do_what_torch_does_with_the_rows(rows, decay):
    h, y = rows
    found = adamw_weights(h.mT @ h / 50, h.mT @ y / 50, [1e-3, 0.1], [1, 7, 40], decay)
    assert found.shape == (2, 3, 6, 2)
    for i, rate in enumerate((1e-3, 0.1)):
        for j, steps in enumerate((1, 7, 40)):
            # sums are taken in another order, and each step divides by a root of them
            torch.testing.assert_close(found[i, j], _torch(h, y, rate, steps, decay), rtol=1e-8, atol=1e-10)


def test_it_feels_a_rotation_but_no_order_or_sign_of_coordinates(rows, rng):
    h, y = rows

    def said(turn):
        x = h @ turn
        return x @ adamw_weights(x.mT @ x / 50, x.mT @ y / 50, [0.01], [30])[0, 0]

    eye = torch.eye(6, dtype=torch.float64)
    swapped = eye[torch.tensor([3, 0, 5, 1, 2, 4])] * torch.tensor([1.0, -1, 1, 1, -1, 1], dtype=torch.float64)
    turned = torch.linalg.qr(torch.from_numpy(rng.normal(size=(6, 6)))).Q
    torch.testing.assert_close(said(swapped), said(eye), rtol=1e-9, atol=1e-12)
    assert (said(turned) - said(eye)).abs().max() > 1e-2


def test_long_enough_it_is_least_squares(rows):
    h, y = rows
    found = adamw_weights(h.mT @ h / 50, h.mT @ y / 50, [0.01], [4000], 0.0)[0, 0]
    torch.testing.assert_close(found, torch.linalg.lstsq(h, y).solution, rtol=0, atol=0.02)  # its step is .01
