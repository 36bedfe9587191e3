"""MR images of a simulated brain with known lesions: FLAIR, T2, T1, T1 after contrast agent, QSM.

Anatomy from the MNI152 template, lesions from `lesion_shapes`; the acquisition adds lesion edges, patchy white
matter, coil profile, scaling, misregistration, ghosts and Rician noise, so that the lesions are not
trivially separable.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.simulation.images.anatomy import Anatomy, draw_anatomy, small_rotation
from nnunet_ms.simulation.images.lesion_fates import draw_fates, draw_rims
from nnunet_ms.simulation.images.lesion_shapes import (
    FAR,
    GROWTH_LOG_SD,
    NEVER,
    NOISE_MM,
    Lesion,
    LesionMap,
    draw_centres,
    draw_sizes,
    draw_sizes_up_to,
    shape_level,
    small_components,
    smooth_noise,
    visit_map,
)
from nnunet_ms.simulation.images.rim_mask import rim_mask
from nnunet_ms.simulation.images.susceptibility import susceptibility_map
from nnunet_ms.simulation.model.course import Course
from nnunet_ms.simulation.model.presets import CONTRASTS, SCANNER, SUSCEPTIBILITY, Contrast, GridSettings, Scanner
from nnunet_ms.simulation.model.streams import Step, stream

BLACK_HOLE_DEPTH = 0.12  # of the radius: the hole is a little smaller than its T2 lesion
DIRT_MM = 6.0  # correlation length of patchy white matter
PPB_PER_PPM = 1000
HALO_MM = 4.0  # width of the bright seam beside the ventricles


@dataclass(frozen=True)
class Patient:
    """A brain and its lesions over all visits."""

    anatomy: Anatomy
    lesions: tuple[Lesion, ...]
    dirt: SingleFloats  # (X, Y, Z) logarithm of the patchiness of white matter, the same at all visits
    volume_ml: tuple[float, ...]
    smallest_voxels: int


@dataclass(frozen=True)
class VisitMasks:
    """What one visit shows: the lesions, `masks` (X, Y, Z) uint8 by the manifest's column names, and whose voxel it is.

    `owner` (X, Y, Z) int16 is the number of the lesion, from 1, in the mask of T2 lesions and 0 elsewhere; `depths`
    (X, Y, Z) mm below the border of each kind.
    """

    found: LesionMap
    masks: dict[str, npt.NDArray[np.uint8]]
    owner: npt.NDArray[np.int16]
    depths: dict[str, SingleFloats]


@dataclass(frozen=True)
class VisitImages:
    """One visit: `contrasts` (X, Y, Z) int16, `masks` uint8, by the manifest's column names; `qsm` in ppm.

    `rims` (X, Y, Z) bool where a rim is seen; None without a QSM.
    """

    contrasts: dict[str, npt.NDArray[np.int16]]
    masks: dict[str, npt.NDArray[np.uint8]]
    owner: npt.NDArray[np.int16]
    qsm: SingleFloats | None = None
    rims: Bools | None = None

    @property
    def volumes(self) -> dict[str, npt.NDArray[np.generic]]:
        """Images and masks together; beside a QSM (in ppb) the lesions' numbers and the rims, which belong to some."""
        images: dict[str, npt.NDArray[np.generic]] = {**self.contrasts, **self.masks}
        if self.qsm is None or self.rims is None:
            return images
        rims = self.rims.astype(np.uint8)
        qsm = self.qsm * np.float32(PPB_PER_PPM)
        return {**images, "qsm": qsm, "t2_lesion_ids": self.owner, "rim_mask": rims}


def draw_patient(settings: GridSettings, course: Course, seed: int, patient: int, qsm: bool = False) -> Patient:
    """Draw a patient's brain and lesions.

    Parameters
    ----------
    settings : GridSettings
        Grid and lesion sizes.
    course : Course
        Volumes and new lesions per visit.
    seed, patient : int
        Key of the random streams.
    qsm : bool, optional
        Whether visits have a map of susceptibility too.
    """
    rng = stream(seed, Step.ANATOMY, patient)
    anatomy = draw_anatomy(settings.spacing_mm, rng, with_iron=qsm)
    dirt = smooth_noise(anatomy, DIRT_MM, rng) * np.float32(SCANNER.white_matter_log_sd)
    lesions = draw_lesions(anatomy, settings, course, stream(seed, Step.LESIONS, patient))
    voxel_mm3 = anatomy.grid.voxel_volume_ml * 1000
    lesions = draw_fates(lesions, course, settings.sizes.median_mm3 / voxel_mm3, stream(seed, Step.COURSE, patient))
    lesions = draw_rims(lesions, SUSCEPTIBILITY, voxel_mm3, stream(seed, Step.QSM, patient))
    return Patient(anatomy, lesions, dirt, tuple(course.volume_ml), settings.sizes.smallest_voxels)


