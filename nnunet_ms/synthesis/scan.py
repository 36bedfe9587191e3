"""A synthetic scan of a head with multiple sclerosis: anatomy of a label map, lesions of masks, signals by physics."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, Floats, SingleFloats
from nnunet_ms.images.volumes import Grid
from nnunet_ms.options import chosen
from nnunet_ms.synthesis.acquisition import Scanner, acquire, draw_slices
from nnunet_ms.synthesis.deformation import Deformation, draw_points
from nnunet_ms.synthesis.fields import sample, smooth_field
from nnunet_ms.synthesis.label_maps import FAR_MM, NUMBER, HeadMap
from nnunet_ms.synthesis.lesion_masks import LesionMask, Pasting, allowed, paste
from nnunet_ms.synthesis.look_alikes import add_look_alikes
from nnunet_ms.synthesis.physics import Field
from nnunet_ms.synthesis.slices import nearest_planes, sliced_grid, sliced_labels
from nnunet_ms.synthesis.tissue_signals import Signals, draw_signals

Drawn = Literal["flair", "t2", "t1", "t1post", "pd"]
EDGE_MM = 0.7  # half-width of a lesion's soft border
T2_LESION, BLACK_HOLE, ENHANCING = 1, 2, 3  # numbers in `SyntheticScan.kinds`
LEAST_VOXELS = 3


@dataclass(frozen=True)
class Look:
    """What is drawn for a scan besides its place and its scanner.

    Attributes
    ----------
    black_holes : (float, float)
        Range of the share of lesions that are hypointense on T1.
    enhancing : float
        Probability that a patient has enhancing lesions, if there is a `t1post`.
    enhancing_share : (float, float)
        Range of their share of the lesions.
    poor_mask : float
        Probability that the brain mask leaves parts of the skull.
    free_contrast : float
        Probability that the tissues' signals are moved beyond what protocols do.
    closed_sulci_mm : int
        Largest number of mm by which cortex grows into the fluid; drawn from 0 to this. Young brains have little fluid
        between their gyri, and their merged cortex looks like lesions; the label maps are of older ones.
    """

    black_holes: tuple[float, float] = (0.05, 0.6)
    enhancing: float = 0.6
    enhancing_share: tuple[float, float] = (0.03, 0.3)
    poor_mask: float = 0.25
    free_contrast: float = 0.3
    closed_sulci_mm: int = 3


@dataclass(frozen=True)
class SyntheticScan:
    """One head, scanned with several sequences.

    Attributes
    ----------
    images : dict of str to (X, Y, Z) float32 array
        By sequence; 0 outside of the brain mask where it is masked.
    lesion : (X, Y, Z) uint8 array
        1 in lesions.
    kinds : (X, Y, Z) uint8 array
        1 in lesions that are seen on T2 only, 2 in black holes, 3 in enhancing ones.
    brain : (X, Y, Z) bool array
        The brain mask that was applied, with what it leaves of the skull.
    regions : (X, Y, Z) uint8 array
        What each voxel is, places in `label_maps.REGIONS`; tissue that was there before the lesions.
    grid : Grid
    drawn : dict
        Tissues, protocols, slices and shares.
    """

    images: dict[str, SingleFloats]
    lesion: npt.NDArray[np.uint8]
    kinds: npt.NDArray[np.uint8]
    brain: Bools
    regions: npt.NDArray[np.uint8]
    grid: Grid
    drawn: dict[str, Any] = field(default_factory=dict)


def synthetic_scan(
    head: HeadMap,
    lesions: Sequence[LesionMask],
    rng: np.random.Generator,
    sequences: Sequence[str] = ("flair", "t2", "t1"),
    field: Field | None = None,
    *,
    masked: bool = True,
    own_grid: bool = False,
    deformation: Deformation | None = None,
    pasting: Pasting | None = None,
    scanner: Scanner | None = None,
    look: Look | None = None,
) -> SyntheticScan:
    """Draw one scan.

    Parameters
    ----------
    head : HeadMap
        Of `prepare_map`.
    lesions : sequence of LesionMask
        Of `prepare_mask`; all of them are pasted, none gives a scan without lesions.
    rng : Generator
    sequences : sequence of {"flair", "t2", "t1", "t1post", "pd"}, optional
    field : {"1.5T", "3T"}, optional
        Drawn if not given.
    masked : bool, optional
        Set what is outside of the brain to 0.
    own_grid : bool, optional
        Give images and labels on the scan's slices, the same of all sequences, not on the label map's grid.
    deformation, pasting, scanner, look : optional
        What is drawn from.

    Returns
    -------
    SyntheticScan
        On the label map's grid of 1 mm, or on the scan's own.

    Raises
    ------
    OptionError
        If a sequence or the field strength is another word.

    Examples
    --------
    >>> from nnunet_ms.synthesis.label_maps import prepare_map
    >>> labels = np.zeros((48, 48, 48), np.int16)
    >>> labels[8:40, 8:40, 8:40] = 3
    >>> labels[12:36, 12:36, 12:36] = 2
    >>> head = prepare_map(labels, Grid(labels.shape, np.eye(4)), from_mni=np.eye(4))
    >>> scan = synthetic_scan(head, [], np.random.default_rng(0), ("flair", "t1"), "3T")
    >>> sorted(scan.images), int(scan.lesion.sum()), scan.drawn["field"]
    (['flair', 't1'], 0, '3T')
    """
    for one in sequences:
        chosen(one, get_args(Drawn), "sequence")
    look, scanner = look or Look(), scanner or Scanner()
    pasting = pasting or Pasting()
    strength: Field = field if field is not None else ("1.5T", "3T")[int(rng.integers(2))]
    points = draw_points(head.grid, head.from_mni, rng, deformation)
    near = _near_brain(head, points) if masked else np.ones(head.regions.shape, dtype=bool)
    regions, border_mm, ventricle_mm, white_mm = _deformed(head, points, near)
    regions = closed_sulci(regions, int(rng.integers(look.closed_sulci_mm + 1)))
    depth = _lesion_depth(lesions, head, points, near, regions, white_mm, pasting, rng)
    signals = draw_signals(sequences, strength, rng, free=rng.random() < look.free_contrast)
    parts = _Parts.drawn_from(depth, look, "t1post" in sequences, rng)
    regions = add_look_alikes(regions, head, points, ventricle_mm, white_mm, parts.occupied, rng)
    texture = _Texture.drawn(regions, ventricle_mm, rng)
    brain = _brain_mask(border_mm, rng.random() < look.poor_mask, rng)
    of_all = draw_slices(scanner, rng)
    cuts = {name: of_all if own_grid or rng.random() < 0.7 else draw_slices(scanner, rng) for name in sequences}
    images = {}
    for name in sequences:
        drawn = _signal(name, regions, parts, texture, signals, rng)
        image = acquire(drawn, signals.white[name], cuts[name], scanner, rng, own_grid=own_grid)
        images[name] = image * np.float32(rng.uniform(300, 1200) / signals.white[name])
    kinds, grid = parts.kinds * (border_mm > -2), head.grid
    if own_grid:
        kinds, grid = sliced_labels(kinds, of_all), sliced_grid(grid, of_all)
        brain = sliced_labels(brain.astype(np.uint8), of_all) > 0
        regions = nearest_planes(regions, of_all)
    if masked:
        images = {name: np.where(brain, np.maximum(one, 1), 0).astype(np.float32) for name, one in images.items()}
    told = {**signals.told(), "field": strength, "sources": [one.name for one in lesions], "label_map": head.name}
    told["slices"] = {name: asdict(cut) for name, cut in cuts.items()}
    return SyntheticScan(images, (kinds > 0).astype(np.uint8), kinds, brain, regions, grid, told)


def closed_sulci(regions: npt.NDArray[np.uint8], mm: int) -> npt.NDArray[np.uint8]:
    """Let cortex grow into the fluid between and around gyri; ventricles stay.

    Parameters
    ----------
    regions : (X, Y, Z) array
        Numbers of `REGIONS`, 1 mm.
    mm : int
        How far, 0 or more.

    Examples
    --------
    >>> gap = np.full((9, 1, 1), NUMBER["grey_matter"], np.uint8)
    >>> gap[3:6] = NUMBER["fluid"]
    >>> [int((closed_sulci(gap, mm) == NUMBER["fluid"]).sum()) for mm in (0, 1, 2)]
    [3, 1, 0]
    """
    if mm == 0:
        return regions
    grey, fluid = (regions == NUMBER[name] for name in ("grey_matter", "fluid"))
    grown = ndimage.binary_dilation(grey, iterations=mm, mask=grey | fluid)
    return np.where(grown & fluid, np.uint8(NUMBER["grey_matter"]), regions)


def _near_brain(head: HeadMap, points: SingleFloats) -> Bools:
    """Voxels of the deformed head that can be seen in the brain mask, and the margin that blurring reaches."""
    few = sample(np.maximum(head.border_mm, -FAR_MM)[None], points[:, ::4, ::4, ::4])[0] > -FAR_MM + 1
    wide = ndimage.binary_dilation(few)
    every = np.repeat(np.repeat(np.repeat(wide, 4, 0), 4, 1), 4, 2)
    x, y, z = head.regions.shape
    return np.asarray(every[:x, :y, :z])


def _deformed(
    head: HeadMap, points: SingleFloats, near: Bools
) -> tuple[npt.NDArray[np.uint8], SingleFloats, SingleFloats, SingleFloats]:
    """Regions, and distances to the brain's border, ventricles and white matter, of the voxels that count."""
    here = points[:, near].reshape(3, -1, 1, 1)
    index = np.clip(np.rint(here[:, :, 0, 0]).astype(np.intp), 0, np.array(near.shape)[:, None] - 1)
    regions = np.zeros(near.shape, dtype=np.uint8)
    regions[near] = head.regions[tuple(index)]
    maps = np.full((3, *near.shape), 99, dtype=np.float32)
    maps[0] = -FAR_MM
    found = sample(np.stack([head.border_mm, head.ventricle_mm, head.white_mm]), here)
    maps[:, near] = found.reshape(3, -1)
    return regions, maps[0], maps[1], maps[2]


