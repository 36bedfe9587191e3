"""Source `msseg2016`: the MICCAI 2016 challenge MSSEG, seven experts and their consensus."""

from functools import partial

from nnunet_ms.dataset_conversion.cases import DatasetInfo
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, find_archive_cases
from nnunet_ms.dataset_conversion.sources.source import OF_ARCHIVES, Source

# releases: Center_01/Patient_01/{Preprocessed_Data,Raw_Data,Masks}/FLAIR*.nii.gz, or 01016SACH/*.nii.gz in two archives
_PATIENT = (
    r"(?:.*?/)??(?:(?P<site>Cent(?:er|re)_\w+)/)?(?P<patient>Patient_\w+|\d{5}[A-Z]{4}(?:_\d)?)"
    r"/(?:(?:Preprocessed_Data|Raw_Data|Masks)/)?"
)
_SEQUENCES = {"flair": "(?:3D)?FLAIR", "t2": "T2", "t1": "(?:3D)?T1", "t1post": "(?:(?:3D)?T1)?GADO", "pd": "DP"}
_PREPROCESSED = {name: rf"{_PATIENT}{stem}_preprocessed{NIFTI}" for name, stem in _SEQUENCES.items()}
_EXPERTS = {str(number): rf"{_PATIENT}ManualSegmentation_{number}{NIFTI}" for number in range(1, 8)}
ARCHIVE = Archive(
    images=_PREPROCESSED,
    masks={"t2_lesions": {"consensus": rf"{_PATIENT}Consensus{NIFTI}", **_EXPERTS}},
    expected="files like Center_01/Patient_01/Preprocessed_Data/FLAIR_preprocessed.nii.gz and Masks/Consensus.nii.gz",
    brain_mask=rf"{_PATIENT}Brain_Mask{NIFTI}",
    variants={
        "preprocessed": _PREPROCESSED,
        "unprocessed": {name: rf"{_PATIENT}{stem}{NIFTI}" for name, stem in _SEQUENCES.items()},
    },
)
SOURCE = Source(
    kind="msseg2016",
    info=DatasetInfo(
        name="MSSEG2016",
        citation=(
            "Commowick O, Istace A, Kain M, et al. Objective evaluation of multiple sclerosis lesion segmentation "
            "using a data management and processing "
            "infrastructure. Sci Rep 8:13650, 2018. doi:10.1038/s41598-018-31911-7"
        ),
        licence="see the challenge's terms of use",
        description="MSSEG 2016: four scanners; consensus of seven experts",
    ),
    channels=("flair", "t2", "t1"),
    target="t2_lesions",
    find=partial(find_archive_cases, ARCHIVE),
    takes=OF_ARCHIVES,
)
