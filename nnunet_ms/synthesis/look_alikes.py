"""What is bright like a lesion, or enhances like one, and is none: vessels, perivascular spaces, choroid plexus."""

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.synthesis.fields import moved, smooth_field
from nnunet_ms.synthesis.label_maps import NUMBER, HeadMap

PLEXUS_MNI_MM = ((22.0, -36.0, 8.0), (12.0, 16.0, 14.0))  # centre, x on both sides, and radii: the atria
VESSEL_MM = 7.0  # correlation of the fields whose common zeros are vessels


def add_look_alikes(
    regions: npt.NDArray[np.uint8],
    head: HeadMap,
    points: SingleFloats,
    ventricle_mm: SingleFloats,
    white_mm: SingleFloats,
    occupied: SingleFloats,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Put vessels, perivascular spaces and the choroid plexus into regions.

    Parameters
    ----------
    regions : (X, Y, Z) uint8 array
        Of the deformed head.
    head : HeadMap
    points : (3, X, Y, Z) float32 array
        Where its voxels lie in the label map.
    ventricle_mm, white_mm : (X, Y, Z) float32 array
    occupied : (X, Y, Z) float32 array
        Share of lesions; nothing is put into them.
    rng : Generator

    Returns
    -------
    (X, Y, Z) uint8 array
    """
    out = regions.copy()
    free = occupied == 0
    tube = _tubes(regions.shape, rng)
    fluid, grey, white = (out == NUMBER[one] for one in ("fluid", "grey_matter", "white_matter"))
    thick, thin = rng.uniform(0.08, 0.2), rng.uniform(0.01, 0.035)
    out[(fluid | (grey & (white_mm > 1.5))) & (tube < thick**2)] = NUMBER["blood"]
    inner = (white & (ventricle_mm > 3)) | (out == NUMBER["deep_grey_matter"])
    space = inner & free & (tube < thin**2)
    out[space] = NUMBER["fluid"] if rng.random() < 0.7 else NUMBER["blood"]
    out[_plexus(regions, head, points, rng)] = NUMBER["choroid_plexus"]
    return out


def _tubes(shape: tuple[int, ...], rng: np.random.Generator) -> SingleFloats:
    """Square of the distance from random curves, in units of their fields: the common zeros of two smooth fields."""
    one, other = (smooth_field(shape, VESSEL_MM, rng) for _ in range(2))
    return np.asarray(one**2 + other**2)


def _plexus(regions: npt.NDArray[np.uint8], head: HeadMap, points: SingleFloats, rng: np.random.Generator) -> Bools:
    """Tufts in the atria of the lateral ventricles."""
    where = np.nonzero(regions == NUMBER["ventricle"])
    out = np.zeros(regions.shape, dtype=bool)
    if not len(where[0]):
        return out
    to_mni = np.linalg.inv(head.from_mni) @ head.grid.affine
    x, y, z = moved(np.stack([axis[where] for axis in points]).reshape(3, -1, 1, 1), to_mni).reshape(3, -1)
    (cx, cy, cz), (rx, ry, rz) = PLEXUS_MNI_MM
    radius = ((np.abs(x) - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2
    tufts = smooth_field(regions.shape, 4.0, rng)[where]
    out[where] = tufts > np.float32(rng.uniform(-0.3, 0.8)) + 0.8 * np.maximum(radius - 0.5, 0)
    return out
