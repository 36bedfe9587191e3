"""One patient of the cohort of rims: lesions of known kinds in a slab of a brain, its QSM by way of the field, FLAIR.

The rim is in the susceptibility alone: FLAIR shows where a lesion is and how large, never which kind it is.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, Floats, SingleFloats
from nnunet_ms.images.volumes import Grid
from nnunet_ms.simulation.images.anatomy import Anatomy, draw_anatomy, make_grid, small_rotation
from nnunet_ms.simulation.images.dipole import forward, invert, make_dipole
from nnunet_ms.simulation.images.lesion_shapes import (
    NEVER,
    NOISE_MM,
    Lesion,
    LesionMap,
    draw_centres,
    draw_sizes,
    shape_level,
    smooth_noise,
    visit_map,
)
from nnunet_ms.simulation.images.phantom import DIRT_MM, Patient, acquire_contrast
from nnunet_ms.simulation.images.veins import add_tube, draw_course, draw_ring
from nnunet_ms.simulation.model.presets import CONTRASTS, SCANNER, SUSCEPTIBILITY
from nnunet_ms.simulation.model.rim_presets import RIM_LESIONS, RIM_SCAN, VEINS
from nnunet_ms.simulation.model.streams import Step, stream

PROTON_HZ_PER_TESLA = 42.577e6
EDGE_MM = 0.5  # half-width of the ramp from lesion to tissue
UNEVEN_MM = 2.0
SOFT_GAP = 0.15  # of the cosine, over which an open rim ends


@dataclass(frozen=True)
class Traits:
    """What is particular to one lesion; `kind` is `rim`, `bright`, `iso` or `dark`, `vein` none, central or edge.

    `base_ppb` above white matter; of a rim: `rim_ppb` above that, `rim_mm` its half-width, `cover` the share of the
    lesion's surface that has it, `gap` (3,) the direction in which it is open. `penumbra_mm`: by how much FLAIR shows
    the lesion larger.
    """

    kind: str
    base_ppb: float
    rim_ppb: float
    rim_mm: float
    cover: float
    gap: tuple[float, float, float]
    penumbra_mm: float
    vein: str


@dataclass(frozen=True)
class RimVisit:
    """What is written of a patient: volumes (X, Y, Z) by name, `rows` of truth per lesion, `labels` of a rater."""

    grid: Grid
    volumes: dict[str, npt.NDArray[np.generic]]
    rows: list[dict[str, object]]


def draw_visit(seed: int, index: int) -> RimVisit:
    """Draw the patient with this index and scan it; the same two numbers give the same bytes."""
    anatomy = _slab(stream(seed, Step.RIM_COHORT, index, 0))
    lesions, traits = draw_lesions(anatomy, stream(seed, Step.RIM_COHORT, index, 1))
    voxels = sum(int((lesion.level <= 1).sum()) for lesion in lesions)
    found = visit_map(lesions, 0, voxels, anatomy, RIM_LESIONS.sizes.smallest_voxels)
    rng = stream(seed, Step.RIM_COHORT, index, 2)
    chi = susceptibility_ppb(anatomy, found, traits, rng)
    qsm = measured_qsm(chi, anatomy, rng)
    flair, flair_mask = _flair(anatomy, lesions, traits, found, rng)
    volumes: dict[str, npt.NDArray[np.generic]] = {
        "qsm": qsm,
        "flair": flair,
        "brain_mask": anatomy.brain.astype(np.uint8),
        "qsm_lesions": _read(found.depth_mm, found.mask, anatomy.grid, rng).astype(np.uint8),
        "flair_lesions": flair_mask.astype(np.uint8),
        "lesion_ids": np.where(found.mask, found.owner + 1, 0).astype(np.int16),
        "rims": _rim_labels(found, traits, anatomy.grid),
    }
    return RimVisit(anatomy.grid, volumes, _truth(found, traits, anatomy.grid))


def _slab(rng: np.random.Generator) -> Anatomy:
    """A brain on the slab's grid, with lesions in its inner part only."""
    scan, whole = RIM_SCAN, make_grid(RIM_SCAN.spacing_mm)
    slices = round(scan.slab_mm / scan.spacing_mm[2])
    affine = whole.affine.copy()
    affine[2, 3] = scan.slab_middle_mm - scan.spacing_mm[2] * (slices - 1) / 2
    anatomy = draw_anatomy(
        scan.spacing_mm, rng, with_iron=True, grid=Grid((whole.shape[0], whole.shape[1], slices), affine)
    )
    clear = round(scan.clear_mm / scan.spacing_mm[2])
    seeds = anatomy.seeds.copy()
    seeds[:, :, :clear] = seeds[:, :, slices - clear :] = 0
    return replace(anatomy, seeds=seeds)


