"""The block of baseline lesions and one outcome: univariable and multivariable Cox, effect of arm along TLV, halves."""

from collections.abc import Mapping, Sequence

import pandas as pd

from nnunet_ms.analysis.endpoints import progression_by_t2_volume, progression_multivariable
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import is_shown
from nnunet_ms.analysis.endpoints.statistic_rows import select
from nnunet_ms.analysis.report.notes import KM, TIES, convention_note, level, rule_note
from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Block, Line, TextTable, rater_table, truth_cell
from nnunet_ms.analysis.report.wording import number, over, term_text
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import week_text
from nnunet_ms.analysis.trial.published import PUBLISHED, SOURCE
from nnunet_ms.disability.confirmed_progression import OUTCOMES


def lesion_outcome_block(trial: TrialData, endpoints: pd.DataFrame, outcome: str, figures: Sequence[str]) -> Block:
    """Return the block of the association of baseline lesions with one outcome."""
    rows, rule = select(endpoints, endpoint=outcome), trial.settings.rule
    cox, km = Numbers(rows, analysis=progression_by_t2_volume.COX), Numbers(rows, analysis=progression_by_t2_volume.KM)
    count, joint = (
        Numbers(rows, analysis=progression_multivariable.COUNT),
        Numbers(rows, analysis=progression_multivariable.MULTIVARIABLE),
    )
    by_count, count_firth = (
        Numbers(rows, analysis=f"{progression_multivariable.COUNT_MULTIVARIABLE}{end}") for end in ("", "_firth")
    )
    zph, firth = (
        Numbers(rows, analysis=name) for name in (progression_multivariable.ZPH, progression_multivariable.FIRTH)
    )
    shown = is_shown(endpoints, outcome)
    return Block(
        outcome,
        f"Baseline lesions and {outcome.upper()}",
        f"Does the lesion volume or number at baseline go with the risk of {trial.title(outcome)}?",
        "Patients with a baseline mask of every rater and a volume above 0 (or set so, see notes); the same patients "
        "for every rater.",
        [
            rater_table(
                trial, f"{outcome}_cox", "Univariable Cox regression", f"hazard ratio ({level(trial)} CI)",
                _univariable(trial, cox, count, outcome), convention_note(trial, TIES),
            )
        ],
        main=[
            f"{r}: hazard ratio per unit of log TLV {cox.with_limits('hazard_ratio', 2, rater=r)}, {cox.p(rater=r)}"
            for r in trial.raters
        ],
        beside=[
            *([_halves(trial, km, outcome)] if shown else []),
            _multivariable(trial, joint, outcome),
            _penalised(trial, firth, outcome),
            _multivariable_count(trial, by_count, outcome),
            _penalised(trial, count_firth, outcome, " with the lesion count"),
            _along(trial, Numbers(rows, analysis=progression_multivariable.ALONG), outcome),
            _proportional(trial, zph, outcome),
        ],
        figures=[s for s in figures if s in (f"arm_along_tlv_{outcome}", f"km_{outcome}_at_median_tlv")],
        notes=[
            _shown_note(trial, cox, shown),
            *([rule_note(rule, OUTCOMES[outcome])] if rule and trial.settings.outcome_source == "derive" else []),
            *(text for numbers in (cox, joint, firth, by_count, zph) for text in numbers.methods()),
            *([m for m in km.methods() if not m.startswith("Halves")] if shown else []),
        ],
    )  # fmt: skip


def _shown_note(trial: TrialData, cox: Numbers, shown: bool) -> str:
    p = ", ".join(f"{cox.p(rater=r)} ({r})" for r in trial.raters)
    rule = (
        f"Kaplan-Meier curves and log-rank tests of the halves at the cohort's median TLV are {'' if shown else 'not '}"
    )
    return (
        f"{rule}shown: the univariable p of {'a' if shown else 'no'} rater is below "
        f"{progression_by_t2_volume.SHOWN_BELOW:g}: {p}." + ("" if shown else " Their numbers are in endpoints.csv.")
    )


