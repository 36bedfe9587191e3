"""Source `open_ms_longitudinal`: two visits of 20 patients (Ljubljana) with a mask of change in a half-way space."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo, Mask
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, find_archive_cases
from nnunet_ms.dataset_conversion.sources.source import OF_ARCHIVES, Request, Source

# patient01/study1_FLAIR.nii.gz, study1_FLAIR_to_common_space.txt, study1_T1W_intrastudy_to_FLAIR.txt, change_gt_common
# the release itself writes patient01_study1_FLAIR.nii.gz and patient01_change_gt...: the prefix may be there or not
_PATIENT = r"(?:.*/)?(?P<patient>patient\d+)/(?:patient\d+_)?"
_VISITS = {"baseline": 1, "followup": 2}
_SEQUENCES = {"flair": "FLAIR", "t2": "T2W", "t1": "T1W"}
_TARGETS: dict[str, Literal["brighter", "darker", "signed"]] = {
    "new_lesions": "brighter",  # new or growing: the truth does not tell the two apart
    "resolved_lesions": "darker",
    "signed_change": "signed",
}
_CHANGE = rf"{_PATIENT}change_gt_common{NIFTI}"
ARCHIVE = Archive(
    images={
        f"{name}_{visit}": rf"{_PATIENT}study{number}_{stem}{NIFTI}"
        for visit, number in _VISITS.items()
        for name, stem in _SEQUENCES.items()
    },
    masks={target: {"consensus": _CHANGE} for target in (*_TARGETS, "change")},
    expected="files like patient01/study1_FLAIR.nii.gz, study1_FLAIR_to_common_space.txt, change_gt_common.nii.gz",
    brain_mask=rf"{_PATIENT}brainmask_common{NIFTI}",
)


def find_cases(request: Request) -> list[Case]:
    """Find one case per patient, in the space of the mask; see `find_archive_cases`.

    Targets: `new_lesions` (brighter at follow-up), `resolved_lesions` (darker), `signed_change` (1 brighter,
    2 darker), `change` (as given).
    """
    return [_in_common_space(case, request.target) for case in find_archive_cases(ARCHIVE, request)]


def _in_common_space(case: Case, target: str) -> Case:
    if case.problem:
        return case
    if case.label is None:
        return replace(case, problem=f"{case.patient_id}: found no change_gt_common.nii.gz. Copy it again.")
    transforms = {channel: _transforms(path) for channel, path in case.images.items()}
    missing = [path.name for chain in transforms.values() for path in chain if not path.is_file()]
    names = list(case.images)[:2]
    problem = ""
    if missing:
        problem = f"{case.patient_id}: missing transforms {missing}. Copy them again."
    elif target in _TARGETS and names != ["flair_baseline", "flair_followup"]:
        problem = f"{case.patient_id}: --target {target} needs flair_baseline,flair_followup first, found {names}."
    files = case.label.files
    label = Mask(files, _TARGETS[target]) if target in _TARGETS else case.label
    reference = next(iter(files.values()))
    return replace(case, label=label, reference=reference, transforms=transforms, problem=problem)


def _transforms(image: Path) -> tuple[Path, ...]:
    """On the way to the common space: for T1W and T2W to the FLAIR of their visit, then FLAIR to the common space."""
    stem = image.name.split(".")[0]
    study, sequence = stem.rsplit("_", 1)
    common = image.with_name(f"{study}_FLAIR_to_common_space.txt")
    return (common,) if sequence.upper() == "FLAIR" else (image.with_name(f"{stem}_intrastudy_to_FLAIR.txt"), common)


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
        description="Open MS data, longitudinal: both visits resampled once into the half-way space of the mask; the "
        "mask of change is split by the sign of the intensity change",
    ),
    channels=("flair_baseline", "flair_followup"),
    target="new_lesions",
    find=find_cases,
    takes=OF_ARCHIVES,
    comes_aligned=True,
)
