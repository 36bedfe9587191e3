"""What a trial's ADaM data sets call things: the folder, the subject and treatment variables, the parameter codes."""

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_ms.analysis.trial.settings_section import Section
from nnunet_ms.disability.confirmed_progression import OUTCOMES
from nnunet_ms.errors import SettingsError

SUFFIXES = (".xpt", ".sas7bdat", ".csv")  # the first that is there is read
# PARAMCD starts with a letter, so that 9hpt24 is NHPT24
CODES = {name: name.upper().replace("9HPT", "NHPT") for name in OUTCOMES}
TIME_UNITS = {"DAYS": 1 / 7, "WEEKS": 1.0, "MONTHS": 365.25 / 12 / 7, "YEARS": 365.25 / 7}  # in weeks

DATA_SETS = ("adsl", "adqs", "adtte")
ADSL_VARIABLES = (
    "age",
    "sex",
    "region",
    "edss_baseline",
    "randomisation",
    "last_treatment",
    "discontinued",
    "prl_count",
)
ADQS_VARIABLES = ("USUBJID", "PARAMCD", "AVAL", "AVALC", "ADT", "ADY", "ABLFL", "ANL01FL", "DTYPE", "AVISIT")
ADTTE_VARIABLES = ("USUBJID", "PARAMCD", "PARAM", "AVAL", "AVALU", "CNSR", "CNSDTDSC", "EVNTDESC", "ADT", "STARTDT")
_TEXTS = ("subject", "treatment", "edss", "t25fw", "nhpt")


@dataclass(frozen=True)
class AdamSettings:
    """Where the data sets are, and what they call things.

    Parameters
    ----------
    folder : Path
        Holds ADSL, and ADQS and ADTTE where the trial has them, as .xpt, .sas7bdat or .csv.
    subject : str
        The variable of ADSL that the lesion tables call patient_id.
    treatment : str
        The variable of ADSL that names the arm.
    age, sex, region, edss_baseline, randomisation, last_treatment, discontinued, prl_count : str or None
        Variables of ADSL; None: the trial has none. `randomisation` is the day that weeks count from, `prl_count` the
        number of rim lesions at baseline, blank where it is not known.
    edss, t25fw, nhpt : str
        PARAMCD in ADQS.
    codes : mapping
        PARAMCD in ADTTE by outcome; also of outcomes that this package does not derive, by any plain name.
    time_unit : str or None
        Of AVAL in ADTTE, where AVALU is absent.
    origin_day : {0, 1} or None
        Number of the first day of AVAL in ADTTE; None: as the data say (`adam_origin`).
    encoding : str or None
        Of the files, where they do not say it themselves; a CSV file is UTF-8 without it.
    adqs, adtte : mapping
        What the two data sets call the standard's variables (AVAL, ADT, CNSR, ...), where they call them otherwise.
    files : mapping
        Names of the data sets "adsl", "adqs" and "adtte" in the folder, where they are called otherwise.
    named : frozenset of str
        Fields that the settings file says; a variable that it names must be there.
    """

    folder: Path
    subject: str = "SUBJID"
    treatment: str = "TRT01P"
    age: str | None = "AGE"
    sex: str | None = "SEX"
    region: str | None = "REGION1"
    edss_baseline: str | None = "EDSSBL"
    randomisation: str | None = "RANDDT"
    last_treatment: str | None = "TRTEDT"
    discontinued: str | None = "EOTSTT"
    prl_count: str | None = "PRLBL"
    edss: str = "EDSS"
    t25fw: str = "T25FW"
    nhpt: str = "NHPT"
    codes: Mapping[str, str] = field(default_factory=lambda: dict(CODES))
    time_unit: str | None = None
    origin_day: int | None = None
    encoding: str | None = None
    adqs: Mapping[str, str] = field(default_factory=dict)
    adtte: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    named: frozenset[str] = frozenset()


