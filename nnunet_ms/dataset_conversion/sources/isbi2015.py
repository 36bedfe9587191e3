"""Source `isbi2015`: the longitudinal lesion challenge of ISBI 2015, two raters."""

from functools import partial

from nnunet_ms.dataset_conversion.cases import DatasetInfo
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, find_archive_cases
from nnunet_ms.dataset_conversion.sources.source import OF_ARCHIVES, Source

# training01/preprocessed/training01_01_flair_pp.nii, training01/masks/training01_01_mask1.nii; test sets have no masks
_VISIT = r"(?:.*/)?(?:(?P<patient>(?:training|test)\d+)_(?P<visit>\d+))"
_SEQUENCES = {"flair": "flair", "t2": "t2", "t1": "mprage", "pd": "pd"}
_PREPROCESSED = {name: rf"{_VISIT}_{stem}_pp{NIFTI}" for name, stem in _SEQUENCES.items()}
ARCHIVE = Archive(
    images=_PREPROCESSED,
    # the masks lie on the grid of the preprocessed images, so there is no variant for the original ones
    masks={"t2_lesions": {str(rater): rf"{_VISIT}_mask{rater}{NIFTI}" for rater in (1, 2)}},
    expected="files like preprocessed/training01_01_flair_pp.nii and masks/training01_01_mask1.nii",
)
SOURCE = Source(
    kind="isbi2015",
    info=DatasetInfo(
        name="ISBI2015",
        citation=(
            "Carass A, Roy S, Jog A, et al. Longitudinal multiple sclerosis lesion segmentation: resource and "
            "challenge. NeuroImage 148:77-102, 2017. doi:10.1016/j.neuroimage.2016.12.064"
        ),
        licence="see the challenge's terms of use",
        description="ISBI 2015 longitudinal MS lesion challenge: 3 T, preprocessed to 1 mm",
    ),
    channels=("flair", "t2", "t1"),
    target="t2_lesions",
    find=partial(find_archive_cases, ARCHIVE),
    takes=OF_ARCHIVES,
)
