"""The 527 radiomic features of QSMRim-Net: shape, values and texture of a lesion on QSM and on its eight wavelets.

What the released code's settings give (PyRadiomics 3.0.1: bins of 25 ppb, label 1, no resampling; original image and
the stationary wavelets coif1 of level 1), without `SumAverage`: 14 of shape, and 18 first-order, 23 GLCM and 16 GLRLM
features of each of nine images. `docs/rim.md` says how the number was decoded and where values differ.
"""

from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.classification.rim.feature_intensity import BIN_WIDTH_PPB, first_order, grey_levels
from nnunet_ms.classification.rim.feature_shape import shape_features
from nnunet_ms.classification.rim.feature_texture import Directions, directions_of, glcm_features, glrlm_features
from nnunet_ms.errors import ImageError

LEAST_MAXIMUM_PPB = 5.0  # a map whose largest magnitude is below is one in ppm
MOST_LEVELS = 2000  # of 25 ppb: 50 ppm, ten times what air beside tissue has
IMAGES = ("original", *(f"wavelet-{'HL'[x]}{'HL'[y]}{'HL'[z]}" for x, y, z in product((1, 0), repeat=3)))
_ROOT = np.sqrt(7.0)
# coif1 (Daubechies I. Ten lectures on wavelets, 1992, table 8.1), in closed form
_LOW_PASS = np.array([_ROOT - 3, 1 - _ROOT, 14 - 2 * _ROOT, 14 + 2 * _ROOT, 5 + _ROOT, 1 - _ROOT]) * np.sqrt(2) / 32
_HIGH_PASS = _LOW_PASS[::-1] * np.array([-1, 1, -1, 1, -1, 1])
_DECIMALS = 9  # what a wavelet leaves of a constant is rounding: 1e-14, of either sign
_BEFORE = 2  # voxels that a wavelet looks back; it looks 3 ahead


def rim_features(
    qsm_ppb: npt.ArrayLike, mask: npt.ArrayLike, spacing_mm: tuple[float, float, float]
) -> dict[str, float]:
    """Radiomic features of one lesion, as PyRadiomics 3.0.1 has them with the settings of QSMRim-Net [1]_.

    Parameters
    ----------
    qsm_ppb : (X, Y, Z) array
        Susceptibility in ppb, with at least 3 voxels around the lesion where the image goes on: wavelets look so far,
        and come back on the other side at the array's end.
    mask : (X, Y, Z) array
        The lesion is where it is not 0.
    spacing_mm : (3,) floats
        Edges of a voxel along X, Y and Z, in mm.

    Returns
    -------
    dict of str to float
        527 values named as PyRadiomics names them, in the order of `feature_names`.

    Raises
    ------
    ImageError
        If shapes differ, a value is not finite, the map is in ppm or has a huge range, or the lesion is empty, a single
        voxel, a row of voxels (PyRadiomics refuses these two as well), or without neighbouring voxels.

    References
    ----------
    .. [1] Zhang H et al. NeuroImage Clin 34:102979, 2022. doi:10.1016/j.nicl.2022.102979

    Examples
    --------
    >>> x, y, z = np.indices((16, 16, 16)) - 7.5
    >>> radius = np.sqrt(x**2 + y**2 + z**2)
    >>> found = rim_features(60 * np.exp(-((radius - 3) ** 2)), radius < 4, (1.0, 1.0, 1.0))
    >>> len(found), round(found["original_firstorder_Mean"], 3), round(found["original_shape_VoxelVolume"], 3)
    (527, 39.389, 280.0)
    """
    values, inside = _checked(qsm_ppb, mask, spacing_mm)
    spacing = (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))
    directions = directions_of(inside)
    if not directions.n_pair_directions:
        raise ImageError("lesion: expected voxels that touch each other, found none. Is the mask noise? Leave it out.")
    found = {f"original_shape_{name}": value for name, value in shape_features(inside, spacing).items()}
    for name, image in zip(IMAGES, [values[inside], *_wavelets(values, inside)], strict=True):
        of_image = _image_features(image, directions, float(np.prod(spacing)))
        found.update({f"{name}_{feature}": value for feature, value in of_image.items()})
    return found


