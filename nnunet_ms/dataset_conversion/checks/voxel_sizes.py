"""What nnU-Net will make of voxel sizes that differ within one dataset."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nnunet_ms.dataset_conversion.checks.check import CheckedCase

ANISOTROPIC = 3.0  # nnU-Net's ANISO_THRESHOLD
SEVERAL_FOLD = 2.0  # slices interpolated so many times or more are worth a line


def voxel_size_notes(checked: Sequence[CheckedCase]) -> list[str]:
    """A line where some images would be interpolated several-fold; none where voxels are alike."""
    cases = [one for one in checked if one.spacing]
    if len(cases) < 2:
        return []
    spacings = np.array([one.spacing for one in cases])
    target = planned_spacing(spacings, np.array([one.shape for one in cases]))
    factors = spacings / target
    case, axis = np.unravel_index(int(factors.argmax()), factors.shape)
    if factors[case, axis] < SEVERAL_FOLD:
        return []
    number, along = int((factors.max(axis=1) >= SEVERAL_FOLD).sum()), spacings[:, axis]
    worst = f"{cases[case].case.case_id} {factors[case, axis]:.2g}-fold"
    return [
        f"voxels of {along.min():.3g} to {along.max():.3g} mm along one axis: nnU-Net plans {target[axis]:.3g} mm "
        f"there, so that {number} of {len(cases)} cases are interpolated {SEVERAL_FOLD:g}-fold and more, {worst}. "
        "Plan with -pl nnUNetPlannerMSMixed, convert protocols into datasets of their own, or choose --spacing."
    ]


def planned_spacing(spacings: npt.NDArray[np.float64], shapes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Voxel edges (3,) that nnU-Net plans for images of these edges (N, 3), mm, and shapes (N, 3).

    The median, but along an axis of thick and few slices the 10th percentile; nnU-Net takes the shapes after cropping.

    Examples
    --------
    >>> spacings, shapes = np.array([[1.0, 1.0, 1.0]] + [[1.0, 1.0, 6.0]] * 9), np.array([[200, 200, 30]] * 10)
    >>> planned_spacing(spacings, shapes).round(1).tolist()
    [1.0, 1.0, 5.5]
    """
    target, size = np.median(spacings, axis=0), np.median(shapes, axis=0)
    worst = int(target.argmax())
    others = [axis for axis in range(3) if axis != worst]
    largest = float(target[others].max())
    if target[worst] > ANISOTROPIC * largest and size[worst] * ANISOTROPIC < size[others].min():
        target[worst] = max(float(np.percentile(spacings[:, worst], 10)), largest)
    return np.asarray(target, dtype=np.float64)
