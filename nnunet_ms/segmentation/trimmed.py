"""Neck, eyes and muscle that a loose brain mask leaves are cut away: networks call their bright parts lesions.

Brain masks of many programs go a finger's breadth down the neck. The MNI152 template, fitted by an affine transform,
says what is too far from any brain. Measured in `docs/multi_arm_t2.md`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nnunet_ms.arrays import Bools
from nnunet_ms.errors import ImageError
from nnunet_ms.images.patient_regions import BrainPlace, place_brain
from nnunet_ms.images.template_regions import brain_mm
from nnunet_ms.images.volumes import Grid, Volume, read_volume, write_volume
from nnunet_ms.segmentation.scan_warnings import NO_HEAD_MM
from nnunet_ms.trainers.training_range import brain_of

BEYOND_MM = 3.0  # outside of the template's brain; with such a fit no voxel of a lesion in 8 of 8 real patients
# 105755 of MS3SEG, whose brain is cut in the file, has .89, and 36 of its 686 voxels of lesion up to 10 mm outside
LEAST_DICE = 0.9  # of the brain and the template's; those eight have .91 to .97


def trim_images(images: Mapping[str, Path]) -> tuple[str, BrainPlace | None]:
    """Set to 0, in all images of a scan, what lies more than `BEYOND_MM` outside of the template's brain.

    Nothing is done where the skull is there, no whole head is seen, or the template does not fit well.

    Parameters
    ----------
    images : mapping
        Files by sequence, on one grid, without skull; they are written anew.

    Returns
    -------
    told, place : str, BrainPlace or None
        What was cut away, in words; blank where nothing was. How the template fits; None where no brain is seen.
    """
    volumes = {name: read_volume(path) for name, path in images.items()}
    first = next(iter(volumes.values()))
    place = _place(first)
    if place is None or not place.is_good or place.dice < LEAST_DICE:
        return "", place
    outside = _outside(first.grid, place)
    shown = np.logical_or.reduce([volume.data != 0 for volume in volumes.values()])
    cut = outside & shown
    if not cut.any():
        return "", place
    for name, volume in volumes.items():
        write_volume(images[name], np.where(outside, 0, volume.data).astype(volume.data.dtype), volume.grid.affine)
    millilitres = float(cut.sum()) * float(np.prod(first.grid.spacing)) / 1000
    told = (
        f"{millilitres:.0f} ml lie more than {BEYOND_MM:g} mm outside of MNI152's brain (affine fit) and were cut away "
        "before the network saw them (--no-trim keeps them)"
    )
    return told, place


def _place(image: Volume) -> BrainPlace | None:
    brain = brain_of(image)
    if brain is None or max(np.multiply(image.grid.shape, image.grid.spacing)) < NO_HEAD_MM:
        return None
    try:
        return place_brain(image, brain)
    except ImageError:  # no brain to be fitted: told with the places of lesions
        return None


def _outside(grid: Grid, place: BrainPlace) -> Bools:
    """Which voxels lie too far from the template's brain."""
    back = np.linalg.inv(place.matrix)
    world = grid.to_world(np.argwhere(np.ones(grid.shape, dtype=bool)))
    far = brain_mm().at(world @ back[:3, :3].T + back[:3, 3])
    return np.asarray(far.reshape(grid.shape) > BEYOND_MM)
