"""Source `trial`: a manifest CSV with one row per visit and the paths of its images and masks."""

from collections.abc import Sequence
from os.path import normpath
from pathlib import Path

import pandas as pd

from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo, choose
from nnunet_ms.errors import ConversionError
from nnunet_ms.tables import MANIFEST, REFERENCE_MASKS, SEQUENCES, read_table

INFO = DatasetInfo(name="Trial", description="Trial visits listed in a manifest")


def find_cases(source: Path, channels: Sequence[str], target: str) -> list[Case]:
    """Cases of a manifest, one per row; only the table is read.

    Raises
    ------
    ConversionError
        If a channel or the target is unknown or has no column, or a path leaves the manifest's folder.
    TableError
        If the manifest has an unknown column, a bad value, or a visit twice.
    """
    choose(channels, SEQUENCES, "--channels", source)
    choose([target], REFERENCE_MASKS, "--target", source)
    manifest = read_table(source, MANIFEST)
    empty = [name for name in (*channels, target) if name not in manifest or manifest[name].isna().all()]
    if empty or manifest.empty:
        raise ConversionError(
            f"{source}: expected paths in columns {[*channels, target]}, found none in {empty or 'any of them'}. "
            "Fill them in, or choose other --channels or --target."
        )
    for name in (*channels, target):
        _check_inside(manifest[name], name, source)
    return [_case(row, source, channels, target) for row in manifest.to_dict("records")]


def _check_inside(paths: pd.Series, column: str, source: Path) -> None:
    """Raise ConversionError for a path that is absolute or climbs out (links inside the folder may point anywhere)."""
    for row, path in enumerate(paths, start=1):
        if isinstance(path, str) and (Path(path).is_absolute() or normpath(path).startswith("..")):
            raise ConversionError(
                f"{source}: row {row}, column {column}: expected a path inside the manifest's folder, found {path}. "
                "Put the manifest above the images and give relative paths."
            )


def _case(row: dict[str, object], source: Path, channels: Sequence[str], target: str) -> Case:
    images = {name: source.parent / str(row[name]) for name in channels if row[name] is not None}
    missing = [name for name in (*channels, target) if row[name] is None]
    problem = ""
    if missing:
        problem = (
            f"{source}: patient {row['patient_id']} visit {row['visit']}: no path for {missing}. "
            "Fill it in, remove the row, or choose other --channels or --target."
        )
    label = None if row[target] is None else source.parent / str(row[target])
    return Case(str(row["patient_id"]), str(row["visit"]), float(str(row["week"])), images, label, problem)
