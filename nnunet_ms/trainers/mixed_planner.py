"""`nnUNetPlannerMSMixed`: one plan for scans of thin and of thick slices.

`nnUNetv2_plan_and_preprocess -pl nnUNetPlannerMSMixed`, then `-p nnUNetPlansMSMixed`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_ms.trainers.patches import ANISOTROPY
from nnunet_ms.trainers.planner import nnUNetPlannerMS

MOST_REDUCED = 2.0  # thin slices are made thicker at most so many times: three times loses a quarter of what is small
AXES = ("first", "second", "third")


def mixed_spacing(spacings: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Voxel edges (3,) in mm that serve scans of all these edges (N, 3), whichever of them are the most.

    Along an axis whose edges differ 1.5-fold or more: twice the thinnest, or the geometric middle of thinnest and
    thickest where that is less. Else the median, as nnU-Net has it.

    Examples
    --------
    >>> mixed_spacing([[6.8, 0.9, 0.9]] * 8 + [[1.0, 1.0, 1.0]] * 2).tolist()
    [2.0, 0.9, 0.9]
    >>> mixed_spacing([[3.0, 1.0, 1.0], [1.0, 1.0, 1.0]]).round(2).tolist()
    [1.73, 1.0, 1.0]
    """
    edges = np.asarray(spacings, dtype=np.float64)
    thin, thick = edges.min(axis=0), edges.max(axis=0)
    between = np.minimum(MOST_REDUCED * thin, np.sqrt(thin * thick))
    return np.where(thick / thin >= ANISOTROPY, between, np.median(edges, axis=0))


def told_of_spacing(spacings: npt.ArrayLike, target: npt.ArrayLike) -> list[str]:
    """What a plan does to scans, a line per axis along which their voxels differ 1.5-fold or more.

    Examples
    --------
    >>> for line in told_of_spacing([[6.8, 0.9, 0.9]] * 8 + [[1.0, 1.0, 1.0]] * 2, (2.0, 0.9, 0.9)):
    ...     print(line)
    voxels of 1 to 6.8 mm along the first axis: planned 2 mm; 2 of 10 cases are reduced, up to 2-fold, 8 interpolated, up to 3.4-fold
    """  # noqa: E501
    edges, planned = np.asarray(spacings, dtype=np.float64), np.asarray(target, dtype=np.float64)
    lines = []
    for axis, name in enumerate(AXES):
        here, to = edges[:, axis], planned[axis]
        if here.max() / here.min() >= ANISOTROPY:
            lines.append(
                f"voxels of {here.min():.3g} to {here.max():.3g} mm along the {name} axis: planned {to:.3g} mm; "
                f"{(here < to).sum()} of {len(here)} cases are reduced, up to {max(to / here.min(), 1):.2g}-fold, "
                f"{(here > to).sum()} interpolated, up to {max(here.max() / to, 1):.2g}-fold"
            )
    return lines


class nnUNetPlannerMSMixed(nnUNetPlannerMS):  # noqa: N801 - nnU-Net finds it by this name
    """As `nnUNetPlannerMS`, for a dataset of several protocols: scans of 1 mm and of thick slices in one plan.

    - target spacing: `mixed_spacing`; `-overwrite_target_spacing` decides instead where it is given;
    - between thick slices images, and the probabilities on their way back, are interpolated linearly. nnU-Net's own
      default repeats the nearest slice, which shows the network steps that no thin slice has, and that the slices
      which `scan_variety.RandomSlices` simulates do not have either.

    Plans get the name nnUNetPlansMSMixed, so that those of `nnUNetPlannerMS` stay beside them.
    """

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 16,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str = "nnUNetPlansMSMixed",
        overwrite_target_spacing: list[float] | tuple[float, ...] | None = None,
        suppress_transpose: bool = False,
    ) -> None:
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )

    def determine_fullres_target_spacing(self) -> npt.NDArray[np.float64]:
        """Voxel edges (3,), mm, in the order of the files' axes."""
        if self.overwrite_target_spacing is not None:
            return np.array(self.overwrite_target_spacing, dtype=np.float64)
        return mixed_spacing(np.vstack(self.dataset_fingerprint["spacings"]))

    def determine_resampling(
        self, *args: Any, **kwargs: Any
    ) -> tuple[Callable[..., Any], dict[str, Any], Callable[..., Any], dict[str, Any]]:
        """Images linear between slices; labels as nnU-Net has them, of the nearest slice."""
        data_fn, data_kwargs, seg_fn, seg_kwargs = super().determine_resampling(*args, **kwargs)
        return data_fn, {**data_kwargs, "order_z": 1}, seg_fn, seg_kwargs

    def determine_segmentation_softmax_export_fn(
        self, *args: Any, **kwargs: Any
    ) -> tuple[Callable[..., Any], dict[str, Any]]:
        """Probabilities linear between slices."""
        function, settings = super().determine_segmentation_softmax_export_fn(*args, **kwargs)
        return function, {**settings, "order_z": 1}

    def plan_experiment(self) -> dict[str, Any]:
        """Plan, and print what is reduced and what is interpolated."""
        spacings = np.vstack(self.dataset_fingerprint["spacings"])
        for line in told_of_spacing(spacings, self.determine_fullres_target_spacing()):
            print(f"{type(self).__name__}: {line}")
        plans: dict[str, Any] = super().plan_experiment()
        return plans
