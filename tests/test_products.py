"""Values and slopes of the three products against autograd's own rules."""

import pytest
import torch

from isonum_core.geometry.products import gram, quadratic, squared_lengths


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
    a = normal(rng, 4, 3)
    b = normal(rng, 3, 3).detach()
    assert torch.autograd.gradcheck(lambda x: quadratic(x, b + b.T), a)
    for f in (gram, squared_lengths):
        assert torch.autograd.gradcheck(f, a) and torch.autograd.gradgradcheck(f, a)
    assert torch.equal(squared_lengths(a), a.square().sum(1))
    with pytest.raises(
        RuntimeError, match="does not require grad|differentiate twice"
    ):  # rather than a wrong second slope
        (slope,) = torch.autograd.grad(quadratic(a, b + b.T), a, create_graph=True)
        slope.sum().backward()


def test_products_inside_mixed_precision_are_those_outside(rng):
    a, b = normal(rng, 6, 5).float(), normal(rng, 5, 5).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(gram(a), gram(a.clone())) and gram(a).dtype == torch.float32
        inside = quadratic(a, b + b.T)
    assert inside.item() == quadratic(a, b + b.T).item()
