"""Heads as label maps: which number stands for which tissue, prepared once for many scans."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, Matrix, SingleFloats
from nnunet_ms.errors import ImageError
from nnunet_ms.images.grids import onto_grid, reoriented, respaced
from nnunet_ms.images.template import fit_to_mni, likeness_to_mni
from nnunet_ms.images.volumes import Grid, Volume

# what a voxel can be, and the tissue of `physics.TISSUES` whose relaxation times it has; a place in this tuple is the
# number in `HeadMap.regions`
REGIONS: tuple[tuple[str, str], ...] = (
    ("air", ""),
    ("white_matter", "white_matter"),
    ("grey_matter", "grey_matter"),
    ("deep_grey_matter", "deep_grey_matter"),
    ("fluid", "fluid"),
    ("ventricle", "fluid"),
    ("choroid_plexus", "choroid_plexus"),
    ("blood", "blood"),
    ("fat", "fat"),
    ("muscle", "muscle"),
    ("bone", "bone"),
    ("cerebellum_white", "white_matter"),
    ("cerebellum_grey", "grey_matter"),
    ("brain_stem", "white_matter"),
)
NUMBER: Mapping[str, int] = {name: number for number, (name, _) in enumerate(REGIONS)}

# numbers of FreeSurfer, and those that the maps of SynthSeg have outside of the brain (502 to 530; what each of them is
# was told from where they lie). White-matter hyperintensities (25, 57, 77 to 79) become white matter: lesions are
# pasted.
FREESURFER: Mapping[int, str] = {
    **dict.fromkeys((2, 41, 25, 57, 77, 78, 79, 85, 28, 60, 251, 252, 253, 254, 255), "white_matter"),
    **dict.fromkeys((3, 42, 136, 137, 163, 164), "grey_matter"),
    **dict.fromkeys((10, 11, 12, 13, 17, 18, 26, 49, 50, 51, 52, 53, 54, 58), "deep_grey_matter"),
    **dict.fromkeys((24, 80), "fluid"),
    **dict.fromkeys((4, 5, 14, 15, 43, 44, 72), "ventricle"),
    **dict.fromkeys((31, 63), "choroid_plexus"),
    **dict.fromkeys((30, 62), "blood"),
    **dict.fromkeys((7, 46), "cerebellum_white"),
    **dict.fromkeys((8, 47), "cerebellum_grey"),
    16: "brain_stem",
    0: "air",
    502: "air",
    506: "fluid",
    507: "muscle",
    508: "muscle",
    509: "muscle",
    511: "fat",
    512: "muscle",
    514: "muscle",
    515: "bone",
    516: "fat",
    530: "muscle",
}
BRAIN = ("white_matter", "grey_matter", "deep_grey_matter", "ventricle", "cerebellum_white", "cerebellum_grey")
CLOSING_MM = 6.0  # sulci narrower than twice this belong to the brain, as in masks of brain extraction
MARGIN_MM = 14  # around the brain: room for deformation and for what a poor brain mask leaves
POOR_FIT = 0.85  # Dice with the template's brain
FAR_MM = 8.0  # distances are not followed farther than this from the brain's border
# of the template's T1 image: what a label map is drawn as, to be fitted to it
_TEMPLATE_SIGNAL = {"white_matter": 0.87, "grey_matter": 0.66, "deep_grey_matter": 0.75, "fluid": 0.27}


@dataclass(frozen=True)
class HeadMap:
    """A head whose voxels of 1 mm say what they are; all maps (X, Y, Z), axes right, anterior, superior.

    Attributes
    ----------
    regions : uint8 array
        Places in `REGIONS`.
    grid : Grid
        Where the voxels lie.
    border_mm : float32 array
        Distance to the border of the brain, positive inside, at most `FAR_MM`.
    ventricle_mm, white_mm : float32 array
        Distance to the ventricles and to white matter, 0 in them.
    from_mni : (4, 4) float array
        From points of MNI space to points of this head, RAS mm.
    name : str
    """

    regions: npt.NDArray[np.uint8]
    grid: Grid
    border_mm: SingleFloats
    ventricle_mm: SingleFloats
    white_mm: SingleFloats
    from_mni: Matrix
    name: str = "label map"


def prepare_map(
    labels: npt.NDArray[np.generic],
    grid: Grid,
    table: Mapping[int, str] = FREESURFER,
    name: str = "label map",
    from_mni: Matrix | None = None,
) -> HeadMap:
    """Make a label map ready: turned to RAS, at 1 mm, cut to the brain, fitted to MNI space.

    Parameters
    ----------
    labels : (X, Y, Z) array
        Whole numbers.
    grid : Grid
        Where they lie.
    table : mapping of int to str, optional
        What each number is: a name of `REGIONS`.
    name : str, optional
        For messages.
    from_mni : (4, 4) float array, optional
        Where it is known already, so that nothing is fitted.

    Returns
    -------
    HeadMap

    Raises
    ------
    ImageError
        If a number is not in the table, or there is no white matter.

    Examples
    --------
    >>> labels = np.zeros((40, 40, 40), np.int16)
    >>> labels[8:32, 8:32, 8:32] = 2
    >>> head = prepare_map(labels, Grid(labels.shape, np.eye(4)), from_mni=np.eye(4))
    >>> float(head.border_mm[head.regions == NUMBER["white_matter"]].min())
    0.5
    """
    regions = _head(_at_1_mm(_regions(labels, table, name), grid), name)
    brain = _brain(regions.data)
    near = ndimage.find_objects(brain.astype(np.uint8))[0]
    box = tuple(slice(max(0, one.start - MARGIN_MM), one.stop + MARGIN_MM) for one in near)
    data = np.ascontiguousarray(regions.data[box]).astype(np.uint8)
    brain = brain[box]
    affine = regions.grid.affine.copy()
    affine[:3, 3] = regions.grid.to_world(np.array([[one.start for one in box]]))[0]
    here = Grid(tuple(int(n) for n in data.shape), affine)
    inside, outside = (ndimage.distance_transform_edt(one).astype(np.float32) for one in (brain, ~brain))
    border = np.clip(np.where(brain, inside - 0.5, 0.5 - outside), -FAR_MM, FAR_MM).astype(np.float32)
    ventricle, white = (_distance(data, *names) for names in (("ventricle",), ("white_matter", "cerebellum_white")))
    matrix = _fitted(data, brain, here) if from_mni is None else from_mni
    return HeadMap(data, here, border, ventricle, white, matrix, name)


def check_fit(head: HeadMap) -> float:
    """How well the brain of a label map that was fitted fits the template's (Dice).

    Raises
    ------
    ImageError
        If it does not.

    Examples
    --------
    >>> labels = np.full((40, 40, 40), 2)
    >>> check_fit(prepare_map(labels, Grid(labels.shape, np.eye(4)), name="cube", from_mni=np.eye(4)))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: cube: expected a brain that fits the template (Dice of 0.85 at least), found 0...
    """
    likeness = likeness_to_mni(head.border_mm > 0, head.grid, head.from_mni)
    if likeness < POOR_FIT:
        raise ImageError(
            f"{head.name}: expected a brain that fits the template (Dice of {POOR_FIT:g} at least), found "
            f"{likeness:.2f}. Is it a label map of a whole head with FreeSurfer's numbers, and its orientation right?"
        )
    return likeness


def _regions(labels: npt.NDArray[np.generic], table: Mapping[int, str], name: str) -> npt.NDArray[np.uint8]:
    found = np.unique(np.rint(labels).astype(np.int64))
    unknown = [int(one) for one in found if int(one) not in table]
    if unknown:
        raise ImageError(
            f"{name}: expected labels of the table, found {unknown} that it does not name. Add them to the table: "
            f"number and one of {', '.join(NUMBER)}."
        )
    codes = np.array([NUMBER[table[int(one)]] for one in found], dtype=np.uint8)
    return codes[np.searchsorted(found, np.rint(labels).astype(np.int64))]


def _at_1_mm(regions: npt.NDArray[np.uint8], grid: Grid) -> Volume:
    volume = Volume(regions, grid, Path())
    turned = reoriented(grid)
    target = turned if np.allclose(turned.spacing, 1, atol=0.02) else respaced(turned, (1.0, 1.0, 1.0))
    return onto_grid(volume, target)


def _head(regions: Volume, name: str) -> Volume:
    """The map without what lies far from the brain, which saves minutes of distances; with air where it ends."""
    tissue = np.isin(regions.data, [NUMBER[one] for one in BRAIN])
    if not (regions.data == NUMBER["white_matter"]).any():
        raise ImageError(f"{name}: expected a label map with white matter, found none. Look at the map and its table.")
    near = ndimage.find_objects(tissue.astype(np.uint8))[0]
    far = MARGIN_MM + round(CLOSING_MM)
    padded = np.pad(regions.data, far)
    box = tuple(slice(one.start, one.stop + 2 * far) for one in near)
    affine = regions.grid.affine.copy()
    affine[:3, 3] = regions.grid.to_world(np.array([[one.start - far for one in near]]))[0]
    cut = np.ascontiguousarray(padded[box])
    return Volume(cut, Grid(tuple(int(n) for n in cut.shape), affine), regions.path)


def _brain(regions: npt.NDArray[np.generic]) -> Bools:
    tissue = np.isin(regions, [NUMBER[one] for one in (*BRAIN, "choroid_plexus", "blood")])
    tissue |= _largest(regions == NUMBER["brain_stem"])
    wide = ndimage.distance_transform_edt(~tissue) <= CLOSING_MM
    closed = ndimage.distance_transform_edt(wide) > CLOSING_MM
    return np.asarray(ndimage.binary_fill_holes(closed | tissue))


def _largest(mask: Bools) -> Bools:
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    return np.asarray(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])))


def _distance(regions: npt.NDArray[np.uint8], *names: str) -> SingleFloats:
    there = np.isin(regions, [NUMBER[one] for one in names])
    if not there.any():
        return np.full(regions.shape, 99, dtype=np.float32)
    return ndimage.distance_transform_edt(~there).astype(np.float32)


def _fitted(regions: npt.NDArray[np.uint8], brain: Bools, grid: Grid) -> Matrix:
    """Fit the map, drawn as a T1 image, to the template."""
    values = np.array([_TEMPLATE_SIGNAL.get(tissue, 0.27) for _, tissue in REGIONS], dtype=np.float32)
    drawn = ndimage.gaussian_filter(values[regions] * brain, 0.7)
    return fit_to_mni(drawn, brain, grid).matrix
