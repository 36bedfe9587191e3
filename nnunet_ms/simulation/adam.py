"""ADaM copies of a simulated trial's tables: ADSL, ADTTE, ADQS and ADMRI, as CSV and as SAS transport files.

Standard CDISC names, upper case and at most eight characters. In ADTTE, `CNSR` is 0 for an event and 1 for a censored
time, the opposite of an event flag. Time is in days from randomisation; every patient is randomised on the same day.
"""

import datetime
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.outputs import whole_file
from nnunet_ms.simulation.model.presets import TrialPreset
from nnunet_ms.simulation.truth.population import observed_progression, outcomes

RANDOMISATION = datetime.date(2015, 1, 5)
SAS_EPOCH = datetime.date(1960, 1, 1)
DAYS = 7
MEASURES = {
    "EDSS": ("edss", "Expanded Disability Status Scale"),
    "T25FW": ("t25fw_s", "Timed 25-Foot Walk (s)"),
    "NHPT": ("nhpt_s", "Nine-Hole Peg Test (s)"),
}
COMPONENTS = {"cdp": (0,), "t25fw": (1,), "9hpt": (2,), "ccdp": (0, 1, 2)}
PARAM = {
    "cdp": ("CDP", "confirmed disability progression (EDSS)"),
    "t25fw": ("T25FW", "confirmed worsening of the timed 25-foot walk"),
    "9hpt": ("NHPT", "confirmed worsening of the nine-hole peg test"),  # PARAMCD starts with a letter
    "ccdp": ("CCDP", "composite confirmed progression"),
}
# PARAMCD of ADMRI -> lesion type, the columns whose sum it is, PARAM: which count is meant stands in its name
LESIONS = {
    "T2VOL": ("t2_lesions", ("volume_ml",), "T2 Lesion Volume (mL)"),
    "T2NEW": ("t2_lesions", ("new_lesion_count",), "New T2 Lesions since the Scan Before"),
    "T2ENL": ("t2_lesions", ("enlarging_lesion_count",), "Enlarging T2 Lesions since the Scan Before"),
    "T2NEWENL": (
        "t2_lesions", ("new_lesion_count", "enlarging_lesion_count"),
        "New or Enlarging T2 Lesions since the Scan Before",
    ),
    "T1NEW": ("t1_unenhancing", ("new_lesion_count",), "New T1 Unenhancing Lesions since the Scan Before"),
    "GDLES": ("t1_enhancing", ("lesion_count",), "Enhancing T1 Lesions at the Scan"),
}  # fmt: skip
CREATED = re.compile(rb"\d{2}[A-Z]{3}\d{2}:\d{2}:\d{2}:\d{2}")  # SAS time stamps in the header records
LABELS = {
    "STUDYID": "Study Identifier",
    "USUBJID": "Unique Subject Identifier",
    "SUBJID": "Subject Identifier for the Study",
    "TRT01P": "Planned Treatment for Period 01",
    "TRT01A": "Actual Treatment for Period 01",
    "AGE": "Age",
    "AGEU": "Age Units",
    "SEX": "Sex",
    "REGION1": "Geographic Region 1",
    "EDSSBL": "EDSS at Baseline",
    "PRLBL": "Paramagnetic Rim Lesions at Baseline",
    "ITTFL": "Intent-To-Treat Population Flag",
    "SAFFL": "Safety Population Flag",
    "RANDDT": "Date of Randomization",
    "TRTSDT": "Date of First Exposure to Treatment",
    "TRTEDT": "Date of Last Exposure to Treatment",
    "TRTEDY": "Day of Last Exposure to Treatment",
    "EOTSTT": "End of Treatment Status",
    "PARAMCD": "Parameter Code",
    "PARAM": "Parameter",
    "AVAL": "Analysis Value",
    "AVALU": "Analysis Value Unit",
    "CNSR": "Censor (0: event)",
    "EVNTDESC": "Event or Censoring Description",
    "STARTDT": "Time to Event Origin Date",
    "ADT": "Analysis Date",
    "ADY": "Analysis Relative Day",
    "AVISIT": "Analysis Visit",
    "AVISITN": "Analysis Visit (week)",
    "ABLFL": "Baseline Record Flag",
    "BASE": "Baseline Value",
    "CHG": "Change from Baseline",
    "PCHG": "Percent Change from Baseline",
    "EVALID": "Evaluator Identifier",
    "PREVWK": "Week of the Scan Before",
}


