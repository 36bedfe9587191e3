"""Results of rim classifiers as one tidy table: by model, scope and measure, with published numbers beside."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Floats
from nnunet_ms.classification.rim.published import PAPER, PUBLISHED, RERUN, Published, published_for
from nnunet_ms.classification.rim.scored_lesions import Model, ScoredLesions
from nnunet_ms.options import whole_from
from nnunet_ms.progress import Progress, unseen
from nnunet_ms.statistics.calibration_intervals import calibration_measures
from nnunet_ms.statistics.classification import Rate, decision_differences, decision_rates
from nnunet_ms.statistics.count_agreement import count_agreement
from nnunet_ms.statistics.ranked_areas import Area, area_differences, areas
from nnunet_ms.statistics.roc import Scores
from nnunet_ms.tables import Column, Table

POOLED, MEAN_OF_FOLDS = "pooled", "mean of folds"
RESULTS = Table(
    "rim results",
    (
        Column("model"),
        Column("versus", blank=True),
        Column("scope"),
        Column("measure"),
        Column("estimate", "number", blank=True),
        Column("low", "number", blank=True),
        Column("high", "number", blank=True),
        Column("sd", "number", blank=True),
        Column("level", "number"),
        Column("patients", "integer", minimum=0),
        Column("lesions", "integer", minimum=0),
        Column("rim_lesions", "integer", minimum=0),
        Column("published", "number", blank=True),
        Column("published_low", "number", blank=True),
        Column("published_high", "number", blank=True),
        Column("rerun", "number", blank=True),
        Column("rerun_sd", "number", blank=True),
        Column("data"),
        Column("problem", blank=True),
    ),
    key=("model", "versus", "scope", "measure"),
)
COUNTS = Table(
    "rim counts",
    (
        Column("model"),
        Column("patient_id"),
        Column("visit"),
        Column("lesions", "integer", minimum=1),
        Column("counted", "integer", minimum=0),
        Column("predicted", "integer", minimum=0),
    ),
    key=("model", "patient_id", "visit"),
)
NO_DECISION = "no threshold and no decision in the table: name one with --threshold"
Row = dict[str, object]


@dataclass(frozen=True)
class Resampling:
    """How intervals are made."""

    replicates: int = 2000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        whole_from(self.replicates, 1, "replicates", "2000 are usual.")
        whole_from(self.seed, 0, "seed", "Correct it.")


def results_table(
    scored: ScoredLesions, resampling: Resampling, data_note: str = "", progress: Progress = unseen
) -> pd.DataFrame:
    """Return `RESULTS`: every model pooled over folds, by fold and as mean of folds; the first less every other model.

    Intervals resample patients; those of `prl_count_r` and `prl_count_ccc` are Fisher's and Lin's.
    """
    rows: list[Row] = []
    for model in progress(scored.models, "evaluating", lambda model: model.name):
        rows += _of_model(scored, model, resampling)
        if model is not scored.models[0]:
            rows += _differences(scored, scored.models[0], model, resampling)
    blank = dict.fromkeys(RESULTS.names)
    return pd.DataFrame(
        [{**blank, "versus": "", "problem": "", **row, "data": data_note} for row in rows], columns=RESULTS.names
    )


def counts_table(scored: ScoredLesions) -> pd.DataFrame:
    """Return `COUNTS`: rim+ lesions of each visit, counted and predicted, of models that decide."""
    frames = [_counts(scored, model).assign(model=model.name) for model in scored.models if _decides(model)]
    return pd.concat(frames)[COUNTS.names] if frames else pd.DataFrame(columns=COUNTS.names)


def published_table() -> pd.DataFrame:
    """Everything that papers print, one row per number (`published.PUBLISHED`)."""
    return pd.DataFrame([vars(number) for number in PUBLISHED])


def scores_of(scored: ScoredLesions, model: Model, inside: Floats | None = None) -> Scores:
    """Scores of some lesions (all by default) as the statistics want them."""
    chosen = np.ones(len(scored.rows), dtype=bool) if inside is None else inside.astype(bool)
    rim, names = scored.rim == 1, scored.rows["patient_id"].astype(str).to_numpy()
    p = model.probability
    return Scores(p[chosen & rim], p[chosen & ~rim], names[chosen & rim], names[chosen & ~rim])


def _of_model(scored: ScoredLesions, model: Model, how: Resampling) -> list[Row]:
    every = np.ones(len(scored.rows))
    rows = list(_measured(scored, model, every, POOLED, how, whole=True))
    numbers = sorted({int(fold) for fold in model.fold if not np.isnan(fold)})
    by_fold: list[Row] = []
    for number in numbers:
        by_fold += _measured(scored, model, (model.fold == number).astype(float), f"fold {number}", how, whole=False)
    return [*rows, *by_fold, *_means(model.name, by_fold, rows[0])] if len(numbers) > 1 else rows


def _measured(
    scored: ScoredLesions, model: Model, inside: Floats, scope: str, how: Resampling, *, whole: bool
) -> Iterator[Row]:
    """Rows of some lesions; calibration and published numbers of all of them only."""
    chosen = inside.astype(bool)
    names = scored.rows["patient_id"].astype(str).to_numpy()[chosen]
    truth, decision = scored.rim[chosen], model.decision[chosen]
    base: Row = {
        "model": model.name,
        "scope": scope,
        "level": how.level,
        "patients": len(set(names)),
        "lesions": int(chosen.sum()),
        "rim_lesions": int(truth.sum()),
    }
    options = {"replicates": how.replicates, "seed": how.seed, "level": how.level}
    found: list[Area | Rate] = [*areas(scores_of(scored, model, inside), **options)]  # type: ignore[arg-type]
    if _decides(model):
        found += decision_rates(truth, decision, names, **options)  # type: ignore[arg-type]
    for one in found:
        row = {**base, **_interval(one.estimate, one.low, one.high), "measure": one.measure, "problem": one.problem}
        yield _with_published(row) if whole else row
    if not _decides(model):
        yield {**base, "measure": "sensitivity", "problem": NO_DECISION}
    for row in _counted(scored, model, chosen, how):
        yield _with_published({**base, **row}) if whole else {**base, **row}
    if whole:
        yield from ({**base, **row} for row in _calibrated(truth, model.probability[chosen], names.tolist(), how))


def _interval(estimate: float, low: float, high: float) -> Row:
    return {"estimate": estimate, "low": low, "high": high}


def _counted(scored: ScoredLesions, model: Model, chosen: Floats, how: Resampling) -> Iterator[Row]:
    if not _decides(model):
        yield {"measure": "prl_count_mse", "problem": NO_DECISION}
        return
    visits = _counts(scored, model, chosen)
    counted, predicted = (visits[name].to_numpy(np.float64) for name in ("counted", "predicted"))
    found = count_agreement(counted, predicted, visits["patient_id"].tolist(), how.replicates, how.seed, how.level)
    several = found.n - found.patients
    note = f"{several} visits are of patients with another one: this interval is too narrow" if several else ""
    yield {"measure": "prl_count_mse", **_interval(found.mse, found.mse_low, found.mse_high)}
    for name, value in (("r", found.r), ("ccc", found.ccc)):
        numbers = _interval(value.estimate, value.low, value.high)
        yield {"measure": f"prl_count_{name}", **numbers, "problem": found.problem or note}


def _calibrated(truth: Floats, probability: Floats, patients: list[str], how: Resampling) -> Iterator[Row]:
    for found in calibration_measures(truth, probability, patients, how.replicates, how.seed, how.level):
        name = found.measure if found.measure.startswith("brier") else f"calibration_{found.measure}"
        yield {"measure": name, **_interval(found.estimate, found.low, found.high), "problem": found.problem}


def _means(model: str, rows: list[Row], pooled: Row) -> Iterator[Row]:
    """Mean and SD over folds, as other papers print them; no interval, because folds share their training patients."""
    frame = pd.DataFrame(rows)
    for measure, group in frame.groupby("measure", sort=False):
        values = pd.to_numeric(group["estimate"]).dropna()
        lacking = len(group) - len(values)
        yield {
            **{name: pooled[name] for name in ("level", "patients", "lesions", "rim_lesions")},
            "model": model,
            "scope": MEAN_OF_FOLDS,
            "measure": measure,
            "estimate": values.mean() if len(values) else None,
            "sd": values.std(ddof=1) if len(values) > 1 else None,
            "problem": f"undefined in {lacking} of {len(group)} folds" if lacking else "",
        }


def _differences(scored: ScoredLesions, first: Model, other: Model, how: Resampling) -> Iterator[Row]:
    names = scored.rows["patient_id"].astype(str).to_numpy()
    options = {"replicates": how.replicates, "seed": how.seed, "level": how.level}
    pair = scores_of(scored, first), scores_of(scored, other)
    found: list[Area | Rate] = [*area_differences(*pair, **options)]  # type: ignore[arg-type]
    if _decides(first) and _decides(other):
        found += decision_differences(scored.rim, first.decision, other.decision, names, **options)  # type: ignore[arg-type]
    for one in found:
        yield {
            "model": first.name,
            "versus": other.name,
            "scope": POOLED,
            "level": how.level,
            "patients": len(set(names)),
            "lesions": len(names),
            "rim_lesions": int(scored.rim.sum()),
            **_interval(one.estimate, one.low, one.high),
            "measure": one.measure,
            "problem": one.problem,
        }


def _counts(scored: ScoredLesions, model: Model, chosen: Floats | None = None) -> pd.DataFrame:
    rows = scored.rows.assign(predicted=model.decision, counted=scored.rim, lesions=1)
    rows = rows if chosen is None else rows[chosen]
    summed = rows.groupby(["patient_id", "visit"], sort=True)[["lesions", "counted", "predicted"]].sum()
    return summed.astype(int).reset_index()


def _decides(model: Model) -> bool:
    return not bool(np.isnan(model.decision).any())


def _with_published(row: Row) -> Row:
    ours = {source: published_for(str(row["model"]), str(row["measure"]), source) for source in (PAPER, RERUN)}
    paper, rerun = ours[PAPER], ours[RERUN]
    return {**row, **(_of_paper(paper) if paper else {}), **(_of_rerun(rerun) if rerun else {})}


def _of_paper(number: Published) -> Row:
    return {"published": number.value, "published_low": number.low, "published_high": number.high}


def _of_rerun(number: Published) -> Row:
    return {"rerun": number.value, "rerun_sd": number.sd}
