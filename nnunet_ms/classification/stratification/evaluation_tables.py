"""Results of models of disability as tidy tables: measures, comparisons, calibration and decision curves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.arrays import Bools
from nnunet_ms.classification.stratification.auc_within import auc_within
from nnunet_ms.classification.stratification.baselines import MAJORITY
from nnunet_ms.classification.stratification.increment import increment, widened
from nnunet_ms.classification.stratification.judged_scans import JudgedScans, Model
from nnunet_ms.options import whole_from
from nnunet_ms.progress import Progress, unseen
from nnunet_ms.statistics.calibration import calibration, calibration_groups, net_benefit
from nnunet_ms.statistics.classification import decision_differences, decision_rates
from nnunet_ms.statistics.multiplicity import holm
from nnunet_ms.statistics.roc import Scores, auc, delong_test, difference_interval
from nnunet_ms.tables import Column, Table

POOLED, WITHIN_FOLDS, WITHIN_FIELD = "pooled", "within folds", "within field strength"
AT_HALF, AT_VALIDATION = "0.5", "validation"
ADDS, DIFFERS = "increment", "difference"
_NUMBERS = ("estimate", "low", "high", "plain_low", "plain_high")
RESULTS = Table(
    "disability results",
    (
        Column("model"),
        Column("evaluation"),
        Column("scope"),
        Column("decision", blank=True),
        Column("measure"),
        *(Column(name, "number", blank=True) for name in _NUMBERS),
        Column("level", "number"),
        Column("scans", "integer", minimum=0),
        Column("positive", "integer", minimum=0),
        Column("patients", "integer", minimum=0),
        Column("data", blank=True),
        Column("problem", blank=True),
    ),
    key=("model", "scope", "decision", "measure"),
)
COMPARISONS = Table(
    "disability comparisons",
    (
        Column("question"),
        Column("model"),
        Column("versus"),
        Column("p", "number", blank=True),
        Column("p_holm", "number", blank=True),
        Column("statistic", "number", blank=True),
        Column("p_as_given", "number", blank=True),
        Column("coefficient", "number", blank=True),
        Column("patients", "integer", minimum=0),
        Column("positive", "integer", minimum=0),
        *(Column(name, "number", blank=True) for name in ("auc_difference", "low", "high")),
        *(Column(f"delong_{name}", "number", blank=True) for name in ("difference", "se", "low", "high", "p")),
        *(Column(f"balanced_{name}", "number", blank=True) for name in ("difference", "low", "high")),
        Column("data", blank=True),
        Column("problem", blank=True),
    ),
    key=("question", "model", "versus"),
)
CURVE = Table(
    "disability calibration",
    (
        Column("model"),
        *(Column(name, "number") for name in ("low", "high", "mean_probability", "observed", "observed_low")),
        Column("observed_high", "number"),
        Column("scans", "integer", minimum=0),
        Column("positive", "integer", minimum=0),
    ),
    key=("model", "mean_probability"),
)
BENEFIT = Table(
    "disability decision curve",
    (
        Column("model"),
        *(Column(name, "number") for name in ("threshold", "net_benefit", "treat_all", "treat_none")),
        Column("scans", "integer", minimum=0),
    ),
    key=("model", "threshold"),
)
THRESHOLDS = tuple(round(0.05 + 0.01 * k, 2) for k in range(91))  # .05 to .95
NORMAL = 1.959963984540054
Row = dict[str, object]


@dataclass(frozen=True)
class Resampling:
    """How intervals are made."""

    replicates: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        whole_from(self.replicates, 1, "replicates", "2000 are usual.")
        whole_from(self.seed, 0, "seed", "Correct it.")


def results_table(
    judged: JudgedScans, how: Resampling, data_note: str = "", progress: Progress = unseen
) -> pd.DataFrame:
    """Return `RESULTS`: each model's areas, decisions at .5 and at the validation's threshold, and calibration."""
    rows: list[Row] = []
    for model in progress(judged.models, "evaluating", lambda model: model.name):
        found = [*_areas(judged, model, how), *_decisions(judged, model, how), *_calibrated(judged, model)]
        told = {"model": model.name, "evaluation": model.evaluation, "level": 0.95, "data": data_note}
        rows += [{**_sizes(judged), **told, **row} for row in found]
    return pd.DataFrame([{**dict.fromkeys(RESULTS.names, ""), **dict.fromkeys(_NUMBERS), **row} for row in rows])[
        RESULTS.names
    ]


def comparisons_table(judged: JudgedScans, how: Resampling, data_note: str = "") -> pd.DataFrame:
    """Return `COMPARISONS`: what networks add to each baseline, and whether networks differ; Holm's p over either.

    Tests and DeLong's intervals take one scan of each patient; the other intervals resample patients with all scans.
    """
    networks = [model for model in judged.models if not model.is_baseline]
    regressions = [model for model in judged.models if model.is_baseline and model.name != MAJORITY]
    rows = [_compared(judged, network, base, how, ADDS) for base in regressions for network in networks]
    rows += [_compared(judged, one, other, how, DIFFERS) for one, other in combinations(networks, 2)]
    table = pd.DataFrame(rows, columns=COMPARISONS.names).assign(data=data_note)
    table["p_holm"] = np.nan
    for _, group in table.groupby(["question", table["versus"].where(table["question"] == ADDS, "")], sort=False):
        known = group.index[group["p"].notna()]
        table.loc[known, "p_holm"] = holm(group.loc[known, "p"].astype(float).tolist()) if len(known) else []
    return table


def calibration_table(judged: JudgedScans) -> pd.DataFrame:
    """Return `CURVE`: share of disabled scans in up to ten groups of rising probability, by model."""
    rows = [
        {"model": model.name, **vars(group), "scans": group.n, "positive": group.events}
        for model in judged.models
        for group in calibration_groups(judged.truth, model.probability)
    ]
    return pd.DataFrame(rows)[CURVE.names]


def decision_curve(judged: JudgedScans, thresholds: Sequence[float] = THRESHOLDS) -> pd.DataFrame:
    """Return `BENEFIT`: net benefit at each threshold, by model."""
    rows = [
        {
            "model": model.name,
            "threshold": one.threshold,
            "net_benefit": one.model,
            "treat_all": one.treat_all,
            "treat_none": one.treat_none,
            "scans": one.n,
        }
        for model in judged.models
        for one in net_benefit(judged.truth, model.probability, thresholds)
    ]
    return pd.DataFrame(rows)[BENEFIT.names]


def scores_of(judged: JudgedScans, model: Model, inside: Bools | None = None) -> Scores:
    """Scores of some scans (all by default) as the statistics want them."""
    chosen = np.ones(len(judged.rows), dtype=bool) if inside is None else inside
    one, p, names = judged.truth == 1, model.probability, judged.patients
    return Scores(p[chosen & one], p[chosen & ~one], names[chosen & one], names[chosen & ~one])


def _sizes(judged: JudgedScans) -> Row:
    n, positive = len(judged.rows), int(judged.truth.sum())
    return {"scans": n, "positive": positive, "patients": int(judged.rows["patient_id"].nunique())}


def _areas(judged: JudgedScans, model: Model, how: Resampling) -> Iterator[Row]:
    strata: dict[str, npt.NDArray[np.generic]] = {POOLED: np.zeros(len(judged.rows))}
    if model.out_of_fold:
        strata[WITHIN_FOLDS] = model.fold
    known = ~np.isnan(judged.field)
    if known.any():
        strata[WITHIN_FIELD] = judged.field
    for scope, groups in strata.items():
        inside = known if scope == WITHIN_FIELD else np.ones(len(known), dtype=bool)
        found = auc_within(
            judged.truth[inside],
            model.probability[inside],
            judged.patients[inside],
            groups[inside],
            how.replicates,
            how.seed,
        )
        lacking = int((~inside).sum())
        note = f"{lacking} scans without a field strength are not in it" if lacking else ""
        row = {"scope": scope, "measure": "roc_auc", "problem": found.problem or note}
        yield {**row, **_limits(model, found.estimate, found.low, found.high)}


def _decisions(judged: JudgedScans, model: Model, how: Resampling) -> Iterator[Row]:
    for words, threshold in ((AT_HALF, np.full(len(judged.rows), 0.5)), (AT_VALIDATION, model.threshold)):
        base: Row = {"scope": POOLED, "decision": words}
        if np.isnan(threshold).any():
            yield {**base, "measure": "accuracy", "problem": "the table tells no threshold"}
            continue
        decision = model.probability >= threshold
        for rate in decision_rates(judged.truth, decision, judged.patients, how.replicates, how.seed):
            limits = _limits(model, rate.estimate, rate.low, rate.high)
            yield {**base, "measure": rate.measure, "problem": rate.problem, **limits}


def _calibrated(judged: JudgedScans, model: Model) -> Iterator[Row]:
    """Calibration line with Wald's intervals of one scan of each patient; Brier scores of all scans."""
    one = judged.one_each
    line, every = (calibration(judged.truth[rows], model.probability[rows]) for rows in (one, np.ones_like(one)))
    for name in ("intercept", "slope"):
        estimate, low, high = (getattr(line, f"{name}{end}") for end in ("", "_low", "_high"))
        numbers = {"estimate": estimate, "low": low, "high": high, "plain_low": low, "plain_high": high}
        yield {"scope": POOLED, "measure": f"calibration_{name}", "problem": line.problem, **numbers}
    for name in ("brier", "brier_scaled"):
        yield {"scope": POOLED, "measure": name, "estimate": getattr(every, name)}


