"""The report's block of the joint T1 paper's Cox models: baseline T1 lesions and progression."""

import pandas as pd

from nnunet_ms.analysis.endpoints.progression_by_t1_lesions import METRICS, PER_LESION, VOLUME, T1Metric
from nnunet_ms.analysis.endpoints.statistic_rows import select
from nnunet_ms.analysis.report.notes import TIES, convention_note, level
from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Block, Line, TextTable, rater_table
from nnunet_ms.analysis.report.wording import over, term_text
from nnunet_ms.analysis.trial.data import TrialData

SOURCE = "Krishnan et al., Radiology 2022 (joint T1 segmentation in the OPERA trials)"
# on OPERA II; its abstract, from which they are, names neither the outcome nor the unit
PUBLISHED = {"opera2": "1.12, p .02 (manual); 1.11, p .03 (model)"}
LABELS = dict(
    zip(
        METRICS,
        (
            "hazard ratio per unit of log TLV",
            "hazard ratio per unenhancing lesion",
            "hazard ratio per enhancing lesion",
            "hazard ratio, any enhancing lesion / none",
        ),
        strict=True,
    )
)


def t1_volume_block(trial: TrialData, endpoints: pd.DataFrame) -> list[Block]:
    """Return one block with every outcome and metric, or none where there is no T1 lesion table."""
    names = [name for metric in METRICS for name in (metric.analysis, metric.multivariable)]
    names += [f"{metric.multivariable}_firth" for metric in METRICS]
    rows = endpoints[endpoints["analysis"].isin(names)]
    if rows.empty:
        return []
    notes = [*Numbers(rows).methods()]
    published = PUBLISHED.get(trial.settings.preset or "", "")
    if published:
        notes.append(
            f"Published hazard ratio of baseline unenhancing volume in OPERA II: {published}; {SOURCE}, which names "
            "neither outcome nor unit where it could be read. Private trial data: never a result of this analysis."
        )
    return [
        Block(
            "unenhancing_volume",
            "Baseline T1 lesions and progression",
            "Do the T1 unenhancing and enhancing lesions at baseline go with the risk of progression?",
            "Patients with a baseline T1 mask of every rater; the same patients for every rater.",
            [_table(trial, rows, metric) for metric in METRICS],
            beside=[_multivariable(trial, rows)],
            notes=notes,
        )
    ]


def _table(trial: TrialData, rows: pd.DataFrame, metric: T1Metric) -> TextTable:
    """One metric as the only covariate, every outcome; no line, and so no table, where the trial has it not."""
    own = select(rows, analysis=metric.analysis)
    parts = {
        str(outcome).upper(): _lines(trial, Numbers(own, endpoint=str(outcome)), metric)
        for outcome in dict.fromkeys(own["endpoint"])
    }
    head = f"estimate ({level(trial)} CI)"
    title = f"Cox regression on {term_text(metric.term)}"
    stem = "unenhancing_cox" if metric is VOLUME else metric.analysis
    return rater_table(trial, stem, title, head, parts, convention_note(trial, TIES))


def _lines(trial: TrialData, numbers: Numbers, metric: T1Metric) -> list[Line]:
    counts = [f"{numbers.get('events', rater=r):.0f} of {numbers.get('n', rater=r):.0f}" for r in trial.raters]
    digits = _digits(metric)
    return [
        Line(LABELS[metric], [numbers.with_limits("hazard_ratio", digits, rater=r) for r in trial.raters]),
        Line("p", [numbers.p(rater=r) for r in trial.raters]),
        Line("patients with event", counts),
    ]


def _digits(metric: T1Metric) -> int:
    return 3 if metric.unit == PER_LESION else 2  # one lesion more changes little


def _multivariable(trial: TrialData, rows: pd.DataFrame) -> TextTable:
    """The metric and arm x metric of every multivariable model; the other terms are in endpoints.csv."""
    parts = {
        f"{str(outcome).upper()}": [
            line
            for metric in METRICS
            for firth in ("", "_firth")
            for line in _terms(trial, rows, str(outcome), metric, firth)
        ]
        for outcome in dict.fromkeys(rows["endpoint"])
    }
    note = (
        "One model per metric: arm, sex, region, EDSS < 4, age, the metric, arm × metric; the other terms are in "
        f"endpoints.csv. {convention_note(trial, TIES)}"
    )
    title = "Multivariable Cox regression on every T1 metric"
    head = f"hazard ratio ({level(trial)} CI); p"
    return rater_table(trial, "t1_lesions_multivariable", title, head, parts, note)


def _terms(trial: TrialData, rows: pd.DataFrame, outcome: str, metric: T1Metric, firth: str) -> list[Line]:
    numbers = Numbers(rows, endpoint=outcome, analysis=f"{metric.multivariable}{firth}")
    of_metric = numbers.frame[numbers.frame["term"].isin([metric.term, f"arm:{metric.term}"])]
    lines, digits = [], _digits(metric)
    for term, contrast in of_metric[["term", "contrast"]].drop_duplicates().itertuples(index=False):
        label = term_text(term) + (f", {over(contrast)}" if contrast else "") + (" (Firth)" if firth else "")
        cells = []
        for rater in trial.raters:
            ratio = numbers.with_limits("hazard_ratio", digits, rater=rater, term=term, contrast=contrast)
            p = numbers.p(rater=rater, term=term, contrast=contrast)
            cells.append(ratio if ratio == p else f"{ratio}; {p}")
        lines.append(Line(label, cells))
    return lines
