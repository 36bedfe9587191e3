"""Masks that are given from Python, in the forms of `given.volume_of`, alone or as a pair."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.images.given import ImageLike, has_geometry, volume_of
from nnunet_ms.images.volumes import Volume, checked_mask, read_mask


def mask_of(
    mask: ImageLike,
    name: str,
    *,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    label: int | None = None,
) -> Volume:
    """The mask in one of the forms in which people have it, as (X, Y, Z) uint8 of 0 and 1.

    Parameters
    ----------
    mask : path, nibabel image, SimpleITK image or (X, Y, Z) array
        Truth values, or whole numbers of any type.
    name, affine, spacing
        See `given.volume_of`.
    label : int, optional
        The number, 1 to 255, of the voxels that are lesion; all other whole numbers are then background. Without it a
        mask holds 0 and 1 only, as for `nnunet-ms-evaluate`.

    Raises
    ------
    ImageError
        If it is no 3-D image of finite numbers, or holds others than it may.
    SettingsError
        If an array has no geometry, or two; as `OptionError` if `label` is no such number.

    Examples
    --------
    >>> labels = np.array([0, 1, 2, 2]).reshape(4, 1, 1)
    >>> mask_of(labels, "labels", spacing=(1, 1, 3), label=2).data.ravel().tolist()
    [0, 0, 1, 1]
    >>> mask_of(labels, "labels", spacing=(1, 1, 3))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: labels: expected a mask with values [0, 1], found 2. Is this the mask, and is ...
    """
    if label is not None and label not in range(1, 256):
        raise OptionError(f"label: expected a whole number 1 to 255, or none, found {label!r}. Correct it.")
    allowed = (0, 1) if label is None else range(256)
    if isinstance(mask, str | Path):
        volume = read_mask(Path(mask), allowed)  # several times faster than the way over `volume_of`
    else:
        volume = checked_mask(volume_of(mask, name, affine=affine, spacing=spacing), allowed)
    return volume if label is None else replace(volume, data=(volume.data == label).astype(np.uint8))


def masks_of(
    first: tuple[str, ImageLike],
    second: tuple[str, ImageLike],
    *,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    label: int | None = None,
) -> tuple[Volume, Volume]:
    """Two masks, each with its name, see `mask_of`; an array beside an image lies on the image's grid.

    Raises
    ------
    ImageError
        As `mask_of`.
    SettingsError
        As `mask_of`, or if geometry is given beside an image that has its own. Whether both lie on one grid is not
        checked here.

    Examples
    --------
    >>> drawn = np.zeros((24, 24, 12), dtype=bool)
    >>> reference, prediction = masks_of(("reference", "reference.nii.gz"), ("prediction", drawn))
    >>> prediction.grid.spacing  # the array lies on the grid of the file
    (1.0, 1.0, 3.0)
    """
    masks = dict((first, second))
    made = {name: mask_of(mask, name, label=label) for name, mask in masks.items() if has_geometry(mask)}
    if made and not (affine is None and spacing is None):
        raise SettingsError(
            "spacing, affine: expected neither, because files and images have their own. Leave them out."
        )
    if made:
        affine = next(iter(made.values())).grid.affine
    made |= {
        name: mask_of(mask, name, affine=affine, spacing=spacing, label=label)
        for name, mask in masks.items()
        if name not in made
    }
    return made[first[0]], made[second[0]]
