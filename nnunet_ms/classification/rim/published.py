"""What papers print of rim classifiers, to stand in columns of its own beside ours. Nothing here is computed.

All numbers are of their authors' own patients, with their own lesions, raters and prevalence.

References
----------
.. [1] Zhang H et al. QSMRim-Net. NeuroImage Clin 34:102979, 2022. doi:10.1016/j.nicl.2022.102979
.. [2] Luu et al. QSM-RimDS, 2025 (abstract): 260 / 7720 lesions; a rerun of [1]_ beside.
.. [3] Lou C et al. APRL. NeuroImage Clin 32:102796, 2021 (abstract). doi:10.1016/j.nicl.2021.102796
.. [4] Asan et al. nnU-Net for rim lesions, 2026 (abstract and its repository).
"""

from dataclasses import dataclass

PAPER, RERUN = "Zhang et al. 2022", "rerun by Luu et al. 2025"
RIM_LESIONS, OTHER_LESIONS, PATIENTS = 177, 3986, 172  # of the paper; prevalence 4.25 %


@dataclass(frozen=True)
class Published:
    """One printed number: of which system, who printed it, the measure by our name, and its interval or SD."""

    system: str
    source: str
    measure: str
    value: float
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    data: str = ""


_OWN = "172 patients, 177 rim+ and 3986 rim- lesions, QSM and FLAIR, 3 T"
_LUU = "260 / 7720 lesions, five folds"

PUBLISHED = (
    Published("QSMRim-Net", PAPER, "proc_auc", 0.760, data=_OWN),
    Published("QSMRim-Net", PAPER, "pr_auc", 0.704, data=_OWN),
    Published("QSMRim-Net", PAPER, "prl_count_mse", 0.98, data=_OWN),
    Published("QSMRim-Net", PAPER, "prl_count_r", 0.89, 0.86, 0.92, data=_OWN),
    Published("QSMRim-Net", RERUN, "roc_auc", 0.908, sd=0.073, data=_LUU),
    Published("QSMRim-Net", RERUN, "pr_auc", 0.514, sd=0.121, data=_LUU),
    Published("QSM-RimDS", "Luu et al. 2025", "roc_auc", 0.956, sd=0.034, data=_LUU),
    Published("QSM-RimDS", "Luu et al. 2025", "pr_auc", 0.754, sd=0.037, data=_LUU),
    Published(
        "APRL", "Lou et al. 2021", "roc_auc", 0.82, 0.74, 0.92, data="20 patients, 113 of 951 lesions, T2* phase"
    ),
    Published("APRL", "Lou et al. 2021", "prl_count_r", 0.86, 0.68, 0.94, data="20 patients, T2* phase"),
    Published("nnU-Net rim model", "Asan et al. 2026", "sensitivity", 0.722, data="106 patients, QSM only"),
)
# what the papers call PR AUC, without saying how they computed it, stands beside both of ours
_ALSO = {"pr_auc_average_precision": "pr_auc", "pr_auc_trapezoid": "pr_auc"}
QSMRIMNET = "qsmrimnet"


def published_for(model: str, measure: str, source: str) -> Published | None:
    """Return what `source` prints of a measure of this model; None where it prints none.

    Only the full QSMRim-Net has published numbers on QSM and FLAIR: its variants and the baselines here are ours.

    Examples
    --------
    >>> published_for("qsmrimnet", "pr_auc_trapezoid", RERUN).value
    0.514
    >>> published_for("rimnet", "pr_auc_trapezoid", PAPER) is None
    True
    """
    if model != QSMRIMNET:
        return None
    name = _ALSO.get(measure, measure)
    return next((p for p in PUBLISHED if p.system == "QSMRim-Net" and (p.source, p.measure) == (source, name)), None)
