"""The explorers: their formulas against the core, point by point in a browser, and a page of them in use."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from isobook.explore import EXPLORERS, scripts
from scipy.integrate import quad_vec

from isonum_core import Moments, iso_score, mean_cosine, partition_isotropy, probabilities
from isonum_core.geometry import null
from isonum_core.geometry.clouds import power_law_cloud
from isonum_core.theory.gauges import linear_gauge, row_gauge
from isonum_core.theory.loglinear import log_partition
from isonum_core.theory.readout import early_stopped, ridge, spectral_risk

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "book" / "_static" / "explorers"
POINTS = 200


def test_the_scripts_are_small():
    """A file at most 6 kB, any page's scripts 20, all of them 23; none is minified."""
    sizes = {path.name: path.stat().st_size for path in FILES.glob("*.js")}
    assert set(sizes) == {f"{name}.js" for name in ("math", "risk", "stage", *EXPLORERS)}
    assert max(sizes.values()) <= 6000 and sum(sizes.values()) <= 23_000
    for chapter in (ROOT / "book").glob("*.md"):
        names = re.findall(r"^```\{explore\} (\S+)$", chapter.read_text(encoding="utf-8"), re.MULTILINE)
        assert sum((FILES.parent / script).stat().st_size for script in scripts(names)) <= 20_000


def test_each_explorer_stands_in_one_chapter():
    texts = "".join(chapter.read_text(encoding="utf-8") for chapter in (ROOT / "book").glob("*.md"))
    assert sorted(re.findall(r"^```\{explore\} (\S+)$", texts, re.MULTILINE)) == sorted(EXPLORERS)


def test_a_page_loads_what_it_needs_once_and_in_order():
    assert scripts([]) == []
    assert scripts(["null-curve"]) == [f"explorers/{name}.js" for name in ("math", "stage", "null-curve")]
    both = [f"explorers/{name}.js" for name in ("math", "risk", "stage", "read-out", "two-halves")]
    assert scripts(["read-out", "two-halves"]) == both


@pytest.fixture(scope="module")
def js(browser):
    """Name of a function of the explorers and a list of argument lists -> a list of what it returns."""
    page = browser.new_page()
    for name in ("math", "risk", "stage", *EXPLORERS):
        page.add_script_tag(path=FILES / f"{name}.js")

    def call(name, calls):
        return page.evaluate("([f, calls]) => calls.map((given) => isonumMath[f](...given))", [name, calls])

    yield call
    page.close()


def agree(found, expected, tolerance=1e-9):
    """Equal to 1e-9 of the value, or of one where the value is smaller."""
    found, expected = np.array(found, float), np.array(expected, float)
    assert found.shape == expected.shape and len(found) >= POINTS
    assert np.all(np.abs(found - expected) <= tolerance * np.maximum(1, np.abs(expected)))


def spectra(rng, least=2, most=12):
    """Random spectra: flat, steep, any size."""
    return [rng.lognormal(0, rng.uniform(0, 2), rng.integers(least, most + 1)) for _ in range(POINTS)]


def test_scores_of_a_spectrum_and_their_sampling_law(js, rng):
    n, d = rng.integers(4, 5000, POINTS), rng.integers(2, 3000, POINTS)
    calls = np.stack([n, d], 1).tolist()
    agree(js("isoScoreNull", calls), [null.iso_score_null(*x) for x in calls])
    agree(js("isoScoreCap", calls), [null.from_participation_ratio(min(n - 1, d), d) for n, d in calls])
    pr = [float(x) for x in rng.uniform(1, d)]
    seen = [null.sampled_participation_ratio(p, int(m)) for p, m in zip(pr, n, strict=True)]
    agree(
        js("isoScore", [[p, int(k)] for p, k in zip(pr, d, strict=True)]),
        [null.from_participation_ratio(p, int(k)) for p, k in zip(pr, d, strict=True)],
    )
    # The inverse divides by what few points leave of 1 - PR_n / (n - 1), so it is judged by what it gives back.
    back = js("populationPR", [[s, int(m)] for s, m in zip(seen, n, strict=True)])
    agree([null.sampled_participation_ratio(max(b, 1.0), int(m)) for b, m in zip(back, n, strict=True)], seen)
    cloud = [np.sqrt(len(l) - 1) * np.vstack([np.diag(np.sqrt(l)), -np.diag(np.sqrt(l))]) for l in spectra(rng)]
    agree(
        js("isoScoreOf", [[x.tolist()] for x in cloud]),
        [float(iso_score(Moments.of(torch.from_numpy(x)))) for x in cloud],
    )
    law = [(int(k), float(a)) for k, a in zip(rng.integers(2, 40, POINTS), rng.uniform(0, 3, POINTS), strict=True)]
    power = [np.arange(1, k + 1) ** -a for k, a in law]
    agree(np.concatenate(js("powerLaw", law)), np.concatenate([l * len(l) / l.sum() for l in power]))
    agree(js("participationRatio", [[l.tolist()] for l in power]), [l.sum() ** 2 / (l**2).sum() for l in power])