def draw_lesions(anatomy: Anatomy, rng: np.random.Generator) -> tuple[tuple[Lesion, ...], tuple[Traits, ...]]:
    """Draw a patient's lesions, the largest first, and their traits."""
    preset, voxel_mm3 = RIM_LESIONS, anatomy.grid.voxel_volume_ml * 1000
    mean = preset.mean_count * rng.gamma(1 / preset.count_dispersion, preset.count_dispersion)
    voxels = np.sort(draw_sizes(max(1, int(rng.poisson(mean))), preset.sizes, voxel_mm3, rng))[::-1]
    noise = smooth_noise(anatomy, NOISE_MM, rng)
    centres = draw_centres(voxels.tolist(), anatomy, np.empty((0, 4)), rng)
    share = min(preset.rim_share * rng.gamma(preset.rim_shape, 1 / preset.rim_shape), 0.5)
    able = voxels * voxel_mm3 >= preset.rim_smallest_mm3
    # the share is of all lesions, and only some can have one
    rims = able & (rng.random(voxels.size) < share * voxels.size / max(int(able.sum()), 1))
    lesions, traits = [], []
    for centre, count, is_rim in zip(centres, voxels.tolist(), rims.tolist(), strict=True):
        box, level, radius = shape_level(centre, count, anatomy, noise, rng)
        strength = float(rng.uniform(SCANNER.weakest_lesion, SCANNER.strongest_lesion))
        lesions.append(Lesion(box, level, radius, 0, np.ones(1), strength, NEVER, NEVER, is_rim))
        traits.append(_draw_traits(is_rim, rng))
    return tuple(lesions), tuple(traits)


def _draw_traits(is_rim: bool, rng: np.random.Generator) -> Traits:
    preset = RIM_LESIONS
    names = list(preset.kinds)
    kind = str(rng.choice(names, p=[preset.kinds[name].share for name in names]))
    low, high = preset.core_ppb if is_rim else (preset.kinds[kind].low_ppb, preset.kinds[kind].high_ppb)
    whole = rng.random() < preset.rim_whole
    gap = rng.standard_normal(3) * (1, 1, 0.3)  # mostly in the plane of the slices
    vein = rng.random()
    edge = VEINS.central_share + VEINS.edge_share
    return Traits(
        kind="rim" if is_rim else kind,
        base_ppb=float(rng.uniform(low, high)),
        rim_ppb=float(rng.uniform(preset.rim_low_ppb, preset.rim_high_ppb)) * is_rim,
        rim_mm=float(rng.uniform(*preset.rim_mm)),
        cover=1.0 if whole else float(rng.uniform(preset.rim_cover, 1.0)),
        gap=tuple((gap / np.linalg.norm(gap)).tolist()),
        penumbra_mm=float(rng.uniform(*preset.penumbra_mm)),
        vein="central" if vein < VEINS.central_share else "edge" if vein < edge else "none",
    )


