"""What happened to the lesions of one patient between two visits, from the two masks.

Follow-up components are *new*, *enlarging* or *existing*; baseline components are *resolved*, *shrinking* or *kept*. A
voxel that was lesion at the other visit is old, in whatever component it lay. Components below the minimum size are
dropped. The follow-up rule is the project's own (see `classify`); the baseline rule is its mirror image, ours too.

Both visits must lie on one grid, registered: a shift of the head by one voxel turns every rim into growth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.arrays import Bools, Ints
from nnunet_ms.images.volumes import Volume, check_same_grid
from nnunet_ms.lesions.components import Connectivity, foreground, label_voxels

Mask = Literal["followup", "baseline"]


@dataclass(frozen=True)
class ChangeRule:
    """Parameters of the change between two visits.

    Attributes
    ----------
    connectivity : {6, 18, 26}
        Which voxels touch.
    minimum_mm3 : float
        Smallest component, and smallest growth, that counts; rounded up to whole voxels.
    growth_ratio : float
        A lesion with old voxels enlarges when its growth exceeds this share of them.
    new_ratio, new_mm3 : float
        A lesion that grew by more than this share of its old voxels and by more than this volume is new: it swallowed
        an old one.
    """

    connectivity: Connectivity = 6
    minimum_mm3: float = 6.0
    growth_ratio: float = 0.05
    new_ratio: float = 0.5
    new_mm3: float = 12.0

    def minimum_voxels(self, voxel_volume_ml: float) -> int:
        """Smallest component that counts, in voxels."""
        return int(np.ceil(round(self.minimum_mm3 / (1000 * voxel_volume_ml), 6)))  # 6 / 0.3 must be 20, not 21


@dataclass(frozen=True)
class ChangedLesions:
    """The L components of one visit's mask that are large enough, and what became of them.

    Attributes
    ----------
    change : (L,) str array
        At follow-up "existing", "new", "enlarging" or "small", at baseline "kept", "resolved", "shrinking" or "small".
    voxels_old, voxels_only_here : (L,) int64 arrays
        Voxels that are lesion at the other visit as well (o), and those that are not (n).
    voxel_volume_ml : float
        Volume of one voxel in ml.
    """

    change: npt.NDArray[np.str_]
    voxels_old: Ints
    voxels_only_here: Ints
    voxel_volume_ml: float

    def count(self, change: str) -> int:
        """Number of lesions with this change."""
        return int(np.count_nonzero(self.change == change))

    def changed_ml(self, change: str) -> float:
        """Volume in ml that these lesions have at this visit only: gained by follow-up lesions, lost by baseline's."""
        return float(self.voxels_only_here[self.change == change].sum()) * self.voxel_volume_ml


@dataclass(frozen=True)
class LesionChange:
    """The lesions of both visits and what became of them."""

    followup: ChangedLesions
    baseline: ChangedLesions


DEFAULT_RULE = ChangeRule()


def lesion_change(baseline: Volume, followup: Volume, rule: ChangeRule = DEFAULT_RULE) -> LesionChange:
    """Compare the masks of two visits.

    Parameters
    ----------
    baseline, followup : Volume
        Masks (X, Y, Z) on one grid; every non-zero voxel is lesion.
    rule : ChangeRule, optional
        Its defaults are the project's.

    Returns
    -------
    LesionChange
        An empty baseline makes every follow-up lesion new, an empty follow-up every baseline lesion resolved; two
        empty masks give arrays of length 0.

    Raises
    ------
    ImageError
        If the masks lie on different grids.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> before, after = np.zeros((2, 20, 20, 10), dtype=np.uint8)
    >>> before[2:5, 2:5, 2:5] = before[12:15, 12:15, 2:5] = 1
    >>> after[2:5, 2:6, 2:5] = after[2:5, 14:17, 6:9] = 1
    >>> grid = Grid(before.shape, np.eye(4))
    >>> change = lesion_change(*(Volume(mask, grid, Path("mask")) for mask in (before, after)))
    >>> change.followup.change.tolist(), change.baseline.change.tolist()
    (['enlarging', 'new'], ['kept', 'resolved'])
    """
    check_same_grid(baseline, followup, str(baseline.path), str(followup.path))
    return LesionChange(
        followup=_one_visit(followup, baseline, rule, "followup"),
        baseline=_one_visit(baseline, followup, rule, "baseline"),
    )


CHANGES = ("new", "enlarging", "resolved", "shrinking")  # in the order of their labels, from 1