@pytest.mark.parametrize("n, d", [(40, 10), (60, 150), (200, 30)])
def test_the_band_of_isotropic_clouds_holds_95_of_100(js, n, d):
    """Ledoit and Wolf 2002, for large n and d: of 1,500 clouds 95 % within 2 points; two standard errors are 1.1."""
    g = torch.Generator().manual_seed(n)
    x = torch.randn(1500, n, d, generator=g, dtype=torch.float64)
    x = x - x.mean(1, keepdim=True)
    gram = x @ x.mT if n < d else x.mT @ x
    pr = gram.diagonal(dim1=1, dim2=2).sum(1) ** 2 / gram.square().sum((1, 2))
    (low, high), score = js("isotropicBand", [[n, d]])[0], (pr - 1) / (d - 1)
    assert abs(float(((low <= score) & (score <= high)).double().mean()) - 0.95) < 0.02


def test_scores_of_points_and_heads(js, rng):
    shapes = [(int(n), int(d)) for n, d in zip(rng.integers(3, 20, POINTS), rng.integers(2, 6, POINTS), strict=True)]
    rows = [rng.normal(rng.normal(), 1, shape) for shape in shapes]
    found = [Moments.of(torch.from_numpy(x)) for x in rows]
    agree(js("meanCosine", [[x.tolist()] for x in rows]), [float(mean_cosine(m)) for m in found])
    agree(js("isoScoreOf", [[x.tolist()] for x in rows]), [float(iso_score(m)) for m in found])
    states = [rng.normal(0, 2, d) for _, d in shapes]
    calls = [[w.tolist(), h.tolist()] for w, h in zip(rows, states, strict=True)]
    pairs = [(torch.from_numpy(w), torch.from_numpy(h)) for w, h in zip(rows, states, strict=True)]
    agree(js("logPartition", calls), [float(log_partition(*pair)) for pair in pairs])
    agree(np.concatenate(js("probabilities", calls)), torch.cat([probabilities(*pair) for pair in pairs]).numpy())


def scanned(w, r):
    """min Z / max Z over a circle, from the core's log Z on three ever finer grids of 2,001 directions."""
    ends = []
    for sign in (-1, 1):
        centre, width = torch.zeros(1, dtype=torch.float64), torch.pi
        for _ in range(3):
            angles = centre + width * torch.linspace(-1, 1, 2001, dtype=torch.float64)
            found = sign * log_partition(w, r * torch.stack([angles.cos(), angles.sin()], 1))
            centre, width = angles[found.argmax()], width / 500
        ends.append(sign * float(found.max()))
    return np.exp(ends[0] - ends[1])


def test_partition_isotropy_in_the_plane(js, rng):
    heads = [torch.from_numpy(rng.normal(rng.normal(0, 1, 2), 1, (6, 2))) for _ in range(POINTS)]
    radii = rng.uniform(0.2, 3, POINTS).tolist()
    pairs = list(zip(heads, radii, strict=True))
    found = js("partitionIsotropy", [[w.tolist(), r] for w, r in pairs])
    agree(found, [scanned(*pair) for pair in pairs])
    few = 30  # the core's search, made for many dimensions, takes its time
    assert np.abs(np.array(found[:few]) - [partition_isotropy(*pair).value for pair in pairs[:few]]).max() < 1e-9


def test_the_dial_turns_the_gauges_of_the_core(js, rng):
    calls = rng.uniform((0, -1.5), (3, 1), (POINTS, 2)).tolist()
    (at_first,) = js("turned", [[0, 0]])
    w, h = (torch.tensor(at_first[key], dtype=torch.float64) for key in ("rows", "states"))
    assert w.sum(0).abs().max() < 1e-12
    turned = js("turned", calls)
    agree([x["scores"][0] for x in turned], js("partitionIsotropy", [[x["rows"], 1] for x in turned]))
    for (length, t), found in zip(calls, turned, strict=True):
        stretch = torch.tensor([-t, t], dtype=torch.float64).exp().diag()
        rows, states = linear_gauge(w, h, stretch)
        rows = row_gauge(rows, length * torch.tensor([0.6, 0.8], dtype=torch.float64))
        expected = dict(rows=rows, states=states, forecasts=probabilities(w, h))
        for key, value in expected.items():
            assert np.abs(np.array(found[key]) - value.numpy()).max() < 1e-12
        cosine, score = mean_cosine(Moments.of(rows)), iso_score(Moments.of(states))
        assert np.abs(np.array(found["scores"][1:]) - [float(cosine), float(score)]).max() < 1e-9


