"""Check cases, then write them as an nnU-Net raw dataset that appears only when it is complete."""

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from nnunet_ms.dataset_conversion.cases import LABEL, Case, DatasetInfo
from nnunet_ms.dataset_conversion.resample import resample_onto
from nnunet_ms.dataset_conversion.splits import patient_folds
from nnunet_ms.errors import ConversionError
from nnunet_ms.images import check_same_grid, read_mask, read_volume, same_grid, write_volume
from nnunet_ms.outputs import remove_leftovers, whole_folder
from nnunet_ms.parallel import Failure, Outcome, map_cases
from nnunet_ms.tables import CASES, write_table

FILE_ENDING = ".nii.gz"
LABELS = {"background": 0, "lesion": 1}


@dataclass(frozen=True)
class CheckedCase:
    """A case whose files were read; `resampled` are channels not on the first channel's grid, `bytes` their sizes.

    `recoded` says that the mask holds 0 and 1 as floating-point numbers and is written anew as uint8.
    """

    case: Case
    resampled: tuple[str, ...]
    recoded: bool
    bytes: int


@dataclass(frozen=True)
class WriteOptions:
    """Everything that shapes a dataset besides its cases."""

    info: DatasetInfo
    channels: tuple[str, ...]
    test_patients: tuple[str, ...] = ()
    folds: int = 3
    seed: int = 0
    workers: int = 1


def check_cases(cases: Sequence[Case], workers: int = 1) -> Outcome[CheckedCase]:
    """Read every file once: geometry, voxel type, NaN, label values. Bad cases become failures, the others go on."""
    return map_cases(check_case, cases, name=lambda case: case.case_id, label="check", workers=workers)


def check_case(case: Case) -> CheckedCase:
    """Check one case.

    Raises
    ------
    ConversionError
        If the converter already knew a problem with it.
    ImageError
        If a file is missing, damaged, not 3-D, holds NaN, the mask holds other values than 0 and 1, or lies on
        another grid than the first channel.
    """
    if case.problem:
        raise ConversionError(case.problem)
    grids = {channel: read_volume(path).grid for channel, path in case.images.items()}
    reference, *others = grids
    recoded = False
    if case.label is not None:
        mask = read_mask(case.label)
        check_same_grid(grids[reference], mask, str(case.images[reference]), str(case.label))
        recoded = _stored_as_float(case.label)
    resampled = tuple(channel for channel in others if not same_grid(grids[reference], grids[channel]))
    size = sum(path.stat().st_size for path in case.files().values())
    return CheckedCase(case, resampled, recoded, size)


def write_raw_dataset(checked: Sequence[CheckedCase], folder: Path, options: WriteOptions, *, overwrite: bool) -> None:
    """Write `folder` with imagesTr, labelsTr, imagesTs, labelsTs, dataset.json, cases.csv and splits_final.json.

    Images on the first channel's grid are copied byte for byte, others are resampled onto it. The folder appears when
    everything is in it; a killed run leaves a hidden folder that the next run removes.

    Raises
    ------
    ConversionError
        If there are too few patients for the folds, unknown test patients, too little space, or a file fails to write.
    """
    roles = assign_roles([c.case for c in checked], options.test_patients)
    patient_of = {c.case.case_id: c.case.patient_id for c in checked}
    folds = patient_folds(
        {case: patient for case, patient in patient_of.items() if roles[case] == "train"}, options.folds, options.seed
    )
    remove_leftovers(folder)
    _check_space(checked, folder)
    with whole_folder(folder, replace=overwrite) as aside:
        write = partial(_write_case, roles=roles, folder=aside)
        outcome = map_cases(write, checked, lambda c: c.case.case_id, "write", options.workers)
        _raise_first(outcome.failures, folder)
        write_table(_cases_table(outcome.results, options.channels), aside / "cases.csv")
        _write_json(_dataset_json(patient_of, roles, options), aside / "dataset.json")
        _write_json(folds, aside / "splits_final.json")


