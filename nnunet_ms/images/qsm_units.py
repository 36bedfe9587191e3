"""Whether an image can be a quantitative susceptibility map in ppb; phase, field, magnitude and ppm are refused."""

from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from nnunet_ms.arrays import Bools, Floats, SingleFloats
from nnunet_ms.errors import ImageError
from nnunet_ms.images.volumes import Volume
from nnunet_ms.options import chosen

QsmUnit = Literal["ppb", "ppm", "unchecked"]

PPM_LIMIT = 5.0  # no map of a brain in ppb stays below, none in ppm goes beyond but for a few voxels
LEAST_PPM, LEAST_PPB = 1.0, 25.0  # 99 of 100 voxels of a map lie within .05 to .4 ppm, and 55 to 400 ppb
MEDIAN_LIMIT_PPB = 300.0  # tissue lies within some tens of ppb
# what scanners store as phase: the largest values of radians and of 12 or 13 bits, either sign
_SIGNED_RADIANS = "radians, -pi to pi"
_ENDS = {
    _SIGNED_RADIANS: (-np.pi, np.pi),
    "radians, 0 to 2 pi": (0.0, 2 * np.pi),
    "whole numbers, 0 to 4095": (0.0, 4095.0),
    "whole numbers, -4096 to 4095": (-4096.0, 4095.0),
    "whole numbers, -4096 to 4094": (-4096.0, 4094.0),
    "whole numbers, -4096 to 4096": (-4096.0, 4096.0),
    "whole numbers, -2048 to 2047": (-2048.0, 2047.0),
}
_END_TOLERANCE = 0.02  # of the range: a cut-out need not hold the last values
_WRAP = 0.75  # of the range: a step from one voxel to the next that only a wrap makes
_WRAPPED_SHARE = 5e-4  # of the pairs of neighbours; a healthy crop of raw phase has 1e-3 to 4e-2, a map none
_CLIPPED_SHARE = 2e-3
_OUTER_SHARE = 1e-3  # of the voxels in the outer halves of the range, also of filtered phase
_BINS, _FILLED = 8, 0.02  # phase fills its range evenly; a map has long, thin tails

# A map steps from voxel to voxel by 3 to 20 % of its range, as tissues do and as noise does, and the mean of the voxels
# around explains 1 to 84 % of it. A field with its background, and phase that was unwrapped, steps by 0.3 to 1.2 %, and
# 95 to 99 % are explained (a measured and two simulated heads).
_SMALL_STEP, _EXPLAINED, _AROUND = 0.02, 0.9, 9
_FEW = 1e-3  # of the voxels that are not 0: artefacts

UNCHECKED = "A map that is right all the same passes with --qsm-unit unchecked, as ppb."
MULTIPLY = "Multiply by 1000 (fslmaths QSM -mul 1000 QSM_ppb)"
CONVERSION = f"{MULTIPLY}, or say that it is in ppm (--qsm-unit ppm)."
_OR_PHASE = "Phase in radians can be as small: there take the map that was computed from it."
_IS_PHASE = (
    "Give the susceptibility map that was computed from it: unwrap, remove the background field, invert the dipole."
)


def checked_qsm(
    volume: Volume, unit: QsmUnit = "ppb", conversion: str = CONVERSION, accept: str = UNCHECKED
) -> SingleFloats:
    """Voxels of a map in ppb, (X, Y, Z) float32.

    Parameters
    ----------
    volume : Volume
        The map; finite.
    unit : {"ppb", "ppm", "unchecked"}, optional
        What it is in; ppm are multiplied by 1000. "unchecked": whatever it holds is taken as ppb, but for one value
        everywhere.
    conversion : str, optional
        What the message about a map in ppm says to do.
    accept : str, optional
        How a message ends: what whoever knows better does.

    Raises
    ------
    ImageError
        If it holds one value only, is phase (by its range, by its wraps, or because it varies as slowly as a field
        does), is in the other unit (a map whose largest value is below 5, but in one voxel of a thousand, is in ppm),
        has values as small as radians or Hz, or values that no tissue has.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nnunet_ms.images.volumes import Grid
    >>> grid = Grid((16, 16, 16), np.eye(4))
    >>> noise = np.random.default_rng(0).normal(0, 30, grid.shape).astype(np.float32)
    >>> float(abs(checked_qsm(Volume(noise, grid, Path("qsm.nii.gz")))).max()) > 100
    True
    >>> checked_qsm(Volume(noise / 1000, grid, Path("qsm.nii.gz")))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: qsm.nii.gz: expected QSM in ppb, found no value beyond 0.117: this is ppm. Multiply ...
    """
    chosen(unit, get_args(QsmUnit), "unit")
    data = np.asarray(volume.data, dtype=np.float32)
    if data.min() == data.max():
        raise ImageError(
            f"{volume.path}: expected QSM, found {data.min():g} in every voxel. Was the right file written?"
        )
    if unit != "unchecked" and (found := _unlike(data, unit, conversion)):
        raise ImageError(f"{volume.path}: {found}{' ' * bool(accept)}{accept}")
    return data * np.float32(1000.0) if unit == "ppm" else data


