"""Footnotes: conventions, sources of published numbers, and the progression rule in words."""

from collections.abc import Sequence
from dataclasses import replace

from nnunet_ms.analysis.report.parts import PUBLISHED_COLUMN, Block
from nnunet_ms.analysis.report.wording import MINUS, joined
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.published import PUBLISHED
from nnunet_ms.disability.confirmed_progression import TIMED_INCREASE_PERCENT, Outcome, ProgressionRule

TIES, KM, WEIGHTS, COUNTS = "ties", "km_interval", "ls_mean_weights", "nb_covariance"


def level(trial: TrialData) -> str:
    """Return the level of the report's intervals: "95 %"."""
    return trial.settings.analysis.level


def convention_note(trial: TrialData, *parts: str) -> str:
    """Return the line under a table: the conventions that its numbers depend on."""
    c = trial.settings.conventions
    words = {
        TIES: f"{c.ties.capitalize()} ties",
        KM: f"{c.km_interval} Kaplan-Meier intervals",
        WEIGHTS: f"{c.ls_mean_weights} weights of least-squares means",
        COUNTS: f"{c.nb_covariance} information of negative binomial models",
    }
    named = f": {', '.join(words[part] for part in parts)}" if parts else ""
    return f"Convention “{c.name}”{named}; {level(trial)} intervals, p values two-sided and unadjusted."


def with_source(block: Block, trial: TrialData, sources: Sequence[str]) -> Block:
    """Add where the published numbers of a block come from, if it shows any."""
    cells = [line[0] for table in block.all_tables for line in table.lines]
    shown = any(PUBLISHED_COLUMN in table.head for table in block.all_tables)
    if not trial.settings.preset or not (shown or any(cell.startswith(PUBLISHED_COLUMN) for cell in cells)):
        return block
    note = (
        f"“Published” repeats what is printed about {PUBLISHED[trial.settings.preset].title} in "
        f"{'; '.join(sources)}. It was measured on that trial's own images and patients, not on this data."
    )
    return replace(block, notes=[*block.notes, note])


def rule_note(rule: ProgressionRule, outcome: Outcome) -> str:
    """Say the rule in words, so that nobody has to look a preset up."""
    threshold = _threshold(rule, outcome)
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


def _threshold(rule: ProgressionRule, outcome: Outcome) -> str:
    timed, sign = f"+{TIMED_INCREASE_PERCENT} % or unable", MINUS if outcome.improvement else "+"
    steps = [f"{sign}{step:g} up to a baseline of {highest:g}" for highest, step in rule.edss_steps[:-1]]
    edss = f"EDSS {', '.join(steps)}, {sign}{rule.edss_steps[-1][1]:g} above"
    if outcome.components:
        return f"the first of {joined([c.upper() for c in outcome.components])} ({edss}; timed tests {timed})"
    return edss if outcome.measure == "edss" else timed
