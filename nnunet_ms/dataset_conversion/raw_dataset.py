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
from nnunet_ms.dataset_conversion.labels import (
    CHANGE_RULES,
    check_different,
    check_inside_brain,
    is_copied,
    label_of_change,
    read_label,
)
from nnunet_ms.dataset_conversion.resample import resample_onto
from nnunet_ms.dataset_conversion.splits import patient_folds
from nnunet_ms.errors import ConversionError
from nnunet_ms.images import Grid, check_same_grid, read_grid, read_volume, same_grid, write_volume
from nnunet_ms.outputs import remove_leftovers, whole_folder
from nnunet_ms.parallel import Failure, Outcome, Workers, map_cases
from nnunet_ms.tables import CASES, write_table

FILE_ENDING = ".nii.gz"
ENHANCING = 2  # label of enhancing lesions in the joint T1 task


@dataclass(frozen=True)
class CheckedCase:
    """A case whose files were read; `resampled` are channels not on the first channel's grid, `bytes` their sizes.

    `recoded` says that the label is no copy of a file: the mask holds floating-point numbers, or the label is made
    from several files. `remark` is for the user.
    """

    case: Case
    resampled: tuple[str, ...]
    recoded: bool
    bytes: int
    remark: str = ""


@dataclass(frozen=True)
class WriteOptions:
    """Everything that shapes a dataset besides its cases."""

    info: DatasetInfo
    channels: tuple[str, ...]
    labels: dict[str, int]
    test_patients: tuple[str, ...] = ()
    folds: int = 3
    seed: int = 0
    workers: Workers = 1


def check_cases(cases: Sequence[Case], workers: Workers = 1) -> Outcome[CheckedCase]:
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
    images = {channel: read_volume(path) for channel, path in case.images.items()}
    check_different({channel: image.data for channel, image in images.items()}, case.images)
    reference, *_ = images.values()
    grid = reference.grid if case.reference is None else read_grid(case.reference)
    resampled = tuple(
        name for name, image in images.items() if name in case.transforms or not same_grid(grid, image.grid)
    )
    recoded, remark = _check_label(case, grid)
    size = sum(path.stat().st_size for path in case.files().values())
    return CheckedCase(case, resampled, recoded, size, remark)


def _check_label(case: Case, grid: Grid) -> tuple[bool, str]:
    if case.label is None:
        return False, ""
    label, remark = read_label(case.label)
    check_same_grid(grid, label, str(case.reference or next(iter(case.images.values()))), str(label.path))
    if case.brain_mask is not None and case.label.rule not in CHANGE_RULES and label.data.max(initial=0) >= ENHANCING:
        check_inside_brain(label, ENHANCING, case.brain_mask)
    return not is_copied(case.label) or _stored_as_float(label.path), remark


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
    # nnU-Net cannot train on a case without its mask
    return {c.case_id: "test" if c.patient_id in wanted or c.label is None else "train" for c in cases}


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
        "site": case.site or None,
    }
    reference = case.reference or next(iter(case.images.values()))
    for index, (channel, path) in enumerate(case.images.items()):
        target = _target(folder / f"images{suffix}", f"{case.case_id}_{index:04d}")
        if channel in checked.resampled:
            resample_onto(reference, path, target, case.transforms.get(channel, ()))
        else:
            _copy(path, target)
    if case.label is not None:
        _write_label(checked, _target(folder / f"labels{suffix}", case.case_id), folder / f"images{suffix}")
    for name, path in case.files().items():
        row |= {f"source_{name}": _source_name(path), f"sha256_{name}": sha256(path)}
    return row


def _target(folder: Path, stem: str) -> Path:
    folder.mkdir(exist_ok=True)
    return folder / f"{stem}{FILE_ENDING}"


def _write_label(checked: CheckedCase, target: Path, images: Path) -> None:
    case, mask = checked.case, checked.case.label
    assert mask is not None
    if not checked.recoded:
        _copy(next(iter(mask.files.values())), target)
    elif mask.rule in CHANGE_RULES:
        baseline, followup = (images / f"{case.case_id}_{number:04d}{FILE_ENDING}" for number in (0, 1))
        data, grid = label_of_change(mask, baseline, followup, case.brain_mask)
        write_volume(target, data, grid.affine)
    else:
        label, _ = read_label(mask)
        write_volume(target, label.data, label.grid.affine)


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
    frame = pd.DataFrame(rows)
    masks = sorted(name.removeprefix("source_") for name in frame if name.startswith(f"source_{LABEL}"))
    pairs = [f"{kind}_{name}" for name in (*channels, *(masks or [LABEL])) for kind in ("source", "sha256")]
    site = ["site"] if frame["site"].notna().any() else []
    return frame.reindex(columns=[*CASES.names, "resampled", *site, *pairs]).sort_values("case_id")


def _dataset_json(patient_of: dict[str, str], roles: dict[str, str], options: WriteOptions) -> dict[str, object]:
    return {
        "name": options.info.name,
        "description": options.info.description,
        "citation": options.info.citation,
        "licence": options.info.licence,
        "channel_names": {str(i): name for i, name in enumerate(options.channels)},
        "labels": options.labels,
        "numTraining": sum(role == "train" for role in roles.values()),
        "file_ending": FILE_ENDING,
        "patients": dict(sorted(patient_of.items())),
    }


def _write_json(content: object, path: Path) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
