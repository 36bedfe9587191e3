"""What a model has seen in training, so that a scan unlike it can be told: `training_range.json` in the model's folder.

Measured on the images of nnU-Net's raw dataset: voxels, field of view, brightness of the tissues, kind of numbers,
whether the skull is removed. What augmentation simulates is an entry of its own: a model has been tested on scans, and
not on what was made of them.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from nnunet_ms.arrays import Bools
from nnunet_ms.errors import ModelError, NnunetMsError, SettingsError, one_line
from nnunet_ms.images.brain_shape import shape_of
from nnunet_ms.images.tissue_levels import levels_of
from nnunet_ms.images.volumes import Volume, read_volume
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import whole_file
from nnunet_ms.trainers.allowed_names import find_trainer
from nnunet_ms.trainers.channels import sequence_of

RANGE, FORMAT = "training_range.json", 1
SAME_SLICES = 1.25  # thicknesses that differ by less are one group
LARGEST_BRAIN_ML = 2200.0
Stripped = Literal["all", "none", "some"]
Span = tuple[float, float]


@dataclass(frozen=True)
class SequenceRange:
    """What the training images of one sequence were like; spans are the smallest and the largest.

    Attributes
    ----------
    cases : int
        That had it.
    slice_mm : tuple of Span
        Longest voxel edges, in groups: scans of 1 mm and of 7 mm do not show what 3 mm look like.
    in_plane_mm : Span
        Shorter voxel edges.
    field_mm : tuple of Span
        Of the sides of the field of view, in ascending order.
    white_to_grey, asymmetry : Span or None
        Order of the tissues, see `TissueLevels`; None where no brain was known.
    intensities : tuple of str
        Kinds of numbers: `whole numbers`, `0 to 1`, `real numbers`.
    stripped : {"all", "none", "some"}
        Of how many of them the skull is removed.
    """

    cases: int
    slice_mm: tuple[Span, ...]
    in_plane_mm: Span
    field_mm: tuple[Span, Span, Span]
    white_to_grey: Span | None
    asymmetry: Span | None
    intensities: tuple[str, ...]
    stripped: Stripped


@dataclass(frozen=True)
class TrainingRange:
    """What a model has seen.

    Attributes
    ----------
    sequences : mapping of str to SequenceRange
        By sequence (`channels.sequence_of`), in the order of the channels.
    simulated_slice_mm : Span or None
        Slices that augmentation makes of the scans; None where it makes none.
    """

    sequences: Mapping[str, SequenceRange] = field(default_factory=dict)
    simulated_slice_mm: Span | None = None

    def words(self) -> dict[str, str]:
        """What it says, for people.

        Examples
        --------
        >>> spans = ((1.0, 1.0), (6.4, 8.1))
        >>> sides = ((130, 180), (182, 230), (218, 230))
        >>> flair = SequenceRange(10, spans, (0.9, 1.0), sides, None, None, ("0 to 1",), "all")
        >>> TrainingRange({"flair": flair}, (1.0, 7.0)).words()["flair"]
        '10 scans; slices of 1 and 6.4 to 8.1 mm, voxels of 0.9 to 1 mm in them; skull removed in all'
        """
        told = {name: _words(one) for name, one in self.sequences.items()}
        if self.simulated_slice_mm:
            told["simulated"] = (
                f"slices of {span_words(self.simulated_slice_mm)} mm were made of those scans in training"
            )
        return told


def _words(one: SequenceRange) -> str:
    slices = " and ".join(span_words(span) for span in one.slice_mm)
    return (
        f"{one.cases} scans; slices of {slices} mm, voxels of {span_words(one.in_plane_mm)} mm in them; "
        f"skull removed in {one.stripped}"
    )


def span_words(span: Sequence[float]) -> str:
    """Such as `0.9 to 3.3`, or one number where both are alike.

    Examples
    --------
    >>> span_words((0.9, 3.3)), span_words((1.0, 1.0))
    ('0.9 to 3.3', '1')
    """
    low, high = (f"{value:.3g}" for value in span)
    return low if low == high else f"{low} to {high}"


@known_keywords
def write_training_range(model: str | Path, raw: str | Path, *, trainer: str = "") -> TrainingRange:
    """Measure the training images of a model, and write `training_range.json` into its folder.

    Parameters
    ----------
    model : str or Path
        `TRAINER__PLANS__CONFIGURATION` below a dataset of nnU-Net's results.
    raw : str or Path
        The dataset's folder below nnUNet_raw, on which it was trained.
    trainer : str, optional
        Its trainer; without it the first part of the folder's name. What it simulates is read from it.

    Raises
    ------
    ModelError
        If the folder is no model's, or its channels are not those of the dataset.
    SettingsError
        If the raw dataset is not there or has no images.
    ImageError
        If an image cannot be read.

    Examples
    --------
    >>> write_training_range("trained", "absent")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: absent: expected a dataset of nnU-Net with dataset.json and imagesTr, found no ...
    """
    folder, place = Path(model), Path(raw)
    channels, ending = _channels(folder, place)
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in channels}
    for path in sorted((place / "imagesTr").glob(f"*{ending}")):
        number = int(path.name.removesuffix(ending)[-4:])
        volume = read_volume(path)
        if volume.data.any():  # a channel of zeros is an absent sequence
            seen[channels[number]].append(measured(volume))
    if not any(seen.values()):
        raise SettingsError(f"{place}: expected images in imagesTr, found none. Name the dataset of the training.")
    simulated = getattr(find_trainer(trainer or folder.name.split("__")[0], folder), "slice_mm", None)
    sequences = {name: _range_of(rows) for name, rows in seen.items() if rows}
    found = TrainingRange(sequences, None if simulated is None else (float(simulated[0]), float(simulated[1])))
    with whole_file(folder / RANGE) as partial:
        partial.write_text(json.dumps({"format": FORMAT, **asdict(found)}, indent=1) + "\n", encoding="utf-8")
    return found


def read_training_range(model: str | Path) -> TrainingRange | None:
    """What the model in a folder has seen; None where it does not say.

    Raises
    ------
    ModelError
        If the file is damaged or of a later format.

    Examples
    --------
    >>> read_training_range("trained") is None
    True
    """
    path = Path(model) / RANGE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        sequences = {str(name): _sequence(one) for name, one in content["sequences"].items()}
        return TrainingRange(sequences, _span(content["simulated_slice_mm"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path}: expected the range of a training in format {FORMAT}, cannot read it ({one_line(error)}). Write "
            "it again: nnunet-ms-model range."
        ) from error


def _sequence(one: Mapping[str, Any]) -> SequenceRange:
    x, y, z = (_known_span(span) for span in one["field_mm"])
    return SequenceRange(
        cases=int(one["cases"]),
        slice_mm=tuple(_known_span(span) for span in one["slice_mm"]),
        in_plane_mm=_known_span(one["in_plane_mm"]),
        field_mm=(x, y, z),
        white_to_grey=_span(one["white_to_grey"]),
        asymmetry=_span(one["asymmetry"]),
        intensities=tuple(str(kind) for kind in one["intensities"]),
        stripped=one["stripped"] if one["stripped"] in ("all", "none") else "some",
    )


def _span(value: Any) -> Span | None:
    return None if value is None else _known_span(value)


def _known_span(value: Any) -> Span:
    low, high = (float(one) for one in value)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"no span: {value}")
    return low, high


def _channels(folder: Path, raw: Path) -> tuple[list[str], str]:
    """Sequences of the channels by number, and the ending of the image files."""
    told = []
    for place in (folder, raw):
        path = place / "dataset.json"
        if not path.is_file() or (place is raw and not (raw / "imagesTr").is_dir()):
            what = (
                "a trained model with dataset.json"
                if place is folder
                else "a dataset of nnU-Net with dataset.json and imagesTr"
            )
            kind: type[NnunetMsError] = ModelError if place is folder else SettingsError
            raise kind(f"{place}: expected {what}, found no such folder. Check the path.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            names = [str(name) for name in content["channel_names"].values()]
            told.append(([sequence_of(name) for name in names], str(content.get("file_ending", ".nii.gz"))))
        except (ValueError, KeyError, AttributeError) as error:
            raise ModelError(
                f"{path}: expected channel_names, cannot read it ({one_line(error)}). Restore it."
            ) from error
    if told[0][0] != told[1][0]:
        raise ModelError(
            f"{raw}: expected the channels {told[0][0]} of {folder}, found {told[1][0]}. Name its dataset."
        )
    return told[1]


def measured(volume: Volume) -> dict[str, Any]:
    """What one image is like; `white_to_grey` and `asymmetry` are NaN where its skull is not removed.

    Examples
    --------
    >>> seen = measured(read_volume("flair.nii.gz"))
    >>> seen["spacing_mm"], seen["intensities"], seen["stripped"]
    ([1.0, 1.0, 3.0], 'real numbers', False)
    """
    brain = brain_of(volume)
    shape = None if brain is None else shape_of(brain, volume.grid)
    levels = None if brain is None or shape is None else levels_of(volume, brain, volume.grid, shape)
    return {
        "spacing_mm": sorted(volume.grid.spacing),
        "field_mm": sorted(edge * size for edge, size in zip(volume.grid.spacing, volume.grid.shape, strict=True)),
        "intensities": intensity_kind(volume),
        "stripped": brain is not None,
        "white_to_grey": math.nan if levels is None else levels.white_to_grey,
        "asymmetry": math.nan if levels is None else levels.asymmetry,
    }


def brain_of(volume: Volume) -> Bools | None:
    """The brain (X, Y, Z) of an image whose skull is removed: what is not 0, holes filled; None of other images.

    Examples
    --------
    >>> brain_of(read_volume("flair.nii.gz")) is None  # no voxel is 0
    True
    """
    there = volume.data != 0
    volume_ml = float(np.count_nonzero(there) * volume.grid.voxel_volume_ml)
    if not 0 < volume_ml <= LARGEST_BRAIN_ML or there.mean() > 0.7:
        return None
    return np.asarray(ndimage.binary_fill_holes(there), dtype=bool)


def intensity_kind(volume: Volume) -> str:
    """`whole numbers`, `0 to 1` or `real numbers`.

    Examples
    --------
    >>> intensity_kind(read_volume("reference.nii.gz"))
    'whole numbers'
    """
    if np.issubdtype(volume.data.dtype, np.integer):
        return "whole numbers"
    data = volume.data.astype(np.float32)
    if data.min() >= 0 and data.max() <= 1:
        return "0 to 1"
    return "whole numbers" if bool((data == np.round(data)).all()) else "real numbers"


def _range_of(rows: Sequence[Mapping[str, Any]]) -> SequenceRange:
    edges = np.array([row["spacing_mm"] for row in rows])
    sides = np.array([row["field_mm"] for row in rows])
    stripped = [bool(row["stripped"]) for row in rows]
    x, y, z = (
        (round(float(low), 1), round(float(high), 1)) for low, high in zip(sides.min(0), sides.max(0), strict=True)
    )
    return SequenceRange(
        cases=len(rows),
        slice_mm=groups_of([float(one) for one in edges[:, 2]]),
        in_plane_mm=(round(float(edges[:, :2].min()), 3), round(float(edges[:, :2].max()), 3)),
        field_mm=(x, y, z),
        white_to_grey=_spread([row["white_to_grey"] for row in rows]),
        asymmetry=_spread([row["asymmetry"] for row in rows]),
        intensities=tuple(sorted({str(row["intensities"]) for row in rows})),
        stripped="all" if all(stripped) else "some" if any(stripped) else "none",
    )


def groups_of(values: Sequence[float]) -> tuple[Span, ...]:
    """Spans of values, a new one where the next is larger by a quarter.

    Examples
    --------
    >>> groups_of([1.0, 6.5, 7.2, 8.1, 1.0])
    ((1.0, 1.0), (6.5, 8.1))
    """
    groups: list[list[float]] = []
    for value in sorted(values):
        if groups and value <= SAME_SLICES * groups[-1][-1]:
            groups[-1].append(value)
        else:
            groups.append([value])
    return tuple((round(one[0], 3), round(one[-1], 3)) for one in groups)


def _spread(values: Sequence[float]) -> Span | None:
    known = [value for value in values if math.isfinite(value)]
    return (round(min(known), 3), round(max(known), 3)) if known else None
