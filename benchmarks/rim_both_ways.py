"""Two ways to decide which lesions have a rim, on the same lesions: a network that segments rims, and a classifier.

The segmenter finds lesions of its own. Each lesion of the manifest's masks (numbered as `nnunet-ms-rim features` does)
takes the score of the segmented lesion that has most of its voxels: model `segmented`. One that no segmented lesion
touches has score 0 and is rim-. Model `segmented-in-masks` takes the mean probability of a rim over the shell of
the lesion as it was drawn, so that it need not be found. The tables go to `nnunet-ms-rim evaluate` beside others.

    python benchmarks/rim_both_ways.py predicted manifest.csv -o scores.csv
    nnunet-ms-rim evaluate scores.csv models/cross_validation.csv --labels features/lesions.csv -o evaluation

`predicted` is the output of `nnunet-ms-predict`; visits that it has not predicted are left out.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.classification.rim.case_images import read_case
from nnunet_ms.classification.rim.cohort import RimCase, read_cohort
from nnunet_ms.classification.rim.lesion_boxes import numbered_lesions
from nnunet_ms.errors import ImageError
from nnunet_ms.images.volumes import Volume, check_same_grid, read_volume
from nnunet_ms.lesions.confluent import Splitting
from nnunet_ms.lesions.labelling import find_lesions
from nnunet_ms.lesions.rims import RIM_THRESHOLD, lesion_parts, shell_of


def main(argv: Sequence[str] | None = None) -> int:
    """Write one table of both models; say how many lesions the segmenter found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predicted", type=Path, help="output of nnunet-ms-predict")
    parser.add_argument("manifest", type=Path, help="manifest of nnunet-ms-rim features")
    parser.add_argument("-o", "--output", type=Path, required=True, help="table to write")
    args = parser.parse_args(argv)
    cases = [case for case in read_cohort(args.manifest) if (args.predicted / f"{case.case_id}.nii.gz").is_file()]
    told = pd.read_csv(args.predicted / "rim_lesions.csv")
    record = json.loads((args.predicted / "prediction.json").read_text())
    rows = pd.concat([scores_of(case, args.predicted, told, record) for case in cases], ignore_index=True)
    rows.to_csv(args.output, index=False, lineterminator="\n")
    own = rows[rows["model"] == "segmented"]
    print(f"{len(cases)} visits, {len(own)} lesions, {int(own['found'].sum())} of them touched by a segmented lesion")
    return 0


def scores_of(case: RimCase, predicted: Path, told: pd.DataFrame, record: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of both models for the lesions of one visit; `told` and `record` are of the segmenter's own lesions."""
    images = read_case(case)
    numbers = numbered_lesions(images)
    mask = read_volume(predicted / f"{case.case_id}.nii.gz")
    check_same_grid(images.grid, mask, str(case.qsm), str(mask.path))
    rim = read_volume(predicted / "probability" / f"{case.case_id}_rim.nii.gz")
    own = told[(told["patient_id"] == case.patient_id) & (told["visit"] == case.visit)].sort_values("lesion_id")
    components = find_lesions(
        Volume((mask.data != 0).astype(np.uint8), mask.grid, mask.path), minimum_voxels=record["minimum_voxels"]
    )
    found, _ = lesion_parts(components, Splitting(**record["rim_splitting"]) if record["rim_splitting"] else None)
    if found.voxels.tolist() != own["voxels"].tolist():
        raise ImageError(f"{mask.path}: expected the lesions of rim_lesions.csv, found others. Predict again.")
    segmented = np.zeros(numbers.shape, dtype=np.int64)
    segmented[found.voxel_axes] = found.lesion_of_voxel + 1
    touched = most_of(numbers, segmented)
    scores = np.concatenate([[0.0], own["probability"].to_numpy(np.float64)])[touched]
    given = shell_means(numbers, np.asarray(rim.data, dtype=np.float64), images.grid.spacing)
    return pd.concat([_rows(case, "segmented", scores, touched > 0), _rows(case, "segmented-in-masks", given)])


def most_of(numbers: npt.NDArray[np.integer], segmented: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """For each lesion 1 .. L of `numbers` the segmented lesion with most of its voxels, 0 where there is none; (L,).

    Of equals the first.
    """
    table = np.zeros((int(numbers.max(initial=0)) + 1, int(segmented.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(table, (numbers.ravel(), segmented.ravel()), 1)
    hits = table[1:]
    hits[:, 0] = 0  # voxels of the lesion in no segmented one
    return np.asarray(hits.argmax(axis=1))


def shell_means(
    numbers: npt.NDArray[np.integer], probability: npt.NDArray[np.float64], spacing_mm: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Mean probability of a rim over the shell of each lesion 1 .. L, (L,)."""
    shell = shell_of(numbers, spacing_mm)
    size = np.bincount(numbers[shell], minlength=int(numbers.max(initial=0)) + 1)[1:]
    total = np.bincount(numbers[shell], probability[shell], minlength=len(size) + 1)[1:]
    return np.asarray(np.clip(total / size, 0.0, 1.0))


def _rows(
    case: RimCase, model: str, scores: npt.NDArray[np.float64], found: npt.NDArray[np.bool_] | bool = True
) -> pd.DataFrame:
    keys = {"patient_id": case.patient_id, "visit": case.visit, "lesion_id": np.arange(1, len(scores) + 1)}
    decided = {"threshold": RIM_THRESHOLD, "rim": (scores >= RIM_THRESHOLD).astype(int), "found": found}
    return pd.DataFrame({**keys, "probability": scores, **decided, "model": model})


if __name__ == "__main__":
    sys.exit(main())
