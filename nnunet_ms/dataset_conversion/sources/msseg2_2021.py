"""Source `msseg2_2021`: the MICCAI 2021 challenge MSSEG-2, new lesions between two FLAIR visits."""

from functools import partial

from nnunet_ms.dataset_conversion.cases import DatasetInfo
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, find_archive_cases
from nnunet_ms.dataset_conversion.sources.source import OF_ARCHIVES, Source

# training/013/flair_time01_on_middle_space.nii.gz, ground_truth.nii.gz, ground_truth_expert1.nii.gz ... expert4
_PATIENT = r"(?:.*/)?(?P<patient>\d+)/"
ARCHIVE = Archive(
    images={
        "flair_baseline": rf"{_PATIENT}flair_time01_on_middle_space{NIFTI}",
        "flair_followup": rf"{_PATIENT}flair_time02_on_middle_space{NIFTI}",
    },
    masks={
        "new_lesions": {
            "consensus": rf"{_PATIENT}ground_truth{NIFTI}",
            **{str(number): rf"{_PATIENT}ground_truth_expert{number}{NIFTI}" for number in range(1, 5)},
        }
    },
    expected="files like 013/flair_time01_on_middle_space.nii.gz, 013/ground_truth.nii.gz",
)
SOURCE = Source(
    kind="msseg2_2021",
    info=DatasetInfo(
        name="MSSEG2",
        citation=(
            "Commowick O, Cervenansky F, Cotton F, Dojat M. MSSEG-2 challenge proceedings: multiple sclerosis new "
            "lesions segmentation challenge using a data management and processing infrastructure. MICCAI 2021."
        ),
        licence="see the challenge's terms of use",
        description="MSSEG-2: FLAIR of two visits in a middle space; label is the new lesions",
    ),
    channels=("flair_baseline", "flair_followup"),
    target="new_lesions",
    find=partial(find_archive_cases, ARCHIVE),
    takes=OF_ARCHIVES,
    pair_targets={"new": "new_lesions"},
)
