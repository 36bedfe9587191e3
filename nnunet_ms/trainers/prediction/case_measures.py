"""From samples on the preprocessed grid to a mask, maps and numbers on the image's own grid, in its crop.

Each sample is brought to the image's grid as nnU-Net does it (log-odds are resampled, the crop is undone) and only then
becomes a probability. Memory per voxel of the cropped image and lesion type: 20 bytes of sums, and one byte per sample
for the masks that the lesion measures need.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.lesions.labelling import Lesions, without_small
from nnunet_ms.lesions.rims import CORE, RIM, RimDecision
from nnunet_ms.lesions.rows import box_columns
from nnunet_ms.tables import PRL_COUNT
from nnunet_ms.trainers.networks.closed_form import quadrature
from nnunet_ms.trainers.prediction.lesion_edge import edge_share
from nnunet_ms.trainers.prediction.lesion_uncertainty import (
    label_sample,
    lesion_rows,
    patient_row,
    structural_uncertainty,
)
from nnunet_ms.trainers.prediction.rim_tables import RimParts, highest_of_parts, rim_parts
from nnunet_ms.trainers.prediction.tiles import Prediction
from nnunet_ms.trainers.prediction.volume_calibration import Seen, VolumeCalibration, log_odds_counts
from nnunet_ms.trainers.prediction.voxel_uncertainty import MEASURES, PARTS, VarianceParts, VoxelUncertainty
from nnunet_ms.trainers.prediction.way_back import WayBack

SMALLEST_LOG = 1e-30  # keeps the logarithm of a probability that rounds to 0 finite
PROBABILITY, DETERMINISTIC = "probability", "deterministic"
CALIBRATION_NOTE = "volume_calibration_note"
Map = Literal[
    "entropy",
    "expected_entropy",
    "mutual_information",
    "epkl",
    "rmi",
    "variance",
    "negated_confidence",
    "variance_folds",
    "variance_flips",
    "variance_masks",
    "deterministic",
]
MAPS: tuple[Map, ...] = get_args(Map)  # the measures, the parts of the variance, and the pass without dropout


@dataclass(frozen=True)
class Measuring:
    """How samples become a mask and numbers.

    Attributes
    ----------
    classes : tuple of (str, int)
        Lesion type and label value, in the order of the channels.
    threshold : float
        Of the mean probability, in (0, 1).
    maps : tuple of str
        Of `MAPS`, those that are wanted besides the probability.
    minimum_voxels : int
        Of a lesion in the tables.
    fold_thresholds : tuple of float
        One per fold, for LSU+ and PSU+; empty for neither.
    samples_per_fold, flips : int
        Samples and mirrorings of one fold: sample k sees mirroring k modulo their number.
    pairs : str
        What a model of pairs of visits marks, "new", "new_or_enlarging" or "all" (see docs/new_lesions.md); blank for
        a model of single visits.
    lesions : str
        Lesion type of which a model of pairs marks the change; blank for a model of single visits.
    rim : RimDecision or None
        Of a model of lesion core and rim, when a lesion is rim+. Its types are then the lesion, core and rim together
        (mask > 0, label 1), and the rim alone (label 2), which has maps but no lesions of its own.
    calibrations : mapping of int to VolumeCalibration, or None
        By label value, of a model whose volumes are calibrated; None for others, whose tables lack these columns.
    calibration_note : str
        What every calibrated row should say.
    """

    classes: tuple[tuple[str, int], ...]
    threshold: float = 0.5
    maps: tuple[str, ...] = ()
    minimum_voxels: int = 3
    fold_thresholds: tuple[float, ...] = ()
    samples_per_fold: int = 1
    flips: int = 1
    pairs: str = ""
    lesions: str = ""
    rim: RimDecision | None = None
    calibrations: Mapping[int, VolumeCalibration] | None = None
    calibration_note: str = ""

    def mask_of(self, labels: npt.NDArray[np.uint8], value: int) -> Bools:
        """Voxels of one lesion type in a label map; a lesion is core and rim together."""
        return labels > 0 if self.rim is not None and value == CORE else labels == value

    @property
    def member_thresholds(self) -> tuple[float, ...]:
        """One per sample: that of its fold."""
        return tuple(one for one in self.fold_thresholds for _ in range(self.samples_per_fold))

    @property
    def splits_variance(self) -> bool:
        """Whether parts of the variance are asked for."""
        return any(name in PARTS for name in self.maps)


@dataclass(frozen=True)
class Measured:
    """One lesion type of a case: maps (X, Y, Z) in the crop by name, a table of its lesions, the case's numbers.

    `rims`: of the lesions of a model of rims, what each of their parts shows of a rim.
    """

    lesion_type: str
    maps: Mapping[str, SingleFloats]
    lesions: pd.DataFrame
    row: dict[str, Any]
    rims: RimParts | None = None


@dataclass(frozen=True)
class Sampled:
    """What is kept of the samples: sums per lesion type, label maps at the threshold, and at the members' own ones."""

    sums: list[VoxelUncertainty]
    variances: list[VarianceParts]
    masks: list[npt.NDArray[np.uint8]]
    members: list[npt.NDArray[np.uint8]]


