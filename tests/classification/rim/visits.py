"""One small visit on disk, with two touching lesions and one apart, for the tests of this folder."""

from pathlib import Path

import numpy as np

from nnunet_ms.classification.rim.cohort import RimCase
from nnunet_ms.images.volumes import write_volume

SHAPE, SPACING = (60, 60, 40), (1.0, 1.0, 1.5)
CENTRES = [(20, 30, 20), (31, 30, 20), (44, 15, 12)]  # the first two touch; voxels
RADIUS_MM = 6.2
AFFINE = np.diag([*SPACING, 1.0])
AFFINE[:3, 3] = (-30, -20, 5)


def in_mm(voxel, affine=AFFINE):
    return (affine @ [*voxel, 1.0])[:3]


def lesion_mask():
    places = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    return np.any([(((places - c) * SPACING) ** 2).sum(-1) <= RADIUS_MM**2 for c in CENTRES], axis=0)


def volumes():
    """QSM in ppb, FLAIR, lesion mask, brain mask."""
    rng, mask = np.random.default_rng(1), lesion_mask()
    brain = np.zeros(SHAPE, bool)
    brain[3:-3, 3:-3, 2:-2] = True
    qsm = (rng.normal(0, 15, SHAPE) + 40 * mask) * brain
    flair = (rng.normal(100, 10, SHAPE) + 60 * mask) * brain
    return qsm.astype(np.float32), flair.astype(np.float32), mask.astype(np.uint8), brain.astype(np.uint8)


def write_visit(folder: Path, affine=AFFINE, **changed) -> RimCase:
    """Write a visit; `changed` replaces an array by its name, None leaves the file out of the case."""
    names = ("qsm", "flair", "lesions", "brain_mask")
    arrays = dict(zip(names, volumes(), strict=True)) | {k: v for k, v in changed.items() if k in names}
    files = {}
    for name, data in arrays.items():
        files[name] = None if data is None else folder / f"{name}.nii.gz"
        if data is not None:
            write_volume(files[name], data, affine)
    return RimCase("P1", "base", 0.0, **files, labels=changed.get("labels"))


def write_points(path: Path, rows) -> Path:
    lines = ["x_mm,y_mm,z_mm,label", *(",".join(f"{value:g}" for value in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path
