"""Warnings of a prepared scan, and where it was stripped the brain mask that they are judged by."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.preparation import back_to_source
from nnunet_ms.images.volumes import read_volume, write_volume
from nnunet_ms.segmentation.results import ScanWarning
from nnunet_ms.segmentation.scan_warnings import ACCEPTABLE, check_scan
from nnunet_ms.trainers.training_range import TrainingRange

WARNING_COLUMNS = ["patient_id", "visit", "sequence", "warning", "found", "known"]


def warnings_of_scan(
    case: Case, targets: Mapping[str, Path], record: Path, known: TrainingRange | None, accept: tuple[str, ...]
) -> tuple[ScanWarning, ...]:
    """Look at the images of a scan as they were taken.

    Parameters
    ----------
    case : Case
    targets : mapping of str to Path
        Its prepared images, by sequence.
    record : Path
        What was done to them.
    known : TrainingRange or None
        Of the model.
    accept : tuple of str
        Names of which some may be of `scan_warnings.ACCEPTABLE`.

    Raises
    ------
    ImageError
        If a sequence stands in another one's place, and that is not accepted.
    """
    told = json.loads(record.read_text(encoding="utf-8"))
    brain = None
    if any(step["step"] == "brain_mask" for step in told["steps"]):
        brain = record.with_name(f"{case.case_id}_brain.nii.gz")
        inside = (read_volume(next(iter(targets.values()))).data != 0).astype(np.uint8)
        write_volume(brain, *back_to_source(inside, told))
    accepted = [name for name in accept if name in ACCEPTABLE]
    return tuple(check_scan(case.images, brain, known, accepted))