def _lesion_depth(
    lesions: Sequence[LesionMask],
    head: HeadMap,
    points: SingleFloats,
    near: Bools,
    regions: npt.NDArray[np.uint8],
    white_mm: SingleFloats,
    how: Pasting,
    rng: np.random.Generator,
) -> SingleFloats:
    """Depth of the lesions that are left after the cut to white matter; very negative elsewhere."""
    depth = np.full(regions.shape, -9, dtype=np.float32)
    here = points[:, near].reshape(3, -1, 1, 1)
    for one in lesions:
        depth[near] = np.maximum(depth[near], paste(one, head, here, rng, how).ravel())
    if not lesions:
        return depth
    may = allowed(regions, white_mm, float(rng.uniform(0, how.cortex_mm)))
    parts, count = ndimage.label(depth > 0, structure=np.ones((3, 3, 3)))
    inside = depth > 0
    size = np.bincount(parts[inside], minlength=count + 1)
    left = np.bincount(parts[inside & may], minlength=count + 1)
    gone = (left < np.maximum(how.kept * size, LEAST_VOXELS)) & (size > 0)
    depth[gone[parts] | ~may] = -9
    return depth


@dataclass(frozen=True)
class _Parts:
    """Lesions of a scan: whose voxel it is, and what each one is like (index 0: none)."""

    owner: npt.NDArray[np.int32]
    occupied: SingleFloats
    t2: Floats
    t1: Floats
    agent: Floats
    profile: SingleFloats
    kinds: npt.NDArray[np.uint8]

    @classmethod
    def drawn_from(cls, depth: SingleFloats, look: Look, with_agent: bool, rng: np.random.Generator) -> "_Parts":
        occupied = np.clip(0.5 + depth / (2 * EDGE_MM), 0, 1).astype(np.float32)
        owner, count = ndimage.label(occupied > 0, structure=np.ones((3, 3, 3)))
        # how far a lesion's T2 is on the way from white matter's to the lesion's of `TISSUES`: the same patient's alike
        t2 = np.clip(rng.normal(rng.uniform(0.22, 0.55), 0.09, count + 1), 0.16, 1.0)
        hole = rng.random(count + 1) < rng.uniform(*look.black_holes)
        t1 = np.where(hole, rng.uniform(0.6, 1.3, count + 1), rng.uniform(0.0, 0.45, count + 1))
        t2 = np.maximum(t2, 0.2 + 0.4 * t1)  # a long T1 alone would make a lesion dark on FLAIR
        share = rng.uniform(*look.enhancing_share) if with_agent and rng.random() < look.enhancing else 0.0
        agent = np.where(rng.random(count + 1) < share, rng.uniform(0.15, 0.8, count + 1), 0.0)
        t1 = np.where(agent > 0, np.minimum(t1, 0.8), t1)
        uneven = 1 + np.float32(0.12) * smooth_field(depth.shape, 3.0, rng)
        profile = np.clip(np.float32(0.85) + np.float32(0.1) * depth, 0.6, 1.2) * uneven
        kind = np.where(agent > 0, ENHANCING, np.where(hole, BLACK_HOLE, T2_LESION)).astype(np.uint8)
        kinds = np.where(depth >= 0, kind[owner], 0).astype(np.uint8)
        return cls(owner, occupied, t2, t1, agent, profile.astype(np.float32), kinds)


