"""Agreement of a model's masks with the reference: per case, over the cohort, and by lesion size.

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

Empty masks
-----------
A mask is empty when no lesion is left after the size filter. Undefined values are blank and counted, never 0 or 1:
both empty: everything; prediction empty: `ppv`, `lppv`, `lfpr` (and the two ratios above where no reference lesion is
found and none is false); reference empty: `tpr`, `ltpr`. With one mask empty, `dice` is 0.

References
----------
.. [1] Krishnan AP et al. Sci Rep 2023;13:4102. doi:10.1038/s41598-023-31207-5
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.analysis.lesions import IntArray
from nnunet_ms.analysis.matching import Match, Rule
from nnunet_ms.tables import REFERENCE, Column, Table

MINIMUM_CASES = 3  # two cases always correlate perfectly
MINIMUM_PATIENTS = 5  # a bootstrap over fewer patients is far too narrow
LEVEL = 0.95
ALL_SIZES = "all"

SIZE_BINS = Table(
    "agreement by lesion size",
    (
        *(Column(name) for name in ("rater", "lesion_type", "rule", "size_bin")),
        Column("voxels_min", "integer", minimum=1),
        Column("voxels_max", "integer", blank=True, minimum=1),
        *(Column(name, "integer", minimum=0) for name in ("n_cases", "n_patients", "reference_lesions")),
        Column("reference_share", "number", blank=True, minimum=0),
        Column("found_lesions", "integer", minimum=0),
        *(Column(name, "number", blank=True, minimum=0) for name in ("ltpr", "ltpr_low", "ltpr_high")),
        Column("predicted_lesions", "integer", minimum=0),
        Column("predicted_share", "number", blank=True, minimum=0),
        Column("false_lesions", "integer", minimum=0),
        *(Column(name, "number", blank=True, minimum=0) for name in ("lfpr", "lfpr_low", "lfpr_high")),
        *(Column(name, "number", blank=True, minimum=0) for name in ("lesion_dice", "lesion_dice_found")),
        Column("level", "number", minimum=0),
        Column("data_note", blank=True),
    ),
    key=("rater", "lesion_type", "rule", "size_bin"),
)


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (n - 1) of one metric over `n` cases; `n_undefined` cases have no value.

    `mean` is NaN without any case, `sd` below two. For a correlation `mean` is the coefficient, `sd` is NaN, and an
    undefined coefficient has n = 0.
    """

    mean: float
    sd: float
    n: int
    n_undefined: int


def case_metrics(match: Match, rule: Rule) -> dict[str, float]:
    """Metrics of one case that the rule reports; NaN where undefined (see the module's docstring).

    Voxel-wise metrics (`ppv`, `tpr`, `dice`) are of the masks after the size filter, as the rule filters both masks.
    """
    return {name: CASE_METRICS[name](match) for name in rule.metrics if name in CASE_METRICS}


def summarise_cases(values: Sequence[float]) -> Summary:
    """Summarise one metric over the cases in which it is defined; every case weighs the same."""
    array = np.asarray(values, dtype=np.float64)
    defined = array[~np.isnan(array)]
    mean = float(defined.mean()) if defined.size else np.nan
    sd = float(defined.std(ddof=1)) if defined.size > 1 else np.nan
    return Summary(mean, sd, int(defined.size), int(array.size - defined.size))


def correlate_cases(reference: Sequence[float], prediction: Sequence[float]) -> Summary:
    """Pearson r over cases; undefined with fewer than three cases or when one rater's values are all the same."""
    pair = np.array([list(reference), list(prediction)], dtype=np.float64)
    if pair.shape[1] < MINIMUM_CASES or (np.ptp(pair, axis=1) == 0).any():
        return Summary(np.nan, np.nan, 0, pair.shape[1])
    return Summary(float(np.asarray(np.corrcoef(pair))[0, 1]), np.nan, pair.shape[1], 0)


