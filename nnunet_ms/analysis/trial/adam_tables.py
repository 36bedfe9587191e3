"""ADaM data sets in the words of this package: ADSL as patients, ADQS as assessments, ADTTE as times to event.

Weeks count from randomisation (RANDDT), so that a visit of the plan is a whole number of weeks. What is left out is
listed with the reason.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.analysis.trial.adam_files import days, numbers, read_adam
from nnunet_ms.analysis.trial.adam_origin import Origin, origin_of
from nnunet_ms.analysis.trial.adam_settings import TIME_UNITS, AdamSettings
from nnunet_ms.analysis.trial.keys import check_patients
from nnunet_ms.analysis.trial.outcomes import COLUMNS as AUDIT_COLUMNS
from nnunet_ms.analysis.trial.outcomes import Measure
from nnunet_ms.errors import TableError
from nnunet_ms.tables import NHPT_LIMIT_S, T25FW_LIMIT_S

DAYS_PER_WEEK = 7
LEFT_OUT_COLUMNS = ["patient_id", "week", "reason"]
SECONDS = {"t25fw": "t25fw_s", "nhpt": "nhpt_s"}


def adam_patients(path: Path, settings: AdamSettings, assessments: Path | None) -> pd.DataFrame:
    """Read ADSL as `tables.PATIENTS`, with every further variable under its own name (populations, strata).

    `discontinued_week` is TRTEDT (or TRTEDY) of those whose EOTSTT is DISCONTINUED. `edss_baseline` is EDSSBL, or the
    baseline record (ABLFL) of the EDSS in ADQS.
    """
    frame = read_adam(path, [settings.subject, "USUBJID", settings.treatment, "AGE", "SEX", "REGION1"])
    _check_key(frame, settings.subject, path)
    _check_key(frame, "USUBJID", path)
    _check_text(frame, [settings.treatment, "SEX", "REGION1"], path)
    table = pd.DataFrame(
        {
            "patient_id": frame[settings.subject].astype(str),
            "arm": frame[settings.treatment],
            "age_years": numbers(frame, "AGE", path, blank=False),
            "sex": frame["SEX"],
            "region": frame["REGION1"],
            "edss_baseline": _edss_baseline(frame, path, settings, assessments),
            "discontinued_week": _discontinued(frame, path),
        }
    )
    return pd.concat([table, frame], axis=1)


def adam_assessments(
    path: Path, adsl: pd.DataFrame, settings: AdamSettings, adsl_path: Path, needed: Iterable[Measure] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read ADQS as `tables.ASSESSMENTS` with weeks; and the records left out: `patient_id, week, reason`.

    Parameters
    ----------
    path : Path
        Of ADQS.
    adsl : pandas.DataFrame
        From `adam_patients`.
    settings : AdamSettings
        Gives the parameter codes.
    adsl_path : Path
        For messages.
    needed : iterable of {"edss", "t25fw", "nhpt"}, optional
        What the outcomes are derived from, and what must be there.

    Returns
    -------
    assessments, left_out
        The baseline record counts at week 0. Left out are derived records (DTYPE), those that are not for analysis
        (ANL01FL), earlier than randomisation, and of subjects who are not in ADSL. A visit without a name, or called
        unscheduled, is unscheduled. AVALC that says "unable" is kept as the flag.
    """
    frame = read_adam(path, ["USUBJID", "PARAMCD", "AVAL"])
    codes = {settings.edss: "edss", settings.t25fw: "t25fw", settings.nhpt: "nhpt"}
    _check_codes(frame["PARAMCD"], [code for code, measure in codes.items() if measure in set(needed)], path)
    frame = frame[frame["PARAMCD"].isin(codes)]
    if frame.empty:
        raise TableError(f"{path}: column PARAMCD: expected some of {list(codes)}, found none. Correct [adam].")
    check_patients(frame["USUBJID"].dropna(), adsl["USUBJID"], path, adsl_path)
    subjects = adsl.set_index("USUBJID")
    known = frame["USUBJID"].isin(subjects.index)
    frame = frame.assign(
        patient_id=frame["USUBJID"].map(subjects["patient_id"]).fillna(frame["USUBJID"]),
        measure=frame["PARAMCD"].map(codes),
        value=numbers(frame, "AVAL", path),
        week=_weeks(frame, subjects, path, adsl_path),
    )
    _check_limits(frame, path)
    reason = _reasons(frame, known)
    left_out = frame.assign(reason=reason)[reason != ""][LEFT_OUT_COLUMNS].reset_index(drop=True)
    return _wide(frame[reason == ""], path), left_out


