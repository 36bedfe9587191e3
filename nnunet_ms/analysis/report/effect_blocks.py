"""The report's blocks of treatment effects: lesion counts, progression by arm, agreement of effects, multiplicity."""

from collections.abc import Sequence

import pandas as pd

from nnunet_ms.analysis import (
    effect_agreement,
    lesion_counts,
    multivariable,
    subgroups,
    t2_volume,
    treatment_effect,
    volume_models,
)
from nnunet_ms.analysis.disability import OUTCOMES
from nnunet_ms.analysis.report.blocks import (
    Block,
    Line,
    Numbers,
    TextTable,
    conventions_note,
    minus,
    number,
    rater_table,
    truth_cell,
)
from nnunet_ms.analysis.report.t1_block import t1_volume_block
from nnunet_ms.analysis.tidy import contrast_text, select, week_text
from nnunet_ms.analysis.trial_data import TrialData
from nnunet_ms.tables import REFERENCE

AGREEMENT_LABELS = {
    "t2_volume_separation": "T2 volume, separation",
    "t2_volume_ancova": "T2 volume, ANCOVA difference",
    **{e.name: e.title for e in lesion_counts.ENDPOINTS},
}


def effect_blocks(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> list[Block]:
    """Return the blocks for which there are rows."""
    there = set(endpoints["endpoint"])
    blocks = [_count_block(trial, endpoints, e, figures) for e in lesion_counts.ENDPOINTS if e.name in there]
    if trial.assessments is not None:
        blocks += [_arm_block(trial, endpoints, outcome, figures) for outcome in trial.settings.outcomes]
    blocks += t1_volume_block(trial, endpoints)
    if effect_agreement.ENDPOINT in there:
        blocks.append(_agreement_block(endpoints, figures))
    if "multiplicity" in there:
        blocks.append(_multiplicity_block(trial, endpoints))
    return blocks


def _count_block(
    trial: TrialData, endpoints: pd.DataFrame, endpoint: lesion_counts.CountEndpoint, figures: Sequence[str]
) -> Block:
    by_visit = Numbers(endpoints, endpoint=endpoint.name, analysis=lesion_counts.BY_VISIT)
    model = Numbers(endpoints, endpoint=endpoint.name, analysis=lesion_counts.NEGATIVE_BINOMIAL)
    visits = [week_text(w) for w in trial.settings.weeks] + [lesion_counts.ALL_VISITS]
    parts = {_visit_title(visit): _count_lines(trial, by_visit, visit) for visit in visits}
    beside = [Numbers(endpoints, endpoint=endpoint.name, analysis=a) for a in _BESIDE]
    return Block(
        endpoint.name,
        endpoint.title,
        f"How many {endpoint.phrase} appear under {' or '.join(trial.settings.compared_arms)} for each one "
        f"under {trial.settings.reference_arm}?",
        "Follow-up visits that every rater read; the same visits for every rater.",
        [
            rater_table(trial, f"{endpoint.name}_by_visit", "Lesions by arm and visit", "lesions / visits", parts),
            rater_table(
                trial, f"{endpoint.name}_model", "Rate ratio", "estimate (95 % CI)",
                _model_parts(trial, endpoint.name, model, beside),
            ),
        ],
        [stem for stem in figures if stem == f"{endpoint.name}_by_visit"],
        [*by_visit.methods(), *model.methods(), *(m for b in beside for m in b.methods()), conventions_note(trial)],
    )  # fmt: skip


_BESIDE = (lesion_counts.POISSON, lesion_counts.WILCOXON)


def over(contrast: str) -> str:
    """Return the name of a ratio: "active / placebo"."""
    return contrast.replace(" - ", " / ")


def sensitivity_table(trial: TrialData, endpoints: pd.DataFrame) -> TextTable:
    """Return the models beside the ANCOVA of T2 volume: MMRM at each visit, ranked ANCOVA."""
    mmrm = Numbers(endpoints, endpoint=t2_volume.ENDPOINT, analysis=volume_models.MMRM)
    ranked = Numbers(endpoints, endpoint=t2_volume.ENDPOINT, analysis=volume_models.RANKED)
    parts: dict[str, list[Line]] = {}
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        lines = []
        for week in (week_text(w) for w in trial.settings.weeks):
            cells = []
            for rater in trial.raters:
                keys = {"rater": rater, "contrast": contrast, "visit": week}
                cells.append(f"{mmrm.with_limits('geometric_mean_ratio', 3, 1.0, **keys)}; {mmrm.p(**keys)}")
            lines.append(Line(f"week {week}", cells))
        parts[f"MMRM, ratio of geometric means, {over(contrast)}"] = lines
        p = [ranked.p(rater=r, contrast=contrast) for r in trial.raters]
        parts[f"Ranked ANCOVA, last observation carried forward, {over(contrast)}"] = [Line("p", p)]
    return rater_table(trial, "t2_volume_sensitivity", "Beside the main analysis", "estimate (95 % CI); p", parts)


def sensitivity_notes(endpoints: pd.DataFrame) -> list[str]:
    """Return the methods of those models."""
    rows = select(endpoints, endpoint=t2_volume.ENDPOINT)
    return [m for a in (volume_models.MMRM, volume_models.RANKED) for m in Numbers(rows, analysis=a).methods()]


def _visit_title(visit: str) -> str:
    return "All follow-up visits" if visit == lesion_counts.ALL_VISITS else f"Week {visit}"


def _count_lines(trial: TrialData, numbers: Numbers, visit: str) -> list[Line]:
    lines = []
    for arm in trial.settings.arms:
        cells = []
        for rater in trial.raters:
            keys = {"rater": rater, "arm": arm, "visit": visit}
            lesions, scans = numbers.get("lesions", **keys), numbers.get("visits", **keys)
            cells.append(f"{number(lesions, 0)} / {number(scans, 0)} ({number(numbers.get('mean', **keys), 2)})")
        lines.append(Line(f"{arm} (mean)", cells))
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        cells = [
            numbers.with_limits("percent_reduction", rater=r, contrast=contrast, visit=visit) for r in trial.raters
        ]
        lines.append(Line(f"percent reduction, {minus(contrast)}", cells))
    return lines


def _model_parts(trial: TrialData, endpoint: str, model: Numbers, beside: Sequence[Numbers]) -> dict[str, list[Line]]:
    raters, lines = trial.raters, []
    keys = {"endpoint": endpoint, "analysis": lesion_counts.NEGATIVE_BINOMIAL, "stat_name": "rate_ratio"}
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        truth = truth_cell(trial, {**keys, "contrast": contrast, "term": "arm"}, 2) or truth_cell(
            trial, {**keys, "contrast": contrast}, 2
        )
        cells = [model.with_limits("rate_ratio", 2, rater=r, contrast=contrast, term="arm") for r in raters]
        lines.append(Line(f"rate ratio, {over(contrast)}", cells, truth))
        for label, numbers in (("p", model), ("p, exact Poisson", beside[0]), ("p, Wilcoxon", beside[1])):
            lines.append(Line(label, [numbers.p(rater=r, contrast=contrast, term="arm") for r in raters]))
    rates = [Line(arm, [model.with_limits("rate", 3, rater=r, arm=arm) for r in raters]) for arm in trial.settings.arms]
    return {"": lines, "Adjusted lesions per scan": rates}


def _arm_block(trial: TrialData, endpoints: pd.DataFrame, outcome: str, figures: Sequence[str]) -> Block:
    rows = select(endpoints, endpoint=outcome)
    km = Numbers(rows, analysis=treatment_effect.KM)
    cox, stratified = (Numbers(rows, analysis=a) for a in (treatment_effect.COX, treatment_effect.COX_STRATIFIED))
    mean = Numbers(rows, analysis=treatment_effect.RMST)
    tables = [
        TextTable(f"{outcome}_by_arm", "By arm", ["", *trial.settings.arms], _arm_lines(trial, km, mean)),
        TextTable(
            f"{outcome}_treatment_effect", "Treatment effect", ["", "estimate (95 % CI)", "p"],
            _effect_lines(trial, outcome, km, (cox, stratified), mean),
        ),
        _subgroup_table(rows, outcome),
    ]  # fmt: skip
    return Block(
        f"{outcome}_by_arm",
        f"{outcome.upper()} by arm",
        f"Does the arm change the risk of {OUTCOMES[outcome].title}?",
        "All patients whose outcome could be derived; no mask is needed.",
        tables + _joint_tables(trial, rows, outcome),
        [s for s in figures if s in (f"km_by_arm_{outcome}", f"forest_{outcome}", f"arm_along_tlv_{outcome}")],
        [*km.methods(), *cox.methods(), *stratified.methods(), *mean.methods(), conventions_note(trial)],
    )


def _arm_lines(trial: TrialData, km: Numbers, mean: Numbers) -> list[list[str]]:
    arms = trial.settings.arms
    lines = [["patients with event", *(f"{km.get('events', arm=a):.0f} of {km.get('n', arm=a):.0f}" for a in arms)]]
    for week in (week_text(w) for w in trial.settings.weeks):
        cells = [km.with_limits("survival", 1, 100, arm=a, visit=week) for a in arms]
        lines.append([f"free of it at week {week}, %", *cells])
    return [*lines, ["restricted mean time, weeks", *(mean.with_limits("mean_time", 1, arm=a) for a in arms)]]


def _effect_lines(
    trial: TrialData, outcome: str, km: Numbers, models: Sequence[Numbers], mean: Numbers
) -> list[list[str]]:
    lines = []
    keys = {"endpoint": outcome, "analysis": treatment_effect.COX, "stat_name": "hazard_ratio"}
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        for label, model in zip(("hazard ratio", "hazard ratio, stratified"), models, strict=True):
            if len(model.frame):
                cell = model.with_limits("hazard_ratio", 2, contrast=contrast)
                lines.append([f"{label}, {over(contrast)}", cell, model.p(contrast=contrast)])
        truth = truth_cell(trial, {**keys, "contrast": contrast, "term": "arm"}, 2) or truth_cell(
            trial, {**keys, "contrast": contrast}, 2
        )
        if truth:
            lines.append(["simulated truth of the hazard ratio", truth, ""])
        gap = mean.with_limits("difference", 1, contrast=contrast)
        lines.append([f"restricted mean time, weeks, {minus(contrast)}", gap, mean.p(contrast=contrast)])
    for term, label in (
        (treatment_effect.LOGRANK, "log-rank test"),
        (treatment_effect.LOGRANK_STRATIFIED, "stratified log-rank test"),
    ):
        if len(select(km.frame, term=term)):
            lines.append([label, "", km.p(term=term)])
    return lines


def _subgroup_table(rows: pd.DataFrame, outcome: str) -> TextTable:
    numbers = Numbers(rows, analysis=subgroups.ANALYSIS)
    lines = []
    for contrast, term in numbers.frame[["contrast", "term"]].drop_duplicates().itertuples(index=False):
        keys = {"contrast": contrast, "term": term}
        if term.endswith(": interaction"):
            lines.append([term, "", "", numbers.p(**keys)])
            continue
        count = f"{number(numbers.get('events', **keys), 0)} / {number(numbers.get('n', **keys), 0)}"
        lines.append([term, count, numbers.with_limits("hazard_ratio", 2, **keys), numbers.p(**keys)])
    return TextTable(
        f"{outcome}_subgroups",
        "Subgroups: hazard ratio of arm",
        ["", "events / patients", "estimate (95 % CI)", "p"],
        lines,
    )


def _joint_tables(trial: TrialData, rows: pd.DataFrame, outcome: str) -> list[TextTable]:
    joint = Numbers(rows, analysis=multivariable.MULTIVARIABLE)
    zph, along = Numbers(rows, analysis=multivariable.ZPH), Numbers(rows, analysis=multivariable.ALONG)
    count = Numbers(rows, analysis=multivariable.COUNT)
    raters = trial.raters
    lines = []
    for term, contrast in joint.frame[["term", "contrast"]].drop_duplicates().itertuples(index=False):
        if term == "model":
            continue
        keys = {"term": term, "contrast": contrast}
        cells = [f"{joint.with_limits('hazard_ratio', 2, rater=r, **keys)}; {joint.p(rater=r, **keys)}" for r in raters]
        lines.append(Line(f"{term}, {over(contrast)}" if contrast else term, cells))
    univariable = [
        Line("lesion count alone, per lesion", [count.with_limits("hazard_ratio", 3, rater=r) for r in raters])
    ]
    hazards = [Line(f"proportional hazards, {t}", [zph.p(rater=r, term=t) for r in raters])
               for t in zph.frame["term"].drop_duplicates()]  # fmt: skip
    percentiles = []
    for term, contrast in along.frame[["term", "contrast"]].drop_duplicates().itertuples(index=False):
        if not contrast:
            continue
        keys = {"term": term, "contrast": contrast}
        ratios = [along.with_limits("hazard_ratio", 2, rater=r, **keys) for r in raters]
        volumes = [number(along.get("tlv", rater=r, term=term, contrast=""), 1) for r in raters]
        cells = [f"{ratio} at {volume} ml" for ratio, volume in zip(ratios, volumes, strict=True)]
        percentiles.append(Line(f"{term.removeprefix('p')}th percentile of TLV, {over(contrast)}", cells))
    parts = {"": univariable, "Multivariable": lines, "Effect of arm along TLV": percentiles, "cox.zph": hazards}
    return [rater_table(trial, f"{outcome}_multivariable", "Baseline lesions and arm", "hazard ratio (95 % CI)", parts)]


def _agreement_block(endpoints: pd.DataFrame, figures: Sequence[str]) -> Block:
    rows = select(endpoints, endpoint=effect_agreement.ENDPOINT)
    lines = []
    keys = ["rater", "analysis", "contrast", "visit", "term"]
    for found in rows[keys].drop_duplicates().to_dict("records"):
        numbers = Numbers(rows, **found)
        label = AGREEMENT_LABELS.get(found["analysis"], f"{found['analysis'].upper()}, log hazard ratio of log TLV")
        where = f", week {found['visit']}" if found["visit"] not in ("", lesion_counts.ALL_VISITS) else ""
        effects = [number(numbers.get(name), 3) for name in ("effect_reference", "effect_rater")]
        lines.append([f"{found['rater']}: {label}{where}", *effects, numbers.with_limits("difference", 3)])
    table = TextTable(
        "effect_agreement", "The same effect from both raters' masks",
        ["effect", REFERENCE, "model", "difference (95 % CI)"], lines,
    )  # fmt: skip
    return Block(
        effect_agreement.ENDPOINT,
        "Agreement of treatment effects",
        "Would the trial have found the same effect with the model's masks as with the reference's?",
        "Patients with both raters' masks.",
        [table],
        [s for s in figures if s == effect_agreement.ENDPOINT],
        [*Numbers(rows).methods()[:1], "Counts: logarithm of the ratio of lesions per scan. Cox: per unit of log TLV."],
    )


def _multiplicity_block(trial: TrialData, endpoints: pd.DataFrame) -> Block:
    numbers = Numbers(endpoints, endpoint="multiplicity")
    holm = trial.settings.analysis.holm
    lines = []
    for term in numbers.frame["term"].drop_duplicates():
        tested, rejected = (numbers.get(name, term=term) for name in ("tested", "rejected"))
        decision = "rejected" if rejected else "not rejected" if tested else "not tested"
        lines.append([term, numbers.p(term=term), *([number(numbers.get("p_holm", term=term), 4)] * holm), decision])
    head = ["endpoint", "p", *["Holm's p"] * holm, "null hypothesis"]
    return Block(
        "multiplicity", "Order of tests", "Which effects hold when several endpoints are tested in order?",
        "As in each endpoint's block.", [TextTable("multiplicity", "Fixed sequence", head, lines)],
        notes=[f"Each at two-sided alpha {trial.settings.analysis.alpha:g}, until one is not rejected."],
    )  # fmt: skip