def visit_masks(patient: Patient, visit: int) -> VisitMasks:
    """Lesions of the visit with index `visit`, and the reference masks; the brain mask is the images' support."""
    anatomy = patient.anatomy
    voxels = round(patient.volume_ml[visit] / anatomy.grid.voxel_volume_ml)
    found = visit_map(patient.lesions, visit, voxels, anatomy, patient.smallest_voxels)
    hole, enhancing = _kinds(patient.lesions, visit)
    depths = {
        "lesion": found.depth_mm,
        "black_hole": _of_kind(found, hole) - BLACK_HOLE_DEPTH * _radius(patient.lesions, found),
        "enhancing": _of_kind(found, enhancing),
    }
    owner = np.where(found.mask, found.owner + 1, 0).astype(np.int16)
    return VisitMasks(found, _masks(anatomy.brain, found.mask, depths, patient.smallest_voxels), owner, depths)


def acquire_visit(patient: Patient, visit: int, rng: np.random.Generator) -> VisitImages:
    """Images and reference masks of the visit with index `visit`."""
    anatomy, truth = patient.anatomy, visit_masks(patient, visit)
    contrasts = {
        name: acquire_contrast(patient, truth.found, truth.depths, contrast, rng)
        for name, contrast in CONTRASTS.items()
    }
    qsm = None
    if anatomy.iron is not None:
        qsm = susceptibility_map(patient.lesions, truth.found, anatomy, SUSCEPTIBILITY, rng)
    rims = rim_mask(patient.lesions, truth.found, anatomy, SUSCEPTIBILITY)
    return VisitImages(contrasts, truth.masks, truth.owner, qsm, None if qsm is None else rims)


def acquire_contrast(
    patient: Patient,
    found: LesionMap,
    depths: dict[str, SingleFloats],
    contrast: Contrast,
    rng: np.random.Generator,
    scanner: Scanner = SCANNER,
) -> npt.NDArray[np.int16]:
    """One contrast as the scanner shows it, (X, Y, Z); `depths` in mm below the border of each kind of lesion."""
    return _acquire(_signal(patient, found, depths, contrast), patient.anatomy, contrast, scanner, rng)


def draw_lesions(
    anatomy: Anatomy, settings: GridSettings, course: Course, rng: np.random.Generator
) -> tuple[Lesion, ...]:
    """The lesions of a brain at all visits of a course."""
    voxel_mm3 = anatomy.grid.voxel_volume_ml * 1000
    first = draw_sizes_up_to(round(course.volume_ml[0] * 1000 / voxel_mm3), settings.sizes, voxel_mm3, rng)
    later = [draw_sizes(n, settings.sizes, voxel_mm3, rng) for n in course.new_lesions[1:]]
    born = np.repeat(np.arange(len(later) + 1), [first.size, *(sizes.size for sizes in later)])
    voxels = np.concatenate([first, *later])
    noise = smooth_noise(anatomy, NOISE_MM, rng)
    centres = draw_centres(voxels.tolist(), anatomy, np.empty((0, 4)), rng)
    enhancing = _draw_enhancing(born, course, rng)
    return tuple(
        _draw_lesion(centres[i], int(voxels[i]), int(born[i]), int(enhancing[i]), anatomy, noise, course, rng)
        for i in range(voxels.size)
    )


