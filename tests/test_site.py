"""The built site, opened page by page in a real browser, as a reader would. Needs `make book` first."""

from __future__ import annotations

import functools
import gzip
import http.server
import json
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import jupytext
import nbformat
import pytest

SITE = Path(__file__).resolve().parents[1] / "_build" / "html"
# Violations that the theme causes and no page of ours can mend, by rule of axe-core.
THEME = {
    "region": "the theme puts its header and its logo outside of the landmarks",
}

pytestmark = [
    pytest.mark.site,
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="no built site: run make book"),
]

ALL = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html") if "_static" not in p.parts)
PERMALINKS = [page for page in ALL if page.startswith("fig/")]
ALONE = ("index.html", "404.html")  # the one leads to book/index.html, the other stands outside of the site
PAGES = [page for page in ALL if page not in PERMALINKS and page not in ALONE]


class Anatomy(HTMLParser):
    """Ids of a page, and what it links to and loads."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        elif tag != "a" and tag != "form":
            rel = attrs.get("rel", "")
            self.loads += [
                attrs[k] for k in ("src", "href") if attrs.get(k) and rel not in ("canonical", "next", "prev")
            ]


@pytest.fixture(scope="module")
def anatomy():
    return functools.cache(Anatomy)


@pytest.mark.parametrize("page", ALL)
def test_every_link_into_the_site_lands(page, anatomy):
    here = SITE / page
    missing = []
    for link in anatomy(here).links + anatomy(here).loads:
        address, fragment = urldefrag(link)
        if re.match(r"[a-z]+:|//", link):
            continue
        target = (here.parent / unquote(address.split("?")[0])).resolve() if address else here
        target = target / "index.html" if target.is_dir() else target
        if not target.is_file():
            missing.append(link)
        elif fragment and target.suffix == ".html" and unquote(fragment) not in anatomy(target).ids:
            missing.append(link)
    assert not missing


@pytest.mark.parametrize("page", ALL)
def test_nothing_is_loaded_from_elsewhere(page, anatomy):
    assert not [load for load in anatomy(SITE / page).loads if re.match(r"(https?:)?//", load)]


def test_the_catalogue_and_the_pages_agree():
    listed = [entry["id"] for entry in json.loads((SITE / "figures" / "index.json").read_text())]
    assert sorted(f"fig/{id}.html" for id in listed) == PERMALINKS
    drawn = [id for page in PAGES for id in re.findall(r'<figure[^>]* id="(fig-[^"]*)"', (SITE / page).read_text())]
    assert sorted(drawn) == sorted(listed)


def test_every_notebook_to_take_along_has_run():
    notebooks = [nbformat.read(path, as_version=4) for path in (SITE / "_sources").rglob("*.ipynb")]
    assert notebooks
    for notebook in notebooks:
        install, *code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert install.metadata.tags == ["install"] and all(cell.execution_count for cell in code)


def test_a_notebook_to_take_along_has_the_code_of_its_chapter_and_reads_in_any_jupyter():
    for path in (SITE / "_sources").rglob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        source = jupytext.read(SITE.parents[1] / path.relative_to(SITE / "_sources").with_suffix(".md"))
        code, text = ({"code": [], "markdown": []} for _ in range(2))
        for kind, cells in ((code, source.cells), (text, notebook.cells)):
            for cell in cells:
                kind[cell.cell_type].append(cell.source)
        assert text["code"][1:] == [cell for cell in code["code"] if cell.strip()], path
        plain, typed = "\n".join(text["markdown"]), "\n".join(code["markdown"])
        typed = re.sub(r"^```\{caption\}.*?^```", "", typed, flags=re.DOTALL | re.MULTILINE)  # they stand under figures
        assert not re.search(
            r"\{(glue|prf|cite|numref|eq|ref|doc)[}:]|^:label:|^:::|^\([\w-]+\)=", plain, re.MULTILINE
        ), path
        assert len(re.findall("[a-z]{5,}", plain)) > 0.85 * len(re.findall("[a-z]{5,}", typed)), path


def test_no_page_names_a_folder_of_the_machine_that_built_it():
    texts = [*SITE.rglob("*.html"), *(SITE / "figures").rglob("*.json"), *(SITE / "_sources").rglob("*.*")]
    home = str(SITE.parents[1])
    assert not [path.name for path in texts if home in path.read_text(encoding="utf-8")]


@pytest.fixture(scope="module")
def server():
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            """A tab that closes while it loads breaks the pipe; what matters of that the tab itself reports."""

    with Server(("127.0.0.1", 0), functools.partial(Handler, directory=SITE)) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/"
        listening.shutdown()


@pytest.fixture(scope="module")
def reader(browser):
    """One reader, who goes from page to page: what pages share is fetched once."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    yield context
    context.close()