def _limits(model: Model, estimate: float, low: float, high: float, *, least: float = 0.0) -> Row:
    wide = widened(estimate, low, high, out_of_fold=model.out_of_fold, least=least)
    return dict(zip(_NUMBERS, (estimate, *wide, low, high), strict=True))


def _compared(judged: JudgedScans, model: Model, other: Model, how: Resampling, question: str) -> Row:
    one = judged.one_each
    row: Row = {**dict.fromkeys(COMPARISONS.names), "question": question, "model": model.name, "versus": other.name}
    row |= {"patients": int(one.sum()), "positive": int(judged.truth[one].sum()), "problem": ""}
    row |= (
        _area_difference(judged, model, other, how)
        | _delong(judged, model, other)
        | _balance(judged, model, other, how)
    )
    return row | (_increment(judged, model, other.name) if question == ADDS else {"p": row["delong_p"]})


def _increment(judged: JudgedScans, model: Model, baseline: str) -> Row:
    """The likelihood-ratio test on the baseline's predictors, of patients whose predictors are known."""
    terms = judged.terms(baseline)
    if terms is None:
        return {"problem": f"the predictors of {baseline} are not told: name scans.csv of the prepared folder, --scans"}
    rows = judged.one_each & ~np.isnan(terms).any(axis=1)
    found = increment(judged.truth[rows], terms[rows], model.probability[rows], out_of_fold=model.out_of_fold)
    names = ("p", "statistic", "p_as_given", "coefficient", "positive", "problem")
    return {**{name: getattr(found, name) for name in names}, "patients": found.n}