def _draw_enhancing(born: npt.NDArray[np.int64], course: Course, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Visit at which each lesion enhances: as many of those born at a visit as the course says, or all there are."""
    order, visit = rng.random(born.size), np.full(born.size, NEVER)
    for k, count in enumerate(course.enhancing):
        here = np.flatnonzero(born == k)
        visit[here[np.argsort(order[here])][:count]] = k
    return visit


def _draw_lesion(
    centre: npt.NDArray[np.int64],
    voxels: int,
    born: int,
    enhancing_at: int,
    anatomy: Anatomy,
    noise: SingleFloats,
    course: Course,
    rng: np.random.Generator,
) -> Lesion:
    box, level, radius = shape_level(centre, voxels, anatomy, noise, rng)
    visits = len(course.volume_ml)
    growth = np.exp(np.cumsum(GROWTH_LOG_SD * rng.standard_normal(visits)))
    growth /= growth[born]
    growth[:born] = 0.0
    strength = float(rng.uniform(SCANNER.weakest_lesion, SCANNER.strongest_lesion))
    hole = bool(rng.random() < course.black_hole_share) and born == 0 and enhancing_at != 0
    return Lesion(box, level, radius, born, growth, strength, 0 if hole else NEVER, enhancing_at)


def _kinds(lesions: Sequence[Lesion], visit: int) -> tuple[Bools, Bools]:
    """Return which lesions are black holes and which enhance at the visit; never both. One entry more for owner -1."""
    enhancing = np.array([lesion.enhancing_at == visit for lesion in lesions] + [False])
    hole = np.array([lesion.hole_from <= visit for lesion in lesions] + [False]) & ~enhancing
    return hole, enhancing


def _of_kind(found: LesionMap, kind: Bools) -> SingleFloats:
    return np.where(kind[found.owner], found.depth_mm, np.float32(-FAR))


def _radius(lesions: Sequence[Lesion], found: LesionMap) -> SingleFloats:
    return np.array([lesion.radius_mm for lesion in lesions] + [0.0], dtype=np.float32)[found.owner]


def _masks(
    brain: Bools, lesions: Bools, depths: dict[str, SingleFloats], smallest: int
) -> dict[str, npt.NDArray[np.uint8]]:
    hole, enhancing = ((depths[kind] >= 0) & lesions for kind in ("black_hole", "enhancing"))
    masks = {
        "brain_mask": brain,
        "t2_lesions": lesions,
        "t1_unenhancing": hole & ~small_components(hole, smallest),
        "t1_enhancing": enhancing & ~small_components(enhancing, smallest),
    }
    return {name: mask.astype(np.uint8) for name, mask in masks.items()}


def _signal(patient: Patient, found: LesionMap, depths: dict[str, SingleFloats], contrast: Contrast) -> SingleFloats:
    """Signal before the scanner: tissue, its patchiness and halo, then lesions over it by their partial volume."""
    anatomy = patient.anatomy
    halo = contrast.halo * np.exp(-anatomy.ventricle_mm / HALO_MM)
    dirt = np.sign(-contrast.texture) * patient.dirt
    white = contrast.white * (1 + halo + dirt)
    signal = contrast.csf * anatomy.csf + contrast.grey * anatomy.grey + white * anatomy.white
    signal += contrast.texture * anatomy.texture
    strength = np.array([lesion.strength for lesion in patient.lesions] + [0.0], dtype=np.float32)[found.owner]
    for kind, depth in depths.items():
        target = contrast.white + strength * (getattr(contrast, kind) - contrast.white)
        signal += _occupancy(depth, SCANNER.lesion_edge_mm) * (target - signal)
    return np.asarray(signal, dtype=np.float32)


def _occupancy(depth_mm: SingleFloats, edge_mm: float) -> SingleFloats:
    """Share of a lesion in a voxel: 1/2 on the border of the mask, so that mask and image agree."""
    return np.asarray(np.clip(np.float32(0.5) + depth_mm / np.float32(2 * edge_mm), 0, 1))


def _acquire(
    signal: SingleFloats, anatomy: Anatomy, contrast: Contrast, scanner: Scanner, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    moved = _move(signal, anatomy, scanner, rng)
    moved += np.float32(scanner.ghost_sd * rng.standard_normal()) * np.roll(moved, signal.shape[1] // 2, axis=1)
    moved *= _coil_profile(signal.shape, scanner.bias_log_sd, rng)
    sigma = np.float32(scanner.noise * np.exp(scanner.noise_log_sd * rng.standard_normal()) * contrast.white)
    real, imaginary = (sigma * rng.standard_normal(signal.shape, dtype=np.float32) for _ in range(2))
    magnitude = np.hypot(moved + real, imaginary)  # Rician
    gain = np.exp(scanner.gain_log_sd * rng.standard_normal())
    return np.where(anatomy.brain, np.clip(np.rint(gain * magnitude), 1, 32767), 0).astype(np.int16)


def _move(signal: SingleFloats, anatomy: Anatomy, scanner: Scanner, rng: np.random.Generator) -> SingleFloats:
    """Rigid motion between contrasts: a small turn about the grid's centre, and a shift."""
    spacing = np.array(anatomy.grid.spacing)
    turn = small_rotation(scanner.turn_sd_degrees, rng)
    matrix = turn * spacing / spacing[:, None]  # of voxel indices
    centre = (np.array(signal.shape) - 1) / 2
    offset = centre - matrix @ centre + rng.normal(0, scanner.shift_sd_mm, size=3) / spacing
    return np.asarray(ndimage.affine_transform(signal, matrix, offset, order=1, mode="nearest"), dtype=np.float32)


def _coil_profile(shape: tuple[int, ...], log_sd: float, rng: np.random.Generator) -> SingleFloats:
    """Smooth positive field: the exponential of a random quadratic polynomial of SD `log_sd`."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    terms = [x, y, z, x * y, x * z, y * z, x**2 - 1 / 3, y**2 - 1 / 3, z**2 - 1 / 3]
    weights = rng.standard_normal(len(terms))
    field = sum((np.float32(w) * term for w, term in zip(weights, terms, strict=True)), np.float32(0))
    return np.asarray(np.exp(np.float32(log_sd) * (field - field.mean()) / field.std()), dtype=np.float32)
