"""ADaM data sets in the words of this package: ADSL as patients, ADQS as assessments, ADTTE as times to event.

Weeks count from randomisation (RANDDT), so that a visit of the plan is a whole number of weeks. What is left out is
listed with the reason.
"""

import re
from collections.abc import Container, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.analysis.trial.adam_files import days, numbers, read_adam
from nnunet_ms.analysis.trial.adam_origin import Origin, origin_of
from nnunet_ms.analysis.trial.adam_settings import ADSL_VARIABLES, TIME_UNITS, AdamSettings
from nnunet_ms.analysis.trial.keys import check_patients
from nnunet_ms.analysis.trial.populations import Population, inside
from nnunet_ms.analysis.trial.rim_counts import adam_rim_lesions
from nnunet_ms.disability.confirmed_progression import COLUMNS as AUDIT_COLUMNS
from nnunet_ms.disability.confirmed_progression import Measure
from nnunet_ms.errors import TableError
from nnunet_ms.tables import NHPT_LIMIT_S, T25FW_LIMIT_S

DAYS_PER_WEEK = 7
NOT_RECORDED = "not recorded"
DISCONTINUATION, NOT_STOPPED = ("EOTSTT", "DISCONFL", "DCDECOD"), ("COMPLETED", "ONGOING", "NOT STARTED")
LEFT_OUT_COLUMNS = ["patient_id", "week", "reason"]
SECONDS = {"t25fw": "t25fw_s", "nhpt": "nhpt_s"}


def adam_patients(
    path: Path, settings: AdamSettings, assessments: Path | None, population: Population | None = None
) -> pd.DataFrame:
    """Read ADSL as `tables.PATIENTS`, with every further variable under its own name (populations, strata).

    Parameters
    ----------
    path : Path
        Of ADSL.
    settings : AdamSettings
        Gives the names of variables; of one that the trial does not have, age and EDSS are NaN, sex and region
        "not recorded".
    assessments : Path or None
        ADQS, where the EDSS at baseline may be.
    population : Population or None, optional
        Whom the trial is about. Others, such as screen failures, come back as they are: their arm may be blank, and
        nothing else of them is read.

    Returns
    -------
    pandas.DataFrame
        `edss_baseline` is EDSSBL, or the baseline record (ABLFL) of the EDSS in ADQS. `discontinued_week` is there
        where ADSL says who stopped: the last day of treatment, blank of those who went on. `prl_count` is there where
        ADSL counts rim lesions.
    """
    needed = [settings.subject, "USUBJID", settings.treatment, *_said(settings)]
    frame = read_adam(path, needed, encoding=settings.encoding)
    for name in dict.fromkeys((settings.subject, "USUBJID")):
        _check_key(frame, name, path)
    meant = inside(frame, population, str(path))
    known = frame[meant]
    _check_text(known, [v for v in (settings.treatment, settings.sex, settings.region) if v], path)
    columns = {
        "age_years": numbers(known, settings.age, path, blank=False) if settings.age else np.nan,
        "sex": known[settings.sex] if settings.sex else NOT_RECORDED,
        "region": known[settings.region] if settings.region else NOT_RECORDED,
        "edss_baseline": _edss_baseline(known, path, settings, assessments),
        **adam_discontinued(known, path, settings),
        **adam_rim_lesions(known, path, settings),
    }
    table = pd.DataFrame(columns, index=known.index).reindex(frame.index)
    table.insert(0, "patient_id", frame[settings.subject].astype(str))
    table.insert(1, "arm", frame[settings.treatment])
    return pd.concat([table, frame.drop(columns=[name for name in table if name in frame])], axis=1)


def _said(settings: AdamSettings) -> list[str]:
    """Return the variables that must be there: age, sex and region, and all that the settings name."""
    keys = ("age", "sex", "region", *(key for key in ADSL_VARIABLES if key in settings.named))
    return [name for key in dict.fromkeys(keys) if (name := getattr(settings, key)) is not None]