def changed_voxels(baseline: Volume, followup: Volume, rule: ChangeRule = DEFAULT_RULE) -> npt.NDArray[np.uint8]:
    """Where lesions changed between two visits, by the rule of `lesion_change`.

    Parameters
    ----------
    baseline, followup : Volume
        Masks (X, Y, Z) on one grid; every non-zero voxel is lesion.
    rule : ChangeRule, optional
        Its defaults are the project's.

    Returns
    -------
    (X, Y, Z) uint8 array
        1 new, 2 enlarging, 3 resolved, 4 shrinking (`CHANGES`): the voxels that are lesion at one visit only, of
        lesions with this change. Components below the smallest size, and rims that are no growth, stay 0.

    Raises
    ------
    ImageError
        If the masks lie on different grids.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> before, after = np.zeros((2, 20, 20, 10), dtype=np.uint8)
    >>> before[2:5, 2:5, 2:5] = before[12:15, 12:15, 2:5] = 1
    >>> after[2:5, 2:6, 2:5] = after[2:5, 14:17, 6:9] = 1
    >>> grid = Grid(before.shape, np.eye(4))
    >>> found = changed_voxels(*(Volume(mask, grid, Path("mask")) for mask in (before, after)))
    >>> np.bincount(found.ravel())[1:].tolist()  # one of 27 new, 9 of growth, one of 27 resolved
    [27, 9, 27]
    """
    check_same_grid(baseline, followup, str(baseline.path), str(followup.path))
    flat = np.zeros(baseline.data.size, dtype=np.uint8)
    for here, other, mask in ((followup, baseline, "followup"), (baseline, followup, "baseline")):
        index = foreground(here.data)
        is_old = other.data.ravel(order="F")[index] != 0
        old, outside, largest, lesion = _parts(index, is_old, here.grid.shape, rule.connectivity)
        change = classify(old, outside, largest, here.grid.voxel_volume_ml, rule)
        change = _mirrored(change, old) if mask == "baseline" else change
        change[old + outside < rule.minimum_voxels(here.grid.voxel_volume_ml)] = "small"
        for value, name in enumerate(CHANGES, start=1):
            flat[index[~is_old & (change == name)[lesion]]] = value
    return flat.reshape(baseline.data.shape, order="F")


def classify(
    old: Ints, outside: Ints, largest_outside: Ints, voxel_volume_ml: float, rule: ChangeRule = DEFAULT_RULE
) -> npt.NDArray[np.str_]:
    """Name the change of follow-up components.

    With o old voxels and n others: n <= minimum or n / o <= growth ratio: existing; else o = 0: new; else n / o > new
    ratio and n larger than `new_mm3`: new; else the largest connected part outside / o > growth ratio: enlarging; else
    existing. A component without old voxels is never existing: when it is not larger than the minimum, it is small.

    Parameters
    ----------
    old, outside, largest_outside : (L,) int64 arrays
        Voxels o and n of each component, and the size of the largest connected part of n.
    voxel_volume_ml : float
        Volume of one voxel in ml.
    rule : ChangeRule, optional
        Parameters.

    Returns
    -------
    (L,) str array
        "existing", "new", "enlarging" or "small".

    Examples
    --------
    >>> old, outside = np.array([0, 27, 27, 27]), np.array([27, 0, 5, 30])
    >>> classify(old, outside, outside, voxel_volume_ml=0.003).tolist()
    ['new', 'existing', 'enlarging', 'new']
    """
    minimum = rule.minimum_voxels(voxel_volume_ml)
    conditions = [
        (old == 0) & (outside <= minimum),
        (outside <= minimum) | (outside <= rule.growth_ratio * old),
        old == 0,
        (outside > rule.new_ratio * old) & (np.round(1000 * voxel_volume_ml * outside, 6) > rule.new_mm3),
        largest_outside > rule.growth_ratio * old,
    ]
    return np.select(conditions, ["small", "existing", "new", "new", "enlarging"], default="existing")


