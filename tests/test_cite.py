"""BibTeX entries: titles that plain LaTeX sets, and entries that a bibliography style takes."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
import yaml
from docutils import nodes
from isobook.cite import LONGEST, citation, entry, first_sentence, plain, short, tex, words
from pybtex.database import parse_string
from pybtex.plugin import find_plugin

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
MACROS = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]["mathjax3_config"]["tex"]["macros"]
# Commands that LaTeX knows without any package.
LATEX = set(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega Gamma "
    "Delta Theta Lambda Xi Pi Sigma Phi Psi Omega frac sqrt bar hat tilde top ast star cdot times in le ge leq geq neq "
    "approx propto sim to rightarrow infty ll gg pm log exp max min det sum prod int langle rangle mid mathrm mathbf "
    "mathcal ldots quad left right textasciitilde textasciicircum textbackslash varepsilon varphi vartheta ell partial "
    "nabla sup inf lim dots cdots mapsto sin cos tanh overline underline equiv cap cup subset forall exists".split()
)


@pytest.mark.parametrize(
    "caption, sentence",
    [
        ("It rises. Then n = 3.", "It rises"),
        ("It is 0.5 at $n = d$. Seeds 0 to 4.", "It is 0.5 at $n = d$"),
        ("It is $f(x). A$ formula, e.g. this. More.", "It is $f(x). A$ formula, e.g. this"),
        ("Does it rise? Yes.", "Does it rise?"),
        ("No stop at all", "No stop at all"),
    ],
)
def test_the_title_is_the_first_sentence(caption, sentence):
    assert first_sentence(caption) == sentence


@pytest.mark.parametrize(
    "text, printed",
    [
        ("IsoScore* & 5 % of ñ", r"IsoScore* \& 5 \% of \~n"),
        (
            "mean_cosine #1 {x} ~ ^ $3 \\",
            r"mean\_cosine \#1 \{x\} \textasciitilde{} \textasciicircum{} \$3 \textbackslash{}",
        ),
        ("CO₂ and θ\nend", r"CO$_2$ and $\theta$ end"),
    ],
)
def test_words_are_valid_tex(text, printed):
    assert words(text) == printed


@pytest.mark.parametrize(
    "formula, printed",
    [
        (r"-\E[h]", r"-\mathbf{E}[h]"),
        (r"\norm{h_{1}}\le\tr C", r"\| h_{1} \|\le\mathrm{tr} C"),
        (r"\trace+\Rho", r"\trace+\Rho"),  # other commands that only begin alike
    ],
)
def test_the_books_own_macros_are_written_out(formula, printed):
    assert plain(formula, MACROS) == printed


def test_a_node_becomes_words_and_formulas():
    caption = nodes.caption("", "", nodes.Text("Rises by "), nodes.math("", r"\R^d"), nodes.emphasis("", " & more"))
    assert tex(caption, MACROS) == r"Rises by $\mathbf{R}^d$ \& more"


@pytest.mark.parametrize(
    "title, cut",
    [
        ("Short", "Short"),
        ("The first clause, which is long, and the second", r"The first clause, which is long\ldots"),
        ("No clause ends here before it is too long", r"No clause ends here before it is\ldots"),
        ("It rises more (above the others, mostly)", r"It rises more\ldots"),
        ("A formula $a + b + c + d + e + f + g$ stays", r"A formula\ldots"),
    ],
)
def test_a_title_is_cut_between_words(title, cut):
    assert short(title, 35) == cut and len(cut) <= 35 + len(r"\ldots")


def checked(entry_text):
    """The title of an entry, once a bibliography style has set it and every command in it is LaTeX's own."""
    database = parse_string(entry_text, "bibtex")
    style = find_plugin("pybtex.style.formatting", "plain")()
    assert len(list(style.format_bibliography(database))) == len(database.entries) == 1
    (fields,) = (dict(made.fields) for made in database.entries.values())
    for value in (fields["title"], fields["howpublished"], fields["note"]):
        assert value.isascii() and "glue" not in value and "`" not in value.replace("``", "")
        assert set(re.findall(r"\\([a-zA-Z]+)", value)) <= LATEX
        assert re.sub(r"\\.", "", value).count("$") % 2 == 0
        assert re.sub(r"\\.", "", value).count("{") == re.sub(r"\\.", "", value).count("}")
    return fields["title"]


def test_an_entry_parses_and_names_its_author():
    made = entry(citation(ROOT), "isonum:fig-a", r"Of $n/(n+d)$ \& more", "Figure 1 in: x", "fig/fig-a.html")
    assert checked(made) == r"{Of $n/(n+d)$ \& more}"
    (fields,) = parse_string(made, "bibtex").entries.values()
    assert fields.fields["url"].endswith("/fig/fig-a.html")
    assert [str(person) for person in fields.persons["author"]] == ["{The isonum authors}"]


@pytest.mark.site
@pytest.mark.skipif(not (SITE / "index.html").exists(), reason="no built site: run make book")
def test_every_entry_of_the_site_compiles_and_is_short():
    keys = []
    for page in sorted((SITE / "book").glob("*.html")):
        blocks = re.findall(
            r'class="[^"]*highlight-bibtex.*?<pre>(.*?)</pre>', page.read_text(encoding="utf-8"), re.DOTALL
        )
        for text in (unescape(re.sub("<[^>]*>", "", block)) for block in blocks):
            assert len(checked(text)) <= LONGEST + 10
            keys += re.findall(r"@misc\{([^,]+),", text)
    figures = json.loads((SITE / "figures" / "index.json").read_text())
    assert len(keys) == len(set(keys)) and {f"isonum:{figure['id']}" for figure in figures} < set(keys)
    assert "isonum" in keys and "isonum:thm-isoscore" in keys and "isonum:isotropy" in keys