@pytest.fixture
def tab(reader, server):
    """A fresh light window of laptop width; `tab.trouble` gathers what a reader's browser would complain about."""
    page = reader.new_page()
    page.trouble = []

    def asked(request):
        if not request.url.startswith((server, "data:", "blob:")):
            page.trouble.append(f"third party: {request.url}")

    def failed(request):
        if request.failure != "net::ERR_ABORTED":  # a redirect away from a page stops what that page still loads
            page.trouble.append(f"failed: {request.url}")

    page.on("console", lambda message: message.type == "error" and page.trouble.append(message.text))
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.on("request", asked)
    page.on("requestfailed", failed)
    page.on("response", lambda answer: answer.status >= 400 and page.trouble.append(f"{answer.status}: {answer.url}"))
    yield page
    page.close()


def settle(page):
    """Wait for pictures and mathematics, also for what is far from the reader."""
    page.evaluate(
        """async () => {
            for (const picture of document.images) picture.loading = "eager";
            if (window.MathJax && MathJax.startup) {
                await MathJax.startup.promise;
                await MathJax.startup.document.lazyTypesetAll();
            }
            await document.fonts.ready;
            // A picture that cannot be loaded has no width, which the tests look at.
            await Promise.allSettled([...document.images].map(picture => picture.decode()));
        }"""
    )


def unfold(page):
    """Open what is folded, so that it is looked at too. Nothing fades in: half faded words have half their contrast."""
    page.add_style_tag(content="*, ::before, ::after { transition: none !important; animation: none !important }")
    page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")


def thin(page):
    """Plain words for formulas and coloured code: thousands of elements that are alike on every page, and not ours."""
    page.evaluate(
        """() => {
            for (const formula of document.querySelectorAll("mjx-container"))
                (formula.closest(".math") ?? formula).replaceWith("formula");
            for (const code of document.querySelectorAll("pre")) code.textContent = code.textContent;
        }"""
    )


@pytest.fixture(scope="module")
def axe():
    return pytest.importorskip("axe_playwright_python.sync_playwright").Axe()


def violations(axe, page, **options):
    """Rule, place and help of everything axe-core finds, less what the theme causes."""
    options = {"resultTypes": ["violations"], "preload": False, **options}
    found = axe.run(page, options=options).response["violations"]
    return [
        (rule["id"], node["target"], node["failureSummary"])
        for rule in found
        if rule["id"] not in THEME
        for node in rule["nodes"]
    ]


def last_figures():
    """Page -> its last figure: the one that mathematics above it moves furthest."""
    if not (SITE / "figures" / "index.json").exists():
        return {}
    entries = json.loads((SITE / "figures" / "index.json").read_text())
    return {entry["page"].split("#")[0]: entry["id"] for entry in entries}


LAST_FIGURES = last_figures()


