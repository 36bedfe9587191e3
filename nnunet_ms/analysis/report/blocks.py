"""The report's blocks: for each endpoint a question, a population, tables of text made from tidy numbers, notes.

Rounding happens here and nowhere before. A table's columns are the raters, then the simulated truth, then published
numbers, the last two only where there are any.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis import disposition, progression, t2_volume
from nnunet_ms.analysis.disability import OUTCOMES, TIMED_INCREASE_PERCENT, Outcome, ProgressionRule
from nnunet_ms.analysis.figures import p_text
from nnunet_ms.analysis.published import PUBLISHED, SOURCE
from nnunet_ms.analysis.tidy import contrast_text, reason_of, select, value_of, week_text
from nnunet_ms.analysis.trial_data import TrialData

MINUS = "\N{MINUS SIGN}"
METRICS = {
    "ppv": "PPV",
    "tpr": "TPR",
    "dice": "Dice",
    "r_vol": "r volume",
    "lppv": "LPPV",
    "ltpr": "LTPR",
    "lfpr": "LFPR",
    "r_count": "r count",
}


@dataclass(frozen=True)
class TextTable:
    """A table as shown: `lines` are rows of text under `head`; a row with one cell is a heading within the table."""

    stem: str
    title: str
    head: list[str]
    lines: list[list[str]]

    def frame(self) -> pd.DataFrame:
        """Return the table with its inner headings as a first column "part", for CSV."""
        part, rows = "", []
        for line in self.lines:
            if len(line) == 1:
                part = line[0]
            else:
                rows.append([part, *line])
        # names of arms and raters come from the data, and a heading must not run as a formula either
        head = [f"'{name}" if name.startswith(("=", "+", "-", "@")) else name for name in self.head]
        return pd.DataFrame(rows, columns=["part", *head])


@dataclass(frozen=True)
class Block:
    """One section of the report. `figures` are file stems of drawings."""

    key: str
    title: str
    estimand: str
    population: str
    tables: list[TextTable]
    figures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Line:
    """One estimate: its label, the cell of each rater, and what stands beside it."""

    label: str
    cells: list[str]
    truth: str = ""
    published: str = ""


def build_blocks(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> list[Block]:
    """Return the blocks of every endpoint that was computed.

    Parameters
    ----------
    trial : TrialData
        Settings, raters and simulated truth.
    endpoints : pandas.DataFrame
        Columns of `tables.ENDPOINTS`.
    figures : sequence of str
        Stems of the drawings there are; each block takes those whose name says its endpoint.
    """
    blocks = [_volume_block(trial, endpoints, figures)]
    if trial.assessments is not None:
        blocks += [_progression_block(trial, endpoints, figures, outcome) for outcome in trial.settings.outcomes]
    if len(select(endpoints, endpoint="agreement")):
        blocks.append(_agreement_block(trial, endpoints, figures))
    blocks.append(_disposition_block(trial, endpoints))
    return [_with_source(block, trial) if _shows_published(block) else block for block in blocks]


def _shows_published(block: Block) -> bool:
    first_cells = [line[0] for table in block.tables for line in table.lines]
    return any("published" in table.head for table in block.tables) or any(
        c.startswith("published") for c in first_cells
    )


def _with_source(block: Block, trial: TrialData) -> Block:
    return replace(block, notes=[*block.notes, published_note(trial)])


def number(value: float, digits: int = 1, signed: bool = False) -> str:
    """Return a rounded number with a true minus sign; a dash for NaN; never "-0.0"."""
    if np.isnan(value):
        return "–"
    rounded = round(value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}".replace("-", MINUS)


def interval(estimate: float, low: float, high: float, digits: int = 1) -> str:
    """Return "estimate (low to high)"; without limits, the estimate alone."""
    if np.isnan(low) and np.isnan(high):
        return number(estimate, digits)
    return f"{number(estimate, digits)} ({number(low, digits)} to {number(high, digits)})"


class Numbers:
    """Looks statistics up with some keys fixed; an absent number says why."""

    def __init__(self, endpoints: pd.DataFrame, **keys: str) -> None:
        self.frame = select(endpoints, **keys)

    def get(self, stat_name: str, **keys: str) -> float:
        """Return the number; NaN where it is absent or blank."""
        return value_of(self.frame, stat_name=stat_name, **keys)

    def with_limits(self, stat_name: str, digits: int = 1, factor: float = 1.0, **keys: str) -> str:
        """Return the number times `factor` with its limits, or why it is blank."""
        values = [factor * self.get(name, **keys) for name in (stat_name, "low", "high")]
        if np.isnan(values[0]):
            return reason_of(self.frame, stat_name=stat_name, **keys) or "–"
        return interval(values[0], values[1], values[2], digits)

    def p(self, **keys: str) -> str:
        """Return a p value as text, or why it is blank."""
        value = self.get("p", **keys)
        return p_text(value) if not np.isnan(value) else reason_of(self.frame, stat_name="p", **keys) or "–"

    def methods(self) -> list[str]:
        """Return the distinct methods, without the reasons of blank numbers."""
        known = self.frame.loc[self.frame["stat"].notna(), "method"]
        return [text[0].upper() + text[1:] + "." for text in dict.fromkeys(known) if text]


def rater_table(trial: TrialData, stem: str, title: str, first: str, parts: dict[str, list[Line]]) -> TextTable:
    """Return a table with one column per rater, then truth and published numbers where a line has them."""
    lines = [line for part in parts.values() for line in part]
    truth, published = any(line.truth for line in lines), any(line.published for line in lines)
    head = [first, *trial.raters, *["simulated truth"] * truth, *["published"] * published]
    rows: list[list[str]] = []
    for name, part in parts.items():
        rows += [[name]] * bool(name)
        rows += [[x.label, *x.cells, *[x.truth or "–"] * truth, *[x.published or "–"] * published] for x in part]
    return TextTable(stem, title, head, rows)


def truth_cell(trial: TrialData, keys: dict[str, str], digits: int = 1, factor: float = 1.0) -> str:
    """Return the simulated truth with exactly these keys, or blank text; keys not named are blank, but for `visit`."""
    if trial.truth is None:
        return ""
    value = value_of(trial.truth, **{"arm": "", "contrast": "", "term": "", **keys})
    return "" if np.isnan(value) else number(factor * value, digits)


def _volume_block(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> Block:
    settings = trial.settings
    by_visit = Numbers(endpoints, endpoint=t2_volume.ENDPOINT, analysis=t2_volume.BY_VISIT)
    model = Numbers(endpoints, endpoint=t2_volume.ENDPOINT, analysis=t2_volume.ANCOVA)
    parts = {f"Week {week_text(w)}": list(_visit_lines(trial, by_visit, week_text(w))) for w in settings.weeks}
    last = week_text(settings.weeks[-1])
    notes = ["A negative separation or difference favours the first-named arm: its lesion volume grew less."]
    notes += [*by_visit.methods(), *model.methods(), conventions_note(trial)]
    return Block(
        t2_volume.ENDPOINT,
        "Change of T2 lesion volume",
        "How much more, or less, does the T2 lesion volume change from baseline under "
        f"{_names(settings.compared_arms)} than under {settings.reference_arm}, at each visit and, "
        f"adjusted, at week {last}?",
        f"Patients with a {t2_volume.POPULATION} at the visit; the same patients for every rater.",
        [
            rater_table(
                trial, "t2_volume_by_visit", "Percent change from baseline, by arm and visit", "mean ± SE (n)", parts
            ),
            rater_table(
                trial, "t2_volume_ancova", f"ANCOVA at week {last}", "estimate (95 % CI)", _ancova_parts(trial, model)
            ),
            _covariate_table(trial, model),
        ],
        [stem for stem in figures if stem.startswith("t2_volume")],
        notes,
    )


def _visit_lines(trial: TrialData, numbers: Numbers, week: str) -> Iterator[Line]:
    settings = trial.settings
    keys = {"endpoint": t2_volume.ENDPOINT, "analysis": t2_volume.BY_VISIT, "visit": week}
    for arm in settings.arms:
        cells = [_mean_cell(numbers, rater=rater, arm=arm, visit=week, contrast="") for rater in trial.raters]
        yield Line(arm, cells, truth_cell(trial, {**keys, "stat_name": "mean", "arm": arm}))
    published = PUBLISHED[settings.preset].separation if settings.preset else {}
    for arm in settings.compared_arms:
        contrast = contrast_text(arm, settings.reference_arm)
        cells = [numbers.with_limits("separation", rater=r, contrast=contrast, visit=week) for r in trial.raters]
        truth = truth_cell(trial, {**keys, "stat_name": "separation", "contrast": contrast})
        beside = str(published[week]) if week in published and len(settings.compared_arms) == 1 else ""
        yield Line(f"separation, {minus(contrast)} (95 % CI)", cells, truth, beside)


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


def _covariate_table(trial: TrialData, numbers: Numbers) -> TextTable:
    terms = select(numbers.frame, stat_name="coefficient")["term"].drop_duplicates()
    lines = []
    for term in terms:
        cells = []
        for rater in trial.raters:
            value, p = numbers.get("coefficient", rater=rater, term=term), numbers.p(rater=rater, term=term)
            cells.append(f"{number(value, 2)}, {p}")
        lines.append(Line(term.replace("_", " "), cells))
    return rater_table(trial, "t2_volume_ancova_covariates", "Covariates of the ANCOVA", "coefficient, p", {"": lines})


def _progression_block(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str], outcome: str) -> Block:
    name, rule = outcome.upper(), trial.settings.rule
    cox = Numbers(endpoints, endpoint=outcome, analysis=progression.COX)
    km = Numbers(endpoints, endpoint=outcome, analysis=progression.KM)
    last = week_text(trial.settings.weeks[-1])
    rule_notes = [_rule_note(rule, OUTCOMES[outcome])] if rule else []
    return Block(
        outcome,
        f"Baseline T2 volume and {name}",
        f"Does the T2 lesion volume at baseline go with the risk of {OUTCOMES[outcome].title}?",
        "Patients with a baseline mask of every rater and a volume above 0 (or set so, see notes); the same patients "
        "for every rater.",
        [
            rater_table(
                trial, f"{outcome}_cox", "Cox regression on log TLV", "estimate (95 % CI)",
                _cox_parts(trial, cox, outcome),
            ),
            rater_table(
                trial, f"{outcome}_km", f"Free of {name} at week {last}, by half of baseline TLV", "% (95 % CI)",
                _km_parts(trial, km, outcome, last),
            ),
        ],
        [stem for stem in figures if f"_{outcome}_" in stem],
        [*rule_notes, *cox.methods(), *km.methods(), conventions_note(trial)],
    )  # fmt: skip


def _rule_note(rule: ProgressionRule, outcome: Outcome) -> str:
    """Say the rule in words, so that nobody has to look a preset up."""
    if outcome.measure == "edss":
        steps = [f"+{step:g} up to a baseline of {highest:g}" for highest, step in rule.edss_steps[:-1]]
        threshold = f"EDSS {', '.join(steps)}, +{rule.edss_steps[-1][1]:g} above"
    else:
        threshold = f"+{TIMED_INCREASE_PERCENT} % or unable"
    confirms = "an assessment" if rule.unscheduled_confirms else "a scheduled assessment"
    end = "an event if treatment was stopped at or after it" if rule.open_progression != "censor" else "censored"
    windows = (rule.relapse_onset_weeks, rule.relapse_confirmation_weeks)
    relapses = (
        f"none starts within {windows[0]:g}, none is confirmed within {windows[1]:g} weeks of a relapse"
        if max(windows) > 0
        else "relapses are not looked at"
    )
    return (
        f"Rule {rule.name}: {threshold}; {confirms} at least {outcome.confirmation_weeks:g} weeks later, and all "
        f"between, must confirm; a progression still open at the end is {end}; {relapses}. TLV: natural log of ml."
    )


def _cox_parts(trial: TrialData, numbers: Numbers, outcome: str) -> dict[str, list[Line]]:
    raters, preset = trial.raters, trial.settings.preset
    keys = {"endpoint": outcome, "analysis": progression.COX, "term": "log_tlv", "stat_name": "hazard_ratio"}
    truth = truth_cell(trial, keys, 2)
    published = str(PUBLISHED[preset].hazard_ratio.get(outcome, "")) if preset else ""
    counts = [f"{numbers.get('events', rater=r):.0f} of {numbers.get('n', rater=r):.0f}" for r in raters]
    ratios = [numbers.with_limits("hazard_ratio", 2, rater=r) for r in raters]
    return {
        "": [
            Line("hazard ratio per unit of log TLV", ratios, truth, published),
            Line("p", [numbers.p(rater=r) for r in raters]),
            Line("patients with event", counts),
        ]
    }


def _km_parts(trial: TrialData, numbers: Numbers, outcome: str, week: str) -> dict[str, list[Line]]:
    raters = trial.raters
    medians = [f"{number(numbers.get('tlv', rater=r, term='median'), 2)}" for r in raters]
    parts = {"": [Line("median TLV of all arms, ml", medians)]}
    keys = {"endpoint": outcome, "analysis": progression.KM, "visit": week, "stat_name": "survival"}
    for arm in trial.settings.arms:
        lines = []
        for term, label in ((progression.LOW, "TLV ≤ median"), (progression.HIGH, "TLV > median")):
            cells = [numbers.with_limits("survival", 1, 100, rater=r, arm=arm, term=term, visit=week) for r in raters]
            lines.append(Line(label, cells, truth_cell(trial, {**keys, "arm": arm, "term": term}, 1, 100)))
        lines.append(Line("log-rank", [numbers.p(rater=r, arm=arm, term=progression.LOGRANK) for r in raters]))
        parts[arm] = lines
    return parts


def _agreement_block(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> Block:
    frame = select(endpoints, endpoint="agreement")
    rows = []
    for (rater, rule), found in frame.groupby(["rater", "analysis"], sort=False):
        metrics = Numbers(found)
        cells = [_agreement_cell(metrics, metric) for metric in METRICS]
        rows.append([f"{rater}, {rule}", *cells])
    preset = trial.settings.preset
    if preset:
        rows.append([f"published, {PUBLISHED[preset].title}", *PUBLISHED[preset].agreement.values()])
    table = TextTable("agreement", "Mean ± SD over visits", ["rater, rule", *METRICS.values()], rows)
    cases = select(frame, term="dice", stat_name="n")["stat"]
    notes = [
        "PPV, TPR, Dice: voxels. LPPV, LTPR, LFPR: lesions. r: correlation of volume and of lesion count over visits.",
        "A rule says which lesions count and when one is found; numbers of different rules do not compare.",
    ]
    undefined = select(frame, stat_name="n_undefined")
    notes += [
        f"{row['rater']}, {row['analysis']}: {METRICS[row['term']]} undefined in {row['stat']:.0f} visits."
        for row in undefined[(undefined["stat"] > 0) & undefined["term"].isin(METRICS)].to_dict("records")
    ]
    population = f"Visits with both masks ({cases.max():.0f})." if len(cases) else "Visits with both masks."
    shown = [stem for stem in figures if stem == "agreement_by_size"]
    question = "How well do the model's masks agree with the reference?"
    return Block("agreement", "Agreement of masks", question, population, [table], shown, notes)


def _agreement_cell(metrics: Numbers, metric: str) -> str:
    mean, sd = metrics.get("mean", term=metric), metrics.get("sd", term=metric)
    if np.isnan(mean):
        return "–"
    return number(mean, 3) if np.isnan(sd) else f"{number(mean, 3)} ± {number(sd, 3)}"


def _disposition_block(trial: TrialData, endpoints: pd.DataFrame) -> Block:
    settings = trial.settings
    counts = Numbers(endpoints, endpoint=disposition.ENDPOINT)
    weeks = [week_text(w) for w in (settings.baseline_week, *settings.weeks)]
    terms = [(t, "") for t in (disposition.IN_TABLE, disposition.WITH_BASELINE)]
    terms += [(disposition.AT_VISIT, week) for week in weeks]
    terms.append((disposition.EXCLUDED, ""))
    lines = []
    for term, week in terms:
        label = f"with masks at week {week}" if week else term
        lines.append([label, *(f"{counts.get('n', arm=arm, term=term, visit=week):.0f}" for arm in settings.arms)])
    table = TextTable("disposition", "Patients by arm", ["patients", *settings.arms], lines)
    return Block(
        "disposition",
        "Patients: who is in, who is not",
        "How many patients of each arm do the numbers above stand on?",
        "All patients of the patient table.",
        [table],
        notes=["A visit counts when every rater has a mask, so that raters are compared on the same patients."],
    )


def published_note(trial: TrialData) -> str:
    """Return where the published column comes from, or blank text."""
    preset = trial.settings.preset
    if not preset:
        return ""
    return (
        f"Columns and rows named “published” repeat what {SOURCE} prints about {PUBLISHED[preset].title}. They were "
        "measured on that trial's own images and patients, not on the data of this report."
    )


def conventions_note(trial: TrialData) -> str:
    """Return the conventions that numbers follow, in words."""
    c = trial.settings.conventions
    return (
        f"Convention “{c.name}”: {c.ties.capitalize()} ties, {c.km_interval} Kaplan-Meier intervals, "
        f"{c.ls_mean_weights} weights of least-squares means; intervals are 95 %, p values two-sided and unadjusted."
    )


def _names(arms: Sequence[str]) -> str:
    return " or ".join(arms)


def minus(contrast: str) -> str:
    """Return a contrast with a true minus sign."""
    return contrast.replace(" - ", f" {MINUS} ")