def adam_assessments(
    path: Path,
    adsl: pd.DataFrame,
    settings: AdamSettings,
    adsl_path: Path,
    needed: Iterable[Measure] = (),
    without: Container[str] = (),
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
    without : container of str, optional
        `patient_id` of subjects who are not analysed; their records are not read.

    Returns
    -------
    assessments, left_out
        The baseline record counts at week 0. Left out are derived records (DTYPE), those that are not for analysis
        (ANL01FL), earlier than randomisation, and of subjects who are not in ADSL. A visit without a name, or called
        unscheduled, is unscheduled. AVALC that says "unable" is kept as the flag.
    """
    frame = read_adam(path, ["USUBJID", "PARAMCD", "AVAL"], settings.adqs, settings.encoding)
    codes = {settings.edss: "edss", settings.t25fw: "t25fw", settings.nhpt: "nhpt"}
    _check_codes(frame["PARAMCD"], [code for code, measure in codes.items() if measure in set(needed)], path)
    frame = frame[frame["PARAMCD"].isin(codes)]
    if frame.empty:
        raise TableError(f"{path}: column PARAMCD: expected some of {list(codes)}, found none. Correct [adam].")
    check_patients(frame["USUBJID"].dropna(), adsl["USUBJID"], path, adsl_path)
    subjects = adsl.set_index("USUBJID")
    frame = frame[~frame["USUBJID"].map(subjects["patient_id"]).isin(without)]
    known = frame["USUBJID"].isin(subjects.index)
    frame = frame.assign(
        patient_id=frame["USUBJID"].map(subjects["patient_id"]).fillna(frame["USUBJID"]),
        measure=frame["PARAMCD"].map(codes),
        value=numbers(frame, "AVAL", path),
        week=_weeks(frame, subjects, path, adsl_path, settings.randomisation),
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
    chosen = _records(path, outcome, settings, patients)
    _check_key(chosen, "USUBJID", path)
    time = numbers(chosen, "AVAL", path, blank=False) * _unit(chosen, path, settings)
    censored = numbers(chosen, "CNSR", path, blank=False)
    _check_at_least_zero(chosen, time, "AVAL", path)
    time = time - adam_origin(path, patients, outcome, settings).day / DAYS_PER_WEEK
    time = time.mask(time.abs() < 1e-9, 0.0)  # sevenths, which binary numbers do not hold exactly
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
    chosen = _records(path, outcome, settings, patients)
    aval = numbers(chosen, "AVAL", path, blank=False) * _unit(chosen, path, settings) * DAYS_PER_WEEK
    return origin_of(chosen, aval.round(9), patients, settings, path)


def adam_title(path: Path, outcome: str, settings: AdamSettings) -> str:
    """Return what ADTTE calls an outcome (PARAM); its code where there is no PARAM."""
    chosen = _records(path, outcome, settings)
    named = chosen["PARAM"].dropna() if "PARAM" in chosen else pd.Series(dtype=object)
    return str(named.iloc[0]) if len(named) else settings.codes[outcome]


def _records(path: Path, outcome: str, settings: AdamSettings, patients: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the records of one outcome in ADTTE; of `patients` only, where given, and not of screen failures."""
    frame = read_adam(path, ["USUBJID", "PARAMCD", "AVAL", "CNSR"], settings.adtte, settings.encoding)
    code = settings.codes[outcome]
    chosen = frame[frame["PARAMCD"] == code]
    if chosen.empty:
        found = sorted(frame["PARAMCD"].dropna().unique())
        raise TableError(
            f"{path}: column PARAMCD: outcome {outcome} is {code}; found {found}. Name its code in [adam.paramcd]."
        )
    return chosen if patients is None else chosen[chosen["USUBJID"].isin(patients["USUBJID"])]


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
    variable = settings.edss_baseline
    if variable is None:
        return pd.Series(np.nan, frame.index)
    if variable in frame:
        return numbers(frame, variable, path, blank=False)
    if adqs is None:
        raise TableError(
            f"{path}: expected {variable}, or ADQS beside it; found {list(frame.columns)}. Name the variable with "
            "edss_baseline in [adam], or say edss_baseline = false where the trial has no EDSS."
        )
    visits = read_adam(adqs, ["USUBJID", "PARAMCD", "AVAL", "ABLFL"], settings.adqs, settings.encoding)
    first = visits[(visits["PARAMCD"] == settings.edss) & (visits["ABLFL"] == "Y")]
    first = first[first["USUBJID"].isin(frame["USUBJID"])]
    _check_key(first, "USUBJID", adqs)
    found = frame["USUBJID"].map(pd.Series(numbers(first, "AVAL", adqs).to_numpy(), first["USUBJID"].to_numpy()))
    if found.isna().any():
        who = frame.loc[found.isna(), "USUBJID"].iloc[0]
        raise TableError(
            f"{adqs}: subject {who} has no baseline record (ABLFL) of {settings.edss} ({int(found.isna().sum())} such "
            "subjects); expected one. Add it, or EDSSBL to ADSL; edss_baseline = false in [adam] says that the trial "
            "has no EDSS."
        )
    return found


def adam_discontinued(frame: pd.DataFrame, path: Path, settings: AdamSettings) -> dict[str, pd.Series]:
    """Return `discontinued_week` by its name; nothing where ADSL does not say who stopped.

    `DISCONTINUED` of EOTSTT (or the variable that the settings name), Y of DISCONFL, or a DCDECOD other than
    COMPLETED; the first of the three that is there. The week is that of the last day of treatment.

    Raises
    ------
    TableError
        If somebody stopped, and no day says when, or one before randomisation.
    """
    variable = discontinuation_variable(frame, settings)
    if variable is None:
        return {}
    stopped = _stopped(frame[variable], path)
    last, first = settings.last_treatment, settings.randomisation
    if last in frame and first in frame:
        week = (days(frame, str(last), path) - days(frame, str(first), path)) / DAYS_PER_WEEK
    elif "TRTEDY" in frame:
        week = (numbers(frame, "TRTEDY", path) - 1) / DAYS_PER_WEEK
    else:
        raise TableError(
            f"{path}: {variable} says who stopped treatment, but not when; expected {last or 'TRTEDT'} and "
            f"{first or 'RANDDT'}, or TRTEDY, found {list(frame.columns)}. Name the variables with last_treatment and "
            "randomisation in [adam], or say discontinued = false to leave it out."
        )
    bad = stopped & ~(week >= 0)
    if bad.any():
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}: {variable} says that the subject stopped, but the last day of "
            f"treatment is blank or before randomisation ({int(bad.sum())} such rows). Correct the table, or say "
            "discontinued = false in [adam] to leave it out."
        )
    return {"discontinued_week": week.where(stopped)}


