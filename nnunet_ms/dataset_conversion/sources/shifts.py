"""Source `shifts`: the Shifts 2.0 challenge, white-matter lesions, publicly shared parts."""

from functools import partial

from nnunet_ms.dataset_conversion.cases import DatasetInfo
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, find_archive_cases
from nnunet_ms.dataset_conversion.sources.source import OF_ARCHIVES, Source

# best/train/flair/1_FLAIR_isovox.nii.gz, best/train/gt/1_gt_isovox.nii.gz, best/train/fg_mask/1_isovox_fg_mask.nii.gz
_PART = r"(?:.*/)?(?P<site>[^/]+/[^/]+)"
_SEQUENCES = {"flair": "FLAIR", "t2": "T2", "t1": "T1", "t1post": "T1CE", "pd": "PD"}
ARCHIVE = Archive(
    images={name: rf"{_PART}/{stem}/(?P<patient>\d+)_{stem}_isovox{NIFTI}" for name, stem in _SEQUENCES.items()},
    masks={"t2_lesions": {"consensus": rf"{_PART}/gt/(?P<patient>\d+)_gt_isovox{NIFTI}"}},
    expected="files like best/train/flair/1_FLAIR_isovox.nii.gz and best/train/gt/1_gt_isovox.nii.gz",
    brain_mask=rf"{_PART}/fg_mask/(?P<patient>\d+)_isovox_fg_mask{NIFTI}",
)
SOURCE = Source(
    kind="shifts",
    info=DatasetInfo(
        name="Shifts",
        citation=(
            "Malinin A, Athanasopoulos A, Barakovic M, et al. Shifts 2.0: extending the dataset of real distributional "
            "shifts. arXiv:2206.15407, 2022."
        ),
        licence="CC BY-NC-SA 4.0; the parts from OFSEP under its data usage agreement",
        description="Shifts 2.0: denoised, skull-stripped, N4, 1 mm",
    ),
    channels=("flair", "t1"),
    target="t2_lesions",
    find=partial(find_archive_cases, ARCHIVE),
    takes=OF_ARCHIVES,
)
