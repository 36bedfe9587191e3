"""The block of analysis populations: who is inside each, and the main effects repeated in those beside the main one."""

import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import select
from nnunet_ms.analysis.report.notes import convention_note, level
from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Block, TextTable
from nnunet_ms.analysis.report.wording import minus, number, over, term_text
from nnunet_ms.analysis.trial.data import TrialData

POPULATIONS, PATIENTS = "populations", "patients"
# the main estimate of an endpoint is the one of these that it has: statistic, its name, digits, is it a ratio
ESTIMATES = (
    ("difference", "ANCOVA difference, percentage points", 1, False),
    ("rate_ratio", "rate ratio", 2, True),
    ("hazard_ratio", "hazard ratio", 2, True),
)


def populations_block(trial: TrialData, endpoints: pd.DataFrame) -> Block:
    """Return the block; `analysis` of its rows is the population, `term` the endpoint, or "patients" for its size."""
    rows = select(endpoints, endpoint=POPULATIONS)
    sizes = Numbers(rows, term=PATIENTS)
    names = list(dict.fromkeys(rows["analysis"]))
    inside = [[name, *(number(sizes.get("n", analysis=name, arm=a), 0) for a in trial.settings.arms)] for name in names]
    effects = rows[rows["term"] != PATIENTS]
    return Block(
        POPULATIONS,
        "Analysis populations",
        "Do the main effects hold in the other populations of the analysis plan?",
        "As named in each row; the blocks above are of the main population.",
        [TextTable("populations", "Patients by population", ["population", *trial.settings.arms], inside)],
        beside=[
            TextTable(
                "population_effects", "Main effects in the populations beside",
                ["", f"estimate ({level(trial)} CI)", "p"], _lines(effects), convention_note(trial),
            )
        ],
        notes=sizes.methods(),
    )  # fmt: skip


def _lines(effects: pd.DataFrame) -> list[list[str]]:
    lines: list[list[str]] = []
    for name in dict.fromkeys(effects["analysis"]):
        lines.append([name])
        keys = ["term", "contrast", "rater"]
        for found in select(effects, analysis=name)[keys].drop_duplicates().to_dict("records"):
            numbers = Numbers(effects, analysis=name, **found)
            there = set(numbers.frame["stat_name"])
            for stat, words, digits, is_ratio in ESTIMATES:
                if stat in there:
                    contrast = over(found["contrast"]) if is_ratio else minus(found["contrast"])
                    label = ", ".join(filter(None, (term_text(found["term"]), words, contrast, found["rater"])))
                    cell, p = numbers.with_limits(stat, digits), numbers.p()
                    lines.append([label, cell, "" if p == cell else p])
    return lines