def adam_tables(
    preset: TrialPreset,
    patients: pd.DataFrame,
    assessments: pd.DataFrame,
    onset_week: Sequence[Sequence[float]],
) -> dict[str, pd.DataFrame]:
    """Return `adsl`, `adtte` and `adqs`.

    Parameters
    ----------
    preset : TrialPreset
        Gives the visits and the study's name.
    patients, assessments : pandas.DataFrame
        `tables.PATIENTS`, in the order of `onset_week`, and `tables.ASSESSMENTS`.
    onset_week : (patients, 3) sequence
        True onset of lasting progression of EDSS, timed walk and peg test; the visits show exactly these.
    """
    subject = _subjects(preset, patients)
    return {
        "adsl": _adsl(subject, patients, preset),
        "adtte": _adtte(subject, patients, preset, np.array(onset_week, dtype=float).reshape(-1, 3)),
        "adqs": _adqs(subject, assessments),
    }


def adam_lesions(preset: TrialPreset, patients: pd.DataFrame, visits: pd.DataFrame) -> pd.DataFrame:
    """Return `admri`: volume and counts of lesions per scan and rater, each count under a name that says which it is.

    Parameters
    ----------
    preset : TrialPreset
        Gives the study's name.
    patients, visits : pandas.DataFrame
        `tables.PATIENTS` and `tables.VISITS`. What a scan does not have (change at a first one) has no record.
    """
    subjects = _subjects(preset, patients).set_index("SUBJID")
    frames = []
    for code, (kind, columns, text) in LESIONS.items():
        rows = visits[visits["lesion_type"] == kind]
        value = rows[list(columns)].astype(float).sum(axis=1, skipna=False)
        rows, value = rows[value.notna()], value[value.notna()].to_numpy()
        week = rows["week"].to_numpy(float)
        of_patient = subjects.loc[rows["patient_id"]].reset_index(drop=True)
        later = week > 0
        frames.append(
            of_patient[["STUDYID", "USUBJID", "TRT01P"]].assign(
                EVALID=rows["rater"].to_numpy(),
                PARAMCD=code,
                PARAM=text,
                AVISIT=np.where(later, "Week " + pd.Series(week).astype(int).astype(str), "Baseline"),
                AVISITN=week,
                ADT=[_date(day) for day in week * DAYS],
                ADY=week * DAYS + 1,
                ABLFL=np.where(later, "", "Y"),
                AVAL=value,
                PREVWK=rows["previous_week"].to_numpy(float, na_value=np.nan),
            )
        )
    return pd.concat(frames, ignore_index=True)