def test_the_mean_cosine_of_a_law(js, rng):
    laws = [(rng.normal(0, rng.uniform(0, 2), len(l)), l) for l in spectra(rng)]

    def direction(t, mean, l):
        wide = 1 + 2 * t * l
        return mean / wide / np.sqrt(wide.prod()) * np.exp(-t * (mean**2 / wide).sum())

    expected = []
    for mean, l in laws:  # 1/|x| as another integral than in the script, over t = (u / (1 - u))^2
        u, _ = quad_vec(
            lambda u, m=mean, l=l: direction((u / (1 - u)) ** 2, m, l) / (1 - u) ** 2, 0, 1, epsabs=1e-13, epsrel=1e-12
        )
        expected.append(4 / np.pi * (u @ u))
    agree(js("meanCosineOfLaw", [[m.tolist(), l.tolist()] for m, l in laws]), expected)


@pytest.mark.parametrize("offset, decay", [(0.0, 0.0), (0.5, 2.0), (2.0, 1.0)])
def test_clouds_drawn_from_the_law_have_that_mean_cosine(js, offset, decay):
    """Four standard errors over 20 clouds."""
    d = 16
    l = np.arange(1, d + 1) ** -decay
    found = [
        float(mean_cosine(Moments.of(power_law_cloud(1000, d, np.random.default_rng(s), decay, offset))))
        for s in range(20)
    ]
    (expected,) = js("meanCosineOfLaw", [[[offset] * d, (l * d / l.sum()).tolist()]])
    assert abs(np.mean(found) - expected) <= 4 * np.std(found) / 20**0.5


def test_the_risk_of_read_outs(js, rng):
    calls, expected = [], []
    for l in spectra(rng):
        power, noise, n = rng.uniform(0, 1, len(l)), float(rng.uniform(0, 1)), int(rng.integers(len(l) + 4, 100))
        k = float(rng.uniform(0, 1)) * (rng.random() > 0.2)
        readout = ridge(k) if len(calls) % 2 else early_stopped(1 / (0.01 + k))
        ours = [[[float(x.real), float(x.imag)] for x in part] for part in readout]
        calls.append([l.tolist(), power.tolist(), noise, n, dict(weights=ours[0], penalties=ours[1])])
        expected.append(float(spectral_risk(torch.from_numpy(l), torch.from_numpy(power), noise, n, readout)))
    agree(js("spectralRisk", calls), expected)


def test_a_stopped_descent_is_the_same_sum_of_ridges(js, rng):
    times = rng.lognormal(0, 2, POINTS).tolist()
    for found, time in zip(js("earlyStopped", [[t] for t in times]), times, strict=True):
        for part, expected in zip((found["weights"], found["penalties"]), early_stopped(time), strict=True):
            assert np.abs(np.array(part) @ [1, 1j] - expected.numpy()).max() <= 1e-12 * expected.abs().max()


def test_what_a_read_out_without_centring_meets(js, rng):
    laws = [(l, rng.normal(0, rng.uniform(0, 2), len(l)), rng.uniform(0, 1, len(l))) for l in spectra(rng)]
    found = js("uncentred", [[x.tolist() for x in law] for law in laws])
    for (l, mean, power), ours in zip(laws, found, strict=True):
        rho, v = np.linalg.eigh(np.diag(l) + np.outer(mean, mean))
        order = np.argsort(ours["spectrum"])
        expected = (v**2).T @ (l * power) / rho
        np.testing.assert_allclose(np.array(ours["spectrum"])[order], rho, rtol=1e-9)
        np.testing.assert_allclose(np.array(ours["power"])[order], expected, rtol=1e-9, atol=1e-9)
        assert abs(ours["missed"] - (power.sum() - expected.sum())) < 1e-9


