"""Brain masks by deepbet [1]_, a small network whose weights come inside of its wheel (extra `brain`).

It was trained on T1 of healthy adults; `benchmarks/deepbet_dice.py` measures it on T1 and FLAIR of eight patients with
multiple sclerosis. deepbet finds a brain in whatever it is shown, noise too: only its volume is checked here.

References
----------
.. [1] Fisch L et al. Comput Biol Med 179:108845, 2024. doi:10.1016/j.compbiomed.2024.108845
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.images.volumes import Grid

VOLUME_ML = (400.0, 2300.0)  # of the brain of any patient in part of whose field of view it may lie
SOURCES = ("t1", "flair")  # contrasts that it has been measured on, the better first


def check_deepbet() -> None:
    """Raise SettingsError where deepbet is not installed.

    Examples
    --------
    >>> check_deepbet()
    """
    with _quiet():
        _module()


def deepbet_mask(data: npt.NDArray[np.generic], grid: Grid, image: str | Path) -> npt.NDArray[np.uint8]:
    """Brain mask (X, Y, Z), 0 and 1, of a T1 or FLAIR.

    Parameters
    ----------
    data : (X, Y, Z) array
        The head, with or without its skull.
    grid : Grid
        Where it lies: the body's axes are taken from it.
    image : str or Path
        Its name, for messages.

    Raises
    ------
    SettingsError
        If deepbet is not installed.
    ImageError
        If the image has no contrast or NaN, no brain is found, or one that is smaller or larger than any.

    Examples
    --------
    >>> deepbet_mask(np.zeros((32, 32, 32)), Grid((32, 32, 32), np.diag([6.0, 6.0, 6.0, 1.0])), "t1.nii.gz")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: t1.nii.gz: expected the image of a head for deepbet, found one value in all voxels. ...
    """
    _check_contrast(data, image)
    import nibabel as nib

    with _quiet():
        try:
            _, found, _ = _network().run(nib.Nifti1Image(data.astype(np.float32), grid.affine))
        except (ValueError, AssertionError) as error:  # what it raises where nothing is in the foreground
            raise ImageError(
                f"{image}: expected the image of a head, deepbet found no brain in it. Look at the image, or give a "
                "brain mask."
            ) from error
    mask = np.asarray(np.asarray(found.dataobj) > 0, dtype=np.uint8)
    volume, (low, high) = float(mask.sum() * grid.voxel_volume_ml), VOLUME_ML
    if not low <= volume <= high:
        raise ImageError(
            f"{image}: expected a brain of {low:g} to {high:g} ml, deepbet found one of {volume:.0f} ml. Is it a whole "
            "head, and are the voxels' sizes right? Look at the image, or give a brain mask."
        )
    return mask


def _check_contrast(data: npt.NDArray[np.generic], image: str | Path) -> None:
    if data.ndim != 3 or not np.isfinite(data).all() or data.size == 0 or data.min() == data.max():
        found = (
            f"{data.ndim} dimensions"
            if data.ndim != 3
            else "NaN or infinity"
            if not np.isfinite(data).all()
            else "one value in all voxels"
        )
        raise ImageError(f"{image}: expected the image of a head for deepbet, found {found}. Look at the image.")


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch calls the format of its weights deprecated, at each import and load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _module() -> Any:
    try:
        from deepbet import bet  # the package's other parts are a window, and need a screen
    except ImportError as error:
        raise SettingsError(
            '--brain deepbet: expected deepbet, found none. Run: pip install "nnunet-ms[brain]", or give brain masks.'
        ) from error
    return bet


@lru_cache(maxsize=1)
def _network() -> Any:
    return _module().BrainExtraction(no_gpu=True)
