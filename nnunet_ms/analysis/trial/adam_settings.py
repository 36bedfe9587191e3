"""What a trial's ADaM data sets call things: the folder, the subject and treatment variables, the parameter codes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_ms.analysis.trial.outcomes import OUTCOMES
from nnunet_ms.analysis.trial.settings_section import Section
from nnunet_ms.errors import SettingsError

SUFFIXES = (".xpt", ".sas7bdat", ".csv")  # the first that is there is read
# PARAMCD starts with a letter, so that 9hpt24 is NHPT24
CODES = {name: name.upper().replace("9HPT", "NHPT") for name in OUTCOMES}
TIME_UNITS = {"DAYS": 1 / 7, "WEEKS": 1.0, "MONTHS": 365.25 / 12 / 7, "YEARS": 365.25 / 7}  # in weeks


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
    edss, t25fw, nhpt : str
        PARAMCD in ADQS.
    codes : mapping
        PARAMCD in ADTTE by outcome.
    time_unit : str or None
        Of AVAL in ADTTE, where AVALU is absent.
    origin_day : {0, 1} or None
        Number of the first day of AVAL in ADTTE; None: as the data say (`adam_origin`).
    """

    folder: Path
    subject: str = "SUBJID"
    treatment: str = "TRT01P"
    edss: str = "EDSS"
    t25fw: str = "T25FW"
    nhpt: str = "NHPT"
    codes: Mapping[str, str] = field(default_factory=lambda: dict(CODES))
    time_unit: str | None = None
    origin_day: int | None = None


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
    named = {key: section.optional_text(key) or getattr(usual, key) for key in _TEXTS}
    outcomes = section.inner("paramcd")
    for name, code in outcomes.items():
        section.check(f"paramcd.{name}", code, f"an outcome of {list(OUTCOMES)} and its PARAMCD",
                      name in OUTCOMES and isinstance(code, str) and code != "")  # fmt: skip
    codes = {**usual.codes, **{name: str(code) for name, code in outcomes.items()}}
    origin = section.get("origin_day", "0 or 1", required=False)
    whole = origin if isinstance(origin, int) and not isinstance(origin, bool) else None
    section.check("origin_day", origin, "0 or 1", origin is None or whole in (0, 1))
    unit = section.choice("time_unit", tuple(TIME_UNITS))
    return AdamSettings(usual.folder, **named, codes=codes, time_unit=unit, origin_day=whole)


_TEXTS = ("subject", "treatment", "edss", "t25fw", "nhpt")


def find_adam(folder: Path) -> tuple[Path, Path | None, Path | None]:
    """Return the files of ADSL, ADQS and ADTTE in `folder`; upper or lower case, the suffixes in the order of SUFFIXES.

    Raises
    ------
    SettingsError
        If there is no folder, or no ADSL in it.
    """
    if not folder.is_dir():
        raise SettingsError(f"{folder}: [adam] folder: expected a folder with ADSL, found none. Correct the path.")
    there = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    found = [next((there[n + s] for s in SUFFIXES if n + s in there), None) for n in ("adsl", "adqs", "adtte")]
    if found[0] is None:
        raise SettingsError(
            f"{folder}: expected adsl as one of {list(SUFFIXES)}, found {sorted(there) or 'an empty folder'}. Add it."
        )
    return found[0], found[1], found[2]
