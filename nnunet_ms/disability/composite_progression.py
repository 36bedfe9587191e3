"""Composite outcomes: the first confirmed of several, per patient, and the one door to every outcome by name."""

import numpy as np
import pandas as pd

from nnunet_ms.disability.confirmed_progression import COLUMNS, OUTCOMES, Outcome, ProgressionRule, derive_progression


def derive_outcome(
    patients: pd.DataFrame,
    assessments: pd.DataFrame,
    outcome: Outcome,
    rule: ProgressionRule,
    relapses: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Derive a single or composite outcome for every patient; arguments and result as `derive_progression`.

    Returns
    -------
    pandas.DataFrame
        Of a composite: an event at the earliest onset of a confirmed component, which `component` names (several at
        the same week: joined by "+"); else censored at the last assessment of any component that could have
        confirmed. A component without baseline is left out for that patient and `reason` says so; a patient
        without any has `time_weeks` NaN. `baseline` is blank.

    Examples
    --------
    >>> from nnunet_ms.disability.confirmed_progression import PRESETS
    >>> patients = pd.DataFrame({"patient_id": ["P001"], "arm": "active", "edss_baseline": 3.0})
    >>> assessments = pd.DataFrame({"patient_id": "P001", "week": [0, 12, 24, 36], "edss": 3.0, "nhpt_s": 20.0})
    >>> assessments["t25fw_s"] = [5.0, 5.1, 6.0, 6.2]
    >>> row = derive_outcome(patients, assessments, OUTCOMES["ccdp12"], PRESETS["opera"]).iloc[0]
    >>> bool(row["event"]), float(row["time_weeks"]), row["component"]
    (True, 24.0, 't25fw12')
    """
    if not outcome.components:
        return derive_progression(patients, assessments, outcome, rule, relapses)
    parts = {
        name: derive_progression(patients, assessments, OUTCOMES[name], rule, relapses).to_dict("records")
        for name in outcome.components
    }
    rows = [_first(outcome, {name: records[i] for name, records in parts.items()}) for i in range(len(patients))]
    return pd.DataFrame(rows, columns=COLUMNS)


def _first(outcome: Outcome, parts: dict[str, dict[str, object]]) -> list[object]:
    """Return the row of one patient from the rows of the components."""
    head = next(iter(parts.values()))
    usable = {name: row for name, row in parts.items() if not pd.isna(row["time_weeks"])}
    note = "".join(f"; {name}: {row['reason']}" for name, row in parts.items() if name not in usable)
    keys = [head["patient_id"], head["arm"], outcome.name, np.nan]
    if not usable:
        return [*keys, np.nan, np.nan, False, np.nan, f"no component can be analysed{note}", ""]
    events = {name: row for name, row in usable.items() if row["event"]}
    if not events:
        last = max(float(str(row["time_weeks"])) for row in usable.values())
        reasons = dict.fromkeys(str(row["reason"]) for row in usable.values())
        return [*keys, np.nan, np.nan, False, last, ", ".join(reasons) + note, ""]
    onset = min(float(str(row["time_weeks"])) for row in events.values())
    first = [name for name, row in events.items() if row["time_weeks"] == onset]
    chosen = events[first[0]]
    return [
        *keys,
        onset,
        chosen["confirmation_week"],
        True,
        onset,
        f"{chosen['reason']}{note}".lstrip("; "),
        "+".join(first),
    ]
