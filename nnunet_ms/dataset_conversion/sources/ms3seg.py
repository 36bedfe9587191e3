"""Source `ms3seg`: MS3SEG, multiple sclerosis MRI at 1.5 T with abnormal white-matter hyperintensities."""

from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo
from nnunet_ms.dataset_conversion.sources.patient_folders import Layout, find_folder_cases

LAYOUT = Layout(
    DatasetInfo(
        name="MS3SEG",
        citation="Bashiri et al. MS3SEG: a multiple sclerosis MRI dataset with tri-mask annotations. 2025.",
        licence="CC-BY-4.0",
        description="MS3SEG: 1.5 T, slices of 6 to 8 mm; label is the abnormal white-matter hyperintensity",
    ),
    images={"flair": "FLAIR.nii.gz", "t2": "T2w.nii.gz", "t1": "T1w.nii.gz"},
    masks={"t2_lesions": "lesion.nii.gz"},
    expected="folders named by patient number with FLAIR.nii.gz, T1w.nii.gz, T2w.nii.gz, lesion.nii.gz",
)
INFO = LAYOUT.info
CHANNELS, TARGET = "flair,t2,t1", "t2_lesions"


def find_cases(source: Path, channels: Sequence[str], target: str) -> list[Case]:
    """Cases below `source`, one per patient folder; see `find_folder_cases`."""
    return find_folder_cases(source, LAYOUT, channels, target)
