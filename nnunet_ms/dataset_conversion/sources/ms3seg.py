"""Source `ms3seg`: MS3SEG, multiple sclerosis MRI at 1.5 T with abnormal white-matter hyperintensities."""

from collections.abc import Mapping
from functools import partial

from nnunet_ms.dataset_conversion.cases import DatasetInfo
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, Names
from nnunet_ms.dataset_conversion.sources.published import Layout, find_published_cases
from nnunet_ms.dataset_conversion.sources.source import Source

# as published: MS_100_patient_{preprocessed,registered}/101228/101228_FLAIR.nii.gz, _T1WI_reg, _T2WI_reg, _brain_mask;
# MS_100_patient_masks/abWMH_Masks/101228/101228_abWMH_Mask.nii.gz; in the authors' repository also
# Original_FLAIRs_prep/101228.nii.gz, abWMH_manual_segmentations/101228.nii.gz, manual_3l_masks/101228.nii.gz
_SLICES = r"(?P<patient>\d+)"
_OF_PATIENT = rf"(?:.*/)?{{tree}}{_SLICES}/(?P=patient)_"
_MASKS: tuple[str, ...] = (
    rf"(?:.*/)?abWMH_Masks/{_SLICES}/(?P=patient)_abWMH_Mask{NIFTI}",
    rf"(?:.*/)?abWMH_manual_segmentations/{_SLICES}{NIFTI}",
)
_THREE_LEVELS = rf"(?:.*/)?manual_3l_masks/{_SLICES}{NIFTI}"
_FILES = (
    "files like MS_100_patient_preprocessed/101228/101228_FLAIR.nii.gz, 101228_T1WI_reg.nii.gz and "
    "MS_100_patient_masks/abWMH_Masks/101228/101228_abWMH_Mask.nii.gz"
)
# masks are stored as 0 and 1, 255 or 65535; three levels in steps of the same range, ventricles below lesions
_VALUES = {0: 0, 1: 1, 255: 1, 65535: 1}
_LEVELS = {0: 0, 1: 0, 2: 1, 127: 0, 128: 0, 255: 1, 32767: 0, 32768: 0, 65535: 1}


def _tree(images: Mapping[str, Names]) -> Archive:
    return Archive(
        images=images,
        masks={"t2_lesions": {"consensus": _MASKS, "three_levels": _THREE_LEVELS}},
        expected=_FILES,
        brain_mask=rf"(?:.*/)?{_SLICES}/(?P=patient)_brain_mask{NIFTI}",
        values=_VALUES,
        values_of={"three_levels": _LEVELS},
    )


_REGISTERED = _tree(
    {ch: rf"{_OF_PATIENT}{name}{NIFTI}" for ch, name in {"flair": "FLAIR", "t2": "T2WI_reg", "t1": "T1WI_reg"}.items()}
)
_UNREGISTERED = _tree(
    {ch: rf"{_OF_PATIENT}{name}{NIFTI}" for ch, name in {"flair": "FLAIR", "t2": "T2WI", "t1": "T1WI"}.items()}
)
_NOWHERE = r"(?!)"  # matches nothing: these FLAIR images have no other sequence beside them
_FLAIR_ONLY = _tree(
    {"flair": rf"(?:.*/)?{{tree}}{_SLICES}{NIFTI}", "t2": _NOWHERE, "t1": _NOWHERE},
)
_FOLDERS = Archive(
    images={
        channel: rf"(?:.*/)?(?P<patient>[^/]+)/{name}{NIFTI}"
        for channel, name in {"flair": "FLAIR", "t2": "T2w", "t1": "T1w"}.items()
    },
    masks={"t2_lesions": {"consensus": rf"(?:.*/)?(?P<patient>[^/]+)/lesion{NIFTI}", "three_levels": _THREE_LEVELS}},
    expected="folders named by patient number with FLAIR.nii.gz, T1w.nii.gz, T2w.nii.gz, lesion.nii.gz",
    brain_mask=rf"(?:.*/)?(?P<patient>[^/]+)/brain{NIFTI}",
    values_of={"three_levels": _LEVELS},
)
LAYOUTS = {
    "preprocessed": Layout(_REGISTERED, "MS_100_patient_preprocessed/", "on the FLAIR's grid, 256 x 256"),
    "registered": Layout(_REGISTERED, "MS_100_patient_registered/", "registered to the FLAIR"),
    "folders": Layout(_FOLDERS, "", ""),
    "flair": Layout(_FLAIR_ONLY, "Original_FLAIRs_prep/", "the FLAIR images that the masks were drawn on"),
    "nifti": Layout(_UNREGISTERED, r"MS_100_patient_nifti/", "as the scanner made them, each placed by its header"),
}
SOURCE = Source(
    kind="ms3seg",
    info=DatasetInfo(
        name="MS3SEG",
        citation="Bashiri et al. MS3SEG: a multiple sclerosis MRI dataset with tri-mask annotations. 2025.",
        licence="CC-BY-4.0",
        description="MS3SEG: 1.5 T, slices of 6 to 8 mm; label is the abnormal white-matter hyperintensity",
    ),
    channels=("flair", "t2", "t1"),
    target="t2_lesions",
    find=partial(find_published_cases, LAYOUTS),
    takes=("rater", "variant"),
)