def assign_roles(cases: Sequence[Case], test_patients: Iterable[str]) -> dict[str, str]:
    """Case id -> "train" or "test".

    Raises
    ------
    ConversionError
        If a test patient is not among the cases.
    """
    wanted = set(test_patients)
    unknown = wanted - {case.patient_id for case in cases}
    if unknown:
        raise ConversionError(
            f"--test-patients: {sorted(unknown)} are not among the {len({c.patient_id for c in cases})} patients that "
            "can be converted. Correct the list."
        )
    return {case.case_id: "test" if case.patient_id in wanted else "train" for case in cases}


def sha256(path: Path) -> str:
    """Checksum of a file, as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _stored_as_float(path: Path) -> bool:
    return read_volume(path).data.dtype.kind == "f"


def _check_space(checked: Sequence[CheckedCase], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(folder.parent, os.W_OK):
        raise ConversionError(f"{folder.parent}: no permission to write. Choose another --raw or change its owner.")
    needed, free = sum(c.bytes for c in checked), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise ConversionError(
            f"{folder.parent}: the dataset needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free. "
            "Free space or choose another --raw."
        )


def _raise_first(failures: Sequence[Failure], folder: Path) -> None:
    if failures:
        first = failures[0]
        raise ConversionError(
            f"{folder}: nothing written, because case {first.case} could not be: {first.reason}. "
            f"({len(failures)} such cases) {first.traceback}"
        )


def _write_case(checked: CheckedCase, roles: dict[str, str], folder: Path) -> dict[str, object]:
    """Write one case and return its row of cases.csv."""
    case = checked.case
    suffix = "Tr" if roles[case.case_id] == "train" else "Ts"
    row: dict[str, object] = {
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "visit": case.visit or "1",
        "week": case.week,
        "role": roles[case.case_id],
        "resampled": " ".join(checked.resampled) or None,
    }
    reference = next(iter(case.images.values()))
    for index, (channel, path) in enumerate(case.files().items()):
        stem = f"labels{suffix}/{case.case_id}" if channel == LABEL else f"images{suffix}/{case.case_id}_{index:04d}"
        target = folder / f"{stem}{FILE_ENDING}"
        target.parent.mkdir(exist_ok=True)
        if channel in checked.resampled:
            resample_onto(reference, path, target)
        elif channel == LABEL and checked.recoded:
            mask = read_mask(path)
            write_volume(target, mask.data, mask.grid.affine)
        else:
            _copy(path, target)
        row |= {f"source_{channel}": _source_name(path), f"sha256_{channel}": sha256(path)}
    return row


def _source_name(path: Path) -> str:
    """Return the last two parts: enough to find the file in its source, and no path of this machine."""
    return "/".join(path.parts[-2:])


def _copy(source: Path, target: Path) -> None:
    if source.name.endswith(".gz"):
        shutil.copyfile(source, target)
        return
    with source.open("rb") as raw, target.open("wb") as stream, gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed:
        shutil.copyfileobj(raw, packed)


def _cases_table(rows: Sequence[dict[str, object]], channels: Sequence[str]) -> pd.DataFrame:
    pairs = [f"{kind}_{name}" for name in (*channels, LABEL) for kind in ("source", "sha256")]
    return pd.DataFrame(rows).reindex(columns=[*CASES.names, "resampled", *pairs]).sort_values("case_id")


def _dataset_json(patient_of: dict[str, str], roles: dict[str, str], options: WriteOptions) -> dict[str, object]:
    return {
        "name": options.info.name,
        "description": options.info.description,
        "citation": options.info.citation,
        "licence": options.info.licence,
        "channel_names": {str(i): name for i, name in enumerate(options.channels)},
        "labels": LABELS,
        "numTraining": sum(role == "train" for role in roles.values()),
        "file_ending": FILE_ENDING,
        "patients": dict(sorted(patient_of.items())),
    }


def _write_json(content: object, path: Path) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
