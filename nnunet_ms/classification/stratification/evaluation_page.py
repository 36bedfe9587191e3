"""The page of an evaluation: what was found, in words that say plainly when a network does not beat the regression."""

from typing import Any

import pandas as pd

from nnunet_ms.classification.stratification.baselines import CONFOUNDERS, MAJORITY, PREDICTORS, VOLUMES
from nnunet_ms.classification.stratification.evaluation_figures import row_of, value_of, whose
from nnunet_ms.classification.stratification.evaluation_tables import (
    ADDS,
    AT_HALF,
    AT_VALIDATION,
    DIFFERS,
    POOLED,
    WITHIN_FIELD,
    WITHIN_FOLDS,
)
from nnunet_ms.classification.stratification.judged_scans import JudgedScans
from nnunet_ms.classification.stratification.published import PUBLISHED, published_for

LEVEL = 0.05
REGRESSION = "the logistic regression on age, sex, lesion load and volumes"
_COLUMNS = (
    ("accuracy", POOLED, AT_HALF, "accuracy"),
    ("balanced_accuracy", POOLED, AT_HALF, "balanced accuracy"),
    ("sensitivity", POOLED, AT_HALF, "sensitivity"),
    ("specificity", POOLED, AT_HALF, "specificity"),
    ("roc_auc", POOLED, "", "AUC"),
    ("roc_auc", WITHIN_FOLDS, "", "AUC within folds"),
    ("roc_auc", WITHIN_FIELD, "", "AUC within field strength"),
    ("calibration_slope", POOLED, "", "calibration slope"),
    ("brier", POOLED, "", "Brier"),
)
_AT_VALIDATION = tuple((name, scope, AT_VALIDATION, words) for name, scope, at, words in _COLUMNS if at == AT_HALF)


