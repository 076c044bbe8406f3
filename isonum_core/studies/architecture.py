"""What the architecture does: five trunks of equal size on ten families, with the data, seeds and order of `data`.

The fifth, gpt2, stands in the table of `data`. All models have the same number of parameters to 2 % (networks.patched)
and see the same series in the same order. State, checkpoint and errors are fixed as in `data`. The families were chosen
for variety among those where the model of the study `skill` had skill, before any network was run on them here. That
model is a PatchTST, a relative of one of the five: the choice may favour it. Nothing else was expected beforehand.
"""

from __future__ import annotations

from isonum_core.networks.patched import TRUNKS
from isonum_core.studies.data import MAY_BE_MISSING, TOLERANCES, Data, run

__all__ = ["CHOSEN", "MAY_BE_MISSING", "TOLERANCES", "grid", "provisional", "run"]

CHOSEN = (
    *("ar2_damping", "drift", "noisy_ar", "seasonal_amplitude", "sine_noise", "trend", "regimes"),
    *("logistic_map", "mackey_glass", "gp_scale"),
)


def provisional(config: Data) -> set[str]:
    """All of every trained trunk: the tolerances were calibrated on gpt2 alone."""
    return set(TOLERANCES) if config.trained else set()


def grid(profile: str) -> list[Data]:
    """quick: two trunks. cpu: four trunks, three seeds. gpu: five trunks, ten seeds."""
    twins = (True, False)
    if profile == "quick":
        return [Data("sine_noise", m, 0, t, profile) for m in ("llama", "patchtst") for t in twins]
    models = [name for name in TRUNKS if name != "gpt2" and (name != "bert" or profile == "gpu")]
    seeds = range(3 if profile == "cpu" else 10)
    return [Data(f, m, s, t, profile) for f in CHOSEN for m in models for s in seeds for t in twins]
