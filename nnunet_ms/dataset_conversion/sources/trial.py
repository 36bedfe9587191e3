"""Source `trial`: a manifest CSV with one row per visit and the paths of its images and masks, where there are any."""

from collections.abc import Sequence
from os.path import normpath
from pathlib import Path

import pandas as pd

from nnunet_ms.dataset_conversion.cases import JOINT_T1, Case, DatasetInfo, Mask, choose
from nnunet_ms.dataset_conversion.rim_masks import PARTS, TARGET, with_rim_mask
from nnunet_ms.dataset_conversion.sources.absence import way_without
from nnunet_ms.dataset_conversion.sources.archive import LayoutError, walk_files
from nnunet_ms.dataset_conversion.sources.source import Request, Source
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.names import as_stored
from nnunet_ms.tables import MANIFEST, REFERENCE_MASKS, SEQUENCES, read_table


def find_cases(request: Request) -> list[Case]:
    """Cases of a manifest, one per row; only the table is read. A row without a mask is there to be predicted.

    Raises
    ------
    ConversionError
        If a channel or the target is unknown, a channel has no column, or a path leaves the manifest's folder.
    TableError
        If the manifest has an unknown column, a bad value, or a visit twice.

    Examples
    --------
    >>> [case.case_id for case in find_cases(SOURCE.request("study/manifest.csv", "flair,t1"))]
    ['P1_base', 'P2_base', 'P3_base']
    """
    source, channels, target = request.path, request.channels, request.target
    if source.is_dir():
        raise LayoutError(
            f"{source}: expected a manifest, a CSV with one row per visit, found a folder.",
            source,
            walk_files(source)[0],
        )
    choose(channels, SEQUENCES, "--channels", source)
    targets = choose(target.split(","), (*REFERENCE_MASKS, TARGET), "--target", source)
    if len(targets) > 1 and target != JOINT_T1:
        raise ConversionError(f"{source}: --target {target}: expected one mask, or {JOINT_T1}. Correct --target.")
    manifest = read_table(source, MANIFEST)
    empty = [name for name in channels if name not in manifest or manifest[name].isna().all()]
    if set(empty) - set(request.may_lack) or len(empty) == len(channels) or manifest.empty:
        enough = not set(channels) - set(request.may_lack)
        raise ConversionError(
            f"{source}: expected paths in columns {list(channels)}, found none in {empty or 'any of them'}. "
            + ("Fill in one of them for each visit." if enough else "Fill them in, or choose other --channels.")
        )
    masks = PARTS if target == TARGET else targets
    for name in (*channels, *masks, "brain_mask"):
        if name in manifest:
            _check_inside(manifest[name], name, source)
    return [_case(row, request, targets) for row in manifest.to_dict("records")]


def _check_inside(paths: pd.Series, column: str, source: Path) -> None:
    """Raise ConversionError for a path that is absolute or climbs out (links inside the folder may point anywhere)."""
    for row, path in enumerate(paths, start=1):
        if isinstance(path, str) and (Path(path).is_absolute() or normpath(path).startswith("..")):
            raise ConversionError(
                f"{source}: row {row}, column {column}: expected a path inside the manifest's folder, found {path}. "
                "Put the manifest above the images and give relative paths."
            )


def _case(row: dict[str, object], request: Request, targets: Sequence[str]) -> Case:
    source, channels = request.path, request.channels
    images = {name: as_stored(source.parent / str(row[name])) for name in channels if row.get(name) is not None}
    masks = [name for name in (PARTS if targets == [TARGET] else targets) if row.get(name) is not None]
    wanted = targets if masks and targets != [TARGET] else []
    missing = [name for name in (*channels, *wanted) if row.get(name) is None and name not in request.may_lack]
    problem = ""
    if missing:
        problem = (
            f"{source}: patient {row['patient_id']} visit {row['visit']}: no path for {missing}. "
            "Fill it in, remove the row, or choose other --channels or --target."
            f"{way_without(missing, images, request)}"
        )
    files = {name: as_stored(source.parent / str(row[name])) for name in masks}
    brain = row.get("brain_mask")
    case = Case(
        patient_id=str(row["patient_id"]),
        visit=str(row["visit"]),
        week=None if pd.isna(row["week"]) else float(str(row["week"])),
        images=images,
        label=_mask(files) if files and targets != [TARGET] else None,
        problem=problem,
        site=str(row.get("site") or ""),
        brain_mask=None if brain is None else as_stored(source.parent / str(brain)),
    )
    return with_rim_mask(case, files) if targets == [TARGET] else case


def _mask(files: dict[str, Path]) -> Mask:
    """One mask; two give a label each; the same path in both columns is one mask that holds 0, 1 and 2."""
    if len(files) == 1:
        return Mask(files)
    if len(set(files.values())) == 1:
        return Mask({JOINT_T1.replace(",", "_"): next(iter(files.values()))}, values={0: 0, 1: 1, 2: 2})
    return Mask(files, "classes")


SOURCE = Source(
    kind="trial",
    info=DatasetInfo(name="Trial", description="Trial visits listed in a manifest"),
    channels=("flair", "t2", "t1"),
    target="t2_lesions",
    find=find_cases,
)
