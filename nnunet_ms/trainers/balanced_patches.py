"""Half of the patches centred on a lesion, half without any: where the latter are, and the dataset that offers them.

Wahlig et al. (Front Neurosci 17:1188336, 2023) cut 30 patches with and 30 without lesions out of each study. nnU-Net
centres a share of its patches on lesions too, but the others are anywhere, with lesions or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, Ints
from nnunet_ms.trainers.lesion_volumes import LesionVolumeDataset

MOST_CENTRES = 1000  # that are kept of one case
FEWEST = 0.05  # share of all patches, those with the fewest lesion voxels, where each has some: one alone is no sample
Kind = Literal["free", "nearly free", "fewest"]


@dataclass(frozen=True)
class FreeCentres:
    """Where the lesion-free patches of a case may be centred.

    `centres` (n, 3): voxels. `kind`: "free" where no lesion is in the patch before its deformation, which is larger,
    and so none after; "nearly free" where none is in the patch itself, so that a deformation can bring a lesion's edge
    in; "fewest" where every patch has some: the twentieth of them with the fewest lesion voxels.
    """

    centres: Ints
    kind: Kind


def window_sums(mask: npt.NDArray[Any], starts: Sequence[npt.NDArray[Any]], widths: Sequence[int]) -> Ints:
    """Count the voxels of a mask in boxes; what lies outside of the image counts nothing.

    Parameters
    ----------
    mask : (Z, Y, X) bool array
    starts : sequence of three (n,) int arrays
        First voxel of the boxes along each axis; may be negative.
    widths : sequence of int
        Edges of the boxes.

    Returns
    -------
    (n_z, n_y, n_x) int array
        One count for each combination of starts.

    Examples
    --------
    >>> mask = np.zeros((4, 4, 4), bool)
    >>> mask[1, 1, 1] = True
    >>> window_sums(mask, [np.array([0, 2])] * 3, (2, 2, 2))[:, 0, 0]
    array([1, 0])
    """
    counts = mask.astype(np.int64)
    for axis, (start, width) in enumerate(zip(starts, widths, strict=True)):
        n = counts.shape[axis]
        before = np.insert(np.cumsum(counts, axis=axis), 0, 0, axis=axis)  # of the first 0, 1, ... n slices
        first, last = np.clip(start, 0, n), np.clip(start + width, 0, n)
        counts = np.take(before, last, axis=axis) - np.take(before, first, axis=axis)
    return counts


def free_centres(labels: npt.NDArray[Any], patch: Sequence[int], loaded: Sequence[int], seed: int = 0) -> FreeCentres:
    """Find centres in the brain whose patch holds no lesion, or as little of one as can be.

    Parameters
    ----------
    labels : (Z, Y, X) array
        Positive in lesions, negative outside of the brain.
    patch : sequence of int
        Edges of the patch that the network sees.
    loaded : sequence of int
        Edges of the patch before its deformation, at least those of `patch`.
    seed : int, optional
        Of the choice among more than a thousand.

    Examples
    --------
    >>> labels = np.zeros((8, 8, 32), np.int16)
    >>> labels[4, 4, 3] = 1
    >>> found = free_centres(labels, (8, 8, 8), (8, 8, 12))
    >>> found.kind, found.centres[:, 2].min()
    ('free', np.int64(10))
    """
    shape = labels.shape
    # nnU-Net's loader puts the loaded patch from `low` to `high`, its first voxel half an edge before the centre
    starts = []
    for n, small, large in zip(shape, patch, loaded, strict=True):
        pad = max(large - small, large - n)
        starts.append(np.arange(-(pad // 2) - pad % 2, n + pad // 2 + pad % 2 - large + 1))
    lesion = labels > 0
    within = [
        (start + (large - small) // 2 - 1, small + 2)  # a voxel to each side: how halves are rounded
        for start, small, large in zip(starts, patch, loaded, strict=True)
    ]
    counts = window_sums(lesion, [start for start, _ in within], [width for _, width in within])
    wider = window_sums(lesion, starts, loaded)
    centres = [start + large // 2 for start, large in zip(starts, loaded, strict=True)]
    brain = labels[np.ix_(*(np.clip(centre, 0, n - 1) for centre, n in zip(centres, shape, strict=True)))] >= 0
    where, kind = _best(counts, wider, brain if brain.any() else np.ones_like(brain))
    chosen = np.argwhere(where)
    if len(chosen) > MOST_CENTRES:
        chosen = chosen[np.random.default_rng(seed).choice(len(chosen), MOST_CENTRES, replace=False)]
    return FreeCentres(np.stack([centre[chosen[:, axis]] for axis, centre in enumerate(centres)], axis=1), kind)


def _best(counts: Ints, wider: Ints, allowed: Bools) -> tuple[Bools, Kind]:
    for values, kind in ((wider, "free"), (counts, "nearly free")):
        there = allowed & (values == 0)
        if there.any():
            return there, kind  # type: ignore[return-value]
    return allowed & (counts <= np.quantile(counts[allowed], FEWEST, method="lower")), "fewest"


class BalancedDataset(LesionVolumeDataset):
    """Dataset whose cases offer nnU-Net's loader, by turns, their lesions and one lesion-free voxel as patch centres.

    The loader asks for a patch centred on a label; what is offered as the label's voxels is where the patch will be. A
    case without a lesion offers a free patch whatever the turn, and the next ones with lesions make up for it.
    """

    free: Mapping[str, FreeCentres] = {}
    _more_with_lesion = 0  # patches with a lesion, less those without

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Return the case, see `LesionVolumeDataset.load_case`, with the places for the next patch."""
        data, labels, volumes, properties = super().load_case(identifier)
        located = {label: found for label, found in properties["class_locations"].items() if len(found) > 0}
        if located and self._more_with_lesion <= 0:
            self._more_with_lesion += 1
        else:
            self._more_with_lesion -= 1
            centres = self.free[identifier].centres
            centre = centres[np.random.randint(len(centres))]  # noqa: NPY002 - what nnU-Net draws from
            located = {1: np.array([[0, *centre]])}
        return data, labels, volumes, {**properties, "class_locations": located}
