"""Outputs of `nnunet-ms-endpoints run`, read again: complete, of different trials, and each under a name of its own."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nnunet_ms.analysis.trial.published import PUBLISHED, PublishedTrial
from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.tables import ENDPOINTS, read_table

PROGRAM = "nnunet-ms-endpoints"
PROVENANCE, NUMBERS, PAGE = "provenance.json", "endpoints.csv", "index.html"
_OF_PATIENTS = ("patients", "visits", "assessments", "times")  # inputs by which a trial is known again
_KEYS = ("name", "simulated", "preset", "reference_arm", "compared_arms", "lesion_type", "weeks", "level")


@dataclass(frozen=True)
class ComparedTrial:
    """One trial's output.

    `settings` is `trial.settings_record`; `rows` are those of `endpoints.csv`, blank text where a key does not apply;
    `inputs` is the SHA-256 of each input by its role, `files` the name of each.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    rows: pd.DataFrame
    inputs: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def arms(self) -> list[str]:
        """All arms, the reference first."""
        return [self.settings["reference_arm"], *self.settings["compared_arms"]]

    @property
    def raters(self) -> list[str]:
        """Raters of lesion volumes, in the order of the table."""
        of_lesions = self.rows[self.rows["endpoint"].isin(["baseline", "t2_volume_percent_change"])]
        return [name for name in dict.fromkeys(of_lesions["rater"]) if name]

    @property
    def last_week(self) -> float:
        """The last visit with a scan."""
        return float(max(self.settings["weeks"]))

    @property
    def published(self) -> PublishedTrial | None:
        """What papers print about the trial that its settings name."""
        return PUBLISHED.get(self.settings["preset"] or "")

    @property
    def head(self) -> str:
        """The head of its column."""
        told = "simulated" in self.name.lower() or not self.settings["simulated"]
        return self.name if told else f"{self.name} (simulated)"


def read_trials(folders: Sequence[str | Path]) -> list[ComparedTrial]:
    """Read at least two outputs of `nnunet-ms-endpoints run`.

    Trials of one name get their folder's behind it.

    Raises
    ------
    OptionError
        If the folders are given names.
    SettingsError
        If a folder is no such output, or not whole, or of an earlier version; if two are of one trial; if intervals
        have different levels.
    """
    folders = [folders] if isinstance(folders, str | Path) else folders
    if isinstance(folders, Mapping):
        raise OptionError(
            f"trials: expected a list of folders, found names and folders, {dict(folders)!r}. Leave the names out: "
            "each trial has that of its settings."
        )
    if len(folders) < 2:
        raise SettingsError(
            f"trials: expected at least two folders to compare, found {len(folders)}. Name outputs of {PROGRAM} run."
        )
    trials = [read_output(Path(folder)) for folder in folders]
    for i, trial in enumerate(trials):
        for other in trials[:i]:
            _check_pair(other, trial)
    return _named_apart(trials)


def read_output(folder: Path) -> ComparedTrial:
    """Read one output folder.

    Raises
    ------
    SettingsError
        See `read_trials`.
    """
    provenance = _provenance(folder)
    record = provenance.get("trial")
    if not isinstance(record, dict) or not set(_KEYS) <= set(record):
        raise SettingsError(
            f"{folder / PROVENANCE}: expected the trial's settings under 'trial', found none: an earlier version wrote "
            f"it. Repeat {PROGRAM} run with this one."
        )
    missing = [name for name in (NUMBERS, PAGE) if not (folder / name).is_file()]
    rows = pd.DataFrame() if missing else read_table(folder / NUMBERS, ENDPOINTS)
    expected = provenance.get("rows_out", {}).get("endpoints")
    if missing or len(rows) != expected:
        found = f"no {' and no '.join(missing)}" if missing else f"{len(rows)} rows in {NUMBERS}, not {expected}"
        raise SettingsError(
            f"{folder}: expected a whole output of {PROGRAM} run, found {found}. Repeat {PROGRAM} run to make it anew."
        )
    text = [name for name in rows if name != "stat"]
    rows = rows.assign(**{name: rows[name].fillna("") for name in text})
    inputs = {entry["role"]: entry for entry in provenance.get("inputs", [])}
    sums = {role: str(entry["sha256"]) for role, entry in inputs.items()}
    files = {role: str(entry["file"]) for role, entry in inputs.items()}
    return ComparedTrial(str(record["name"]), folder, record, rows, sums, files)


def _provenance(folder: Path) -> dict[str, Any]:
    path = folder / PROVENANCE
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing"
        step = f" Run {PROGRAM} run {folder} -o FOLDER first, and name FOLDER." if folder.suffix == ".toml" else ""
        raise SettingsError(
            f"{folder}: expected an output folder of {PROGRAM} run, found {what}.{step or ' Check the path.'}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = sorted(entry.name for entry in folder.iterdir())[:5]
        raise SettingsError(
            f"{folder}: expected an output folder of {PROGRAM} run, with {PROVENANCE}, found {names}. Name the folder "
            "that was given to it as -o."
        ) from None
    except ValueError as error:
        raise SettingsError(f"{path}: expected JSON, found {error}. Repeat {PROGRAM} run to make it anew.") from None
    if not isinstance(content, dict) or content.get("program") != PROGRAM:
        found = content.get("program") if isinstance(content, dict) else type(content).__name__
        raise SettingsError(
            f"{path}: expected an output of {PROGRAM} run, found that of {found!r}. Name a trial's folder."
        )
    return content


def _check_pair(one: ComparedTrial, other: ComparedTrial) -> None:
    shared = [role for role in _OF_PATIENTS if role in one.inputs and one.inputs[role] == other.inputs.get(role)]
    same = sha256(one.folder / NUMBERS) == sha256(other.folder / NUMBERS)
    if same or "patients" in shared:  # one table of visits may hold several trials
        why = "the same numbers" if same else f"both were computed from the same {' and '.join(shared)}"
        raise SettingsError(
            f"{other.folder}: expected different trials, found the trial of {one.folder} again ({why}). Leave one out."
        )
    levels = [float(trial.settings["level"]) for trial in (one, other)]
    if abs(levels[0] - levels[1]) > 1e-9:
        words = [f"{100 * level:.6g} % in {trial.folder}" for level, trial in zip(levels, (one, other), strict=True)]
        raise SettingsError(
            f"{other.folder}: expected intervals of one level, found {' and '.join(words)}. Set the same [analysis] "
            f"alpha in both settings files, and repeat {PROGRAM} run."
        )


def _named_apart(trials: Sequence[ComparedTrial]) -> list[ComparedTrial]:
    for behind in (lambda t: f"{t.name} ({t.folder.resolve().name})", lambda t: f"{t.name} ({t.folder.as_posix()})"):
        names = Counter(trial.name for trial in trials)
        trials = [replace(t, name=behind(t)) if names[t.name] > 1 else t for t in trials]
        if len({trial.name for trial in trials}) == len(trials):
            break
    return list(trials)


def sha256(path: Path) -> str:
    """SHA-256 of a file, as `provenance.json` has it.

    Examples
    --------
    >>> _ = Path("a.txt").write_text("a")
    >>> sha256(Path("a.txt"))[:8]
    'ca978112'
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()