def adam_times(path: Path, patients: pd.DataFrame, outcome: str, settings: AdamSettings) -> pd.DataFrame:
    """Return one outcome of ADTTE as `outcomes.derive_progression` returns a derived one.

    Parameters
    ----------
    path : Path
        Of ADTTE.
    patients : pandas.DataFrame
        From `adam_patients`.
    outcome : str
        Name in `outcomes.OUTCOMES`; its PARAMCD is in the settings.

    Returns
    -------
    pandas.DataFrame
        `CNSR` 0 is an event, any other value a censored time, in ADaM the opposite of an event flag. `time_weeks` is
        AVAL in the unit of AVALU, from day 0 (`adam_origin`). A patient without a record has NaN, and `reason` says so.
    """
    chosen = _records_of(path, outcome, settings)
    _check_key(chosen, "USUBJID", path)
    time = numbers(chosen, "AVAL", path, blank=False) * _unit(chosen, path, settings)
    _check_at_least_zero(chosen, time, "AVAL", path)
    time = time - adam_origin(path, patients, outcome, settings).day / DAYS_PER_WEEK
    time = time.mask(time.abs() < 1e-9, 0.0)  # sevenths, which binary numbers do not hold exactly
    censored = numbers(chosen, "CNSR", path, blank=False)
    _check_at_least_zero(chosen, censored, "CNSR", path)
    why = next((chosen[name] for name in ("CNSDTDSC", "EVNTDESC") if name in chosen), pd.Series("", chosen.index))
    told = pd.DataFrame({"time_weeks": time, "event": censored == 0, "why": why.fillna("")})
    told.index = pd.Index(chosen["USUBJID"])
    joined = told.reindex(patients["USUBJID"]).reset_index(drop=True)
    absent = joined["time_weeks"].isna()
    event = joined["event"].eq(other=True).astype(bool)
    reason = np.where(absent, "no record in ADTTE", np.where(event, "", joined["why"]))
    return pd.DataFrame(
        {
            "patient_id": patients["patient_id"],
            "arm": patients["arm"],
            "outcome": outcome,
            "baseline": np.nan,
            "onset_week": joined["time_weeks"].where(event),
            "confirmation_week": np.nan,
            "event": event,
            "time_weeks": joined["time_weeks"],
            "reason": reason,
            "component": np.where(event, outcome, ""),
        }
    )[AUDIT_COLUMNS]


def adam_origin(path: Path, patients: pd.DataFrame, outcome: str, settings: AdamSettings) -> Origin:
    """Return the number of the first day of one outcome of ADTTE, and how it is known; arguments as `adam_times`."""
    chosen = _records_of(path, outcome, settings)
    aval = numbers(chosen, "AVAL", path, blank=False) * _unit(chosen, path, settings) * DAYS_PER_WEEK
    starts = None
    if "RANDDT" in patients:
        starts = chosen["USUBJID"].map(pd.Series(days(patients, "RANDDT", path).to_numpy(), patients["USUBJID"]))
    return origin_of(chosen, aval.round(9), starts, settings.origin_day, path)


def _records_of(path: Path, outcome: str, settings: AdamSettings) -> pd.DataFrame:
    frame = read_adam(path, ["USUBJID", "PARAMCD", "AVAL", "CNSR"])
    code = settings.codes[outcome]
    chosen = frame[frame["PARAMCD"] == code]
    if chosen.empty:
        found = sorted(frame["PARAMCD"].dropna().unique())
        raise TableError(
            f"{path}: column PARAMCD: outcome {outcome} is {code}; found {found}. Name its code in [adam.paramcd]."
        )
    return chosen


