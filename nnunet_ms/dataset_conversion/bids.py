"""Source `bids`: a BIDS data set with lesion masks among its derivatives (https://bids-specification.readthedocs.io)."""

from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.dataset_conversion.archives import NIFTI, Archive, find_archive_cases
from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo

# sub-01/ses-02/anat/sub-01_ses-02_acq-3d_FLAIR.nii.gz; entities between session and suffix may be any
_STEM = r"sub-(?P<patient>[0-9A-Za-z]+)/(?:ses-(?P<visit>[0-9A-Za-z]+)/)?anat/sub-(?P=patient)(?:_ses-[0-9A-Za-z]+)?"
_ENTITIES = r"(?:_(?!ce-)[a-z]+-[0-9A-Za-z]+)*"
_ANY = r"(?:_[a-z]+-[0-9A-Za-z]+)*"
_CE = rf"{_ENTITIES}_ce-[0-9A-Za-z]+{_ENTITIES}"
_DERIVATIVE = rf"derivatives/(?:[^/]+/)?{_STEM}"


def _mask(names: str) -> str:
    """Expression of a derivative mask that carries one of the names in its label or desc entity."""
    return rf"{_DERIVATIVE}{_ANY}_(?:label|desc)-(?:{names}){_ANY}_(?:mask|dseg){NIFTI}"


ARCHIVE = Archive(
    DatasetInfo(name="BIDS", description="A BIDS data set; see its dataset_description.json for authors and licence"),
    images={
        "flair": rf"{_STEM}{_ENTITIES}_FLAIR{NIFTI}",
        "t2": rf"{_STEM}{_ENTITIES}_T2w{NIFTI}",
        "t1": rf"{_STEM}{_ENTITIES}_T1w{NIFTI}",
        "t1post": rf"{_STEM}{_CE}_T1w{NIFTI}",
    },
    masks={
        "t2_lesions": {"consensus": _mask("lesions?|t2lesions?|wmh")},
        "t1_enhancing": {"consensus": _mask("t1enhancing|enhancing")},
        "t1_unenhancing": {"consensus": _mask("t1unenhancing|unenhancing|blackhole")},
    },
    expected="files like sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz and derivatives/NAME/sub-01/ses-01/anat/"
    "sub-01_ses-01_label-lesion_mask.nii.gz",
    brain_mask=rf"{_DERIVATIVE}{_ANY}_(?:label|desc)-brain{_ANY}_mask{NIFTI}",
)
INFO = ARCHIVE.info
CHANNELS, TARGET = ARCHIVE.channels, ARCHIVE.target


def find_cases(source: Path, channels: Sequence[str], target: str, rater: str = "", variant: str = "") -> list[Case]:
    """Cases of a BIDS data set, one per session; see `find_archive_cases`."""
    return find_archive_cases(source, ARCHIVE, channels, target, rater, variant)