def _unlike(data: SingleFloats, unit: QsmUnit, conversion: str) -> str:
    """What shows that an image is no map in this unit, and the next step; blank where nothing does."""
    low, high = float(data.min()), float(data.max())
    sizes = np.abs(data[data != 0])
    if found := _phase(data, low, high):
        return f"expected QSM in {unit}, found phase ({found}). {_IS_PHASE}"
    if found := _field(data):
        return f"expected QSM in {unit}, found a field map or unwrapped phase ({found}). {_IS_PHASE}"
    if unit == "ppb" and (found := _small(sizes)):
        return f"expected QSM in ppb, found {found}: this is ppm. {conversion} {_OR_PHASE}"
    most = float(np.percentile(sizes, 99))
    if unit == "ppb" and most < LEAST_PPB:
        return (
            f"expected QSM in ppb, some tens of ppb in tissue, found 99 of 100 voxels within {most:.3g}: unwrapped "
            f"phase in radians, or a field in Hz or ppb? {_IS_PHASE}"
        )
    typical = float(np.median(sizes)) * (1.0 if unit == "ppb" else 1000.0)
    return _not_tissue(unit, typical, low) if typical > MEDIAN_LIMIT_PPB else ""


def _field(data: SingleFloats) -> str:
    """What shows that an image is a field with its background, or unwrapped phase; blank where nothing does."""
    inside = data != 0
    low, high = (float(limit) for limit in np.percentile(data[inside], [1, 99]))
    if low == high:
        return ""
    values: Floats = np.where(inside, np.clip(data, low, high), 0.0)
    step = float(np.median(np.concatenate(_steps(values, inside)))) / (high - low)
    if not step < _SMALL_STEP:
        return ""
    share = ndimage.uniform_filter(inside.astype(np.float64), _AROUND)
    rest = (values - ndimage.uniform_filter(values, _AROUND) / np.maximum(share, 1e-6))[inside]
    explained = 1 - float(rest.var() / values[inside].var())
    if explained < _EXPLAINED:
        return ""
    return f"it varies slowly: from voxel to voxel by {step:.2%} of its range, and those around explain {explained:.0%}"


def _steps(values: Floats, inside: Bools) -> list[Floats]:
    """Differences of neighbours that are both inside, by axis."""
    found = []
    for axis in range(3):
        both = np.take(inside, range(1, inside.shape[axis]), axis) & np.take(
            inside, range(inside.shape[axis] - 1), axis
        )
        found.append(np.abs(np.diff(values, axis=axis))[both])
    return found


def _small(sizes: SingleFloats) -> str:
    """What shows that a map is in ppm; blank where it is not. Not zero are `sizes`, the magnitudes."""
    beyond = int(np.count_nonzero(sizes >= PPM_LIMIT))
    if beyond > _FEW * sizes.size or np.percentile(sizes, 99) >= LEAST_PPM:
        return ""
    but = f" but in {beyond} of {sizes.size} voxels" if beyond else ""
    return f"no value beyond {sizes[sizes < PPM_LIMIT].max():.3g}{but}"


def _not_tissue(unit: QsmUnit, typical: float, low: float) -> str:
    expected = f"expected QSM in {unit}, some tens of ppb in tissue, found half of the voxels beyond {typical:.4g} ppb"
    if unit == "ppm":
        return f"{expected}. Is it in ppb already? Leave out --qsm-unit ppm."
    if low >= 0:
        return f"{expected}, and none below 0: a magnitude or R2* image? Give the susceptibility map."
    return f"{expected}: a field map in Hz, or raw numbers of a scanner? Give the susceptibility map in ppb."


def _phase(data: SingleFloats, low: float, high: float) -> str:
    """What shows that an image is phase; blank where nothing does."""
    for name, (first, last) in _ENDS.items():
        within = _END_TOLERANCE * (last - first)
        reached = abs(low - first) <= within and abs(high - last) <= within and (low >= 0 or first < 0)
        if not reached or not (name.startswith("radians") or (data == np.rint(data)).all()):
            continue
        # no map in ppm ends at -pi and pi by chance; filtered phase does, with little beside its ends
        if name == _SIGNED_RADIANS or _fills(data, low, high):
            return name
    wrapped = _wrapped_share(data, high - low)
    # a map that was clipped at both ends is symmetric too, but piles up there
    is_symmetric = abs(low + high) <= 0.01 * (high - low) and np.mean((data == low) | (data == high)) < _CLIPPED_SHARE
    if wrapped >= _WRAPPED_SHARE and (is_symmetric or _is_even(data, low, high)) and np.unique(data).size > 16:
        return f"{100 * wrapped:.2g} % of neighbouring voxels differ by over {_WRAP:.0%} of its range, as wraps do"
    return ""


def _fills(data: SingleFloats, low: float, high: float) -> bool:
    """Whether values are spread over the range: of a map with a few artefacts at either end they are not."""
    outer = np.abs(data - (low + high) / 2) > 0.25 * (high - low)
    return float(outer.mean()) > _OUTER_SHARE


def _is_even(data: SingleFloats, low: float, high: float) -> bool:
    counts, _ = np.histogram(data, _BINS, (low, high))
    return bool((counts >= _FILLED * data.size).all())


def _wrapped_share(data: SingleFloats, span: float) -> float:
    steps = [np.abs(np.diff(data, axis=axis)) > _WRAP * span for axis in range(3)]
    pairs = sum(step.size for step in steps)
    return sum(int(step.sum()) for step in steps) / pairs if pairs else 0.0
