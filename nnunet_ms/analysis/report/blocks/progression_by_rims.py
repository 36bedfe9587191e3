"""Tables of arm and a stratum at baseline, rim lesions or predicted risk, in the block of an outcome by arm."""

import pandas as pd

from nnunet_ms.analysis.endpoints import progression_by_disability_risk as risk
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
    note = (
        "arm: in the first stratum; PRL (number of rim lesions): against the first, in the reference arm; "
        f"arm × PRL: how the arm's hazard ratio differs from that of the first. {whose_counts(trial)}"
    )
    title = "Arm and rim lesions at baseline: hazard ratios"
    return _table(trial, rows, outcome, ANALYSIS, f"{outcome}_by_prl_stratum", title, note)


def risk_tables(trial: TrialData, rows: pd.DataFrame, outcome: str) -> list[TextTable]:
    """Return the tables of one outcome, by stratum and with the risk as covariate; none where no risk is known."""
    note = (
        "arm: in the first stratum; disability stratum: against the first, in the reference arm; arm × stratum: how "
        "the arm's hazard ratio differs from that of the first. The risk is a prediction from the scan at baseline."
    )
    title = "Arm and predicted risk of disability at baseline: hazard ratios"
    by_stratum = _table(trial, rows, outcome, risk.ANALYSIS, f"{outcome}_by_disability_stratum", title, note)
    note = "arm: adjusted for the risk; disability risk: a tenth more, in the same arm."
    title = "Arm, adjusted for the predicted risk of disability: hazard ratios"
    return [*by_stratum, *_table(trial, rows, outcome, risk.ADJUSTED, f"{outcome}_with_disability_risk", title, note)]


def _table(
    trial: TrialData, rows: pd.DataFrame, outcome: str, analysis: str, stem: str, title: str, note: str
) -> list[TextTable]:
    numbers = Numbers(rows, analysis=analysis)
    if numbers.frame.empty:
        return []
    lines = []
    for term, contrast in numbers.frame[["term", "contrast"]].drop_duplicates().itertuples(index=False):
        keys = {"term": term, "contrast": contrast}
        ratio, p = numbers.with_limits("hazard_ratio", 2, **keys), numbers.p(**keys)
        truth = truth_cell(trial, {"endpoint": outcome, "analysis": analysis, "stat_name": "hazard_ratio", **keys}, 2)
        label = term_text(term) + (f", {over(contrast)}" if contrast else "")
        lines.append(Line(label, [ratio, "" if p == ratio else p], truth))
    columns = ["", f"estimate ({level(trial)} CI)", "p"]
    return [column_table(stem, title, columns, {"": lines}, f"{note} {convention_note(trial, TIES)}")]
