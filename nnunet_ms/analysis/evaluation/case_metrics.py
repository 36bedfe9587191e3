"""Metrics of one case under a rule.

Lesion-wise positive predictive value and false-positive rate
-------------------------------------------------------------
Krishnan et al. [1]_ print LPPV .884 and LFPR .178 for OPERA II, .683 and .252 for MICCAI 2016. So their LFPR is not
1 - LPPV, and it is larger than that in one cohort and smaller in the other; the two must count different things. The
paper gives no formula. Here F is the number of false lesions (predicted, not confirmed by the reference):

========================  =================================================================================
`lppv`                    confirmed predicted lesions / predicted lesions
`lfpr`                    F / predicted lesions; per case this is 1 - `lppv`
`lppv_by_reference`       found *reference* lesions / (found reference lesions + F)
`lfpr_complement`         1 - `lppv_by_reference` = F / (found reference lesions + F)
========================  =================================================================================

`lppv_by_reference` with `lfpr` is a reading under which the printed pairs are possible: one predicted lesion that
covers several reference lesions raises the first above 1 - `lfpr` (a model that draws generously, as in OPERA II),
several fragments in one reference lesion lower it (MICCAI 2016, where the model draws sparingly). That reading is
ours. `lppv` stands in the table's LPPV column because it is `ltpr` with the roles of the masks exchanged.

Further names
-------------
`avd` |V_p - V_r| / V_r [2]_. `sensl`, `ppvl`, `f1` [3]_: as `ltpr`, `lppv` and their harmonic mean, with that tool's
empty cases. `lesion_f1` = 2TP / (2TP + FP + FN) with TP the confirmed predicted lesions, FP the others, FN the
reference lesions that are not found [4]_. `ndsc` normalised Dice at r = .001 [4]_, of `brain_voxels` voxels: the brain
mask's when one is given, else the whole image's.

Empty masks
-----------
Undefined values are blank and counted, never 0 or 1, except where a rule's own tool says otherwise. "Empty" is the mask
that the metric counts: without lesions after the size filter, or without voxels for voxel-wise metrics.

- Both empty: everything is undefined, but `lesion_f1` and `ndsc` are 1.
- Prediction empty: `ppv`, `lppv`, `lfpr` undefined (and `lppv_by_reference`, `lfpr_complement` where no reference
  lesion is found and none is false); `lppv_empty0` and `lppv_empty1` are 0 and 1; `dice` 0; `ppvl` 0.
- Reference empty: `tpr`, `ltpr`, `avd` undefined, `dice` 0. Under `msseg2016` a reference mask without any voxel leaves
  only `tested_lesions` and `tested_volume_mm3`, number and volume of the predicted lesions, which are blank otherwise.
- Reference with voxels, but all its lesions below the filter: `sensl` undefined, `f1` 0.

References
----------
.. [1] Krishnan AP et al. Sci Rep 2023;13:4102. doi:10.1038/s41598-023-31207-5
.. [2] Carass A et al. NeuroImage 2017;148:77-102. doi:10.1016/j.neuroimage.2016.12.064
.. [3] Commowick O et al. Sci Rep 2018;8:13650. doi:10.1038/s41598-018-31911-7
.. [4] Malinin A et al. Shifts 2.0. arXiv:2206.15407
"""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from nnunet_ms.analysis.evaluation.matching import Match, Rule
from nnunet_ms.arrays import Bools

NDSC_RATE = Fraction(1, 1000)  # r: share of lesion voxels at which nDSC equals Dice


def case_metrics(match: Match, rule: Rule) -> dict[str, float]:
    """Metrics of one case that the rule reports; NaN where undefined (see the module's docstring).

    Examples
    --------
    >>> from nnunet_ms.analysis.evaluation.matching import match_masks
    >>> from nnunet_ms.analysis.evaluation.rules import RULES
    >>> from nnunet_ms.images.volumes import read_mask
    >>> rule = RULES["krishnan2023"]
    >>> masks = [read_mask(Path(f"{name}.nii.gz")) for name in ("reference", "prediction")]
    >>> metrics = case_metrics(match_masks(*masks, rule), rule)
    >>> {name: round(metrics[name], 3) for name in ("dice", "ltpr", "lfpr")}
    {'dice': 0.933, 'ltpr': 0.667, 'lfpr': 0.333}
    """
    values = {name: CASE_METRICS[name](match) for name in rule.metrics if name in CASE_METRICS}
    if "sensl" in values or "tested_lesions" in values:  # animaSegPerfAnalyzer prints one block or the other
        empty = match.voxels.reference == 0
        return {name: value if name.startswith("tested") == empty else np.nan for name, value in values.items()}
    return values


