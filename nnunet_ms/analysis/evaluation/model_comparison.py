"""Several models on the same cases: paired tests of every metric, and a ranking as challenges make it."""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from nnunet_ms.statistics.bootstrap_interval import LEVEL, mean_interval
from nnunet_ms.tables import Column, Table

LOWER_IS_BETTER = {"lfpr", "lfpr_complement", "avd", "tested_lesions", "tested_volume_mm3"}
NOT_COMPARED = {"brain_voxels", "relative_volume_error_percent"}  # neither larger nor smaller is better
MINIMUM_PATIENTS = 5  # below, no arrangement of signs reaches p < 0.05
OVERALL = "all"

COMPARISON = Table(
    "comparison of models",
    (
        *(Column(name) for name in ("lesion_type", "rule", "metric", "rater", "other_rater")),
        *(Column(name, "integer", minimum=0) for name in ("n_cases", "n_patients")),
        *(Column(name, "number", blank=True) for name in ("difference", "low", "high")),
        Column("level", "number", minimum=0),
        *(Column(name, "number", blank=True, minimum=0) for name in ("p", "p_holm")),
        Column("method"),
    ),
    key=("lesion_type", "rule", "metric", "rater", "other_rater"),
)
RANKING = Table(
    "ranking of models",
    (
        *(Column(name) for name in ("lesion_type", "rule", "metric", "rater")),
        Column("place", "number", minimum=1),
        Column("mean_rank", "number", minimum=1),
        Column("mean", "number", blank=True),
        Column("n_cases", "integer", minimum=0),
    ),
    key=("lesion_type", "rule", "metric", "rater"),
)
METHOD = "Wilcoxon signed-rank of patients' mean differences; interval: bootstrap over patients"


def compare_models(metrics: pd.DataFrame) -> pd.DataFrame:
    """Paired difference of every pair of models in every metric.

    Parameters
    ----------
    metrics : pandas.DataFrame
        `tables.AGREEMENT_CASES` of two or more models on the same cases.

    Returns
    -------
    pandas.DataFrame
        `COMPARISON`: mean over cases of `rater` - `other_rater` where both are defined. `p` is NaN with fewer than
        `MINIMUM_PATIENTS` patients, 1 when no patient differs; `p_holm` corrects for all pairs and metrics of one rule
        and lesion type [1]_.

    References
    ----------
    .. [1] Holm S. Scand J Stat 6:65-70, 1979.

    Examples
    --------
    >>> dice = {"new": [0.82, 0.91, 0.77, 0.85, 0.88, 0.79], "old": [0.80, 0.88, 0.70, 0.84, 0.83, 0.75]}
    >>> rows = [(f"c{k}", f"p{k}", rater, value) for rater in dice for k, value in enumerate(dice[rater])]
    >>> metrics = pd.DataFrame(rows, columns=["case_id", "patient_id", "rater", "value"])
    >>> metrics = metrics.assign(visit="1", lesion_type="t2_lesions", rule="krishnan2023", metric="dice")
    >>> compare_models(metrics)[["rater", "other_rater", "n_patients", "difference", "p"]].round(4)
      rater other_rater  n_patients  difference       p
    0   new         old           6      0.0367  0.0277
    """
    rows = []
    for (lesion_type, rule, metric), group in _groups(metrics):
        wide = group.pivot_table(index=["patient_id", "case_id"], columns="rater", values="value", sort=True)
        raters = list(dict.fromkeys(group["rater"]))
        for one, other in combinations(raters, 2):
            labels = {"lesion_type": lesion_type, "rule": rule, "metric": metric, "rater": one, "other_rater": other}
            rows.append(labels | _paired(wide.reindex(columns=raters)[[one, other]].dropna()))
    table = pd.DataFrame(rows, columns=[name for name in COMPARISON.names if name != "p_holm"])
    table["p_holm"] = table.groupby(["lesion_type", "rule"])["p"].transform(holm)
    return table[COMPARISON.names]


