"""What papers print of disability from MRI, to stand beside ours. Nothing here is computed.

All numbers are of their authors' own patients. The accuracies are plain ones, of classes of unequal size: a balanced
accuracy must not be laid against them.

References
----------
.. [1] Coll L et al. J Magn Reson Imaging 60:258-267, 2024 (abstract): 319 patients, 382 scans; external 440 patients,
   not trained again. doi:10.1002/jmri.29046
.. [2] Coll L et al. NeuroImage Clin 38:103376, 2023 (abstract): logistic regression on volumes beside the network.
   doi:10.1016/j.nicl.2023.103376
"""

from dataclasses import dataclass

COLL_2024, COLL_2023, META = "Coll et al. 2024", "Coll et al. 2023", "meta-analysis of 21 studies"


@dataclass(frozen=True)
class Published:
    """One printed number: of which model, who printed it, the measure by our name, where the patients come from."""

    system: str
    source: str
    measure: str  # by our name of it
    value: float
    evaluation: str
    low: float | None = None
    high: float | None = None
    data: str = ""


_OWN = "319 patients, 382 scans, EDSS >= 3.0 within 6 months, seven folds by patient"
_EXTERNAL = "440 patients of other centres, not trained again"
PUBLISHED = (
    Published("global", COLL_2024, "accuracy", 0.79, "cross-validation", data=_OWN),
    Published("gm", COLL_2024, "accuracy", 0.81, "cross-validation", data=_OWN),
    Published("global", COLL_2024, "accuracy", 0.71, "frozen", data=_EXTERNAL),
    Published("wm", COLL_2024, "accuracy", 0.72, "frozen", data=_EXTERNAL),
    Published("volumes", COLL_2023, "accuracy", 0.77, "cross-validation", data="logistic regression on volumes"),
    Published("deep learning", META, "roc_auc", 0.78, "any", 0.57, 0.86, "12,252 patients; median and range"),
)


def published_for(model: str, measure: str, evaluation: str) -> Published | None:
    """Return what is printed of a measure of this model, cross-validated or frozen; None where nothing is.

    Examples
    --------
    >>> published_for("gm", "accuracy", "cross-validation").value
    0.81
    >>> published_for("gm", "balanced_accuracy", "cross-validation") is None
    True
    """
    key = (model, measure, evaluation)
    return next((one for one in PUBLISHED if (one.system, one.measure, one.evaluation) == key), None)