def _image_features(values: Floats, directions: Directions, voxel_mm3: float) -> dict[str, float]:
    levels = grey_levels(values)
    if levels.max() > MOST_LEVELS:
        raise ImageError(
            f"lesion: expected QSM in ppb, with a range below {MOST_LEVELS * BIN_WIDTH_PPB:g}, found one of "
            f"{np.ptp(values):g}. Is it another quantity, or in another unit?"
        )
    families = {
        "firstorder": first_order(values, levels, voxel_mm3),
        "glcm": glcm_features(levels, directions),
        "glrlm": glrlm_features(levels, directions),
    }
    return {f"{family}_{name}": value for family, found in families.items() for name, value in found.items()}


def _checked(
    qsm_ppb: npt.ArrayLike, mask: npt.ArrayLike, spacing_mm: tuple[float, float, float]
) -> tuple[Floats, Bools]:
    values, inside = np.asarray(qsm_ppb, dtype=np.float64), np.asarray(mask) != 0
    if values.ndim != 3 or values.shape != inside.shape:
        raise ImageError(
            f"lesion: expected QSM and mask of one shape (X, Y, Z), found {values.shape} and {inside.shape}. Give both "
            "on one grid."
        )
    if len(spacing_mm) != 3 or not all(np.isfinite(edge) and edge > 0 for edge in spacing_mm):
        raise ImageError(f"spacing_mm: expected three lengths > 0, found {spacing_mm}. Correct the image's header.")
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        raise ImageError(
            f"QSM: expected numbers, found {bad} voxels in or around the lesion that are NaN or infinite. Write 0 "
            "where there is no susceptibility, such as outside the brain."
        )
    if (largest := float(np.abs(values).max(initial=0.0))) < LEAST_MAXIMUM_PPB and inside.any():
        raise ImageError(
            f"QSM: expected ppb, found magnitudes of at most {largest:g} in and around the lesion, as in ppm. Multiply "
            "the map by 1000."
        )
    extents = [int(np.ptp(axis)) + 1 for axis in inside.nonzero()] if inside.any() else []
    if sum(extent > 1 for extent in extents) < 2:
        found = "none" if not extents else "one voxel" if max(extents) == 1 else f"a row of {max(extents)} voxels"
        raise ImageError(f"lesion: expected voxels in at least two directions, found {found}. Leave such a lesion out.")
    return values, inside


def _wavelets(values: Floats, inside: Bools) -> list[Floats]:
    """The lesion's values in the eight sub-bands of the stationary wavelet transform, in the order of `IMAGES`."""
    bands = [values]
    box = []
    for axis, places in enumerate(inside.nonzero()):
        begin, end = int(places.min()), int(places.max()) + 1
        bands = [band for one in bands for band in _filtered(one, axis, begin, end)]
        box.append(slice(begin, end))
    lesion = inside[tuple(box)]
    return [np.round(band[lesion], _DECIMALS) for band in bands]


def _filtered(values: Floats, axis: int, begin: int, end: int) -> tuple[Floats, Floats]:
    """Both filters along an axis, from voxel `begin` up to `end`; the axis, made even, is periodic as in PyWavelets."""
    length = values.shape[axis]
    places = np.arange(begin - _BEFORE, end + len(_LOW_PASS) - 1 - _BEFORE) % (length + length % 2)
    near = np.take(values, np.where(places == length, 0, places), axis)
    windows = np.lib.stride_tricks.sliding_window_view(near, len(_LOW_PASS), axis)
    return windows @ _LOW_PASS[::-1], windows @ _HIGH_PASS[::-1]


@cache
def feature_names() -> tuple[str, ...]:
    """Names of the 527 features, in the order of `rim_features`.

    Examples
    --------
    >>> feature_names()[0], feature_names()[-1], len(feature_names())
    ('original_shape_Elongation', 'wavelet-HHH_glrlm_ShortRunLowGrayLevelEmphasis', 527)
    """
    cube = np.pad(np.ones((2, 2, 2), dtype=bool), 1)
    return tuple(rim_features(np.full(cube.shape, 10.0), cube, (1.0, 1.0, 1.0)))
