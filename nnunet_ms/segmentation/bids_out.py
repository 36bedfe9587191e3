"""Masks of a run as a BIDS derivative, also where the scans had no name of BIDS."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.raw_dataset.bids_derivative import (
    DESCRIPTION,
    Session,
    SourceDataset,
    describe,
    session_of,
    sidecar,
    source_dataset,
    write_json,
    write_lookup,
)
from nnunet_ms.errors import ConversionError
from nnunet_ms.outputs import whole_folder
from nnunet_ms.segmentation.masks_back import MASKS, PROBABILITY

LESION = "lesion"


@dataclass(frozen=True)
class Derivative:
    """What a derivative says of itself.

    Attributes
    ----------
    root : Path or None
        The BIDS data set of the scans.
    rater : str
        Name of the model; letters and digits are kept.
    labels : mapping of str to int
        Of the masks.
    how : str
        How they were made.
    """

    root: Path | None
    rater: str
    labels: Mapping[str, int]
    how: str


def write_bids(cases: Sequence[Case], done: Path, target: Path, what: Derivative, *, replace: bool = False) -> None:
    """Write masks and mean probabilities on the grid of each scan's first image, with sidecars and a description.

    Parameters
    ----------
    cases : sequence of Case
        Those that were segmented.
    done : Path
        Folder with `masks` and `probability`.
    target : Path
        The derivative, complete or not at all.
    what : Derivative
    replace : bool, optional
        Whether an existing target is replaced.

    Raises
    ------
    ConversionError
        If two scans would have one name.
    """
    rater = re.sub("[^0-9A-Za-z]", "", what.rater)
    source = _source(what.root, target)
    sessions = check_bids_names(cases, what.root, what.rater)
    channels = list(dict.fromkeys(name for case in cases for name in case.images))
    with whole_folder(target, replace=replace) as folder:
        for case in cases:
            session, first = sessions[case.case_id], next(iter(case.images))
            kind = ("mask", rater, LESION) if len(what.labels) == 1 else ("dseg", rater)
            _copy(done / MASKS / first / f"{case.case_id}.nii.gz", folder, session, kind, source)
            for path in sorted((done / PROBABILITY).glob(f"{case.case_id}*.nii.gz")):
                name = path.name.removesuffix(".nii.gz").removeprefix(case.case_id)
                if name[:1] in ("", "_"):
                    label = re.sub("[^0-9A-Za-z]", "", name) or LESION
                    _copy(path, folder, session, ("probseg", rater, label), source)
        if len(what.labels) > 1:
            write_lookup(folder, what.labels, rater)
        describe(folder, "scans", rater, channels, source, what.how)


def _source(root: Path | None, target: Path) -> SourceDataset:
    if root is None or not (root / DESCRIPTION).is_file():
        return SourceDataset({})
    return source_dataset(root, target, root)


def session_of_case(case: Case, root: Path | None) -> Session:
    """Where the files of a scan go: its own session of BIDS, else one that is called after patient and visit.

    Examples
    --------
    >>> session_of_case(Case("P 07", "week 24", 24.0, {"flair": Path("a/flair.nii.gz")}, None), None).stem
    'sub-P07_ses-week24'
    """
    paths = [path.relative_to(root) if root and path.is_relative_to(root) else path for path in case.images.values()]
    images = [path.as_posix() if root else "/".join(path.parts[-2:]) for path in paths]
    found = session_of(images)
    if found is not None and root is not None:
        return found
    parts = [f"sub-{_plain(case.patient_id)}", *([f"ses-{_plain(case.visit)}"] if case.visit else [])]
    return Session(Path(*parts, "anat"), "_".join(parts), tuple(images))


def _plain(name: str) -> str:
    return re.sub("[^0-9A-Za-z]", "", name) or "x"


def check_bids_names(cases: Sequence[Case], root: Path | None, rater: str) -> dict[str, Session]:
    """Where the files of each scan go; before the work of hours, as well as when they are written.

    Parameters
    ----------
    cases : sequence of Case
        Those with a problem and without images are left out.
    root : Path or None
        The BIDS data set of the scans.
    rater : str
        Name of the model.

    Raises
    ------
    ConversionError
        If two scans would have one name, or the name of the model has no letter and no digit.

    Examples
    --------
    >>> case = Case("P 07", "", 24.0, {"flair": Path("a/flair.nii.gz")}, None)
    >>> [session.stem for session in check_bids_names([case], None, "net").values()]
    ['sub-P07']
    """
    if not re.search("[0-9A-Za-z]", rater):
        raise ConversionError(f"--rater: BIDS expects letters or digits in it, found {rater!r}. Rename it.")
    sessions = {case.case_id: session_of_case(case, root) for case in cases if case.images and not case.problem}
    seen: dict[str, str] = {}
    for case_id, session in sessions.items():
        other = seen.setdefault(session.stem.lower(), case_id)
        if other != case_id:
            raise ConversionError(
                f"--bids-out: scans {other} and {case_id} would both be called {session.stem}. Rename one of them."
            )
    return sessions


def _copy(path: Path, folder: Path, session: Session, kind: tuple[str, ...], source: SourceDataset) -> None:
    target = folder / session.path(*kind)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    content = sidecar(session, source, kind[1], kind[0])
    write_json(target.with_name(target.name.replace(".nii.gz", ".json")), content)
