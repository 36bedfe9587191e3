"""Whether a scan is one that the model can be believed on: warnings by name, with what was found and what is known.

Limits lie between right and wrong uses of 40 real images of 12 patients (three scanners); `docs/scan_warnings.md` has
the numbers of each. A sequence in another one's place is an error that can be accepted, as in the conversion: a mask
made from it is of no use. All else is a warning.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_ms.arrays import Bools
from nnunet_ms.errors import ImageError
from nnunet_ms.images.appearance import Coarse, coarse_of, information_about
from nnunet_ms.images.brain_shape import BrainShape, shape_of
from nnunet_ms.images.limits import BRIGHTEST_FLUID, DARKEST_FLUID, FLUID, INFORMATION
from nnunet_ms.images.tissue_levels import SHELL_MM, TissueLevels, levels_of
from nnunet_ms.images.volumes import Grid, Volume, read_mask
from nnunet_ms.images.zero_level import is_standardised, read_image
from nnunet_ms.options import chosen, known_keywords
from nnunet_ms.segmentation.results import ScanWarning
from nnunet_ms.trainers.training_range import LARGEST_BRAIN_ML, SequenceRange, TrainingRange, brain_of, span_words

WARNINGS: Mapping[str, str] = {
    "new_sequence": "a sequence that the training did not have",
    "slice_thickness": "slices thicker or thinner than any of the training, or only simulated in it",
    "voxel_size": "voxels within the slices of another size than in training",
    "sequence": "an image whose tissues have another sequence's order; an error unless accepted",
    "sequence_unsure": "an image whose tissues do not tell which sequence it is",
    "contrast": "tissues in the right order, with a contrast that the training did not have",
    "contrast_agent": "a T1 whose deep vessels are bright, as after contrast agent",
    "no_contrast_agent": "a post-contrast T1 whose deep vessels are not bright",
    "standardised": "values below 0 inside of the brain: no contrast, vessel or brain mask can be judged by them",
    "no_head": "an image too small for a head, or empty",
    "unstripped": "a head with its skull, and no brain mask",
    "brain_mask": "a brain mask that holds scalp, bone or air",
    "brain_size": "a brain smaller or larger than an adult's; are the voxel sizes right?",
    "not_a_brain": "what is shown has not the shape of a brain",
    "incomplete_brain": "a part of the brain is missing, or its sides are out of proportion",
    "turned": "a brain that fits better when it is turned about",
    "cut_off": "a brain that the field of view cuts off",
    "field_of_view": "less of the brain's height than any scan of the training",
    "elsewhere": "a sequence that does not lie on the first one",
    "places": "a brain that does not fit the MNI152 template, so that no place of a lesion is told",
}
ACCEPTABLE = ("sequence",)

SLICE_FACTOR, VOXEL_FACTOR = 1.1, 1.5  # beyond what was seen
T1_ABOVE, UNSURE_ABOVE = (
    0.05,
    -0.03,
)  # likeness to T1 of a FLAIR: -0.07 at most in 14, T1 0.13 at least in 12 sound ones
PAIR_ABOVE = -0.2  # below it an image is like no T1, whatever the other one is
NOT_T1_BELOW, UNSURE_BELOW = -0.35, -0.2  # of a T1
VESSELS, NO_VESSELS = 1.6, 0.6  # per thousand: T1 up to 1.3, after contrast agent 2.2 and 6.1
NO_T1_AT_ALL = 8.0  # FLAIR 5 to 70, most above 10
SHELL_BRIGHT, SHELL_DARK = 0.12, 0.18  # right masks up to .04 and .13; 6 mm too large .23, 12 mm too large .37
BRAIN_ML = (900.0, LARGEST_BRAIN_ML)
BRAIN_DICE = 0.84  # brains .85 and more; a cylinder .83, a box .77, a knee .71
TURNED = 0.015  # of Dice: upright brains lose .03 to .10 when turned (one .006)
WIDTH, HEIGHT = (0.62, 1.1), (0.55, 1.3)  # of the length: brains .74 to .99 and .69 to 1.12; a half has .4
CUT_CM2 = 75.0  # last slices of scans that end near the vertex show up to 62; the middle of a brain 130
FIELD_FACTOR, WHITE_GREY, ASYMMETRY_FACTOR = 0.85, 0.1, 1.6  # beyond the training's
NO_HEAD_MM = 60.0  # a test object or a crop, of which nothing is said


@dataclass(frozen=True)
class Seen:
    """An image of a case; `levels` is None where no brain is known, `is_there`: whether it lies on the first one."""

    sequence: str
    volume: Volume
    levels: TissueLevels | None
    known: SequenceRange | None
    is_there: bool = True


@known_keywords
def check_scan(
    images: Mapping[str, str | Path],
    brain: str | Path | None = None,
    model_range: TrainingRange | None = None,
    accept: Sequence[str] = (),
) -> list[ScanWarning]:
    """Look at the images of one visit before they are predicted.

    Parameters
    ----------
    images : mapping of str to path
        Sequence (`flair`, `t2`, `t1`, `t1post`) -> image as it was taken, FLAIR first where there is one. Not
        resampled: its voxel sizes are compared.
    brain : path, optional
        Brain mask in the world of the first image; None where the images are without skull.
    model_range : TrainingRange, optional
        Of the model (`read_training_range`); without it only what needs no training is said.
    accept : sequence of str, optional
        Of `ACCEPTABLE`: what is a warning then, and not an error.

    Returns
    -------
    list of ScanWarning
        Named by `WARNINGS`; empty for a scan as the training had them.

    Raises
    ------
    ImageError
        If a file cannot be read, the brain mask is empty, or a sequence stands in another one's place (not accepted).
    OptionError
        If `accept` names something else.

    Examples
    --------
    >>> [one.text for one in check_scan({"flair": "flair.nii.gz"})]
    ['flair: no_head: an image of 24 x 24 x 36 mm, known heads. Nothing else was looked at.']
    """
    files = {name: Path(path) for name, path in images.items()}
    for name in accept:
        chosen(name, ACCEPTABLE, "accept")
    given = {name: read_image(path) for name, path in files.items()}
    volumes = {name: one for name, one in given.items() if one.data.any() and _shows_a_head(one)}
    found = [_no_head(name, one) for name, one in given.items() if name not in volumes]
    if not volumes:
        return found
    first = next(iter(volumes.values()))
    place = _brain(first, None if brain is None else Path(brain))
    shape = None if place is None else shape_of(*place)
    found += [] if shape is None else list(_shape(shape, next(iter(volumes))))
    if place is None:
        found.append(_unstripped(first, next(iter(volumes))))
    elif shape is None:
        found.append(_speck(*place, next(iter(volumes))))
    for sequence, volume in volumes.items():
        found += _geometry(sequence, volume, model_range)
    coarse = coarse_of(first) if len(volumes) > 1 else None
    seen = [
        _look(name, one, None if one is first else coarse, place, shape, model_range) for name, one in volumes.items()
    ]
    found += [] if shape is None else list(_heights(shape, next(iter(volumes)), model_range, first))
    for one in seen:
        found += [*_elsewhere(one), *_order(one), *_zero_level(one), *_contrast(one)]
    found += _exchanged(seen)
    if brain is not None:
        found += [told for one in seen for told in _mask(one, is_first=one.volume is first)]
    return _settled(found, files, accept)


def _shows_a_head(volume: Volume) -> bool:
    return max(edge * size for edge, size in zip(volume.grid.spacing, volume.grid.shape, strict=True)) >= NO_HEAD_MM


def _brain(first: Volume, path: Path | None) -> tuple[Bools, Grid] | None:
    """Brain and its grid: of the mask, or of an image without skull; None of one with its skull."""
    if path is None:
        own = brain_of(first)
        return None if own is None else (own, first.grid)
    mask = read_mask(path)
    if not mask.data.any():
        raise ImageError(f"{path}: expected a brain mask, every voxel is 0. Look at it, or give another.")
    return np.asarray(mask.data != 0, dtype=bool), mask.grid


def _look(
    sequence: str,
    volume: Volume,
    first: Coarse | None,
    place: tuple[Bools, Grid] | None,
    shape: BrainShape | None,
    known: TrainingRange | None,
) -> Seen:
    """Measure an image in the brain of the visit, or in its own where it lies elsewhere and has no skull.

    `first` is the first image, None for that one itself.
    """
    of_training = None if known is None else known.sequences.get(sequence)
    is_there = first is None or _lies_on(volume, first)
    if not is_there and (own := brain_of(volume)) is not None:
        place, shape = (own, volume.grid), shape_of(own, volume.grid)
    if place is None or shape is None or (not is_there and own is None):
        return Seen(sequence, volume, None, of_training, is_there)
    return Seen(sequence, volume, levels_of(volume, *place, shape), of_training, is_there)


def _lies_on(moving: Volume, first: Coarse) -> bool:
    """Whether an image shows the head of the first one at its place, as the conversion asks it."""
    shared = information_about(moving, first)
    return shared is not None and shared >= INFORMATION


def _settled(found: Sequence[ScanWarning], images: Mapping[str, Path], accept: Sequence[str]) -> list[ScanWarning]:
    """The warnings, or an error with those that are none."""
    errors = [one for one in found if one.name in ACCEPTABLE and one.name not in accept]
    if errors:
        told = " ".join(f"{images[one.sequence]}: expected {one.known}, found {one.found}." for one in errors)
        names = ",".join(dict.fromkeys(one.name for one in errors))
        raise ImageError(f"{told} Is it another sequence? If it is as it should be, --accept {names}.")
    return list(found)


def _no_head(sequence: str, volume: Volume) -> ScanWarning:
    sides = " x ".join(f"{edge * size:.0f}" for edge, size in zip(volume.grid.spacing, volume.grid.shape, strict=True))
    found = f"an image of {sides} mm" if volume.data.any() else "0 in every voxel"
    return ScanWarning("no_head", sequence, found, "heads", "Nothing else was looked at.")


def _speck(brain: Bools, grid: Grid, sequence: str) -> ScanWarning:
    found = f"a brain of {np.count_nonzero(brain) * grid.voxel_volume_ml:.2g} ml"
    known = f"{BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f} ml"
    return ScanWarning("brain_size", sequence, found, known, "Is its mask right? Nothing else was looked at in it.")


def _unstripped(first: Volume, sequence: str) -> ScanWarning:
    volume = float(np.count_nonzero(first.data) * first.grid.voxel_volume_ml)
    return ScanWarning(
        "unstripped",
        sequence,
        f"{volume:.0f} ml that are not 0, and no brain mask",
        f"brains of {BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f} ml",
        "Give a brain mask, or --brain deepbet.",
    )


def _shape(shape: BrainShape, sequence: str) -> Iterator[ScanWarning]:
    """What the brain's mask alone says."""
    width, length, height = shape.sides_mm
    sides = f"{width:.0f} x {length:.0f} x {height:.0f} mm"
    low, high = BRAIN_ML
    if not low <= shape.volume_ml <= high:
        known = f"{low:.0f} to {high:.0f} ml"
        yield ScanWarning(
            "brain_size", sequence, f"a brain of {shape.volume_ml:.0f} ml, {sides}", known, "Voxel sizes?"
        )
    is_whole = WIDTH[0] <= width / length <= WIDTH[1] and HEIGHT[0] <= height / length <= HEIGHT[1]
    if not is_whole:
        known = f"width {span_words(WIDTH)} and height {span_words(HEIGHT)} times the length"
        yield ScanWarning("incomplete_brain", sequence, f"a brain of {sides} (width, length, height)", known)
    turn = max(shape.turned, key=lambda name: shape.turned[name])
    best = shape.turned[turn]
    if max(shape.dice, best) < BRAIN_DICE:
        found = f"Dice {shape.dice:.2f} with the brain of MNI152"
        yield ScanWarning(
            "not_a_brain", sequence, found, f"{BRAIN_DICE} and more", "Is it a head, and is its mask right?"
        )
    elif is_whole and best > shape.dice + TURNED:  # the shape of a part tells nothing
        found = f"Dice {best:.2f} with MNI152 {turn}, {shape.dice:.2f} as the header has it"
        yield ScanWarning("turned", sequence, found, "the header's way up the better one", "Look at its orientation.")


