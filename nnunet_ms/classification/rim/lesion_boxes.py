"""The lesions of a visit: confluent ones taken apart, labelled, with a cube for networks and a box for features."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, Floats, SingleFloats
from nnunet_ms.classification.rim.case_images import BrainSource, CaseImages, read_case, without_qsm
from nnunet_ms.classification.rim.cohort import RimCase
from nnunet_ms.classification.rim.patches import GEOMETRIES, Cutter, cutter
from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.images.qsm_units import QsmUnit
from nnunet_ms.lesions.confluent import Splitting, split_confluent
from nnunet_ms.lesions.lesion_labels import Labelled, LabelProblem, label_lesions
from nnunet_ms.options import chosen

Unlabelled = Literal["unknown", "rim-"]
CLIP_PPB = 300.0
LARGEST_MM = 200.0  # beyond, a cube is no lesion's and a point no lesion's label
BOX_MARGIN = 8  # voxels around a lesion: wavelets of its features look 3 voxels far, so no edge of the box is seen


@dataclass(frozen=True)
class BoxSettings:
    """How lesions are taken from a visit.

    Attributes
    ----------
    geometry : (D, H, W)
        Cells of the cube, one of `patches.GEOMETRIES`.
    extent_mm : float
        Edge of the cube.
    minimum_voxels : int
        Smaller lesions are left out and counted.
    split : bool
        Whether confluent lesions are taken apart.
    splitting : Splitting
        When.
    qsm_unit : {"ppb", "ppm", "unchecked"}
        What QSM files hold; see `qsm_units.checked_qsm`.
    label_reach_mm : float
        How far outside a lesion its label's point may lie.
    unlabelled : {"unknown", "rim-"}
        What a lesion is that has no label in a visit with labels, such as where raters marked rim+ alone.
    """

    geometry: tuple[int, int, int] = GEOMETRIES[0]
    extent_mm: float = 24.0
    minimum_voxels: int = 30
    split: bool = True
    splitting: Splitting = field(default_factory=Splitting)
    qsm_unit: QsmUnit = "ppb"
    label_reach_mm: float = 0.0
    unlabelled: Unlabelled = "unknown"

    def __post_init__(self) -> None:
        chosen(self.qsm_unit, get_args(QsmUnit), "qsm_unit")
        chosen(self.unlabelled, get_args(Unlabelled), "unlabelled")
        if tuple(self.geometry) not in GEOMETRIES:
            raise OptionError(f"geometry: expected one of {GEOMETRIES}, found {self.geometry}. Choose one of them.")
        if not 0 < self.extent_mm <= LARGEST_MM:
            raise OptionError(
                f"extent_mm: expected a number > 0, {LARGEST_MM:g} at most, found {self.extent_mm}. Correct it."
            )
        if self.minimum_voxels < 1:
            raise OptionError(f"minimum_voxels: expected a number >= 1, found {self.minimum_voxels}. Correct it.")
        if not 0 <= self.label_reach_mm <= LARGEST_MM:
            raise OptionError(
                f"label_reach_mm: expected a number >= 0, {LARGEST_MM:g} at most, found {self.label_reach_mm}. "
                "Correct it: a few mm are usual."
            )


DEFAULT = BoxSettings()


def settings_from(written: Mapping[str, Any], where: str = "settings") -> BoxSettings:
    """Settings as a features folder or a model holds them, in JSON's words; further ones are passed over.

    Raises
    ------
    SettingsError
        If one of them cannot be a setting; `where` begins the message.

    Examples
    --------
    >>> settings_from({"geometry": [32, 32, 32], "features": "PyRadiomics"}).geometry
    (32, 32, 32)
    """
    known = {field.name for field in fields(BoxSettings)}
    given = {name: value for name, value in written.items() if name in known}
    try:
        if "geometry" in given:
            given["geometry"] = tuple(given["geometry"])
        if "splitting" in given:
            given["splitting"] = Splitting(**given["splitting"])
        return BoxSettings(**given)
    except (TypeError, SettingsError) as error:
        raise SettingsError(
            f"{where}: expected how lesions were found and cut, found other settings ({error}). Measure again."
        ) from error


@dataclass(frozen=True)
class RimLesion:
    """One lesion.

    Attributes
    ----------
    lesion_id : int
        From 1, in its visit; lesions that are too small have numbers too, so some may be missing.
    centre_mm : (3,) floats
        Centre of mass in world mm (RAS+).
    label : float
        1.0 rim+, 0.0 rim-, NaN unknown.
    qsm_ppb : (x, y, z) float32 array
        Not clipped, in the native voxels of its bounding box and `BOX_MARGIN` voxels around, as far as the image goes.
    mask : (x, y, z) bool array
        The lesion in that box.
    first_voxel : (3,) ints
        Where the box begins in the image of the QSM.
    spacing_mm : (3,) floats
    patch : (2, D, H, W) float32 array
        QSM clipped at 300 ppb over 300, and FLAIR z-scored in the brain (0 where there is none); see `patches.cutter`.
    padded_share : float
        Share of the cube outside the image, where it is 0.
    touches_border : bool
        Whether the lesion reaches the image's last voxel, so that a part of it may be missing.
    parts : int
        Number of lesions into which its component was taken apart; 1 where it was not confluent.
    brain_from : str
        Brain of the z-score: `given`, or `nonzero FLAIR` or `nonzero QSM`.
    has_flair : bool
    no_qsm_share : float
        Share of the lesion where the map is 0, because its reconstruction ends there; see `case_images.without_qsm`.
    """

    patient_id: str
    visit: str
    week: float
    lesion_id: int
    centre_mm: tuple[float, float, float]
    voxels: int
    volume_ml: float
    label: float
    qsm_ppb: SingleFloats
    mask: Bools
    first_voxel: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    patch: SingleFloats
    padded_share: float
    touches_border: bool
    parts: int
    brain_from: BrainSource
    has_flair: bool
    no_qsm_share: float

    @property
    def row(self) -> dict[str, object]:
        """What a table of lesions says of it."""
        x, y, z = self.centre_mm
        return {
            "patient_id": self.patient_id,
            "visit": self.visit,
            "week": self.week,
            "lesion_id": self.lesion_id,
            "voxels": self.voxels,
            "volume_ml": self.volume_ml,
            "x_mm": x,
            "y_mm": y,
            "z_mm": z,
            "label": self.label,
            "padded_share": self.padded_share,
            "touches_border": self.touches_border,
            "parts": self.parts,
            "brain_from": self.brain_from,
            "has_flair": self.has_flair,
            "no_qsm_share": self.no_qsm_share,
        }


@dataclass(frozen=True)
class VisitLesions:
    """The lesions of a visit, and what was left out on the way.

    Attributes
    ----------
    lesions : tuple of RimLesion
        Empty for a patient without a lesion: that is no error.
    problems : tuple of LabelProblem
        Labels that did not become the label of one lesion.
    too_small, too_small_rims : int
        Lesions left out for their size, and how many of them are rim+.
    """

    lesions: tuple[RimLesion, ...]
    problems: tuple[LabelProblem, ...] = ()
    too_small: int = 0
    too_small_rims: int = 0


def lesions_of(case: RimCase, settings: BoxSettings = DEFAULT) -> list[RimLesion]:
    """Lesions of a visit; `visit_lesions` also says what was left out.

    Parameters
    ----------
    case : RimCase
        Its files.
    settings : BoxSettings, optional
        How lesions are taken.

    Raises
    ------
    ImageError, TableError
        See `case_images.read_case` and `lesion_labels.label_lesions`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nnunet_ms.images.volumes import read_volume, write_volume
    >>> mask = read_volume("reference.nii.gz")
    >>> qsm = np.random.default_rng(0).normal(0, 20, mask.grid.shape) + 50 * mask.data
    >>> write_volume("qsm.nii.gz", qsm.astype(np.float32), mask.grid.affine)
    >>> case = RimCase("P1", "base", 0.0, Path("qsm.nii.gz"), Path("flair.nii.gz"), Path("reference.nii.gz"))
    >>> [(lesion.voxels, lesion.patch.shape) for lesion in lesions_of(case)]
    [(32, (2, 8, 32, 32)), (144, (2, 8, 32, 32))]
    """
    return list(visit_lesions(case, settings).lesions)


def visit_lesions(case: RimCase, settings: BoxSettings = DEFAULT) -> VisitLesions:
    """Lesions of a visit, with the labels that could not be placed and the number of lesions that are too small.

    Parameters and errors are those of `lesions_of`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nnunet_ms.images.volumes import read_volume, write_volume
    >>> mask = read_volume("reference.nii.gz")
    >>> qsm = np.random.default_rng(0).normal(0, 20, mask.grid.shape) + 50 * mask.data
    >>> write_volume("qsm.nii.gz", qsm.astype(np.float32), mask.grid.affine)
    >>> found = visit_lesions(RimCase("P1", "base", 0.0, Path("qsm.nii.gz"), None, Path("reference.nii.gz")))
    >>> len(found.lesions), found.too_small
    (2, 1)
    """
    images = read_case(case, settings.qsm_unit)
    numbers = numbered_lesions(images, settings)
    labelled = _labels(case, numbers, images, settings)
    sizes = np.bincount(numbers.ravel(), minlength=int(numbers.max()) + 1)[1:]
    large = sizes >= settings.minimum_voxels
    parts = _parts(images.lesions, numbers)
    holes = np.bincount(numbers[without_qsm(images.qsm_ppb)], minlength=len(sizes) + 1)[1:] / np.maximum(sizes, 1)
    boxes = ndimage.find_objects(numbers)
    lesions = tuple(
        _lesion(case, images, settings, numbers, i, boxes[i], float(labelled.values[i]), int(parts[i]), holes[i])
        for i in np.flatnonzero(large).tolist()
    )
    return VisitLesions(
        lesions, labelled.problems, int((~large).sum()), int(np.count_nonzero(labelled.values[~large] == 1))
    )


def numbered_lesions(images: CaseImages, settings: BoxSettings = DEFAULT) -> npt.NDArray[np.int32]:
    """Number the lesions of a visit, (X, Y, Z): `lesion_id` in each, those that are too small included."""
    if settings.split:
        return split_confluent(images.lesions, images.grid.spacing, settings.splitting)
    whole = Splitting(minimum_voxels=images.lesions.size + 1, connectivity=settings.splitting.connectivity)
    return split_confluent(images.lesions, images.grid.spacing, whole)


def _labels(case: RimCase, numbers: npt.NDArray[np.int32], images: CaseImages, settings: BoxSettings) -> Labelled:
    if case.labels is None:
        return Labelled(np.full(int(numbers.max()), np.nan), ())
    labelled = label_lesions(case.labels, numbers, images.grid, settings.label_reach_mm)
    if settings.unlabelled == "unknown":
        return labelled
    undecided = [problem.lesion_id or 0 for problem in labelled.problems if problem.kind == "conflict"]
    free = np.isnan(labelled.values) & ~np.isin(np.arange(1, labelled.values.size + 1), undecided)
    return Labelled(np.where(free, 0.0, labelled.values), labelled.problems)


def _parts(mask: Bools, numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """In how many lesions the component of each lesion was taken apart, (L,)."""
    from nnunet_ms.lesions.components import find_components

    components = find_components(mask)
    pairs = np.unique(np.stack([numbers[components.axes], components.component]), axis=1)
    count = np.bincount(pairs[1], minlength=components.count)
    of_lesion = np.ones(int(numbers.max()) + 1, dtype=np.int64)
    of_lesion[pairs[0]] = count[pairs[1]]
    return of_lesion[1:]


def _lesion(
    case: RimCase,
    images: CaseImages,
    settings: BoxSettings,
    numbers: npt.NDArray[np.int32],
    index: int,
    box: tuple[slice, ...],
    label: float,
    parts: int,
    no_qsm_share: float,
) -> RimLesion:
    grid, shape = images.grid, numbers.shape
    inside = numbers[box] == index + 1
    places = np.argwhere(inside) + [part.start for part in box]
    middle: Floats = places.mean(axis=0)
    wide = tuple(
        slice(max(part.start - BOX_MARGIN, 0), min(part.stop + BOX_MARGIN, n))
        for part, n in zip(box, shape, strict=True)
    )
    cube = cutter(grid, middle, settings.extent_mm, settings.geometry)
    x, y, z = grid.to_world(middle[None])[0]
    return RimLesion(
        patient_id=case.patient_id,
        visit=case.visit,
        week=case.week,
        lesion_id=index + 1,
        centre_mm=(float(x), float(y), float(z)),
        voxels=len(places),
        volume_ml=len(places) * grid.voxel_volume_ml,
        label=label,
        qsm_ppb=images.qsm_ppb[wide].copy(),
        mask=numbers[wide] == index + 1,
        first_voxel=(wide[0].start, wide[1].start, wide[2].start),
        spacing_mm=grid.spacing,
        patch=_patch(images, cube),
        padded_share=cube.padded_share,
        touches_border=any(part.start == 0 or part.stop == n for part, n in zip(box, shape, strict=True)),
        parts=parts,
        brain_from=images.brain_from,
        has_flair=images.flair is not None,
        no_qsm_share=float(no_qsm_share),
    )


def _patch(images: CaseImages, cube: Cutter) -> SingleFloats:
    # clipped before the mean over a cell, which one artefact would draw away
    qsm = cube.cut(images.qsm_ppb, CLIP_PPB) / np.float32(CLIP_PPB)
    return np.stack([qsm, np.zeros_like(qsm) if images.flair is None else cube.cut(images.flair)])
