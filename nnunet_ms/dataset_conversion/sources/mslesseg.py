"""Source `mslesseg`: MSLesSeg, 75 patients with one to four visits."""

from functools import partial

from nnunet_ms.dataset_conversion.cases import DatasetInfo
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, find_archive_cases
from nnunet_ms.dataset_conversion.sources.source import OF_ARCHIVES, Source

# train/P1/T1/P1_T1_FLAIR.nii.gz (T1 is the first visit here) and test/P54/P54_FLAIR.nii.gz
_VISIT = r"(?:.*/)?(?P<patient>P\d+)(?:_(?P<visit>T\d+))?_"
ARCHIVE = Archive(
    images={"flair": rf"{_VISIT}FLAIR{NIFTI}", "t2": rf"{_VISIT}T2{NIFTI}", "t1": rf"{_VISIT}T1{NIFTI}"},
    masks={"t2_lesions": {"consensus": rf"{_VISIT}MASK{NIFTI}"}},
    expected="files like train/P1/T1/P1_T1_FLAIR.nii.gz and train/P1/T1/P1_T1_MASK.nii.gz",
)
SOURCE = Source(
    kind="mslesseg",
    info=DatasetInfo(
        name="MSLesSeg",
        citation=(
            "Guarnera F, Rondinella A, Crispino E, et al. MSLesSeg: baseline and benchmarking of a new multiple "
            "sclerosis lesion segmentation dataset. Sci Data 12:920, 2025. doi:10.1038/s41597-025-05250-y"
        ),
        licence="see the data set's terms of use",
        description="MSLesSeg: FLAIR, T2w, T1w registered to MNI 1 mm",
    ),
    channels=("flair", "t2", "t1"),
    target="t2_lesions",
    find=partial(find_archive_cases, ARCHIVE),
    takes=OF_ARCHIVES,
)
