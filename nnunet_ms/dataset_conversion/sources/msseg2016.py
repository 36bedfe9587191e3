"""Source `msseg2016`: the MICCAI 2016 challenge MSSEG, seven experts and their consensus."""

from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, find_archive_cases

# releases: Center_01/Patient_01/{Preprocessed_Data,Raw_Data,Masks}/FLAIR*.nii.gz, or 01016SACH/*.nii.gz in two archives
_PATIENT = (
    r"(?:.*?/)??(?:(?P<site>Cent(?:er|re)_\w+)/)?(?P<patient>Patient_\w+|\d{5}[A-Z]{4}(?:_\d)?)"
    r"/(?:(?:Preprocessed_Data|Raw_Data|Masks)/)?"
)
_SEQUENCES = {"flair": "(?:3D)?FLAIR", "t2": "T2", "t1": "(?:3D)?T1", "t1post": "(?:(?:3D)?T1)?GADO", "pd": "DP"}
_PREPROCESSED = {name: rf"{_PATIENT}{stem}_preprocessed{NIFTI}" for name, stem in _SEQUENCES.items()}
_EXPERTS = {str(number): rf"{_PATIENT}ManualSegmentation_{number}{NIFTI}" for number in range(1, 8)}
ARCHIVE = Archive(
    DatasetInfo(
        name="MSSEG2016",
        citation=(
            "Commowick O, Istace A, Kain M, et al. Objective evaluation of multiple sclerosis lesion segmentation "
            "using a data management and processing "
            "infrastructure. Sci Rep 8:13650, 2018. doi:10.1038/s41598-018-31911-7"
        ),
        licence="see the challenge's terms of use",
        description="MSSEG 2016: four scanners; consensus of seven experts",
    ),
    images=_PREPROCESSED,
    masks={"t2_lesions": {"consensus": rf"{_PATIENT}Consensus{NIFTI}", **_EXPERTS}},
    expected="files like Center_01/Patient_01/Preprocessed_Data/FLAIR_preprocessed.nii.gz and Masks/Consensus.nii.gz",
    brain_mask=rf"{_PATIENT}Brain_Mask{NIFTI}",
    variants={
        "preprocessed": _PREPROCESSED,
        "unprocessed": {name: rf"{_PATIENT}{stem}{NIFTI}" for name, stem in _SEQUENCES.items()},
    },
)
INFO = ARCHIVE.info
CHANNELS, TARGET = ARCHIVE.channels, ARCHIVE.target


def find_cases(source: Path, channels: Sequence[str], target: str, rater: str = "", variant: str = "") -> list[Case]:
    """Cases below `source`, one per visit; see `find_archive_cases`."""
    return find_archive_cases(source, ARCHIVE, channels, target, rater, variant)