def summarise_cohort(metrics: pd.DataFrame, totals: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Summarise all metrics of a rule, in its order.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Columns `metric`, `value`; one row per case and metric.
    totals : pandas.DataFrame
        Columns `case_id`, `rater`, `lesion_count`, `volume_ml` under this rule; one row per case and rater (two
        raters).
    rule : Rule
        Whose metrics are summarised.

    Returns
    -------
    pandas.DataFrame
        Columns `metric`, `mean`, `sd`, `n`, `n_undefined`.
    """
    in_order = totals.sort_values("case_id")  # pairs the raters' rows
    is_reference = in_order["rater"] == REFERENCE
    reference, prediction = in_order[is_reference], in_order[~is_reference]
    rows = []
    for name in rule.metrics:
        if name in COHORT_METRICS:
            summary = correlate_cases(reference[COHORT_METRICS[name]], prediction[COHORT_METRICS[name]])
        else:
            summary = summarise_cases(metrics.loc[metrics["metric"] == name, "value"].to_list())
        rows.append({"metric": name, **vars(summary)})
    return pd.DataFrame(rows)


def summarise_sizes(lesions: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Summarise detection by lesion size, pooled over cases, with intervals that respect the clustering in patients.

    Parameters
    ----------
    lesions : pandas.DataFrame
        One row per lesion of either rater: `case_id`, `patient_id`, `rater`, `voxels`, `found` (bool), `lesion_dice`.
    rule : Rule
        Its size bins.

    Returns
    -------
    pandas.DataFrame
        The columns of `SIZE_BINS` from `size_bin` to `level` without `n_cases` and `n_patients`; one row per bin and
        a last one for all sizes. Reference lesions are binned by their size in the reference, predicted ones by
        their size in the prediction. `ltpr` and `lfpr` are pooled: found / reference lesions and false / predicted
        lesions of the bin, NaN without such a lesion. `lesion_dice` is the mean over the bin's reference lesions
        (0 when missed), `lesion_dice_found` over those found.
    """
    is_reference = lesions["rater"] == REFERENCE
    reference, predicted = lesions[is_reference], lesions[~is_reference]
    limits = [*zip(rule.size_bins, [*(first - 1 for first in rule.size_bins[1:]), None], strict=True)]
    rows = [
        _size_row(_within(reference, low, high), _within(predicted, low, high), len(reference), len(predicted))
        | {"size_bin": size_bin_name(low, high), "voxels_min": low, "voxels_max": high}
        for low, high in limits
    ]
    whole = {"size_bin": ALL_SIZES, "voxels_min": rule.size_bins[0], "voxels_max": None}
    rows.append(_size_row(reference, predicted, len(reference), len(predicted)) | whole)
    return pd.DataFrame(rows).astype({"voxels_max": "Int64"})


def size_bin_name(low: int, high: int | None) -> str:
    """Name a size bin in words, because spreadsheets read 3-10 as a date."""
    return f"> {low - 1}" if high is None else f"{low} to {high}"


def clustered_interval(
    events: IntArray, totals: IntArray, replicates: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a pooled proportion, resampling patients.

    Parameters
    ----------
    events, totals : (patients,) int arrays
        Lesions with the property, and all lesions, of each patient. The estimate is sum(events) / sum(totals).
    replicates, seed : int, optional
        Number of resamples, and the generator's seed: the same data give the same interval.

    Returns
    -------
    low, high : float
        At level `LEVEL`. NaN if fewer than `MINIMUM_PATIENTS` patients have a lesion; a property that all or no
        lesions have gives an interval of width 0, as every such bootstrap does.

    References
    ----------
    .. [1] Field CA, Welsh AH. J R Stat Soc B 69:369-390, 2007 (cluster bootstrap).
       doi:10.1111/j.1467-9868.2007.00593.x
    """
    with_lesions = totals > 0
    events, totals = events[with_lesions], totals[with_lesions]
    if totals.size < MINIMUM_PATIENTS:
        return np.nan, np.nan
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(totals.size, np.full(totals.size, 1 / totals.size), size=replicates)
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile((weights @ events) / (weights @ totals), [tail, 100 - tail])
    return float(low), float(high)


def _within(lesions: pd.DataFrame, low: int, high: int | None) -> pd.DataFrame:
    return lesions[(lesions["voxels"] >= low) & (lesions["voxels"] <= (np.inf if high is None else high))]


def _size_row(reference: pd.DataFrame, predicted: pd.DataFrame, references: int, predictions: int) -> dict[str, object]:
    found = reference["found"].astype(bool)
    false = ~predicted["found"].astype(bool)
    ltpr_low, ltpr_high = _interval(reference["patient_id"], found)
    lfpr_low, lfpr_high = _interval(predicted["patient_id"], false)
    return {
        "reference_lesions": len(reference),
        "reference_share": _ratio(len(reference), references),
        "found_lesions": int(found.sum()),
        "ltpr": _ratio(found.sum(), len(reference)),
        "ltpr_low": ltpr_low,
        "ltpr_high": ltpr_high,
        "predicted_lesions": len(predicted),
        "predicted_share": _ratio(len(predicted), predictions),
        "false_lesions": int(false.sum()),
        "lfpr": _ratio(false.sum(), len(predicted)),
        "lfpr_low": lfpr_low,
        "lfpr_high": lfpr_high,
        "lesion_dice": _ratio(reference["lesion_dice"].sum(), len(reference)),
        "lesion_dice_found": _ratio(reference.loc[found, "lesion_dice"].sum(), found.sum()),
        "level": LEVEL,
    }


def _interval(patients: pd.Series, property_of_lesion: pd.Series) -> tuple[float, float]:
    by_patient = property_of_lesion.groupby(patients).agg(["sum", "count"])
    return clustered_interval(by_patient["sum"].to_numpy(np.int64), by_patient["count"].to_numpy(np.int64))


def _ratio(part: float | np.number, whole: float | np.number) -> float:
    return float(part / whole) if whole else np.nan


def _shared(match: Match) -> float:
    return float(match.overlap.shared.sum())


def _ppv(match: Match) -> float:
    return _ratio(_shared(match), match.prediction.voxels.sum())


def _tpr(match: Match) -> float:
    return _ratio(_shared(match), match.reference.voxels.sum())


def _dice(match: Match) -> float:
    return _ratio(2 * _shared(match), match.reference.voxels.sum() + match.prediction.voxels.sum())


def _share(flags: npt.NDArray[np.bool_]) -> float:
    return _ratio(np.count_nonzero(flags), flags.size)


def _lppv(match: Match) -> float:
    return _share(match.prediction_found)


def _ltpr(match: Match) -> float:
    return _share(match.reference_found)


def _lfpr(match: Match) -> float:
    return _share(~match.prediction_found)


def _lppv_by_reference(match: Match) -> float:
    found, false = np.count_nonzero(match.reference_found), np.count_nonzero(~match.prediction_found)
    return _ratio(found, found + false)


def _lfpr_complement(match: Match) -> float:
    return 1 - _lppv_by_reference(match)


CASE_METRICS: dict[str, Callable[[Match], float]] = {
    "ppv": _ppv,
    "tpr": _tpr,
    "dice": _dice,
    "lppv": _lppv,
    "ltpr": _ltpr,
    "lfpr": _lfpr,
    "lppv_by_reference": _lppv_by_reference,
    "lfpr_complement": _lfpr_complement,
}
COHORT_METRICS = {"r_vol": "volume_ml", "r_count": "lesion_count"}  # Pearson r between raters of this column
