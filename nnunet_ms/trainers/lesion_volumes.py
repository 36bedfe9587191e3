"""The lesion-volume map: every lesion voxel holds the volume of its whole lesion, for the loss's weights.

Components are labelled on the un-cropped, preprocessed case, so a lesion that a patch border cuts does not look small.
The map is written once beside the preprocessed cases and travels as nnU-Net's second segmentation channel (the slot of
a previous cascade stage), so cropping, spatial augmentation and deep-supervision down-sampling carry it along.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

from nnunet_ms.lesions.components import Connectivity, find_components
from nnunet_ms.outputs import whole_file

CONNECTIVITY: Connectivity = 18  # the paper's
MAX_VOLUME_MM3 = np.iinfo(np.int16).max  # nnU-Net carries segmentations as int16; alpha is flat long before 32 ml


def lesion_volume_map(labels: npt.NDArray[np.integer], voxel_volume_mm3: float) -> npt.NDArray[np.int16]:
    """Volume in mm3 of the lesion that each voxel belongs to.

    Parameters
    ----------
    labels : (Z, Y, X) integer array
        0 or negative outside lesions; each positive label is a lesion type, labelled on its own.
    voxel_volume_mm3 : float
        Volume of one voxel.

    Returns
    -------
    (Z, Y, X) int16 array
        0 outside lesions, at least 1 inside, capped at 32767.

    Examples
    --------
    >>> labels = np.zeros((2, 3, 4), dtype=np.int16)
    >>> labels[:, 0, :2], labels[0, 2, 3] = 1, 1
    >>> lesion_volume_map(labels, voxel_volume_mm3=3.0)[0]
    array([[12, 12,  0,  0],
           [ 0,  0,  0,  0],
           [ 0,  0,  0,  3]], dtype=int16)
    """
    volume_map = np.zeros(labels.shape, dtype=np.int16)
    for lesion_type in np.unique(labels[labels > 0]):
        lesions = find_components(labels == lesion_type, CONNECTIVITY)
        volumes = np.clip(np.rint(lesions.voxels * voxel_volume_mm3), 1, MAX_VOLUME_MM3).astype(np.int16)
        volume_map += lesions.painted(volumes)  # types share no voxel
    return volume_map


def map_folder(preprocessed: Path, together: bool = False) -> Path:
    """Folder of the maps, beside the preprocessed cases: nnU-Net takes every file among those for a case.

    Maps of all labels `together` lie elsewhere than those of each label on its own, so that neither is taken for the
    other.
    """
    return preprocessed.with_name(preprocessed.name + ("_whole_lesion_volumes" if together else "_lesion_volumes"))


def write_volume_maps(
    preprocessed: Path, cases: Iterable[str], voxel_volume_mm3: float, together: bool = False
) -> None:
    """Write the map of each case that has none, or one older than its segmentation.

    With `together` a lesion may hold several labels (core and rim), and all of its voxels have its whole volume.
    Complete or absent per file, so several processes of one distributed training may call it at once.
    """
    for case in cases:
        segmentation = preprocessed / f"{case}_seg.b2nd"
        target = map_folder(preprocessed, together) / f"{case}.npy"
        if target.is_file() and target.stat().st_mtime >= segmentation.stat().st_mtime:
            continue
        labels = np.asarray(nnUNetDatasetBlosc2(str(preprocessed), [case]).load_case(case)[1][0])
        lesions = (labels > 0).astype(np.int16) if together else labels
        with whole_file(target) as partial:
            np.save(partial, lesion_volume_map(lesions, voxel_volume_mm3))


class LesionVolumeDataset(nnUNetDatasetBlosc2):
    """nnU-Net's dataset, with the lesion-volume map as second segmentation channel."""

    together: ClassVar[bool] = False  # whether the labels are parts of one lesion, see `write_volume_maps`

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Return data (C, Z, Y, X), labels (1, Z, Y, X), lesion volumes (Z, Y, X) and properties."""
        data, labels, _, properties = super().load_case(identifier)
        volumes = np.load(
            map_folder(Path(self.source_folder), self.together) / f"{identifier}.npy", mmap_mode="c"
        )  # writable copies, as torch wants them
        return data, labels, volumes, properties
