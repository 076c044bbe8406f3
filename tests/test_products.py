"""Values and slopes of the products against autograd's own rules."""

import pytest
import torch

from isonum_core.geometry.products import centred, gram, quadratic, squared_lengths


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape)).requires_grad_()


@pytest.mark.parametrize("k", [5, 256, 301])  # below and above the block sizes of the libraries
@pytest.mark.parametrize("transposed", [False, True])
def test_gram_is_the_full_product_and_so_is_its_slope(rng, k, transposed):
    a = normal(rng, 7, k).T if transposed else normal(rng, k, 7)
    weights = torch.from_numpy(rng.normal(size=(k, k)))  # not symmetric: the slope must not assume it
    plain = a @ a.T
    torch.testing.assert_close(gram(a), plain, rtol=1e-13, atol=1e-13)
    (expected,) = torch.autograd.grad((plain * weights).sum(), a)
    (found,) = torch.autograd.grad((gram(a) * weights).sum(), a)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_slopes_pass_gradcheck_and_second_order_where_it_is_offered(rng):
    a, y, shift = normal(rng, 4, 3), normal(rng, 4, 3), torch.from_numpy(rng.normal(size=3))
    b = normal(rng, 3, 3).detach()
    assert torch.autograd.gradcheck(lambda x: quadratic(x, b + b.T), a)
    assert torch.autograd.gradgradcheck(gram, a)
    assert torch.autograd.gradgradcheck(lambda x: centred(x, shift), y)
    assert torch.autograd.gradgradcheck(squared_lengths, y)


def test_centred_rows_have_mean_zero_far_from_the_origin(rng):
    x = torch.from_numpy(rng.normal(size=(500, 4))).float() + 1e3
    y, rest = centred(x, x.mean(0))
    # float32 spacing at 1e3 is 6e-5: the second subtraction leaves the rounding of one sum
    assert float(y.mean(0).abs().max()) < 1e-6
    torch.testing.assert_close(x.mean(0) + rest + y, x, rtol=1e-6, atol=0)
