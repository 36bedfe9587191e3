"""Where patches of two labels are centred, of which the second is rare: enhancing lesions, and rims.

Ours: half of the patches on an enhancing lesion (or a rim) when the case has one; the others on an unenhancing lesion
(or a lesion's core), and one in four of them anywhere in the brain.
"""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnunet_ms.trainers.lesion_volumes import LesionVolumeDataset

UNENHANCING, ENHANCING = 1, 2  # labels


class JointT1Dataset(LesionVolumeDataset):
    """Dataset whose cases offer nnU-Net's loader, which takes each kind equally often, the centres of their patches.

    nnU-Net picks a label among those that have locations, each with the same probability, then one of its locations.
    """

    free_share: ClassVar[float] = 0.25  # of the patches that are not centred on an enhancing lesion

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Return the case, see `LesionVolumeDataset.load_case`, with locations for `patch_centres`."""
        data, labels, volumes, properties = super().load_case(identifier)
        locations = patch_centres(properties["class_locations"], labels, self.free_share)
        return data, labels, volumes, {**properties, "class_locations": locations}


class RimDataset(JointT1Dataset):
    """The same for core and rim, which are parts of one lesion: its voxels all have the volume of the whole."""

    together: ClassVar[bool] = True


def patch_centres(
    locations: dict[int, npt.NDArray[np.integer]], labels: Any, free_share: float
) -> dict[int, npt.NDArray[np.integer]]:
    """Locations to centre the next patch of a case on, by label.

    Parameters
    ----------
    locations : mapping
        Label -> (n, 4) indices (channel, z, y, x) of its voxels, as nnU-Net stored them.
    labels : (1, Z, Y, X) array
        Of the case; negative outside the brain.
    free_share : float
        Probability that the unenhancing side offers a voxel anywhere in the brain, in [0, 1]; 1 in effect where the
        case has no unenhancing lesion.

    Returns
    -------
    dict
        `UNENHANCING`: unenhancing voxels, or one free voxel. `ENHANCING`: enhancing voxels, where there are any.
        Drawn with numpy's global generator, as everything that nnU-Net draws.
    """
    enhancing, unenhancing = (locations.get(label, ()) for label in (ENHANCING, UNENHANCING))
    free = len(unenhancing) == 0 or np.random.random() < free_share  # noqa: NPY002 - what nnU-Net draws from
    centres = {UNENHANCING: _free_voxel(labels)[None] if free else np.asarray(unenhancing)}
    return {**centres, ENHANCING: np.asarray(enhancing)} if len(enhancing) else centres


def _free_voxel(labels: Any) -> npt.NDArray[np.integer]:
    """Any voxel of the brain; of the image when a hundred draws found no brain."""
    shape = labels.shape[1:]
    for _ in range(100):
        voxel = np.array([np.random.randint(n) for n in shape])  # noqa: NPY002
        if np.asarray(labels[0, voxel[0], voxel[1], voxel[2]]) >= 0:
            break
    return np.array([0, *voxel])
