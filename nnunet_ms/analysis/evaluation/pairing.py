"""Which files belong to which case: its reference mask, each model's mask, and its place in the trial."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ms.cases_table import NO_VISIT, Place, places, read_cases
from nnunet_ms.errors import SettingsError, visible
from nnunet_ms.images.names import is_text, one_form, stem_of
from nnunet_ms.parallel import Failure

SUFFIX = ".nii.gz"


@dataclass(frozen=True)
class CaseFiles:
    """One case's masks, by rater, and its place in the trial; `week` is NaN when unknown."""

    case_id: str
    reference: Path
    predictions: dict[str, Path]
    patient_id: str
    visit: str = NO_VISIT
    week: float = float("nan")


@dataclass(frozen=True)
class Pairing:
    """Cases to evaluate, cases that lack a file, and the cases in the folders that `cases.csv` does not name."""

    pairs: list[CaseFiles]
    failures: list[Failure]
    left_out: list[str]


def pair_masks(references: Path, predictions: Mapping[str, Path], cases: Path | None = None) -> Pairing:
    """Find the masks of every case, by file name alone.

    A case counts when every model has predicted it, so that models are compared on the same cases.

    Parameters
    ----------
    references : Path
        Folder of `<case_id>.nii.gz`.
    predictions : mapping
        Model's name -> folder of `<case_id>.nii.gz`.
    cases : Path, optional
        `tables.CASES`: gives patient, visit and week, and restricts the cases to those that it names.

    Raises
    ------
    SettingsError
        If a folder is missing, two files of a folder differ in upper and lower case only, or no case is complete.
    TableError
        If `cases` is not a cases table.
    """
    reference_files = masks_in(references)
    prediction_files = {rater: masks_in(folder) for rater, folder in predictions.items()}
    found = sorted({*reference_files, *(name for files in prediction_files.values() for name in files)})
    table = places(read_cases(cases)) if cases else {name: Place(name) for name in found}
    known = {one_form(name): place for name, place in table.items()}
    wanted = [name for name in found if name in known]
    reasons = {name: _missing(name, references, reference_files, predictions, prediction_files) for name in wanted}
    complete = [name for name in wanted if not reasons[name]]
    if not complete:
        folders = "; ".join(f"{predictions[rater]} (found {some(files)})" for rater, files in prediction_files.items())
        raise SettingsError(
            f"expected masks <case_id>{SUFFIX} of the same cases in {references} (found {some(reference_files)}) and "
            f"in {folders}"
            + (f", named in {cases}" if cases else "")
            + ", found no case with both. Check the folders and the file names."
        )
    pairs = [
        CaseFiles(
            name, reference_files[name], {r: files[name] for r, files in prediction_files.items()}, **vars(known[name])
        )
        for name in complete
    ]
    failures = [Failure(visible(name), reasons[name]) for name in wanted if reasons[name]]
    return Pairing(pairs, failures, [visible(name) for name in found if name not in known])


def by_patient(pairs: Sequence[CaseFiles]) -> list[list[CaseFiles]]:
    """Cases of one patient together, by week; cases without a week follow in the order of their names."""
    groups: dict[str, list[CaseFiles]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda pair: (pair.week != pair.week, pair.week, pair.case_id)):
        groups[pair.patient_id].append(pair)
    return [groups[patient] for patient in sorted(groups)]


def masks_in(folder: Path) -> dict[str, Path]:
    """Case id -> file of a folder of masks, `.nii.gz` or `.nii` in any case; hidden files are no masks.

    Raises
    ------
    SettingsError
        If the folder is missing, or two names differ in suffix, upper and lower case or the form of letters only.
    """
    if not folder.is_dir():
        raise SettingsError(f"{folder}: expected a folder of <case_id>{SUFFIX}, found none. Check the path.")
    paths = {path: stem for path in sorted(folder.iterdir()) if (stem := stem_of(path.name))}
    seen: dict[str, Path] = {}
    for path, stem in paths.items():
        other = seen.setdefault(stem.lower(), path)
        if other != path:
            raise SettingsError(
                f"{folder}: expected names that differ by more than upper and lower case, found {visible(other.name)} "
                f"and {visible(path.name)}. Other systems take them for one file, and we for one case; rename one."
            )
    return {stem: path for path, stem in paths.items()}


def some(names: Sequence[str] | Mapping[str, Path], n: int = 3) -> str:
    """Name the first few, for messages."""
    listed = ", ".join(list(names)[:n])
    return f"{listed} and {len(names) - n} more" if len(names) > n else listed or "none"


def _missing(
    name: str,
    references: Path,
    reference_files: Mapping[str, Path],
    predictions: Mapping[str, Path],
    prediction_files: Mapping[str, Mapping[str, Path]],
) -> str:
    """Why a case cannot be evaluated; blank if it can."""
    if not is_text(name):
        return "expected a file name in UTF-8, found other bytes. Rename the masks of this case."
    if name not in reference_files:
        return f"no reference: expected {references / (name + SUFFIX)}. Add it or name cases by a table."
    absent = [rater for rater, files in prediction_files.items() if name not in files]
    if not absent:
        return ""
    expected = ", ".join(str(predictions[rater] / (name + SUFFIX)) for rater in absent)
    return f"no prediction: expected {expected}. Predict this case or move its mask."