def _check_codes(found: pd.Series, needed: list[str], path: Path) -> None:
    missing = [code for code in needed if not (found == code).any()]
    if missing:
        raise TableError(
            f"{path}: column PARAMCD: the outcomes are derived from {missing}, found "
            f"{sorted(found.dropna().unique())}. Name the codes with edss, t25fw or nhpt in [adam]."
        )


def _check_limits(frame: pd.DataFrame, path: Path) -> None:
    """Raise TableError for a time beyond the test's end; of a patient who was unable, the time does not count."""
    unable = _unable(frame)
    for measure, limit in {"t25fw": T25FW_LIMIT_S, "nhpt": NHPT_LIMIT_S}.items():
        bad = (frame["measure"] == measure) & ~frame["value"].between(0, limit) & frame["value"].notna() & ~unable
        if bad.any():
            row = frame[bad].iloc[0]
            raise TableError(
                f"{path}: row {row.name + 1}, column AVAL: expected a number from 0 to {limit} of {row['PARAMCD']}, "
                f"found {row['value']:g} ({int(bad.sum())} such rows). The test ends at {limit} s: leave AVAL blank if "
                'it was not done; AVALC says "unable" of who could not.'
            )


def _unable(frame: pd.DataFrame) -> pd.Series:
    if "AVALC" not in frame:
        return pd.Series(data=False, index=frame.index)
    return frame["AVALC"].astype(str).str.upper().str.contains("UNABLE")


def _check_key(frame: pd.DataFrame, name: str, path: Path) -> None:
    _check_text(frame, [name], path)
    again = frame.duplicated(name)
    if again.any():
        raise TableError(
            f"{path}: row {frame.index[again][0] + 1}, column {name}: {frame.loc[again, name].iloc[0]} stands twice; "
            "expected one row each. Remove one of them."
        )


def _check_text(frame: pd.DataFrame, names: list[str], path: Path) -> None:
    for name in names:
        blank = frame[name].isna()
        if blank.any():
            raise TableError(
                f"{path}: row {frame.index[blank][0] + 1}, column {name}: expected text, found a blank "
                f"({int(blank.sum())} such rows). Correct the table."
            )


def _check_at_least_zero(frame: pd.DataFrame, values: pd.Series, name: str, path: Path) -> None:
    bad = values < 0
    if bad.any():
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}, column {name}: expected a number >= 0, found "
            f"{frame.loc[bad, name].iloc[0]} ({int(bad.sum())} such rows). Correct the table."
        )


def _edss_baseline(frame: pd.DataFrame, path: Path, settings: AdamSettings, adqs: Path | None) -> pd.Series:
    if "EDSSBL" in frame:
        return numbers(frame, "EDSSBL", path, blank=False)
    if adqs is None:
        raise TableError(f"{path}: expected EDSSBL, or ADQS beside it; found {list(frame.columns)}. Add one of them.")
    visits = read_adam(adqs, ["USUBJID", "PARAMCD", "AVAL", "ABLFL"])
    first = visits[(visits["PARAMCD"] == settings.edss) & (visits["ABLFL"] == "Y")]
    _check_key(first, "USUBJID", adqs)
    found = frame["USUBJID"].map(pd.Series(numbers(first, "AVAL", adqs).to_numpy(), first["USUBJID"].to_numpy()))
    if found.isna().any():
        who = frame.loc[found.isna(), "USUBJID"].iloc[0]
        raise TableError(
            f"{adqs}: subject {who} has no baseline record (ABLFL) of {settings.edss} ({int(found.isna().sum())} such "
            "subjects); expected one. Add it, or EDSSBL to ADSL."
        )
    return found


def _discontinued(frame: pd.DataFrame, path: Path) -> pd.Series:
    blank = pd.Series(np.nan, frame.index)
    if "EOTSTT" not in frame:
        return blank
    stopped = frame["EOTSTT"].astype(str).str.upper() == "DISCONTINUED"
    if "TRTEDT" in frame and "RANDDT" in frame:
        week = (days(frame, "TRTEDT", path) - days(frame, "RANDDT", path)) / DAYS_PER_WEEK
    elif "TRTEDY" in frame:
        week = (numbers(frame, "TRTEDY", path) - 1) / DAYS_PER_WEEK
    else:
        raise TableError(
            f"{path}: EOTSTT says who stopped treatment, but not when; expected TRTEDT and RANDDT, or TRTEDY, found "
            f"{list(frame.columns)}. Add them."
        )
    bad = stopped & ~(week >= 0)
    if bad.any():
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}: EOTSTT is DISCONTINUED, but the last day of treatment is blank or "
            f"before randomisation ({int(bad.sum())} such rows). Correct the table."
        )
    return week.where(stopped, blank)


