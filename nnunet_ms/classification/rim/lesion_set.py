"""Lesions to learn from or to judge: rows, features and patches of a folder that `nnunet-ms-rim features` wrote."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.arrays import Bools, Floats, SingleFloats
from nnunet_ms.errors import TableError
from nnunet_ms.table_files import read_csv_file
from nnunet_ms.tables import WEEK_LIMIT, Column, Table, read_table

KEYS = ("patient_id", "visit", "lesion_id")
LARGEST = 1e30  # of a feature: squares of larger ones overflow
GEOMETRY = (8, 32, 32)  # of patches, where there is no lesion and no word about it

# `nnunet-ms-rim features` writes all of them; who reads asks for the keys and the label, and may have more
DATASET_LESIONS = Table(
    "rim_lesions",
    (
        *(Column(name) for name in ("patient_id", "visit")),
        Column("week", "number", required=False, blank=True, maximum=WEEK_LIMIT),
        Column("lesion_id", "integer", minimum=1),
        Column("voxels", "integer", required=False, minimum=1),
        Column("volume_ml", "number", required=False, minimum=0),
        *(Column(name, "number", required=False) for name in ("x_mm", "y_mm", "z_mm")),
        Column("label", "number", blank=True, minimum=0, maximum=1),
        Column("padded_share", "number", required=False, minimum=0, maximum=1),
        Column("touches_border", "flag", required=False),
        Column("parts", "integer", required=False, minimum=1),
        Column("brain_from", required=False),
        Column("has_flair", "flag", required=False),
        Column("no_qsm_share", "number", required=False, blank=True, minimum=0, maximum=1),
    ),
    key=KEYS,
    extra=True,
)

# what `nnunet-ms-rim train` writes: one row per lesion and model, judged by the fold that has not seen the patient
CROSS_VALIDATION = Table(
    "cross-validation",
    (
        Column("patient_id"),
        Column("visit"),
        Column("lesion_id", "integer", minimum=1),
        Column("label", "number", blank=True, minimum=0, maximum=1),
        Column("probability", "number", minimum=0, maximum=1),
        Column("threshold", "number", minimum=0, maximum=1),
        Column("fold", "integer", minimum=0),
        Column("model"),
    ),
    key=("model", *KEYS),
)


@dataclass(frozen=True)
class LesionSet:
    """Lesions, one per row of each part.

    Attributes
    ----------
    rows : (n,) pandas.DataFrame
        `patient_id, visit, lesion_id, label` and what else the table of lesions has; label 1 rim+, 0 rim-, NaN unknown.
    features : (n, F) float array
        Radiomic features, as measured.
    names : tuple of F str
        Their names.
    patches : (n, 2, D, H, W) float32 array
        QSM and FLAIR.
    source : str
        Where they come from, for messages.
    settings : dict
        How they were found, cut and measured; empty where that is not known.
    """

    rows: pd.DataFrame
    features: Floats
    names: tuple[str, ...]
    patches: SingleFloats
    source: str = "lesions"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> Floats:
        """1 rim+, 0 rim-, NaN unknown; (n,)."""
        return self.rows["label"].to_numpy(np.float64)

    @property
    def rim(self) -> Bools:
        """Which are rim+; (n,)."""
        return np.asarray(self.labels == 1)

    @property
    def patients(self) -> list[str]:
        """Whose each is."""
        return [str(name) for name in self.rows["patient_id"]]

    @property
    def geometry(self) -> tuple[int, int, int]:
        """Cells of a patch, (D, H, W)."""
        _, _, depth, height, width = self.patches.shape
        return depth, height, width

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: npt.NDArray[np.generic]) -> "LesionSet":
        """Some of the lesions, by a mask or by places."""
        rows = self.rows[chosen] if chosen.dtype == bool else self.rows.iloc[chosen]
        return replace(
            self,
            rows=rows.reset_index(drop=True),
            features=self.features[chosen],
            patches=self.patches[chosen],
        )

    def columns(self, names: Sequence[str]) -> Floats:
        """Features by name, (n, len(names)).

        Raises
        ------
        TableError
            If one of them is not there.
        """
        place = {name: i for i, name in enumerate(self.names)}
        missing = [name for name in names if name not in place]
        if missing:
            raise TableError(
                f"{self.source}: expected the feature {missing[0]} and {len(names) - 1} others, {len(missing)} of them "
                f"are missing among {len(self.names)}. Measure the features again with this version."
            )
        return self.features[:, [place[name] for name in names]]


def read_lesion_set(folder: str | Path) -> LesionSet:
    """Read what `nnunet-ms-rim features` wrote.

    Parameters
    ----------
    folder : str or Path
        With `lesions.csv`, `features.csv` (the same lesions; see `KEYS`) and one file of patches per visit in `boxes`.

    Returns
    -------
    LesionSet
        In the order of `lesions.csv`; without lesions where no visit has any.

    Raises
    ------
    TableError
        If a file is missing or damaged, a feature is no finite number, or the three disagree about the lesions.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TableError(f"{folder}: expected a folder of nnunet-ms-rim features, found none. Run that step first.")
    rows = read_table(folder / "lesions.csv", DATASET_LESIONS)
    _check_labels(rows, folder / "lesions.csv")
    names, features = _read_features(folder / "features.csv", rows)
    settings = read_settings(folder)
    patches = _read_patches(folder, rows, settings.get("geometry", GEOMETRY))
    return LesionSet(rows, features, names, patches, str(folder), settings)


