"""Agreement with the peers: their recorded values where the record is present, and the ones that matter as literals."""

import numpy as np
import pytest
import torch

from isonum_core import Moments
from isonum_core.geometry import neighbours, scores

CLOUDS = ["iso", "lowrank", "n_lt_d", "d2", "line3", "clusters3", "tiny_scale"]
ALL_CLOUDS = [*CLOUDS, "emb_gauss", "emb_clusters4", "emb_big", "emb_2d_cone"]

# Public values: numpy for PR and effective rank, the repository's IsoScore v1, skdim 0.5.0 for the dimensions.
LITERALS = {
    "iso": dict(
        iso_score=0.9740943590029585,
        participation_ratio=9.766849231026628,
        effective_rank=9.88149618856502,
        mean_cosine=0.0003182616071405176,
        two_nn=9.532173875361742,
        mle_dimension=8.449054586021344,
    ),
    "lowrank": dict(
        participation_ratio=2.5737187318269283,
        effective_rank=2.734473515683264,
        mean_cosine=0.0018895371975651987,
        two_nn=3.1713162241754533,
        mle_dimension=2.994299036330454,
    ),
    "n_lt_d": dict(mean_cosine=0.00365179991092123, two_nn=33.22108337411561),
    "tiny_scale": dict(
        participation_ratio=4.883803694837519,
        effective_rank=4.939911023279446,
        mean_cosine=-0.002547142979782995,
        mle_dimension=4.7551003454446015,
    ),
}


@pytest.mark.parametrize("name", LITERALS)
def test_values_that_matter(peer_cloud, name):
    x = peer_cloud(name)
    m = Moments.of(x)
    for what, want in LITERALS[name].items():
        got = getattr(neighbours, what)(x) if hasattr(neighbours, what) else float(getattr(scores, what)(m))
        assert got == pytest.approx(want, rel=1e-9), what


def test_published_iso_score_star_with_a_full_prior(peer_cloud):
    c0 = torch.from_numpy(np.cov(np.random.default_rng(20).normal(size=(5000, 50)).T))
    m = Moments.of(peer_cloud("n_lt_d"))
    # The peer takes sqrt(n) in float32, so its own last digits are wrong by up to 5e-7.
    for zeta, want in [(0.2, 0.3634243193789021), (0.4, 0.5056439190039855), (0.8, 0.8960574410528267)]:
        assert float(scores.iso_score_star(m, zeta, c0)) == pytest.approx(want, rel=5e-7)


PUBLISHED_CLUSTERS = {
    "emb_gauss": (1, -0.0008123153575747686),
    "emb_clusters4": (4, -0.0032573528370522077),
    "emb_big": (5, -0.0023920522444712934),
    "emb_2d_cone": (1, -0.0016083418853180562),
}


@pytest.mark.parametrize("name", PUBLISHED_CLUSTERS)
def test_the_published_cluster_centred_cosine(peer_cloud, name):
    k, value = PUBLISHED_CLUSTERS[name]
    got = neighbours.cluster_centred_cosine(peer_cloud(name), np.random.RandomState(0))
    assert len(got.sizes) == k
    assert got.value == pytest.approx(value, rel=1e-9)


def recorded(oracles, cloud, peer, function):
    found = [r for r in oracles["results"] if r["input"] == cloud and peer in r["peer"] and function in r["function"]]
    assert found, f"the record has no {function} of {peer} on {cloud}"
    return [(r["args"], r["value"]) for r in found]


@pytest.mark.parametrize("name", ALL_CLOUDS)
def test_the_recipes_draw_the_recorded_inputs(oracles, peer_cloud, fingerprint, name):
    assert fingerprint(peer_cloud(name).numpy()) == oracles["inputs"][name]["sha256_f64_le"]


@pytest.mark.parametrize("name", CLOUDS)
def test_covariance_scores(oracles, peer_cloud, name):
    x = peer_cloud(name)
    m = Moments.of(x)

    def check(score, peer, function, rel):
        for _, want in recorded(oracles, name, peer, function):
            assert float(score(m)) == pytest.approx(want, rel=rel, abs=1e-14), (peer, function)

    # The published steps square a difference of nearly equal numbers, so near a line their own error is absolute.
    for _, want in recorded(oracles, name, "v1", "IsoScore"):
        if name == "n_lt_d":
            assert "ERROR" in want  # version 1 refuses n < d
            continue
        assert float(scores.iso_score(m)) == pytest.approx(want, rel=1e-9, abs=1e-12)
    for _, want in recorded(oracles, name, "PyPI", "IsoScore.IsoScore.IsoScore"):
        assert float(scores.iso_score(m)) == pytest.approx(want, rel=5e-7, abs=5e-7)  # its float32 square root
    check(scores.participation_ratio, "numpy", "participation ratio", 1e-9)
    check(scores.effective_rank, "numpy", "effective rank", 1e-8)
    for args, want in recorded(oracles, name, "stg", "inter_cosine(X,center)"):
        cosine = scores.mean_cosine(Moments.of(x - x.mean(0)) if args["center"] else m)
        assert float(cosine) == pytest.approx(want, rel=1e-8, abs=1e-12)
    for _, want in recorded(oracles, name, "regularizers", "cosine_regularizer.forward"):
        assert float(scores.mean_cosine(m)) * (m.n - 1) / m.n == pytest.approx(want, rel=1e-8, abs=1e-12)
    for _, want in recorded(oracles, name, "numpy", "eigvalsh"):
        np.testing.assert_allclose(m.eigenvalues[: len(want)], want, rtol=1e-9, atol=1e-13 * want[0])


@pytest.mark.parametrize("name", CLOUDS)
def test_iso_score_star(oracles, peer_cloud, name):
    m = Moments.of(peer_cloud(name))
    for args, want in recorded(oracles, name, "", "isoscore_star(points=X"):
        if args["C0"] == "identity":
            got = float(scores.iso_score_star(m, args["zeta"], 1.0))
            assert got == pytest.approx(want, rel=5e-7, abs=5e-7), args


@pytest.mark.parametrize("name", CLOUDS)
def test_neighbour_dimensions(oracles, peer_cloud, name):
    x = peer_cloud(name)
    for args, want in recorded(oracles, name, "scikit-dimension", "TwoNN"):
        if args == {}:
            assert neighbours.two_nn(x) == pytest.approx(want, rel=1e-7)
    for args, want in recorded(oracles, name, "scikit-dimension", "MLE"):
        k = min(args["n_neighbors"] or 20, len(x) - 1)  # the peer lowers k where rows are few; ours raises
        assert neighbours.mle_dimension(x, k) == pytest.approx(want, rel=1e-7)


@pytest.mark.parametrize("name", ["d2", "n_lt_d"])
def test_gradients(oracles, peer_cloud, name):
    for args, want in recorded(oracles, name, "autograd", "d isoscore_star/dX"):
        x = peer_cloud(name).requires_grad_()
        scores.iso_score_star(Moments.of(x), args["zeta"], 1.0).backward()
        np.testing.assert_allclose(x.grad[0].numpy(), want["grad_row0"], rtol=2e-6, atol=1e-9)
        assert float(x.grad.norm()) == pytest.approx(want["grad_frobenius"], rel=2e-6)
    for _, want in recorded(oracles, name, "autograd", "d/dX"):
        x = peer_cloud(name).requires_grad_()
        (scores.mean_cosine(Moments.of(x)) * (len(x) - 1) / len(x)).backward()
        np.testing.assert_allclose(x.grad[0].numpy(), want["grad_row0"], rtol=1e-7, atol=1e-12)