def ratio(part: float | np.number, whole: float | np.number) -> float:
    """The ratio part / whole; NaN when whole is 0."""
    return float(part / whole) if whole else np.nan


def _ppv(match: Match) -> float:
    return ratio(match.voxels.shared, match.voxels.prediction)


def _tpr(match: Match) -> float:
    return ratio(match.voxels.shared, match.voxels.reference)


def _dice(match: Match) -> float:
    return ratio(2 * match.voxels.shared, match.voxels.reference + match.voxels.prediction)


def _jaccard(match: Match) -> float:
    return ratio(match.voxels.shared, match.voxels.reference + match.voxels.prediction - match.voxels.shared)


def _specificity(match: Match) -> float:
    background = match.voxels.image - match.voxels.reference
    return ratio(background - (match.voxels.prediction - match.voxels.shared), background)


def _npv(match: Match) -> float:
    negative = match.voxels.image - match.voxels.prediction
    return ratio(negative - (match.voxels.reference - match.voxels.shared), negative)


def _relative_volume_error(match: Match) -> float:
    return 100 * ratio(match.voxels.prediction - match.voxels.reference, match.voxels.reference)


def _avd(match: Match) -> float:
    return ratio(abs(match.voxels.prediction - match.voxels.reference), match.voxels.reference)


def _ndsc(match: Match) -> float:
    shared, reference = match.voxels.shared, match.voxels.reference
    if reference + match.voxels.prediction == 0:
        return 1.0
    weight = 1.0
    if reference:
        weight = float((1 - NDSC_RATE) * reference / (NDSC_RATE * max(match.voxels.brain - reference, 1)))
    false = match.voxels.prediction - shared
    return 2 * shared / (weight * false + shared + reference)


def _brain_voxels(match: Match) -> float:
    return float(match.voxels.brain)


def _share(flags: Bools) -> float:
    return ratio(np.count_nonzero(flags), flags.size)


def _lppv(match: Match) -> float:
    return _share(match.prediction_found)


def _lppv_empty0(match: Match) -> float:
    return _share(match.prediction_found) if match.prediction.count else 0.0


def _lppv_empty1(match: Match) -> float:
    return _share(match.prediction_found) if match.prediction.count else 1.0


def _ltpr(match: Match) -> float:
    return _share(match.reference_found)


def _lfpr(match: Match) -> float:
    return _share(~match.prediction_found)


def _lppv_by_reference(match: Match) -> float:
    found, false = np.count_nonzero(match.reference_found), np.count_nonzero(~match.prediction_found)
    return ratio(found, found + false)


def _lfpr_complement(match: Match) -> float:
    return 1 - _lppv_by_reference(match)


def _f1(match: Match) -> float:
    sensitivity, precision = _ltpr(match), _lppv_empty0(match)
    if np.isnan(sensitivity) or sensitivity + precision == 0:
        return 0.0
    return 2 * sensitivity * precision / (sensitivity + precision)


def _lesion_f1(match: Match) -> float:
    true = np.count_nonzero(match.prediction_found)
    wrong = np.count_nonzero(~match.prediction_found) + np.count_nonzero(~match.reference_found)
    return 2 * true / (2 * true + wrong) if true + wrong else 1.0


def _tested_lesions(match: Match) -> float:
    return float(match.prediction.count)


def _tested_volume(match: Match) -> float:
    return 1000 * match.prediction.volume_ml


METRIC_UNITS = {  # of those that are no shares of one
    "relative_volume_error_percent": "%",
    "brain_voxels": "voxels",
    "tested_lesions": "lesions",
    "tested_volume_mm3": "mm3",
}
CASE_METRICS: dict[str, Callable[[Match], float]] = {
    "ppv": _ppv,
    "tpr": _tpr,
    "dice": _dice,
    "jaccard": _jaccard,
    "specificity": _specificity,
    "npv": _npv,
    "relative_volume_error_percent": _relative_volume_error,
    "avd": _avd,
    "ndsc": _ndsc,
    "brain_voxels": _brain_voxels,
    "lppv": _lppv,
    "lppv_empty0": _lppv_empty0,
    "lppv_empty1": _lppv_empty1,
    "ltpr": _ltpr,
    "lfpr": _lfpr,
    "lppv_by_reference": _lppv_by_reference,
    "lfpr_complement": _lfpr_complement,
    "sensl": _ltpr,
    "ppvl": _lppv_empty0,
    "f1": _f1,
    "lesion_f1": _lesion_f1,
    "tested_lesions": _tested_lesions,
    "tested_volume_mm3": _tested_volume,
}
