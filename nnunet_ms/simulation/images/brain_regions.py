"""Regions of the MNI152 template with FreeSurfer's numbers: tissue by its maps, deep structures by ellipsoids.

Rough on purpose: a simulated brain needs regions that move with its deformation and that every step can tell apart.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.images.template_regions import deep_fluid
from nnunet_ms.simulation.images.anatomy import load_template

Labels = npt.NDArray[np.int16]
CSF, STEM, LESION, THIRD, FOURTH = 24, 16, 77, 14, 15
# numbers of the left and the right side
WHITE, GREY, CEREBELLUM_WHITE, CEREBELLUM_GREY, LATERAL = (2, 41), (3, 42), (7, 46), (8, 47), (4, 43)
# centre (x on both sides) and radii in mm MNI; ours
CEREBELLUM = ((0, -65, -37), (54, 34, 30))
BRAIN_STEM = (
    ((0, -28, -14), (15, 10, 9)),
    ((0, -28, -34), (16, 13, 15)),
    ((0, -34, -44), (11, 10, 12)),
    ((0, -41, -54), (9, 9, 16)),
)
DEEP_GREY = {
    (10, 49): ((12, -19, 8), (11, 15, 10)),  # thalamus
    (13, 52): ((19, -4, -1), (5, 8, 6)),  # pallidum
    (12, 51): ((26.5, 3, 2), (5.5, 15, 10)),  # putamen
    (11, 50): ((13, 12, 9), (5, 11, 11)),  # caudate
    (17, 53): ((27, -22, -14), (6, 16, 6)),  # hippocampus
    (18, 54): ((23, -5, -18), (6, 6, 6)),  # amygdala
}
FOURTH_VENTRICLE = ((0, -45, -32), (8, 8, 12))


def labels_at(world: SingleFloats, brain: Bools) -> Labels:
    """Region of each voxel by where it lies in the template, (3, X, Y, Z) mm; 0 outside `brain`.

    Examples
    --------
    >>> places = np.array([[0, 26, 14, 0], [-34, -40, -20, 0], [-34, 25, 22, 0]], np.float32).reshape(3, 4, 1, 1)
    >>> labels_at(places, np.array([True, True, True, False]).reshape(4, 1, 1)).ravel().tolist()
    [16, 41, 43, 0]
    """
    template, origin = region_template()
    index = np.rint(world - origin[:, None, None, None]).astype(np.intp)
    limits = np.array(template.shape)[:, None, None, None] - 1
    i, j, k = np.clip(index, 0, limits)
    found = template[i, j, k]
    return np.where(brain, np.where(found == 0, np.int16(CSF), found), 0).astype(np.int16)


@lru_cache(maxsize=1)
def region_template() -> tuple[Labels, npt.NDArray[np.float64]]:
    """Label map (X, Y, Z) of the template at 1 mm, and the place (3,) of its first voxel in mm."""
    maps = load_template((1.0, 1.0, 1.0))
    grey, white, inside, _ = maps.maps
    brain = ndimage.binary_fill_holes(inside > 0.5)
    fluid = brain & (1 - grey - white > np.maximum(grey, white))
    places = [
        (maps.origin[i] + np.arange(n)).reshape([-1 if axis == i else 1 for axis in range(3)])
        for i, n in enumerate(brain.shape)
    ]
    right = np.broadcast_to(places[0] >= 0, brain.shape)
    labels = np.where(brain, CSF, 0).astype(np.int16)
    tissue = brain & ~fluid
    small = _ellipsoid(places, *CEREBELLUM)
    for of_white, (cerebrum, cerebellum) in {
        True: (WHITE, CEREBELLUM_WHITE),
        False: (GREY, CEREBELLUM_GREY),
    }.items():
        kind = tissue & ((white > grey) == of_white)
        _paint(labels, kind & ~small, cerebrum, right)
        _paint(labels, kind & small, cerebellum, right)
    for sides, (centre, radii) in DEEP_GREY.items():
        _paint(labels, tissue & _ellipsoid(places, centre, radii, both=True), sides, right)
    labels[tissue & np.any([_ellipsoid(places, *one) for one in BRAIN_STEM], axis=0)] = STEM
    _paint_ventricles(labels, fluid, places, right)
    return labels, maps.origin


def _ellipsoid(
    places: list[npt.NDArray[np.float64]],
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    both: bool = False,
) -> Bools:
    first, *others = places
    axes = [np.abs(first) if both else first, *others]
    squares = [((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii, strict=True)]
    return np.asarray(squares[0] + squares[1] + squares[2] <= 1)


def _paint(labels: Labels, where: Bools, sides: tuple[int, int], right: Bools) -> None:
    labels[where & ~right] = sides[0]
    labels[where & right] = sides[1]


def _paint_ventricles(labels: Labels, fluid: Bools, places: list[npt.NDArray[np.float64]], right: Bools) -> None:
    """Fluid in the middle of the brain, less the cisterns and the cleft between the hemispheres."""
    deep, lateral, third = deep_fluid(fluid, places)
    _paint(labels, deep, LATERAL, right)
    labels[deep & third & ~lateral] = THIRD
    labels[fluid & _ellipsoid(places, *FOURTH_VENTRICLE)] = FOURTH
