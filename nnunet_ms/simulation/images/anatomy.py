"""Brains that differ: the MNI152 template, deformed at random and sampled on the wanted grid."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.images.volumes import Grid

MARGIN_MM = 8.0  # room for brains larger than the template
SCALE_SD = 0.04
ROTATION_SD_DEGREES = 2.0
WARP_SD_MM = 2.5
WARP_POINTS = (5, 6, 5)  # control points: one per 3-4 cm, so that gyri keep their order
VENTRICLE_CENTRE_MM = (0.0, -18.0, 14.0)  # MNI
VENTRICLE_RADIUS_MM = 26.0
VENTRICLE_GROWTH = (-0.05, 0.3)  # uniform; 0.3 widens the ventricles by about 40 %
SHARPENING = 1.7  # the template is an average of 152 brains; single brains have crisper borders
TEMPLATE_SIGNAL = (0.27, 0.66, 0.87)  # of CSF, grey and white matter in the template's T1 image
DEEP_MM = 18.0  # fluid farther than this from the brain's surface is taken for ventricle
TENTORIUM_MM = -22.0  # MNI z below which lesions are rare


# deep grey nuclei as ellipsoids: centre (x on both sides) and radii in mm MNI, susceptibility in ppm; ours, after the
# usual order of iron: globus pallidus, substantia nigra, red nucleus, putamen, caudate
NUCLEI = (
    ((19.0, -4.0, -1.0), (4.5, 8.0, 5.0), 0.13),
    ((9.5, -18.0, -11.0), (4.0, 5.0, 4.0), 0.11),
    ((5.0, -20.0, -8.0), (3.0, 3.5, 4.0), 0.09),
    ((26.5, 4.0, 2.0), (4.5, 13.0, 8.0), 0.05),
    ((12.0, 13.0, 9.0), (4.0, 9.0, 9.0), 0.05),
)


@dataclass(frozen=True)
class Anatomy:
    """One brain on a grid; all maps (X, Y, Z), zero outside `brain`.

    `white`, `grey`, `csf` are fractions that sum to 1; `texture` is the template's T1 signal beyond its tissue
    means; `ventricle_mm` the distance to the ventricles; `seeds` the weight of a voxel as a lesion's centre;
    `iron` the susceptibility of deep grey nuclei in ppm, where it was asked for.
    """

    grid: Grid
    brain: Bools
    white: SingleFloats
    grey: SingleFloats
    csf: SingleFloats
    texture: SingleFloats
    ventricle_mm: SingleFloats
    seeds: SingleFloats
    iron: SingleFloats | None = None


@dataclass(frozen=True)
class Template:
    """The MNI152 maps at 1 mm, (4, X, Y, Z): grey, white, brain, T1 texture; `origin` (3,) mm of voxel 0."""

    maps: SingleFloats
    origin: npt.NDArray[np.float64]


@lru_cache(maxsize=2)
def load_template(spacing_mm: tuple[float, float, float]) -> Template:
    """Load nilearn's MNI152 maps, blurred to the partial volume of voxels of `spacing_mm`."""
    maps, origin = _sharp_maps()
    sigma = [0.3 * (mm if mm > 1 else 0.0) for mm in spacing_mm]  # a voxel's box has SD 0.29 of its edge
    return Template(np.stack([ndimage.gaussian_filter(m, sigma) for m in maps]), origin)


@lru_cache(maxsize=1)
def _sharp_maps() -> tuple[SingleFloats, npt.NDArray[np.float64]]:
    from nilearn import datasets  # imports scikit-learn: seconds, so not before it is needed

    t1 = datasets.load_mni152_template(resolution=1)
    grey = datasets.load_mni152_gm_template(resolution=1).get_fdata()
    white = datasets.load_mni152_wm_template(resolution=1).get_fdata()
    brain = datasets.load_mni152_brain_mask(resolution=1).get_fdata()
    box = ndimage.find_objects((brain > 0).astype(np.uint8))[0]
    maps = _crop(np.stack([grey, white, brain, _texture(t1.get_fdata(), grey, white, brain)]), box)
    return maps.astype(np.float32), t1.affine[:3, 3] + [axis.start for axis in box]


def make_grid(spacing_mm: tuple[float, float, float]) -> Grid:
    """Return the grid that holds any simulated brain: the template's box and a margin, in MNI orientation."""
    template = load_template(spacing_mm)
    low = template.origin - MARGIN_MM
    size = np.array(template.maps.shape[1:]) + 2 * MARGIN_MM
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = np.round(low)
    return Grid(tuple(int(n) for n in np.ceil(size / spacing_mm)), affine)


def draw_anatomy(
    spacing_mm: tuple[float, float, float], rng: np.random.Generator, with_iron: bool = False, grid: Grid | None = None
) -> Anatomy:
    """Draw one brain: scaled, turned, warped, with ventricles of its own size; a slab of it where a grid says so."""
    grid = make_grid(spacing_mm) if grid is None else grid
    return anatomy_at(_template_points(grid, rng), grid, with_iron)


def anatomy_at(world: SingleFloats, grid: Grid, with_iron: bool = False) -> Anatomy:
    """The brain whose voxels lie at these places of the template, (3, X, Y, Z) mm."""
    template = load_template(grid.spacing)
    points = world - template.origin[:, None, None, None].astype(np.float32)
    grey, white, inside, texture = (ndimage.map_coordinates(m, points, order=1) for m in template.maps)
    brain = ndimage.binary_fill_holes(inside > 0.5)
    csf, grey, white = _fractions(grey, white, brain)
    ventricle_mm = _ventricle_distance(csf, brain, grid)
    seeds = _seed_weights(white, grey, ventricle_mm, grid)
    iron = _iron(world) * brain if with_iron else None
    return Anatomy(grid, brain, white, grey, csf, texture * brain, ventricle_mm, seeds, iron)


