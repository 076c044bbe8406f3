"""What published code computes: our versions against values that it gave, and beside what is right."""

import ast
from pathlib import Path
from types import SimpleNamespace

import jupytext
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isonum_core import Moments, iso_score, mean_cosine
from isonum_core.geometry.neighbours import cluster_centred_cosine, two_nn
from isonum_core.geometry.scores import explained_dimension

CHAPTER = Path(__file__).resolve().parents[1] / "book" / "published-code.md"


def defined_in(chapter):
    """The functions that the cells of a chapter define: what a reader sees is what is tested."""
    source = "\n".join(cell.source for cell in jupytext.read(chapter).cells if cell.cell_type == "code")
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    space = {"np": np}
    exec(compile(ast.Module(functions, []), chapter.name, "exec"), space)
    return SimpleNamespace(**space)


audit = defined_in(CHAPTER)


def test_each_finding_asserts_what_it_says_and_has_its_correction_beside_it():
    """A cell of its own for each; a finding that was read and not run says so, and those are few."""
    cells = [cell.source for cell in jupytext.read(CHAPTER).cells if cell.cell_type == "code"]
    told = [ast.parse(source) for source in cells if "\nfound(" in f"\n{source}"]
    calls = [node for tree in told for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls = [call for call in calls if getattr(call.func, "id", "") == "found"]
    assert len(calls) == len(told) >= 16
    assert all(len(call.args) == 5 or isinstance(call.args[-1], ast.Starred) for call in calls)
    asserting = sum(any(isinstance(node, ast.Assert) for node in ast.walk(tree)) for tree in told)
    unrun = CHAPTER.read_text(encoding="utf-8").count("\nRead, not run: ")
    assert asserting == len(told) - unrun >= 10


# The published code of arXiv 2505.17135 at f2cfeb4 on four clouds: clusters, value, silhouette, sizes; and the value
# when the clusters found are ignored.
PUBLISHED = {
    "emb_gauss": (1, -0.0008123153575747686, 0.0, [1200], -0.0008123153575747686),
    "emb_clusters4": (4, -0.0032573528370522077, 0.7961768514141202, [296, 269, 322, 313], 0.00025007509715820026),
    "emb_big": (5, -0.0023920522444712934, 0.8018399274658234, [384, 415, 431, 381, 389], 0.013283883718015473),
    "emb_2d_cone": (1, -0.0016083418853180562, 0.0, [600], -0.0016083418853180562),
}


def measured(x):
    """Clusters, value, silhouette and sizes; and the value without clusters, of the rows that the seed draws."""
    got = cluster_centred_cosine(x, np.random.RandomState(0))
    y = x.reshape(-1, x.shape[-1])
    y = y - y.mean(0)
    y = y[np.random.RandomState(0).choice(len(y), 2000, replace=False)] if len(y) > 2000 else y
    return got, float(mean_cosine(Moments.of(y - y.mean(0))))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_measure_of_isotropy_is_reproduced(peer_cloud, name):
    clusters, value, silhouette, sizes, ignored = PUBLISHED[name]
    got, whole = measured(peer_cloud(name))
    assert (len(got.sizes), list(got.sizes)) == (clusters, sizes)
    # Sums of up to 4 million cosines in another order: a few parts in 1e9 of values near 1e-3.
    assert [got.value, whole] == pytest.approx([value, ignored], rel=1e-8, abs=1e-11)


def test_every_recorded_case_of_it_is_among_them(oracles):
    cases = [r for r in oracles["results"] if "compute_clustered_cosine_metrics" in r["function"]]
    assert len(cases) == 2 * len(PUBLISHED)
    for case in cases:
        clusters, value, silhouette, sizes, ignored = PUBLISHED[case["input"]]
        want = case["value"]
        assert (want["best_k"], want["silhouette"], want["cluster_sizes"]) == (clusters, silhouette, sizes)
        assert want["inter"] == (ignored if case["args"]["ignore_cluster"] else value)


def test_three_components_explain_at_most_four_dimensions(peer_cloud, rng):
    published = audit.explained_dimension_as_published
    assert published(peer_cloud("iso").numpy()) == 4  # the published code's value; all components: 8
    assert published(peer_cloud("iso").numpy(), components=10) == 8
    assert published(peer_cloud("lowrank").numpy()) == 2
    x = rng.normal(size=(200, 12))
    for moved in (x, x + 5):
        assert published(moved, components=12) == explained_dimension(Moments.of(torch.from_numpy(x)))


@pytest.mark.parametrize(
    "name, published, defined",
    [
        ("iso", 0.9816212824646537, 0.671777294910607),
        ("lowrank", 0.9221569893843862, 4.237708810283157e-06),
        ("d2", 0.44674570683166, 0.267900169248963),
    ],
)
def test_partition_scores(peer_cloud, name, published, defined):
    x = peer_cloud(name).numpy()
    assert audit.partition_score_as_published(x) == pytest.approx(published, rel=1e-9)
    # the sign of an eigenvector is the library's choice: either value of the pair may come
    either = [audit.partition_score(x), audit.partition_score(-x)]
    assert min(either) <= defined * (1 + 1e-9) and max(either) <= 1


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=30))
def test_the_steps_of_iso_score_are_the_closed_form_but_for_the_root(spectrum):
    spectrum = np.array(spectrum)
    d = len(spectrum)
    closed = (spectrum.sum() ** 2 / np.square(spectrum).sum() - 1) / (d - 1)
    # 1 - 1 + small: the steps lose 1e-15 of the size of d; the float32 root 6e-8 of it
    assert audit.iso_score_steps(spectrum) == pytest.approx(closed, abs=1e-12)
    assert audit.iso_score_steps(spectrum, np.float32) == pytest.approx(closed, abs=5e-6)


