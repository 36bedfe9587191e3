"""What brain extraction leaves beside the brain, as transforms of training patches: skull, muscle, fat, an eye.

Masks differ from program to program; all that is bright and lies outside is no lesion.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from scipy import ndimage

from nnunet_ms.trainers.scan_variety import OnEachChannel, Range, checked_probability, not_zero


class ResidualSkull(OnEachChannel):
    """A bright or dark shell along part of the brain's edge, as brain extraction leaves it.

    Parameters
    ----------
    thickness : tuple of int
        Of the shell, voxels.
    intensity : tuple of float
        In units of the brain's standard deviation around its mean.

    Examples
    --------
    >>> brain = torch.zeros(1, 16, 16, 16)
    >>> brain[:, 5:11, 5:11, 5:11] = 1.0
    >>> shown = ResidualSkull(probability=1.0)(image=brain.clone())["image"]
    >>> bool((shown[brain != 0] == brain[brain != 0]).all()), bool((shown != brain).any())
    (True, True)
    """

    def __init__(
        self, thickness: tuple[int, int] = (1, 4), intensity: Range = (-2.0, 5.0), probability: float = 0.15
    ) -> None:
        super().__init__(probability)
        self.thickness, self.intensity = thickness, intensity

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """See `OnEachChannel`."""
        brain = image.numpy() != 0
        steps = int(np.random.randint(self.thickness[0], self.thickness[1] + 1))  # noqa: NPY002 - as nnU-Net
        shell = ndimage.binary_dilation(brain, iterations=steps) & ~brain
        if not shell.any():  # the patch lies inside the brain
            return image
        patchy = ndimage.gaussian_filter(np.random.normal(size=brain.shape), 3)  # noqa: NPY002
        shell &= patchy > 0
        bright = np.random.uniform(*self.intensity) + np.random.normal(size=brain.shape) * 0.3  # noqa: NPY002
        shown = torch.from_numpy(np.where(shell, bright, 0).astype(np.float32))
        return torch.where(torch.from_numpy(shell), not_zero(shown), image)


class LeftoverTissue(ImageOnlyTransform):
    """Lumps of muscle, fat or eye beside the brain, as loose brain masks leave them: bright, and no lesion.

    Where they lie is one draw for all channels, how bright they are one for each. Nothing of the brain is changed.

    Parameters
    ----------
    radius : tuple of float
        Of a lump, voxels.
    intensity : tuple of float
        In units of the brain's standard deviation around its mean.
    lumps : int
        At most.
    probability : float
        That a patch with brain and background gets some.

    Examples
    --------
    >>> brain = torch.zeros(2, 16, 24, 24)
    >>> brain[:, 8:, 4:20, 4:20] = 1.0
    >>> shown = LeftoverTissue(probability=1.0)(image=brain.clone())["image"]
    >>> bool((shown[brain != 0] == 1).all()), bool((shown != brain).any())
    (True, True)
    """

    def __init__(
        self,
        radius: Range = (3.0, 14.0),
        intensity: Range = (-1.0, 9.0),
        lumps: int = 4,
        probability: float = 0.3,
    ) -> None:
        super().__init__()
        self.radius, self.intensity, self.lumps = radius, intensity, lumps
        self.probability = checked_probability(probability)

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        outside = (img == 0).all(dim=0).numpy()
        if outside.all() or not outside.any() or np.random.uniform() >= self.probability:  # noqa: NPY002 - as nnU-Net
            return img
        tissue = torch.from_numpy(self._drawn(outside))
        grain = torch.from_numpy(ndimage.gaussian_filter(np.random.normal(size=outside.shape), 1))  # noqa: NPY002
        for number in range(img.shape[0]):
            if bool(img[number].any()):
                level = float(np.random.uniform(*self.intensity))  # noqa: NPY002
                img[number] = torch.where(tissue, not_zero((level + grain).to(img.dtype)), img[number])
        return img

    def _drawn(self, outside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which voxels are in a lump: uneven balls around points near the brain, some of them with a gap to it."""
        gap = int(np.random.randint(3))  # noqa: NPY002
        free = outside & ~ndimage.binary_dilation(~outside, iterations=gap) if gap else outside
        near = np.argwhere(ndimage.binary_dilation(~outside, iterations=6) & free)
        uneven = ndimage.gaussian_filter(np.random.normal(size=outside.shape), 2) * 8  # noqa: NPY002
        tissue = np.zeros(outside.shape, dtype=bool)
        places = np.indices(outside.shape, dtype=np.float32)
        for _ in range(int(np.random.randint(1, self.lumps + 1)) if len(near) else 0):  # noqa: NPY002
            centre = near[np.random.randint(len(near))]  # noqa: NPY002
            distance = np.linalg.norm(places - centre[:, None, None, None], axis=0)
            tissue |= distance < np.random.uniform(*self.radius) + uneven  # noqa: NPY002
        return tissue & free