def adam_settings(section: Section, folder: Path) -> AdamSettings | None:
    """Read [adam]; None where the trial has no ADaM folder.

    Parameters
    ----------
    section : Section
        Of the settings file.
    folder : Path
        That of the settings file, to which the path is relative.
    """
    if not section.values:
        return None
    usual = AdamSettings(folder / section.text("folder"))
    given: dict[str, Any] = {key: section.optional_text(key) for key in (*_TEXTS, "encoding")}
    given |= {key: _variable(section, key) for key in ADSL_VARIABLES}
    said = frozenset(key for key in given if key in section.values)
    _check_encoding(section, given["encoding"])
    outcomes = section.inner("paramcd")
    for name, code in outcomes.items():
        expected = f"an outcome of {list(OUTCOMES)}, or a name of your own (a-z, 0-9, _), and its PARAMCD"
        section.check(f"paramcd.{name}", code, expected, plain_outcome(name) and isinstance(code, str) and code != "")
    return AdamSettings(
        usual.folder,
        **{key: given[key] for key in said},
        codes={**usual.codes, **{name: str(code) for name, code in outcomes.items()}},
        time_unit=section.choice("time_unit", tuple(TIME_UNITS)),
        origin_day=_origin_day(section),
        adqs=_names(section, "adqs", ADQS_VARIABLES),
        adtte=_names(section, "adtte", ADTTE_VARIABLES),
        files=_names(section, "files", DATA_SETS),
        named=said,
    )


def _origin_day(section: Section) -> int | None:
    value = section.get("origin_day", "0 or 1", required=False)
    whole = value if isinstance(value, int) and not isinstance(value, bool) else None
    section.check("origin_day", value, "0 or 1", value is None or whole in (0, 1))
    return whole


def _variable(section: Section, key: str) -> str | None:
    """Return the variable of ADSL that a key names; None where it is `false`: the trial has none."""
    value = section.get(key, 'a variable of ADSL such as "AGE", or false', required=False)
    good = value is None or value is False or (isinstance(value, str) and value != "")
    section.check(key, value, 'a variable of ADSL such as "AGE", or false where the trial has none', good)
    return value.upper() if isinstance(value, str) else None


def _names(section: Section, key: str, known: Sequence[str]) -> dict[str, str]:
    found = section.inner(key)
    for name, value in found.items():
        section.check(f"{key}.{name}", value, f"one of {list(known)}, and what it is called here",
                      name in known and isinstance(value, str) and value != "")  # fmt: skip
    return {name: str(value) for name, value in found.items()}


def _check_encoding(section: Section, encoding: str | None) -> None:
    if encoding is None:
        return
    try:
        codecs.lookup(encoding)
        known = True
    except LookupError:
        known = False
    section.check("encoding", encoding, 'an encoding that Python knows, such as "cp1252" or "shift_jis"', known)


def plain_outcome(name: str) -> bool:
    """Say whether an outcome may be called so: one of ours, or another plain name that does not look like one of ours.

    Examples
    --------
    >>> plain_outcome("cdp24"), plain_outcome("ttde"), plain_outcome("cdp42"), plain_outcome("a/b")
    (True, True, False, False)
    """
    stems = {outcome.rstrip("0123456789") for outcome in OUTCOMES}
    plain = re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name) is not None
    return name in OUTCOMES or (plain and name.rstrip("0123456789") not in stems)


def find_adam(folder: Path, files: Mapping[str, str] | None = None) -> tuple[Path, Path | None, Path | None]:
    """Return the files of ADSL, ADQS and ADTTE in `folder`; upper or lower case, the suffixes in the order of SUFFIXES.

    Parameters
    ----------
    folder : Path
        Holds the data sets.
    files : mapping, optional
        Names of single files, by `DATA_SETS`; one that is named must be there.

    Raises
    ------
    SettingsError
        If there is no folder, no ADSL in it, or not a file that `files` names.
    """
    if not folder.is_dir():
        raise SettingsError(f"{folder}: [adam] folder: expected a folder with ADSL, found none. Correct the path.")
    there = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    for key, name in (files or {}).items():
        if name.lower() not in there:
            raise SettingsError(
                f"{folder}: [adam.files] {key}: expected {name}, found {sorted(there) or 'an empty folder'}. "
                "Correct the name."
            )
        if Path(name).suffix.lower() not in SUFFIXES:
            raise SettingsError(
                f"{folder}: [adam.files] {key}: expected one of {list(SUFFIXES)}, found {name}. Export it "
                "as one of them."
            )
    found = [
        there[files[n].lower()]
        if files and n in files
        else next((there[n + s] for s in SUFFIXES if n + s in there), None)
        for n in DATA_SETS
    ]
    if found[0] is None:
        raise SettingsError(
            f"{folder}: expected adsl as one of {list(SUFFIXES)}, found {sorted(there) or 'an empty folder'}. Add it, "
            'or name the file: [adam.files] adsl = "..."'
        )
    return found[0], found[1], found[2]
