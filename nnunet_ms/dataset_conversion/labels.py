"""Make the label of a case from its mask files: one rater, several raters, two classes, or signed change."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_ms.dataset_conversion.cases import Mask
from nnunet_ms.dataset_conversion.rim_masks import read_rims
from nnunet_ms.errors import ImageError
from nnunet_ms.images.volumes import Grid, Volume, check_same_grid, read_mask, read_volume
from nnunet_ms.lesions.components import find_components

LARGEST_BYTE = 255
CHANGE_RULES = ("brighter", "darker", "signed")
MINIMUM_RAW_MASK_OVERLAP = 0.5  # of an enhancing mask that must lie inside the brain


def is_copied(mask: Mask) -> bool:
    """Whether the label is one file whose numbers stay as they are."""
    return mask.rule == "single" and all(value == label for value, label in mask.values.items())


def read_label(mask: Mask) -> tuple[Volume, str]:
    """Label of a case as (X, Y, Z) uint8, and a remark for the user (blank: nothing to say).

    For the rules of change the mask itself, 0 and 1: `signed_change` needs the images too.

    Raises
    ------
    ImageError
        If a file is damaged, holds other numbers than it may, or the files do not share a grid.
    """
    if mask.rule == "single":
        path = next(iter(mask.files.values()))
        if max(mask.values) > LARGEST_BYTE:
            return _levels(read_volume(path), mask.values), ""
        volume = read_mask(path, labels=mask.values)
        if is_copied(mask):
            return volume, ""
        table = np.zeros(LARGEST_BYTE + 1, np.uint8)
        table[list(mask.values)] = list(mask.values.values())
        return Volume(table[volume.data], volume.grid, volume.path), ""
    if mask.rule in ("rims", "rim_labels"):
        return read_rims(mask)
    volumes = [read_mask(path) for path in mask.files.values()]
    for other in volumes[1:]:
        check_same_grid(volumes[0], other, str(volumes[0].path), str(other.path))
    marked = np.stack([volume.data for volume in volumes])
    data, remark = _classes(marked, list(mask.files)) if mask.rule == "classes" else (_vote(marked, mask.rule), "")
    return Volume(data, volumes[0].grid, volumes[0].path), remark


def _levels(volume: Volume, values: dict[int, int]) -> Volume:
    """Labels of a mask with larger numbers than a byte holds, such as 65535."""
    found, places = np.unique(volume.data, return_inverse=True)
    if strange := [f"{value:g}" for value in found.tolist() if value not in values]:
        raise ImageError(
            f"{volume.path}: expected a mask with values {sorted(values)}, found {', '.join(strange[:5])}. "
            "Is this the mask?"
        )
    table = np.array([values[int(value)] for value in found], np.uint8)
    return Volume(table[places].reshape(volume.data.shape), volume.grid, volume.path)


def _vote(marked: npt.NDArray[np.uint8], rule: str) -> npt.NDArray[np.uint8]:
    votes = marked.sum(axis=0, dtype=np.int16)
    return ((2 * votes > len(marked)) if rule == "majority" else (votes > 0)).astype(np.uint8)


def _classes(marked: npt.NDArray[np.uint8], names: list[str]) -> tuple[npt.NDArray[np.uint8], str]:
    label = np.zeros(marked.shape[1:], np.uint8)
    for number, mask in enumerate(marked, start=1):
        label[mask > 0] = number
    shared = int((marked.sum(axis=0, dtype=np.int16) > 1).sum())
    return label, f"{shared} voxels marked by several of {', '.join(names)}; {names[-1]} wins" if shared else ""


def check_inside_brain(label: Volume, value: int, brain_mask: Path, what: str = "enhancing mask") -> None:
    """Raise ImageError if most of one label lies outside the brain mask: another patient's, or shifted."""
    brain = read_mask(brain_mask)
    check_same_grid(label, brain, str(label.path), str(brain_mask))
    marked = label.data == value
    inside = int((marked & (brain.data != 0)).sum())
    if marked.any() and inside < MINIMUM_RAW_MASK_OVERLAP * int(marked.sum()):
        raise ImageError(
            f"{label.path}: expected the {what} inside the brain mask {brain_mask}, found {inside} of "
            f"{int(marked.sum())} voxels inside. Check that both belong to this visit."
        )


def signed_change(
    change: npt.NDArray[np.uint8],
    baseline: npt.NDArray[np.float32],
    followup: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
) -> npt.NDArray[np.uint8]:
    """Split a mask of change by the sign of the intensity change: 1 brighter at follow-up, 2 darker; (X, Y, Z).

    Each visit is centred on its median and scaled by its interquartile range inside `brain`; an 18-connected
    component takes the sign of its mean difference (ours). No change gives an empty label.
    """
    difference = _robust(followup, brain) - _robust(baseline, brain)
    parts = find_components(change)
    sums = np.bincount(parts.component, weights=difference[parts.axes])
    return parts.painted(np.where(sums > 0, 1, 2).astype(np.uint8))


def label_of_change(
    mask: Mask, baseline: Path, followup: Path, brain_mask: Path | None
) -> tuple[npt.NDArray[np.uint8], Grid]:
    """Read what `signed_change` needs, all on the mask's grid, and keep the part that the rule names."""
    change, _ = read_label(Mask(mask.files, values={0: 0, 1: 1}))
    first, second = (read_volume(path).data.astype(np.float32) for path in (baseline, followup))
    seen = (first > 0) & (second > 0)
    brain = seen if brain_mask is None else seen & (read_volume(brain_mask).data != 0)
    signed = signed_change(change.data.astype(np.uint8), first, second, brain)
    if mask.rule == "signed":
        return signed, change.grid
    return (signed == (1 if mask.rule == "brighter" else 2)).astype(np.uint8), change.grid


def _robust(image: npt.NDArray[np.float32], brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    low, middle, high = np.percentile(image[brain], [25, 50, 75]) if brain.any() else (0.0, 0.0, 1.0)
    return ((image - middle) / max(high - low, 1e-6)).astype(np.float32)
