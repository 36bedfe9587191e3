"""Brain masks: the one that came with the data, or HD-BET's, an external command [1]_; none is invented.

References
----------
.. [1] Isensee et al., Hum Brain Mapp 40:4952-4964, 2019. doi:10.1002/hbm.24750
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_ms.errors import ConversionError, ImageError
from nnunet_ms.images.volumes import Grid, check_same_grid, read_mask, write_volume

HD_BET = "hd-bet"
OPTIONS = ("-device", "cpu", "--disable_tta", "--save_bet_mask", "--no_bet_image")  # of version 2
MASK_NAMES = ("brain_bet.nii.gz", "brain_mask.nii.gz", "brain.nii.gz_bet.nii.gz")


def check_hd_bet() -> str:
    """Path of the command, or ConversionError where it is not installed."""
    place = shutil.which(HD_BET)
    if place is None:
        raise ConversionError(
            f"--hd-bet: expected the command {HD_BET} (version 2), found none. Install it (pip install hd-bet), or "
            "leave out --hd-bet."
        )
    return place


def given_mask(path: str | Path, grid: Grid, image: str | Path) -> npt.NDArray[np.uint8]:
    """Brain mask (X, Y, Z), 0 and 1, that lies on the image's grid; ImageError if not, or if it is empty.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import read_grid
    >>> grid = read_grid(Path("flair.nii.gz"))
    >>> int(given_mask(Path("reference.nii.gz"), grid, Path("flair.nii.gz")).sum())
    180
    """
    mask = read_mask(path)
    check_same_grid(grid, mask, str(image), str(path))
    if not mask.data.any():
        raise ImageError(f"{path}: expected a brain mask, found no voxel in it. Copy it again.")
    return mask.data.astype(np.uint8)


def hd_bet_mask(data: npt.NDArray[np.float32], grid: Grid, image: str | Path) -> npt.NDArray[np.uint8]:
    """Brain mask (X, Y, Z) by HD-BET of an image.

    Raises
    ------
    ConversionError
        If the command is not installed.
    ImageError
        If it fails or writes no mask.
    """
    command = check_hd_bet()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "image.nii.gz"
        write_volume(source, data, grid.affine)
        arguments = [command, "-i", str(source), "-o", str(Path(folder) / "brain.nii.gz"), *OPTIONS]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        found = [Path(folder) / name for name in MASK_NAMES if (Path(folder) / name).is_file()]
        if done.returncode or not found:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ImageError(
                f"{image}: {HD_BET} made no mask (exit {done.returncode}: {last}). Run it by hand to see why."
            )
        return given_mask(found[0], grid, image)
