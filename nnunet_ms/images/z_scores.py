"""Intensities in units of the brain's own spread."""

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.errors import ImageError


def z_scored(image: npt.NDArray[np.generic], brain: Bools, name: str) -> SingleFloats:
    """The image (X, Y, Z) with mean 0 and standard deviation 1 inside of the brain (X, Y, Z), everywhere scaled alike.

    Parameters
    ----------
    image, brain
        On one grid.
    name : str
        Of the image, for messages.

    Raises
    ------
    ImageError
        If the brain is empty or the image has one value in all of it.

    Examples
    --------
    >>> brain = np.array([True, True, True, False]).reshape(4, 1, 1)
    >>> z_scored(np.array([1.0, 2.0, 3.0, 0.0]).reshape(4, 1, 1), brain, "t1").ravel().round(2)
    array([-1.22,  0.  ,  1.22, -2.45], dtype=float32)
    """
    data = np.asarray(image, dtype=np.float32)
    inside = data[brain].astype(np.float64)
    spread = float(inside.std()) if inside.size else 0.0
    if not spread > 0:
        raise ImageError(
            f"{name}: expected an image, found one value in all of the brain. Was the right file written, and is "
            "the brain mask the right one?"
        )
    return np.asarray((data - inside.mean()) / spread, dtype=np.float32)
