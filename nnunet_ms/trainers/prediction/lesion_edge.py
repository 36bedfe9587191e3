"""How near predicted lesions lie to the edge of the brain mask, where scalp that was left in is taken for lesions.

Samples of a network do not tell: all of them call residual scalp a lesion, so its structural uncertainty is low
(`benchmarks/lsu_scalp.py`). Where the images end does tell.
"""

import cc3d
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.lesions.labelling import Lesions

EDGE_MM = 4.0  # cortex and the fluid over it are thicker; lesions of white matter lie below


def edge_share(lesions: Lesions, content: Bools, within_mm: float = EDGE_MM) -> Floats:
    """Share of each lesion's voxels that lie at the edge of the images' content, (L,) in [0, 1].

    Parameters
    ----------
    lesions : Lesions
        Of the mask.
    content : (X, Y, Z) bool array
        Voxels in which any channel is not 0, on the lesions' grid. Holes are not its edge; the border of the array is.
    within_mm : float, optional
        Between the centres of the voxel and of the nearest voxel outside.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid
    >>> from nnunet_ms.trainers.prediction.lesion_uncertainty import label_sample
    >>> content, mask = np.zeros((2, 30, 30, 30), dtype=bool)
    >>> content[5:25, 5:25, 5:25] = mask[5:8, 10:13, 10:13] = mask[14:17, 14:17, 14:17] = True
    >>> edge_share(label_sample(mask, Grid(mask.shape, np.eye(4))), content)
    array([1., 0.])
    """
    if not lesions.count:
        return np.zeros(0)
    beyond = np.pad(~content, 1, constant_values=True)
    parts = cc3d.connected_components(beyond, connectivity=6)
    outside = parts == parts[0, 0, 0]
    last = np.argwhere(outside & ndimage.binary_dilation(~outside))
    spacing = np.asarray(lesions.grid.spacing)
    voxels = np.stack(lesions.voxel_axes, axis=1) + 1
    away, _ = cKDTree(last * spacing).query(voxels * spacing, distance_upper_bound=within_mm * (1 + 1e-9))
    near = np.bincount(lesions.lesion_of_voxel, np.isfinite(away), lesions.count)
    return np.asarray(near / lesions.voxels, dtype=np.float64)