def accumulate(prediction: Prediction, way: WayBack, settings: Measuring) -> Sampled:
    """Bring the samples to the image's grid, one after the other, and keep what the numbers need."""
    shape, asked = way.box_grid.shape, settings.splits_variance
    kept = Sampled(
        [VoxelUncertainty(shape) for _ in settings.classes],
        [VarianceParts(shape) for _ in settings.classes if asked],
        [],
        [],
    )
    for number, (here, weight, is_function) in enumerate(_samples(prediction, way)):
        log_odds = here if settings.rim is None else lesion_and_rim(here)
        p = [one.add(torch.from_numpy(z), weight) for one, z in zip(kept.sums, log_odds, strict=True)]
        if is_function:
            _keep(kept, torch.stack(p), number, settings)
    return kept


def _keep(kept: Sampled, p: torch.Tensor, number: int, settings: Measuring) -> None:
    """Keep what needs to know which sample it is: `p` (T, X, Y, Z) of sample `number`."""
    fold, within = divmod(number, settings.samples_per_fold)
    for one, here in zip(kept.variances, p, strict=False):
        one.add(here, fold, within % settings.flips)
    kept.masks.append(_labels(p.numpy(), settings, settings.threshold))
    if settings.member_thresholds:
        kept.members.append(_labels(p.numpy(), settings, settings.member_thresholds[number]))


def lesion_and_rim(log_odds: SingleFloats) -> SingleFloats:
    """Log-odds of lesion (core or rim) and of rim, (2, X, Y, Z), from those of core and of rim.

    The two are read as independent: 1 - P(lesion) = (1 - P(core)) (1 - P(rim)). So a lesion has no gap where core and
    rim meet and neither is likely alone.

    Examples
    --------
    >>> lesion, rim = lesion_and_rim(np.zeros((2, 1, 1, 1), np.float32)).ravel()
    >>> round(float(1 / (1 + np.exp(-lesion))), 4), float(rim)
    (0.75, 0.0)
    """
    rest = np.maximum(np.logaddexp(0, log_odds.astype(np.float64)).sum(axis=0), SMALLEST_LOG)  # -log(1 - P(lesion))
    lesion = rest + np.log(-np.expm1(-rest))
    return np.stack([lesion, log_odds[1]]).astype(np.float32)


def label_map(sampled: Sampled, settings: Measuring) -> npt.NDArray[np.uint8]:
    """Mask (X, Y, Z) in the crop: label values where the mean probability exceeds the threshold."""
    return _labels(np.stack([one.mean() for one in sampled.sums]), settings, settings.threshold)


def measured_types(
    prediction: Prediction,
    sampled: Sampled,
    labels: npt.NDArray[np.uint8],
    content: Bools,
    way: WayBack,
    settings: Measuring,
) -> Iterator[Measured]:
    """Measure one lesion type after the other, so that the maps of one at a time are in memory.

    Parameters
    ----------
    prediction : Prediction
        The samples.
    sampled : Sampled
        What `accumulate` kept of them.
    labels : (X, Y, Z) uint8 array
        From `label_map`.
    content : (X, Y, Z) bool array
        Voxels in which any channel is not 0.
    way : WayBack
        Of the case, whose crop all arrays here are of.
    settings : Measuring
        As for `accumulate`.
    """
    for number, (lesion_type, value) in enumerate(settings.classes):
        maps = {PROBABILITY: sampled.sums[number].mean(), **sampled.sums[number].measures()}
        maps.update(sampled.variances[number].parts() if sampled.variances else {})
        if DETERMINISTIC in settings.maps and prediction.deterministic is not None:
            maps[DETERMINISTIC] = _deterministic(prediction.deterministic, number, way, settings)
        if settings.rim is not None and value == RIM:
            yield Measured(lesion_type, maps, pd.DataFrame(), {})
            continue
        lesions = without_small(label_sample(settings.mask_of(labels, value), way.box_grid), settings.minimum_voxels)
        table, row = _rows(lesions, value, maps, sampled, content, settings)
        table = table.assign(**_boxes(lesions, way))
        rims = None
        if settings.rim is not None:
            rims = rim_parts(lesions, sampled.sums[1].mean(), labels == RIM, settings.rim)
            table, row = table.assign(**highest_of_parts(rims.table, lesions.count)), {**row, PRL_COUNT: rims.count}
        of_type = table.assign(lesion_type=lesion_type)
        yield Measured(lesion_type, maps, of_type, {"lesion_type": lesion_type, **row}, rims)


