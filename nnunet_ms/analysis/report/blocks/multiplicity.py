"""The block of several endpoints tested in order."""

import pandas as pd

from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Block, TextTable
from nnunet_ms.analysis.report.wording import joined, number
from nnunet_ms.analysis.trial.data import TrialData


def multiplicity_block(trial: TrialData, endpoints: pd.DataFrame) -> Block:
    """Return the block of the fixed sequence, with Holm's p values where the settings ask for them."""
    numbers = Numbers(endpoints, endpoint="multiplicity")
    holm = trial.settings.analysis.holm
    lines, rejected_terms = [], []
    for term in numbers.frame["term"].drop_duplicates():
        tested, rejected = (numbers.get(name, term=term) for name in ("tested", "rejected"))
        decision = "rejected" if rejected else "not rejected" if tested else "not tested"
        rejected_terms += [term] * (decision == "rejected")
        lines.append([term, numbers.p(term=term), *([number(numbers.get("p_holm", term=term), 4)] * holm), decision])
    head = ["endpoint", "p", *["Holm's p"] * holm, "null hypothesis"]
    note = f"Each at two-sided alpha {trial.settings.analysis.alpha:g}, until one is not rejected."
    return Block(
        "multiplicity", "Order of tests", "Which effects hold when several endpoints are tested in order?",
        "As in each endpoint's block.", [TextTable("multiplicity", "Fixed sequence", head, lines, note)],
        main=[f"rejected in order: {joined(rejected_terms)}" if rejected_terms else "no null hypothesis is rejected"],
        notes=[note],
    )  # fmt: skip
