"""What synthetic scans are made from: label maps and lesion masks in files, or the phantom's own."""

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from nnunet_ms.arrays import Matrix
from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.images.forms import largest_distance
from nnunet_ms.images.names import nifti_files
from nnunet_ms.images.template import fit_to_mni, likeness_to_mni
from nnunet_ms.images.volumes import Grid, Volume, read_grid, read_volume
from nnunet_ms.outputs import whole_file
from nnunet_ms.simulation.images.brain_regions import region_template
from nnunet_ms.synthesis.label_maps import FREESURFER, HeadMap, check_fit, prepare_map
from nnunet_ms.synthesis.lesion_masks import (
    LEAST_IN_BRAIN,
    LesionMask,
    native_to_mni,
    prepare_mask,
    share_in_template,
)
from nnunet_ms.tables import MANIFEST, read_table

PHANTOM = "phantom"
POOR_FIT_OF_MASK = 0.75  # Dice with the template's brain; brains of thick slices fit less well
IMAGES_TO_FIT = ("t1", "flair", "t2")
Placed = tuple[Matrix, str, float | None, float | None]  # matrix, how it is known, likeness, volume of a mask


@dataclass(frozen=True)
class Source:
    """A label map, or a mask of lesions, on disk.

    `from_mni` maps points of MNI space to points of the file, RAS mm; `placed` says how that is known, `likeness` how
    well the brain then fits the template's (Dice); `volume_ml` is that of a mask's lesions.
    """

    path: str
    sha256: str
    from_mni: tuple[float, ...]
    placed: str
    likeness: float | None = None
    volume_ml: float | None = None

    @property
    def name(self) -> str:
        """Folder and file, for tables: masks of a set often have one name."""
        place = Path(self.path)
        return f"{place.parent.name}/{place.name}" if place.parent.name else place.name

    @property
    def matrix(self) -> Matrix:
        """(4, 4) float array."""
        return np.array(self.from_mni, dtype=np.float64).reshape(4, 4)


def find_maps(places: Sequence[Path], notes: Path) -> list[Source]:
    """Label maps, each fitted to MNI space once: `notes` keeps what was found for the next time."""
    return [_noted(path, notes, partial(_fit_map, path)) for path in nifti_files(places)]


def find_masks(places: Sequence[Path], notes: Path) -> list[Source]:
    """Masks of lesions: files, folders (names with "lesion"), or manifests with images that say where they lie."""
    found: list[Source] = []
    for place in places:
        if place.suffix == ".csv":
            found += _of_manifest(place, notes)
        else:
            found += [_noted(path, notes, partial(_by_header, path)) for path in nifti_files([place], "lesion")]
    return found


@lru_cache(maxsize=8)
def load_map(path: str, from_mni: tuple[float, ...]) -> HeadMap:
    """Read and prepare a label map of FreeSurfer's numbers; `PHANTOM` is the simulator's template."""
    if path == PHANTOM:
        labels, origin = region_template()
        affine = np.eye(4)
        affine[:3, 3] = origin
        grid = Grid(tuple(int(n) for n in labels.shape), affine)
        return prepare_map(labels, grid, FREESURFER, PHANTOM, np.eye(4))
    volume = read_volume(Path(path))
    return prepare_map(volume.data, volume.grid, FREESURFER, path, np.array(from_mni).reshape(4, 4))


@lru_cache(maxsize=64)
def load_mask(path: str, from_mni: tuple[float, ...], name: str) -> LesionMask:
    """Read and prepare a mask of lesions."""
    volume = read_volume(Path(path))
    return prepare_mask(volume.data != 0, volume.grid, np.array(from_mni).reshape(4, 4), name)