def _deterministic(log_odds: SingleFloats, number: int, way: WayBack, settings: Measuring) -> SingleFloats:
    """Mean probability of one lesion type over passes (M, T, z, y, x) without dropout."""
    if settings.rim is not None:
        log_odds = np.stack([lesion_and_rim(one) for one in log_odds])
    return way.mean_probability(log_odds[:, number])


def _boxes(lesions: Lesions, way: WayBack) -> dict[str, npt.NDArray[Any]]:
    """Bounding boxes in voxels of the whole image, of which the lesions are found in a crop."""
    start = dict(zip("xyz", (part.start for part in way.box), strict=True))
    return {name: column + start[name[0]] for name, column in box_columns(lesions).items()}


def _samples(prediction: Prediction, way: WayBack) -> Iterator[tuple[SingleFloats, float, bool]]:
    """Log-odds (T, X, Y, Z) of each sample, its weight, and whether lesions of it mean something.

    In closed form only moments are known: nodes of a quadrature stand for the samples, and are none of them.
    """
    for number, mean in enumerate(prediction.log_odds):
        here = way.resample(mean)
        if prediction.spread is None:
            yield here, 1.0, True
            continue
        spread = np.maximum(way.resample(prediction.spread[number]), 0)
        for node, weight in zip(*(x.tolist() for x in quadrature()), strict=True):
            yield (here + node * spread).astype(np.float32), weight, False


def _labels(probability: SingleFloats, settings: Measuring, threshold: float) -> npt.NDArray[np.uint8]:
    """Label map (X, Y, Z) of (T, X, Y, Z): the likeliest lesion type where it exceeds the threshold."""
    if settings.rim is not None:  # the rim is a part of the lesion
        lesion = probability[0] > threshold
        return np.where(lesion & (probability[1] > threshold), RIM, np.where(lesion, CORE, 0)).astype(np.uint8)
    values = np.array([value for _, value in settings.classes], dtype=np.uint8)
    best = probability.argmax(axis=0)
    return np.where(probability.max(axis=0) > threshold, values[best], 0).astype(np.uint8)


def _rows(
    lesions: Lesions,
    value: int,
    maps: Mapping[str, SingleFloats],
    sampled: Sampled,
    content: Bools,
    settings: Measuring,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Table of the lesions of one type, and the case's row."""
    measures = {name: maps[name] for name in MEASURES}
    samples = [label_sample(settings.mask_of(mask, value), lesions.grid) for mask in sampled.masks]
    table = lesion_rows(lesions, samples, maps[PROBABILITY], measures).assign(edge_share=edge_share(lesions, content))
    row = patient_row(lesions, samples, maps[PROBABILITY], measures, content, settings.minimum_voxels)
    if sampled.members:
        members = [label_sample(settings.mask_of(mask, value), lesions.grid) for mask in sampled.members]
        table["lsu_plus"], row["psu_plus"] = structural_uncertainty(lesions, members, settings.minimum_voxels)
    calibrated = calibrated_columns(
        maps[PROBABILITY], row["expected_volume_ml"], value, lesions.voxel_volume_ml, settings
    )
    return table, {"n_samples": float(len(samples)), **row, **calibrated}


def calibrated_columns(
    probability: SingleFloats, expected_ml: float, value: int, voxel_ml: float, settings: Measuring
) -> dict[str, Any]:
    """Columns of the calibrated volume of one lesion type; none for a model without a calibration."""
    if settings.calibrations is None:
        return {}
    names = [f"calibrated_{what}_ml" for what in ("volume", "lower", "upper")]
    if (calibration := settings.calibrations.get(value)) is None:
        return {**dict.fromkeys(names, float("nan")), CALIBRATION_NOTE: "no calibration of this lesion type"}
    found = calibration.apply(Seen(expected_ml, log_odds_counts(probability) * voxel_ml))
    notes = [note for note in (found.note, settings.calibration_note) if note]
    numbers = dict(zip(names, (found.volume_ml, found.lower_ml, found.upper_ml), strict=True))
    return {**numbers, CALIBRATION_NOTE: "; ".join(notes)}
