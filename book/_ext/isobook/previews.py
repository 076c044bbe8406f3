"""What a link to a theorem, an equation, a figure or a reference leads to, shown while the reader points at it.

Each page's statements lie in a small script of their own, `previews/PAGE.js`, which previews.js loads when it is first
needed: a script, because a page that is opened from a folder may not fetch anything else.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

BEGINS = re.compile(
    r'<(?:div class="(?:proof [^"]*|math notranslate nohighlight|citation)"|figure [^>]*?) id="([^"]+)"'
)
# What a preview does without: links (the reader has the one that is pointed at) and ids (they are taken).
SURPLUS = re.compile(r'<a class="headerlink".*?</a>|</?a\b[^>]*>| id="[^"]*"', re.DOTALL)


def snippets(body: str) -> dict[str, str]:
    """Id -> HTML of every statement, equation, figure and reference of a page."""
    return {match[1]: SURPLUS.sub("", element(body, match.start())) for match in BEGINS.finditer(body)}


def element(html: str, start: int) -> str:
    """The element that begins at `start`, to the end tag that closes it."""
    tag = re.compile(r"<(\w+)").match(html, start)[1]
    open = 0
    for match in re.compile(rf"<(/?){tag}\b").finditer(html, start):
        open += -1 if match[1] else 1
        if not open:
            return html[start : match.end()] + ">"
    raise ValueError(f"<{tag}> is not closed: {html[start : start + 80]!r}")


def write(app, pagename, templatename, context, doctree):
    if doctree is None or app.builder.format != "html":
        return
    path = Path(app.outdir) / "previews" / f"{pagename}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = json.dumps(snippets(context["body"]), ensure_ascii=False)
    path.write_text(f"previews({json.dumps(pagename)}, {found});\n", encoding="utf-8")


def setup(app):
    app.connect("html-page-context", write, priority=900)  # after the room for formulas is kept
