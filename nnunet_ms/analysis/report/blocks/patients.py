"""Blocks of the patients: flow and visit completeness, and the baseline table."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints import baseline_table, disposition
from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Block, Line, TextTable, column_table
from nnunet_ms.analysis.report.wording import number, over, term_text
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.analysis.trial.published import PUBLISHED
from nnunet_ms.tables import REFERENCE

INDENT = "\N{EN SPACE}"
TITLES = {
    baseline_table.VOLUME: "T2 lesion volume (ml)",
    baseline_table.COUNT: "T2 lesions",
    baseline_table.ENHANCING: "enhancing lesions",
}


def disposition_block(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> Block:
    """Return the flow of patients and the completeness of visits."""
    settings = trial.settings
    counts = Numbers(endpoints, endpoint=disposition.ENDPOINT)
    terms = [
        disposition.IN_TABLE, disposition.NO_MASK, disposition.NO_BASELINE, disposition.WITH_BASELINE,
        disposition.ASSESSED, disposition.DISCONTINUED,
    ]  # fmt: skip
    known = set(counts.frame["term"])
    reasons = [term for term in counts.frame["term"].drop_duplicates() if term.startswith(disposition.REASON)]
    shown = {term: term for term in terms if term in known}
    shown |= {term: INDENT + term.removeprefix(disposition.REASON) for term in reasons}
    lines = [[text, *(number(counts.get("n", arm=a, term=t), 0) for a in settings.arms)] for t, text in shown.items()]
    tables = [TextTable("disposition", "Patients by arm", ["patients", *heads(trial, counts)], lines)]
    note = "A visit counts when every rater has a mask, so that raters are compared on the same patients."
    if trial.has_volumes:
        tables.append(_visit_table(trial, counts))
    elif trial.has_lesions:
        note = "The lesion table counts what changed between visits: there are no volumes of lesions, and no T2 volume."
    else:
        note = "The settings name no lesion table: clinical endpoints alone."
    return Block(
        disposition.ENDPOINT,
        "Patients: who is in, who is not",
        "How many patients of each arm do the numbers of this report stand on?",
        "All patients of the patient table.",
        tables,
        figures=[stem for stem in figures if stem in ("patient_flow", "visit_completeness")],
        notes=[note],
    )


def heads(trial: TrialData, counts: Numbers) -> list[str]:
    """Arms with their number of patients, as heads of columns."""
    sizes = [counts.get("n", arm=arm, term=disposition.IN_TABLE) for arm in trial.settings.arms]
    return [f"{arm} (N={number(n, 0)})" for arm, n in zip(trial.settings.arms, sizes, strict=True)]


def _visit_table(trial: TrialData, counts: Numbers) -> TextTable:
    settings = trial.settings
    weeks = [week_text(w) for w in (settings.baseline_week, *settings.weeks)]
    visits = [[f"week {w}", *_there(counts, settings.arms, disposition.AT_VISIT, w)] for w in weeks]
    visits.append(["every visit", *_there(counts, settings.arms, disposition.EVERY_VISIT, "")])
    return TextTable(
        "visit_completeness", "Visits with masks of every rater", ["n (%)", *heads(trial, counts)], visits,
        "Percent of patients with baseline masks.",
    )  # fmt: skip


def _there(counts: Numbers, arms: Sequence[str], term: str, week: str) -> Iterator[str]:
    for arm in arms:
        n, share = (counts.get(name, arm=arm, term=term, visit=week) for name in ("n", "percent"))
        yield f"{number(n, 0)} ({number(share)})"


def baseline_block(trial: TrialData, endpoints: pd.DataFrame) -> Block:
    """Return the baseline table: numbers as mean (SD), median (quartiles); factors as n (%)."""
    settings = trial.settings
    numbers = Numbers(endpoints, endpoint=baseline_table.ENDPOINT)
    raters = [r for r in ("", *trial.raters) if len(numbers.frame[numbers.frame["rater"] == r])]
    parts = {r and f"Lesions by {r}": _rater_lines(trial, Numbers(numbers.frame, rater=r)) for r in raters}
    published = PUBLISHED[settings.preset].baseline.get("patients", "") if settings.preset else ""
    flow = Numbers(endpoints, endpoint=disposition.ENDPOINT)
    sizes = [flow.get("n", arm=arm, term=disposition.IN_TABLE) for arm in settings.arms]
    counts = [number(n, 0) for n in (*sizes, sum(sizes))]
    patients = Line("patients", [*counts, *["" for _ in settings.compared_arms]], "", published)
    parts[""] = [patients, *parts[""]]
    gaps = [f"std. difference, {over(contrast_text(a, settings.reference_arm))}" for a in settings.compared_arms]
    note = "Numbers: mean (SD), median (quartiles), range. Factors: n (%)."
    table = column_table(
        "baseline", "Baseline by arm", ["", *heads(trial, flow), f"all (N={number(sum(sizes), 0)})", *gaps], parts, note
    )
    return Block(
        baseline_table.ENDPOINT,
        "Baseline characteristics",
        "Who was randomised, and how alike are the arms?",
        "All patients of the patient table; lesions: patients with a baseline mask of every rater.",
        [table],
        notes=[
            "Standardised difference: numbers, difference of means over the pooled SD (Austin 2009); factors, distance "
            "of the proportions over their pooled SD, without sign (Yang and Dalton 2012). Above 0.1 is often called "
            "notable.",
            "No p values: after randomisation every difference between arms is chance.",
        ],
    )


def _rater_lines(trial: TrialData, numbers: Numbers) -> list[Line]:
    lines: list[Line] = []
    terms = list(numbers.frame["term"].drop_duplicates())
    factors = [t for t in terms if ": " not in t and f"{t}: " in " ".join(terms)]
    for term in terms:
        name = term.split(": ")[0]
        if term in factors:
            continue
        if ": " not in term:
            lines += _number_lines(trial, numbers, term)
        else:
            first = not any(line.label.startswith(f"{_title(name)}: ") for line in lines)
            lines.append(_level_line(trial, numbers, term, name if first else ""))
    return lines


def _title(term: str) -> str:
    return TITLES.get(term, term_text(term))


def _number_lines(trial: TrialData, numbers: Numbers, term: str) -> Iterator[Line]:
    arms = (*trial.settings.arms, "")
    get = {a: {s: numbers.get(s, arm=a, term=term, contrast="") for s in _SUMMARY} for a in arms}
    preset = trial.settings.preset
    of_model = numbers.frame["rater"].iloc[0] not in ("", REFERENCE)
    published = PUBLISHED[preset].baseline.get(term, "") if preset and not of_model else ""
    digits = 0 if term == baseline_table.COUNT else 1
    means = [f"{number(v['mean'])} ({number(v['sd'])})" for v in get.values()]
    medians = [
        f"{number(v['median'], digits)} ({number(v['q1'], digits)} to {number(v['q3'], digits)})" for v in get.values()
    ]
    ranges = [f"{number(v['min'], digits)} to {number(v['max'], digits)}" for v in get.values()]
    blank = ["" for _ in trial.settings.compared_arms]
    yield Line(f"{_title(term)}, mean (SD)", [*means, *_gaps(trial, numbers, term)], "", published)
    yield Line(f"{INDENT}median (quartiles)", [*medians, *blank])
    yield Line(f"{INDENT}range", [*ranges, *blank])


_SUMMARY = ("mean", "sd", "min", "q1", "median", "q3", "max")


def _level_line(trial: TrialData, numbers: Numbers, term: str, name: str) -> Line:
    """The standardised difference of a factor (`name`) stands beside its first level."""
    cells = []
    for arm in (*trial.settings.arms, ""):
        n, share = (numbers.get(s, arm=arm, term=term) for s in ("n", "percent"))
        cells.append(f"{number(n, 0)} ({number(share)})")
    gaps = _gaps(trial, numbers, name) if name else ["" for _ in trial.settings.compared_arms]
    factor, level = term.split(": ", 1)
    return Line(f"{_title(factor)}: {term_text(level)}", [*cells, *gaps])


def _gaps(trial: TrialData, numbers: Numbers, term: str) -> list[str]:
    cells = []
    for arm in trial.settings.compared_arms:
        keys = {"term": term, "contrast": contrast_text(arm, trial.settings.reference_arm)}
        value = numbers.get(baseline_table.STANDARDISED, **keys)
        cells.append("not estimable" if np.isnan(value) else number(value, 2))
    return cells