def _crop(maps: npt.NDArray[np.float64], box: tuple[slice, ...]) -> npt.NDArray[np.float64]:
    return maps[(slice(None), *box)]


def _texture(
    t1: npt.NDArray[np.float64],
    grey: npt.NDArray[np.float64],
    white: npt.NDArray[np.float64],
    brain: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    csf = np.clip(1 - grey - white, 0, 1)
    model = TEMPLATE_SIGNAL[0] * csf + TEMPLATE_SIGNAL[1] * grey + TEMPLATE_SIGNAL[2] * white
    return np.asarray(brain * np.clip(t1 - model, -0.15, 0.15))


def _template_points(grid: Grid, rng: np.random.Generator) -> SingleFloats:
    """Where each voxel lies in the template, (3, X, Y, Z) mm."""
    return warped_points(grid, ROTATION_SD_DEGREES, SCALE_SD, None, rng)


def warped_points(
    grid: Grid, rotation_sd_degrees: float, scale_sd: float, growth: float | None, rng: np.random.Generator
) -> SingleFloats:
    """Where each voxel of a brain that is turned, scaled and warped lies in the template, (3, X, Y, Z) mm.

    `growth` of the ventricles, see `VENTRICLE_GROWTH`; without it drawn from there.
    """
    world = _world(grid)
    centre = np.asarray(world.mean(axis=(1, 2, 3)))[:, None, None, None]
    linear = small_rotation(rotation_sd_degrees, rng) * rng.normal(1.0, scale_sd, size=(3, 1))
    points = np.einsum("ij,jxyz->ixyz", linear.astype(np.float32), world - centre) + centre
    points += _warp(grid.shape, rng)
    ventricle = np.array(VENTRICLE_CENTRE_MM, dtype=np.float32)[:, None, None, None]
    away = points - ventricle
    strength = rng.uniform(*VENTRICLE_GROWTH) if growth is None else growth
    pull = strength * np.exp(-np.sum(away**2, axis=0) / (2 * VENTRICLE_RADIUS_MM**2))
    return np.asarray(points - pull * away, dtype=np.float32)


def _world(grid: Grid) -> SingleFloats:
    axes = [grid.affine[i, 3] + grid.affine[i, i] * np.arange(n) for i, n in enumerate(grid.shape)]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def small_rotation(sd_degrees: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Rotation matrix (3, 3) by normal angles about the three axes."""
    x, y, z = np.deg2rad(rng.normal(0, sd_degrees, size=3))
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / 2)  # exact to 1e-4 for such small angles


def _warp(shape: tuple[int, ...], rng: np.random.Generator) -> SingleFloats:
    control = rng.normal(0, WARP_SD_MM, size=(3, *WARP_POINTS))
    # cubic splines are separable: one small matrix per axis is ten times faster than zooming the volume
    x, y, z = (
        ndimage.zoom(np.eye(points), (n / points, 1), order=3, mode="nearest").astype(np.float32)
        for n, points in zip(shape, WARP_POINTS, strict=True)
    )
    return np.einsum("xa,yb,zc,dabc->dxyz", x, y, z, control.astype(np.float32), optimize=True)


def _iron(world: SingleFloats) -> SingleFloats:
    """Susceptibility of the deep grey nuclei at template positions (3, X, Y, Z) mm, in ppm above other tissue."""
    iron = np.zeros(world.shape[1:], dtype=np.float32)
    side = np.abs(world[0])
    for (x, y, z), (a, b, c), ppm in NUCLEI:
        radius = ((side - x) / a) ** 2 + ((world[1] - y) / b) ** 2 + ((world[2] - z) / c) ** 2
        np.maximum(iron, np.float32(ppm) * np.clip(2 * (1.25 - radius), 0, 1), out=iron)
    return iron


def _fractions(
    grey: SingleFloats, white: SingleFloats, brain: Bools
) -> tuple[SingleFloats, SingleFloats, SingleFloats]:
    tissues = np.stack([np.clip(1 - grey - white, 0, 1), np.clip(grey, 0, 1), np.clip(white, 0, 1)]) ** SHARPENING
    tissues *= brain / np.maximum(tissues.sum(axis=0), 1e-6)
    return tissues[0], tissues[1], tissues[2]


def _ventricle_distance(csf: SingleFloats, brain: Bools, grid: Grid) -> SingleFloats:
    depth = ndimage.distance_transform_edt(brain, sampling=grid.spacing)
    ventricles = (csf > 0.5) & (depth > DEEP_MM)
    return np.asarray(ndimage.distance_transform_edt(~ventricles, sampling=grid.spacing), dtype=np.float32) * brain


def _seed_weights(white: SingleFloats, grey: SingleFloats, ventricle_mm: SingleFloats, grid: Grid) -> SingleFloats:
    """White matter everywhere, more beside the ventricles and beneath the cortex."""
    cortex_mm = ndimage.distance_transform_edt(~((grey > 0.5) & (ventricle_mm > 15)), sampling=grid.spacing)
    weight = 0.15 + 3.5 * np.exp(-ventricle_mm / 6) + 0.5 * np.exp(-cortex_mm / 3)
    low = _world(grid)[2] < TENTORIUM_MM
    return np.asarray(np.where(white > 0.6, weight, 0) * np.where(low, 0.15, 1.0), dtype=np.float32)
