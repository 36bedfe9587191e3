"""From the preprocessed grid back to the image's own: as nnU-Net does it, with files in the axes of the image."""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.images.volumes import Grid, write_volume
from nnunet_ms.outputs import whole_file

Number = TypeVar("Number", bound=np.number)


class WayBack:
    """Resamples to the image's grid and knows where the crop lies in the file.

    Parameters
    ----------
    plans : dict
        nnU-Net's plans.
    configuration : str
        Name in the plans.
    properties : dict
        What nnU-Net's preprocessor says of the case: spacing, crop, shape.
    grid : Grid
        Of the image.

    Attributes
    ----------
    box : tuple of slice
        The crop in the file's (X, Y, Z).
    box_grid : Grid
        Of the crop.
    """

    def __init__(self, plans: dict[str, Any], configuration: str, properties: dict[str, Any], grid: Grid) -> None:
        self.plans = PlansManager(plans)
        self.configuration = self.plans.get_configuration(configuration)
        self.properties, self.grid = properties, grid
        backward = self.plans.transpose_backward
        self.order = [backward[axis] for axis in (2, 1, 0)]  # reader's (z, y, x), then the file's (x, y, z)
        limits = [properties["bbox_used_for_cropping"][axis] for axis in self.order]
        self.box = tuple(slice(int(low), int(high)) for low, high in limits)
        affine = grid.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array([part.start for part in self.box], dtype=float)
        self.box_grid = Grid(tuple(part.stop - part.start for part in self.box), affine)

    def resample(self, volumes: SingleFloats) -> SingleFloats:
        """(T, z, y, x) on the preprocessed grid -> (T, X, Y, Z) in the box."""
        spacing = [self.properties["spacing"][axis] for axis in self.plans.transpose_forward]
        resampled = self.configuration.resampling_fn_probabilities(
            volumes,
            self.properties["shape_after_cropping_and_before_resampling"],
            self.configuration.spacing,
            spacing,
        )
        in_file_order = np.asarray(resampled, dtype=np.float32).transpose([0, *(1 + axis for axis in self.order)])
        return np.ascontiguousarray(in_file_order)

    def mean_probability(self, log_odds: SingleFloats) -> SingleFloats:
        """(folds, z, y, x) -> mean probability (X, Y, Z) in the box."""
        return np.mean(
            [torch.sigmoid(torch.from_numpy(self.resample(one[None])[0])).numpy() for one in log_odds], axis=0
        )

    def whole(self, values: npt.NDArray[Number], around: float) -> npt.NDArray[Number]:
        """An array (X, Y, Z) of the box on the whole image's grid; itself when the box is the whole image."""
        if values.shape == self.grid.shape:
            return values
        whole = np.full(self.grid.shape, around, dtype=values.dtype)
        whole[self.box] = values
        return whole

    def write_map(self, values: SingleFloats, path: Path, around: float) -> None:
        """Write a map of the box on the whole image's grid."""
        write_volume(path, self.whole(values.astype(np.float32, copy=False), around), self.grid.affine)

    def write_mask(self, labels: npt.NDArray[np.uint8], path: Path) -> None:
        """Write the mask with nnU-Net's own writer."""
        whole = self.whole(labels, 0)
        with whole_file(path) as partial:
            self.plans.image_reader_writer_class().write_seg(whole.transpose(2, 1, 0), str(partial), self.properties)