def rank_models(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rank models within each case, then average the ranks over cases and, in the rows of `OVERALL`, over metrics.

    Parameters
    ----------
    metrics : pandas.DataFrame
        `tables.AGREEMENT_CASES` of two or more models on the same cases.

    Returns
    -------
    pandas.DataFrame
        `RANKING`; rank 1 is best and ties share their mean rank. A model without a value in a case, where another
        has one, is last there; cases without any value are left out.

    Examples
    --------
    >>> dice = {"new": [0.82, 0.91, 0.77], "old": [0.80, 0.92, 0.70]}
    >>> rows = [(f"c{k}", f"p{k}", rater, value) for rater in dice for k, value in enumerate(dice[rater])]
    >>> metrics = pd.DataFrame(rows, columns=["case_id", "patient_id", "rater", "value"])
    >>> metrics = metrics.assign(visit="1", lesion_type="t2_lesions", rule="krishnan2023", metric="dice")
    >>> ranking = rank_models(metrics)
    >>> ranking.loc[ranking["metric"] == "dice", ["rater", "place", "mean_rank"]].round(3)
      rater  place  mean_rank
    0   new    1.0      1.333
    1   old    2.0      1.667
    """
    rows = []
    for (lesion_type, rule, metric), group in _groups(metrics):
        wide = group.pivot_table(index="case_id", columns="rater", values="value", dropna=False)
        wide = wide.reindex(columns=list(dict.fromkeys(group["rater"]))).dropna(how="all")
        if wide.empty:
            continue
        ranks = wide.rank(axis=1, ascending=metric in LOWER_IS_BETTER, na_option="bottom").mean()
        rows += [
            {
                "lesion_type": lesion_type,
                "rule": rule,
                "metric": metric,
                "rater": rater,
                "mean_rank": ranks[rater],
                "mean": wide[rater].mean(),
                "n_cases": len(wide),
            }
            for rater in wide.columns
        ]
    table = pd.DataFrame(rows, columns=[name for name in RANKING.names if name != "place"])
    table = pd.concat([table, _overall(table)], ignore_index=True) if len(table) else table
    table["place"] = table.groupby(["lesion_type", "rule", "metric"])["mean_rank"].rank()
    return table[RANKING.names].astype({"n_cases": int})


def holm(p: pd.Series) -> pd.Series:
    """Holm's step-down adjusted p values; NaN stays NaN and is not counted."""
    defined = p.dropna().sort_values()
    scaled = defined * np.arange(len(defined), 0, -1)
    return scaled.cummax().clip(upper=1).reindex(p.index)


def _groups(metrics: pd.DataFrame) -> list[tuple[tuple[str, str, str], pd.DataFrame]]:
    compared = metrics[~metrics["metric"].isin(NOT_COMPARED)]
    return list(compared.groupby(["lesion_type", "rule", "metric"], sort=False))


def _paired(values: pd.DataFrame) -> dict[str, object]:
    difference = (values.iloc[:, 0] - values.iloc[:, 1]).rename("difference")
    patients = values.index.get_level_values("patient_id")
    by_patient = difference.groupby(patients).mean().to_numpy(np.float64)
    low, high = mean_interval(difference.to_numpy(np.float64), list(patients))
    return {
        "n_cases": len(values),
        "n_patients": by_patient.size,
        "difference": float(difference.mean()) if len(values) else np.nan,
        "low": low,
        "high": high,
        "level": LEVEL,
        "p": _signed_rank(by_patient),
        "method": METHOD,
    }


def _signed_rank(differences: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    if differences.size < MINIMUM_PATIENTS:
        return float("nan")
    if not np.abs(differences).max() > 0:
        return 1.0
    # "auto" would warn or change method with ties; the normal approximation with zeros split is stated and stable
    return float(stats.wilcoxon(differences, zero_method="zsplit", method="approx", correction=False).pvalue)


def _overall(table: pd.DataFrame) -> pd.DataFrame:
    keys = ["lesion_type", "rule", "rater"]
    whole = table.groupby(keys, sort=False).agg(mean_rank=("mean_rank", "mean"), n_cases=("n_cases", "max"))
    return whole.reset_index().assign(metric=OVERALL, mean=np.nan)