def read_settings(folder: str | Path) -> dict[str, Any]:
    """Settings that a features folder was made with; empty where it has none.

    Raises
    ------
    TableError
        If the file is no JSON.
    """
    path = Path(folder) / "settings.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TableError(
            f"{path}: expected JSON, found something else ({error}). Measure the features again."
        ) from error
    if not isinstance(found, dict):
        raise TableError(f"{path}: expected settings by name, found {found!r}. Measure the features again.")
    return found


def _check_labels(rows: pd.DataFrame, path: Path) -> None:
    strange = rows["label"].notna() & ~rows["label"].isin([0.0, 1.0])
    if strange.any():
        row = int(np.flatnonzero(strange)[0])
        raise TableError(
            f"{path}: row {row + 1}, column label: expected 1 (rim+), 0 (rim-) or a blank, found "
            f"{rows['label'].iloc[row]:g} ({int(strange.sum())} such rows). Correct it."
        )


def _read_features(path: Path, rows: pd.DataFrame) -> tuple[tuple[str, ...], Floats]:
    if not path.is_file():
        raise TableError(f"{path}: no such file. Run nnunet-ms-rim features to its end first.")
    frame = read_csv_file(path)
    missing = [name for name in KEYS if name not in frame]
    if missing:
        raise TableError(f"{path}: expected the columns {list(KEYS)}, {missing} missing. Measure the features again.")
    its_keys = frame[list(KEYS)].astype(str).to_numpy()
    expected = rows[list(KEYS)].astype(str).to_numpy()
    if its_keys.shape != expected.shape or (its_keys != expected).any():
        raise TableError(
            f"{path}: expected the {len(expected)} lesions of lesions.csv in their order, found "
            f"{len(its_keys)}{' others' if len(its_keys) == len(expected) else ''}. Measure the features again."
        )
    names = [str(name) for name in frame if name not in KEYS]
    return tuple(names), _numbers(frame[names], path)


def _numbers(frame: pd.DataFrame, path: Path) -> Floats:
    numbers = frame.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64).reshape(frame.shape)
    bad = ~(np.abs(numbers) < LARGEST)
    if bad.any():
        row, column = (int(place[0]) for place in np.nonzero(bad))
        raise TableError(
            f"{path}: row {row + 1}, column {frame.columns[column]}: expected a finite number, found "
            f"{frame.iloc[row, column]!r} ({int(bad.any(axis=1).sum())} such rows; squares overflow from {LARGEST:g} "
            "on). Leave that lesion out of lesions.csv and features.csv, or measure with a larger least size."
        )
    return numbers


def _read_patches(folder: Path, rows: pd.DataFrame, geometry: Sequence[int]) -> SingleFloats:
    """Patches of all visits, in the order of the rows; those of a visit stand together in its file."""
    found: dict[int, SingleFloats] = {}
    for (patient, visit), places in rows.groupby(["patient_id", "visit"], sort=False).indices.items():
        path = folder / "boxes" / f"{patient}_{visit}.npz"
        patches = _read_visit(path)
        if len(patches) != len(places):
            raise TableError(
                f"{path}: expected {len(places)} patches as lesions.csv has lesions of this visit, found "
                f"{len(patches)}. Measure the features of this visit again."
            )
        found.update(zip(places.tolist(), patches, strict=True))
    shapes = {patch.shape for patch in found.values()}
    if len(shapes) > 1:
        raise TableError(f"{folder}: expected patches of one size, found {sorted(shapes)}. Measure all visits alike.")
    if not found:
        return np.zeros((0, 2, *geometry), dtype=np.float32)
    return np.stack([found[place] for place in range(len(rows))])


def _read_visit(path: Path) -> SingleFloats:
    """(m, 2, D, H, W); never by pickle."""
    try:
        with np.load(path, allow_pickle=False) as file:
            patches = np.asarray(file["patches"], dtype=np.float32)
    except FileNotFoundError as error:
        raise TableError(f"{path}: no such file. Run nnunet-ms-rim features to its end first.") from error
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TableError(f"{path}: expected patches of lesions, cannot read them ({error}). Measure again.") from error
    if patches.ndim != 5 or patches.shape[1] != 2 or not np.isfinite(patches).all():
        raise TableError(
            f"{path}: expected finite patches (lesions, 2, D, H, W), found {patches.shape}. Measure this visit again."
        )
    return patches
