"""Raters' labels brought onto lesions: from centroids, or from an image; what does not fit is listed, never guessed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from nnunet_ms.arrays import Floats, Ints
from nnunet_ms.errors import TableError
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.volumes import Grid, Volume, read_mask
from nnunet_ms.lesions.components import find_components
from nnunet_ms.tables import Column, Table, read_table

FARTHEST_MM = 1e5  # no scanner is that large
MISREAD, LEFT = 0.8, 0.5  # shares of the points: see `_check_frame`

LABEL_POINTS = Table(
    "rim labels",
    (
        *(Column(name, "number", minimum=-FARTHEST_MM, maximum=FARTHEST_MM) for name in ("x_mm", "y_mm", "z_mm")),
        Column("label", "integer", minimum=0, maximum=1, next_step="Write 1 for rim+, 0 for rim-."),
    ),
    key=(),
    extra=True,
)
RIM_MINUS, RIM_PLUS = 1, 2  # in an image of labels
IMAGES = (".nii", ".nii.gz", ".hdr", ".img", ".img.gz", ".mgz", ".mgh")
MAJORITY = 0.75  # of a lesion's labelled voxels: splitting need not cut where a rater did

# how each problem is told in `label_problems.csv`
PROBLEMS = Table(
    "label problems",
    (
        Column("patient_id"),
        Column("visit"),
        Column("x_mm", "number"),
        Column("y_mm", "number"),
        Column("z_mm", "number"),
        Column("label", "integer", minimum=0, maximum=1),
        Column("problem"),
        Column("lesion_id", "integer", blank=True, minimum=1),
        Column("distance_mm", "number", blank=True, minimum=0),
        Column("reason"),
    ),
    key=(),
)


@dataclass(frozen=True)
class LabelProblem:
    """A label that did not become the label of one lesion.

    `kind` is `outside` (it lies in no lesion), `conflict` (one lesion has labels of both kinds and gets none),
    `doubled` (one lesion has several equal ones and gets it), or `moved` (outside, within the reach that was given).
    `lesion_id` and `distance_mm` are those of the nearest lesion; 0 mm inside; None and NaN without any lesion.
    """

    kind: str
    label: int
    place_mm: tuple[float, float, float]
    lesion_id: int | None
    distance_mm: float

    @property
    def reason(self) -> str:
        """What happened, and what to do."""
        if self.lesion_id is None:
            return "The mask has no lesion. Is it the mask of this visit?"
        where = f"lesion {self.lesion_id}"
        return {
            "outside": f"In no lesion; {where} is nearest, {self.distance_mm:.1f} mm away. Move the point, draw the "
            "lesion, or allow for it (--label-reach-mm).",
            "moved": f"In no lesion; given to {where}, {self.distance_mm:.1f} mm away, within the reach asked for.",
            "conflict": f"{where.capitalize()} has labels of both kinds and stays without. Draw it as two, or correct "
            "one.",
            "doubled": f"{where.capitalize()} has this label more than once; it counts once.",
        }[self.kind]


@dataclass(frozen=True)
class _Points:
    """Labels as places: world mm (N, 3), 0 or 1 (N,)."""

    place_mm: Floats
    label: Ints


@dataclass(frozen=True)
class Labelled:
    """`values` (L,): 1 rim+, 0 rim-, NaN unknown; `problems` of all labels of the visit."""

    values: Floats
    problems: tuple[LabelProblem, ...]


def label_lesions(path: Path, lesions: npt.NDArray[np.int32], grid: Grid, reach_mm: float = 0.0) -> Labelled:
    r"""Give each lesion of (X, Y, Z) numbers 1 .. L its label from a CSV of centroids or an image of labels.

    Parameters
    ----------
    path : Path
        CSV of `LABEL_POINTS` in world mm (RAS+), or a NIfTI image of 0 none, 1 rim-, 2 rim+ on the lesions' grid.
    lesions : (X, Y, Z) int32 array
    grid : Grid
        Of the lesions.
    reach_mm : float, optional
        How far outside a lesion a point may lie and still be its label; such points are listed.

    Raises
    ------
    TableError, ImageError
        If the file is missing, is no such table or image, or the image lies on another grid; if most points lie in no
        lesion, but would as voxels or in LPS.

    Examples
    --------
    >>> lesions = np.zeros((10, 10, 10), np.int32)
    >>> lesions[2:4, 2:4, 2:4] = 1
    >>> _ = Path("rims.csv").write_text("x_mm,y_mm,z_mm,label\n3,3,3,1\n8,3,3,1\n")
    >>> found = label_lesions(Path("rims.csv"), lesions, Grid(lesions.shape, np.eye(4)))
    >>> found.values.tolist(), found.problems[0].kind, found.problems[0].distance_mm
    ([1.0], 'outside', 5.0)
    """
    if path.suffix.lower() in (".csv", ".tsv", ".txt", ".parquet"):
        points = _read_points(path)
        _check_frame(path, points, lesions, grid, reach_mm)
        return _by_points(points, lesions, grid, reach_mm)
    if not path.name.lower().endswith(IMAGES):
        raise TableError(
            f"{path}: expected a CSV of points or a NIfTI image of labels, found a name that ends with "
            f"{path.suffix or 'neither'}. Save the table as CSV UTF-8."
        )
    image = onto_grid(read_mask(path, (0, RIM_MINUS, RIM_PLUS)), grid, "the QSM")
    return _by_image(image, lesions, grid)


def _read_points(path: Path) -> _Points:
    frame = read_table(path, LABEL_POINTS)
    place = frame[["x_mm", "y_mm", "z_mm"]].to_numpy(float).reshape(-1, 3)
    again = np.flatnonzero(frame.duplicated(["x_mm", "y_mm", "z_mm"]))
    if again.size:
        raise TableError(
            f"{path}: row {int(again[0]) + 1}: a label stands at {place[again[0]].tolist()} mm already; expected one. "
            "Remove one of them."
        )
    return _Points(place, frame["label"].to_numpy(np.int64))


def _check_frame(path: Path, points: _Points, lesions: npt.NDArray[np.int32], grid: Grid, reach_mm: float) -> None:
    """Raise TableError where points are voxels or LPS: then few lie in a lesion, and nearly all do read that way.

    A single point may lie in a lesion by chance, so that it takes two.
    """
    count = len(points.label)
    if count < 2 or not lesions.any():
        return

    def hits(place_mm: Floats) -> int:
        return int(np.count_nonzero(_nearest(place_mm, lesions, grid)[1] <= reach_mm))

    found = hits(points.place_mm)
    for name, step, place in (
        ("LPS", "Change the sign of x_mm and y_mm", points.place_mm * [-1.0, -1.0, 1.0]),
        ("voxels from 0", "Multiply them by the affine of the QSM", grid.to_world(points.place_mm)),
    ):
        other = hits(place)
        if other >= max(2.0, MISREAD * count) and found <= LEFT * other:
            raise TableError(
                f"{path}: expected points in world mm (RAS+), found {found} of {count} in lesions, but {other} if they "
                f"are {name}. {step}."
            )


def _by_points(points: _Points, lesions: npt.NDArray[np.int32], grid: Grid, reach_mm: float) -> Labelled:
    count, problems = int(lesions.max()), []
    hits: dict[int, list[int]] = {number: [] for number in range(1, count + 1)}
    numbers, distances = _nearest(points.place_mm, lesions, grid)
    for i, label in enumerate(points.label.tolist()):
        place, number, distance = points.place_mm[i], int(numbers[i]), float(distances[i])
        if number and distance <= reach_mm:
            hits[number].append(i)
        if distance > 0 or not number:
            kind = "moved" if number and distance <= reach_mm else "outside"
            problems.append(LabelProblem(kind, label, _xyz(place), number or None, distance))
    values = np.full(count, np.nan)
    for number, found in hits.items():
        labels = points.label[found]
        if len(found) > 1:
            kind = "doubled" if np.unique(labels).size == 1 else "conflict"
            again = found[1:] if kind == "doubled" else found
            problems += [LabelProblem(kind, int(points.label[i]), _xyz(points.place_mm[i]), number, 0.0) for i in again]
        if np.unique(labels).size == 1:
            values[number - 1] = labels[0]
    return Labelled(values, tuple(problems))


def _nearest(place_mm: Floats, lesions: npt.NDArray[np.int32], grid: Grid) -> tuple[Ints, Floats]:
    """Nearest lesion of each place (N,), 0 without any, and the distance to its nearest voxel in mm, 0 inside."""
    voxels = np.argwhere(lesions > 0)
    if not len(voxels) or not len(place_mm):
        return np.zeros(len(place_mm), dtype=np.int64), np.full(len(place_mm), math.nan)
    index = np.rint((place_mm - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T)
    distance, nearest = cKDTree(grid.to_world(voxels)).query(place_mm)
    numbers = lesions[tuple(voxels[nearest].T)].astype(np.int64)
    inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
    own = np.zeros(len(place_mm), dtype=np.int64)
    own[inside] = lesions[tuple(index[inside].astype(np.int64).T)]
    return np.where(own > 0, own, numbers), np.where(own > 0, 0.0, distance)


def _by_image(image: Volume, lesions: npt.NDArray[np.int32], grid: Grid) -> Labelled:
    count, problems = int(lesions.max()), []
    votes = np.stack(
        [np.bincount(lesions[image.data == value], minlength=count + 1)[1:] for value in (RIM_MINUS, RIM_PLUS)]
    )
    total = votes.sum(axis=0)
    share = np.divide(votes[1], total, out=np.full(count, np.nan), where=total > 0)
    values = np.where(share >= MAJORITY, 1.0, np.where(share <= 1 - MAJORITY, 0.0, np.nan))
    for i in np.flatnonzero((total > 0) & np.isnan(values)).tolist():
        for label, value in ((0, RIM_MINUS), (1, RIM_PLUS)):
            place = _middle((image.data == value) & (lesions == i + 1), grid)
            problems.append(LabelProblem("conflict", label, place, i + 1, 0.0))
    return Labelled(values, (*problems, *_outside(image, lesions, grid)))


def _outside(image: Volume, lesions: npt.NDArray[np.int32], grid: Grid) -> list[LabelProblem]:
    """Labelled regions that touch no lesion."""
    problems = []
    for label, value in ((0, RIM_MINUS), (1, RIM_PLUS)):
        regions = find_components(image.data == value)
        touched = np.zeros(regions.count, dtype=bool)
        touched[regions.component[lesions[regions.axes] > 0]] = True
        for i in np.flatnonzero(~touched).tolist():
            voxels = np.stack([axis[regions.component == i] for axis in regions.axes], axis=1)
            numbers, distances = _nearest(grid.to_world(voxels), lesions, grid)
            near = int(np.nanargmin(distances)) if numbers.any() else 0
            place = _xyz(grid.to_world(voxels).mean(axis=0))
            problems.append(LabelProblem("outside", label, place, int(numbers[near]) or None, float(distances[near])))
    return problems


def _middle(region: npt.NDArray[np.bool_], grid: Grid) -> tuple[float, float, float]:
    return _xyz(grid.to_world(np.argwhere(region)).mean(axis=0))


def _xyz(place: Sequence[float] | Floats) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in place)
    return x, y, z
