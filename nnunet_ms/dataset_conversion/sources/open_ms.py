"""Source `open_ms`: the cross-sectional 3 T MR dataset of the University of Ljubljana, 30 patients."""

from functools import partial

from nnunet_ms.dataset_conversion.cases import DatasetInfo
from nnunet_ms.dataset_conversion.sources.patient_folders import Layout, find_folder_cases
from nnunet_ms.dataset_conversion.sources.source import Source

LAYOUT = Layout(
    images={"flair": "FLAIR.nii.gz", "t2": "T2w.nii.gz", "t1": "T1w.nii.gz", "t1post": "T1wGd.nii.gz"},
    masks={"t2_lesions": "lesion.nii.gz"},
    expected="folders patientNN with FLAIR.nii.gz, T1w.nii.gz, T1wGd.nii.gz, T2w.nii.gz, lesion.nii.gz",
)
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
        description="Open MS data, cross-sectional: rigidly aligned to MNI, 1 mm, skull-stripped, N4; consensus masks",
    ),
    channels=("flair", "t2", "t1"),
    target="t2_lesions",
    find=partial(find_folder_cases, LAYOUT),
)