def _noted(path: Path, notes: Path, place: Callable[[], Placed]) -> Source:
    """What `place` says of a file, from the notes if they are of the same bytes."""
    from nnunet_ms.checkpoints import sha256_of  # imports torch: seconds, which other simulations do without

    digest = sha256_of(path)
    note = notes / f"{digest[:16]}.json"
    if note.is_file():
        kept = json.loads(note.read_text(encoding="utf-8"))
        return Source(str(path), digest, tuple(kept["from_mni"]), kept["placed"], kept["likeness"], kept["volume_ml"])
    matrix, placed, likeness, volume = place()
    found = Source(str(path), digest, tuple(float(one) for one in np.ravel(matrix)), placed, likeness, volume)
    notes.mkdir(parents=True, exist_ok=True)
    told = {name: getattr(found, name) for name in ("from_mni", "placed", "likeness", "volume_ml")}
    with whole_file(note) as partial_path:
        partial_path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return found


def _fit_map(path: Path) -> Placed:
    volume = read_volume(path)
    head = prepare_map(volume.data, volume.grid, FREESURFER, str(path))
    return head.from_mni, "fitted", round(check_fit(head), 3), None


def _by_header(path: Path) -> Placed:
    volume = read_volume(path)
    share = share_in_template(volume.data != 0, volume.grid)
    if share < LEAST_IN_BRAIN:
        raise ImageError(
            f"{path}: expected a mask that is aligned to MNI space, found {share:.0%} of its voxels in the template's "
            "brain. Give a manifest (CSV) with t1 or flair, brain_mask and t2_lesions instead: they are fitted to it."
        )
    return native_to_mni(), "header", None, _volume(volume)


def _of_manifest(path: Path, notes: Path) -> list[Source]:
    found = []
    for row in read_table(path, MANIFEST).to_dict("records"):
        given = _given(row)
        images = [path.parent / given[one] for one in IMAGES_TO_FIT if one in given]
        if not images or not {"t2_lesions", "brain_mask"} <= set(given):
            raise SettingsError(
                f"{path}: row of {row['patient_id']}, {row['visit']}: expected t2_lesions, brain_mask and one of "
                f"{', '.join(IMAGES_TO_FIT)}, found {', '.join(given)}. Add them."
            )
        mask, brain = (path.parent / given[one] for one in ("t2_lesions", "brain_mask"))
        found.append(_noted(mask, notes, partial(_by_image, mask, brain, images)))
    return found


def _given(row: Mapping[Hashable, object]) -> dict[str, str]:
    return {str(name): cell for name, cell in row.items() if isinstance(cell, str) and cell}


def _by_image(mask: Path, brain: Path, images: Sequence[Path]) -> Placed:
    """Where a mask lies by an image of the same head: the first one that is on the mask's grid."""
    lesions, inside = read_volume(mask), read_volume(brain)
    on_it = [one for one in images if _same(read_grid(one), lesions.grid)]
    if not on_it or not _same(inside.grid, lesions.grid):
        raise ImageError(
            f"{mask}: expected an image and a brain mask on its grid, found none in "
            f"{', '.join(str(one) for one in (*images, brain))}. Resample them onto it."
        )
    scan, there = read_volume(on_it[0]), inside.data != 0
    matrix = fit_to_mni(scan.data.astype(np.float32), there, scan.grid).matrix
    likeness = round(likeness_to_mni(there, scan.grid, matrix), 3)
    if likeness < POOR_FIT_OF_MASK:
        raise ImageError(
            f"{mask}: expected a brain that fits the template (Dice of {POOR_FIT_OF_MASK:g} at least), found "
            f"{likeness:.2f} by {on_it[0].name}. Check brain mask and orientation, or leave this row out."
        )
    return matrix, f"fitted by {on_it[0].name}", likeness, _volume(lesions)


def _same(grid: Grid, other: Grid) -> bool:
    return grid.shape == other.shape and largest_distance(grid.shape, grid.affine, other.affine) < min(grid.spacing) / 2


def _volume(mask: Volume) -> float:
    found = float(np.count_nonzero(mask.data != 0)) * mask.grid.voxel_volume_ml
    if found == 0:
        raise ImageError(f"{mask.path}: expected a mask with lesions, found none in it. Leave it out.")
    return round(found, 4)
