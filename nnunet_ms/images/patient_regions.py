"""Ventricles, cortex and infratentorial brain of one patient: by the MNI152 template, and by the patient's own fluid.

An affine transform lays the template on the brain. It cannot follow a patient's wide ventricles or gyri, so it only
says where to look: ventricles are the fluid that is connected with the template's, cortex is what lies under the
brain's surface or beside the fluid of sulci. In thick slices sulci are not seen: there the template's cortex is taken.
Fluid is what is nearer to the level inside of the template's ventricles than to that of the tissue; so whether the
template lies right is seen where it matters, inside of the brain. Measured in `docs/lesion_places.md`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nnunet_ms.arrays import Bools, Floats, Matrix, SingleFloats
from nnunet_ms.errors import ImageError
from nnunet_ms.images.brain_shape import shape_of
from nnunet_ms.images.itk import simpleitk_threads, to_itk
from nnunet_ms.images.registration import affine_to_template
from nnunet_ms.images.template import fit_to_mni, likeness_to_mni, mni152
from nnunet_ms.images.template_regions import cortex_mm, is_infratentorial, ventricles_mm
from nnunet_ms.images.volumes import Grid, Volume

LEAST_DICE = 0.85  # of the brain and the template's: right fits .89 to .95
LEAST_CONTRAST = 0.2  # of fluid against tissue: right fits of FLAIR .66 to .85, of T1 .44 to .48; a wrong one .02
CORE_MM, FEWEST_CORE = (2.0, 1.0, 0.0), 20  # inside of the template's ventricles; the first with so many voxels
TISSUE_MM = 15.0  # from the template's ventricles: what is further away is mostly tissue
REACH_MM = 10.0  # beyond the template's ventricles, in which a patient's lie
GYRUS_MM, ON_CORTEX_MM = 6.0, 1.0  # beyond the template's cortex, in which a patient's lies; of the template's own
CORTEX_MM = 3.0  # thickness
THICK_MM = 4.0  # slices from which on sulci are not seen


@dataclass(frozen=True)
class BrainPlace:
    """Where a brain lies in MNI space, and how well that fits.

    Attributes
    ----------
    matrix : (4, 4) float array
        From points of MNI space to points of the image, RAS mm.
    dice : float
        Of the brain and the template's.
    contrast : float
        How much brighter the median inside of the template's ventricles is than that of the tissue, as a share of the
        latter: below 0 in FLAIR and T1; about 0 where the template's ventricles lie in the patient's tissue.
    """

    matrix: Matrix
    dice: float
    contrast: float

    @property
    def is_good(self) -> bool:
        """Whether places can be told by it."""
        return self.dice >= LEAST_DICE and abs(self.contrast) >= LEAST_CONTRAST

    @property
    def words(self) -> str:
        """How well it fits."""
        how = "darker" if self.contrast < 0 else "brighter"
        fluid = f"its ventricles {abs(self.contrast):.0%} {how} than tissue"
        return f"Dice {self.dice:.2f} with the brain of MNI152, {fluid}"


def needed_fit() -> str:
    """What a fit must have, in words.

    Examples
    --------
    >>> needed_fit()
    'a Dice of 0.85 and more, and 20% and more'
    """
    return f"a Dice of {LEAST_DICE:g} and more, and {LEAST_CONTRAST:.0%} and more"


def place_brain(image: Volume, brain: Bools) -> BrainPlace:
    """Fit the template to a brain by an affine transform that starts from the brain's box.

    Where that does not fit, the slow search of `fit_to_mni` follows, which finds heads wherever their headers put them;
    the better one is returned, be it good or not.

    Parameters
    ----------
    image : Volume
        FLAIR, T1 or T2.
    brain : (X, Y, Z) bool array
        On its grid.

    Raises
    ------
    ImageError
        If there is no brain, or the two do not overlap.

    Examples
    --------
    >>> from nnunet_ms.images.template import mni152_brain
    >>> template = mni152()
    >>> place = place_brain(Volume(template.data, template.grid, Path("t1.nii.gz")), mni152_brain())
    >>> place.is_good, bool(np.abs(place.matrix - np.eye(4)).max() < 0.5)
    (True, True)
    """
    shape = shape_of(brain, image.grid)
    if shape is None:
        raise ImageError(f"{image.path}: expected a brain, found too few voxels of it. Look at it and its brain mask.")
    template = mni152()
    fixed, counted = to_itk(template.data, template.grid), to_itk(template.inside, template.grid)
    seen = np.where(brain, image.data, 0).astype(np.float32)
    corners = np.array([[0.0, 0, 0], [100, 0, 0], [0, 100, 0], [0, 0, 100]])
    box = np.asarray(np.linalg.inv(_through(corners, shape.to_mni(corners))), dtype=np.float64)
    ways: list[Callable[[], Matrix]] = [
        lambda: affine_to_template(fixed, counted, to_itk(seen, image.grid), box).matrix,
        lambda: fit_to_mni(seen, brain, image.grid).matrix,
    ]
    found: list[BrainPlace] = []
    for way in ways:
        with simpleitk_threads(1):  # with more, sums differ in their last digits, and so do brains from run to run
            matrix = way()
        found.append(place_again(image, brain, matrix))
        if found[-1].is_good:
            break
    return max(found, key=lambda one: min(one.dice / LEAST_DICE, abs(one.contrast) / LEAST_CONTRAST))


def place_again(image: Volume, brain: Bools, matrix: Matrix) -> BrainPlace:
    """How well the transform of one scan fits another scan of the same head at the same place."""
    return BrainPlace(matrix, likeness_to_mni(brain, image.grid, matrix), _levels(image, brain, matrix).contrast)


def regions_of(image: Volume, brain: Bools, matrix: Matrix) -> dict[str, Volume]:
    """Masks (X, Y, Z) of `ventricles` (lateral), `cortex` (of the cerebrum) and `infratentorial` brain.

    Parameters
    ----------
    image : Volume
        FLAIR, T1 or T2.
    brain : (X, Y, Z) bool array
        On its grid.
    matrix : (4, 4) float array
        Of `place_brain`.

    Returns
    -------
    dict
        As `lesions.features.locate` takes them.
    """
    levels = _levels(image, brain, matrix)
    distance = np.full(brain.shape, np.inf, dtype=np.float32)
    distance[brain] = levels.to_ventricles
    fluid = np.zeros(brain.shape, dtype=bool)
    fluid[brain] = levels.is_fluid
    ventricles = _connected(fluid & (distance < REACH_MM), distance < 0)
    below = np.zeros(brain.shape, dtype=bool)
    below[brain] = is_infratentorial(levels.points)
    is_thick = max(image.grid.spacing) >= THICK_MM
    cortex = np.zeros(brain.shape, dtype=bool)
    cortex[brain] = cortex_mm().at(levels.points) < (ON_CORTEX_MM if is_thick else GYRUS_MM)
    cortex &= ~below
    if not is_thick:
        cortex &= ~fluid & (_depth(brain & (~fluid | ventricles), image.grid) <= CORTEX_MM)
    found = {"ventricles": ventricles, "cortex": cortex, "infratentorial": below}
    return {name: Volume(mask.astype(np.uint8), image.grid, image.path) for name, mask in found.items()}


@dataclass(frozen=True)
class _Levels:
    """Voxels of a brain, V of them: places in MNI space, distance to the template's ventricles, whether fluid."""

    points: Floats
    to_ventricles: SingleFloats
    is_fluid: Bools
    contrast: float


