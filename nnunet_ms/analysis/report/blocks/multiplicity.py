"""The block of several endpoints tested in order."""

import pandas as pd

from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Block, TextTable
from nnunet_ms.analysis.report.wording import joined, minus, number
from nnunet_ms.analysis.trial.data import TrialData


def multiplicity_block(trial: TrialData, endpoints: pd.DataFrame) -> Block:
    """Return the block of the fixed sequence, with Holm's p values where the settings ask for them."""
    numbers = Numbers(endpoints, endpoint="multiplicity")
    holm = trial.settings.analysis.holm
    lines, rejected_terms = [], []
    steps = numbers.frame[["term", "contrast"]].drop_duplicates()
    for keys in ({"term": str(row.term), "contrast": str(row.contrast)} for row in steps.itertuples()):
        tested, rejected = (numbers.get(name, **keys) for name in ("tested", "rejected"))
        decision = "rejected" if rejected else "not rejected" if tested else "not tested"
        contrast = minus(keys["contrast"])
        rejected_terms += [f"{keys['term']} ({contrast})"] * (decision == "rejected")
        adjusted = [_adjusted(numbers.get("p_holm", **keys))] * holm
        lines.append([keys["term"], contrast, numbers.p(**keys), *adjusted, decision])
    head = ["endpoint", "contrast", "p", *["Holm's p"] * holm, "null hypothesis"]
    alpha = trial.settings.analysis.alpha
    by_holm = trial.settings.analysis.sequence_arms == "holm" and len(trial.settings.compared_arms) > 1
    by_arms = "arms of an endpoint by Holm's procedure, until not all are rejected"
    how = by_arms if by_holm else "until one is not rejected"
    note = f"Each at two-sided alpha {alpha:g}, {how}."
    return Block(
        "multiplicity", "Order of tests", "Which effects hold when several endpoints are tested in order?",
        "As in each endpoint's block.", [TextTable("multiplicity", "Fixed sequence", head, lines, note)],
        main=[f"rejected in order: {joined(rejected_terms)}" if rejected_terms else "no null hypothesis is rejected"],
        notes=[note],
    )  # fmt: skip


def _adjusted(p: float) -> str:
    """Four digits of an adjusted p; never 0.0000, which no p is."""
    return "<0.0001" if p < 0.00005 else number(p, 4)
