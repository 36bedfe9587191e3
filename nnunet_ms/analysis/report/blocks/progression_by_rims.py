"""The table of arm and number of rim lesions at baseline, in the block of an outcome by arm."""

import pandas as pd

from nnunet_ms.analysis.endpoints.progression_by_rims import ANALYSIS
from nnunet_ms.analysis.report.notes import TIES, convention_note, level
from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Line, TextTable, column_table, truth_cell
from nnunet_ms.analysis.report.wording import over, term_text
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.rim_counts import counted_by


def whose_counts(trial: TrialData) -> str:
    """Whose counts the strata follow, in a sentence; with several raters, how to take another's. Blank without any."""
    listing = trial.listings.get("prl_counts")
    if listing is None:
        return ""
    text = counted_by(listing)
    choice = " ([analysis] prl_rater: another's)" if (listing["note"] != "").any() else ""
    return f"{text[:1].upper()}{text[1:]}{choice}."


def rim_tables(trial: TrialData, rows: pd.DataFrame, outcome: str) -> list[TextTable]:
    """Return the table of one outcome; none where nobody's rim lesions are known."""
    numbers = Numbers(rows, analysis=ANALYSIS)
    if numbers.frame.empty:
        return []
    lines = []
    for term, contrast in numbers.frame[["term", "contrast"]].drop_duplicates().itertuples(index=False):
        keys = {"term": term, "contrast": contrast}
        ratio, p = numbers.with_limits("hazard_ratio", 2, **keys), numbers.p(**keys)
        truth = truth_cell(trial, {"endpoint": outcome, "analysis": ANALYSIS, "stat_name": "hazard_ratio", **keys}, 2)
        label = term_text(term) + (f", {over(contrast)}" if contrast else "")
        lines.append(Line(label, [ratio, "" if p == ratio else p], truth))
    return [
        column_table(
            f"{outcome}_by_prl_stratum",
            "Arm and rim lesions at baseline: hazard ratios",
            ["", f"estimate ({level(trial)} CI)", "p"],
            {"": lines},
            "arm: in the first stratum; PRL (number of rim lesions): against the first, in the reference arm; "
            f"arm × PRL: how the arm's hazard ratio differs from that of the first. {whose_counts(trial)} "
            f"{convention_note(trial, TIES)}",
        )
    ]
