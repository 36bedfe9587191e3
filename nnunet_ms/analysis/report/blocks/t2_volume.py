"""The block of T2 lesion volume: change by arm and visit, ANCOVA, and the models beside it."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints import t2_volume, t2_volume_ml, t2_volume_models
from nnunet_ms.analysis.endpoints.estimands import volume_estimand
from nnunet_ms.analysis.endpoints.statistic_rows import select
from nnunet_ms.analysis.report.notes import WEIGHTS, convention_note, level
from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Block, Line, TextTable, rater_table, truth_cell
from nnunet_ms.analysis.report.wording import joined, minus, number, over, term_text
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.analysis.trial.published import PUBLISHED


def volume_block(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> Block:
    """Return the block of the percent change of T2 volume."""
    settings = trial.settings
    by_visit, model, robust, mmrm, kenward, ranked = (
        Numbers(endpoints, endpoint=t2_volume.ENDPOINT, analysis=name)
        for name in (
            t2_volume.BY_VISIT,
            t2_volume.ANCOVA,
            t2_volume.ROBUST,
            t2_volume_models.MMRM,
            t2_volume_models.KENWARD_ROGER,
            t2_volume_models.RANKED,
        )
    )
    parts = {f"Week {week_text(w)}": list(_visit_lines(trial, by_visit, week_text(w))) for w in settings.weeks}
    last = week_text(settings.weeks[-1])
    notes = ["A negative separation or difference favours the first-named arm: its lesion volume grew less."]
    notes += [text for numbers in (by_visit, model, robust, mmrm, kenward, ranked) for text in numbers.methods()]
    return Block(
        t2_volume.ENDPOINT,
        "Change of T2 lesion volume",
        "How much more, or less, does the T2 lesion volume change from baseline under "
        f"{joined(settings.compared_arms, 'or')} than under {settings.reference_arm}, at each visit and, "
        f"adjusted, at week {last}?",
        f"Patients with a {t2_volume.POPULATION} at the visit; the same patients for every rater.",
        [
            rater_table(
                trial, "t2_volume_ancova", f"ANCOVA at week {last}", f"estimate ({level(trial)} CI)",
                _ancova_parts(trial, model), convention_note(trial, WEIGHTS),
            ),
            rater_table(
                trial, "t2_volume_by_visit", "Percent change from baseline, by arm and visit", "mean ± SE (n)", parts,
                convention_note(trial),
            ),
        ],
        main=_main(trial, model, last),
        beside=[
            rater_table(
                trial, "t2_volume_sensitivity", "ANCOVA with HC2 standard errors, MMRM, ranked ANCOVA",
                f"estimate ({level(trial)} CI); p", _sensitivity_parts(trial, robust, mmrm, kenward, ranked),
                convention_note(trial),
            ),
            _ml_table(trial, endpoints),
            _covariate_table(trial, model),
        ],
        figures=[stem for stem in figures if stem.startswith("t2_volume")],
        notes=notes,
        estimand=volume_estimand(trial),
    )  # fmt: skip


def _main(trial: TrialData, model: Numbers, week: str) -> list[str]:
    lines = []
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        for rater in trial.raters:
            keys = {"rater": rater, "contrast": contrast, "term": "arm"}
            cell = model.with_limits("difference", **keys)
            lines.append(
                f"{rater}: {minus(contrast)} {cell} percentage points at week {week} (ANCOVA), {model.p(**keys)}"
            )
    return lines


def _visit_lines(trial: TrialData, numbers: Numbers, week: str) -> Iterator[Line]:
    settings = trial.settings
    keys = {"endpoint": t2_volume.ENDPOINT, "analysis": t2_volume.BY_VISIT, "visit": week}
    found = PUBLISHED[settings.preset] if settings.preset and len(settings.compared_arms) == 1 else None
    for arm in settings.arms:
        cells = [_mean_cell(numbers, rater=rater, arm=arm, visit=week, contrast="") for rater in trial.raters]
        printed = (found.mean_reference if arm == settings.reference_arm else found.mean_active) if found else {}
        yield Line(arm, cells, truth_cell(trial, {**keys, "stat_name": "mean", "arm": arm}), printed.get(week, ""))
    for arm in settings.compared_arms:
        contrast = contrast_text(arm, settings.reference_arm)
        cells = [numbers.with_limits("separation", rater=r, contrast=contrast, visit=week) for r in trial.raters]
        truth = truth_cell(trial, {**keys, "stat_name": "separation", "contrast": contrast})
        beside = str(found.separation.get(week, "")) if found else ""
        yield Line(f"separation, {minus(contrast)} ({level(trial)} CI)", cells, truth, beside)


def _ml_table(trial: TrialData, endpoints: pd.DataFrame) -> TextTable:
    """Volumes and their change in ml: what the percent changes are made of."""
    volume, change = (
        Numbers(endpoints, endpoint=t2_volume.ENDPOINT, analysis=name)
        for name in (t2_volume_ml.VOLUME, t2_volume_ml.CHANGE)
    )
    settings, parts = trial.settings, {}
    for week in (week_text(w) for w in (settings.baseline_week, *settings.weeks)):
        lines = [Line(arm, [_ml_cell(volume, change, r, arm, week) for r in trial.raters]) for arm in settings.arms]
        for arm in settings.compared_arms if week != week_text(settings.baseline_week) else ():
            contrast = contrast_text(arm, settings.reference_arm)
            gaps = [change.with_limits("separation", 2, rater=r, contrast=contrast, visit=week) for r in trial.raters]
            lines.append(Line(f"change, {minus(contrast)} ({level(trial)} CI)", gaps))
        parts[f"Week {week}"] = lines
    return rater_table(
        trial, "t2_volume_ml_by_visit", "T2 lesion volume and its change in ml, by arm and visit",
        "mean (SD), median; change ± SE (n)", parts, convention_note(trial),
    )  # fmt: skip


def _ml_cell(volume: Numbers, change: Numbers, rater: str, arm: str, week: str) -> str:
    keys = {"rater": rater, "arm": arm, "visit": week}
    mean, sd, median = (number(volume.get(name, **keys)) for name in ("mean", "sd", "median"))
    text = f"{mean} ({sd}), {median}"
    if np.isfinite(change.get("mean", **keys)):
        text += f"; {number(change.get('mean', **keys), 2)} ± {number(change.get('se', **keys), 2)}"
    return f"{text} ({volume.get('n', **keys):.0f})"


def _mean_cell(numbers: Numbers, **keys: str) -> str:
    n = numbers.get("n", **keys)
    mean, se = numbers.get("mean", **keys), numbers.get("se", **keys)
    return f"{number(mean)} ± {number(se)} ({n:.0f})"


def _ancova_parts(trial: TrialData, numbers: Numbers) -> dict[str, list[Line]]:
    settings = trial.settings
    week = week_text(settings.weeks[-1])
    keys = {"endpoint": t2_volume.ENDPOINT, "analysis": t2_volume.ANCOVA, "visit": week}
    effects: list[Line] = []
    published = PUBLISHED[settings.preset].ancova_p if settings.preset else None
    for arm in settings.compared_arms:
        contrast = contrast_text(arm, settings.reference_arm)
        cells = [numbers.with_limits("difference", rater=r, contrast=contrast, term="arm") for r in trial.raters]
        truth = truth_cell(trial, {**keys, "stat_name": "difference", "contrast": contrast, "term": "arm"})
        effects.append(Line(f"{minus(contrast)}, percentage points", cells, truth))
        p_values = [numbers.p(rater=r, contrast=contrast, term="arm") for r in trial.raters]
        effects.append(Line("p", p_values, "", str(published or "") if len(settings.compared_arms) == 1 else ""))
    means = [
        Line(
            arm,
            [numbers.with_limits("ls_mean", rater=rater, arm=arm) for rater in trial.raters],
            truth_cell(trial, {**keys, "stat_name": "ls_mean", "arm": arm}),
        )
        for arm in settings.arms
    ]
    patients = Line("patients", [f"{numbers.get('n', rater=r, term='model'):.0f}" for r in trial.raters])
    return {"": [patients], "Adjusted difference": effects, "Least-squares means, %": means}


def _sensitivity_parts(
    trial: TrialData, robust: Numbers, mmrm: Numbers, kenward: Numbers, ranked: Numbers
) -> dict[str, list[Line]]:
    parts: dict[str, list[Line]] = {}
    preset = trial.settings.preset
    printed = PUBLISHED[preset].change if preset and len(trial.settings.compared_arms) == 1 else {}
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        parts[f"ANCOVA, HC2: difference in percentage points, {minus(contrast)}"] = [
            _robust_line(trial, robust, contrast)
        ]
        lines = []
        for week in (week_text(w) for w in trial.settings.weeks):
            cells = [_ratio_cell(mmrm, rater, contrast, week) for rater in trial.raters]
            place = {"endpoint": t2_volume.ENDPOINT, "analysis": t2_volume_models.MMRM, "visit": week, "term": "arm"}
            truth = truth_cell(trial, {**place, "stat_name": "geometric_mean_ratio", "contrast": contrast}, 3)
            lines.append(Line(f"week {week}", cells, truth, printed.get(week, "")))
        parts[f"MMRM, ratio of geometric means, {over(contrast)}"] = lines
        parts[f"MMRM with Kenward-Roger errors, {over(contrast)}"] = [
            Line(f"week {week}", [_ratio_cell(kenward, r, contrast, week) for r in trial.raters])
            for week in (week_text(w) for w in trial.settings.weeks)
        ]
        p = [ranked.p(rater=r, contrast=contrast) for r in trial.raters]
        parts[f"Ranked ANCOVA, last observation carried forward, {over(contrast)}"] = [Line("p", p)]
    return parts


def _ratio_cell(numbers: Numbers, rater: str, contrast: str, week: str) -> str:
    keys = {"rater": rater, "contrast": contrast, "visit": week}
    return f"{numbers.with_limits('geometric_mean_ratio', 3, 1.0, **keys)}; {numbers.p(**keys)}"


def _robust_line(trial: TrialData, robust: Numbers, contrast: str) -> Line:
    """Difference and p where arms may differ in variance."""
    cells = []
    for rater in trial.raters:
        keys = {"rater": rater, "contrast": contrast, "term": "arm"}
        cells.append(f"{robust.with_limits('difference', **keys)}; {robust.p(**keys)}")
    place = {"endpoint": t2_volume.ENDPOINT, "analysis": t2_volume.ANCOVA, "stat_name": "difference", "term": "arm"}
    truth = truth_cell(trial, {**place, "contrast": contrast})
    return Line(f"week {week_text(trial.settings.weeks[-1])}", cells, truth)


def _covariate_table(trial: TrialData, numbers: Numbers) -> TextTable:
    terms = select(numbers.frame, stat_name="coefficient")["term"].drop_duplicates()
    lines = []
    for term in terms:
        cells = []
        for rater in trial.raters:
            value, p = numbers.get("coefficient", rater=rater, term=term), numbers.p(rater=rater, term=term)
            cells.append(f"{number(value, 2)}, {p}")
        lines.append(Line(term_text(term), cells))
    note = "Percentage points, per unit of the covariate or against the first level."
    return rater_table(
        trial, "t2_volume_ancova_covariates", "Covariates of the ANCOVA", "coefficient, p", {"": lines}, note
    )
