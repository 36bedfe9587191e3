"""Rim+ lesions as a mask in the grid of the QSM, from a table of lesions that were called so."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.classification.rim.case_images import CaseImages, read_case
from nnunet_ms.classification.rim.cohort import RimCase
from nnunet_ms.classification.rim.lesion_boxes import BoxSettings, numbered_lesions
from nnunet_ms.errors import TableError
from nnunet_ms.images.volumes import write_volume


def read_numbered(case: RimCase, rows: pd.DataFrame, settings: BoxSettings) -> tuple[CaseImages, npt.NDArray[np.int32]]:
    """Read the images of a visit and number its lesions as the table does.

    Parameters
    ----------
    case : RimCase
    rows : pandas.DataFrame
        Of this visit, with `lesion_id` and `voxels`.
    settings : BoxSettings
        With which the lesions of the table were taken apart.

    Returns
    -------
    images : CaseImages
    numbers : (X, Y, Z) int array
        `lesion_id` in each lesion, 0 elsewhere.

    Raises
    ------
    TableError
        If a lesion has another size in the mask than in the table.
    """
    images = read_case(case, settings.qsm_unit)
    numbers = numbered_lesions(images, settings)
    ids = rows["lesion_id"].to_numpy(np.int64)
    sizes = np.bincount(numbers.ravel(), minlength=int(ids.max(initial=0)) + 1)[ids]
    told = rows["voxels"].to_numpy(np.int64) if "voxels" in rows else sizes
    if (sizes != told).any():
        first = int(np.flatnonzero(sizes != told)[0])
        raise TableError(
            f"{case.lesions}: lesion {ids[first]}: expected {told[first]} voxels as in lesions.csv, found "
            f"{sizes[first]}. Was the mask changed since? Measure the features again."
        )
    return images, numbers


def write_rim_mask(path: str | Path, images: CaseImages, numbers: npt.NDArray[np.int32], rows: pd.DataFrame) -> None:
    """Write the lesions that are called rim+ (`rim` of the rows is 1): `lesion_id` in each, 0 elsewhere, uint16."""
    rim = rows.loc[rows["rim"] == 1, "lesion_id"].to_numpy(np.int64)
    mask = np.where(np.isin(numbers, rim), numbers, 0).astype(np.uint16)
    write_volume(path, mask, images.grid.affine)
