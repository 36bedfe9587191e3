"""A synthetic scan of a part of a head: what a training patch needs, at the cost of its size."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nnunet_ms.arrays import Indices
from nnunet_ms.images.volumes import Grid
from nnunet_ms.synthesis.label_maps import HeadMap
from nnunet_ms.synthesis.lesion_masks import LesionMask
from nnunet_ms.synthesis.scan import SyntheticScan, synthetic_scan

MARGIN = 10  # voxels around a patch that deformation and blurring reach


def synthetic_patch(
    head: HeadMap,
    lesions: Sequence[LesionMask],
    size: Sequence[int],
    rng: np.random.Generator,
    sequences: Sequence[str] = ("flair", "t2", "t1"),
    lesion_share: float = 0.5,
    **more: Any,
) -> SyntheticScan:
    """Draw a patch of a scan.

    Parameters
    ----------
    head : HeadMap
    lesions : sequence of LesionMask
    size : sequence of int
        Of the patch, voxels of 1 mm (x, y, z).
    rng : Generator
    sequences : sequence of str, optional
    lesion_share : float, optional
        Probability that its middle lies where a lesion is (before it is deformed); otherwise it lies anywhere in the
        brain.
    **more
        As `synthetic_scan`; on the grid of 1 mm only.

    Returns
    -------
    SyntheticScan
        Arrays of `size`; 0 where the patch is larger than the head.

    Examples
    --------
    >>> from nnunet_ms.synthesis.label_maps import prepare_map
    >>> labels = np.full((40, 40, 40), 2)
    >>> head = prepare_map(labels, Grid(labels.shape, np.eye(4)), from_mni=np.eye(4))
    >>> synthetic_patch(head, [], (24, 16, 8), np.random.default_rng(0), ("t1",)).images["t1"].shape
    (24, 16, 8)
    """
    middle = _middle(head, lesions, lesion_share, rng)
    start = middle - np.array(size) // 2
    low = np.maximum(start - MARGIN, 0)
    high = np.minimum(start + np.array(size) + MARGIN, head.regions.shape)
    scan = synthetic_scan(_cut(head, low, high), lesions, rng, sequences, **more)
    inner = [slice(max(0, s - a), max(0, s - a) + n) for s, a, n in zip(start, low, size, strict=True)]
    before = [max(0, -s) for s in start.tolist()]

    def part(volume: Any) -> Any:
        cut = volume[tuple(slice(i.start, i.stop - b) for i, b in zip(inner, before, strict=True))]
        pads = [(b, n - b - found) for b, n, found in zip(before, size, cut.shape, strict=True)]
        return np.pad(cut, pads)

    affine = head.grid.affine.copy()
    affine[:3, 3] = head.grid.to_world(start[None])[0]
    return replace(
        scan,
        images={name: part(one) for name, one in scan.images.items()},
        lesion=part(scan.lesion),
        kinds=part(scan.kinds),
        brain=part(scan.brain),
        regions=part(scan.regions),
        grid=Grid(tuple(int(n) for n in size), affine),
    )


def _middle(head: HeadMap, lesions: Sequence[LesionMask], share: float, rng: np.random.Generator) -> Indices:
    if lesions and rng.random() < share:
        one = lesions[int(rng.integers(len(lesions)))]
        inside = np.flatnonzero(one.depth_mm > 0)
        voxel = np.array(np.unravel_index(inside[int(rng.integers(inside.size))], one.depth_mm.shape))
        matrix = np.linalg.inv(head.grid.affine) @ head.from_mni @ np.linalg.inv(one.from_mni) @ one.grid.affine
        place = matrix[:3, :3] @ voxel + matrix[:3, 3]
        return np.clip(np.rint(place), 0, np.array(head.regions.shape) - 1).astype(np.intp)
    for _ in range(1000):
        voxel = rng.integers(head.regions.shape)
        if head.border_mm[tuple(voxel)] > 0:
            break
    return voxel.astype(np.intp)


def _cut(head: HeadMap, low: Indices, high: Indices) -> HeadMap:
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    affine = head.grid.affine.copy()
    affine[:3, 3] = head.grid.to_world(low[None])[0]
    regions = np.ascontiguousarray(head.regions[box])
    border, ventricle, white = (
        np.ascontiguousarray(one[box]) for one in (head.border_mm, head.ventricle_mm, head.white_mm)
    )
    grid = Grid(tuple(int(n) for n in regions.shape), affine)
    return HeadMap(regions, grid, border, ventricle, white, head.from_mni, head.name)
