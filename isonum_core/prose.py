"""Numbers on their way into sentences: what a chapter's text says is computed by a cell and never typed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.display import Markdown

# What people call that for which code has a name of its own, where more is needed than spaces for underscores.
SPOKEN = {
    **dict(gpt2="GPT-2", llama="Llama", t5="T5", patchtst="PatchTST", patchtsmixer="PatchTSMixer", smollm2="SmolLM2"),
    **dict(minilm="MiniLM", fracast="Fracast", zipf="Zipf", sgd="SGD", adamw="AdamW", coupled_adam="coupled Adam"),
    **dict(iso_score="IsoScore", log_i="log I", two_nn="TwoNN", nll="NLL", ar1="AR(1)", ma1="MA(1)", arma="ARMA"),
    **dict(fgn="fractional Gaussian noise", fbm="fractional Brownian motion", arfima="ARFIMA", arch="ARCH"),
    **dict(ar2_period="AR(2) by period", ar2_damping="AR(2) by damping", noisy_ar="noisy AR(1)", garch="GARCH"),
    **dict(seasonal_ar="seasonal AR", student_ar="Student AR(1)", threshold_ar="threshold AR", inar="INAR"),
    **dict(ingarch="INGARCH", sine_noise="sine under noise", sine_period="sine by period", square_duty="square wave"),
    **dict(henon="Hénon map", lorenz="Lorenz", rossler="Rössler", mackey_glass="Mackey–Glass", nile="Nile"),
    **dict(gp_scale="Gaussian process by scale", gp_tails="Gaussian process by tails"),
    **dict(gp_mixture="mixture of Gaussian processes", gp_wandering_season="Gaussian wandering season"),
    **dict(
        co2="CO₂", elnino="El Niño", ett_h1="ETTh1", us_gdp="US GDP", us_inflation="US inflation", wikitext="WikiText"
    ),
    **dict(us_unemployment="US unemployment", fred_md="FRED-MD", carparts="car parts", covid_deaths="Covid deaths"),
    **dict(elec_victoria="Victorian electricity", nn5_weekly="NN5 weekly", amazon="Amazon reviews"),
}


def spoken(text: str) -> str:
    """The text with names as people say them: "gp_mixture" is "mixture of Gaussian processes", "block.0" "block 1".

    Blocks are counted from 1 where people read, from 0 where code does. What stands in code font stays.
    """

    def said(hit: re.Match) -> str:
        name, block = hit.group(), hit.group(1)
        return f"block {int(block) + 1}" if block else SPOKEN.get(name, name.replace("_", " "))

    return re.sub(r"(?<![\w`./$\\^{])(?:block\.(\d+)|[a-z][a-z0-9_]*)(?![\w`/=(^{}\\])", said, text)


def say(**numbers: object) -> None:
    """Glue each value under its name: text and captions print it with {glue:text}`name`, a number with its format.

    A number stays one, so that {glue:text}`name:.2f` and {glue:text}`name:.0f` may stand side by side; of all else its
    str is glued. Where MyST-NB is missing there is no such text: each value is printed with its name.
    """
    try:
        from myst_nb import glue
    except ImportError:

        def glue(name, value, display):
            print(f"{name.replace('_', ' ')}:", f"{value:.6g}" if isinstance(value, float) else value)

    for name, value in numbers.items():
        value = value.item() if hasattr(value, "item") else value  # of NumPy's numbers, and of what holds one entry
        glue(name, value if isinstance(value, int | float) else str(value), display=False)


def tabled(head: Iterable[object], rows: Iterable[Iterable[object]]) -> Markdown:
    """A table as Markdown, so that formulas, links and references in its cells are set.

    From five columns on intervals stand below their estimates, which keeps a page's width. An empty cell shows a dash.
    """
    from IPython.display import Markdown

    head = list(map(str, head))
    below = r"\1<br>[" if len(head) >= 5 else r"\1 ["
    rows = [[re.sub(r"(\d) \[", below, str(cell).strip() or "–") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *rows]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def interval(value: float, low: float, high: float, digits: int = 2, sign: bool = True) -> str:
    """An estimate and its interval, all in the estimate's unit: "+0.29 [-0.12, +0.59]"; a share has no sign."""
    plus = "+" if sign else ""
    return f"{value:{plus}.{digits}f} [{low:{plus}.{digits}f}, {high:{plus}.{digits}f}]"
