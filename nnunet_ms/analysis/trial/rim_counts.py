"""How many rim lesions each patient has at baseline: from the patient table, or from the visits of one rater."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nnunet_ms.analysis.trial.settings import TrialSettings
from nnunet_ms.errors import SettingsError
from nnunet_ms.lesions.rims import prl_stratum
from nnunet_ms.tables import PRL_COUNT

STRATUM = "prl_stratum"
MISSING = "missing"
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
    source = np.where(np.isnan(of_table), f"visits, {rater}", settings.tables.patients.name)
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
