"""Source `ms3seg`: MS3SEG, multiple sclerosis MRI at 1.5 T with abnormal white-matter hyperintensities."""

from functools import partial

from nnunet_ms.dataset_conversion.cases import DatasetInfo
from nnunet_ms.dataset_conversion.sources.patient_folders import Layout, find_folder_cases
from nnunet_ms.dataset_conversion.sources.source import Source

LAYOUT = Layout(
    images={"flair": "FLAIR.nii.gz", "t2": "T2w.nii.gz", "t1": "T1w.nii.gz"},
    masks={"t2_lesions": "lesion.nii.gz"},
    expected="folders named by patient number with FLAIR.nii.gz, T1w.nii.gz, T2w.nii.gz, lesion.nii.gz",
)
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
    find=partial(find_folder_cases, LAYOUT),
)
