"""The block of one outcome by arm: Kaplan-Meier, log-rank, Cox (each also stratified), restricted mean, subgroups."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints import progression_by_arm, progression_subgroups
from nnunet_ms.analysis.endpoints.estimands import time_estimand
from nnunet_ms.analysis.endpoints.statistic_rows import select
from nnunet_ms.analysis.report.blocks.progression_by_rims import rim_tables, risk_tables, whose_counts
from nnunet_ms.analysis.report.blocks.time_to_event import time_to_event_table
from nnunet_ms.analysis.report.notes import TIES, convention_note, level, rule_note
from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Block, Line, TextTable, column_table, truth_cell
from nnunet_ms.analysis.report.wording import minus, number, over, p_text, term_text
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text
from nnunet_ms.analysis.trial.published import PUBLISHED
from nnunet_ms.analysis.trial.rim_counts import STRATUM
from nnunet_ms.disability.confirmed_progression import OUTCOMES


def arm_block(trial: TrialData, endpoints: pd.DataFrame, outcome: str, figures: Sequence[str]) -> Block:
    """Return the block of the effect of arm on one outcome."""
    rows = select(endpoints, endpoint=outcome)
    km = Numbers(rows, analysis=progression_by_arm.KM)
    models = [Numbers(rows, analysis=a) for a in (progression_by_arm.COX, progression_by_arm.COX_STRATIFIED)]
    quartiles, landmark, mean = (
        Numbers(rows, analysis=a)
        for a in (progression_by_arm.QUARTILES, progression_by_arm.LANDMARK, progression_by_arm.RMST)
    )
    rule = trial.settings.rule
    return Block(
        f"{outcome}_by_arm",
        f"{outcome.upper()} by arm",
        f"Does the arm change the risk of {trial.title(outcome)}?",
        "All patients whose outcome could be derived; no mask is needed.",
        [
            column_table(
                f"{outcome}_treatment_effect", "Treatment effect", ["", f"estimate ({level(trial)} CI)", "p"],
                {"": _effect_lines(trial, outcome, km, models, mean)}, convention_note(trial, TIES),
            ),
            time_to_event_table(trial, rows, outcome),
        ],
        main=list(_main(trial, km, models)),
        beside=[_subgroup_table(trial, rows, outcome), *rim_tables(trial, rows, outcome),
                *risk_tables(trial, rows, outcome)],
        figures=[s for s in figures if s == f"km_by_arm_{outcome}" or s.startswith(f"forest_{outcome}")],
        notes=[
            *Numbers(rows, analysis=progression_by_arm.ORIGIN).methods(),
            *Numbers(rows, analysis=progression_by_arm.CONFLICTS).methods(),
            *([rule_note(rule, OUTCOMES[outcome])] if rule and trial.settings.outcome_source == "derive" else []),
            *(text for numbers in (km, quartiles, landmark, *models, mean) for text in numbers.methods()),
        ],
        estimand=time_estimand(trial, outcome),
    )  # fmt: skip


def _main(trial: TrialData, km: Numbers, models: Sequence[Numbers]) -> Iterator[str]:
    """The stratified analysis where there are strata, else the other."""
    stratified = len(models[1].frame) > 0
    cox, name = (models[1], "stratified hazard ratio") if stratified else (models[0], "hazard ratio")
    term = progression_by_arm.LOGRANK_STRATIFIED if stratified else progression_by_arm.LOGRANK
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        p = km.p(term=term, contrast=progression_by_arm.logrank_contrast(trial, arm))
        test = f"{'stratified ' * stratified}log-rank {p}"
        yield f"{name} {over(contrast)} {cox.with_limits('hazard_ratio', 2, contrast=contrast)}; {test}"


def _effect_lines(trial: TrialData, outcome: str, km: Numbers, models: Sequence[Numbers], mean: Numbers) -> list[Line]:
    lines = []
    preset, single = trial.settings.preset, len(trial.settings.compared_arms) == 1
    published = PUBLISHED[preset].arm_hazard_ratio.get(outcome, "") if preset and single else ""
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        for analysis, model in zip((progression_by_arm.COX, progression_by_arm.COX_STRATIFIED), models, strict=True):
            if len(model.frame):
                label = "hazard ratio" + ", stratified" * (model is not models[0])
                keys = {"endpoint": outcome, "analysis": analysis, "term": "arm", "contrast": contrast}
                truth = truth_cell(trial, {**keys, "stat_name": "hazard_ratio"}, 2)
                cells = [model.with_limits("hazard_ratio", 2, contrast=contrast), model.p(contrast=contrast)]
                # the papers' numbers are of the unstratified ratio, or do not say
                lines.append(Line(f"{label}, {over(contrast)}", cells, truth, published * (model is models[0])))
        keys = {"endpoint": outcome, "analysis": progression_by_arm.RMST, "contrast": contrast}
        truth = truth_cell(trial, {**keys, "stat_name": "difference"})
        cells = [mean.with_limits("difference", 1, contrast=contrast), mean.p(contrast=contrast)]
        lines.append(Line(f"restricted mean time, weeks, {minus(contrast)}", cells, truth))
    for term, label in (
        (progression_by_arm.LOGRANK, "log-rank test"),
        (progression_by_arm.LOGRANK_STRATIFIED, "stratified log-rank test"),
    ):
        tests = select(km.frame, term=term)
        for contrast in tests["contrast"].drop_duplicates():
            several = len(trial.settings.compared_arms) > 1
            which = f", {over(contrast)}" if contrast else f", all {len(trial.settings.arms)} arms (omnibus)" * several
            lines.append(Line(label + which, ["", km.p(term=term, contrast=contrast)]))
    return lines


def _subgroup_table(trial: TrialData, rows: pd.DataFrame, outcome: str) -> TextTable:
    numbers = Numbers(rows, analysis=progression_subgroups.ANALYSIS)
    lines: list[list[str]] = []
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        lines += [[over(contrast)]] * (len(trial.settings.compared_arms) > 1)
        for term in select(numbers.frame, contrast=contrast)["term"].drop_duplicates():
            keys = {"contrast": contrast, "term": term}
            if term.endswith(": interaction"):
                penalised = numbers.get("p_penalised", **keys)
                beside = f"; penalised {p_text(penalised)}" if np.isfinite(penalised) else ""
                lines.append([term_text(term), "", "", numbers.p(**keys) + beside])
                continue
            count = f"{number(numbers.get('events', **keys), 0)} / {number(numbers.get('n', **keys), 0)}"
            ratio, p = numbers.with_limits("hazard_ratio", 2, **keys), numbers.p(**keys)
            lines.append([term_text(term), count, ratio, "" if p == ratio else p])
    return TextTable(
        f"{outcome}_subgroups",
        "Subgroups: hazard ratio of arm",
        ["", "events / patients", f"estimate ({level(trial)} CI)", "p"],
        lines,
        " ".join(
            [
                "Interaction: likelihood-ratio test of arm × subgroup.",
                *([whose_counts(trial)] if STRATUM in trial.settings.analysis.subgroups else []),
                convention_note(trial, TIES),
            ]
        ),
    )