def _weeks(frame: pd.DataFrame, subjects: pd.DataFrame, path: Path, adsl_path: Path) -> pd.Series:
    """From dates where both are there; else from ADY, which has no day 0; else the planned week AVISITN."""
    week = pd.Series(np.nan, frame.index)
    if "ADT" in frame and "RANDDT" in subjects:
        day0 = frame["USUBJID"].map(days(subjects, "RANDDT", adsl_path))
        week = (days(frame, "ADT", path) - day0) / DAYS_PER_WEEK
    if week.isna().any() and "ADY" in frame:
        study_day = numbers(frame, "ADY", path)
        week = week.fillna(study_day.where(study_day < 0, study_day - 1) / DAYS_PER_WEEK)
    if "ABLFL" in frame:
        week = week.mask(frame["ABLFL"] == "Y", 0.0)
    bad = week.isna() & frame["USUBJID"].isin(subjects.index)
    if bad.any():
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}: expected ADT beside RANDDT of ADSL, or ADY; found neither "
            f"({int(bad.sum())} such rows). Add one of them."
        )
    return week


def _reasons(frame: pd.DataFrame, known: pd.Series) -> pd.Series:
    reason = pd.Series("", frame.index, dtype=object)
    if "DTYPE" in frame:
        reason = reason.mask(frame["DTYPE"].notna(), "derived record (DTYPE)")
    if "ANL01FL" in frame:
        reason = reason.mask((reason == "") & (frame["ANL01FL"] != "Y"), "not for analysis (ANL01FL)")
    early = "before randomisation, and not the baseline record"
    return reason.mask(frame["week"] < 0, early).mask(~known, "has assessments, but is not in ADSL")


def _wide(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """One row per patient and week, a column per measure."""
    again = frame.duplicated(["patient_id", "week", "measure"])
    if again.any():
        row = frame[again].iloc[0]
        raise TableError(
            f"{path}: row {frame.index[again][0] + 1}: subject {row['USUBJID']}, {row['PARAMCD']}, week "
            f"{row['week']:g} stands twice; expected one record each. Remove one, or mark it with ANL01FL."
        )
    keys = ["patient_id", "week"]
    wide = frame.set_index([*keys, "measure"])["value"].unstack()  # noqa: PD010  # pivot_table drops blank values
    wide = wide.reindex(columns=[m for m in ("edss", *SECONDS) if m in wide]).rename(columns=SECONDS)
    if "edss" not in wide:
        wide["edss"] = np.nan
    visit = frame["AVISIT"].astype(object) if "AVISIT" in frame else pd.Series("planned", frame.index)
    planned = visit.notna() & ~visit.astype(str).str.upper().str.contains("UNSCHED")
    wide["scheduled"] = frame.assign(planned=planned).groupby(keys)["planned"].any()
    if "AVALC" in frame:
        unable = frame[_unable(frame)]
        for measure, column in SECONDS.items():
            who = pd.MultiIndex.from_frame(unable.loc[unable["measure"] == measure, keys])
            wide[column.replace("_s", "_unable")] = wide.index.isin(who)
    return wide.reset_index().rename_axis(columns=None)


def _unit(frame: pd.DataFrame, path: Path, settings: AdamSettings) -> pd.Series:
    text = frame["AVALU"] if "AVALU" in frame else pd.Series(settings.time_unit, frame.index, dtype=object)
    text = text.fillna(settings.time_unit or "").astype(str).str.upper()
    factor = text.map({**TIME_UNITS, **{name[:-1]: value for name, value in TIME_UNITS.items()}})
    bad = factor.isna()
    if bad.any():
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}, column AVALU: expected one of {list(TIME_UNITS)}, found "
            f"{text[bad].iloc[0] or 'a blank'!r}. Correct it, or set [adam] time_unit."
        )
    return factor.astype(float)
