"""Whether an image is like those that a model was trained on: voxel size, skull, order of the tissues, one head.

The conversion writes what the training images show into dataset.json, which nnU-Net keeps beside the model. For other
models the voxel sizes and the extent of what is not 0 come from nnU-Net's dataset_fingerprint.json; the order of the
tissues is judged by the channel's name then.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_ms.errors import ImageError
from nnunet_ms.images.appearance import Appearance, appearance_of, coarse_of, information_about
from nnunet_ms.images.limits import (
    BRIGHT_FLUID,
    BRIGHTEST_FLUID,
    DARK_FLUID,
    DARKEST_FLUID,
    FLUID,
    INFORMATION,
    are_edges,
)
from nnunet_ms.images.qsm_units import MULTIPLY, checked_qsm
from nnunet_ms.images.volumes import Volume
from nnunet_ms.trainers.channels import sequence_of
from nnunet_ms.trainers.prediction.model import Model

EDGE_FACTOR = 1.5  # a voxel edge outside the training's by more
CONTENT_FACTOR = 1.4  # volume that is not 0: heads with skull and noise have 1.6 times what the largest brains have
BOX_FACTOR = 1.7  # the same of the box around it


def unlike(volumes: Sequence[Volume], model: Model) -> list[str]:
    """What a user should know before believing a prediction; empty for an image like those of the training.

    Parameters
    ----------
    volumes : sequence of Volume
        One per channel, in the order of the model.
    model : Model
        With its dataset.json, and dataset_fingerprint.json where there is one.

    Returns
    -------
    list of str
        Differences, each once, with the channel that shows it; nothing about images that are too small for a head.
    """
    known: Mapping[str, Any] = model.dataset_json.get("appearance") or {}
    found: list[str] = []
    heads: list[tuple[str, Volume]] = []
    for channel, volume in zip(model.channel_names, volumes, strict=True):
        if not volume.data.any():
            found.append(_of_nothing(channel, model))
            continue
        seen = appearance_of(volume)
        if not seen.shows_a_head:
            continue
        told = [*_of_training(seen, known[channel])] if _is_known(known, channel) else [*_of_name(seen, channel)]
        found += [f"{channel}: {text}" for text in told]
        heads.append((channel, volume))
    if not any(_is_known(known, channel) for channel in model.channel_names):
        found += _of_fingerprint(volumes, model)
    return [*found, *_not_resampled(volumes[0], model), *_elsewhere(heads)]


def _not_resampled(volume: Volume, model: Model) -> list[str]:
    """Whether an image has other voxels than those to which all of the training were resampled before normalisation."""
    known = model.dataset_json.get("spacing")
    if not are_edges(known) or np.allclose(sorted(known), sorted(volume.grid.spacing), rtol=0.05):
        return []
    found, trained = (" x ".join(f"{edge:.3g}" for edge in edges) for edges in (volume.grid.spacing, known))
    return [
        f"voxels of {found} mm: the images of this model's training were resampled to {trained} mm before their "
        f"intensities were normalised. nnunet-ms-segment does that, and nnunet-ms-convert --spacing "
        f"{'x'.join(f'{edge:g}' for edge in known)}."
    ]


def _of_nothing(channel: str, model: Model) -> str:
    """What a channel of zeros means to a model."""
    if model.needed:
        return f"{channel}: absent; predicted without it."
    return f"{channel}: every voxel is 0. This model was trained with it, and its masks are of no use without."


def check_usable(volumes: Sequence[Volume], model: Model) -> None:
    """Raise ImageError for images of which a model can only say nonsense.

    Those are a channel of QSM that cannot be a map in ppb, unless a model was trained on something else (`--accept qsm`
    of the conversion), and zeros in all channels of which the model needs one.
    """
    if model.needed and not any(volumes[number].data.any() for number in model.needed):
        least = " or ".join(model.channel_names[number] for number in model.needed)
        there = [name for name, one in zip(model.channel_names, volumes, strict=True) if one.data.any()]
        raise ImageError(f"{volumes[0].path}: expected {least}, found {', '.join(there)} alone. Add one of them.")
    schemes = model.configuration.normalization_schemes
    for channel, scheme, volume in zip(model.channel_names, schemes, volumes, strict=True):
        if sequence_of(channel) == "qsm" and scheme == "QsmWindowNormalization":
            checked_qsm(volume, conversion=f"{MULTIPLY}.", accept="")


def _elsewhere(heads: Sequence[tuple[str, Volume]]) -> list[str]:
    """Whether a sequence shows another head than the first one, or the same elsewhere, as the conversion asks it."""
    known = [(channel, volume) for channel, volume in heads if sequence_of(channel) in (*BRIGHT_FLUID, *DARK_FLUID)]
    if len(known) < 2:
        return []
    (first, fixed), *others = known
    coarse, found = coarse_of(fixed), []
    for channel, volume in others:
        shared = information_about(volume, coarse)
        if shared is None or shared < INFORMATION:
            told = "it holds less than half" if shared is None else f"{max(shared, 0):.2f} nats shared, expected .23"
            there = f"it shows another head than {first}, or the same elsewhere ({told})"
            found.append(f"{channel}: {there}. Is it of this patient and visit?")
    return found


def _is_known(known: Mapping[str, Any], channel: str) -> bool:
    return isinstance(known.get(channel), dict) and bool(_limits(known[channel], "spacing_mm", (3,)))


def _limits(known: Mapping[str, Any], name: str, shape: tuple[int, ...] = ()) -> list[Any]:
    """The smallest and the largest of what the training images had; empty where a model's file does not say so."""
    try:
        values = np.array(known.get(name), dtype=float)
    except (TypeError, ValueError):  # not numbers: a file of others, which says nothing then
        return []
    return values.tolist() if values.shape == (2, *shape) and np.isfinite(values).all() else []


