"""Source `open_ms_longitudinal`: two visits of 20 patients (Ljubljana) with a mask of change in a half-way space."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo, Mask
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, Names
from nnunet_ms.dataset_conversion.sources.published import Layout, find_published_cases
from nnunet_ms.dataset_conversion.sources.source import OF_ARCHIVES, Request, Source

# as published on GitHub: longitudinal/raw/patient01/study1_FLAIR.nii.gz, study1_FLAIR_to_common_space.txt,
# study1_T1W_intrastudy_to_FLAIR.txt, gt.nii.gz, and longitudinal/coregistered/patient01/ with images in the common
# space, gt and brainmask; the laboratory's own archive has patient1/patient1_study1_FLAIRreg.nii.gz, patient1_gt and
# patient1/raw/patient1_study1_FLAIR.nii.gz. The mask lies in the common space in all of them.
_PATIENT = r"(?:.*/)?{tree}(?P<patient>patient[^/]+)/(?:patient\d+_)?"
_ANY = _PATIENT.replace("{tree}", "")
_RAW = r"(?:.*/)?(?P<patient>patient[^/]+)/raw/(?:patient\d+_)?"
_VISITS = {"baseline": 1, "followup": 2}
_SEQUENCES = {"flair": "FLAIR", "t2": "T2W", "t1": "T1W"}
_IMAGES = {
    f"{name}_{visit}": f"study{number}_{stem}" for visit, number in _VISITS.items() for name, stem in _SEQUENCES.items()
}
_TARGETS: dict[str, Literal["brighter", "darker", "signed"]] = {
    "new_lesions": "brighter",  # new or growing: the truth does not tell the two apart
    "resolved_lesions": "darker",
    "signed_change": "signed",
}
_CHANGE = f"(?:change_)?gt(?:_common)?{NIFTI}"
_FILES = (
    "files like raw/patient01/study1_FLAIR.nii.gz, study1_FLAIR_to_common_space.txt, gt.nii.gz (or change_gt_common), "
    "or the same in coregistered"
)


def _archive(images: Mapping[str, Names], change: Names) -> Archive:
    return Archive(
        images=images,
        masks={target: {"consensus": change} for target in (*_TARGETS, "change")},
        expected=_FILES,
        brain_mask=rf"{_ANY}brainmask(?:_common)?{NIFTI}",
    )


_COREGISTERED = _archive({ch: rf"{_PATIENT}{name}(?:reg)?{NIFTI}" for ch, name in _IMAGES.items()}, _PATIENT + _CHANGE)
_OF_RAW = _archive(
    {ch: (rf"{_PATIENT}{name}{NIFTI}", rf"{_RAW}{name}{NIFTI}") for ch, name in _IMAGES.items()},
    (_PATIENT + _CHANGE, _ANY + _CHANGE),
)


def _in_common_space(case: Case, request: Request) -> Case:
    """Images that lie in the mask's space already."""
    return _on_the_mask(case, request, {})


def _into_common_space(case: Case, request: Request) -> Case:
    """Raw images, each with its transforms into the mask's space."""
    transforms = {channel: _transforms(path) for channel, path in case.images.items()}
    missing = [path.name for chain in transforms.values() for path in chain if not path.is_file()]
    if missing and not case.problem:
        return replace(case, problem=f"{case.patient_id}: missing transforms {missing}. Copy them again.")
    return _on_the_mask(case, request, transforms)


def _told_by_the_files(case: Case, request: Request) -> Case:
    """A folder that is called neither raw nor coregistered: its files tell which of the two it holds."""
    folder = next(iter(case.images.values()), Path()).parent
    label = "" if case.label is None else next(iter(case.label.files.values())).name
    if any(path.name.split(".")[0].lower().endswith("reg") for path in case.images.values()):
        return _in_common_space(case, request)
    raw = "change_gt_common" in label.lower() or next(folder.glob("*_intrastudy_to_FLAIR.txt"), None) is not None
    if raw or case.problem:
        return _into_common_space(case, request)
    return replace(
        case,
        problem=f"{folder}: these may be raw images or images in the common space, and nothing in the names tells. Say "
        "--variant raw or --variant coregistered.",
    )


def _on_the_mask(case: Case, request: Request, transforms: Mapping[str, tuple[Path, ...]]) -> Case:
    """Cases whose grid is the mask's, or without a mask the brain mask's; both lie in the common space."""
    if case.problem:
        return case
    files = {} if case.label is None else case.label.files
    reference = next(iter(files.values()), case.brain_mask)
    names, target, problem = list(case.images)[:2], request.target, ""
    if reference is None and transforms:
        problem = (
            f"{case.patient_id}: found no mask of change and no brain mask, and without one nobody knows the common "
            "grid. Copy gt.nii.gz or brainmask.nii.gz into the patient's folder."
        )
    elif target in _TARGETS and files and names != ["flair_baseline", "flair_followup"]:
        problem = f"{case.patient_id}: --target {target} needs flair_baseline,flair_followup first, found {names}."
    label = Mask(files, _TARGETS[target]) if target in _TARGETS and files else case.label
    return replace(case, label=label, reference=reference, transforms=dict(transforms), problem=problem)


def _transforms(image: Path) -> tuple[Path, ...]:
    """On the way to the common space: for T1W and T2W to the FLAIR of their visit, then FLAIR to the common space."""
    stem = image.name.split(".")[0]
    study, sequence = stem.rsplit("_", 1)
    names = [f"{study}_FLAIR_to_common_space.txt"]
    if sequence.upper() != "FLAIR":
        names.insert(0, f"{stem}_intrastudy_to_FLAIR.txt")
    # the laboratory's archive keeps the second kind one folder up
    return tuple(
        next(
            (place / name for place in (image.parent, image.parent.parent) if (place / name).is_file()),
            image.with_name(name),
        )
        for name in names
    )


LAYOUTS = {
    "coregistered": Layout(
        _COREGISTERED, "coregistered/", "in the common space, bias corrected, by the publisher", _in_common_space
    ),
    "folders": Layout(_COREGISTERED, "(?<!raw/)", "", _told_by_the_files),
    "raw": Layout(
        _OF_RAW, "raw/", "resampled once into the common space by the published transforms", _into_common_space
    ),
}
SOURCE = Source(
    kind="open_ms_longitudinal",
    info=DatasetInfo(
        name="OpenMSLongitudinal",
        citation=(
            "Lesjak Z, Pernus F, Likar B, Spiclin Z. Validation of white-matter lesion change detection methods on a "
            "novel publicly available MRI image database. Neuroinformatics 14:403-420, 2016. "
            "doi:10.1007/s12021-016-9301-1"
        ),
        licence="CC-BY",
        description="Open MS data, longitudinal: both visits in the half-way space of the mask; the mask of change is "
        "split by the sign of the intensity change",
    ),
    channels=("flair_baseline", "flair_followup"),
    target="new_lesions",
    find=partial(find_published_cases, LAYOUTS),
    takes=OF_ARCHIVES,
    # the mask of change does not tell new lesions from growing ones, nor resolved ones from shrinking ones
    pair_targets={"new_or_enlarging": "new_lesions", "all": "signed_change"},
)
