"""The mask of rims that a simulated map of susceptibility shows."""

from collections.abc import Sequence

import numpy as np

from nnunet_ms.arrays import Bools
from nnunet_ms.simulation.images.anatomy import Anatomy
from nnunet_ms.simulation.images.lesion_shapes import Lesion, LesionMap
from nnunet_ms.simulation.model.presets import Susceptibility

HALF = float(np.sqrt(np.log(2)))  # of the width of exp(-x^2), where it has fallen to one half


def rim_mask(lesions: Sequence[Lesion], found: LesionMap, anatomy: Anatomy, ppm: Susceptibility) -> Bools:
    """Voxels (X, Y, Z) in which a rim has at least half of its strength, see `susceptibility.susceptibility_map`.

    They lie in the mask of lesions; none without a lesion with a rim.
    """
    with_rim = np.array([lesion.rim for lesion in lesions] + [False])[found.owner]
    width = max(ppm.rim_mm, min(anatomy.grid.spacing) / 2)
    near = np.abs(found.depth_mm - width) <= HALF * width
    return np.asarray(with_rim & near & found.mask & (found.depth_mm > 0))