def _area_difference(judged: JudgedScans, model: Model, other: Model, how: Resampling) -> Row:
    pair = scores_of(judged, model), scores_of(judged, other)
    estimate = auc(pair[0].positive, pair[0].negative) - auc(pair[1].positive, pair[1].negative)
    low, high = difference_interval(*pair, how.replicates, how.seed)
    out_of_fold = model.out_of_fold or other.out_of_fold
    limits = widened(estimate, low, high, out_of_fold=out_of_fold, least=-1.0)
    return {"auc_difference": estimate, "low": limits[0], "high": limits[1]}


def _delong(judged: JudgedScans, model: Model, other: Model) -> Row:
    """DeLong's test, R's `pROC::roc.test`: as if both models were given."""
    found = delong_test(*(scores_of(judged, one, judged.one_each) for one in (model, other)))
    low, high = found.difference - NORMAL * found.se, found.difference + NORMAL * found.se
    numbers = (found.difference, found.se, low, high, found.p)
    return {
        f"delong_{name}": value for name, value in zip(("difference", "se", "low", "high", "p"), numbers, strict=True)
    }


def _balance(judged: JudgedScans, model: Model, other: Model, how: Resampling) -> Row:
    """Difference of balanced accuracy at .5."""
    first, second = (one.probability >= 0.5 for one in (model, other))
    rates = decision_differences(judged.truth, first, second, judged.patients, how.replicates, how.seed)
    found = next(rate for rate in rates if rate.measure == "balanced_accuracy")
    out_of_fold = model.out_of_fold or other.out_of_fold
    low, high = widened(found.estimate, found.low, found.high, out_of_fold=out_of_fold, least=-1.0)
    return {"balanced_difference": found.estimate, "balanced_low": low, "balanced_high": high}
