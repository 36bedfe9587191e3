"""Agreement of a model's masks with the reference over the cohort and by lesion size; per case see `case_metrics`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.analysis.evaluation.case_metrics import ratio
from nnunet_ms.analysis.evaluation.matching import Rule
from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.errors import OptionError
from nnunet_ms.statistics.bootstrap_interval import LEVEL, UNKNOWN, mean_interval, patient_interval, pearson_interval
from nnunet_ms.tables import REFERENCE, Column, Table

MINIMUM_CASES = 3  # two cases always correlate perfectly
ALL_SIZES = "all"
ROUNDING = 1e-6
ISBI_SCORE = "isbi15_raw"  # of a cohort, from the rule's other metrics

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

    `mean` is NaN without any case, `sd` and `se` (sd / sqrt(n)) below two. For a correlation or a score of the whole
    cohort `mean` is its value, `sd` and `se` are NaN, and an undefined one has n = 0. `low` to `high` is the bootstrap
    interval over patients at level `LEVEL`, NaN where it cannot be computed.
    """

    mean: float
    sd: float
    n: int
    n_undefined: int
    se: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


def summarise_cases(values: Sequence[float], patients: Sequence[str] = ()) -> Summary:
    """Summarise one metric over the cases in which it is defined; every case weighs the same.

    With `patients`, one per case, the summary has an interval.

    Examples
    --------
    >>> summary = summarise_cases([0.8, 0.6, float("nan"), 0.7])
    >>> round(summary.mean, 3), round(summary.sd, 3), summary.n, summary.n_undefined
    (0.7, 0.1, 3, 1)
    """
    array = np.asarray(values, dtype=np.float64)
    defined = array[~np.isnan(array)]
    mean = float(defined.mean()) if defined.size else np.nan
    sd = float(defined.std(ddof=1)) if defined.size > 1 else np.nan
    low, high = mean_interval(array, patients) if len(patients) else UNKNOWN
    se = sd / float(np.sqrt(max(defined.size, 1)))
    return Summary(mean, sd, int(defined.size), int(array.size - defined.size), se, low, high)