@pytest.mark.parametrize("target", ["even", "strong"])
@pytest.mark.parametrize("offset, decay", [(0.0, 0.0), (2.0, 0.0), (0.0, 2.0), (1.0, 1.0)])
def test_the_three_errors_are_those_of_refits(js, offset, decay, target):
    """300 sets of 40 states are drawn, read and judged exactly; the theory is that of many rows, here off by 3 %."""
    d, n, noise, penalty, steps, sets = 16, 40, 0.25, 0.3, 30, 300
    g = torch.Generator().manual_seed(0)
    l = torch.arange(1, d + 1, dtype=torch.float64) ** -decay
    l = l * d / l.sum()
    mean = torch.full((d,), offset, dtype=torch.float64)
    signs = 2 * torch.randint(0, 2, (sets, d), generator=g, dtype=torch.float64) - 1
    beta = ((1 / l if target == "even" else torch.ones(d)) / d).sqrt() * signs
    x = torch.randn(sets, n, d, generator=g, dtype=torch.float64) * l.sqrt()
    y = (x @ beta[:, :, None])[..., 0] + noise**0.5 * torch.randn(sets, n, generator=g, dtype=torch.float64)

    def learned(x, filtered):
        rho, v = torch.linalg.eigh(x.mT @ x / n)
        pulled = v.mT @ (x.mT @ y[:, :, None] / n)
        return (v @ (filtered(rho.clamp_min(1e-12))[:, :, None] * pulled))[..., 0]

    time = steps / float(torch.linalg.eigvalsh(torch.diag(l) + torch.outer(mean, mean))[-1])
    fits = {
        "least squares": (learned(x, lambda rho: 1 / rho), 0.0),
        "ridge": (learned(x, lambda rho: 1 / (rho + penalty)), 0.0),
        "descent": (learned(x + mean, lambda rho: (1 - (-time * rho).exp()) / rho), mean),
    }
    errors = [
        (((beta - w) ** 2 @ l) + (w @ m if isinstance(m, torch.Tensor) else torch.zeros(sets)) ** 2 + noise)
        / (1 + noise)
        for w, m in fits.values()
    ]
    (found,) = js("halves", [[offset, decay, target]])
    for measured, expected in zip(errors, found[2:], strict=True):
        assert abs(float(measured.mean()) - expected) <= 0.03 * expected + 3 * float(measured.std()) / sets**0.5


def test_the_read_out_is_that_of_the_core(js, rng):
    calls, expected = [], []
    for _ in range(POINTS):
        decay, penalty = rng.uniform(0, 2), 10 ** rng.uniform(-4, 2)
        block, n = int(rng.integers(1, 9)), int(10 ** rng.uniform(1.2, 3.6))
        l = torch.arange(1, 65, dtype=torch.float64) ** -decay
        power = torch.zeros(64, dtype=torch.float64)
        power[8 * block - 8 : 8 * block] = 1 / 8
        calls.append([float(decay), block, float(penalty), n])
        expected.append(float(spectral_risk(l * 64 / l.sum(), power, 0.25, n, ridge(float(penalty)))) / 1.25)
    agree(js("readOut", calls), expected)
    pairs = [[1.0, 0.995], [1.0, 0.98], [0.98, 1.0]]
    assert js("advice", [[p] for p in pairs]) == ["it does not matter", "whiten", "leave them as they are"]


def test_verdicts_at_their_edges(js):
    low, high = js("isotropicBand", [[500, 768]])[0]
    said = js("verdict", [[500, 768, s] for s in (0.037, low + 1e-6, high + 1e-4, 0.9)])
    assert [words[:14] for words in said] == ["This is not is", "500 points can", "More even than", "No 500 points "]
    # The law that is named scores what was seen: read it back through the core.
    pr = float(re.search(r"([\d.]+) of 768 directions", said[0])[1])
    assert abs(null.from_participation_ratio(null.sampled_participation_ratio(pr, 500), 768) - 0.037) < 1e-4


def built(folder):
    """Exit status and complaints of Sphinx, run by itself: the theme leaves traces in its process."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", ".", "_build"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A page with all four and one without, built by Sphinx in the book's theme."""
    folder = tmp_path_factory.mktemp("explorers")
    (folder / "conf.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        "extensions, html_theme = ['myst_parser', 'isobook.explore'], 'sphinx_book_theme'\n"
        f"html_static_path, exclude_patterns, language = [{str(ROOT / 'book' / '_static')!r}], ['_build'], 'en'\n"
        "html_css_files, html_context = ['site.css'], {'default_mode': 'auto'}\n"
    )
    blocks = "\n".join(f"```{{explore}} {name}\nWithout scripts: see {{doc}}`plain`.\n```\n" for name in EXPLORERS)
    (folder / "index.md").write_text(f"# Explorers\n\n{blocks}\n```{{toctree}}\nplain\n```\n")
    (folder / "plain.md").write_text("# Plain\n\nNothing moves here.\n")
    status, said = built(folder)
    assert status == 0, said
    return folder