def _univariable(trial: TrialData, cox: Numbers, count: Numbers, outcome: str) -> dict[str, list[Line]]:
    raters, preset = trial.raters, trial.settings.preset
    keys = {
        "endpoint": outcome,
        "analysis": progression_by_t2_volume.COX,
        "term": "log_tlv",
        "stat_name": "hazard_ratio",
    }
    printed = PUBLISHED[preset] if preset else None
    volume = str(printed.hazard_ratio.get(outcome, "")) if printed else ""
    number_of = printed.count_hazard_ratio.get(outcome, "") if printed else ""
    counts = [f"{cox.get('events', rater=r):.0f} of {cox.get('n', rater=r):.0f}" for r in raters]
    ratios = [cox.with_limits("hazard_ratio", 2, rater=r) for r in raters]
    return {
        "": [
            Line("per unit of log TLV", ratios, truth_cell(trial, keys, 2), volume),
            Line("p", [cox.p(rater=r) for r in raters]),
            Line("per lesion", [count.with_limits("hazard_ratio", 3, rater=r) for r in raters], "", number_of),
            Line("p", [count.p(rater=r) for r in raters]),
            Line("patients with event", counts),
        ]
    }


def _halves(trial: TrialData, numbers: Numbers, outcome: str) -> TextTable:
    raters, week = trial.raters, week_text(trial.settings.weeks[-1])
    medians = [f"{number(numbers.get('tlv', rater=r, term='median'), 2)}" for r in raters]
    parts = {"": [Line("median TLV of all arms, ml", medians)]}
    keys = {"endpoint": outcome, "analysis": progression_by_t2_volume.KM, "visit": week, "stat_name": "survival"}
    for arm in trial.settings.arms:
        lines = []
        for term, label in (
            (progression_by_t2_volume.LOW, "TLV ≤ median"),
            (progression_by_t2_volume.HIGH, "TLV > median"),
        ):
            cells = [numbers.with_limits("survival", 1, 100, rater=r, arm=arm, term=term, visit=week) for r in raters]
            lines.append(Line(label, cells, truth_cell(trial, {**keys, "arm": arm, "term": term}, 1, 100)))
        lines.append(
            Line("log-rank", [numbers.p(rater=r, arm=arm, term=progression_by_t2_volume.LOGRANK) for r in raters])
        )
        parts[arm] = lines
    title = f"Free of {outcome.upper()} at week {week}, by half of baseline TLV"
    return rater_table(trial, f"{outcome}_km", title, f"% ({level(trial)} CI)", parts, convention_note(trial, KM))


def _multivariable(trial: TrialData, joint: Numbers, outcome: str) -> TextTable:
    preset = trial.settings.preset
    single = len(trial.settings.compared_arms) == 1
    printed = PUBLISHED[preset].multivariable.get(outcome, {}) if preset and single else {}
    note = f"The ratio of arm is at a TLV of 1 ml, where log TLV is 0. {convention_note(trial, TIES)}"
    lines = _term_lines(
        trial, joint, {"endpoint": outcome, "analysis": progression_multivariable.MULTIVARIABLE}, printed
    )
    title = "Multivariable Cox regression"
    return rater_table(trial, f"{outcome}_multivariable", title, _ratio_head(trial), {"": lines}, note)


def _multivariable_count(trial: TrialData, joint: Numbers, outcome: str) -> TextTable:
    """The same model with the lesion count in the place of log TLV, of which the paper prints no number."""
    note = (
        f"The ratio of arm is at no lesion. {SOURCE} states that the count is not significant in the multivariable "
        f"model and prints no number of it. {convention_note(trial, TIES)}"
    )
    place = {"endpoint": outcome, "analysis": progression_multivariable.COUNT_MULTIVARIABLE}
    lines = _term_lines(trial, joint, place, {}, 3)
    title = "Multivariable Cox regression with the lesion count"
    return rater_table(trial, f"{outcome}_multivariable_count", title, _ratio_head(trial), {"": lines}, note)


