"""How many rim lesions each patient has at baseline: from the patient table, or from the visits of one rater."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.analysis.trial.adam_files import numbers
from nnunet_ms.analysis.trial.adam_settings import AdamSettings
from nnunet_ms.analysis.trial.settings import TrialSettings
from nnunet_ms.errors import SettingsError, TableError
from nnunet_ms.lesions.rims import prl_stratum
from nnunet_ms.tables import PRL_COUNT

STRATUM = "prl_stratum"
MISSING = "missing"
OF_VISITS = "visits, "
LISTING = ["patient_id", "arm", PRL_COUNT, STRATUM, "source", "note"]


def rim_counts(
    patients: pd.DataFrame, planned: pd.DataFrame, raters: Sequence[str], settings: TrialSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the patients with `prl_count` where any is known, and a listing of who has which, from where.

    Parameters
    ----------
    patients : DataFrame
        `tables.PATIENTS`; its own `prl_count` comes first.
    planned : DataFrame
        Visits of all raters in planned weeks; `prl_count` of the settings' lesion type at baseline. May be empty.
    raters : sequence of str
        The first is asked, or the settings' `prl_rater`.

    Returns
    -------
    patients : DataFrame
        Without the column where nobody has a count.
    listing : DataFrame
        One row per patient, columns `LISTING`; no rows where nobody has a count. A blank count stays blank: the
        patient is in the stratum "missing", and `note` says so, and where raters differ.

    Raises
    ------
    SettingsError
        If the settings ask a rater who is not there.
    """
    seen = _of_visits(planned, settings)
    rater = _rater(seen, raters, settings)
    ids = patients["patient_id"]
    own = patients[PRL_COUNT] if PRL_COUNT in patients else pd.Series(np.nan, patients.index)
    of_table = own.astype(float).to_numpy()
    of_rater = seen[rater].reindex(ids).to_numpy(float) if rater else np.full(len(ids), np.nan)
    counts = np.where(np.isnan(of_table), of_rater, of_table)
    if np.isnan(counts).all():
        return patients.drop(columns=PRL_COUNT, errors="ignore"), pd.DataFrame(columns=LISTING)
    source = np.where(np.isnan(of_table), f"{OF_VISITS}{rater}", settings.tables.patients.name)
    rows = [
        {
            "patient_id": patient,
            "arm": arm,
            PRL_COUNT: count,
            STRATUM: prl_stratum(count, settings.analysis.prl_strata),
            "source": "" if np.isnan(count) else where,
            "note": _note(patient, count, seen),
        }
        for patient, arm, count, where in zip(ids, patients["arm"], counts, source, strict=True)
    ]
    return patients.assign(**{PRL_COUNT: counts}), pd.DataFrame(rows, columns=LISTING)


def adam_rim_lesions(frame: pd.DataFrame, path: Path, settings: AdamSettings) -> dict[str, pd.Series]:
    """Return `prl_count` of ADSL by its name, blank where it is not known; nothing where ADSL has no such variable.

    Raises
    ------
    TableError
        If a number is below 0, or no whole one.
    """
    variable = settings.prl_count
    if variable is None or variable not in frame:
        return {}
    counts = numbers(frame, variable, path)
    bad = (counts < 0) | (counts % 1 > 0)  # of a blank neither
    if bad.any():
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}, column {variable}: expected a number of rim lesions (0, 1, 2, "
            f"...; blank where it is not known), found {frame.loc[bad, variable].iloc[0]} ({int(bad.sum())} such "
            "rows). Correct the table, name another variable with prl_count in [adam], or say prl_count = false."
        )
    return {PRL_COUNT: counts}


def counted_by(listing: pd.DataFrame) -> str:
    """Say whose counts make the strata of rim lesions, and how many patients other raters would put elsewhere.

    Parameters
    ----------
    listing : DataFrame
        From `rim_counts`.

    Examples
    --------
    >>> rows = [("a", 2.0, "visits, R1", "R2: 5; R3: 3"), ("b", 0.0, "visits, R1", ""), ("c", 1.0, "adsl.xpt", "")]
    >>> counted_by(pd.DataFrame(rows, columns=["patient_id", "prl_count", "source", "note"]))  # doctest: +ELLIPSIS
    'rim lesions as counted in visits, R1 (2 patients) and the patient table (1 patient); others count otherwise in...'
    """
    known = listing[listing[PRL_COUNT].notna()]
    # not its name: the same words whichever table of patients was read
    sources = known["source"].where(known["source"].str.startswith(OF_VISITS), "the patient table")
    places = " and ".join(f"{source} ({_patients(number)})" for source, number in _in_order(sources))
    differ = int((known["note"] != "").sum())
    others = f"; others count otherwise in {_patients(differ)}" if differ else ""
    return f"rim lesions as counted in {places}{others}"


def _in_order(sources: pd.Series) -> list[tuple[str, int]]:
    return [(str(source), int((sources == source).sum())) for source in sources.unique()]


def _patients(number: int) -> str:
    return f"{number} patient{'' if number == 1 else 's'}"


def _of_visits(planned: pd.DataFrame, settings: TrialSettings) -> pd.DataFrame:
    """Counts at baseline, a row per patient and a column per rater; no column without any."""
    if PRL_COUNT not in planned or planned.empty:
        return pd.DataFrame(index=pd.Index([], name="patient_id"))
    chosen = planned[(planned["lesion_type"] == settings.lesion_type) & (planned["week"] == settings.baseline_week)]
    known = chosen[chosen[PRL_COUNT].notna()].astype({PRL_COUNT: float})
    return known.pivot_table(index="patient_id", columns="rater", values=PRL_COUNT, aggfunc="first")


def _rater(seen: pd.DataFrame, raters: Sequence[str], settings: TrialSettings) -> str:
    there, asked = [rater for rater in raters if rater in seen], settings.analysis.prl_rater
    if asked and asked not in there:
        raise SettingsError(
            f"{settings.path}: [analysis] prl_rater: expected one of {there or 'the raters'} with {PRL_COUNT} at "
            f"baseline in visits, found {asked!r}. Correct it, or leave it out."
        )
    return asked or (there[0] if there else "")


def _note(patient: str, count: float, seen: pd.DataFrame) -> str:
    """What should be known of a patient's count: that there is none, or that a rater has another one."""
    read = seen.loc[patient].dropna() if patient in seen.index else pd.Series(dtype=float)
    others = "; ".join(f"{rater}: {value:g}" for rater, value in read.items() if value != count)
    if not np.isnan(count):
        return others
    blank = f"no {PRL_COUNT} at baseline: stratum {MISSING}, in no model of rim lesions"
    return f"{blank}; {others}" if others else blank
