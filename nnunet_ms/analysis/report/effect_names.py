"""Treatment effects in words, for tables and figures: "T2 volume, separation, week 24"."""

from collections.abc import Mapping

from nnunet_ms.analysis.endpoints.lesion_counts import ALL_VISITS, ENDPOINTS
from nnunet_ms.analysis.report.wording import minus, term_text

EFFECTS = {
    "t2_volume_separation": "T2 volume, separation",
    "t2_volume_ancova": "T2 volume, ANCOVA difference",
    "t2_volume_mmrm": "T2 volume, MMRM, log ratio",
    **{e.name: f"{e.title}, log ratio" for e in ENDPOINTS},
    **{f"{e.name}_negative_binomial": f"{e.title}, log rate ratio" for e in ENDPOINTS},
}
MULTIVARIABLE = "_multivariable"


def effect_text(keys: Mapping[str, str], *, with_contrast: bool = False) -> str:
    """Return an effect of `effect_agreement` in words; with its arms where there are several contrasts."""
    analysis = keys["analysis"]
    joint = ", multivariable" * analysis.endswith(MULTIVARIABLE)
    outcome = f"{analysis.removesuffix(MULTIVARIABLE).upper()}{joint}, log hazard ratio of {term_text(keys['term'])}"
    text = EFFECTS.get(analysis, outcome)
    if keys["visit"] not in ("", ALL_VISITS):
        text += f", week {keys['visit']}"
    return f"{text}, {minus(keys['contrast'])}" if with_contrast and keys["contrast"] else text
