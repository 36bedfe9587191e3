"""Source `open_ms`: the cross-sectional 3 T MR dataset of the University of Ljubljana, 30 patients."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive
from nnunet_ms.dataset_conversion.sources.published import Layout, find_published_cases
from nnunet_ms.dataset_conversion.sources.source import Request, Source

# as published on GitHub: cross_sectional/{raw,coregistered,coregistered_resampled,MNI}/patient01/FLAIR.nii.gz, T1W,
# T1WKS (after contrast), T2W, consensus_gt, brainmask, T1W_to_FLAIR.txt; the laboratory's own archive has
# patient01/patient01_FLAIR.nii.gz and patient01/raw/patient01_FLAIR.nii.gz
_NAMES = {"flair": "FLAIR", "t2": "T2W", "t1": "T1W", "t1post": "(?:T1WKS|T1wGd)"}
_MASK, _BRAIN = "(?:consensus_gt|lesion)", "brain_?(?:mask)?"
_PATIENT = r"(?:.*/)?{tree}(?P<patient>[^/]+)/(?:(?P=patient)_)?"
_RAW = r"(?:.*/)?(?P<patient>[^/]+)/raw/(?:(?P=patient)_)?"
_NOT_IN_A_TREE = "".join(rf"(?<!{name}/)" for name in ("raw", "MNI", "coregistered", "coregistered_resampled"))
_NOT_IN_A_TREE += "(?!(?:raw|MNI|coregistered|coregistered_resampled)/)"
_MNI = r"(?:.*/)?(?P<patient>patient[^/]+)/"
_MNI_NAMES = {"flair": "FLAIR", "t2": "T2", "t1": "T1", "t1post": "T1POST"}
_FILES = "files like coregistered/patient01/FLAIR.nii.gz, T1W.nii.gz, T1WKS.nii.gz, T2W.nii.gz, consensus_gt.nii.gz"
_TREE = Archive(
    images={channel: rf"{_PATIENT}{name}{NIFTI}" for channel, name in _NAMES.items()},
    masks={"t2_lesions": {"consensus": rf"{_PATIENT}{_MASK}{NIFTI}"}},
    expected=_FILES,
    brain_mask=rf"{_PATIENT}{_BRAIN}{NIFTI}",
)
_OF_RAW = replace(
    _TREE,
    images={ch: (rf"{_PATIENT}{name}{NIFTI}", rf"{_RAW}{name}{NIFTI}") for ch, name in _NAMES.items()},
    masks={
        "t2_lesions": {"consensus": tuple(rf"{p}{_MASK}{NIFTI}" for p in (_PATIENT, _PATIENT.replace("{tree}", "")))}
    },
    brain_mask=rf"{_PATIENT.replace('{tree}', '')}{_BRAIN}{NIFTI}",
)
_IN_MNI = Archive(
    images={channel: rf"{_MNI}{name}_N4[^/]*_regtoMNI{NIFTI}" for channel, name in _MNI_NAMES.items()},
    masks={"t2_lesions": {"consensus": rf"{_MNI}GOLD_STANDARD_N4[^/]*_regtoMNI{NIFTI}"}},
    expected="files like MNI/patient01/FLAIR_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz",
)


def _onto_flair(case: Case, request: Request) -> Case:  # noqa: ARG001 - as every layout's
    """Raw images lie where the scanner put them: the FLAIR, on which the mask lies, gives the grid."""
    flair = case.images.get("flair")
    if case.problem or flair is None:
        return case
    others = {channel: path for channel, path in case.images.items() if channel != "flair"}
    folder = flair.absolute().parent
    places = [folder, folder.parent, folder.parent.parent / "coregistered" / folder.name]
    found = {channel: _transform(path.name.split(".")[0], case, places) for channel, path in others.items()}
    missing = [channel for channel, files in found.items() if not files]
    said = f"; no transform found for {', '.join(missing)}: placed by the header alone" if missing else ""
    transforms = {channel: files for channel, files in found.items() if files}
    return replace(case, reference=flair, transforms=transforms, remark=case.remark + said)


def _transform(stem: str, case: Case, places: list[Path]) -> tuple[Path, ...]:
    names = [f"{stem}_to_FLAIR.txt", f"{case.patient_id}_{stem}_to_FLAIR.txt"]
    return next(((place / name,) for place in places for name in names if (place / name).is_file()), ())


LAYOUTS = {
    "coregistered": Layout(_TREE, "coregistered/", "co-registered to the FLAIR and bias corrected"),
    "folders": Layout(_TREE, _NOT_IN_A_TREE, ""),
    "coregistered_resampled": Layout(_TREE, "coregistered_resampled/", "co-registered, bias corrected and resampled"),
    "raw": Layout(
        _OF_RAW,
        "raw/",
        "as the scanner made them, resampled once onto the FLAIR by the published transforms",
        _onto_flair,
    ),
    "MNI": Layout(_IN_MNI, "", "rigidly aligned to MNI, skull-stripped, bias corrected"),
}
SOURCE = Source(
    kind="open_ms",
    info=DatasetInfo(
        name="OpenMS",
        citation=(
            "Lesjak Z, Galimzianova A, Koren A, et al. A novel public MR image dataset of multiple sclerosis patients "
            "with lesion segmentations based on multi-rater consensus. Neuroinformatics 16:51-63, 2018. "
            "doi:10.1007/s12021-017-9348-7"
        ),
        licence="CC-BY",
        description="Open MS data, cross-sectional: 3 T, consensus of three raters",
    ),
    channels=("flair", "t2", "t1"),
    target="t2_lesions",
    find=partial(find_published_cases, LAYOUTS),
    takes=("variant",),
)
