"""One icon font with the icons that pages use: the theme's two copies of all 2,000 are 60 % of a first visit."""

from __future__ import annotations

import re
from pathlib import Path

import pydata_sphinx_theme
from fontTools.subset import Options, Subsetter, load_font, save_font

STATIC = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
FONTS = "vendor/fontawesome/webfonts"
SCRIPT = re.compile(r'\s*<script src="[^"]*fontawesome\.js[^"]*"></script>')  # draws each icon a second time, as SVG
NAME = re.compile(r"\bfa-([a-z0-9-]+)")
# A rule of the style sheet that gives a name its letter: .fa-search:before{content:"\f002"}
LETTER = re.compile(r'\.fa-([a-z0-9-]+):before(?:,[^{]*)?\{content:"\\([0-9a-f]{4})"\}')
PRIVATE = re.compile("[\ue000-\uf8ff]")  # letters that the theme names by themselves, for notes and outward links


def used(texts: list[str], css: str) -> set[int]:
    """Code points of the icons that the pages and scripts in `texts` name, and of those that the style sheet sets."""
    names = {name for text in texts for name in NAME.findall(text)}
    letters = {name: int(code, 16) for rule in css.split("}") for name, code in LETTER.findall(_alone(rule))}
    return {letters[name] for name in names & letters.keys()} | {ord(letter) for letter in PRIVATE.findall(css)}


def _alone(rule: str) -> str:
    """A rule for several names, once for each of them."""
    names, _, body = rule.rpartition("{")
    return "".join(f"{name}{{{body}}}" for name in names.split(","))


def lighten(app, exception):
    site, texts = Path(app.outdir), []
    if exception or app.builder.format != "html" or not (site / "_static" / FONTS).is_dir():  # another theme
        return
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if (lighter := SCRIPT.sub("", text)) != text:
            page.write_text(lighter, encoding="utf-8")
        texts.append(lighter)
    (site / "_static" / "scripts" / "fontawesome.js").unlink(missing_ok=True)
    texts += [path.read_text(encoding="utf-8") for path in (site / "_static" / "scripts").glob("*.js")]
    codes = used(texts, (STATIC / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8"))
    for path in (STATIC / FONTS).iterdir():
        options = Options(flavor="woff2" if path.suffix == ".woff2" else None, layout_features=[], drop_tables=["FFTM"])
        font, subset = load_font(path, options), Subsetter(options)
        subset.populate(unicodes=codes)
        subset.subset(font)
        save_font(font, site / "_static" / FONTS / path.name, options)


def setup(app):
    app.connect("build-finished", lighten)