def _heights(shape: BrainShape, sequence: str, known: TrainingRange | None, first: Volume) -> Iterator[ScanWarning]:
    """Whether the field of view holds the brain."""
    if shape.border_cm2 > CUT_CM2:
        found = f"{shape.border_cm2:.0f} cm2 of brain on a side of the image"
        yield ScanWarning("cut_off", sequence, found, f"up to {CUT_CM2:.0f} cm2", "What lies outside is not counted.")
    of_training = None if known is None else known.sequences.get(sequence)
    if of_training is None:
        return
    sides = sorted(edge * size for edge, size in zip(first.grid.spacing, first.grid.shape, strict=True))
    low = [span[0] for span in of_training.field_mm]
    if any(side < FIELD_FACTOR * least for side, least in zip(sides, low, strict=True)):
        found = f"a field of view of {' x '.join(f'{side:.0f}' for side in sides)} mm"
        yield ScanWarning(
            "field_of_view", sequence, found, f"{' x '.join(f'{least:.0f}' for least in low)} mm and more"
        )


def _geometry(sequence: str, volume: Volume, known: TrainingRange | None) -> Iterator[ScanWarning]:
    """Slices and voxels against those of the training."""
    if known is None:
        return
    seen = known.sequences.get(sequence)
    if seen is None:
        yield ScanWarning("new_sequence", sequence, sequence, ", ".join(known.sequences) or "nothing")
        return
    *in_plane, thickest = sorted(volume.grid.spacing)
    if not any(low / SLICE_FACTOR <= thickest <= high * SLICE_FACTOR for low, high in seen.slice_mm):
        told = " and ".join(span_words(span) for span in seen.slice_mm) + " mm"
        made = known.simulated_slice_mm
        if made is not None and made[0] <= thickest <= made[1]:
            told += f" ({span_words(made)} mm only simulated in training)"
        yield ScanWarning("slice_thickness", sequence, f"slices of {thickest:.3g} mm", told)
    low, high = seen.in_plane_mm
    if in_plane[0] < low / VOXEL_FACTOR or in_plane[1] > high * VOXEL_FACTOR:
        found = f"voxels of {in_plane[0]:.3g} x {in_plane[1]:.3g} mm within the slices"
        yield ScanWarning("voxel_size", sequence, found, f"{span_words(seen.in_plane_mm)} mm")


