"""Whether the images and the mask of a case can be what their names say; what cannot is an error that can be accepted.

The limits lie in the middle between right and wrong pairs of real scans: 31 images of ten patients (two scanners, with
and without skull, edges of 0.5 to 7.2 mm), their masks, and the same exchanged, mirrored and shifted. Nothing is said
where no side of the field of view reaches 100 mm (a crop) or neighbours are unrelated (noise, an object for tests).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.errors import ConversionError, ImageError
from nnunet_ms.images.appearance import Appearance, Coarse, information_about
from nnunet_ms.images.limits import (
    BRIGHT_FLUID,
    BRIGHTEST_FLUID,
    DARK_FLUID,
    DARKEST_FLUID,
    FLUID,
    INFORMATION,
    LITTLE_INFORMATION,
)
from nnunet_ms.images.mask_fit import MaskFit
from nnunet_ms.images.qsm_units import MULTIPLY, checked_qsm
from nnunet_ms.images.volumes import Volume
from nnunet_ms.options import chosen

# what can be accepted, and what it is about
ACCEPTABLE: Mapping[str, str] = {
    "mask_outside": "most of the mask lies outside the head",
    "mask_mirrored": "the mask fits better when it is turned round",
    "mask_contrast": "the mask is no brighter than its surroundings on FLAIR",
    "mask_threshold": "the mask is the brightest part of the head",
    "sequence": "FLAIR, T1 or T2 whose tissues have another sequence's order",
    "alignment": "a sequence that shows another head than the first one, or the same elsewhere",
    "brain_mask": "a brain mask larger than a brain",
    "qsm": "a map of susceptibility that cannot be one in ppb",
    "visits_same": "a pair whose two visits are one scan",
    "visits_order": "a pair whose new lesions are darker at the follow-up",
}
Name = Literal[
    "mask_outside",
    "mask_mirrored",
    "mask_contrast",
    "mask_threshold",
    "sequence",
    "alignment",
    "brain_mask",
    "qsm",
    "visits_same",
    "visits_order",
]

AFTER_CONTRAST = 2.4  # tail: T1 images below (1.2 to 2.3), after contrast agent above
CONTRAST, LITTLE_CONTRAST = 0.7, 1.1  # right masks 1.6 to 2.6, wrong ones below 0.65
LEAST_MASK_ML = 0.2  # below it a contrast is chance
OUTSIDE, MUCH_OUTSIDE = 0.5, 0.15  # share; right masks below 0.06
THRESHOLDED, LARGE_SHARE = 0.5, 0.04  # brighter voxels around per voxel (right masks: 6 and more), share of the head
BRAIN_ML, SMALL_BRAIN_ML = 2200.0, 500.0  # the largest brain, with its fluid, and the smallest that is whole
HEAD_ML, HEAD_MM = 7000.0, 80.0
LESIONS_ML = 150.0


@dataclass(frozen=True)
class Finding:
    """Something about a case that a user should look at; `name` is blank where it is a note in any case."""

    text: str
    name: str = ""


def accepted_names(words: Iterable[str]) -> tuple[str, ...]:
    """Check names to be accepted.

    Raises
    ------
    OptionError
        If one is none of `ACCEPTABLE`.

    Examples
    --------
    >>> accepted_names(["mask_contrast"])
    ('mask_contrast',)
    """
    names = tuple(words)
    for name in names:
        chosen(name, tuple(ACCEPTABLE), "accept")
    return names


def notes_of(findings: Sequence[Finding], accept: Sequence[str]) -> list[str]:
    """Texts of findings that are notes, or accepted.

    Raises
    ------
    ConversionError
        If one is an error that was not accepted; it names all such.

    Examples
    --------
    >>> notes_of([Finding("t1: expected ..., found ...", "alignment")], ["alignment"])
    ['accepted (alignment): t1: expected ..., found ...']
    """
    errors = [finding for finding in findings if finding.name and finding.name not in accept]
    if errors:
        names = ",".join(dict.fromkeys(finding.name for finding in errors))
        raise ConversionError(
            f"{' '.join(finding.text for finding in errors)} Look at this case; if it is as it should be, "
            f"--accept {names}."
        )
    return [f"accepted ({one.name}): {one.text}" if one.name else one.text for one in findings]


def image_findings(case: Case, channel: str, seen: Appearance) -> list[Finding]:
    """What one image alone shows: the order of its tissues, its size."""
    path = case.images[channel]
    if not seen.shows_a_head:
        return []
    found = []
    if channel in BRIGHT_FLUID and seen.asymmetry < FLUID:
        told = f"{path}: expected {channel}, whose fluid is bright (asymmetry 2.5 to 6), found {seen.asymmetry:.2f}."
        found.append(Finding(f"{told} Is it FLAIR or T1?", "sequence" if seen.asymmetry < DARKEST_FLUID else ""))
    if channel in DARK_FLUID and seen.asymmetry > FLUID:
        told = f"{path}: expected {channel}, whose fluid is dark (asymmetry below 1), found {seen.asymmetry:.2f}."
        found.append(Finding(f"{told} Is it T2?", "sequence" if seen.asymmetry > BRIGHTEST_FLUID else ""))
    if channel == "t1" and seen.tail > AFTER_CONTRAST:
        found.append(Finding(f"{path}: the brightest voxels of this t1 are vessels; is it after contrast agent?"))
    return [*found, *_size_findings(str(path), seen)]


def _size_findings(path: str, seen: Appearance) -> list[Finding]:
    found, field, sides = [], _by(seen.field_mm), _by(seen.head_mm)
    if min(seen.field_mm) < HEAD_MM:
        found.append(Finding(f"{path}: the field of view, {field} mm, is too small for a head; is it one?"))
    elif min(seen.head_mm) < HEAD_MM or not SMALL_BRAIN_ML <= seen.head_ml <= HEAD_ML:
        found.append(
            Finding(f"{path}: what it shows, {sides} mm and {seen.head_ml:.0f} ml, is no whole head; is it one?")
        )
    return found


def alignment_findings(case: Case, channel: str, moving: Volume, first: str, coarse: Coarse) -> list[Finding]:
    """Whether another sequence shows the same head at the same place as the first one, by mutual information."""
    if channel not in (*BRIGHT_FLUID, *DARK_FLUID) or first not in (*BRIGHT_FLUID, *DARK_FLUID):
        return []
    shared = information_about(moving, coarse)
    if shared is None:
        return [Finding(_elsewhere(case, channel, first, "less than half of its brain is in the image"), "alignment")]
    if shared >= LITTLE_INFORMATION:
        return []
    told = f"they share {max(shared, 0):.2f} nats (right pairs 0.23 and more)"
    return [Finding(_elsewhere(case, channel, first, told), "alignment" if shared < INFORMATION else "")]


def _elsewhere(case: Case, channel: str, first: str, found: str) -> str:
    return (
        f"{case.images[channel]}: expected the head of {first} at its place, found another one, or it lies elsewhere: "
        f"{found}. Is it of this patient and visit? --align rigid moves it."
    )


def mask_findings(case: Case, fit: MaskFit, seen: Appearance) -> list[Finding]:
    """Whether a mask of T2 lesions fits the FLAIR image."""
    path = _mask_path(case)
    if fit.outside > MUCH_OUTSIDE:
        told = f"{path}: expected lesions inside the head, found {fit.outside:.0%} of the mask outside."
        found = Finding(f"{told} Is it of this visit?", "mask_outside" if fit.outside > OUTSIDE else "")
        return [found]
    if fit.brighter_around < THRESHOLDED and fit.volume_ml > LARGE_SHARE * seen.head_ml:
        told = f"{path}: expected lesions, found the brightest {fit.volume_ml:.0f} ml of the head."
        return [Finding(f"{told} Is it a threshold of the image?", "mask_threshold")]
    large = [Finding(f"{path}: {fit.volume_ml:.0f} ml of lesions; are they?")] if fit.volume_ml > LESIONS_ML else []
    return [*large, *_contrast_findings(path, fit)]


def _contrast_findings(path: str, fit: MaskFit) -> list[Finding]:
    if math.isnan(fit.contrast) or fit.contrast >= LITTLE_CONTRAST:
        return []
    counts = fit.contrast < CONTRAST and fit.volume_ml >= LEAST_MASK_ML
    told = f"{path}: expected lesions brighter than their surroundings on FLAIR by 1.5 to 3 standard deviations, found "
    if fit.mirrored >= max(LITTLE_CONTRAST, fit.contrast + CONTRAST):
        text = f"{told}{fit.contrast:.2f}, and {fit.mirrored:.2f} with axis {'xyz'[fit.axis]} turned round. Mirrored?"
        return [Finding(text, "mask_mirrored" if counts else "")]
    text = f"{told}{fit.contrast:.2f}. Is it the mask of this visit, at its place, and is this the FLAIR image?"
    return [Finding(text, "mask_contrast" if counts else "")]


def qsm_findings(volume: Volume) -> list[Finding]:
    """Whether an image that is called QSM can be one in ppb; also a crop tells its units."""
    try:
        checked_qsm(volume, conversion=f"{MULTIPLY}.", accept="")
    except ImageError as error:
        return [Finding(str(error), "qsm")]
    return []


def empty_mask(case: Case) -> Finding:
    """The note on a mask without lesions."""
    return Finding(f"{_mask_path(case)}: the mask is empty; has this visit no lesion?")


def brain_findings(case: Case, volume_ml: float, seen: Appearance) -> list[Finding]:
    """Whether a brain mask has the size of a brain."""
    if not seen.shows_a_head or SMALL_BRAIN_ML <= volume_ml <= BRAIN_ML:
        return []
    told = (
        f"{case.brain_mask}: expected a brain of {SMALL_BRAIN_ML:.0f} to {BRAIN_ML:.0f} ml, found {volume_ml:.0f} ml."
    )
    return [Finding(told, "brain_mask" if volume_ml > BRAIN_ML else "")]


def _mask_path(case: Case) -> str:
    return str(next(iter(case.label.files.values()))) if case.label is not None else case.case_id


def _by(sides: tuple[float, float, float]) -> str:
    return " x ".join(f"{side:.0f}" for side in sides)