def discontinuation_variable(frame: pd.DataFrame, settings: AdamSettings) -> str | None:
    """Return the variable of ADSL that says who stopped; None where none does."""
    named = settings.discontinued
    if named is None:
        return None
    among = [named] if "discontinued" in settings.named else [named, *DISCONTINUATION]
    return next((name for name in among if name in frame), None)


def _stopped(values: pd.Series, path: Path) -> pd.Series:
    """Who stopped: Y of a flag; DISCONTINUED of a status; of a disposition term, every one but COMPLETED."""
    text = values.map(lambda value: "" if value is None or pd.isna(value) else str(value).upper())
    if set(text) <= {"", "Y", "N"}:
        return text == "Y"
    if str(values.name).endswith("DECOD"):
        return ~text.isin(["", *NOT_STOPPED])
    strange = ~text.isin(["", "DISCONTINUED", *NOT_STOPPED])
    if strange.any():
        raise TableError(
            f"{path}: row {text.index[strange][0] + 1}, column {values.name}: expected Y or N, or DISCONTINUED, "
            f"{' or '.join(NOT_STOPPED)}, found {values[strange].iloc[0]!r} ({int(strange.sum())} such rows). Name the "
            "variable that says who stopped treatment with discontinued in [adam]; false: there is none."
        )
    return text == "DISCONTINUED"


def _weeks(
    frame: pd.DataFrame, subjects: pd.DataFrame, path: Path, adsl_path: Path, randomisation: str | None
) -> pd.Series:
    """From dates where both are there; else from ADY, which has no day 0."""
    week = pd.Series(np.nan, frame.index)
    if "ADT" in frame and randomisation in subjects:
        used = subjects[subjects.index.isin(frame["USUBJID"])]
        day0 = frame["USUBJID"].map(days(used, str(randomisation), adsl_path))
        week = (days(frame, "ADT", path) - day0) / DAYS_PER_WEEK
    if week.isna().any() and "ADY" in frame:
        study_day = numbers(frame, "ADY", path)
        week = week.fillna(study_day.where(study_day < 0, study_day - 1) / DAYS_PER_WEEK)
    if "ABLFL" in frame:
        week = week.mask(frame["ABLFL"] == "Y", 0.0)
    bad = week.isna() & frame["USUBJID"].isin(subjects.index)
    if bad.any():
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}: expected ADT beside {randomisation or 'RANDDT'} of ADSL, or ADY; "
            f"found neither ({int(bad.sum())} such rows). Name what they are called with randomisation in [adam] and "
            "in [adam.adqs]."
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
    text = text.fillna(settings.time_unit or "").astype(str)
    factor = text.map(unit_in_weeks)
    bad = factor.isna()
    if bad.any():
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}, column AVALU: expected one of {list(TIME_UNITS)}, found "
            f"{text[bad].iloc[0] or 'a blank'!r}. Say the unit of AVAL with time_unit in [adam]: it holds "
            "where AVALU is blank or absent."
        )
    return factor.astype(float)


def unit_in_weeks(text: str) -> float:
    """Return the weeks of a unit of time; NaN where the text is none.

    Examples
    --------
    >>> [round(unit_in_weeks(text), 4) for text in ("DAYS", "day(s)", "wk", "Months", "")]
    [0.1429, 0.1429, 1.0, 4.3482, nan]
    """
    word = re.sub(r"[^A-Z]", "", text.upper())
    return TIME_UNITS.get(_UNIT_WORDS.get(word.removesuffix("S"), ""), float("nan"))


_UNIT_WORDS = {"D": "DAYS", "DAY": "DAYS", "W": "WEEKS", "WK": "WEEKS", "WEEK": "WEEKS", "MO": "MONTHS",
               "MONTH": "MONTHS", "MTH": "MONTHS", "Y": "YEARS", "YR": "YEARS", "YEAR": "YEARS"}  # fmt: skip
