"""The rows of a lesion table: which lesion, how large, where."""

import numpy as np
import numpy.typing as npt

from nnunet_ms.lesions.labelling import Lesions

Columns = dict[str, npt.NDArray[np.generic]]
AXES = ("x", "y", "z")


def lesion_columns(lesions: Lesions) -> Columns:
    """Size and place of each lesion, the numbers of `tables.LESIONS`.

    Parameters
    ----------
    lesions : Lesions
        L lesions.

    Returns
    -------
    dict
        (L,) arrays: `lesion_id` (from 1), `voxels`, `volume_ml`, and `x_mm`, `y_mm`, `z_mm`, the centroid in world
        coordinates (RAS+ in NIfTI). Not rounded; of length 0 without lesions.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> from nnunet_ms.lesions.labelling import find_lesions
    >>> mask = np.zeros((9, 9, 9)); mask[2:5, 3, 4] = 1
    >>> grid = Grid(mask.shape, np.diag([1.0, 1.0, 2.0, 1.0]))  # voxels of 1 x 1 x 2 mm
    >>> columns = lesion_columns(find_lesions(Volume(mask, grid, Path("mask"))))
    >>> {name: column.tolist() for name, column in columns.items()}
    {'lesion_id': [1], 'voxels': [3], 'volume_ml': [0.006], 'x_mm': [3.0], 'y_mm': [3.0], 'z_mm': [8.0]}
    """
    centroid = lesions.centroid_mm
    return {
        "lesion_id": np.arange(1, lesions.count + 1),
        "voxels": lesions.voxels,
        "volume_ml": lesions.volumes_ml,
        **{f"{name}_mm": centroid[:, axis] for axis, name in enumerate(AXES)},
    }


def box_columns(lesions: Lesions) -> Columns:
    """Bounding box of each lesion, voxel indices, both inside it: (L,) `x_first` to `z_first`, `x_last` to `z_last`."""
    return {
        **{f"{name}_first": lesions.first_voxel[:, axis] for axis, name in enumerate(AXES)},
        **{f"{name}_last": lesions.last_voxel[:, axis] for axis, name in enumerate(AXES)},
    }