@dataclass(frozen=True)
class _Texture:
    """Unevenness that is no lesion: of all tissue, and of white matter towards lesions (0 none, 1 lesion)."""

    fine: SingleFloats
    dirty: SingleFloats

    @classmethod
    def drawn(cls, regions: npt.NDArray[np.uint8], ventricle_mm: SingleFloats, rng: np.random.Generator) -> "_Texture":
        fine = smooth_field(regions.shape, 2.5, rng) + smooth_field(regions.shape, 12.0, rng)
        fine *= np.float32(rng.uniform(0.01, 0.03))
        is_grey = np.isin(regions, [NUMBER[one] for one in ("grey_matter", "deep_grey_matter", "cerebellum_grey")])
        patches = smooth_field(regions.shape, float(rng.uniform(6, 20)), rng)  # insula, temporal pole: brighter cortex
        fine += np.where(is_grey, np.float32(rng.uniform(0, 0.08)) * patches, 0).astype(np.float32)
        slow = smooth_field(regions.shape, 20.0, rng)
        patchy = np.clip(smooth_field(regions.shape, 8.0, rng), -1, 2)
        caps = np.float32(rng.uniform(0, 0.45)) * np.exp(-ventricle_mm / np.float32(rng.uniform(1.0, 2.5)))
        halo = np.float32(rng.uniform(0, 0.15)) * np.exp(-ventricle_mm / np.float32(8.0))
        dirty = (caps * (1 + np.float32(0.5) * patchy) + halo) * (1 + np.float32(0.5) * slow)
        dirty += np.float32(rng.uniform(0, 0.06)) * np.maximum(slow, 0)
        is_white = np.isin(regions, [NUMBER[one] for one in ("white_matter", "brain_stem", "cerebellum_white")])
        return cls(fine, np.where(is_white, np.clip(dirty, 0, 0.5), 0).astype(np.float32))


