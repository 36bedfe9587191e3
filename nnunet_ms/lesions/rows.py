"""The rows of a lesion table: which lesion, how large, where."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.images.given import ImageLike
from nnunet_ms.images.given_mask import mask_of
from nnunet_ms.lesions.components import Connectivity, check_connectivity
from nnunet_ms.lesions.labelling import Lesions, find_lesions

Columns = dict[str, npt.NDArray[np.generic]]
AXES = ("x", "y", "z")
LESION_NUMBERS = ("lesion_id", "voxels", "volume_ml", *(f"{axis}_mm" for axis in AXES))  # of `lesion_columns`


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
    """Bounding box of each lesion, voxel indices, both inside it: (L,) `x_first` to `z_first`, `x_last` to `z_last`.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import read_mask
    >>> from nnunet_ms.lesions.labelling import find_lesions
    >>> box = box_columns(find_lesions(read_mask(Path("reference.nii.gz"))))
    >>> {name: int(column[0]) for name, column in box.items()}
    {'x_first': 4, 'y_first': 4, 'z_first': 3, 'x_last': 7, 'y_last': 7, 'z_last': 4}
    """
    return {
        **{f"{name}_first": lesions.first_voxel[:, axis] for axis, name in enumerate(AXES)},
        **{f"{name}_last": lesions.last_voxel[:, axis] for axis, name in enumerate(AXES)},
    }


def lesions_in(
    mask: ImageLike,
    *,
    spacing: Sequence[float] | None = None,
    affine: npt.ArrayLike | None = None,
    label: int | None = None,
    connectivity: Connectivity = 18,
    minimum_voxels: int = 3,
) -> pd.DataFrame:
    """Table of the lesions of one mask; the defaults are those of the rule krishnan2023.

    Parameters
    ----------
    mask : path, nibabel image, SimpleITK image or (X, Y, Z) array
        See `given_mask.mask_of`, also for `label`.
    spacing : (3,) sequence of float, optional
        Voxel edges of an array in mm.
    affine : (4, 4) array, optional
        Voxel -> world of an array in mm, instead of `spacing`.
    connectivity : {6, 18, 26}, optional
        Neighbours of a voxel: by face; also by edge; also by corner.
    minimum_voxels : int, optional
        Smaller components are dropped.

    Returns
    -------
    pandas.DataFrame
        One row per lesion: `lesion_columns`, then `box_columns`. No rows without lesions.

    Raises
    ------
    ImageError
        If the file cannot be read, or the mask is not 3-D or holds other numbers.
    SettingsError
        If an array comes without geometry; as `OptionError` if the connectivity is none.

    Examples
    --------
    >>> mask = np.zeros((9, 9, 9), dtype=bool); mask[2:5, 3, 4] = True
    >>> lesions_in(mask, spacing=(1, 1, 2))[["voxels", "volume_ml", "x_mm", "z_mm"]]
       voxels  volume_ml  x_mm  z_mm
    0       3      0.006   3.0   8.0
    """
    check_connectivity(connectivity)
    volume = mask_of(mask, "mask", affine=affine, spacing=spacing, label=label)
    lesions = find_lesions(volume, connectivity, minimum_voxels)
    return pd.DataFrame({**lesion_columns(lesions), **box_columns(lesions)})
