"""Peer time / our time on the same input: one process, one thread, CPU time, in turns. Not a test.

    python tests/speed.py            every row, about two minutes
    python tests/speed.py mean       the rows whose name contains "mean"

A ratio above 1 means that ours is faster. Wall clock is useless on shared cores and is not taken. A peer that is not
installed is replaced by the published steps written here, and the row says so.
"""

import sys
import time
import warnings

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import IncrementalPCA
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import cosine_similarity

from isonum_core import Directions, Moments
from isonum_core.geometry.neighbours import cluster_centred_cosine, two_nn
from isonum_core.geometry.scores import iso_score, iso_score_star, mean_cosine
from isonum_core.lab.engine import one_thread
from isonum_core.networks.losses import istar as istar_loss

one_thread()
# A process that has held a model keeps what it frees; a fresh one would give it back, and fault it in at each call.
torch.empty(7_000_000).fill_(0)


def published_steps(cov):
    d = torch.tensor(cov.shape[0])
    spectrum = torch.linalg.svdvals(cov)
    spectrum = spectrum * d.sqrt() / torch.linalg.vector_norm(spectrum)
    defect = torch.linalg.vector_norm(spectrum - torch.ones(len(spectrum))) / (2 * (d - d.sqrt())).sqrt()
    return ((d - defect**2 * (d - d.sqrt())) ** 2 - d) / (d * (d - 1))


try:
    from IsoScore.IsoScore import IsoScore, istar

    def peer_iso_score(x):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package wraps a tensor in torch.tensor
            return IsoScore(x)

    def peer_star(x, c0, zeta):
        return istar().IsoScore_star(x, c0, zeta, is_eval=False)

    ISO_PEER = "IsoScore 2.0.1"
except ImportError:
    ISO_PEER = "the published steps"

    def peer_iso_score(x):
        return published_steps(torch.cov(x.T))

    def peer_star(x, c0, zeta):
        return published_steps((1 - zeta) * torch.cov(x.T) + zeta * c0)


try:
    from skdim.id import TwoNN
except ImportError:
    TwoNN = None


def states(n, d, dtype=torch.float32):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=dtype)


def seconds(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def compare(name, peer_name, peer, ours, limit_name=None, limit=None, budget=4.0):
    """Take turns until the budget of CPU seconds is spent, at least 3 rounds; print medians and their ratios."""
    calls = [peer, ours] + ([limit] if limit else [])
    for call in calls:
        call()
    times, spent, rng = [], 0.0, np.random.default_rng(0)
    while len(times) < 3 or (spent < budget and len(times) < 200):
        times.append([0.0] * len(calls))
        for i in rng.permutation(len(calls)):  # or one would always find in the cache what another has just read
            times[-1][i] = seconds(calls[i])
        spent += sum(times[-1])
    median = np.median(times, axis=0)
    ratio = np.array([t[0] / t[1] for t in times])
    low, mid, high = np.percentile(ratio, [10, 50, 90])
    against = f"{median[1] / median[2]:6.2f} x {limit_name}" if limit else ""
    print(
        f"{name:44s} {peer_name:26s} {mid:8.1f} ({low:.1f} to {high:.1f})  {median[1] * 1e3:9.2f} ms {against}",
        flush=True,
    )


def star_step(score, x):
    def step():
        y = x.detach().requires_grad_()
        score(y).backward()

    return step


def published_clusters(x):
    """Scikit-learn for every step, with the n x n distances taken once a k, as published."""
    y = x.numpy() - x.numpy().mean(0)
    tried = [KMeans(n_clusters=k, random_state=42).fit_predict(y) for k in range(2, 17)]
    found = [silhouette_score(y, labels) for labels in tried]
    labels = tried[int(np.argmax(found))] if max(found) >= 0.1 else np.zeros(len(y), dtype=int)
    values = []
    for label in np.unique(labels):
        group = y[labels == label] - y[labels == label].mean(0)
        cosines = cosine_similarity(group)
        values.append((cosines.sum() - len(group)) / (len(group) * (len(group) - 1)))
    return np.mean(values)


def rows():
    for n, d in [(512, 768), (512, 2048), (4096, 768)]:
        x = states(n, d)
        gemm = ("X'X", lambda x=x: x.T @ x)
        yield (
            f"IsoScore {n} x {d}",
            ISO_PEER,
            lambda x=x: peer_iso_score(x),
            lambda x=x: iso_score(Moments.of(x)),
            *gemm,
        )
    for n, d in [(512, 768), (512, 2048), (4096, 768)]:
        x = states(n, d)
        eye = torch.eye(d)
        full = torch.cov(states(2 * d, d).T)
        gemm = ("X'X", lambda x=x: x.T @ x)
        for kind, c0, given in [("C0 = cI", eye, 1.0), ("full C0", full, full)]:
            ours = star_step(lambda x, c=given: iso_score_star(Moments.of(x), 0.2, c), x)
            peer = star_step(lambda x, c=c0: peer_star(x, c, 0.2), x)
            yield f"IsoScore* forward + backward {n} x {d}, {kind}", ISO_PEER, peer, ours, *gemm
    for n in (4096, 16384):
        x = states(n, 768)
        sk = x.numpy()

        def peer(x=sk):
            c = cosine_similarity(x)
            return (c.sum() - len(x)) / (len(x) * (len(x) - 1))

        def ours(x=x):
            return mean_cosine(Directions.of(x))

        yield f"mean cosine {n} x 768", "scikit-learn, n x n", peer, ours, "X.sum()", lambda x=x: x.sum()
    x = states(8192, 768) + 1e3
    peers = {
        "float64 X'X": lambda: x.double().T @ x.double(),
        "IncrementalPCA": lambda: IncrementalPCA(batch_size=2048).fit(x.numpy()),
    }
    for name, peer in peers.items():
        yield "moments 8192 x 768", name, peer, lambda: Moments.of(x).covariance, "float32 X'X", lambda: x.T @ x
    x32 = states(4096, 32)
    if TwoNN:
        yield "TwoNN 4096 x 32", "scikit-dimension", lambda: TwoNN().fit(x32.numpy()), lambda: two_nn(x32)
    for d in (512, 4096):
        x = states(2000, d) + 3 * torch.randn(8, d)[torch.arange(2000) % 8]
        yield (
            f"cluster-centred cosine 2000 x {d}",
            "the published steps",
            lambda x=x: published_clusters(x),
            lambda x=x: cluster_centred_cosine(x, np.random.default_rng(0)),
            "X X'",
            lambda x=x: x @ x.T,
        )


def loss_rows():
    """The regulariser as a loss, value and slope, against the published formulation with a scale-safe C0."""
    for n, d in [(32, 768), (512, 768), (512, 2048), (4096, 768)]:
        x = states(n, d)

        def published(x):
            cov = torch.cov(x.T)
            return 1 - published_steps(0.8 * cov + 0.2 * cov.trace() / x.shape[1] * torch.eye(x.shape[1]))

        gemm = ("X'X", lambda x=x: x.T @ x)
        peer = star_step(published, x)
        yield f"I-STAR loss forward + backward {n} x {d}", "the published steps", peer, star_step(istar_loss, x), *gemm


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} thread; peer / ours: median (10 % to 90 %), our CPU time"
    )
    for row in (*rows(), *loss_rows()):
        if wanted in row[0]:
            compare(*row)