def write_adam(frames: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write each table as CSV with ISO dates, and as XPT (version 5) where pyreadstat is installed (extra `sas`)."""
    for name, frame in frames.items():
        dates = [column for column in frame if str(column).endswith("DT")]
        tables.write_table(
            frame.assign(**{column: frame[column].map(_iso) for column in dates}), folder / f"{name}.csv"
        )
        if find_spec("pyreadstat") is not None:
            _write_xpt(frame, folder / f"{name}.xpt", dates)


def _subjects(preset: TrialPreset, patients: pd.DataFrame) -> pd.DataFrame:
    study = f"SIM-{preset.name.upper()}"
    return pd.DataFrame(
        {
            "STUDYID": study,
            "USUBJID": study + "-" + patients["patient_id"],
            "SUBJID": patients["patient_id"],
            "TRT01P": patients["arm"],
        }
    )


def _adsl(subject: pd.DataFrame, patients: pd.DataFrame, preset: TrialPreset) -> pd.DataFrame:
    stopped = patients["discontinued_week"].astype(float)
    last_day = stopped.fillna(float(preset.assessment_weeks[-1])) * DAYS
    rims = {"PRLBL": patients[tables.PRL_COUNT]} if tables.PRL_COUNT in patients else {}
    return subject.assign(
        TRT01A=patients["arm"],
        AGE=patients["age_years"],
        AGEU="YEARS",
        SEX=patients["sex"],
        REGION1=patients["region"],
        EDSSBL=patients["edss_baseline"],
        **rims,
        ITTFL="Y",
        SAFFL="Y",
        RANDDT=RANDOMISATION,
        TRTSDT=RANDOMISATION,
        TRTEDT=last_day.map(_date),
        TRTEDY=last_day + 1,
        EOTSTT=np.where(stopped.notna(), "DISCONTINUED", "COMPLETED"),
    )


def _adtte(
    subject: pd.DataFrame, patients: pd.DataFrame, preset: TrialPreset, onset_week: np.ndarray[Any, Any]
) -> pd.DataFrame:
    stopped = patients["discontinued_week"].astype(float).fillna(np.inf).to_numpy()
    frames = []
    for outcome in outcomes(preset):
        kind, weeks = outcome.name[:-2], int(outcome.confirmation_weeks)
        onset = onset_week[:, COMPONENTS[kind]].min(axis=1)
        time, event = observed_progression(preset, onset, stopped, outcome.confirmation_weeks)
        code, text = PARAM[kind]
        days = pd.Series(time * DAYS)
        frames.append(
            subject[["STUDYID", "USUBJID", "TRT01P"]].assign(
                PARAMCD=f"{code}{weeks}",
                PARAM=f"Time to {weeks}-week {text}",
                AVAL=days,
                AVALU="DAYS",
                CNSR=(~event).astype(int),
                EVNTDESC=np.where(event, "Confirmed progression", "Censored at last assessment"),
                STARTDT=RANDOMISATION,
                ADT=days.map(_date),
                ADY=days + 1,
            )
        )
    return pd.concat(frames, ignore_index=True)


def _adqs(subject: pd.DataFrame, assessments: pd.DataFrame) -> pd.DataFrame:
    of_patient = subject.set_index("SUBJID").loc[assessments["patient_id"]].reset_index(drop=True)
    week = assessments["week"].astype(float)
    first = assessments.drop_duplicates("patient_id").set_index("patient_id")
    frames = []
    for code, (column, text) in MEASURES.items():
        base = assessments["patient_id"].map(first[column])
        value, later = assessments[column], week > 0
        change = (value - base).where(later).round(4)
        frames.append(
            of_patient[["STUDYID", "USUBJID", "TRT01P"]].assign(
                PARAMCD=code,
                PARAM=text,
                AVISIT=np.where(later, "Week " + week.astype(int).astype(str), "Baseline"),
                AVISITN=week,
                ADT=(week * DAYS).map(_date),
                ADY=week * DAYS + 1,
                ABLFL=np.where(later, "", "Y"),
                AVAL=value,
                BASE=base,
                CHG=change,
                # a percent change of EDSS 0 does not exist
                PCHG=(100 * change / base.where(base > 0)).round(4),
            )
        )
    return pd.concat(frames, ignore_index=True)


def _date(days: float) -> datetime.date:
    return RANDOMISATION + datetime.timedelta(days=int(days))


def _iso(date: datetime.date) -> str:
    return date.isoformat()


def _write_xpt(frame: pd.DataFrame, path: Path, dates: Sequence[str]) -> None:
    import pyreadstat

    numbers = frame.assign(**{column: frame[column].map(lambda d: float((d - SAS_EPOCH).days)) for column in dates})
    with whole_file(path) as partial:
        pyreadstat.write_xport(
            numbers,
            str(partial),
            column_labels=[LABELS[column] for column in frame],
            table_name=path.stem.upper(),
            file_format_version=5,
            variable_format=dict.fromkeys(dates, "DATE9."),
        )
        # the time of writing, in the header records before the first observation: the same trial is the same bytes
        content = partial.read_bytes()
        head = content.index(b"HEADER RECORD*******NAMESTR")
        partial.write_bytes(CREATED.sub(b"01JAN60:00:00:00", content[:head]) + content[head:])