def correlate_cases(reference: Sequence[float], prediction: Sequence[float], patients: Sequence[str] = ()) -> Summary:
    """Pearson r over cases; undefined with fewer than three cases or when one rater's values are all the same.

    Examples
    --------
    >>> round(correlate_cases([1.0, 2.0, 4.0], [1.1, 2.1, 3.9]).mean, 4)
    0.9996
    """
    x, y = np.asarray(reference, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if x.size < MINIMUM_CASES or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Summary(np.nan, np.nan, 0, x.size)
    low, high = pearson_interval(x, y, patients) if len(patients) else UNKNOWN
    return Summary(float(np.asarray(np.corrcoef(x, y))[0, 1]), np.nan, x.size, 0, low=low, high=high)


def summarise_cohort(metrics: pd.DataFrame, totals: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Summarise all metrics of a rule, in its order.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Columns `patient_id`, `metric`, `value`; one row per case and metric.
    totals : pandas.DataFrame
        Columns `case_id`, `patient_id`, `rater`, `lesion_count`, `volume_ml` under this rule; one row per case and
        rater (two raters).
    rule : Rule
        Whose metrics are summarised.

    Returns
    -------
    pandas.DataFrame
        Columns `metric`, `mean`, `sd`, `n`, `n_undefined`, `se`, `low`, `high`.
    """
    in_order = totals.sort_values("case_id")  # pairs the raters' rows
    is_reference = in_order["rater"] == REFERENCE
    reference, prediction = in_order[is_reference], in_order[~is_reference]
    summaries: dict[str, Summary] = {}
    for name in rule.metrics:
        if name == ISBI_SCORE:
            summaries[name] = _isbi_score(summaries)
        elif name in COHORT_METRICS:
            column = COHORT_METRICS[name]
            patients = reference["patient_id"].to_list()
            summaries[name] = correlate_cases(reference[column], prediction[column], patients)
        else:
            rows = metrics[metrics["metric"] == name]
            summaries[name] = summarise_cases(rows["value"].to_list(), rows["patient_id"].to_list())
    return pd.DataFrame([{"metric": name, **vars(summary)} for name, summary in summaries.items()])


def _isbi_score(parts: dict[str, Summary]) -> Summary:
    """DSC/8 + PPV/8 + (1 - LFPR)/4 + LTPR/4 + Corr/4 of the cohort's values; undefined if one of them is."""
    value = isbi_score({name: part.mean for name, part in parts.items()})
    cases = parts["r_vol"].n
    return Summary(value, np.nan, 0 if np.isnan(value) else cases, 0)


def isbi_score(means: Mapping[str, float]) -> float:
    """Weighted score of the ISBI 2015 challenge, `isbi15_raw`: DSC/8 + PPV/8 + (1 - LFPR)/4 + LTPR/4 + Corr/4 [1]_.

    The site's number between 0 and 100 comes of it by a normalisation that was not published, so it is not given.

    Parameters
    ----------
    means : mapping
        The cohort's values of rule isbi2015: `dice`, `ppv`, `lfpr`, `ltpr`, and `r_vol`, the correlation of volumes.

    Returns
    -------
    float
        Up to 1; NaN if one of them is.

    Raises
    ------
    OptionError
        If one of them is missing, in percent or no number.

    References
    ----------
    .. [1] Carass A et al. NeuroImage 148:77-102, 2017. doi:10.1016/j.neuroimage.2016.12.064

    Examples
    --------
    >>> isbi_score({"dice": 0.5, "ppv": 0.5, "lfpr": 0.5, "ltpr": 0.5, "r_vol": 0.5})
    0.5
    """
    for name in ("dice", "ppv", "lfpr", "ltpr", "r_vol"):
        value = means.get(name)
        lowest = -1 if name == "r_vol" else 0
        # NaN is allowed, percent are not; a correlation of 1 may end in a digit above it
        if not isinstance(value, int | float | np.number) or value < lowest - ROUNDING or value > 1 + ROUNDING:
            raise OptionError(f"{name}: expected a number of {lowest} to 1, found {value!r}. Give it as a share.")
    return (means["dice"] + means["ppv"]) / 8 + (1 - means["lfpr"] + means["ltpr"] + means["r_vol"]) / 4


def count_sizes(voxels: Ints, found: Bools, lesion_dice: Floats, rule: Rule) -> dict[str, npt.NDArray[np.generic]]:
    """Count some lesions of one rater by size, so that no lesion need be kept for `summarise_sizes`.

    Parameters
    ----------
    voxels, found, lesion_dice : (L,) arrays
        Size, whether the lesion is found, and its Dice.
    rule : Rule
        Its B size bins.

    Returns
    -------
    dict
        (B,) arrays: `size_bin` 0 .. B - 1, `lesions`, `found`, and the sums `lesion_dice` and `lesion_dice_found`.
    """
    bins = np.searchsorted(rule.size_bins, voxels, side="right") - 1
    count = len(rule.size_bins)

    def total(weights: npt.NDArray[np.generic] | None = None) -> npt.NDArray[np.generic]:
        return np.bincount(bins, weights, minlength=count)

    return {
        "size_bin": np.arange(count),
        "lesions": total(),
        "found": total(found).astype(np.int64),
        "lesion_dice": total(lesion_dice),
        "lesion_dice_found": total(lesion_dice * found),
    }


def summarise_sizes(counts: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Summarise detection by lesion size, pooled over cases, with intervals that respect the clustering in patients.

    Parameters
    ----------
    counts : pandas.DataFrame
        `patient_id`, `rater` and the columns of `count_sizes`; any number of rows per patient, of either rater.
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
    is_reference = counts["rater"] == REFERENCE
    reference, predicted = counts[is_reference], counts[~is_reference]
    totals = int(reference["lesions"].sum()), int(predicted["lesions"].sum())
    limits = [*zip(rule.size_bins, [*(first - 1 for first in rule.size_bins[1:]), None], strict=True)]
    rows = [
        size_row(reference[reference["size_bin"] == number], predicted[predicted["size_bin"] == number], *totals)
        | {"size_bin": size_bin_name(low, high), "voxels_min": low, "voxels_max": high}
        for number, (low, high) in enumerate(limits)
    ]
    whole = {"size_bin": ALL_SIZES, "voxels_min": rule.size_bins[0], "voxels_max": None}
    rows.append(size_row(reference, predicted, *totals) | whole)
    return pd.DataFrame(rows).astype({"voxels_max": "Int64"})


def size_bin_name(low: int, high: int | None) -> str:
    """Name a size bin in words, because spreadsheets read 3-10 as a date."""
    return f"> {low - 1}" if high is None else f"{low} to {high}"


def clustered_interval(events: Ints, totals: Ints, replicates: int = 2000, seed: int = 0) -> tuple[float, float]:
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

    Examples
    --------
    >>> found, lesions = np.array([9, 4, 7, 1, 6]), np.array([10, 8, 7, 4, 9])
    >>> low, high = clustered_interval(found, lesions)
    >>> bool(low < found.sum() / lesions.sum() < high)
    True
    """
    with_lesions = totals > 0
    sums = np.stack([events[with_lesions], totals[with_lesions]], axis=1).astype(np.float64)
    return patient_interval(sums, lambda resampled: resampled[:, 0] / resampled[:, 1], replicates, seed)


def size_row(reference: pd.DataFrame, predicted: pd.DataFrame, references: int, predictions: int) -> dict[str, object]:
    """Detection of one group of lesions, of all `references` and `predictions`: columns of `SIZE_BINS` by name."""
    lesions, found = int(reference["lesions"].sum()), int(reference["found"].sum())
    others = int(predicted["lesions"].sum())
    wrong = predicted["lesions"] - predicted["found"]
    false = int(wrong.sum())
    ltpr_low, ltpr_high = _interval(reference, reference["found"])
    lfpr_low, lfpr_high = _interval(predicted, wrong)
    return {
        "reference_lesions": lesions,
        "reference_share": ratio(lesions, references),
        "found_lesions": found,
        "ltpr": ratio(found, lesions),
        "ltpr_low": ltpr_low,
        "ltpr_high": ltpr_high,
        "predicted_lesions": others,
        "predicted_share": ratio(others, predictions),
        "false_lesions": false,
        "lfpr": ratio(false, others),
        "lfpr_low": lfpr_low,
        "lfpr_high": lfpr_high,
        "lesion_dice": ratio(reference["lesion_dice"].sum(), lesions),
        "lesion_dice_found": ratio(reference["lesion_dice_found"].sum(), found),
        "level": LEVEL,
    }


def _interval(counts: pd.DataFrame, events: pd.Series) -> tuple[float, float]:
    by_patient = pd.DataFrame({"events": events, "lesions": counts["lesions"]}).groupby(counts["patient_id"]).sum()
    return clustered_interval(by_patient["events"].to_numpy(np.int64), by_patient["lesions"].to_numpy(np.int64))


COHORT_METRICS = {"r_vol": "volume_ml", "r_count": "lesion_count"}  # Pearson r between raters of this column