# Tables of which a part lies beside the screen.
OUT_OF_SIGHT = """() => [...document.querySelectorAll("article table")].filter(t => {
    const box = t.parentElement;
    return box.clientWidth && box.scrollWidth > box.clientWidth + 1;
}).map(t => t.textContent.trim().slice(0, 40))"""
# Cells whose words run into the next.
OVER_THE_EDGE = """() => [...document.querySelectorAll("article :is(td, th)")].filter(
    cell => cell.scrollWidth > cell.clientWidth + 1
).map(cell => cell.textContent.trim().slice(0, 40))"""
# Stops and brackets that begin a line though something stands before them.
STOPS_ALONE = """() => {
    const found = [], texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    for (let text; text = texts.nextNode();) {
        const block = text.parentElement.closest("p, li, td, th, dd, figcaption, h1, h2, h3, pre, mjx-container");
        if (!/^[.,;:!?)\\]%’”]/.test(text.data) || !block || block.matches("pre, mjx-container")) continue;
        if (!text.previousSibling || text.previousSibling.nodeName === "CODE") continue; // code may fill a line
        const range = document.createRange();
        range.setStart(text, 0), range.setEnd(text, 1);
        const [at] = range.getClientRects(), style = getComputedStyle(block);
        if (at && at.left < block.getBoundingClientRect().left + parseFloat(style.paddingLeft) + 3) found.push(
            text.previousSibling.textContent.slice(-20) + text.data.slice(0, 9)
        );
    }
    return found;
}"""


def test_large_and_small_numbers_are_powers_of_ten_on_every_page():
    """Code keeps what Python prints."""
    wrong = []
    for page in PAGES:
        html = re.sub(r"<(pre|script|style|code)\b.*?</\1>", "", (SITE / page).read_text(), flags=re.DOTALL)
        text = re.sub("<[^>]*>", " ", html[html.find("<article") : html.rfind("</article>")])
        wrong += [f"{page}: {hit}" for hit in re.findall(r"[\s−+(\[]\d(?:\.\d+)?e[-+]\d+", text)]
    assert not wrong


@pytest.mark.parametrize("page", PAGES)
def test_a_page_in_light_dark_and_on_a_phone(page, tab, server, axe):
    # A page with figures is entered by the permanent address of its last one: loading it once serves both.
    figure = LAST_FIGURES.get(page)
    tab.goto(server + (f"fig/{figure}.html" if figure else page))
    if figure:
        tab.wait_for_url(f"{server}{page}#{figure}")
    settle(tab)
    if figure:
        assert_landed(tab, figure)
    assert_mathematics(tab)
    assert_pictures(tab, "only-light")
    unfold(tab)
    assert not tab.evaluate(OVER_THE_EDGE)
    if page != "book/index.html":  # where code and formulas are judged too
        thin(tab)
    assert not violations(axe, tab)

    # Dark and narrow in one: what depends on neither has been looked at above.
    tab.emulate_media(color_scheme="dark")
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert_pictures(tab, "only-dark")
    tab.wait_for_timeout(400)  # the theme looks for what scrolls 300 ms after a resize
    assert not violations(axe, tab, runOnly=["color-contrast", "scrollable-region-focusable", "target-size"])

    # Once more from the start, as a phone loads it, formulas and all.
    tab.reload()
    settle(tab)
    wide, shown = tab.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= shown
    assert not tab.evaluate(OUT_OF_SIGHT) and not tab.evaluate(STOPS_ALONE)
    assert tab.locator("figure.citable .fig-cue").count() == tab.locator("figure.citable .fig-cue:visible").count()
    assert not tab.trouble


# A word that people search for, and where the first result leads.
SOUGHT = {
    "thm-isoscore": "book/isotropy.html#thm-isoscore",
    "Conservation of the mean row": "book/loglinear.html#thm-conservation",
    "I-STAR": "book/istar.html",
    "istar": "book/istar.html",
    "fine-tuning": "book/istar.html",
    "whitening": "book/whiten.html",
    "retrieval": "book/whiten.html",
    "cosine similarity": "book/whiten.html",
}


