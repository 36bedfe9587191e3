"""Real lesions in other heads: masks as depths below their border, moved through MNI space, cut to white matter."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, Matrix, SingleFloats
from nnunet_ms.errors import ImageError
from nnunet_ms.images.template import mni152, mni152_brain
from nnunet_ms.images.volumes import Grid
from nnunet_ms.synthesis.fields import moved, sample
from nnunet_ms.synthesis.label_maps import NUMBER, HeadMap

DEPTH_MM = 6.0  # distances are not followed farther
MARGIN_MM = 8.0
LEAST_IN_BRAIN = 0.6  # of a mask's voxels in the template's brain, where its header says that it lies in MNI space
THICK_MM = 1.8  # voxels with longer edges are divided
# a brain against the template: measured on the two patients of open_ms whose images we have, `fit_to_mni`
NATIVE_SCALE = (0.855, 0.872, 0.793)
NATIVE_SHIFT_MM = (0.6, -1.2, 4.4)


@dataclass(frozen=True)
class LesionMask:
    """A mask of lesions as depths.

    Attributes
    ----------
    depth_mm : (X, Y, Z) float32 array
        Distance to the lesions' border, positive inside, cut to the lesions and a margin.
    grid : Grid
    from_mni : (4, 4) float array
        From points of MNI space to points of the mask, RAS mm.
    volume_ml : float
    name : str
    """

    depth_mm: SingleFloats
    grid: Grid
    from_mni: Matrix
    volume_ml: float
    name: str = "mask"


@dataclass(frozen=True)
class Pasting:
    """How lesions are moved and cut.

    Attributes
    ----------
    mirrored : float
        Probability that left and right are exchanged.
    scale : (float, float)
        Range of the factor of size, log-uniform.
    shift_mm : float
        Standard deviation of each shift.
    grown_mm : float
        Standard deviation of the shift of the border, outwards or inwards: raters differ.
    cortex_mm : float
        How far lesions reach into the cortex, at most; drawn from 0 to this for each head.
    kept : float
        Share of a lesion that must be left after the cut; the others are dropped.
    """

    mirrored: float = 0.5
    scale: tuple[float, float] = (0.9, 1.15)
    shift_mm: float = 1.5
    grown_mm: float = 0.25
    cortex_mm: float = 2.0
    kept: float = 0.35


def native_to_mni() -> Matrix:
    """From MNI space to a head that is only rigidly aligned to it: heads are smaller than the template.

    Examples
    --------
    >>> matrix = native_to_mni()
    >>> bool(0.8 < matrix[0, 0] < 1)
    True
    """
    matrix = np.diag([*NATIVE_SCALE, 1.0])
    matrix[:3, 3] = NATIVE_SHIFT_MM
    return matrix


def share_in_template(mask: Bools, grid: Grid) -> float:
    """Share of a mask's voxels in the template's brain, if it lies as its header says; 1 of an empty mask.

    Examples
    --------
    >>> mask = np.ones((4, 4, 4), bool)
    >>> share_in_template(mask, Grid(mask.shape, np.eye(4))), share_in_template(mask, Grid(mask.shape, 99 * np.eye(4)))
    (1.0, 0.0)
    """
    if not mask.any():
        return 1.0  # an empty one is refused elsewhere
    matrix = np.linalg.inv(mni152().grid.affine) @ np.linalg.inv(native_to_mni()) @ grid.affine
    places = np.argwhere(mask) @ matrix[:3, :3].T + matrix[:3, 3]
    index = np.rint(places).astype(int)
    brain = mni152_brain()
    valid = ((index >= 0) & (index < brain.shape)).all(axis=1)
    return float(brain[tuple(index[valid].T)].sum() / len(index))


def prepare_mask(mask: Bools, grid: Grid, from_mni: Matrix | None = None, name: str = "mask") -> LesionMask:
    """Keep a mask as depths.

    Parameters
    ----------
    mask : (X, Y, Z) bool array
    grid : Grid
    from_mni : (4, 4) float array, optional
        As `LesionMask`; without it `native_to_mni`.
    name : str, optional

    Raises
    ------
    ImageError
        If the mask is empty.

    Examples
    --------
    >>> mask = np.zeros((20, 20, 5), bool)
    >>> mask[8:12, 8:12, 2] = True
    >>> prepared = prepare_mask(mask, Grid(mask.shape, np.diag([1.0, 1.0, 4.0, 1.0])))
    >>> prepared.volume_ml, prepared.grid.spacing
    (0.064, (1.0, 1.0, 1.0))
    """
    if not mask.any():
        raise ImageError(f"{name}: expected a mask with lesions, found none in it. Leave it out.")
    volume_ml = float(np.count_nonzero(mask)) * grid.voxel_volume_ml
    mask, grid = _finer(np.asarray(mask, dtype=bool), grid)
    margin = [int(np.ceil(MARGIN_MM / edge)) for edge in grid.spacing]
    padded = np.pad(mask, [(m, m) for m in margin])
    near = ndimage.find_objects(padded.astype(np.uint8))[0]
    box = tuple(slice(max(0, one.start - m), one.stop + m) for one, m in zip(near, margin, strict=True))
    cut = padded[box]
    inside, outside = (ndimage.distance_transform_edt(one, sampling=grid.spacing) for one in (cut, ~cut))
    half = min(grid.spacing) / 2
    depth = np.clip(np.where(cut, inside - half, half - outside), -DEPTH_MM, DEPTH_MM).astype(np.float32)
    affine = grid.affine.copy()
    start = np.array([[one.start - m for one, m in zip(box, margin, strict=True)]])
    affine[:3, 3] = grid.to_world(start)[0]
    here = Grid(tuple(int(n) for n in depth.shape), affine)
    matrix = native_to_mni() if from_mni is None else from_mni
    return LesionMask(depth, here, matrix, volume_ml, name)


def _finer(mask: Bools, grid: Grid) -> tuple[Bools, Grid]:
    """A mask of thick slices at about 1 mm along each axis, rounded between the slices.

    Linear between distances to the border of lesions of one slice, they would shrink to a fourth of a slice of 7 mm. A
    box of a slice's thickness, blurred by a third of it, crosses one half where the box ended: volumes stay.
    """
    affine = grid.affine.copy()
    for axis, edge in enumerate(grid.spacing):
        times = round(edge)
        if edge < THICK_MM:
            continue
        mask = np.repeat(mask, times, axis)
        mask = ndimage.gaussian_filter1d(mask.astype(np.float32), times / 3, axis, mode="constant") > 0.5
        affine[:3, axis] /= times
        affine[:3, 3] -= affine[:3, axis] * (times - 1) / 2
    return mask, Grid(tuple(int(n) for n in mask.shape), affine)


def paste(
    mask: LesionMask, head: HeadMap, points: SingleFloats, rng: np.random.Generator, how: Pasting | None = None
) -> SingleFloats:
    """Depth below the border of a mask's lesions in a deformed head, before they are cut.

    Parameters
    ----------
    mask : LesionMask
    head : HeadMap
    points : (3, X, Y, Z) float32 array
        Where the voxels of the deformed head lie in the label map, in voxels.
    rng : Generator
    how : Pasting, optional

    Returns
    -------
    (X, Y, Z) float32 array
        mm, positive inside.

    Examples
    --------
    >>> from nnunet_ms.synthesis.label_maps import prepare_map
    >>> labels = np.full((40, 40, 40), 2)
    >>> grid = Grid(labels.shape, np.eye(4))
    >>> head = prepare_map(labels, grid, from_mni=np.eye(4))
    >>> mask = prepare_mask(labels == 2, grid, np.eye(4))
    >>> points = np.indices(head.regions.shape, dtype=np.float32)
    >>> paste(mask, head, points, np.random.default_rng(0)).shape == head.regions.shape
    True
    """
    how = Pasting() if how is None else how
    to_mni = np.linalg.inv(head.from_mni) @ head.grid.affine
    own = np.eye(4)
    size = np.exp(rng.uniform(*np.log(how.scale)))
    own[:3, :3] /= size
    own[:3, 3] = rng.normal(0, how.shift_mm, 3)
    if rng.random() < how.mirrored:
        own[0] *= -1
    matrix = np.linalg.inv(mask.grid.affine) @ mask.from_mni @ own @ to_mni
    depth = sample(mask.depth_mm[None], moved(points, matrix))[0]
    # a head's own size against the mask's: depths are of the mask's mm
    stretch = abs(np.linalg.det((mask.from_mni @ own @ np.linalg.inv(head.from_mni))[:3, :3])) ** (1 / 3)
    return np.asarray(depth / np.float32(stretch) + np.float32(rng.normal(0, how.grown_mm)), dtype=np.float32)


def allowed(regions: npt.NDArray[np.uint8], white_mm: SingleFloats, cortex_mm: float) -> Bools:
    """Where lesions may lie: white matter, brain stem, a rim of the cortex and of deep grey matter beside it.

    Examples
    --------
    >>> regions = np.array([NUMBER["white_matter"], NUMBER["grey_matter"], NUMBER["ventricle"]], np.uint8)
    >>> allowed(regions, np.array([0, 1, 1], np.float32), cortex_mm=2.0).tolist()
    [True, True, False]
    """
    white = [NUMBER[one] for one in ("white_matter", "cerebellum_white", "brain_stem")]
    grey = [NUMBER[one] for one in ("grey_matter", "deep_grey_matter", "cerebellum_grey")]
    return np.isin(regions, white) | (np.isin(regions, grey) & (white_mm <= cortex_mm))
