"""Source `wmh2017`: the WMH segmentation challenge 2017, three scanners."""

from functools import partial

from nnunet_ms.dataset_conversion.cases import DatasetInfo
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, find_archive_cases
from nnunet_ms.dataset_conversion.sources.source import OF_ARCHIVES, Source

# Utrecht/0/pre/FLAIR.nii.gz, Utrecht/0/wmh.nii.gz, Amsterdam/GE3T/100/pre/T1.nii.gz
_PATIENT = (
    r"(?:.*/)?(?P<site>Utrecht|Singapore|Amsterdam/[^/]+|[^/]*GE3T|[^/]*GE1T5|[^/]*Philips[^/]*)/(?P<patient>\d+)"
)
_PREPROCESSED = {name: rf"{_PATIENT}/pre/{stem}{NIFTI}" for name, stem in {"flair": "FLAIR", "t1": "T1"}.items()}
ARCHIVE = Archive(
    images=_PREPROCESSED,
    masks={"t2_lesions": {"consensus": rf"{_PATIENT}/wmh{NIFTI}"}},
    expected="files like Utrecht/0/pre/FLAIR.nii.gz and Utrecht/0/wmh.nii.gz",
    variants={
        "preprocessed": _PREPROCESSED,
        "unprocessed": {name: path.replace("/pre/", "/orig/") for name, path in _PREPROCESSED.items()},
    },
    values={0: 0, 1: 1, 2: 0},
)
SOURCE = Source(
    kind="wmh2017",
    info=DatasetInfo(
        name="WMH2017",
        citation=(
            "Kuijf HJ, Biesbroek JM, de Bresser J, et al. Standardized assessment of automatic segmentation of white "
            "matter hyperintensities and results of the WMH segmentation challenge. IEEE Trans Med Imaging "
            "38:2556-2568, 2019. doi:10.1109/TMI.2019.2905770"
        ),
        licence="CC BY-NC 4.0",
        description="WMH 2017: white-matter hyperintensities of presumed vascular origin, no MS; other pathology is "
        "background here",
    ),
    channels=("flair", "t1"),
    target="t2_lesions",
    find=partial(find_archive_cases, ARCHIVE),
    takes=OF_ARCHIVES,
)
