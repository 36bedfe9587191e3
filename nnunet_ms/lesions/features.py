"""What else is known about each lesion: means of maps, and where it lies.

Location classes follow the regions of the McDonald criteria, by distance to supplied region masks (as LST-AI does):
infratentorial when at least half of the lesion lies in that region; else periventricular when it comes as near to the
ventricles as `PERIVENTRICULAR_MM`; else juxtacortical when it comes as near to the cortex as `JUXTACORTICAL_MM`; else
deep white matter. A class whose region mask is not supplied is not given, and deep white matter then means "none of the
supplied regions". The distances are ours: masks of ventricles leave a rim of one or two voxels to the lesions that
touch them.

A map of labelled regions with a table of their names (an atlas or a parcellation on the grid of the masks) gives each
lesion the region that holds most of its voxels (`region_of`). No map is part of this package, and none is guessed.
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


def region_of(lesions: Lesions, labels: Volume, names: Mapping[int, str]) -> dict[str, npt.NDArray[np.generic]]:
    """Named region that holds the most voxels of each lesion, and the share of the lesion that it holds.

    Parameters
    ----------
    lesions : Lesions
        L lesions.
    labels : Volume
        Map (X, Y, Z) of whole numbers on the lesions' grid; 0 is no region.
    names : mapping
        Label -> name; several labels may share one. Other labels are no region.

    Returns
    -------
    dict
        `brain_region` (L,) str, blank where no voxel of the lesion lies in a named region, and `brain_region_share`
        (L,), of the lesion's voxels. Of two regions that hold the same number the one named first.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> from nnunet_ms.lesions.labelling import find_lesions
    >>> mask, labels = np.zeros((2, 9, 9, 9), dtype=np.uint8)
    >>> mask[1:4, 2, 2], labels[:3], labels[3:] = 1, 7, 8
    >>> grid = Grid(mask.shape, np.eye(4))
    >>> lesions = find_lesions(Volume(mask, grid, Path("mask")))
    >>> region_of(lesions, Volume(labels, grid, Path("labels")), {7: "frontal", 8: "parietal"})["brain_region"]
    array(['frontal'], dtype=object)
    """
    called = list(dict.fromkeys(names.values()))
    width = len(called) + 1  # the last column is no region
    values, which = np.unique(labels.data[lesions.voxel_axes].astype(np.int64), return_inverse=True)
    columns = np.array([called.index(names[v]) if v in names else width - 1 for v in values.tolist()], dtype=np.int64)
    pairs = lesions.lesion_of_voxel * width + (columns[which] if values.size else which)
    held = np.bincount(pairs, minlength=lesions.count * width).reshape(lesions.count, width)
    most = held[:, :-1].max(axis=1, initial=0)
    best = (
        [called[column] if most[row] else "" for row, column in enumerate(held[:, :-1].argmax(axis=1))]
        if called
        else []
    )
    text = np.array(best or [""] * lesions.count, dtype=object)
    return {"brain_region": text, "brain_region_share": most / lesions.voxels}


def _positions(mask: Volume) -> Floats:
    """World coordinates (V, 3) of the centres of a mask's voxels, mm."""
    index = foreground(mask.data)
    return mask.grid.to_world(np.stack(coordinates(index, mask.grid.shape), axis=1))