def _elsewhere(one: Seen) -> Iterator[ScanWarning]:
    if not one.is_there:
        found, known = (
            "another head than the first image, or the same elsewhere",
            "the head of the first image at its place",
        )
        yield ScanWarning("elsewhere", one.sequence, found, known, "Is it of this patient and visit?")


def _order(one: Seen) -> Iterator[ScanWarning]:
    """Whether the tissues have the order of the sequence that the image is called."""
    levels = one.levels
    if levels is None or math.isnan(levels.asymmetry):
        return
    fluid, likeness = levels.asymmetry, levels.t1_likeness
    bright = f"bright fluid, as in T2 (asymmetry {fluid:.2f})"
    grey = f"likeness to T1 {likeness:.2f}"
    if not math.isnan(levels.white_to_grey):
        grey = f"white matter {levels.white_to_grey:.2f} times grey matter ({grey})"
    if one.sequence == "t2" and fluid < BRIGHTEST_FLUID:
        name = "sequence" if fluid < DARKEST_FLUID else "sequence_unsure"
        yield ScanWarning(
            name, "t2", f"dark fluid, as in FLAIR and T1 (asymmetry {fluid:.2f})", "t2, whose fluid is bright"
        )
    if one.sequence in ("flair", "t1", "t1post") and fluid > FLUID:
        name = "sequence" if fluid > BRIGHTEST_FLUID else "sequence_unsure"
        yield ScanWarning(name, one.sequence, bright, f"{one.sequence}, whose fluid is dark")
    elif one.sequence == "flair" and likeness > UNSURE_ABOVE:
        name = "sequence" if likeness > T1_ABOVE else "sequence_unsure"
        yield ScanWarning(name, "flair", f"{grey}, as in T1", "flair, whose likeness to T1 is below 0")
    elif one.sequence in ("t1", "t1post") and (likeness < UNSURE_BELOW or levels.vessels > NO_T1_AT_ALL):
        name = "sequence" if likeness < NOT_T1_BELOW else "sequence_unsure"
        yield ScanWarning(
            name, one.sequence, f"{grey}, as in FLAIR", f"{one.sequence}, whose likeness to T1 is above 0.1"
        )


