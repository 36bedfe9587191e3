"""Whether an image is a map of susceptibility in parts per billion (ppb): not one in ppm, and not a phase image.

Signs and sizes carry meaning in these maps (iron is positive, myelin negative, a rim is some 50 to 100 ppb brighter
than what is around it), so that everything of this package that reads one asks here first. Within a brain most values
of a map in ppb lie between -150 and 150, the largest (deep grey nuclei, veins, bleeds) near 300 to 1000.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_ms.errors import ImageError

SMALLEST_PPB = 5.0  # a map in ppb holds larger values in any brain, one in ppm never does
WIDE_PPB = 250.0  # the upper quartile of absolute values of a map in ppb lies far below, that of a raw phase far above
EVEN = 0.3  # median / largest absolute value: 0.5 where a wrapped phase is spread evenly, 0.1 to 0.2 in a map
PER_PPM = 1000.0
FEWEST = 8  # voxels, for percentiles
TURNS = {"radians": np.pi, "degrees": 180.0}

_PHASE = "A rim is read on QSM: reconstruct the map from phase and magnitude (dipole inversion), in ppb."


def qsm_fault(values: npt.ArrayLike, inside: npt.ArrayLike | None = None) -> str:
    """What is wrong with the values of an image that should be QSM in ppb; blank where nothing is.

    Parameters
    ----------
    values : array_like of float
        Voxels of the image, any shape.
    inside : array_like of bool, optional
        The brain, same shape. Without it every voxel counts that is not 0, the value outside of a map's mask.

    Returns
    -------
    str
        What was expected, found, and the next step. An image without eight finite voxels inside is a fault, too.
        Told from the sizes alone: a high-pass filtered phase in radians has the sizes of a map in ppm, and the text
        then names both.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ppb = rng.normal(0, 40, 5000)
    >>> qsm_fault(ppb)
    ''
    >>> qsm_fault(ppb / 1000)[:62]
    'expected QSM in ppb (parts per billion), found values up to 0.'
    >>> "phase" in qsm_fault(rng.uniform(0, 4095, 5000).round())
    True
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    counted = flat != 0 if inside is None else np.asarray(inside, dtype=bool).ravel()
    seen = flat[counted & np.isfinite(flat)]
    expected = "expected QSM in ppb (parts per billion), found"
    if seen.size < FEWEST:
        return f"{expected} {seen.size} voxels with a value in the brain. Is this the map, and the right mask?"
    median, upper, largest = np.percentile(np.abs(seen), [50, 75, 99.9])
    told = f"{expected} values up to {largest:.3g} (99.9th percentile; median of the absolute values {median:.2g})"
    if unit := _wrapped(seen, upper):
        return f"{told} that fill one turn in {unit}: a phase image. {_PHASE}"
    if largest < SMALLEST_PPB:
        return _small(told, median, largest)
    if upper > WIDE_PPB:
        return (
            f"{told}, a quarter of them beyond +-{upper:.3g}: a raw phase image, a field map or a map in parts per "
            f"trillion, where three quarters of a brain lie within +-{WIDE_PPB:g} ppb. {_PHASE}"
        )
    return ""


def check_qsm(values: npt.ArrayLike, path: Path | str, inside: npt.ArrayLike | None = None) -> None:
    """Raise ImageError if an image cannot be QSM in ppb, see `qsm_fault`.

    Examples
    --------
    >>> check_qsm(np.linspace(-0.2, 0.3, 100), "qsm.nii.gz")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: qsm.nii.gz: expected QSM in ppb (parts per billion), found values up to 0.3 ...
    """
    if fault := qsm_fault(values, inside):
        raise ImageError(f"{path}: {fault}")


def _wrapped(seen: npt.NDArray[np.float64], upper: float) -> str:
    """Unit of a phase that fills its turn, from -half to half or from 0 to the whole; blank where none does.

    The turn must be full: its ends are reached, and a quarter of the voxels lie in its outer half.
    """
    low, high = float(seen.min()), float(seen.max())
    for unit, half in TURNS.items():
        from_minus = -1.001 * half <= low <= -0.97 * half and 0.97 * half <= high <= 1.001 * half
        from_zero = 0 <= low <= 0.05 * half and 1.94 * half <= high <= 2.002 * half
        if (from_minus or from_zero) and upper > half / 2:
            return unit
    return ""


def _small(told: str, median: float, largest: float) -> str:
    if median > EVEN * largest:
        return f"{told}, spread evenly: a phase image, scaled. {_PHASE}"
    return (
        f"{told}: a map in ppm, or a filtered phase image in radians. If it is QSM in ppm, multiply it by "
        f"{PER_PPM:g} and store it anew; if it is phase: {_PHASE[0].lower()}{_PHASE[1:]}"
    )