def _levels(image: Volume, brain: Bools, matrix: Matrix) -> _Levels:
    world = image.grid.to_world(np.argwhere(brain))
    back = np.linalg.inv(matrix)
    points = world @ back[:3, :3].T + back[:3, 3]
    distance = ventricles_mm().at(points)
    values = image.data[brain].astype(np.float64)
    cores = [values[distance < -depth] for depth in CORE_MM]
    core = next((one for one in cores if one.size >= FEWEST_CORE), cores[0][:0])
    tissue = values[distance > TISSUE_MM]
    level = float(np.median(tissue)) if tissue.size else 0.0
    if not core.size or level <= 0:
        return _Levels(points, distance, np.zeros(values.shape, dtype=bool), 0.0)
    fluid = float(np.median(core))
    threshold = (fluid + level) / 2
    is_fluid = values < threshold if fluid < level else values > threshold
    return _Levels(points, distance, np.asarray(is_fluid), fluid / level - 1)


def _connected(candidates: Bools, seeds: Bools) -> Bools:
    """Parts of the candidates that hold a seed."""
    parts, count = ndimage.label(candidates)
    holds = np.zeros(count + 1, dtype=bool)
    holds[np.unique(parts[candidates & seeds])] = True
    holds[0] = False
    return np.asarray(holds[parts])


def _depth(inside: Bools, grid: Grid) -> Floats:
    """Distance of voxels to what is not inside, mm; the field's border counts as inside."""
    box = ndimage.find_objects(inside.astype(np.uint8))
    depth = np.zeros(inside.shape)
    if box:
        part = tuple(slice(max(one.start - 1, 0), one.stop + 1) for one in box[0])
        depth[part] = ndimage.distance_transform_edt(inside[part], sampling=grid.spacing)
    return depth


def _through(places: Floats, to: Floats) -> Matrix:
    """Affine transform (4, 4) that maps four places (4, 3) to four others."""
    ones = np.ones((4, 1))
    return np.asarray(np.linalg.solve(np.hstack([places, ones]), np.hstack([to, ones])).T)
