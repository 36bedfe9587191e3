"""One image, two readers: nnU-Net reads by SimpleITK, we by nibabel, and a header may mean something else to each.

`check_header` refuses what is damaged or contradicts itself, and says of the rest whether SimpleITK sees what we see.
Where it does not (NIfTI-2, no orientation, axes not quite at right angles, two voxel sizes, units), `write_plain` makes
a file that both read alike: NIfTI-1, one affine, our voxels. That is what a conversion writes, and what a prediction
hands to nnU-Net.
"""

import gzip
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import SimpleITK

from nnunet_ms.arrays import Matrix
from nnunet_ms.errors import ImageError, one_line
from nnunet_ms.images.forms import NOISE_MM, at_right_angles, is_at_right_angles, largest_cosine, largest_distance
from nnunet_ms.images.itk import affine_of
from nnunet_ms.images.limits import EDGES_MM
from nnunet_ms.images.names import is_text
from nnunet_ms.images.packed import first_bytes, packing_of
from nnunet_ms.images.volumes import Grid, Volume, grid_of, open_image, promised_bytes, read_volume, write_volume

Content = tuple[int, int]  # checksum and size
SPACING_CONFLICT = 0.01  # of two voxel sizes in one header: what differs by less was rounded


@dataclass(frozen=True)
class Header:
    """Geometry of an image, whether its voxels are floating-point numbers once read, and what the user should know.

    Attributes
    ----------
    content
        Checksum and size that a gzip file carries at its end, None where there is none.
    differs
        How SimpleITK, and so nnU-Net, would read it differently; blank if it reads what we do.
    """

    grid: Grid
    stored_as_float: bool
    content: Content | None
    differs: str = ""


def check_header(path: str | Path) -> Header:
    """Read and check a header; voxels are not read, but a file that is too short or too long for it is seen.

    Raises
    ------
    ImageError
        If the file is no NIfTI file, not 3-D, cut, or its geometry is absurd, sheared or given twice.

    Examples
    --------
    >>> header = check_header(Path("flair.nii.gz"))
    >>> header.grid.shape, header.grid.spacing, header.stored_as_float, header.differs
    ((24, 24, 12), (1.0, 1.0, 3.0), True, '')
    """
    path = Path(path)
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
    content = _content(path)
    _check_size(image, path, content)
    stored: Any = image.dataobj  # nibabel types it as a plain array
    scaled = (stored.slope, stored.inter) != (1.0, 0.0)
    is_float = scaled or image.header.get_data_dtype().kind == "f"
    return Header(grid, is_float, content, _difference(image, grid, path))


def write_plain(
    path: str | Path, target: str | Path, grid: Grid | None = None, read: Callable[[Path], Volume] = read_volume
) -> None:
    """Write the voxels of an image to a file that nnU-Net's reader and ours read alike.

    Parameters
    ----------
    path, target : str or Path
        Image to read, and file to write, `.nii.gz`.
    grid : Grid, optional
        Where its voxels lie, if another image says so (`same_grid`); else as its own header has it.
    read : callable, optional
        Reads the image; for one that is to be changed, `zero_level.read_image`.

    Examples
    --------
    >>> write_plain("flair.nii.gz", "plain.nii.gz")
    >>> check_header("plain.nii.gz").differs
    ''
    """
    volume = read(Path(path))
    write_volume(target, _for_simpleitk(volume.data), (grid or volume.grid).affine)


@contextmanager
def plain_files(paths: Sequence[Path], folder: Path) -> Iterator[list[Path]]:
    """The same images as files that SimpleITK reads as we do: themselves, or copies in `folder` for this block."""
    files = [plain_file(path, folder / f"plain_{number:04d}") for number, path in enumerate(paths)]
    try:
        yield files
    finally:
        for path, file in zip(paths, files, strict=True):
            if file != path:
                file.unlink(missing_ok=True)


def plain_file(path: Path, stem: Path, grid: Grid | None = None) -> Path:
    """An image itself if it `is_plain`, else a copy or a link of it that is, called `stem` with a suffix."""
    if is_plain(path, grid):
        return path
    stem.parent.mkdir(parents=True, exist_ok=True)
    if is_plain_but_for_its_name(path, grid):
        link = stem.with_name(f"{stem.name}.nii{_ending(path)}")
        link.unlink(missing_ok=True)
        link.symlink_to(path.absolute())
        return link
    copy = stem.with_name(f"{stem.name}.nii.gz")
    write_plain(path, copy, grid)
    return copy


def is_plain(path: Path, grid: Grid | None = None) -> bool:
    """Whether SimpleITK reads a file as we do, and its header, if a grid is given, says the same as that one.

    Examples
    --------
    >>> is_plain(Path("flair.nii.gz"))
    True
    """
    return _is_named_plainly(path) and is_plain_but_for_its_name(path, grid)


def is_plain_but_for_its_name(path: Path, grid: Grid | None = None) -> bool:
    """Whether a name that SimpleITK can open is all that a file lacks."""
    header = check_header(path)
    own = header.grid.affine
    is_there = grid is None or largest_distance(grid.shape, own, grid.affine) <= NOISE_MM
    return not header.differs and is_there


