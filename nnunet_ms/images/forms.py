"""Where voxels lie, and when two such places are one: the rule that every command uses. No file is read here.

A NIfTI header gives its affine as twelve numbers (sform), as a quaternion (qform), or both. The quaternion holds three
float32 numbers of four; near a half turn, which is how scans in LPS order are stored, the fourth is lost below 0.1
degrees [1]_, so two forms that were written from one affine may differ by half a millimetre.

References
----------
.. [1] The NIfTI-1 header, section "3D image (volume) orientation and location in space", method 2, and MRtrix3 issue
   1318, which measures the loss.
"""

from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Matrix

TOLERANCE = 0.1  # of the smallest voxel edge: nearest neighbours stay who they are up to a half
NOISE_MM = 1e-3  # float32 headers of one affine differ by less; what differs by more is written anew
COSINE_NOISE = 5e-5  # between axes; SimpleITK refuses to read a header above 1e-4
QUATERNION_NOISE = 3e-7  # of a quaternion's components: five steps of float32 below 1
SPACING_NOISE = 1e-3  # of voxel edges, relative, where a quaternion is compared

Shape = tuple[int, ...]


def largest_distance(shape: Shape, first: Matrix, second: Matrix) -> float:
    """How far two affines are apart at the corners of a grid of this shape, along one axis, in mm.

    Examples
    --------
    >>> largest_distance((10, 10, 10), np.diag([1.0, 1.0, 1.0, 1.0]), np.diag([1.0, 1.0, 1.5, 1.0]))
    5.0
    """
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [*shape, 1]
    return float(np.abs(corners @ (first - second).T).max())


def tolerance_mm(*affines: Matrix) -> float:
    """What two grids may differ by and still be one: a tenth of the smallest voxel edge among them, in mm.

    Examples
    --------
    >>> round(tolerance_mm(np.diag([0.5, 0.5, 3.0, 1.0])), 3)
    0.05
    """
    return TOLERANCE * float(min(np.linalg.norm(affine[:3, :3], axis=0).min() for affine in affines))


def at_right_angles(shape: Shape, affine: Matrix) -> Matrix:
    """The nearest affine whose axes are at right angles, around the same centre, if that is the same grid.

    SimpleITK, and so nnU-Net, knows axes at right angles only. An affine that has them, but for float32 noise, and one
    whose nearest such grid is another grid, are returned as they are.

    Examples
    --------
    >>> sheared = np.eye(4)
    >>> sheared[0, 1] = 2e-4  # headers after a registration, or edited by hand
    >>> straight = at_right_angles((256, 256, 180), sheared)
    >>> largest_cosine(straight) < 1e-12, largest_distance((256, 256, 180), sheared, straight) < 0.03
    (True, True)
    >>> sheared[0, 1] = 0.1
    >>> at_right_angles((256, 256, 180), sheared) is sheared
    True
    """
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine[:3, :3] / edges)
    straight = affine.copy()
    straight[:3, :3] = (left @ right) * edges
    middle = np.array([*shape[:3], 0.0]) / 2
    straight[:3, 3] += ((affine - straight) @ middle)[:3]
    apart = largest_distance(shape, affine, straight)
    is_off = apart > NOISE_MM or largest_cosine(affine) > COSINE_NOISE
    return straight if is_off and apart <= tolerance_mm(affine) else affine


def is_at_right_angles(shape: Shape, affine: Matrix) -> bool:
    """Whether no corner of the grid has to move by more than `NOISE_MM` to bring the axes to right angles."""
    reach = float(np.max(np.array(shape[:3]) * np.linalg.norm(affine[:3, :3], axis=0)))
    return largest_cosine(affine) * reach / 2 <= NOISE_MM


def largest_cosine(affine: Matrix) -> float:
    """The largest cosine between two axes; 0 at right angles."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(directions.T @ directions - np.eye(3)).max())


def one_place(shape: Shape, first: Matrix, second: Matrix, *, by_quaternion: bool = False) -> bool:
    """Whether two affines put the voxels of a grid to the same place.

    Parameters
    ----------
    shape : (3,) tuple of int
        Of the grid.
    first, second : (4, 4) float array
        Voxel -> world in mm.
    by_quaternion : bool, optional
        Whether one of them was read from a quaternion, and may have lost what float32 cannot hold.

    Examples
    --------
    >>> turned = np.diag([-1.0, -1.0, 1.5, 1.0])
    >>> angle = np.deg2rad(0.05)
    >>> turned[:2, :2] = -np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    >>> read = through_quaternion(turned)
    >>> largest_distance((240, 240, 160), turned, read) > 0.2
    True
    >>> one_place((240, 240, 160), turned, read), one_place((240, 240, 160), turned, read, by_quaternion=True)
    (False, True)
    """
    allowed = tolerance_mm(first, second)
    if largest_distance(shape, first, second) <= allowed:
        return True
    if not by_quaternion or np.abs(first[:3, 3] - second[:3, 3]).max() > allowed:
        return False
    edges, others = (np.linalg.norm(affine[:3, :3], axis=0) for affine in (first, second))
    (b, hand), (c, other_hand) = (_quaternion(affine) for affine in (first, second))
    return bool(
        np.allclose(edges, others, rtol=SPACING_NOISE, atol=0)
        and hand == other_hand
        and min(np.abs(b - c).max(), np.abs(b + c).max()) <= QUATERNION_NOISE
    )


def through_quaternion(affine: Matrix) -> Matrix:
    """What is read of an affine that was stored as a quaternion in float32."""
    header = nib.Nifti1Header()
    header.set_qform(affine, 1, strip_shears=True)
    return np.asarray(header.get_qform(), dtype=np.float64)


def _quaternion(affine: Matrix) -> tuple[npt.NDArray[np.float64], bool]:
    """The three numbers of an affine's rotation that a header stores, and whether the axes are right-handed."""
    left, _, right = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    rotation = left @ right
    is_right = bool(np.linalg.det(rotation) > 0)
    if not is_right:
        rotation = rotation * [1, 1, -1]
    return np.asarray(nib.quaternions.mat2quat(rotation)[1:], dtype=np.float64), is_right


def forms_of(header: Any) -> tuple[Matrix | None, Matrix | None]:
    """Sform and qform of a NIfTI header, None for each whose code is 0.

    Raises
    ------
    ValueError, HeaderDataError
        If the qform is no rotation.
    """
    with np.errstate(all="ignore"):
        sform = np.asarray(header.get_sform(), dtype=np.float64) if int(header["sform_code"]) > 0 else None
        qform = np.asarray(header.get_qform(), dtype=np.float64) if int(header["qform_code"]) > 0 else None
    return sform, qform
