"""I-STAR beside what else could have done it: early stopping, decay, dropout, rate, regularisers of the mean half.

The last layer of the networks of `istar`, on the targets of its half `held` and other seeds. Each way to act has at
most four values, among which validation windows choose, so all are tuned equally. A network is looked at on twelve
marks and enters twice: at its last step, and at the mark that validation windows prefer (early stopping).
`istar_identity` is I-STAR with C0 = I. The gauge control: least squares on the pre-trained states as they are ("ols",
value 0) and in a basis that whitens them (value 1); its step is 0. What was expected: `studies.istar_verdicts`.
"""

from __future__ import annotations

import numpy as np
import torch

from isonum_core.geometry.moments import Moments
from isonum_core.geometry.scores import iso_score
from isonum_core.studies.istar import BUDGETS, PARTS, TEST, Istar, rows_of, task
from isonum_core.studies.istar import TOLERANCES as OF_RUN
from isonum_core.studies.istar_stack import Way
from isonum_core.studies.istar_verdicts import WAYS

KEPT = ("error", "valid", "train", "iso_score", "mean_share", "length", "two_nn")
TOLERANCES = {name: OF_RUN[name] for name in KEPT} | {"value": {"cpu": 0.0, "cuda": 0.0}}
MAY_BE_MISSING = {"two_nn", "valid", "train", "mean_share", "length"}
ARMS = (
    Way(),
    *(Way(name, v) for name, values in WAYS.values() for v in values),
    Way("istar_identity", 0.3),
    Way("istar_identity", 1.0),
)


def grid(profile: str) -> list[Istar]:
    """quick: one. cpu: five seeds and two amounts of data. gpu: ten seeds."""
    if profile == "quick":
        return [Istar("held", "last", 64, 40, profile)]
    return [Istar("held", "last", n, 40 + i, profile) for n in (128, 512) for i in range(5 if profile == "cpu" else 10)]


def provisional(config: Istar) -> set[str]:
    """All: as the study `istar`."""
    return set(TOLERANCES)


def run(config: Istar, device: str = "cpu") -> list[dict]:
    """A row for each target, arm and value, and `stop`: "last" step, or "best" on the validation windows."""
    budget, targets = BUDGETS[config.size, config.depth], PARTS[config.part]
    marks = sorted({max(1, round(budget.steps * share)) for share in np.geomspace(0.02, 1, 12)})
    found: dict[tuple, list[dict]] = {}
    for row in rows_of(config, marks, [(target, arm) for target in targets for arm in ARMS], device):
        kept = {name: row[name] for name in ("target", "arm", "value", "step", *KEPT)}
        found.setdefault((row["target"], row["arm"], row["value"]), []).append(kept)
    rows = [{"stop": "last"} | path[-1] for path in found.values()]
    rows += [{"stop": "best"} | min(path, key=lambda row: row["valid"]) for path in found.values()]
    return rows + least_squares(config, targets, device)


def least_squares(config: Istar, targets: tuple[str, ...], device: str) -> list[dict]:
    """Test error of least squares on the pre-trained states, in their own basis and in one that whitens them."""
    n, last = config.n, config.n + TEST[config.size]
    _, h, clean, noised, _ = task(config, targets, device)
    h, rows = h.double().cpu(), []
    whitener = torch.linalg.inv(torch.linalg.cholesky(torch.cov(h[:n].mT))).mT
    for value, states in ((0.0, h), (1.0, h @ whitener)):
        design = torch.cat([states, torch.ones(len(states), 1)], 1)
        score = float(iso_score(Moments.of(states[n:last])))
        for name in targets:
            fit = torch.linalg.lstsq(design[:n], noised[name][:n, None].double().cpu()).solution
            error = float(((design @ fit)[n:last, 0] - clean[name][n:last].cpu()).square().mean())
            facts = dict(stop="last", target=name, arm="ols", value=value, step=0) | dict.fromkeys(KEPT)
            rows.append(facts | dict(error=float(f"{error:.4g}"), iso_score=float(f"{score:.4g}")))
    return rows
