"""Whether two images of different contrast show one head: their edges then run the same way.

Mutual information after a rigid registration cannot tell: any two heads have an inside and an outside. Sulci and
ventricles differ between people, in place and direction; edges of one head are parallel in all contrasts, as in
normalised gradient fields [1]_.

References
----------
.. [1] Haber E, Modersitzki J. Methods Inf Med 46:292-299, 2007. doi:10.1160/ME9046
"""

import numpy as np
from scipy import ndimage

from nnunet_ms.arrays import Bools, Floats, Matrix
from nnunet_ms.images.itk import resample, to_itk, voxels
from nnunet_ms.images.resample import smoothed
from nnunet_ms.images.volumes import Grid, Volume

EDGE_MM = 2.0  # of the voxels that are compared
RIM_MM = 6.0  # below the brain's surface, which lies alike in any two heads that are registered
STRONGEST = 0.75  # quantile of an image's gradients from which one is an edge
FEWEST = 50


def edge_agreement(first: Volume, second: Volume, brain: Bools, matrix: Matrix) -> float:
    """Mean squared cosine of the angle between the edges of two images, inside of the brain.

    Parameters
    ----------
    first, second : Volume
        Of any contrast.
    brain : (X, Y, Z) bool array
        On the grid of the first.
    matrix : (4, 4) float array
        From points of the first to points of the second, RAS mm.

    Returns
    -------
    float
        0 to 1, at voxels with a strong edge in both; 1 for parallel ones, a third for any two directions, about a half
        where slices are thick and edges lie in their plane. NaN where there are fewer than `FEWEST` such voxels.

    Examples
    --------
    >>> from pathlib import Path
    >>> grid = Grid((30, 30, 30), np.diag([2.0, 2.0, 2.0, 1.0]))
    >>> data = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=grid.shape), 2)
    >>> image, negative, mirrored = (Volume(one, grid, Path("t1.nii.gz")) for one in (data, -data, data[::-1]))
    >>> brain = np.ones(grid.shape, bool)
    >>> round(edge_agreement(image, negative, brain, np.eye(4)), 3)
    1.0
    >>> edge_agreement(image, mirrored, brain, np.eye(4)) < 0.5
    True
    """
    grid = _fine_grid(brain, first.grid)
    inside = _on(Volume(brain.astype(np.float32), first.grid, first.path), grid, np.eye(4)) >= 0.5
    inside = ndimage.binary_erosion(np.pad(inside, 1), iterations=round(RIM_MM / EDGE_MM))[1:-1, 1:-1, 1:-1]
    one, other = (_gradient(_on(*pair)) for pair in ((first, grid, np.eye(4)), (second, grid, matrix)))
    lengths = [np.linalg.norm(gradient, axis=0) for gradient in (one, other)]
    if inside.sum() < FEWEST:
        return float("nan")
    strong = inside & np.all([size > max(np.quantile(size[inside], STRONGEST), 0) for size in lengths], axis=0)
    if strong.sum() < FEWEST:
        return float("nan")
    cosine = (one * other).sum(axis=0)[strong] / (lengths[0] * lengths[1])[strong]
    return float((cosine**2).mean())


def _fine_grid(brain: Bools, grid: Grid) -> Grid:
    """Voxels of `EDGE_MM` along the body's axes around the brain."""
    found = np.argwhere(brain)
    corners = np.array(np.meshgrid(*zip(found.min(0) - 0.5, found.max(0) + 0.5, strict=True))).reshape(3, -1).T
    points = grid.to_world(corners)
    low, high = points.min(axis=0), points.max(axis=0)
    affine = np.diag([EDGE_MM, EDGE_MM, EDGE_MM, 1.0])
    affine[:3, 3] = low + EDGE_MM / 2
    return Grid(tuple(int(n) for n in np.maximum(np.ceil((high - low) / EDGE_MM), 1)), affine)


def _on(image: Volume, grid: Grid, matrix: Matrix) -> Floats:
    """The image on a grid, without lines thinner than its voxels."""
    seen = Grid(grid.shape, matrix @ grid.affine)
    source = smoothed(to_itk(image.data.astype(np.float32), image.grid), image.grid, seen)
    return np.asarray(voxels(resample(source, grid, matrix, is_label=False)), dtype=np.float64)


def _gradient(data: Floats) -> Floats:
    return np.stack(np.gradient(ndimage.gaussian_filter(data, 1.0)))
