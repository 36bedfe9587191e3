"""The block of one lesion count: by arm and visit, rate ratio and percent reduction, and the exact tests beside."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints import lesion_counts
from nnunet_ms.analysis.endpoints.estimands import count_estimand
from nnunet_ms.analysis.endpoints.statistic_rows import NOT_ESTIMABLE
from nnunet_ms.analysis.report.notes import COUNTS, WEIGHTS, convention_note, level
from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Block, Line, rater_table, truth_cell
from nnunet_ms.analysis.report.wording import joined, number, over
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.analysis.trial.published import PUBLISHED, PublishedCounts

REDUCTION = lesion_counts.REDUCTION


def count_block(
    trial: TrialData, endpoints: pd.DataFrame, endpoint: lesion_counts.CountEndpoint, figures: Sequence[str]
) -> Block:
    """Return the block of one count endpoint; where no rater has such counts, it only says so."""
    of_nobody = all(lesion_counts.missing_reason(trial, endpoint, rater) for rater in trial.raters)
    by_visit, model, poisson, wilcoxon = (
        Numbers(endpoints, endpoint=endpoint.name, analysis=name)
        for name in (
            lesion_counts.BY_VISIT, lesion_counts.NEGATIVE_BINOMIAL, lesion_counts.POISSON, lesion_counts.WILCOXON,
        )
    )  # fmt: skip
    visits = [week_text(w) for w in trial.settings.weeks] + [lesion_counts.ALL_VISITS]
    parts = {_visit_title(visit): _visit_lines(trial, by_visit, endpoint.name, visit) for visit in visits}
    name, first = endpoint.name, f"estimate ({level(trial)} CI)"
    return Block(
        name,
        endpoint.title,
        f"How many {endpoint.phrase} appear under {joined(trial.settings.compared_arms, 'or')} for each one "
        f"under {trial.settings.reference_arm}?",
        "Follow-up visits that every rater read; the same visits for every rater.",
        [] if of_nobody else [
            rater_table(
                trial, f"{name}_model", "Rate ratio and percent reduction", first, _model_parts(trial, endpoint, model),
                convention_note(trial, COUNTS, WEIGHTS),
            ),
            rater_table(
                trial, f"{name}_by_visit", "Lesions by arm and visit", "lesions / visits (mean)", parts,
                convention_note(trial),
            ),
        ],
        main=_main(trial, model),
        beside=[] if of_nobody else [
            rater_table(
                trial, f"{name}_sensitivity", "Tests without a model of overdispersion", first,
                {"": _beside_lines(trial, poisson, wilcoxon)}, convention_note(trial),
            )
        ],
        figures=[stem for stem in figures if stem == f"{name}_by_visit"],
        notes=[text for numbers in (by_visit, model, poisson, wilcoxon) for text in numbers.methods()],
        estimand=count_estimand(trial, endpoint),
    )  # fmt: skip


def _visit_title(visit: str) -> str:
    return "All follow-up visits" if visit == lesion_counts.ALL_VISITS else f"Week {visit}"


def _main(trial: TrialData, model: Numbers) -> list[str]:
    lines = []
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        for rater in trial.raters:
            keys = {"rater": rater, "contrast": contrast}
            ratio = model.with_limits("rate_ratio", 2, term="arm", **keys)
            reduction = model.with_limits("percent_reduction", term=REDUCTION, **keys)
            if ratio.startswith(NOT_ESTIMABLE):
                lines.append(f"{rater}: rate ratio {over(contrast)} {ratio}")
                continue
            p = model.p(term="arm", **keys)
            lines.append(f"{rater}: rate ratio {over(contrast)} {ratio}, {p}; percent reduction {reduction} %")
    return lines


def _printed(trial: TrialData, endpoint: str, visit: str) -> PublishedCounts | None:
    preset = trial.settings.preset
    if not preset or len(trial.settings.compared_arms) != 1:
        return None
    return PUBLISHED[preset].counts.get(endpoint, {}).get(visit)


def _visit_lines(trial: TrialData, numbers: Numbers, endpoint: str, visit: str) -> list[Line]:
    lines, printed = [], _printed(trial, endpoint, visit)
    for arm in trial.settings.arms:
        cells = []
        for rater in trial.raters:
            keys = {"rater": rater, "arm": arm, "visit": visit}
            lesions, scans = numbers.get("lesions", **keys), numbers.get("visits", **keys)
            cells.append(f"{number(lesions, 0)} / {number(scans, 0)} ({number(numbers.get('mean', **keys), 2)})")
        beside = (printed.reference if arm == trial.settings.reference_arm else printed.active) if printed else ""
        lines.append(Line(arm, cells, "", str(beside)))
        if visit == lesion_counts.ALL_VISITS:
            patients = [number(numbers.get("patients", rater=r, arm=arm, visit=visit), 0) for r in trial.raters]
            lines.append(Line(f"patients, {arm}", patients))
            years = [numbers.get("years", rater=r, arm=arm, visit=visit) for r in trial.raters]
            if np.isfinite(years).any():
                lines.append(Line(f"years between scans, {arm}", [number(value, 1) for value in years]))
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        keys = {"contrast": contrast, "visit": visit}
        cells = [numbers.with_limits("percent_reduction", rater=r, **keys) for r in trial.raters]
        beside = str(printed.reduction) if printed else ""
        lines.append(Line(f"percent reduction, {over(contrast)} ({level(trial)} CI)", cells, "", beside))
    return lines


def _model_parts(trial: TrialData, counts: lesion_counts.CountEndpoint, model: Numbers) -> dict[str, list[Line]]:
    raters, lines, endpoint = trial.raters, [], counts.name
    preset = trial.settings.preset
    single = len(trial.settings.compared_arms) == 1
    scans = PUBLISHED[preset].lesions_per_scan.get(endpoint, "") if preset and single else ""
    keys = {"endpoint": endpoint, "analysis": lesion_counts.NEGATIVE_BINOMIAL, "stat_name": "rate_ratio"}
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        truth = truth_cell(trial, {**keys, "contrast": contrast, "term": "arm"}, 2) or truth_cell(
            trial, {**keys, "contrast": contrast}, 2
        )
        cells = [model.with_limits("rate_ratio", 2, rater=r, contrast=contrast, term="arm") for r in raters]
        lines.append(Line(f"rate ratio, {over(contrast)}", cells, truth))
        lines.append(Line("p", [model.p(rater=r, contrast=contrast, term="arm") for r in raters]))
        reductions = [
            model.with_limits("percent_reduction", rater=r, contrast=contrast, term=REDUCTION) for r in raters
        ]
        lines.append(Line(f"percent reduction, {over(contrast)}", reductions))
    rates = [Line(arm, [model.with_limits("rate", 3, rater=r, arm=arm) for r in raters]) for arm in trial.settings.arms]
    if scans:
        rates[-1] = Line(rates[-1].label, rates[-1].cells, "", scans)
    return {"": lines, f"Adjusted lesions per {lesion_counts.exposure_unit(trial, counts)}": rates}


def _beside_lines(trial: TrialData, poisson: Numbers, wilcoxon: Numbers) -> list[Line]:
    lines = []
    for arm in trial.settings.compared_arms:
        keys = {"contrast": contrast_text(arm, trial.settings.reference_arm), "term": "arm"}
        ratio = [poisson.with_limits("rate_ratio", 2, rater=r, **keys) for r in trial.raters]
        lines.append(Line(f"exact Poisson rate ratio, {over(keys['contrast'])}", ratio))
        lines.append(Line("p, exact Poisson", [poisson.p(rater=r, **keys) for r in trial.raters]))
        lines.append(Line("p, Wilcoxon", [wilcoxon.p(rater=r, **keys) for r in trial.raters]))
    return lines
