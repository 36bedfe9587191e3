"""What an image of a head shows, in a few numbers: size, share of voxels that are 0, order of the tissues.

All of it is measured on every n-th voxel, about 3 mm apart, and needs no brain mask. The inside is what lies deeper
than 15 mm in the head, or in the brain where the skull is removed: brain in either case.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.images.zero_level import from_zero

COARSE_MM, DEPTH_MM = 3.0, 15.0
SMALLEST_FIELD_MM = 100.0  # of the longest side: below it is no head but a crop or a test object, and nothing is said
LEAST_STRUCTURE = 0.1  # of neighbours: below it an image is noise, made for tests
HEAD_LEVEL = 0.15  # of the 98th percentile: what is brighter belongs to the head
MINIMUM_VOXELS = 200  # coarse ones inside, for percentiles
LEAST_INSIDE = 1000  # coarse voxels inside, for what two images share


@dataclass(frozen=True)
class Coarse:
    """An image on every n-th voxel: `data` (X, Y, Z), its `grid`, the `head` and what is `inside` of it."""

    data: SingleFloats
    grid: Grid
    head: Bools
    inside: Bools


@dataclass(frozen=True)
class Appearance:
    """Numbers of one image; NaN where it shows too little.

    Attributes
    ----------
    spacing_mm, field_mm : (3,) tuple of float
        Voxel edges and sides of the field of view, in the order of the axes.
    nonzero_share : float
        Share of voxels that are not 0; that of the brain where the skull is removed.
    head_ml : float
        Volume of the head, or of the brain where the skull is removed.
    head_mm : (3,) tuple of float
        Its sides.
    asymmetry : float
        (p95 - p50) / (p50 - p5) inside: 2.5 to 6.3 in 11 T2 images (bright fluid), 0.2 to 0.9 in 38 FLAIR and T1
        images, of two scanners, with and without skull.
    tail : float
        (p99.5 - p50) / (p95 - p50) inside: 1.2 to 2.3 in 14 T1 images, 2.4 and 3.5 in two after contrast agent.
    structure : float
        Correlation of neighbours in the head, about 3 mm apart within the slices: 0.2 to 0.8 in scans, 0 in noise.
    """

    spacing_mm: tuple[float, float, float]
    field_mm: tuple[float, float, float]
    nonzero_share: float
    head_ml: float
    head_mm: tuple[float, float, float]
    asymmetry: float
    tail: float
    structure: float

    @property
    def nonzero_ml(self) -> float:
        """Volume that is not 0: the brain where the skull is removed, else the head and the noise around it."""
        return self.nonzero_share * math.prod(self.field_mm) / 1000

    @property
    def shows_a_head(self) -> bool:
        """Whether anything can be said: the field of view is large enough, and what it shows is not mere noise."""
        return max(self.field_mm) >= SMALLEST_FIELD_MM and self.structure >= LEAST_STRUCTURE

    def as_json(self) -> dict[str, Any]:
        """Numbers for a JSON file, None for NaN."""
        return {name: _no_nan(value) for name, value in asdict(self).items()}


def from_json(values: Mapping[str, Any]) -> Appearance:
    """The same from a JSON file.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import read_volume
    >>> seen = appearance_of(read_volume("flair.nii.gz"))
    >>> from_json(seen.as_json()).spacing_mm
    (1.0, 1.0, 3.0)
    """
    return Appearance(**{field.name: _with_nan(values[field.name]) for field in fields(Appearance)})


def appearance_of(volume: Volume, coarse: Coarse | None = None) -> Appearance:
    """Measure an image; `coarse` is that of `coarse_of`, where it is at hand.

    Examples
    --------
    >>> axes = np.indices((50, 60, 50)) - np.array([25, 30, 25]).reshape(3, 1, 1, 1)
    >>> head = (axes**2).sum(axis=0) < 24**2
    >>> grid = Grid(head.shape, np.diag([3.0, 3.0, 3.0, 1.0]))
    >>> seen = appearance_of(Volume(head.astype(np.float32), grid, Path("t1.nii.gz")))
    >>> round(seen.nonzero_share, 2), round(seen.head_ml), seen.head_mm
    (0.38, 1559, (141.0, 141.0, 141.0))
    """
    coarse = coarse or coarse_of(volume)
    spacing = np.array(volume.grid.spacing)
    inside = coarse.data[coarse.inside]
    asymmetry = tail = math.nan
    if inside.size >= MINIMUM_VOXELS:
        p5, p50, p95, p99 = np.percentile(inside, [5, 50, 95, 99.5])
        asymmetry = float((p95 - p50) / (p50 - p5)) if p50 > p5 else math.nan
        tail = float((p99 - p50) / (p95 - p50)) if p95 > p50 else math.nan
    return Appearance(
        spacing_mm=volume.grid.spacing,
        field_mm=_three(spacing * volume.grid.shape),
        nonzero_share=float(np.count_nonzero(coarse.data) / coarse.data.size),
        head_ml=float(coarse.head.sum() * coarse.grid.voxel_volume_ml),
        head_mm=_three(sides(coarse.head) * np.array(coarse.grid.spacing)),
        asymmetry=asymmetry,
        tail=tail,
        structure=_structure(coarse),
    )


def coarse_of(volume: Volume) -> Coarse:
    """Every n-th voxel of an image, the head in it and its inside."""
    grid = volume.grid
    steps = np.maximum(1, np.round(COARSE_MM / np.array(grid.spacing))).astype(int)
    data = volume.data[tuple(slice(None, None, int(step)) for step in steps)].astype(np.float32)
    data = np.asarray(from_zero(data), dtype=np.float32)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * steps
    coarse = Grid(data.shape, affine)
    head = _head(data)
    depth = ndimage.distance_transform_edt(np.pad(head, 1), sampling=coarse.spacing)[1:-1, 1:-1, 1:-1]
    return Coarse(data, coarse, head, depth > DEPTH_MM)


def summary_of(
    shown: Mapping[str, Mapping[str, Any]], roles: Mapping[str, str], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What dataset.json says of the images that a model is trained on, so that it can tell when another is unlike them.

    Parameters
    ----------
    shown : mapping
        Case -> channel -> `Appearance.as_json`.
    roles : mapping
        Case -> "train" or "test".
    before : mapping, optional
        What dataset.json of a dataset that is added to says.

    Returns
    -------
    dict
        `appearance`: channel -> number of cases, and the smallest and the largest of `spacing_mm` (edges in ascending
        order), `nonzero_share`, `nonzero_ml` and `asymmetry`. Empty where no training case shows a head.

    Examples
    --------
    >>> seen = Appearance((1.0, 1.0, 3.0), (180.0, 200.0, 150.0), 0.25, 1400.0, (140.0, 170.0, 130.0), 0.4, 1.5, 0.8)
    >>> summary_of({"P1": {"flair": seen.as_json()}}, {"P1": "train"})["appearance"]["flair"]["nonzero_ml"]
    [1350.0, 1350.0]
    """
    by_channel: dict[str, list[Appearance]] = {}
    for case, channels in shown.items():
        for channel, values in channels.items() if roles[case] == "train" else ():
            by_channel.setdefault(channel, []).append(from_json(values))
    new = {channel: _ranges(seen) for channel, seen in by_channel.items()}
    old = dict(before or {})
    ranges = {name: _both(old.get(name), new.get(name)) for name in (*old, *(name for name in new if name not in old))}
    return {"appearance": ranges} if ranges else {}