def _ending(path: Path) -> str:
    return ".gz" if packing_of(path) == "gzip" else ""


def _is_named_plainly(path: Path) -> bool:
    """Whether the name is text, and says in small letters how the file is packed, as SimpleITK needs it."""
    return is_text(str(path)) and path.name.endswith(f".nii{_ending(path)}")


def _for_simpleitk(data: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Whole numbers of 64 bits become 32, or float32 where they do not fit: what nnU-Net makes of all of them."""
    if data.dtype.kind not in "iu" or data.dtype.itemsize < 8:
        return data
    limits = np.iinfo(np.int32)
    fits = limits.min <= data.min() and data.max() <= limits.max
    return data.astype(np.int32 if fits else np.float32)


def _difference(image: nib.Nifti1Image, grid: Grid, path: Path) -> str:
    """How SimpleITK would read this file differently; blank if it does not."""
    if isinstance(image, nib.Nifti2Image):
        return "NIfTI-2, which nnU-Net cannot read"
    if int(image.header["qform_code"]) <= 0 and int(image.header["sform_code"]) <= 0:
        return "no orientation (sform and qform codes are 0): left and right are a guess"
    own = np.asarray(image.affine, dtype=np.float64)
    if not np.array_equal(own, grid.affine):
        apart = largest_distance(grid.shape, own, grid.affine)
        return f"axes not at right angles, by {1000 * apart:.3g} micrometres at the corners"
    return _of_simpleitk(grid, path)


def _of_simpleitk(grid: Grid, path: Path) -> str:
    if _is_named_plainly(path):
        seen = seen_by_simpleitk(path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / f"plain.nii{_ending(path)}"
            link.symlink_to(path.absolute())
            seen = seen_by_simpleitk(link)
    if seen is None:
        return "a header that nnU-Net cannot read"
    shape, affine = seen
    if shape != grid.shape:
        return f"an image of {shape} for nnU-Net"
    straight = at_right_angles(grid.shape, affine)
    apart = max(largest_distance(grid.shape, grid.affine, one) for one in (affine, straight))
    return "" if apart <= NOISE_MM else f"a place for nnU-Net that is {apart:.3g} mm away"


def seen_by_simpleitk(path: str | Path) -> tuple[tuple[int, ...], Matrix] | None:
    """Shape and affine (voxel -> world in RAS mm) that SimpleITK reads from a header, None if it cannot read it.

    Examples
    --------
    >>> shape, affine = seen_by_simpleitk("flair.nii.gz")
    >>> shape, np.diag(affine).tolist()
    ((24, 24, 12), [1.0, 1.0, 3.0, 1.0])
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    talks = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.GlobalWarningDisplayOff()  # what is strange about a header, we say
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(talks)
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
        return tuple(int(n) for n in reader.GetSize()), np.eye(4)
    return tuple(int(n) for n in reader.GetSize()), affine_of(reader)


def _raw_header(image: nib.Nifti1Image, path: Path) -> Any:
    """Header as stored: nibabel repairs some faults in silence, SimpleITK does not, or differently."""
    return type(image.header)(first_bytes(path, image.header.sizeof_hdr), check=False)


def _check_spacing(raw: Any, grid: Grid, path: Path) -> None:
    low, high = EDGES_MM
    stored = np.abs(np.asarray(raw["pixdim"][1:4], dtype=np.float64))
    for spacing in (np.array(grid.spacing), stored):
        if not ((spacing >= low) & (spacing <= high)).all():
            raise ImageError(
                f"{path}: expected voxels of {low:g} to {high:g} mm, found {_mm(spacing)}. "
                "Are the units millimetres? Repair the header."
            )
    if not np.allclose(grid.spacing, stored, rtol=SPACING_CONFLICT):
        raise ImageError(
            f"{path}: expected one voxel size, found {_mm(stored)} (pixdim) and {_mm(np.array(grid.spacing))} "
            "(affine). If the affine is right, fslorient -copysform2qform FILE, or write it by nibabel."
        )


def _check_axes(grid: Grid, path: Path) -> None:
    if not is_at_right_angles(grid.shape, grid.affine):
        raise ImageError(
            f"{path}: expected axes at right angles, found a cosine of {largest_cosine(grid.affine):.2g} between two. "
            "nnU-Net cannot read this; resample it, for instance by nibabel.processing.resample_to_output."
        )


def _content(path: Path) -> Content | None:
    """Checksum and size (modulo 4 GiB) of what a gzip file holds, as its last eight bytes have it."""
    if packing_of(path) != "gzip" or path.stat().st_size < 18:
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
        raise ImageError(f"{path}: truncated or damaged ({one_line(error)}). Copy or download it again.") from error
    return size


def _mm(spacing: npt.NDArray[np.float64]) -> str:
    return "x".join(f"{value:.4g}" for value in spacing) + " mm"
