"""Read the voxels of a case once: checksums, one image in another's place, what the images show, how the mask fits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnunet_ms.dataset_conversion.cases import Case, Mask
from nnunet_ms.dataset_conversion.checks.misplaced_files import Content, check_grey_values, content_of
from nnunet_ms.dataset_conversion.checks.plausibility import (
    Finding,
    alignment_findings,
    brain_findings,
    empty_mask,
    image_findings,
    mask_findings,
    qsm_findings,
)
from nnunet_ms.errors import ImageError
from nnunet_ms.images.appearance import Appearance, Coarse, appearance_of, coarse_of
from nnunet_ms.images.mask_fit import fit_of
from nnunet_ms.images.volumes import Volume, read_mask, read_volume, same_grid
from nnunet_ms.images.zero_level import level_outside, with_zero_outside

BRIGHT_LESIONS = "flair"  # the sequence on which the lesions of a mask are compared with what is around them
OTHER_TARGETS = ("t1_", "new", "change", "resolved", "signed", "rim")  # lesions that are not all bright on FLAIR


@dataclass
class Look:
    """What was seen of a case: per channel checksum and appearance, and what a user should look at.

    `flair` is that image, on which masks are measured; None where there is none. `outside` is the value around the
    head, of the channels where it is not 0, see `images.zero_level`.
    """

    contents: dict[str, Content | None] = field(default_factory=dict)
    appearance: dict[str, Appearance] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    flair: Volume | None = None
    coarse: Coarse | None = None
    outside: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Appearance per channel, for notes and dataset.json."""
        return {channel: seen.as_json() for channel, seen in self.appearance.items() if seen.shows_a_head}


def look_at_images(case: Case, *, aligned_later: bool = False) -> Look:
    """Read every channel.

    Parameters
    ----------
    case : Case
        Its images are of sound headers.
    aligned_later : bool, optional
        Whether the channels are registered to each other before they are written.

    Raises
    ------
    ImageError
        If a file is damaged, holds NaN, or is a mask or one value in an image's place.
    """
    look, first, coarse = Look(), "", None
    for channel, path in case.images.items():
        volume = read_volume(path)
        check_grey_values(volume.data, path)
        look.contents[channel] = content_of(volume.data)
        if level := level_outside(volume.data):
            look.outside[channel] = level
            volume = with_zero_outside(volume)
        here = coarse_of(volume)
        seen = look.appearance[channel] = appearance_of(volume, here)
        look.findings += image_findings(case, channel, seen)
        if channel == "qsm":
            look.findings += qsm_findings(volume)
        if coarse is None:
            first, coarse = channel, here
        elif not aligned_later and not case.transforms and seen.shows_a_head:
            look.findings += alignment_findings(case, channel, volume, first, coarse)
        if channel == BRIGHT_LESIONS:
            look.flair, look.coarse = volume, here
    return look


def look_at_mask(case: Case, look: Look, label: Volume) -> None:
    """Add what a mask shows on its image to the findings."""
    if not label.data.any():
        look.findings.append(empty_mask(case))
        return
    if look.flair is None or look.coarse is None or case.label is None or not _marks_bright_lesions(case.label):
        return
    seen = look.appearance[BRIGHT_LESIONS]
    if seen.shows_a_head and same_grid(look.flair.grid, label.grid) and BRIGHT_LESIONS not in case.transforms:
        look.findings += mask_findings(case, fit_of(label.data != 0, look.flair, look.coarse), seen)


def look_at_brain(case: Case, look: Look) -> None:
    """Add what the size of a brain mask says, where there is one."""
    seen = next(iter(look.appearance.values()))
    if case.brain_mask is None or not seen.shows_a_head:
        return
    try:
        mask = read_mask(case.brain_mask)
    except ImageError as error:  # who asks for the mask to be applied is told so as an error
        look.findings.append(Finding(f"the brain mask cannot be used: {error}"))
        return
    volume_ml = float(np.count_nonzero(mask.data) * mask.grid.voxel_volume_ml)
    look.findings += brain_findings(case, volume_ml, seen)


def _marks_bright_lesions(mask: Mask) -> bool:
    names: Mapping[str, Any] = mask.files
    is_one_class = mask.rule in ("single", "majority", "union") and set(mask.values.values()) <= {0, 1}
    return is_one_class and not any(name.startswith(OTHER_TARGETS) for name in names)