@pytest.mark.parametrize("words", SOUGHT)
def test_the_search_leads_to_the_answer(words, tab, server):
    if not (SITE / SOUGHT[words].split("#")[0]).exists():
        pytest.skip(f"no page {SOUGHT[words]}")
    tab.goto(f"{server}search.html?q={words}")
    first = tab.locator("#search-results li a").first
    first.wait_for()
    assert first.evaluate("link => link.origin + link.pathname + link.hash") == server + SOUGHT[words]
    assert not tab.trouble


# Page -> a link on it to each kind of thing, of this page or another, and a word of what it leads to.
POINTED = {
    "book/chain.html": ("a[href='guarantee.html#thm-g-guarantee']", "Theorem 6.2"),
    "book/attention.html": ("a[href='isotropy.html#def-halves']", "Definition 1.1"),
    "book/isotropy.html": ("a[href='#equation-eq-isoscore']", "(1.2)"),
    "book/index.html": ("a[href='#fig-four-clouds']", "Isotropy is two numbers"),
    "book/shift.html": ("a[href^='bibliography.html#']", "Shelim"),
}


@pytest.mark.parametrize("over", ["http", "file"])
@pytest.mark.parametrize("page", POINTED)
def test_a_link_shows_what_it_leads_to(page, over, tab, server):
    link, said = POINTED[page]
    tab.goto((server if over == "http" else SITE.as_uri() + "/") + page)
    tab.evaluate("MathJax.startup.promise")
    link, preview = tab.locator(f"article {link}.reference.internal").first, tab.locator(".preview")
    link.scroll_into_view_if_needed()
    tab.wait_for_timeout(100)  # scrolling closes
    link.hover()
    preview.wait_for()
    assert said in preview.inner_text()
    tab.wait_for_function("!document.querySelector('.preview .math:not(:has(mjx-math))')")
    assert not tab.evaluate("document.querySelectorAll('.preview [id], .preview a').length")
    tab.keyboard.press("Escape")
    assert not preview.is_visible()
    tab.mouse.move(0, 0)
    link.evaluate("link => link.focus({focusVisible: true})")
    preview.wait_for()
    box, wide = preview.bounding_box(), tab.viewport_size["width"]
    assert box["x"] >= 0 and box["x"] + box["width"] <= wide
    assert over == "file" or not tab.trouble


def test_a_tap_enlarges_a_figure_in_its_frame(tab, server):
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.goto(server + "book/isotropy.html")
    drawing, frame = (
        tab.locator("figure.citable img.only-light").first,
        tab.locator("figure.citable .fig-picture").first,
    )
    small = drawing.bounding_box()["width"]
    for large in (True, False):
        frame.click()
        assert (drawing.bounding_box()["width"] == int(drawing.get_attribute("width")) > small) is large
        assert frame.evaluate("frame => frame.scrollWidth > frame.clientWidth") is large
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_on_paper_stands_the_text_and_nothing_else(tab, server):
    tab.goto(server + "book/isotropy.html")
    tab.emulate_media(media="print")
    shown = "[...document.querySelectorAll('{}')].filter(e => e.checkVisibility()).map(e => e.className)"
    assert tab.evaluate(shown.format("figure.citable img")) == ["only-light"] * len(
        re.findall(r'<figure class="citable', (SITE / "book" / "isotropy.html").read_text())
    )
    chrome = ".bd-header, .bd-sidebar-primary, .bd-sidebar-secondary, .prev-next-footer, .fig-tools, .bd-footer button"
    assert not tab.evaluate(shown.format(chrome + ", details.hide > summary, .copybtn, .headerlink"))
    assert tab.evaluate(shown.format(".paper-address")) == ["paper-address"]