def _ratio_head(trial: TrialData) -> str:
    return f"hazard ratio ({level(trial)} CI); p"


def _term_lines(
    trial: TrialData, joint: Numbers, place: Mapping[str, str], printed: Mapping[str, str], digits: int = 2
) -> list[Line]:
    """One line per term, its truth and what the paper prints beside it, then the concordance; none without a term."""
    lines = []
    for term, contrast in joint.frame[["term", "contrast"]].drop_duplicates().itertuples(index=False):
        if term == "model":
            continue
        keys = {"term": term, "contrast": contrast}
        cells = [_with_p(joint, rater, keys, digits if "count" in term else 2) for rater in trial.raters]
        label = f"{term_text(term)}, {over(contrast)}" if contrast else term_text(term)
        truth = truth_cell(trial, {**place, "stat_name": "hazard_ratio", **keys}, 2)
        lines.append(Line(label, cells, truth, printed.get(term, "")))
    if lines:
        concordance = [number(joint.get("concordance", rater=r, term="model"), 3) for r in trial.raters]
        lines.append(Line("concordance", concordance))
    return lines


def _penalised(trial: TrialData, firth: Numbers, outcome: str, of_what: str = "") -> TextTable:
    """The same model where the plain one has no maximum; no line, and so no table, where it has one."""
    lines = []
    for term, contrast in firth.frame[["term", "contrast"]].drop_duplicates().itertuples(index=False):
        cells = [_with_p(firth, rater, {"term": term, "contrast": contrast}) for rater in trial.raters]
        lines.append(Line(f"{term_text(term)}, {over(contrast)}" if contrast else term_text(term), cells))
    return rater_table(
        trial,
        f"{outcome}_multivariable{'_count' if of_what else ''}_firth",
        f"Multivariable Cox regression{of_what}, Firth's penalised likelihood",
        f"hazard ratio ({level(trial)} profile CI); p",
        {"": lines},
        f"Where the plain likelihood has no maximum, such as an arm without an event. {convention_note(trial, TIES)}",
    )


def _with_p(numbers: Numbers, rater: str, keys: dict[str, str], digits: int = 2) -> str:
    ratio, p = numbers.with_limits("hazard_ratio", digits, rater=rater, **keys), numbers.p(rater=rater, **keys)
    return ratio if ratio == p else f"{ratio}; {p}"


def _along(trial: TrialData, along: Numbers, outcome: str) -> TextTable:
    lines = []
    for term, contrast in along.frame[["term", "contrast"]].drop_duplicates().itertuples(index=False):
        if not contrast:
            continue
        keys = {"term": term, "contrast": contrast}
        ratios = [along.with_limits("hazard_ratio", 2, rater=r, **keys) for r in trial.raters]
        volumes = [number(along.get("tlv", rater=r, term=term, contrast=""), 1) for r in trial.raters]
        cells = [
            ratio if ratio.startswith("not") else f"{ratio} at {volume} ml"
            for ratio, volume in zip(ratios, volumes, strict=True)
        ]
        lines.append(Line(f"{term.removeprefix('p')}th percentile, {over(contrast)}", cells))
    return rater_table(
        trial, f"{outcome}_along_tlv", "Effect of arm along baseline TLV", f"hazard ratio ({level(trial)} CI)",
        {"": lines}, convention_note(trial, TIES),
    )  # fmt: skip


def _proportional(trial: TrialData, zph: Numbers, outcome: str) -> TextTable:
    lines = [
        Line(term_text(term), [zph.p(rater=r, term=term) for r in trial.raters])
        for term in zph.frame["term"].drop_duplicates()
    ]
    title = "Proportional hazards of the multivariable model"
    note = "Score test as R's cox.zph, Kaplan-Meier scale of time; a small p speaks against proportional hazards."
    return rater_table(trial, f"{outcome}_proportional_hazards", title, "p", {"": lines}, note)