def change_columns(change: LesionChange) -> dict[str, float]:
    """Counts and volumes for one row of `visits.csv`, named after the change; volumes are those gained or lost, ml.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> before, after = np.zeros((2, 20, 20, 10), dtype=np.uint8)
    >>> after[2:5, 14:17, 6:9] = 1
    >>> grid = Grid(before.shape, np.eye(4))
    >>> change = lesion_change(*(Volume(mask, grid, Path("mask")) for mask in (before, after)))
    >>> columns = change_columns(change)
    >>> columns["new_lesion_count"], columns["new_volume_ml"]
    (1, 0.027)
    """
    followup, baseline = change.followup, change.baseline
    return {
        "new_lesion_count": followup.count("new"),
        "enlarging_lesion_count": followup.count("enlarging"),
        "existing_lesion_count": followup.count("existing"),
        "shrinking_lesion_count": baseline.count("shrinking"),
        "resolved_lesion_count": baseline.count("resolved"),
        "new_volume_ml": followup.changed_ml("new"),
        "enlarging_volume_ml": followup.changed_ml("enlarging"),
        "shrinking_volume_ml": baseline.changed_ml("shrinking"),
        "resolved_volume_ml": baseline.changed_ml("resolved"),
    }


CHANGE_COUNTS = tuple(f"{name}_lesion_count" for name in ("new", "enlarging", "existing", "shrinking", "resolved"))
CHANGE_VOLUMES = tuple(f"{name}_volume_ml" for name in ("new", "enlarging", "shrinking", "resolved"))


def change_table(change: LesionChange) -> pd.DataFrame:
    """One row per component of either visit: `mask`, `change`, `voxels`, `voxels_old`, `voxels_only_here`, ml.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> before, after = np.zeros((2, 20, 20, 10), dtype=np.uint8)
    >>> after[2:5, 14:17, 6:9] = 1
    >>> grid = Grid(before.shape, np.eye(4))
    >>> change = lesion_change(*(Volume(mask, grid, Path("mask")) for mask in (before, after)))
    >>> change_table(change)[["mask", "change", "voxels", "changed_ml"]]
           mask change  voxels  changed_ml
    0  followup    new      27       0.027
    """
    frames = []
    for mask in ("followup", "baseline"):
        lesions: ChangedLesions = getattr(change, mask)
        voxels = lesions.voxels_old + lesions.voxels_only_here
        frames.append(
            pd.DataFrame(
                {
                    "mask": mask,
                    "change": lesions.change,
                    "voxels": voxels,
                    "voxels_old": lesions.voxels_old,
                    "voxels_only_here": lesions.voxels_only_here,
                    "volume_ml": voxels * lesions.voxel_volume_ml,
                    "changed_ml": lesions.voxels_only_here * lesions.voxel_volume_ml,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _one_visit(here: Volume, other: Volume, rule: ChangeRule, mask: Mask) -> ChangedLesions:
    volume_ml = here.grid.voxel_volume_ml
    index = foreground(here.data)
    is_old = other.data.ravel(order="F")[index] != 0
    old, outside, largest, _ = _parts(index, is_old, here.grid.shape, rule.connectivity)
    large = old + outside >= rule.minimum_voxels(volume_ml)
    old, outside, largest = old[large], outside[large], largest[large]
    change = classify(old, outside, largest, volume_ml, rule)
    if mask == "baseline":
        change = _mirrored(change, old)
    return ChangedLesions(change, old, outside, volume_ml)


def _mirrored(change: npt.NDArray[np.str_], old: Ints) -> npt.NDArray[np.str_]:
    """Names for baseline components: what would be new backwards in time has resolved, or shrunk if a part is left."""
    conditions = [change == "small", (change == "new") & (old == 0), np.isin(change, ["new", "enlarging"])]
    return np.select(conditions, ["small", "resolved", "shrinking"], default="kept")


def _parts(
    index: Ints, is_old: Bools, shape: Sequence[int], connectivity: Connectivity
) -> tuple[Ints, Ints, Ints, Ints]:
    """Old voxels, other voxels, the largest connected part of these, of each component, (L,); component of voxels."""
    lesion = label_voxels(index, shape, [connectivity])[0][connectivity]
    count = int(lesion.max()) + 1 if lesion.size else 0
    old = np.bincount(lesion[is_old], minlength=count)
    outside = np.bincount(lesion[~is_old], minlength=count)
    # a part outside is connected inside the mask, so it belongs to one lesion only
    part = label_voxels(index[~is_old], shape, [connectivity])[0][connectivity]
    lesion_of_part = np.zeros(int(part.max()) + 1 if part.size else 0, dtype=np.int64)
    lesion_of_part[part] = lesion[~is_old]
    largest = np.zeros(count, dtype=np.int64)
    np.maximum.at(largest, lesion_of_part, np.bincount(part, minlength=lesion_of_part.size))
    return old.astype(np.int64), outside.astype(np.int64), largest, lesion