def _exchanged(seen: Sequence[Seen]) -> Iterator[ScanWarning]:
    """FLAIR and T1 that are less like themselves than like each other, where neither alone tells it."""
    known = {one.sequence: one.levels for one in seen if one.levels is not None and one.levels.asymmetry < FLUID}
    if "flair" in known and "t1" in known and known["flair"].t1_likeness > max(known["t1"].t1_likeness, PAIR_ABOVE):
        found = (
            f"likeness to T1 {known['flair'].t1_likeness:.2f}, and {known['t1'].t1_likeness:.2f} in the image called t1"
        )
        yield ScanWarning("sequence", "flair", found, "flair, less like T1 than t1 is")


def _zero_level(one: Seen) -> Iterator[ScanWarning]:
    """Values below 0 inside of the brain, where the model's training had none."""
    known = one.known
    so_trained = known is not None and known.white_to_grey is None and known.asymmetry is not None
    if one.levels is not None and not so_trained and is_standardised(one.volume.data):
        found = f"values from {one.volume.data.min():.3g} to {one.volume.data.max():.3g}"
        hint = "Standardised? Neither its contrast nor its brain mask was compared."
        yield ScanWarning("standardised", one.sequence, found, "values from 0 on, as scanners write them", hint)


def _contrast(one: Seen) -> Iterator[ScanWarning]:
    """Contrast agent, and contrasts of the right order that the training did not have."""
    levels, known = one.levels, one.known
    if levels is None or math.isnan(levels.asymmetry):
        return
    vessels = f"{levels.vessels:.1f} per thousand of the middle of the brain above 1.4 times white matter"
    if one.sequence == "t1" and VESSELS < levels.vessels <= NO_T1_AT_ALL:
        yield ScanWarning(
            "contrast_agent", "t1", vessels, f"up to {VESSELS:g} in T1", "Was it taken after contrast agent?"
        )
    if one.sequence == "t1post" and levels.vessels < NO_VESSELS:
        yield ScanWarning("no_contrast_agent", "t1post", vessels, f"{NO_VESSELS:g} and more after contrast agent")
    if known is None:
        return
    span, ratio = known.white_to_grey, levels.white_to_grey
    if span and not math.isnan(ratio) and not span[0] - WHITE_GREY <= ratio <= span[1] + WHITE_GREY:
        found = f"white matter {ratio:.2f} times grey matter"
        yield ScanWarning("contrast", one.sequence, found, span_words(span))
    elif (span := known.asymmetry) and not (
        span[0] / ASYMMETRY_FACTOR <= levels.asymmetry <= span[1] * ASYMMETRY_FACTOR
    ):
        yield ScanWarning("contrast", one.sequence, f"asymmetry {levels.asymmetry:.2f}", span_words(span))


def _mask(one: Seen, *, is_first: bool) -> Iterator[ScanWarning]:
    """Whether the brain mask holds what is no brain, on FLAIR or T1; of another image, whether it lies there."""
    levels = one.levels
    if levels is None or one.sequence not in ("flair", "t1"):
        return
    if not (levels.shell_bright > SHELL_BRIGHT or levels.shell_dark > SHELL_DARK):  # so also where they are NaN
        return
    outer = f"outer {SHELL_MM:.0f} mm of the brain mask"
    found = f"{levels.shell_bright:.0%} of the {outer} as bright as fat, {levels.shell_dark:.0%} as dark as bone or air"
    known = f"up to {SHELL_BRIGHT:.0%} and {SHELL_DARK:.0%}"
    if is_first:
        yield ScanWarning("brain_mask", one.sequence, found, known, "It holds scalp or air: give a tighter mask.")
    else:
        yield ScanWarning("elsewhere", one.sequence, found, known, "Does it lie on the first image?")