def test_the_short_answer_prints_on_two_pages(tab, server):
    tab.goto(server + "search.html?q=whitening")  # whose matches are marked on the next page, and not on paper
    tab.wait_for_selector("#search-results li")
    tab.goto(server + "book/whiten.html")
    settle(tab)
    paper = tab.pdf(format="A4", margin=dict.fromkeys(["top", "bottom", "left", "right"], "1cm"))  # as browsers do
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 2


def test_the_lost_page_and_the_sitemap_lead_to_pages_that_exist():
    base = re.search(r'<link rel="canonical" href="(.*)book/index.html"', (SITE / "book" / "index.html").read_text())[1]
    links = re.findall(r'href="([^"]*)"', (SITE / "404.html").read_text())
    links += re.findall("<loc>(.*?)</loc>", (SITE / "sitemap.xml").read_text())
    assert len(links) > 40
    assert not [link for link in links if not (SITE / link.removeprefix(base)).is_file()]


SHIFTS = """window.shifted = 0; new PerformanceObserver(list => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({type: "layout-shift", buffered: true});"""


@pytest.mark.parametrize("page", sorted(LAST_FIGURES))
def test_a_first_visit_is_light_and_holds_still(page, browser, server):
    context, sizes = browser.new_context(viewport={"width": 1280, "height": 800}), []

    def weigh(answer):
        if answer.ok:  # fonts and pictures are packed already; all else a host sends packed
            body, packed = answer.body(), answer.url.endswith((".png", ".woff", ".woff2"))
            sizes.append(len(body if packed else gzip.compress(body, 6)))

    context.on("response", weigh)
    tab = context.new_page()
    tab.add_init_script(SHIFTS)
    tab.goto(server + page, wait_until="load")
    tab.evaluate("MathJax.startup.promise")
    tab.wait_for_timeout(500)
    shifted, stops = tab.evaluate("[window.shifted, document.querySelectorAll('mjx-container[tabindex]').length]")
    assert sum(sizes) <= 800 * 1024
    assert shifted <= 0.05
    assert stops == 0
    context.close()


def assert_landed(page, figure):
    """The figure of the permanent address is what the reader sees, with its button to copy a citation."""
    page.wait_for_function(
        "(([t]) => t.top > -10 && t.top < 900)(document.querySelector('figure:target').getClientRects())", timeout=5000
    )
    assert page.locator(f"figure#{figure} + .fig-tools button.copybtn").count() == 1


def assert_mathematics(page):
    """Every formula is typeset, and none as an error."""
    raw, wrong = page.evaluate(
        """[".math:not(:has(mjx-math))", "mjx-merror, [data-mjx-error]"].map(
            selector => [...document.querySelectorAll(selector)].map(e => e.textContent)
        )"""
    )
    assert not raw and not wrong


def assert_pictures(page, shown):
    """Every picture has loaded and has words; of a citable figure's two drawings, the right one is visible."""
    pictures = page.evaluate(
        """[...document.images].map(i => ({
            source: i.src, words: i.alt, width: i.naturalWidth, mode: i.className, visible: i.offsetParent !== null
        }))"""
    )
    assert not [p for p in pictures if not p["words"] or not p["width"]]
    drawings = [p for p in pictures if "/figures/" in p["source"]]
    assert not [p for p in drawings if p["visible"] != (shown in p["mode"].split())]


def test_every_page_with_figures_is_entered_by_one():
    drawn = {page for page in PAGES if re.search(r'<figure[^>]* id="fig-', (SITE / page).read_text())}
    assert set(LAST_FIGURES) == drawn


def test_the_root_leads_to_the_first_page(tab, server):
    tab.goto(server)
    tab.wait_for_url("**/book/index.html")


@pytest.mark.parametrize("page", PERMALINKS)
def test_a_permanent_address_names_its_figure(page, anatomy):
    target, id = re.search(r'content="0; url=\.\./([^#"]+)#([^"]+)"', (SITE / page).read_text()).groups()
    assert id == Path(page).stem and id in anatomy(SITE / target).ids
