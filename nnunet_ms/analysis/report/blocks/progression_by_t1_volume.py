"""The report's block of the joint T1 paper's Cox model: unenhancing lesion volume at baseline and progression."""

import pandas as pd

from nnunet_ms.analysis.endpoints import progression_by_t1_volume
from nnunet_ms.analysis.endpoints.statistic_rows import select
from nnunet_ms.analysis.report.notes import TIES, convention_note, level
from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Block, Line, rater_table
from nnunet_ms.analysis.trial.data import TrialData

SOURCE = "Krishnan et al., Radiology 2022 (joint T1 segmentation in the OPERA trials)"
# on OPERA II; its abstract, from which they are, names neither the outcome nor the unit
PUBLISHED = {"opera2": "1.12, p .02 (manual); 1.11, p .03 (model)"}


def t1_volume_block(trial: TrialData, endpoints: pd.DataFrame) -> list[Block]:
    """Return one block with every outcome, or none where there is no unenhancing volume."""
    rows = select(endpoints, analysis=progression_by_t1_volume.ANALYSIS)
    if rows.empty:
        return []
    parts = {}
    for outcome in dict.fromkeys(rows["endpoint"]):
        numbers = Numbers(rows, endpoint=str(outcome))
        parts[str(outcome).upper()] = _lines(trial, numbers)
    notes = [*Numbers(rows).methods()]
    published = PUBLISHED.get(trial.settings.preset or "", "")
    if published:
        notes.append(
            f"Published hazard ratio of baseline unenhancing volume in OPERA II: {published}; {SOURCE}, which names "
            "neither outcome nor unit where it could be read. Private trial data: never a result of this analysis."
        )
    head = f"estimate ({level(trial)} CI)"
    title = "Cox regression on log unenhancing TLV"
    table = rater_table(trial, "unenhancing_cox", title, head, parts, convention_note(trial, TIES))
    return [
        Block(
            "unenhancing_volume",
            "Baseline T1 unenhancing volume and progression",
            "Does the T1 unenhancing lesion volume at baseline go with the risk of progression?",
            "Patients with a baseline T1 mask of every rater; the same patients for every rater.",
            [table],
            notes=notes,
        )
    ]


def _lines(trial: TrialData, numbers: Numbers) -> list[Line]:
    counts = [f"{numbers.get('events', rater=r):.0f} of {numbers.get('n', rater=r):.0f}" for r in trial.raters]
    return [
        Line(
            "hazard ratio per unit of log TLV", [numbers.with_limits("hazard_ratio", 2, rater=r) for r in trial.raters]
        ),
        Line("p", [numbers.p(rater=r) for r in trial.raters]),
        Line("patients with event", counts),
    ]
