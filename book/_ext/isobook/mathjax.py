"""Mathematics rendered by the site itself, when the reader comes near it: the few MathJax files that this needs.

Until then a formula keeps the room that it will take, so that nothing on the page moves when it comes.
"""

from __future__ import annotations

import re
import shutil
from html import unescape
from importlib import metadata
from pathlib import Path

PACKAGE = "sphinx-mathjax-offline"
# The combined component, what typesets on approach, and the fonts. The other 22 MB of the package are never asked for.
NEEDED = ("tex-chtml.js", "ui/lazy.js", "output/chtml/fonts/woff-v2/*.woff")

INLINE = re.compile(r'<span class="math notranslate nohighlight">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(r'<div class="math notranslate nohighlight"([^>]*)>(.*?)</div>', re.DOTALL)
# What takes no room of its own, what is as wide as a sign of equality, and functions set as words.
NO_ROOM = r"\\(?:math[a-z]+|bold[a-z]+|(?:text|display)(?:style)?|left|right|[bB]igg?[lr]?|bar|hat|tilde|wide[a-z]+|"
NO_ROOM += r"overline|underline|sqrt|operatorname|limits)(?![a-zA-Z])|\\[,;!: ]"
WIDE = r"\\(?:leq?|geq?|neq?|in|to|mapsto|approx|sim|propto|cdot|times|[lr]Vert|iff|ll|gg|q?quad|sum|int|infty)"
WIDE += r"(?![a-zA-Z])"
WORDS = r"\\(sup|max|min|log|exp|det|tr|diag|Cov|KL|PR|ker)(?![a-zA-Z])"
FRACTION = r"\\[td]?frac\{((?:[^{}]|\{[^{}]*\})*)\}\{((?:[^{}]|\{[^{}]*\})*)\}"


def width(tex: str) -> float:
    """Width of an inline formula in em, guessed from its letters: within .2 em of the truth for one of two formulas."""
    scripts = []
    text = re.sub(FRACTION, lambda match: max(match.groups(), key=len), tex)
    text = re.sub(WIDE, "=", re.sub(NO_ROOM, " ", re.sub(WORDS, r" \1 ", text)))
    text = re.sub(r"([_^]) +", r"\1", re.sub(r"\\[a-zA-Z]+", "x", text))
    for _ in range(3):
        text = re.sub(r"[_^]\{([^{}]*)\}", lambda match: scripts.append(match[1]) or "", text)
    text = re.sub(r"[_^](.)", lambda match: scripts.append(match[1]) or "", text)
    count = {kind: len(re.findall(kind, text)) for kind in ("[a-zA-Z0-9]", "[A-Z]", "[-=<>+]", r"[(),.|!/\[\]']")}
    letters, capitals, signs, thin = count.values()
    small = len(re.findall("[-a-zA-Z0-9=<>+]", "".join(scripts)))
    return round(0.06 + 0.58 * letters + 0.34 * capitals + 1.15 * signs + 0.4 * thin + 0.51 * small, 2)


def height(tex: str) -> float:
    """Height of a displayed formula in em, guessed from its rows and from what stands high in it."""
    tall = bool(re.search(r"frac|\\sum|\\prod|\\int|under", tex))
    return round(1.5 + 2.6 * tex.count(r"\\") + 1.4 * tall, 1)


def keep_room(app, pagename, templatename, context, doctree):
    if "body" not in context:
        return

    def inline(match):
        return match[0].replace(">", f' style="--room:{width(unescape(match[1]))}em">', 1)

    def display(match):
        return match[0].replace(">", f' style="--room:{height(unescape(match[2]))}em">', 1)

    context["body"] = DISPLAY.sub(display, INLINE.sub(inline, context["body"]))


def copy(app):
    if app.builder.format != "html":
        return
    source = Path(metadata.distribution(PACKAGE).locate_file(PACKAGE)) / "static" / "mathjax"
    for pattern in NEEDED:
        found = sorted(source.glob(pattern))
        if not found:
            raise FileNotFoundError(f"{PACKAGE} no longer holds {pattern}: look for another version of it")
        for path in found:
            target = Path(app.outdir) / "_static" / "mathjax" / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def setup(app):
    app.connect("builder-inited", copy)
    app.connect("html-page-context", keep_room)