def susceptibility_ppb(
    anatomy: Anatomy, found: LesionMap, traits: tuple[Traits, ...], rng: np.random.Generator
) -> SingleFloats:
    """True susceptibility (X, Y, Z) in ppb: tissue, nuclei, lesions with their rims, veins; 0 outside the brain."""
    white, grey = 1000 * SUSCEPTIBILITY.white, 1000 * SUSCEPTIBILITY.grey
    chi = grey * anatomy.grey + white * anatomy.white
    if anatomy.iron is not None:
        chi = chi + 1000 * anatomy.iron
    inside = np.clip(0.5 + found.depth_mm / (2 * EDGE_MM), 0, 1)
    uneven = RIM_LESIONS.uneven_ppb * smooth_noise(anatomy, UNEVEN_MM, rng)
    chi = chi + inside * (white + _per_voxel([one.base_ppb for one in traits], found) + uneven - chi)
    chi = np.asarray(chi + _rims(found, traits, anatomy.grid), dtype=np.float32)
    _add_veins(chi, anatomy, found, traits, rng)
    return np.asarray(chi * anatomy.brain, dtype=np.float32)


def _per_voxel(values: list[float], found: LesionMap) -> SingleFloats:
    return np.array([*values, 0.0], dtype=np.float32)[found.owner]


def _rims(found: LesionMap, traits: tuple[Traits, ...], grid: Grid) -> SingleFloats:
    """Shells just inside the border, open where their lesion's are."""
    rims = np.zeros(found.mask.shape, dtype=np.float32)
    for i, one in enumerate(traits):
        if not one.rim_ppb:
            continue
        here = np.nonzero((found.owner == i) & (found.depth_mm > -2 * EDGE_MM))
        depth = found.depth_mm[here]
        shell = np.exp(-(((depth - one.rim_mm) / one.rim_mm) ** 2)) * (depth > 0)
        rims[here] = one.rim_ppb * shell * _open(here, one, grid)
    return rims


def _open(here: tuple[npt.NDArray[np.int64], ...], one: Traits, grid: Grid) -> Floats:
    """1 where the rim is, 0 in its gap, for the voxels of one lesion."""
    places = np.stack(here, axis=1) * np.array(grid.spacing)
    away = places - places.mean(axis=0)
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    if one.cover >= 1:
        return np.ones(len(away))
    # of a sphere, what lies at cosines below c from a pole is the share (1 + c) / 2 of the surface
    limit = 2 * one.cover - 1
    return np.asarray(np.clip(0.5 + (limit - away @ np.array(one.gap)) / SOFT_GAP, 0, 1))


def _add_veins(
    chi: SingleFloats, anatomy: Anatomy, found: LesionMap, traits: tuple[Traits, ...], rng: np.random.Generator
) -> None:
    grid = anatomy.grid
    places = np.argwhere(anatomy.white > 0.5)
    spacing = np.array(grid.spacing)
    for place in places[rng.integers(len(places), size=VEINS.per_brain)] * spacing:
        _add_vein(chi, grid, place, rng)
    for i, one in enumerate(traits):
        voxels = np.argwhere((found.owner == i) & found.mask)
        if one.vein == "none" or not len(voxels):
            continue
        centre = voxels.mean(axis=0) * spacing
        if one.vein == "central":
            _add_vein(chi, grid, centre, rng)
        else:
            radius = np.cbrt(len(voxels) * float(np.prod(spacing)) * 3 / (4 * np.pi))
            add_tube(chi, draw_ring(centre, radius - 0.5, rng), _radius(rng), grid, _vein_ppb(rng))


def _add_vein(chi: SingleFloats, grid: Grid, place: Floats, rng: np.random.Generator) -> None:
    course = draw_course(place, rng.standard_normal(3), float(rng.uniform(*VEINS.length_mm)), rng)
    add_tube(chi, course, _radius(rng), grid, _vein_ppb(rng))


def _radius(rng: np.random.Generator) -> float:
    return float(rng.uniform(*VEINS.radius_mm))


def _vein_ppb(rng: np.random.Generator) -> float:
    return float(rng.uniform(VEINS.low_ppb, VEINS.high_ppb))