def _of_training(seen: Appearance, known: Mapping[str, Any]) -> list[str]:
    found = _spacing(seen, *_limits(known, "spacing_mm", (3,)))
    if content := _limits(known, "nonzero_ml"):
        found += _content(seen, *content)
    if order := _limits(known, "asymmetry"):
        found += _order(seen, *order)
    return found


def _content(seen: Appearance, smallest: float, largest: float) -> list[str]:
    there = f"in training {smallest:.0f} to {largest:.0f} ml"
    told = f"{seen.nonzero_share:.0%} of it is not 0 ({seen.nonzero_ml:.0f} ml; {there})"
    if seen.nonzero_ml > CONTENT_FACTOR * largest:
        return [f"{told}. Is the skull there, which the training images lack?"]
    if seen.nonzero_ml < smallest / CONTENT_FACTOR:
        return [f"{told}. Is the skull removed, or a part cut off, which the training images have?"]
    return []


def _order(seen: Appearance, lowest: float, highest: float) -> list[str]:
    is_bright = highest < FLUID and seen.asymmetry > BRIGHTEST_FLUID
    if not is_bright and not (lowest > FLUID and seen.asymmetry < DARKEST_FLUID):
        return []
    told = f"asymmetry {seen.asymmetry:.2f}, there {lowest:.2f} to {highest:.2f}"
    return [f"its tissues have another order than in training ({told}). Is it another sequence?"]


def _spacing(seen: Appearance, low: Sequence[float], high: Sequence[float]) -> list[str]:
    edges = np.array(sorted(seen.spacing_mm))
    if ((edges <= EDGE_FACTOR * np.array(high)) & (edges >= np.array(low) / EDGE_FACTOR)).all():
        return []
    there = _edges(low) if np.allclose(low, high, rtol=0.02) else f"{_edges(low)} to {_edges(high)}"
    return [f"voxels of {_edges(seen.spacing_mm)} mm, in training {there} mm."]


def _of_name(seen: Appearance, channel: str) -> list[str]:
    sequence = sequence_of(channel)
    is_dark = sequence in BRIGHT_FLUID and seen.asymmetry < DARKEST_FLUID
    if is_dark or (sequence in DARK_FLUID and seen.asymmetry > BRIGHTEST_FLUID):
        order = "dark, as in FLAIR and T1" if is_dark else "bright, as in T2"
        return [f"its fluid is {order} (asymmetry {seen.asymmetry:.2f}). Is it another sequence?"]
    return []


def _of_fingerprint(volumes: Sequence[Volume], model: Model) -> list[str]:
    """By what nnU-Net has noted of the training images: edges, and shapes after cropping to what is not 0."""
    path = model.folder / "dataset_fingerprint.json"
    seen = appearance_of(volumes[0])
    if not seen.shows_a_head or not path.is_file():
        return []
    try:
        spacings, shapes = _noted(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{path.name}: cannot be read ({type(error).__name__}); nothing is known of the training images."]
    edges = np.sort(spacings, axis=1)
    found = _spacing(seen, edges.min(axis=0).tolist(), edges.max(axis=0).tolist())
    boxes, here = (spacings * shapes).prod(axis=1) / 1000, _box_ml(volumes)
    if here > BOX_FACTOR * boxes.max() or here < boxes.min() / BOX_FACTOR:
        limits = f"{boxes.min():.0f} to {boxes.max():.0f} ml"
        found.append(
            f"what is not 0 fills a box of {here:.0f} ml, in training {limits}. Is the skull there and was not, or the "
            "other way round?"
        )
    return found


def _noted(content: Mapping[str, Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Edges (N, 3) in mm and shapes (N, 3) of the training images; ValueError if they are not so."""
    spacings, shapes = (np.array(content[name], dtype=float) for name in ("spacings", "shapes_after_crop"))
    if spacings.shape != shapes.shape or spacings.shape[1:] != (3,) or not len(spacings):
        raise ValueError(f"expected edges and shapes of the same images, found {spacings.shape} and {shapes.shape}")
    if not ((spacings > 0) & (shapes > 0)).all():
        raise ValueError("expected edges and shapes > 0")
    return spacings, shapes


def _box_ml(volumes: Sequence[Volume]) -> float:
    there = np.logical_or.reduce([volume.data != 0 for volume in volumes])
    sides = [there.any(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    voxels = math.prod(int(np.ptp(np.flatnonzero(side))) + 1 if side.any() else 0 for side in sides)
    return voxels * volumes[0].grid.voxel_volume_ml


def _edges(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.2g}" for value in values)
