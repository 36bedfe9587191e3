"""What the header of an image that is copied may not say: nnU-Net and we would see two different images, or none.

nnU-Net reads by SimpleITK, we by nibabel. Where a header gives two geometries the two libraries may choose
differently; where its axes are sheared, SimpleITK refuses to read it at all.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from nnunet_ms.dataset_conversion.steps import EDGES_MM
from nnunet_ms.errors import ImageError
from nnunet_ms.images.volumes import Grid, grid_of, open_image, promised_bytes

CONFLICT_MM = 0.1  # headers that mean one geometry differ by micrometres; half a voxel of 0.2 mm is seen
SHEAR = 1e-4  # of axis directions; SimpleITK refuses 3e-4
Content = tuple[int, int]  # checksum and size


@dataclass(frozen=True)
class Header:
    """Geometry of an image, whether its voxels are floating-point numbers once read, and what the user should know.

    `content` is the checksum and size that a gzip file carries at its end, None where there is none.
    """

    grid: Grid
    stored_as_float: bool
    content: Content | None
    note: str = ""


def check_header(path: Path) -> Header:
    """Read and check a header; voxels are not read, but a file that is too short or too long for it is seen.

    Raises
    ------
    ImageError
        If the file is no NIfTI file, not 3-D, cut, or its geometry is absurd, sheared or given twice.

    Examples
    --------
    >>> header = check_header(Path("flair.nii.gz"))
    >>> header.grid.shape, header.grid.spacing, header.stored_as_float
    ((24, 24, 12), (1.0, 1.0, 3.0), True)
    """
    image = open_image(path)
    grid = grid_of(image, path)
    raw = _raw_header(image, path)
    if int(raw["sizeof_hdr"]) != image.header.sizeof_hdr:
        raise ImageError(
            f"{path}: expected a header of {image.header.sizeof_hdr} bytes, found {int(raw['sizeof_hdr'])}. "
            "Copy or download it again."
        )
    if np.isinf([float(raw["scl_slope"]), float(raw["scl_inter"])]).any():  # NaN is nibabel's way to write none
        raise ImageError(f"{path}: expected finite scaling, found scl_slope or scl_inter infinite. Repair the header.")
    _check_spacing(raw, grid, path)
    _check_axes(grid, path)
    _check_forms(image, grid, path)
    content = _content(path)
    _check_size(image, path, content)
    stored: Any = image.dataobj  # nibabel types it as a plain array
    scaled = (stored.slope, stored.inter) != (1.0, 0.0)
    is_float = scaled or image.header.get_data_dtype().kind == "f"
    has_place = int(image.header["qform_code"]) > 0 or int(image.header["sform_code"]) > 0
    note = "" if has_place else f"{path.name} has no orientation (sform and qform codes are 0)"
    return Header(grid, is_float, content, note)


def _raw_header(image: nib.Nifti1Image, path: Path) -> nib.Nifti1Header:
    """Header as stored: nibabel repairs some faults in silence, SimpleITK does not, or differently."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        return type(image.header).from_fileobj(stream, check=False)


def _check_spacing(raw: nib.Nifti1Header, grid: Grid, path: Path) -> None:
    low, high = EDGES_MM
    stored = np.abs(np.asarray(raw["pixdim"][1:4], dtype=np.float64))
    for spacing in (np.array(grid.spacing), stored):
        if not ((spacing >= low) & (spacing <= high)).all():
            raise ImageError(
                f"{path}: expected voxels of {low:g} to {high:g} mm, found {_mm(spacing)}. "
                "Are the units millimetres? Repair the header."
            )
    if not np.allclose(grid.spacing, stored, rtol=0.01):
        raise ImageError(
            f"{path}: expected one voxel size, found {_mm(stored)} (pixdim) and {_mm(np.array(grid.spacing))} "
            "(affine). Repair the header."
        )


def _check_axes(grid: Grid, path: Path) -> None:
    directions = grid.affine[:3, :3] / np.array(grid.spacing)
    shear = float(np.abs(directions.T @ directions - np.eye(3)).max())
    if shear > SHEAR:
        raise ImageError(
            f"{path}: expected axes at right angles, found a cosine of {shear:.2g} between two. nnU-Net cannot read "
            "this; resample the image onto a grid without shear."
        )


def _check_forms(image: nib.Nifti1Image, grid: Grid, path: Path) -> None:
    if int(image.header["qform_code"]) <= 0 or int(image.header["sform_code"]) <= 0:
        return
    try:
        qform = image.header.get_qform()
    except (ValueError, nib.spatialimages.HeaderDataError) as error:
        raise ImageError(f"{path}: expected a rotation in qform, found none ({error}). Repair the header.") from error
    with np.errstate(all="ignore"):
        apart = largest_distance(grid, qform)
    if not apart <= CONFLICT_MM:  # so that NaN counts
        raise ImageError(
            f"{path}: expected one geometry, found sform and qform {apart:.3g} mm apart. Keep the right one, for "
            "instance by fslorient -copysform2qform."
        )


def largest_distance(grid: Grid, affine: npt.NDArray[np.float64]) -> float:
    """How far two affines are apart at the corners of a grid, in mm.

    Examples
    --------
    >>> largest_distance(Grid((10, 10, 10), np.diag([1.0, 1.0, 1.0, 1.0])), np.diag([1.0, 1.0, 1.5, 1.0]))
    5.0
    """
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [*grid.shape, 1]
    return float(np.abs(corners @ (grid.affine - affine).T).max())


def _content(path: Path) -> Content | None:
    """Checksum and size (modulo 4 GiB) of what a gzip file holds, as its last eight bytes have it."""
    if path.suffix != ".gz" or path.stat().st_size < 18:
        return None
    with path.open("rb") as stream:
        stream.seek(-8, 2)
        tail = stream.read(8)
    return int.from_bytes(tail[:4], "little"), int.from_bytes(tail[4:], "little")


def _check_size(image: nib.Nifti1Image, path: Path, content: Content | None) -> None:
    promised = promised_bytes(image)
    found = path.stat().st_size if content is None else content[1]
    is_right = found == (promised if content is None else promised % 2**32)
    if not is_right and content is not None:  # several gzip members: only the last one's size stands at the end
        found = _unpacked_bytes(path, promised)
        is_right = found == promised
    if not is_right:
        held = "more" if content is not None and found > promised else found  # counting ended there
        raise ImageError(
            f"{path}: truncated or damaged (the header promises {promised} bytes, the file holds {held}). "
            "Copy or download it again."
        )


def _unpacked_bytes(path: Path, enough: int) -> int:
    """Bytes that a gzip file holds; counting ends when there are more than enough."""
    size = 0
    try:
        with gzip.open(path) as stream:
            while size <= enough and (piece := stream.read(1 << 20)):
                size += len(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError(f"{path}: truncated or damaged ({error}). Copy or download it again.") from error
    return size


def _mm(spacing: npt.NDArray[np.float64]) -> str:
    return "x".join(f"{value:.4g}" for value in spacing) + " mm"
