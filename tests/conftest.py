"""Fixtures that several test files share. Imports nothing of isonum_core: the type checks are installed after this."""

import hashlib
import importlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# The same examples in every run, so that red means that something has changed. The weekly run draws fresh ones:
# --hypothesis-profile=fresh, which prints how to see a failure again.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.register_profile("fresh", print_blob=True)
hypothesis.settings.load_profile("same")

# A shell lets what it starts in the background ignore Ctrl-C, and so all that starts from there; some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What a browser does on its own account would count as a third-party request.
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync", "--disable-software-rasterizer"]
# No name but this machine's own is known to the browser. (Playwright's routes would switch off its cache as well.)
QUIET += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


def pytest_configure(config):
    # What the core imports while its type checks are installed is compiled anew, source by source; so the large come
    # first. The process that only hands tests to others needs none of it, and the others wait for it to start.
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        for library in ("sklearn.cluster", "torch", "transformers"):
            importlib.import_module(library)


@pytest.fixture
def seed():
    """Of `rng`. A test that must hold for many seeds is parametrised by it."""
    return 0


@pytest.fixture
def rng(seed):
    return np.random.default_rng(seed)


@pytest.fixture
def shell(monkeypatch):
    """What runs a notebook's cells, formats their results and receives what they display, without a kernel."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    yield InteractiveShell.instance(config=Config(HistoryManager=dict(enabled=False)))
    InteractiveShell.clear_instance()


@pytest.fixture(scope="session")
def browser():
    """A Chromium that reaches nothing but this machine; one for all tests of a worker, as two would not start."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def shared():
    """The folder of reference values and data that is not part of the repository."""
    folder = os.environ.get("ISONUM_SHARED")
    if not folder:
        pytest.skip("ISONUM_SHARED is not set: the values that matter most are repeated as literals in other tests")
    return Path(folder)


@pytest.fixture(scope="session")
def oracles(shared):
    return json.loads((shared / "oracles" / "peers.json").read_text())


def _draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def _low_rank():
    g = np.random.default_rng(2)
    a, b, noise = g.normal(size=(500, 3)), g.normal(size=(3, 20)), g.normal(size=(500, 20))
    return a @ b + 0.01 * noise


def _line():
    t = np.random.default_rng(8).normal(size=200)
    return np.stack([t, 2 * t, -3 * t], axis=1)


def _clusters(seed, k, shape, scale):
    g = np.random.default_rng(seed)
    centres = g.normal(size=(k, shape[-1]))
    labels = g.integers(0, k, size=shape[:-1])
    return scale * centres[labels] + g.normal(size=shape)


# The inputs of the reference values, by name: recipes instead of files, checked by hash where the record is present.
PEER_CLOUDS = {
    "iso": lambda: _draw(0, 500, 10),
    "lowrank": _low_rank,
    "n_lt_d": lambda: _draw(3, 20, 50),
    "d2": lambda: _draw(6, 100, 2) * [1, 2],
    "line3": _line,
    "clusters3": lambda: _clusters(11, 3, (300, 16), 8),
    "tiny_scale": lambda: _draw(12, 300, 5) * 1e-6,
    "emb_gauss": lambda: _draw(12, 40, 30, 16),
    "emb_clusters4": lambda: _clusters(13, 4, (40, 30, 16), 6),
    "emb_big": lambda: _clusters(14, 5, (64, 50, 12), 6),
    "emb_2d_cone": lambda: _draw(15, 600, 10) + 5.0,
}


@pytest.fixture(scope="session")
def peer_cloud():
    """Name of a reference input -> tensor in float64."""
    from torch import from_numpy  # not above: see pytest_configure

    return lambda name: from_numpy(PEER_CLOUDS[name]())


@pytest.fixture(scope="session")
def fingerprint():
    return lambda x: hashlib.sha256(np.ascontiguousarray(x, dtype="<f8").tobytes()).hexdigest()
