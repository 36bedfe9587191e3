"""Which rater has read which case, by file name alone; a rater may be missing in some cases."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_ms.analysis.evaluation.pairing import SUFFIX, masks_in, some
from nnunet_ms.cases_table import Place, places, read_cases
from nnunet_ms.errors import SettingsError, visible
from nnunet_ms.images.names import is_text, one_form
from nnunet_ms.parallel import Failure


@dataclass(frozen=True)
class RaterCase:
    """Masks of one case by rater, two at least, and its place in the trial; `week` is NaN when unknown."""

    case_id: str
    masks: dict[str, Path]
    place: Place


@dataclass(frozen=True)
class RaterCases:
    """Cases with two masks at least, what raters lack, as (case, rater), cases of one mask, and cases not asked for."""

    cases: list[RaterCase]
    missing: list[tuple[str, str]]
    failures: list[Failure]
    left_out: list[str]


def pair_raters(folders: Mapping[str, Path], cases: Path | None = None) -> RaterCases:
    """Find the masks of every case.

    Parameters
    ----------
    folders : mapping
        Rater -> folder of `<case_id>.nii.gz`.
    cases : Path, optional
        `tables.CASES`: gives patient, visit and week, and restricts the cases to those that it names.

    Raises
    ------
    SettingsError
        If a folder is missing, two files of a folder differ in upper and lower case only, or no case has two masks.
    TableError
        If `cases` is not a cases table.
    """
    files = {rater: masks_in(folder) for rater, folder in folders.items()}
    found = sorted({name for of_rater in files.values() for name in of_rater})
    table = places(read_cases(cases)) if cases else {name: Place(name) for name in found}
    known = {one_form(name): place for name, place in table.items()}
    wanted = [name for name in found if name in known]
    by_case = {name: {rater: paths[name] for rater, paths in files.items() if name in paths} for name in wanted}
    reasons = {name: _unfit(name, masks) for name, masks in by_case.items()}
    usable = [RaterCase(name, by_case[name], known[name]) for name in wanted if not reasons[name]]
    if not usable:
        listed = "; ".join(f"{folders[rater]} (found {some(paths)})" for rater, paths in files.items())
        raise SettingsError(
            f"expected masks <case_id>{SUFFIX} of the same cases by two raters at least in {listed}"
            + (f", named in {cases}" if cases else "")
            + ", found no case that two of them have. Check the folders and the file names."
        )
    missing = [(visible(one.case_id), rater) for one in usable for rater in folders if rater not in one.masks]
    failures = [Failure(visible(name), reasons[name]) for name in wanted if reasons[name]]
    return RaterCases(usable, missing, failures, [visible(name) for name in found if name not in known])


def _unfit(name: str, masks: Mapping[str, Path]) -> str:
    """Why a case has no pair of masks; blank if it has one."""
    if not is_text(name):
        return "expected a file name in UTF-8, found other bytes. Rename the masks of this case."
    if len(masks) < 2:
        return f"expected masks of two raters at least, found {next(iter(masks))}'s alone. Add another one's mask."
    return ""
