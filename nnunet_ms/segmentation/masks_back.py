"""Masks from the grid that the network saw back to the grid of every input image."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.dataset_conversion.preparation import back_to_source
from nnunet_ms.images.volumes import Volume, read_grid, read_mask, read_volume, write_volume
from nnunet_ms.lesions.components import find_components
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.segmentation.prepared_scans import Prepared

MASKS, PROBABILITY = "masks", "probability"


def write_masks(
    prepared: Sequence[Prepared],
    predictions: Path,
    out: Path,
    workers: Workers = 1,
    threshold: float = 0.5,
    minimum_voxels: int = 1,
) -> tuple[list[str], list[Failure]]:
    """Write `masks/<sequence>/<case>.nii.gz` on each image's own grid, and `probability/` on that of the first.

    Nearest neighbour for masks, linear for probabilities. Of a scan that was resampled for the model the mask is where
    the probability, brought back, is above the threshold. A lesion that is thinner than a voxel of a coarser image may
    be lost there; the tables count it.

    Parameters
    ----------
    prepared : sequence of Prepared
    predictions : Path
        Output folder of `predict`.
    out : Path
    workers : int or Dask, optional
    threshold : float, optional
        Of the mean probability, as predicted with.
    minimum_voxels : int, optional
        Of a lesion that is counted, as in the tables.

    Returns
    -------
    notes, failures : list of str, list of Failure
        A note says how many lesions are in no voxel of an image's mask.
    """
    work = partial(_write, predictions=predictions, out=out, threshold=threshold, minimum=minimum_voxels)
    done = map_cases(work, list(prepared), lambda one: one.case.case_id, "masks", workers)
    return [note for notes in done.results for note in notes], list(done.failures)


def _write(one: Prepared, predictions: Path, out: Path, threshold: float, minimum: int) -> list[str]:
    """Write the masks of a case; return what is lost in them."""
    case_id = one.case.case_id
    told = json.loads(one.record.read_text(encoding="utf-8"))
    mask = read_mask(predictions / f"{case_id}.nii.gz", labels=range(256))
    lesions = find_components(mask.data)
    counted = lesions.voxels >= minimum
    count = int(counted.sum())
    numbered = lesions.painted((np.arange(1, len(counted) + 1) * counted).astype(np.int32))
    notes, soft = [], _probability(told, predictions / PROBABILITY / f"{case_id}.nii.gz", mask)
    for sequence, way in ways_back(told, one.case.images):
        data, affine = back_to_source(mask.data.astype(np.uint8), way)
        if soft is not None:
            data = (back_to_source(soft, way, is_label=False)[0] > threshold).astype(np.uint8)
        target = out / MASKS / sequence / f"{case_id}.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_volume(target, data, affine)
        lost = count - np.count_nonzero(np.unique(back_to_source(numbered, way)[0][data > 0]))
        if lost:
            among = f"{case_id}: {sequence}: {lost} of {count} lesions"
            notes.append(f"{among} lie between its voxels and are not in its mask; the tables have them")
    (out / PROBABILITY).mkdir(exist_ok=True)
    for path in sorted((predictions / PROBABILITY).glob(f"{case_id}*.nii.gz")):
        if path.name.removesuffix(".nii.gz").removeprefix(case_id)[:1] in ("", "_"):
            data, affine = back_to_source(read_volume(path).data.astype(np.float32), told, is_label=False)
            write_volume(out / PROBABILITY / path.name, data, affine)
    return notes


def _probability(told: Mapping[str, Any], path: Path, mask: Volume) -> SingleFloats | None:
    """Probability of the one label of a scan that was resampled; None where the mask itself is brought back."""
    is_resampled = any(step["step"] == "resample" for step in told["steps"])
    if not is_resampled or mask.data.max(initial=0) > 1 or not path.is_file():
        return None
    return read_volume(path).data.astype(np.float32)


def ways_back(told: Mapping[str, Any], images: Mapping[str, Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each sequence what `back_to_source` asks for: the image's grid, and the way there from the prepared grid.

    Parameters
    ----------
    told : mapping
        The record of `write_preprocessed`.
    images : mapping of str to Path
        Sequence -> source; the first gave the grid.
    """
    onto = {step["channel"]: np.array(step["matrix"]) for step in told["steps"] if step["step"] == "align_rigid"}
    to_visit = np.array(told["target_to_source"])
    for sequence, path in images.items():
        grid = read_grid(path)
        way = onto.get(sequence, np.eye(4)) @ to_visit
        there = {"shape": list(grid.shape), "affine": grid.affine.tolist()}
        yield sequence, {"grid": told["grid"], "source_grid": there, "target_to_source": way.tolist()}