def test_the_packages_iso_score_of_a_line_is_not_zero():
    published = 5.541008267033002e-08  # IsoScore 2.0.1 of points on a line in 3 dimensions
    line = np.array([14.0, 0.0, 0.0])
    assert 0 < abs(audit.iso_score_steps(line, np.float32)) < 10 * published
    assert audit.iso_score_steps(line) == pytest.approx(0, abs=1e-15)


def test_the_cosine_regulariser(peer_cloud):
    for name, value in [("iso", 0.0003176250839262366), ("n_lt_d", 0.00346920991537516), ("d2", 0.020304181608563995)]:
        x = peer_cloud(name)
        assert audit.cosine_regulariser(x.numpy()) == pytest.approx(value, rel=1e-9)
        assert audit.cosine_regulariser(x.numpy()) == pytest.approx(
            float(mean_cosine(Moments.of(x))) * (len(x) - 1) / len(x), rel=1e-9
        )


@given(st.floats(0.1, 3), st.integers(5, 300))
def test_a_power_law_has_its_exponent_at_every_width(alpha, d):
    singular = np.arange(1, d + 1) ** (-alpha / 2)
    assert audit.power_law_decay(singular) == pytest.approx(alpha, rel=1e-9)


@given(st.floats(0.1, 5), st.integers(5, 300))
def test_what_is_published_for_it_is_the_rate_of_an_exponential(rate, d):
    assert audit.power_law_decay_as_published(np.exp(-rate * np.linspace(0, 1, d))) == pytest.approx(rate, rel=1e-9)


def test_entropies_of_a_gram_matrix(rng):
    x = rng.normal(size=(30, 8))
    gram = x @ x.T / np.square(x).sum()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert audit.matrix_entropy(np.eye(5)) == pytest.approx(np.log(5))
    assert audit.matrix_entropy(np.eye(5), 2.0) == pytest.approx(np.log(5))
    participation = 1 / np.square(np.linalg.eigvalsh(gram)).sum()
    assert audit.matrix_entropy(gram, 2.0) == pytest.approx(np.log(participation))
    assert audit.matrix_entropy_shortcut(unit @ unit.T) == pytest.approx(audit.matrix_entropy(unit @ unit.T, 2.0))
    assert audit.matrix_entropy_shortcut(gram) - audit.matrix_entropy(gram, 2.0) == pytest.approx(2 * np.log(30))
    assert np.linalg.eigvalsh(np.maximum(gram, 0)).min() < 0  # no covariance any more
    assert audit.matrix_entropy(gram, clamp=True) > audit.matrix_entropy(gram) + 0.1
    assert audit.matrix_entropy(np.abs(gram), clamp=True) == pytest.approx(audit.matrix_entropy(np.abs(gram)))


def test_a_clamped_covariance_depends_on_the_basis(rng):
    c = np.cov(rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)), rowvar=False)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert audit.matrix_entropy(turn.T @ c @ turn) == pytest.approx(audit.matrix_entropy(c))
    assert abs(audit.matrix_entropy(turn.T @ c @ turn, clamp=True) - audit.matrix_entropy(c, clamp=True)) > 0.01


def test_ranks(rng):
    x = rng.normal(size=(300, 20))
    assert audit.rank_me(np.eye(7)) == pytest.approx(7)
    assert audit.rank_me(np.outer(np.arange(1.0, 9), np.ones(4))) == pytest.approx(1)
    assert audit.rank_me(x + 5, centred=True, power=2) == pytest.approx(audit.rank_me(x, centred=True, power=2))
    assert audit.rank_me(x + 5) < 0.9 * audit.rank_me(x)
    # reptrix 0.1.0 on this recipe gives 14.335444362380624, with 1e-7 added to each share
    y = np.random.default_rng(0).normal(size=(300, 20)) @ np.random.default_rng(1).normal(size=(20, 40)) + 3
    assert audit.rank_me(y, centred=True, power=2) == pytest.approx(14.335444362380624, rel=1e-4)


def test_two_nn_with_rows_that_repeat():
    distinct = np.random.default_rng(3).uniform(size=(1000, 10))
    # scikit-dimension 0.5.0 on these recipes
    assert audit.two_nn_dropping(np.r_[distinct, distinct[:500]]) == pytest.approx(16.04582706993856, rel=1e-9)
    assert audit.two_nn_dropping(distinct) == pytest.approx(8.348774637955572, rel=1e-9)
    assert audit.two_nn_dropping(distinct) == pytest.approx(two_nn(torch.from_numpy(distinct)), rel=1e-7)


def test_iso_score_of_a_spectrum_is_that_of_a_cloud(peer_cloud):
    x = peer_cloud("iso")
    spectrum = np.linalg.eigvalsh(np.cov(x.numpy().T))
    assert audit.iso_score_steps(spectrum) == pytest.approx(float(iso_score(Moments.of(x))), rel=1e-9)