def _both(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Ranges of two sets of images together."""
    if first is None or second is None:
        return first or second or {}
    both: dict[str, Any] = {"cases": first["cases"] + second["cases"]}
    for name in (name for name in first if name != "cases"):
        ranges = np.array([one[name] for one in (first, second) if one.get(name)])
        both[name] = [ranges[:, 0].min(axis=0).tolist(), ranges[:, 1].max(axis=0).tolist()] if len(ranges) else None
    return both


def _ranges(seen: list[Appearance]) -> dict[str, Any]:
    edges = np.array([sorted(one.spacing_mm) for one in seen])
    numbers = {name: [getattr(one, name) for one in seen] for name in ("nonzero_share", "nonzero_ml", "asymmetry")}
    found: dict[str, Any] = {"cases": len(seen), "spacing_mm": [edges.min(axis=0).tolist(), edges.max(axis=0).tolist()]}
    for name, values in numbers.items():
        known = [round(value, 4) for value in values if not math.isnan(value)]
        found[name] = [min(known), max(known)] if known else None
    return found


def sides(mask: Bools) -> npt.NDArray[np.float64]:
    """Sides (3,) in voxels of the box around a mask; 0 of an empty one."""
    profiles = [mask.any(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    return np.array([np.ptp(np.flatnonzero(p)) + 1 if p.any() else 0 for p in profiles], dtype=float)


def information_about(moving: Volume, first: Coarse) -> float | None:
    """Mutual information in nats of another sequence with the first one inside the head, place by place.

    Returns
    -------
    float or None
        0.23 and more for two sequences of one head that lie on each other, below 0.15 for others (31 images of ten
        patients); None when the other image holds less than half of the inside.
    """
    values, there = sampled_at(moving, first.grid)
    inside = first.inside & there
    number = int(np.count_nonzero(inside))
    if number < max(LEAST_INSIDE, int(np.count_nonzero(first.inside)) // 2):
        return None
    return shared_information(first.data[inside], values[inside])


def sampled_at(moving: Volume, grid: Grid) -> tuple[SingleFloats, Bools]:
    """Voxels of an image that are nearest to the places of a grid, and where there are any; (X, Y, Z) each."""
    index = np.indices(grid.shape).reshape(3, -1)
    to_moving = np.linalg.inv(moving.grid.affine) @ grid.affine
    places = np.rint(to_moving[:3, :3] @ index + to_moving[:3, 3:]).astype(np.int64)
    limits = np.array(moving.grid.shape)[:, None]
    there = ((places >= 0) & (places < limits)).all(axis=0)
    values = np.zeros(there.size, dtype=np.float32)
    values[there] = moving.data[tuple(places[:, there])]
    return values.reshape(grid.shape), there.reshape(grid.shape)


def shared_information(first: SingleFloats, second: SingleFloats, bins: int = 16) -> float:
    """Mutual information in nats of paired values (N,), each ranked into equal bins; less what chance would give.

    Examples
    --------
    >>> values = np.arange(1600.0)
    >>> round(shared_information(values, -values), 1), abs(shared_information(values, values % 40)) < 0.1
    (2.7, True)
    """
    ranks = [_ranks(values, bins) for values in (first, second)]
    joint = np.bincount(ranks[0] * bins + ranks[1], minlength=bins * bins).reshape(bins, bins) / len(first)
    product = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    there = joint > 0
    by_chance = (bins - 1) ** 2 / (2 * len(first))  # Miller and Madow: the bias of the plug-in estimate
    return float((joint[there] * np.log(joint[there] / product[there])).sum() - by_chance)


def _ranks(values: SingleFloats, bins: int) -> npt.NDArray[np.int64]:
    edges = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, values, side="left")


def _structure(coarse: Coarse) -> float:
    """Correlation of neighbours along the two finer axes, where both are in the head; 0 where there are too few."""
    if np.count_nonzero(coarse.head) < MINIMUM_VOXELS:
        return 0.0
    found = []
    data = np.clip(coarse.data, *np.percentile(coarse.data[coarse.head], [2, 98]))  # a vessel is no structure
    for axis in np.argsort(coarse.grid.spacing, kind="stable")[:2].tolist():
        size = coarse.data.shape[axis]
        first, second = (np.arange(size - 1) + shift for shift in (0, 1))
        both = coarse.head.take(first, axis) & coarse.head.take(second, axis)
        pair = data.take(first, axis)[both], data.take(second, axis)[both]
        enough = both.sum() >= MINIMUM_VOXELS and min(one.std() for one in pair) > 0
        found.append(float(np.corrcoef(*pair)[0, 1]) if enough else 0.0)
    return sum(found) / len(found)


def _head(data: SingleFloats) -> Bools:
    """The largest bright part, holes filled; (X, Y, Z)."""
    bright = data[data > data.min()]
    if not bright.size:
        return np.zeros(data.shape, dtype=bool)
    parts, number = ndimage.label(data > HEAD_LEVEL * np.percentile(bright, 98))
    if not number:
        return np.zeros(data.shape, dtype=bool)
    largest = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    closed = ndimage.binary_closing(np.pad(largest, 2), iterations=2)[2:-2, 2:-2, 2:-2]
    return np.asarray(ndimage.binary_fill_holes(closed | largest), dtype=bool)


def _three(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 3) for value in values)
    return x, y, z


def _no_nan(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_no_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_with_nan(one) for one in value)
    return math.nan if value is None else value