def measured_qsm(chi: SingleFloats, anatomy: Anatomy, rng: np.random.Generator) -> SingleFloats:
    """The map that a scanner and an inversion make of a susceptibility, (X, Y, Z) ppb, 0 outside the brain.

    Field by the dipole, noise as of the phase, nothing of the field outside the brain (whose background is taken as
    removed without a trace), closed-form inversion, mean over the brain 0.
    """
    scan = RIM_SCAN
    tilt = small_rotation(scan.tilt_sd_degrees, rng) @ np.array([0.0, 0.0, 1.0])
    dipole = make_dipole((chi.shape[0], chi.shape[1], chi.shape[2]), scan.spacing_mm, tilt)
    radians_per_ppb = 2 * np.pi * PROTON_HZ_PER_TESLA * scan.field_tesla * scan.echo_s * 1e-9
    noise = rng.standard_normal(chi.shape, dtype=np.float32) * np.float32(scan.phase_noise / radians_per_ppb)
    field = (forward(chi, dipole) + noise) * anatomy.brain
    qsm = invert(field, dipole, scan.regularisation)
    return np.asarray((qsm - qsm[anatomy.brain].mean()) * anatomy.brain, dtype=np.float32)


def _flair(
    anatomy: Anatomy,
    lesions: tuple[Lesion, ...],
    traits: tuple[Traits, ...],
    found: LesionMap,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.int16], Bools]:
    """FLAIR and the mask that a reader draws on it: both with each lesion's penumbra."""
    smallest = RIM_LESIONS.sizes.smallest_voxels
    depth = np.asarray(found.depth_mm + _per_voxel([one.penumbra_mm for one in traits], found), dtype=np.float32)
    dirt = smooth_noise(anatomy, DIRT_MM, rng) * np.float32(SCANNER.white_matter_log_sd)
    patient = Patient(anatomy, lesions, dirt, (float(found.mask.sum() * anatomy.grid.voxel_volume_ml),), smallest)
    image = acquire_contrast(patient, found, {"lesion": depth}, CONTRASTS["flair"], rng)
    tissue = anatomy.brain & (anatomy.csf < 0.5)
    return image, _read(depth, (depth > 0) & tissue, anatomy.grid, rng)


def _read(depth_mm: SingleFloats, mask: Bools, grid: Grid, rng: np.random.Generator) -> Bools:
    """A mask as a reader draws it: its border off by smooth noise; never beyond where the lesion can be."""
    noise = ndimage.gaussian_filter(
        rng.standard_normal(mask.shape, dtype=np.float32), [1.5 / mm for mm in grid.spacing]
    )
    noise *= np.float32(RIM_LESIONS.reader_mm) / noise.std()
    near = ndimage.binary_dilation(mask, iterations=1)
    return np.asarray((depth_mm + noise > 0) & near)


def _rim_labels(found: LesionMap, traits: tuple[Traits, ...], grid: Grid) -> npt.NDArray[np.uint8]:
    """1 in lesions, 2 in their rims: where the shell has half its height at least."""
    rims = _rims(found, traits, grid) >= 0.5 * np.maximum(_per_voxel([one.rim_ppb for one in traits], found), 1e-3)
    return np.where(found.mask, np.where(rims, 2, 1), 0).astype(np.uint8)


def _truth(found: LesionMap, traits: tuple[Traits, ...], grid: Grid) -> list[dict[str, object]]:
    rows = []
    for i, one in enumerate(traits):
        voxels = np.argwhere((found.owner == i) & found.mask)
        if not len(voxels):  # swallowed by a larger one
            continue
        middle = voxels.mean(axis=0)
        # a label belongs inside its lesion, also of one that is bent
        place = voxels[int(np.argmin(((voxels - middle) ** 2).sum(axis=1)))]
        x, y, z = grid.to_world(place[None].astype(float))[0].tolist()
        rows.append(
            {
                "lesion_id": i + 1,
                "x_mm": x,
                "y_mm": y,
                "z_mm": z,
                "voxels": len(voxels),
                "volume_ml": len(voxels) * grid.voxel_volume_ml,
                "label": int(one.kind == "rim"),
                "kind": one.kind,
                "base_ppb": one.base_ppb,
                "rim_ppb": one.rim_ppb,
                "rim_mm": one.rim_mm if one.rim_ppb else float("nan"),
                "rim_cover": one.cover if one.rim_ppb else float("nan"),
                "penumbra_mm": one.penumbra_mm,
                "vein": one.vein,
            }
        )
    return rows
