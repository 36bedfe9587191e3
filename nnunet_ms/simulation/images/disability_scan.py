"""One patient of the cohort of disability: a brain in MNI space ventricles and lesions of known size, T1, FLAIR.

What the scanner adds depends on the field strength: noise, and the contrast between tissues.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.images.volumes import Grid
from nnunet_ms.simulation.images.anatomy import anatomy_at, warped_points
from nnunet_ms.simulation.images.brain_regions import LATERAL, LESION, STEM, Labels, labels_at
from nnunet_ms.simulation.images.lesion_fates import draw_fates
from nnunet_ms.simulation.images.lesion_shapes import smooth_noise
from nnunet_ms.simulation.images.phantom import DIRT_MM, Patient, acquire_contrast, draw_lesions, visit_masks
from nnunet_ms.simulation.model.course import Course
from nnunet_ms.simulation.model.disability import DisabilityPatient
from nnunet_ms.simulation.model.presets import CONTRASTS, GRIDS, PHANTOMS, SCANNER, Contrast, GridSettings, Scanner
from nnunet_ms.simulation.model.streams import Step, stream

EDGE_MM = 2.0  # brains are drawn on it; larger voxels are means of its voxels
EDGES_MM = (2, 4)
FIRST_VOXEL_MM = (-79.0, -112.0, -74.0)  # MNI, of 160 x 192 x 160 mm around the template's brain
SHAPE = (80, 96, 80)
# a brain after an affine transform to the template: what is left of turn and size
ROTATION_SD_DEGREES = 0.5
SCALE_SD = 0.01
GROWTH_MEAN, GROWTH_PER_SD = 0.1, 0.2  # of the ventricles, see `anatomy.VENTRICLE_GROWTH`
# the brain stem: shrinkage across its axis, which runs from its upper to its lower end (MNI y, z), and its reach
STEM_PER_SD = 0.16
STEM_UPPER_MM, STEM_LOWER_MM = (-28.0, -14.0), (-41.0, -54.0)
STEM_RADIUS_MM, STEM_TOP_MM, STEM_FADE_MM = 14.0, -2.0, 3.0
SETTINGS = GridSettings((EDGE_MM, EDGE_MM, EDGE_MM), GRIDS["demo"].sizes)
NOISE_AT_1_5 = 1.6  # times that at 3 T
LESS_CONTRAST_AT_1_5 = 0.8  # of grey matter, fluid and lesions against white matter


@dataclass(frozen=True)
class DisabilityScan:
    """What is written of a scan, (X, Y, Z) each, and the volumes of parts in its labels."""

    grid: Grid
    volumes: dict[str, npt.NDArray[np.generic]]
    ventricles_ml: float
    brainstem_ml: float
    lesion_volume_ml: float


def scan_grid(edge_mm: int) -> Grid:
    """Grid of 160 x 192 x 160 mm in MNI space.

    Examples
    --------
    >>> scan_grid(2).shape, scan_grid(4).shape
    ((80, 96, 80), (40, 48, 40))
    """
    step = edge_mm / EDGE_MM
    affine = np.diag([edge_mm, edge_mm, edge_mm, 1.0])
    affine[:3, 3] = np.array(FIRST_VOXEL_MM) + (edge_mm - EDGE_MM) / 2  # the middle of the first block
    return Grid((int(SHAPE[0] / step), int(SHAPE[1] / step), int(SHAPE[2] / step)), affine)


def draw_scans(patient: DisabilityPatient, edge_mm: int, seed: int, index: int) -> list[DisabilityScan]:
    """Make the scans of a patient: one brain, whose lesions grow; the same arguments give the same bytes."""
    brain, labels = _draw_brain(patient, seed, index)
    grid = scan_grid(edge_mm)
    return [
        _acquire(brain, labels, visit, scan.field_tesla, grid, stream(seed, Step.DISABILITY, index, 3, visit))
        for visit, scan in enumerate(patient.scans)
    ]


def _draw_brain(patient: DisabilityPatient, seed: int, index: int) -> tuple[Patient, Labels]:
    rng = stream(seed, Step.DISABILITY, index, 1)
    growth = GROWTH_MEAN + GROWTH_PER_SD * patient.ventricle_z
    world = warped_points(scan_grid(2), ROTATION_SD_DEGREES, SCALE_SD, growth, rng)
    world = shrunk_stem(world, STEM_PER_SD * patient.stem_z)
    anatomy = anatomy_at(world, scan_grid(2))
    dirt = smooth_noise(anatomy, DIRT_MM, rng) * np.float32(SCANNER.white_matter_log_sd)
    nothing = (0,) * len(patient.scans)
    volumes = tuple(float(np.exp(scan.log_tlv)) for scan in patient.scans)
    course = Course(volumes, nothing, nothing, nothing, PHANTOMS.black_hole_share)
    rng = stream(seed, Step.DISABILITY, index, 2)
    lesions = draw_lesions(anatomy, SETTINGS, course, rng)
    lesions = draw_fates(lesions, course, SETTINGS.sizes.median_mm3 / EDGE_MM**3, rng)
    brain = Patient(anatomy, lesions, dirt, volumes, SETTINGS.sizes.smallest_voxels)
    return brain, labels_at(world, anatomy.brain)


def shrunk_stem(world: SingleFloats, shrinkage: float) -> SingleFloats:
    """Places of the template (3, X, Y, Z) mm, moved away from the brain stem's axis: the stem looks smaller.

    Examples
    --------
    >>> places = np.array([[8.0, 60.0], [-34.0, -34.0], [-34.0, -34.0]], np.float32).reshape(3, 2, 1, 1)
    >>> np.round(shrunk_stem(places, 0.2)[0].ravel().astype(float), 1).tolist()
    [9.4, 60.0]
    """
    slope = (STEM_UPPER_MM[0] - STEM_LOWER_MM[0]) / (STEM_UPPER_MM[1] - STEM_LOWER_MM[1])
    x, y, z = world
    behind = y - (STEM_UPPER_MM[0] + slope * (z - STEM_UPPER_MM[1]))
    near = np.exp(-(x**2 + behind**2) / (2 * STEM_RADIUS_MM**2)) / (1 + np.exp((z - STEM_TOP_MM) / STEM_FADE_MM))
    pull = shrinkage * near
    return np.stack([x + pull * x, y + pull * behind, z]).astype(np.float32)


def _acquire(
    brain: Patient, labels: Labels, visit: int, tesla: float, grid: Grid, rng: np.random.Generator
) -> DisabilityScan:
    truth = visit_masks(brain, visit)
    lesions = truth.masks["t2_lesions"] > 0
    images: dict[str, npt.NDArray[np.generic]] = {}
    for name in ("t1", "flair"):
        contrast, scanner = at_field(CONTRASTS[name], tesla)
        images[name] = acquire_contrast(brain, truth.found, truth.depths, contrast, rng, scanner)
    regions = np.where(lesions, np.int16(LESION), labels).astype(np.int16)
    parts = np.isin(regions, LATERAL), regions == STEM, lesions
    step = SHAPE[0] // grid.shape[0]
    shown = {name: _mean(data, step) for name, data in images.items()}
    mask = _majority(brain.anatomy.brain.astype(np.int16), step) > 0
    within = np.where(mask, _majority(regions, step), 0)
    whole = {name: np.where(mask, data, 0).astype(np.int16) for name, data in shown.items()}
    return DisabilityScan(
        grid,
        {**whole, "brain_mask": mask.astype(np.uint8), "region_labels": within.astype(np.int16)},
        *(float(np.count_nonzero(one) * EDGE_MM**3 / 1000) for one in parts),
    )


def at_field(contrast: Contrast, tesla: float) -> tuple[Contrast, Scanner]:
    """A contrast and what the scanner adds, at 3 T or 1.5 T.

    Examples
    --------
    >>> contrast, scanner = at_field(CONTRASTS["t1"], 1.5)
    >>> contrast.white, contrast.grey, round(scanner.noise / SCANNER.noise, 2)
    (860, 668.0, 1.6)
    """
    if tesla >= 3:
        return contrast, SCANNER
    nearer = {
        name: contrast.white + LESS_CONTRAST_AT_1_5 * (getattr(contrast, name) - contrast.white)
        for name in ("csf", "grey", "lesion", "black_hole")
    }
    return replace(contrast, **nearer), replace(SCANNER, noise=NOISE_AT_1_5 * SCANNER.noise)


def _blocks(data: npt.NDArray[np.generic], step: int) -> npt.NDArray[np.generic]:
    """(X, Y, Z) as (X/step, Y/step, Z/step, step^3)."""
    x, y, z = data.shape[0] // step, data.shape[1] // step, data.shape[2] // step
    parts = data.reshape(x, step, y, step, z, step).transpose(0, 2, 4, 1, 3, 5)
    return parts.reshape(x, y, z, step**3)


def _mean(data: npt.NDArray[np.generic], step: int) -> npt.NDArray[np.generic]:
    if step == 1:
        return data
    return np.rint(_blocks(data, step).astype(np.float32).mean(axis=-1))


def _majority(data: Labels, step: int) -> Labels:
    """The most frequent number of each block; of two that are as frequent the smaller."""
    if step == 1:
        return data
    blocks, found = _blocks(data, step), np.unique(data)
    counts = np.stack([(blocks == one).sum(axis=-1, dtype=np.uint8) for one in found])
    return np.asarray(found[counts.argmax(axis=0)], dtype=np.int16)
