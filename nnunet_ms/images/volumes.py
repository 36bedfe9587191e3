"""Read volumes and masks with their geometry. Axes are (X, Y, Z) as nibabel gives them, spacing in mm."""

import logging
import math
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import deflate
import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from nnunet_ms.errors import ImageError, one_line
from nnunet_ms.images.forms import at_right_angles, forms_of, largest_distance, one_place
from nnunet_ms.images.packed import first_bytes, packing_of, read_promised
from nnunet_ms.outputs import whole_file

_HEADER_BYTES = 348
_LONGEST_HEADER = 1 << 20  # with extensions
_KINDS = {348: nib.Nifti1Image, 540: nib.Nifti2Image}  # by the size of the header, which stands first
_ITS_FORMATS = (".nrrd", ".nhdr", ".mha", ".mhd", ".gipl")
_OF_SIMPLEITK = "Convert it in Python: SimpleITK.WriteImage(SimpleITK.ReadImage(FILE), 'NEW.nii.gz')."
_UNPACKERS = {"bzip2": "bunzip2", "zstd": "unzstd", "xz": "unxz"}
# what nibabel and the decompressors raise for files that are no image, or no whole one
DAMAGE = (
    nib.filebasedimages.ImageFileError,
    HeaderDataError,
    WrapStructError,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    struct.error,
    zlib.error,
    deflate.DeflateError,
)


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: `shape` (3,) voxels, `affine` (4, 4) voxel -> world in mm.

    `by_quaternion` says that the affine was stored as a quaternion, which cannot hold every rotation (see `forms`).
    """

    shape: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    by_quaternion: bool = False

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edge lengths (x, y, z) in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @cached_property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @cached_property
    def is_orthogonal(self) -> bool:
        """Whether the axes are at right angles in the world, within a thousandth of the voxels' size."""
        products = self.affine[:3, :3].T @ self.affine[:3, :3]
        return bool(np.abs(products - np.diag(np.diag(products))).max() <= 1e-3 * np.diag(products).min())

    def to_world(self, index: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
        """World coordinates (N, 3), mm, of voxel indices (N, 3)."""
        return np.asarray(index @ self.affine[:3, :3].T + self.affine[:3, 3], dtype=np.float64)


@dataclass(frozen=True)
class Volume:
    """A volume in memory: `data` (X, Y, Z), its `grid`, and the `path` it came from."""

    data: npt.NDArray[np.generic]
    grid: Grid
    path: Path


def read_grid(path: str | Path) -> Grid:
    """Geometry of a NIfTI file from its header alone.

    Raises
    ------
    ImageError
        If the file is missing, is no NIfTI file, or is not 3-D.

    Examples
    --------
    >>> grid = read_grid(Path("reference.nii.gz"))
    >>> grid.shape, grid.spacing, grid.voxel_volume_ml
    ((24, 24, 12), (1.0, 1.0, 3.0), 0.0030000000000000005)
    """
    return grid_of(open_image(path), path)


NO_NAN = (
    "Where NaN stands for nothing outside of the head, as SPM writes it, put 0 there (fslmaths IMAGE -nan IMAGE_0); "
    "else compute the image again, or leave it out."
)


def read_volume(path: str | Path, repair: str = NO_NAN) -> Volume:
    """Read a 3-D volume; every voxel is finite.

    Parameters
    ----------
    path : str or Path
        NIfTI file.
    repair : str, optional
        What the message about NaN and infinite voxels says to do.

    Returns
    -------
    Volume
        `data` keeps integers as stored (scaled if the header says so) and floats as float32.

    Raises
    ------
    ImageError
        If the file is missing, truncated, not 3-D, or holds NaN or infinite voxels.

    Examples
    --------
    >>> flair = read_volume(Path("flair.nii.gz"))
    >>> flair.data.shape, str(flair.data.dtype)
    ((24, 24, 12), 'float32')
    """
    path = Path(path)
    image = open_image(path)
    grid = grid_of(image, path)
    data = _read_voxels(image, path)
    is_float = np.issubdtype(data.dtype, np.floating)  # whole numbers are finite; looking at them all takes time
    bad = int(data.size - np.count_nonzero(np.isfinite(data))) if is_float else 0
    if bad:
        raise ImageError(f"{path}: expected finite voxels, found {bad} NaN or infinite of {data.size}. " + repair)
    return Volume(data, grid, path)


def read_mask(path: str | Path, labels: Iterable[int] = (0, 1)) -> Volume:
    """Read a label image as (X, Y, Z) uint8; its values are a subset of `labels`.

    Raises
    ------
    ImageError
        As `read_volume`, or if a voxel holds another value than `labels` (0.999 is another value).

    Examples
    --------
    >>> mask = read_mask(Path("reference.nii.gz"))
    >>> int(mask.data.sum()), str(mask.data.dtype)
    (180, 'uint8')
    >>> read_mask(Path("flair.nii.gz"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: flair.nii.gz: expected a mask with values [0, 1], found 80.5029, 81.1386, ...
    """
    path = Path(path)
    return checked_mask(_read_plain(path) or read_volume(path), labels)


def checked_mask(volume: Volume, labels: Iterable[int] = (0, 1)) -> Volume:
    """The same volume as uint8, if its values are a subset of `labels`; ImageError if not (0.999 is another value)."""
    allowed = sorted(labels)
    found = _values(volume.data)
    if strange := [value for value in found.tolist() if value not in {0, *allowed}]:
        raise ImageError(
            f"{volume.path}: expected a mask with values {_told(allowed)}, found {_few(strange)}. "
            "Is this the mask, and is it binarised?"
        )
    return Volume(volume.data.astype(np.uint8, copy=False), volume.grid, volume.path)


def _told(labels: Sequence[int]) -> str:
    """Name labels for a message: those of a whole range by its ends."""
    long = len(labels) > 8 and list(labels) == list(range(labels[0], labels[-1] + 1))
    return f"{labels[0]} to {labels[-1]}" if long else str(list(labels))


def check_same_grid(reference: Volume | Grid, other: Volume | Grid, reference_name: str, other_name: str) -> None:
    """Raise ImageError unless both lie on one grid, see `same_grid`.

    Examples
    --------
    >>> mask, flair = read_grid(Path("reference.nii.gz")), read_grid(Path("flair.nii.gz"))
    >>> check_same_grid(mask, flair, "mask", "FLAIR")
    >>> check_same_grid(mask, Grid((24, 24, 11), flair.affine), "mask", "FLAIR")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: FLAIR: expected the grid of mask (shape (24, 24, 12), 1x1x3 mm, origin (0.00, ...
    """
    first = reference.grid if isinstance(reference, Volume) else reference
    second = other.grid if isinstance(other, Volume) else other
    if not same_grid(first, second):
        apart = ""
        if first.shape == second.shape and _describe(first) == _describe(second):
            apart = f", up to {largest_distance(first.shape, first.affine, second.affine):.3g} mm away"
        raise ImageError(
            f"{other_name}: expected the grid of {reference_name} ({_describe(first)}), found {_describe(second)}"
            f"{apart}. Resample one onto the other, or check that both belong to the same visit."
        )


def same_grid(first: Grid, second: Grid) -> bool:
    """Whether two grids are one: the same shape, and all corners within a tenth of the smallest voxel edge.

    That is what nnU-Net's reader and writer may change in a header that we accept, and less than a mask can show. One
    rule for all commands; `forms.one_place` says what a quaternion may have lost besides.

    Examples
    --------
    >>> first = Grid((10, 10, 5), np.diag([1.0, 1.0, 3.0, 1.0]))
    >>> same_grid(first, Grid(first.shape, first.affine + 1e-3))
    True
    >>> same_grid(first, Grid(first.shape, first.affine + 0.03))
    False
    >>> same_grid(first, Grid((10, 10, 6), first.affine))
    False
    """
    if first.shape != second.shape or np.array_equal(first.affine, second.affine):
        return first.shape == second.shape
    by_quaternion = first.by_quaternion or second.by_quaternion
    return one_place(first.shape, first.affine, second.affine, by_quaternion=by_quaternion)


def write_volume(path: str | Path, data: npt.NDArray[np.generic], affine: npt.NDArray[np.float64]) -> None:
    """Write (X, Y, Z) voxels as NIfTI, complete or not at all; the same input gives the same bytes.

    Examples
    --------
    >>> write_volume(Path("zeros.nii.gz"), np.zeros((4, 4, 2), np.uint8), np.diag([1.0, 1.0, 3.0, 1.0]))
    >>> read_grid(Path("zeros.nii.gz")).shape
    (4, 4, 2)
    """
    with whole_file(path) as partial:
        image = nib.Nifti1Image(data, affine, dtype=data.dtype)
        image.header.set_xyzt_units("mm")
        nib.save(image, partial)


def open_image(path: str | Path) -> nib.Nifti1Image:
    """Header of a NIfTI file; voxels are not read.

    Raises
    ------
    ImageError
        If the file is missing, unreadable, or no NIfTI file.

    Examples
    --------
    >>> open_image(Path("flair.nii.gz")).header.get_zooms()
    (np.float32(1.0), np.float32(1.0), np.float32(3.0))
    >>> open_image(Path("flair.nii"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: flair.nii: no such file. Check the path and the spelling.
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path}: expected an image, found a folder. Name the file in it.")
    if not path.is_file():  # also for links in a circle
        raise ImageError(f"{path}: no such file. Check the path and the spelling.")
    try:
        packing = packing_of(path)
        if packing in _UNPACKERS:
            raise ImageError(
                f"{path}: expected a NIfTI file, plain or packed by gzip, found one packed by {packing}. Unpack it: "
                f"{_UNPACKERS[packing]} FILE."
            )
        with np.errstate(all="ignore"), without_remarks():  # absurd numbers in a header are named by `grid_of`
            is_named_so = path.name.endswith(".nii.gz" if packing else ".nii")
            image = nib.load(path) if is_named_so else _open_by_content(path)
    except DAMAGE as error:
        step = _OF_SIMPLEITK if path.suffix.lower() in _ITS_FORMATS else "Copy or download it again."
        raise ImageError(f"{path}: expected a NIfTI file, cannot read it ({one_line(error)}). {step}") from error
    if not isinstance(image, nib.Nifti1Image):  # NIfTI-2 is one; two files, .hdr and .img, are not
        raise ImageError(
            f"{path}: expected a NIfTI file (.nii.gz), found {type(image).__name__}. Convert it: nib-convert FILE "
            "NEW.nii.gz (a command of nibabel)."
        )
    return image


def _open_by_content(path: Path) -> Any:
    """What a name hides: an unpacked file called .nii.gz, a packed one called .nii; others as nibabel takes them."""
    start = first_bytes(path, _HEADER_BYTES)
    for order in ("<i", ">i"):
        size = struct.unpack(order, start[:4])[0] if len(start) == _HEADER_BYTES else 0
        is_one_file = start[344:347] == b"n+1" or start[4:7] == b"n+2"  # and no header that belongs to an .img file
        if size in _KINDS and is_one_file:
            return _KINDS[size].from_bytes(first_bytes(path, _LONGEST_HEADER))
    return nib.load(path)


@contextmanager
def without_remarks() -> Iterator[None]:
    """Keep nibabel's remarks on headers from the log, in this block and thread: what is wrong with one, we say.

    Examples
    --------
    >>> with without_remarks():
    ...     logging.getLogger("nibabel.global").warning("sform_code 77 not valid; setting to 0")
    """
    here, log = threading.get_ident(), logging.getLogger("nibabel.global")

    def is_of_others(record: logging.LogRecord) -> bool:
        return record.thread != here

    log.addFilter(is_of_others)
    try:
        yield
    finally:
        log.removeFilter(is_of_others)


def grid_of(image: nib.Nifti1Pair, path: str | Path) -> Grid:
    """Geometry of an opened image; ImageError unless it is 3-D, with voxels and an invertible affine.

    Examples
    --------
    >>> grid_of(open_image(Path("flair.nii.gz")), Path("flair.nii.gz")).spacing
    (1.0, 1.0, 3.0)
    """
    return _grid(image.header, image.shape, image.affine, path)


def _grid(header: Any, shape: tuple[int, ...], affine: npt.ArrayLike, path: str | Path) -> Grid:
    by_quaternion = int(header["sform_code"]) <= 0 < int(header["qform_code"])
    grid = checked_grid(shape, affine, path, by_quaternion=by_quaternion)
    _check_forms(header, grid.shape, path)
    return grid


def checked_grid(
    shape: tuple[int, ...], affine: npt.ArrayLike, path: str | Path, *, by_quaternion: bool = False
) -> Grid:
    """Grid of a shape and an affine, its axes at right angles where that is the same grid; see `forms`.

    Raises
    ------
    ImageError
        Unless it is 3-D (further axes may have the length 1), with voxels and an invertible affine.
    """
    shape = tuple(int(n) for n in shape)
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        step = "Split it into 3-D volumes." if len(shape) > 3 else "Put its slices together."
        raise ImageError(f"{path}: expected a 3-D image, found shape {shape}. {step}")
    shape = shape[:3]
    if min(shape) < 1:
        raise ImageError(f"{path}: expected voxels, found an image of shape {shape}. Copy or download it again.")
    affine = np.asarray(affine, dtype=np.float64)
    if not _has_inverse(affine):
        raise ImageError(f"{path}: expected an invertible affine, found {affine.tolist()}. Repair the header.")
    return Grid(shape, at_right_angles(shape, affine), by_quaternion)


def _check_forms(header: Any, shape: tuple[int, ...], path: str | Path) -> None:
    """Raise ImageError if a header gives two geometries, sform and qform, that are not one, see `forms.one_place`."""
    try:
        sform, qform = forms_of(header)
    except (ValueError, HeaderDataError) as error:
        raise ImageError(
            f"{path}: expected a rotation in qform, found none ({one_line(error)}). If sform is right, keep it alone: "
            "fslorient -copysform2qform FILE."
        ) from error
    if sform is None or qform is None:
        return
    with np.errstate(all="ignore"):
        apart = largest_distance(shape, sform, qform)
        if np.isfinite(apart) and one_place(shape, sform, qform, by_quaternion=True):
            return
    raise ImageError(
        f"{path}: expected one geometry, found sform and qform {apart:.3g} mm apart. See with a viewer which of them "
        "is right, and keep that one: fslorient -copysform2qform FILE, or fslorient -copyqform2sform FILE."
    )


def _read_voxels(image: nib.Nifti1Image, path: Path) -> npt.NDArray[np.generic]:
    try:
        content = read_promised(path, promised_bytes(image))
        with np.errstate(all="ignore"), without_remarks():  # what overflows is infinite, and that is counted
            data: npt.NDArray[np.generic] = np.asanyarray(type(image).from_bytes(bytes(content)).dataobj)
            data = data.astype(np.float32) if np.issubdtype(data.dtype, np.floating) else data
            data = data.reshape(data.shape[:3])  # `grid_of` has seen that further axes have the length 1
    except DAMAGE as error:
        raise ImageError(f"{path}: truncated or damaged ({one_line(error)}). Copy or download it again.") from error
    if not np.issubdtype(data.dtype, np.number) or np.iscomplexobj(data):
        raise ImageError(f"{path}: expected real numbers, found voxels of type {data.dtype}. Split or convert it.")
    return data


def promised_bytes(image: nib.Nifti1Image) -> int:
    """Size of the whole, uncompressed file, as its header has it."""
    voxels = math.prod(int(n) for n in image.shape) * int(image.header.get_data_dtype().itemsize)
    place: Any = image.dataobj  # nibabel types it as a plain array
    return int(place.offset) + voxels


def _read_plain(path: Path) -> Volume | None:
    """Read what nearly all masks are, several times faster than nibabel does; None for everything else.

    That is: one file, NIfTI-1, 3-D, whole numbers that the header does not scale, gzip of one member. What is damaged
    or strange is left to `read_volume`, which names it.
    """
    try:
        header = nib.Nifti1Header(first_bytes(path, _HEADER_BYTES), check=False)
        shape, dtype, affine = header.get_data_shape(), header.get_data_dtype(), header.get_best_affine()
        scaling, start = header.get_slope_inter(), header.get_data_offset()
        content = read_promised(path, start + math.prod(int(n) for n in shape) * dtype.itemsize)
    except (*DAMAGE, KeyError):  # of a type that is none
        return None
    is_sound = header["magic"] == b"n+1" and max(header["sform_code"], header["qform_code"]) <= 4
    is_plain = len(shape) == 3 and min(shape) > 0 and dtype.kind in "iu" and scaling in ((None, None), (1.0, 0.0))
    if not (is_sound and is_plain and min(header["pixdim"][1:4]) > 0 and _has_inverse(affine)):
        return None
    data = np.frombuffer(content, dtype, offset=start).reshape(shape, order="F")
    return Volume(data, _grid(header, shape, affine, path), path)


def _has_inverse(affine: npt.NDArray[np.float64]) -> bool:
    with np.errstate(all="ignore"):
        return bool(np.isfinite(affine).all() and 1e-9 < abs(np.linalg.det(affine[:3, :3])) < np.inf)


def _values(data: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Different values of an image, but 0; whole numbers within 0..255 need no sort of millions of voxels."""
    with np.errstate(invalid="ignore"):  # numbers out of range become any byte, which then differs from them
        small = data.astype(np.uint8, copy=False)
    if data.dtype != np.uint8 and not np.array_equal(small, data):
        return np.unique(data)
    largest = int(small.max()) if small.size else 0
    return np.unique(small[small != 0]) if largest > 1 else np.arange(1, largest + 1)


def _few(values: list[float], n: int = 5) -> str:
    text = ", ".join(f"{v:g}" for v in values[:n])
    return text + (f", ... ({len(values)} different values)" if len(values) > n else "")


def _describe(grid: Grid) -> str:
    spacing = "x".join(f"{s:.4g}" for s in grid.spacing)
    origin = ", ".join(f"{o:.2f}" for o in grid.affine[:3, 3])
    return f"shape {grid.shape}, {spacing} mm, origin ({origin})"
