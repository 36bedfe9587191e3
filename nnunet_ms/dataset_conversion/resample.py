"""Bring one channel onto the grid of another, by SimpleITK."""

from pathlib import Path

import SimpleITK


def resample_onto(reference: Path, moving: Path, target: Path) -> None:
    """Resample `moving` linearly onto the grid of `reference` in world coordinates; nothing is registered.

    Parameters
    ----------
    reference, moving : Path
        3-D images; voxels of the result outside `moving` are 0.
    target : Path
        File to write, float32.
    """
    fixed = SimpleITK.ReadImage(str(reference), SimpleITK.sitkFloat32)
    image = SimpleITK.ReadImage(str(moving), SimpleITK.sitkFloat32)
    resampled = SimpleITK.Resample(
        image, fixed, SimpleITK.Transform(), SimpleITK.sitkLinear, 0.0, SimpleITK.sitkFloat32
    )
    SimpleITK.WriteImage(resampled, str(target), useCompression=True)