def page(
    judged: JudgedScans, results: pd.DataFrame, comparisons: pd.DataFrame, data_note: str, figures: list[str]
) -> str:
    """Markdown of the page."""
    parts = [
        "# Disability from MRI: evaluation",
        f"{whose(judged, data_note)}. Intervals are 95 % ones over resampled patients; of models that were trained in "
        "folds on these patients they are widened by the square root of two, because resampling leaves the models as "
        "they are (calibration slope: Wald's, one scan of each patient).",
        "## Do the networks beat the regression?",
        *verdicts(judged, comparisons),
        "## Models",
        "At a probability of .5:",
        _table(judged, results, _COLUMNS),
        "At the threshold of each fold's validation scans (largest sum of sensitivity and specificity):",
        _table(judged, results, _AT_VALIDATION),
        *_constant(results),
        *_confounded(results),
        "## What networks add",
        _increments(comparisons),
        *_strategies(comparisons),
        "## Published, of other patients",
        _published(),
        *_left_out(judged),
        *(f"![{name}]({name}.png)" for name in figures),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def verdicts(judged: JudgedScans, comparisons: pd.DataFrame) -> list[str]:
    """A sentence per network on whether it beats the regression, after one on all of them.

    A network beats it where its log odds add to the regression's predictors (Holm's p < 0.05) *and* the interval of the
    difference of areas lies above 0; the one without the other is said as such.
    """
    rows = comparisons[(comparisons["question"] == ADDS) & (comparisons["versus"] == VOLUMES)].to_dict("records")
    if not any(not model.is_baseline for model in judged.models):
        return ["There is no network in the tables: only baselines were compared."]
    if not rows:
        return [f"**Not answered:** {REGRESSION} ({VOLUMES}) is not in the tables: no network can be said to beat it."]
    told = [(row, _beats(row)) for row in rows]
    winners = [str(row["model"]) for row, beats in told if beats]
    if winners:
        first = f"**{_and(winners)} beat{'s' if len(winners) == 1 else ''} {REGRESSION}** on these scans."
    else:
        first = f"**No network beats {REGRESSION}** on these scans."
    return [first, *(_verdict(row, beats) for row, beats in told)]


def _beats(row: dict[Any, Any]) -> bool:
    return bool(row["p_holm"] < LEVEL and row["low"] > 0)


def _verdict(row: dict[Any, Any], beats: bool) -> str:
    difference = f"difference of AUC {row['auc_difference']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
    if pd.isna(row["p"]):
        return f"- {row['model']}: no test of what it adds ({row['problem']}); {difference}."
    p = f"p = {row['p']:.3g}, Holm {row['p_holm']:.3g}"
    if beats:
        return f"- {row['model']} beats it: it adds to its predictors ({p}) and ranks better, {difference}."
    if row["p_holm"] < LEVEL:
        return (
            f"- {row['model']} adds to its predictors ({p}), but alone it is not shown to rank better: {difference}. "
            "Together they are better than the regression; the network alone does not beat it."
        )
    if row["high"] < 0:
        return f"- {row['model']} is worse: {difference}; not shown to add to its predictors ({p})."
    return f"- {row['model']} does not beat it: not shown to add to its predictors ({p}); {difference}."


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _table(judged: JudgedScans, results: pd.DataFrame, columns: tuple[tuple[str, str, str, str], ...]) -> str:
    there = [one for one in columns if ((results["measure"] == one[0]) & (results["scope"] == one[1])).any()]
    head = ["model", *(words for *_, words in there), "published accuracy (own patients)"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for model in judged.models:
        values = [value_of(results, model.name, measure, scope, at) for measure, scope, at, _ in there]
        printed = published_for(model.name, "accuracy", model.evaluation)
        name = f"{model.name} (baseline)" if model.is_baseline else model.name
        lines.append(f"| {' | '.join([name, *values, '–' if printed is None else f'{printed.value:.2f}'])} |")
    return "\n".join(lines)


def _constant(results: pd.DataFrame) -> list[str]:
    if row_of(results, MAJORITY, "roc_auc") is None:
        return []
    return [
        f"The larger class alone ({MAJORITY}) has an AUC below .5 over all folds: where a fold has more disabled "
        "patients, the others, which it was counted on, have fewer. Weak models share this; within folds it is gone."
    ]


def _confounded(results: pd.DataFrame) -> list[str]:
    row = row_of(results, CONFOUNDERS, "roc_auc")
    if row is None or pd.isna(row["estimate"]):
        return [f"The model of what confounds ({', '.join(PREDICTORS[CONFOUNDERS])}) is not in the tables."]
    away = not pd.isna(row["low"]) and row["low"] > 0.5
    words = "tell the classes apart" if away else "are not shown to tell the classes apart"
    return [
        f"Age, sex and field strength alone {words}: AUC {value_of(results, CONFOUNDERS, 'roc_auc')}. A network can "
        "read all three from a scan; what it adds to them is in the next table."
    ]


def _increments(comparisons: pd.DataFrame) -> str:
    rows = comparisons[comparisons["question"] == ADDS]
    if rows.empty:
        return "Nothing to compare: no network, or no baseline."
    head = (
        "network",
        "over",
        "patients",
        "p",
        "p, Holm",
        "difference of AUC",
        "DeLong's interval, as if both were given",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows.to_dict("records"):
        numbers = [f"{row[name]:.3g}" if pd.notna(row[name]) else "–" for name in ("p", "p_holm")]
        limits = [_interval(row["auc_difference"], row["low"], row["high"])]
        limits.append(_interval(row["delong_difference"], row["delong_low"], row["delong_high"]))
        lines.append(
            f"| {' | '.join([str(row['model']), str(row['versus']), str(row['patients']), *numbers, *limits])} |"
        )
    words = (
        "p: one-sided likelihood-ratio test of the network's log odds beside the baseline's predictors, of one scan of "
        "each patient (the first by name of its visit); its statistic is halved where the network was trained in folds "
        "on these patients, which keeps 5 % (benchmarks/README.md). Holm's p is over the networks of one baseline."
    )
    return "\n".join(lines) + "\n\n" + words


def _strategies(comparisons: pd.DataFrame) -> list[str]:
    rows = comparisons[comparisons["question"] == DIFFERS]
    if rows.empty:
        return []
    different = rows[(rows["p_holm"] < LEVEL) & ((rows["low"] > 0) | (rows["high"] < 0))]
    pairs = [
        f"{row['model']} and {row['versus']} ({_interval(row['auc_difference'], row['low'], row['high'])})"
        for row in different.to_dict("records")
    ]
    found = f"shown to differ: {_and(pairs)}" if pairs else "none is shown to differ from another"
    return [
        f"Between {len(rows)} pairs of networks: {found} (DeLong, Holm over the pairs, and the widened interval of the "
        "difference of AUC clear of 0)."
    ]


def _interval(estimate: float, low: float, high: float) -> str:
    return "–" if pd.isna(estimate) else f"{estimate:.3f} ({low:.3f} to {high:.3f})"


def _published() -> str:
    lines = ["| model | measure | value | of | printed by |", "|---|---|---|---|---|"]
    for one in PUBLISHED:
        value = f"{one.value:.2f}" if one.low is None else f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
        measure = one.measure.replace("_", " ")
        lines.append(f"| {one.system} | {measure} | {value} | {one.data}, {one.evaluation} | {one.source} |")
    words = "Accuracy there is plain accuracy, not balanced; none of these numbers was computed here."
    return "\n".join(lines) + "\n\n" + words


def _left_out(judged: JudgedScans) -> list[str]:
    """How many scans of which model are not compared, and why."""
    if judged.left_out.empty:
        return []
    counts = judged.left_out.groupby(["model", "reason"], sort=False).size()
    scans = len(judged.left_out.drop_duplicates(["patient_id", "visit"]))
    lines = [f"{n} scans: {reason}, {model}" for (model, reason), n in counts.items()]
    return [f"Left out: {scans} scans that not every model has judged ({'; '.join(lines)})."]
