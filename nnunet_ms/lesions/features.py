"""What else is known about each lesion: means of maps, and where it lies.

Location classes follow the regions of the McDonald criteria, by distance to supplied region masks (as LST-AI does):
infratentorial when at least half of the lesion lies in that region; else periventricular when it comes as near to the
ventricles as `PERIVENTRICULAR_MM`; else juxtacortical when it comes as near to the cortex as `JUXTACORTICAL_MM`; else
deep white matter. A class whose region mask is not supplied is not given, and deep white matter then means "none of the
supplied regions". The distances are ours: masks of ventricles leave a rim of one or two voxels to the lesions that
touch them.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Floats
from nnunet_ms.images.volumes import Volume
from nnunet_ms.lesions.components import coordinates, foreground
from nnunet_ms.lesions.distance import nearest_mm
from nnunet_ms.lesions.labelling import Lesions

VENTRICLES, CORTEX, INFRATENTORIAL = REGIONS = ("ventricles", "cortex", "infratentorial")
PERIVENTRICULAR_MM = 3.0
JUXTACORTICAL_MM = 3.0
INFRATENTORIAL_SHARE = 0.5


def mean_of_map(lesions: Lesions, values: Volume) -> Floats:
    """Mean of a map over each lesion's voxels, (L,), in the map's unit.

    Parameters
    ----------
    lesions : Lesions
        L lesions on the grid of `values`.
    values : Volume
        Map (X, Y, Z), such as probability or uncertainty.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import read_mask, read_volume
    >>> from nnunet_ms.lesions.labelling import find_lesions
    >>> lesions = find_lesions(read_mask(Path("reference.nii.gz")))
    >>> mean_of_map(lesions, read_volume(Path("flair.nii.gz"))).round(-1).tolist()
    [160.0, 150.0, 160.0]
    """
    at_voxel = values.data[lesions.voxel_axes].astype(np.float64)
    return np.bincount(lesions.lesion_of_voxel, weights=at_voxel, minlength=lesions.count) / lesions.voxels


def distance_to_region(lesions: Lesions, region: Volume) -> Floats:
    """Distance from each lesion to a region mask on the same grid, (L,), mm; 0 inside, NaN for an empty region.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> from nnunet_ms.lesions.labelling import find_lesions
    >>> mask, region = np.zeros((2, 10, 10, 10), dtype=np.uint8)
    >>> mask[2, 2, 2], region[2, 6, 2] = 1, 1
    >>> grid = Grid(mask.shape, np.diag([1.0, 2.0, 3.0, 1.0]))
    >>> lesions = find_lesions(Volume(mask, grid, Path("mask")))
    >>> distance_to_region(lesions, Volume(region, grid, Path("region"))).tolist()
    [8.0]
    """
    positions = _positions(region)
    if not positions.size:
        return np.full(lesions.count, np.nan)
    distance = np.full(lesions.count, np.inf)
    np.minimum.at(distance, lesions.lesion_of_voxel, nearest_mm(positions, lesions.position_mm()))
    return distance


def locate(lesions: Lesions, regions: Mapping[str, Volume]) -> dict[str, npt.NDArray[np.generic]]:
    """Location class of each lesion and what it follows from.

    Parameters
    ----------
    lesions : Lesions
        L lesions.
    regions : mapping
        Any of `REGIONS` -> mask (X, Y, Z) on the lesions' grid.

    Returns
    -------
    dict
        `location` (L,) str, and per supplied region `ventricles_mm`, `cortex_mm` (distance, mm) and
        `infratentorial_share` (of the lesion's voxels).

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> from nnunet_ms.lesions.labelling import find_lesions
    >>> mask, ventricles = np.zeros((2, 20, 10, 10), dtype=np.uint8)
    >>> mask[2, 2, 2], mask[15, 2, 2], ventricles[4, 2, 2] = 1, 1, 1
    >>> grid = Grid(mask.shape, np.eye(4))
    >>> lesions = find_lesions(Volume(mask, grid, Path("mask")))
    >>> locate(lesions, {"ventricles": Volume(ventricles, grid, Path("ventricles"))})["location"].tolist()
    ['periventricular', 'deep_white_matter']
    """
    columns: dict[str, npt.NDArray[np.generic]] = {
        f"{name}_mm": distance_to_region(lesions, regions[name]) for name in (VENTRICLES, CORTEX) if name in regions
    }
    if INFRATENTORIAL in regions:
        mask = regions[INFRATENTORIAL]
        columns["infratentorial_share"] = mean_of_map(lesions, Volume(mask.data != 0, mask.grid, mask.path))
    far = np.full(lesions.count, np.inf)
    conditions = [
        columns.get("infratentorial_share", -far) >= INFRATENTORIAL_SHARE,
        columns.get("ventricles_mm", far) <= PERIVENTRICULAR_MM,
        columns.get("cortex_mm", far) <= JUXTACORTICAL_MM,
    ]
    names = ["infratentorial", "periventricular", "juxtacortical"]
    return {"location": np.select(conditions, names, default="deep_white_matter").astype(object), **columns}


def _positions(mask: Volume) -> Floats:
    """World coordinates (V, 3) of the centres of a mask's voxels, mm."""
    index = foreground(mask.data)
    return mask.grid.to_world(np.stack(coordinates(index, mask.grid.shape), axis=1))
