"""Source `isbi2015`: the longitudinal lesion challenge of ISBI 2015, two raters."""

from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, find_archive_cases

# training01/preprocessed/training01_01_flair_pp.nii, training01/masks/training01_01_mask1.nii; test sets have no masks
_VISIT = r"(?:.*/)?(?:(?P<patient>(?:training|test)\d+)_(?P<visit>\d+))"
_SEQUENCES = {"flair": "flair", "t2": "t2", "t1": "mprage", "pd": "pd"}
_PREPROCESSED = {name: rf"{_VISIT}_{stem}_pp{NIFTI}" for name, stem in _SEQUENCES.items()}
ARCHIVE = Archive(
    DatasetInfo(
        name="ISBI2015",
        citation=(
            "Carass A, Roy S, Jog A, et al. Longitudinal multiple sclerosis lesion segmentation: resource and "
            "challenge. NeuroImage 148:77-102, 2017. doi:10.1016/j.neuroimage.2016.12.064"
        ),
        licence="see the challenge's terms of use",
        description="ISBI 2015 longitudinal MS lesion challenge: 3 T, preprocessed to 1 mm",
    ),
    images=_PREPROCESSED,
    # the masks lie on the grid of the preprocessed images, so there is no variant for the original ones
    masks={"t2_lesions": {str(rater): rf"{_VISIT}_mask{rater}{NIFTI}" for rater in (1, 2)}},
    expected="files like preprocessed/training01_01_flair_pp.nii and masks/training01_01_mask1.nii",
)
INFO = ARCHIVE.info
CHANNELS, TARGET = ARCHIVE.channels, ARCHIVE.target


def find_cases(source: Path, channels: Sequence[str], target: str, rater: str = "", variant: str = "") -> list[Case]:
    """Cases below `source`, one per visit; see `find_archive_cases`."""
    return find_archive_cases(source, ARCHIVE, channels, target, rater, variant)