def test_only_a_page_with_an_explorer_loads_their_scripts(book):
    page, plain = ((book / "_build" / f"{name}.html").read_text() for name in ("index", "plain"))
    loaded = re.findall(r'src="_static/(explorers/[\w-]+\.js)', page)
    assert loaded == scripts(list(EXPLORERS)) and "explorers.css" in page
    assert "explorers" not in plain.split("<article")[0]
    assert page.count("Without scripts: see") == len(EXPLORERS)


@pytest.mark.parametrize(
    "block, words",
    [("{explore} nothing\nText", "is one of two-halves"), ("{explore} read-out", "Content block expected")],
)
def test_an_explorer_has_a_known_name_and_a_stand_in(tmp_path, block, words):
    (tmp_path / "conf.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        "extensions = ['myst_parser', 'isobook.explore']\n"
    )
    (tmp_path / "index.md").write_text(f"# Page\n\n```{block}\n```\n")
    status, said = built(tmp_path)
    assert status != 0 and words in said


def drawn(page):
    """Wait until what was asked for in this frame has been drawn in the next."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def opened(browser, book):
    """The page from the folder, without a server; `trouble` gathers what a browser complains about."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.trouble = []
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith("file://") or page.trouble.append(asked.url))
    page.goto((book / "_build" / "index.html").as_uri())
    yield page
    page.close()


def test_a_key_moves_a_slider_and_the_sentence_follows(opened):
    for name in EXPLORERS:
        place = opened.locator(f"#explore-{name}")
        assert not place.locator(".explorer-still").is_visible()
        assert place.locator("output").get_attribute("aria-live") == "polite"
        for slider in place.get_by_role("slider").all():

            def look(slider=slider, place=place):
                picture = place.locator("svg").first.inner_html()
                return slider.get_attribute("aria-valuetext"), place.locator("output").inner_text(), picture

            before = look()
            slider.focus()
            opened.keyboard.press("PageUp")
            drawn(opened)
            assert all(now != then for now, then in zip(look(), before, strict=True)), name
    assert not opened.trouble


def test_a_number_can_be_typed(opened):
    place = opened.locator("#explore-null-curve")
    place.get_by_label("Dimensions d, as a number").fill("384")
    place.get_by_label("Number of points n, as a number").fill("6000")
    drawn(opened)
    assert f"scores {null.iso_score_null(6000, 384):.3f}" in place.locator("output").inner_text()
    before = place.locator("output").inner_text()
    for wrong in ("", "1", "1e9"):
        place.get_by_label("Number of points n, as a number").fill(wrong)
        drawn(opened)
        assert place.locator("output").inner_text() == before


def test_the_forecasts_of_the_dial_do_not_move_and_the_scores_do(opened):
    place = opened.locator("#explore-gauge-dial")

    def widths():
        html = place.locator("svg").last.inner_html()
        return np.array(re.findall(r'class="(?:mean|spectral|ink)"[^>]* width="([\d.]+)"', html), float)

    first = widths()
    for slider in place.get_by_role("slider").all():
        slider.focus()
        opened.keyboard.press("End")
    drawn(opened)
    moved = np.abs(widths() - first)
    assert len(first) == 9 and moved[:3].min() > 1 and moved[3:].max() < 1e-9
    value, power = re.search(r"forty states: (\d) × 10⁻(.+)\.$", place.locator("output").inner_text()).groups()
    assert float(f"{value}e-{int(power.translate(str.maketrans('⁰¹²³⁴⁵⁶⁷⁸⁹', '0123456789')))}") < 1e-13


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 390)])
def test_no_barrier_in_light_dark_or_on_a_phone(opened, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size({"width": width, "height": 844})
    opened.reload()
    opened.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
    options = {"resultTypes": ["violations"], "preload": False}
    found = axe.run(opened, context=".explorer", options=options).response
    assert {"label", "select-name", "color-contrast", "svg-img-alt"} <= {rule["id"] for rule in found["passes"]}
    wrong = [
        (rule["id"], node["target"], node["failureSummary"]) for rule in found["violations"] for node in rule["nodes"]
    ]
    assert not wrong
    wide, shown = opened.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= shown


def test_without_scripts_the_stand_in_is_shown(browser, book):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((book / "_build" / "index.html").as_uri())
    assert page.locator(".explorer-still:visible").count() == len(EXPLORERS)
    assert page.locator(".explorer-live").count() == 0
    context.close()
