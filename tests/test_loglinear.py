"""The log-linear model against autograd and against the sums written out."""

from __future__ import annotations

import math
from functools import partial

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isonum_core.errors import IsonumError
from isonum_core.theory.loglinear import (
    fisher_information,
    log_partition,
    logits,
    mean_embedding,
    probabilities,
    weighted_rows,
)

seeds = st.integers(0, 2**32 - 1)


def draw(seed, n_tokens=12, d=4, batch=(7,), scale=1.0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    w = torch.randn(n_tokens, d, generator=g, dtype=dtype)
    return w, scale * torch.randn(*batch, d, generator=g, dtype=dtype)


def close(a, b, rtol=1e-12):
    """Relative to the largest entry: an entry that cancels to nearly zero keeps only absolute digits."""
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= rtol * max(float(b.abs().max()), 1e-300), (a, b)


def twin(w, h):
    """z, log Z, p, mean and F with the sums of the definition written out, one state at a time."""
    n, d = w.shape
    z = [sum(float(w[i, k]) * float(h[k]) for k in range(d)) for i in range(n)]
    total = math.fsum(math.exp(x) for x in z)
    p = [math.exp(x) / total for x in z]
    mean = [math.fsum(p[i] * float(w[i, k]) for i in range(n)) for k in range(d)]
    # F = W^T (diag p - p p^T) W, entry by entry
    fisher = [
        [
            math.fsum(
                float(w[i, a]) * ((p[i] if i == j else 0.0) - p[i] * p[j]) * float(w[j, b])
                for i in range(n)
                for j in range(n)
            )
            for b in range(d)
        ]
        for a in range(d)
    ]
    return tuple(torch.tensor(x, dtype=torch.float64) for x in (z, math.log(total), p, mean, fisher))


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_the_sums_written_out(seed):
    w, h = draw(seed, batch=())
    found = logits(w, h), log_partition(w, h), probabilities(w, h), mean_embedding(w, h), fisher_information(w, h)
    for value, slow in zip(found, twin(w, h), strict=True):
        close(value, slow)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 30), st.integers(1, 8))
def test_gradient_and_hessian_of_log_partition(seed, n_tokens, d):
    w, h = draw(seed, n_tokens, d, batch=())
    value = partial(log_partition, w)
    close(mean_embedding(w, h), torch.autograd.functional.jacobian(value, h))
    fisher, hessian = fisher_information(w, h), torch.autograd.functional.hessian(value, h)
    # The second difference of autograd cancels terms of size |w|^2, however small F itself is.
    assert (fisher - hessian).abs().max() <= 1e-12 * float((w**2).sum(1).max())


def test_every_function_is_gradchecked_in_double():
    w, h = draw(0, 6, 3, batch=(2,))
    w.requires_grad_(), h.requires_grad_()
    for f in (log_partition, probabilities, mean_embedding, fisher_information):
        assert torch.autograd.gradcheck(f, (w, h))


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_relations(seed):
    w, h = draw(seed)
    p, fisher = probabilities(w, h), fisher_information(w, h)
    close(p.sum(-1), torch.ones(7, dtype=torch.float64))
    close(weighted_rows(w, h).mT @ weighted_rows(w, h), fisher)
    a = torch.full((4,), 3.0, dtype=torch.float64)
    close(probabilities(w + a, h), p, 1e-11)  # logits of size 20 are rounded before the shift cancels
    close(fisher_information(w + a, h), fisher, 1e-11)
    close(mean_embedding(w + a, h), mean_embedding(w, h) + a, 1e-11)
    order = torch.randperm(len(w), generator=torch.Generator().manual_seed(seed))
    close(fisher_information(w[order], h), fisher)
    assert (torch.linalg.eigvalsh(fisher) > 0).all()
    for i in range(7):  # a batch is its members
        close(fisher_information(w, h[i]), fisher[i])
    # quadratic form = variance of the projected rows: v^T F v = Var_p <w_i, v>
    v = torch.randn(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    s = w @ v
    close(v @ fisher @ v, (p * s**2).sum(-1) - (p * s).sum(-1) ** 2, 1e-11)


def test_common_row_of_a_thousand_costs_no_digit_of_fisher_information():
    w, h = draw(3)
    h = h - h  # at h = 0 the shift moves no logit, so only the centring inside F is on trial
    close(fisher_information(w + 1e3, h), fisher_information(w, h), 1e-12)


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 2e-6), (torch.float64, 1e-14)])
def test_precision(dtype, bound):
    """Against float64 (for float64: against itself from rounded-up copies), 64 tokens and 16 dimensions."""
    w, h = draw(5, 64, 16, batch=(50,), scale=0.5)
    w, h = w.to(dtype), h.to(dtype)
    for f in (log_partition, probabilities, mean_embedding, fisher_information):
        low, high = f(w, h), f(w.double(), h.double())
        assert low.dtype == dtype
        assert float((low - high).abs().max()) <= bound * float(high.abs().max())


def test_large_logits_stay_finite():
    w, h = draw(1, scale=1e4)
    assert log_partition(w, h).isfinite().all() and fisher_information(w, h).isfinite().all()


def test_bad_input_says_what_to_do(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users call it: no annotation is checked
    w, h = draw(0)
    with pytest.raises(IsonumError, match=r"must share d, got \(12, 4\) and \(7, 3\).*transpose W"):
        logits(w, h[:, :3])
    with pytest.raises(IsonumError, match="must be finite"):
        fisher_information(w, h.clone().index_fill_(0, torch.tensor([2]), math.nan))
