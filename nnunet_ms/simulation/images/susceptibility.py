"""Quantitative susceptibility maps: tissue, iron of the deep grey nuclei, lesions, rims of chronic active lesions."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.simulation.images.anatomy import Anatomy
from nnunet_ms.simulation.images.lesion_shapes import Lesion, LesionMap
from nnunet_ms.simulation.model.presets import Susceptibility

BLUR_VOXELS = 0.4  # of the noise: maps are reconstructed from a band-limited phase


def susceptibility_map(
    lesions: Sequence[Lesion], found: LesionMap, anatomy: Anatomy, ppm: Susceptibility, rng: np.random.Generator
) -> SingleFloats:
    """Map in ppm, (X, Y, Z) float32, 0 outside the brain.

    A rim is a shell just inside its lesion's border, brighter by `rim_low` to `rim_high`.
    """
    iron = np.zeros(anatomy.brain.shape, np.float32) if anatomy.iron is None else anatomy.iron
    signal = ppm.grey * anatomy.grey + ppm.white * anatomy.white + iron
    inside = np.clip(np.float32(0.5) + found.depth_mm, 0, 1)
    signal = signal + inside * (ppm.lesion - signal)
    strength = np.array([_strength(lesion, ppm, rng) for lesion in lesions] + [0.0], dtype=np.float32)[found.owner]
    # a rim of less than a voxel would fall between the voxels
    width = max(ppm.rim_mm, min(anatomy.grid.spacing) / 2)
    shell = np.exp(-(((found.depth_mm - width) / width) ** 2))
    signal += strength * shell * (found.depth_mm > 0)
    noise = ndimage.gaussian_filter(rng.standard_normal(signal.shape, dtype=np.float32), BLUR_VOXELS)
    return np.asarray((signal + np.float32(ppm.noise) * noise) * anatomy.brain, dtype=np.float32)


def _strength(lesion: Lesion, ppm: Susceptibility, rng: np.random.Generator) -> float:
    value = float(rng.uniform(ppm.rim_low, ppm.rim_high))
    return value if lesion.rim else 0.0
