"""The table of a time to event with the rows that study reports have (the TTET01 of pharmaverse's templates)."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints import follow_up, progression_by_arm
from nnunet_ms.analysis.endpoints.statistic_rows import select
from nnunet_ms.analysis.report.notes import KM, convention_note, level
from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import TextTable
from nnunet_ms.analysis.report.wording import number
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text, week_text

NE = "NE"
Row = list[str]


def time_to_event_table(trial: TrialData, rows: pd.DataFrame, outcome: str) -> TextTable:
    """Return the table of one outcome: arms in columns, each compared arm with its numbers against the reference.

    Parameters
    ----------
    trial : TrialData
        Arms, visits and conventions.
    rows : pandas.DataFrame
        Columns of `tables.ENDPOINTS`, of this outcome.
    outcome : str
        Its name.
    """
    by_arm = Numbers(rows, analysis=progression_by_arm.KM)
    heads = [f"{arm} (N={by_arm.get('n', arm=arm):.0f})" for arm in trial.settings.arms]
    lines = [
        *_patients(trial, rows, by_arm),
        *_times(trial, rows),
        *_tests(trial, rows, by_arm, stratified=False),
        *(_tests(trial, rows, by_arm, stratified=True) if trial.settings.analysis.strata else ()),
        *_landmarks(trial, rows, by_arm),
    ]
    note = (
        f"{convention_note(trial, KM)} + censored. {NE}: not estimable. Comparisons are with "
        f"{trial.settings.reference_arm}; intervals are of {level(trial)}."
    )
    return TextTable(f"{outcome}_by_arm", f"Time to event: {trial.title(outcome)}", ["", *heads], lines, note)


def _patients(trial: TrialData, rows: pd.DataFrame, by_arm: Numbers) -> Iterator[Row]:
    arms, after = trial.settings.arms, Numbers(rows, analysis=follow_up.ANALYSIS)
    sizes = [by_arm.get("n", arm=arm) for arm in arms]
    events = [by_arm.get("events", arm=arm) for arm in arms]
    yield ["patients with event, n (%)", *map(_share, events, sizes)]
    for term in select(after.frame, stat_name="events")["term"].drop_duplicates():
        counts = [after.get("events", arm=arm, term=term) for arm in arms]
        yield [f"earliest contributing event: {term.removeprefix('first: ')}", *(number(n, 0) for n in counts)]
    yield [
        "patients without event, n (%)",
        *map(_share, (after.get("without_event", arm=arm) for arm in arms), sizes),
    ]


def _share(count: float, size: float) -> str:
    return f"{count:.0f} ({100 * count / size:.1f})" if size > 0 and np.isfinite(count) else "–"


def _times(trial: TrialData, rows: pd.DataFrame) -> Iterator[Row]:
    arms, quartiles = trial.settings.arms, Numbers(rows, analysis=progression_by_arm.QUARTILES)
    mean, after = (Numbers(rows, analysis=name) for name in (progression_by_arm.RMST, follow_up.ANALYSIS))
    yield ["Time to event (weeks)"]
    for term in progression_by_arm.SHARES:
        name = f"median ({level(trial)} CI)" if term.startswith("50 ") else f"{term} by ({level(trial)} CI)"
        yield [name, *(quartile(quartiles, term, arm) for arm in arms)]
    yield ["range", *(_range(after, arm) for arm in arms)]
    yield [f"restricted mean ({level(trial)} CI)", *(mean.with_limits("mean_time", 1, arm=arm) for arm in arms)]


def quartile(quartiles: Numbers, term: str, arm: str) -> str:
    """A time with its limits; one that the curve, or a limit, does not reach is NE, as tables of trials print it."""
    values = [quartiles.get(name, term=term, arm=arm) for name in ("time", "low", "high")]
    texts = [number(value) if np.isfinite(value) else NE for value in values]
    return NE if texts == [NE] * 3 else f"{texts[0]} ({texts[1]} to {texts[2]})"


def _range(after: Numbers, arm: str) -> str:
    ends = [
        f"{number(after.get(name, arm=arm))}{'+' if after.get(f'{name}_censored', arm=arm) == 1 else ''}"
        for name in ("shortest", "longest")
    ]
    return " to ".join(ends)


def _tests(trial: TrialData, rows: pd.DataFrame, by_arm: Numbers, *, stratified: bool) -> Iterator[Row]:
    strata = ", ".join(trial.settings.analysis.strata)
    analysis = progression_by_arm.COX_STRATIFIED if stratified else progression_by_arm.COX
    term = progression_by_arm.LOGRANK_STRATIFIED if stratified else progression_by_arm.LOGRANK
    model = Numbers(rows, analysis=analysis)
    yield [f"Stratified analysis ({strata})" if stratified else "Unstratified analysis"]
    cells: dict[str, Row] = {"hazard ratio": [], f"{level(trial)} CI": [], "p (Wald)": [], "p (log-rank)": []}
    for arm in trial.settings.compared_arms:
        contrast = contrast_text(arm, trial.settings.reference_arm)
        ratio = model.with_limits("hazard_ratio", 2, contrast=contrast)
        estimate, _, limits = ratio.partition(" (") if ratio[:1].isdigit() else (ratio, "", "")
        tested = by_arm.p(term=term, contrast=progression_by_arm.logrank_contrast(trial, arm))
        row = (estimate, f"({limits}" if limits else "–", model.p(contrast=contrast), tested)
        for cell, text in zip(cells.values(), row, strict=True):
            cell.append(text)
    yield from ([name, "", *texts] for name, texts in cells.items())


def _landmarks(trial: TrialData, rows: pd.DataFrame, by_arm: Numbers) -> Iterator[Row]:
    settings, gaps = trial.settings, Numbers(rows, analysis=progression_by_arm.LANDMARK)
    contrasts = [contrast_text(arm, settings.reference_arm) for arm in settings.compared_arms]
    for week in (week_text(week) for week in settings.weeks if week > 0):
        yield [f"Week {week}"]
        at_risk = [by_arm.get("n_risk", arm=arm, visit=week) for arm in settings.arms]
        yield ["patients remaining at risk", *(number(n, 0) for n in at_risk)]
        rates = [by_arm.with_limits("survival", 1, 100, arm=arm, visit=week) for arm in settings.arms]
        yield [f"event-free rate, % ({level(trial)} CI)", *rates]
        found = [gaps.with_limits("difference", 1, 100, contrast=contrast, visit=week) for contrast in contrasts]
        yield [f"difference, % points ({level(trial)} CI)", "", *found]
        yield ["p (Z test)", "", *(gaps.p(contrast=contrast, visit=week) for contrast in contrasts)]