def _signal(
    name: str,
    regions: npt.NDArray[np.uint8],
    parts: _Parts,
    texture: _Texture,
    signals: Signals,
    rng: np.random.Generator,
) -> SingleFloats:
    """Signal of one sequence without the scanner."""
    out = signals.of_regions[name][regions]
    out *= 1 + texture.fine * np.float32(rng.choice((-1.0, 1.0)))
    out += texture.dirty * np.float32(signals.of_lesion(name, 1.0, 0.4, 0.0) - signals.white[name])
    if name == "flair" and rng.random() < 0.5:  # fluid that flows is not nulled
        flow = np.maximum(smooth_field(regions.shape, 15.0, rng) - np.float32(0.5), 0)
        fluid = np.isin(regions, (NUMBER["fluid"], NUMBER["ventricle"]))
        out += np.where(fluid, np.float32(rng.uniform(0, 0.4) * signals.white[name]) * flow, 0)
    values = np.array(
        [signals.of_lesion(name, *each) for each in zip(parts.t2, parts.t1, parts.agent, strict=True)],
        dtype=np.float32,
    )
    there = np.flatnonzero(parts.occupied)
    wanted = signals.white[name] + (values[parts.owner.flat[there]] - signals.white[name]) * parts.profile.flat[there]
    before = out.flat[there]
    out.flat[there] = before + parts.occupied.flat[there] * (wanted - before)
    return np.asarray(np.maximum(out, 0), dtype=np.float32)


def _brain_mask(border_mm: SingleFloats, poor: bool, rng: np.random.Generator) -> Bools:
    """Where the brain mask is: a little tight or wide, and if it is poor with patches of the skull."""
    beyond = rng.uniform(-1.5, 1.0)
    if not poor:
        return np.asarray(border_mm > -np.float32(beyond))
    patches = np.clip(smooth_field(border_mm.shape, 25.0, rng) - np.float32(0.8), 0, 1.5)
    return np.asarray(border_mm > -np.float32(beyond) - np.float32(rng.uniform(2, 6)) * patches)
