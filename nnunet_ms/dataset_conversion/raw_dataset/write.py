"""Write checked cases as an nnU-Net raw dataset that appears only when it is complete, and goes on after a kill."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.dataset_conversion.cases import LABEL, Case, DatasetInfo, Pair
from nnunet_ms.dataset_conversion.checks.check import CheckedCase
from nnunet_ms.dataset_conversion.labels import CHANGE_RULES, label_of_change, read_label
from nnunet_ms.dataset_conversion.new_lesions import WrittenPair, write_pair
from nnunet_ms.dataset_conversion.pairs import PairOptions
from nnunet_ms.dataset_conversion.preparation import baselines_of, write_preprocessed
from nnunet_ms.dataset_conversion.raw_dataset.copying import checksum, copy_with_checksum
from nnunet_ms.dataset_conversion.raw_dataset.existing import SPLITS, Existing, copy_files, extended_folds
from nnunet_ms.dataset_conversion.raw_dataset.folds import Fold
from nnunet_ms.dataset_conversion.raw_dataset.roles import assign_roles, make_folds
from nnunet_ms.dataset_conversion.resume_notes import fingerprint, recall, remember
from nnunet_ms.dataset_conversion.steps import NO_STEPS, Steps
from nnunet_ms.errors import ConversionError, MachineError
from nnunet_ms.images.appearance import appearance_of, summary_of
from nnunet_ms.images.forms import NOISE_MM, largest_distance
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.headers import plain_files, write_plain
from nnunet_ms.images.resample import resample_onto
from nnunet_ms.images.volumes import Grid, read_grid, read_volume, write_volume
from nnunet_ms.images.zero_level import read_image
from nnunet_ms.outputs import Unfinished
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.tables import CASES, write_table

FILE_ENDING = ".nii.gz"
ABSENT = "absent"  # column of cases.csv, and key of dataset.json, which trainers read
RAS = "RAS"  # key `axes` of dataset.json: images turned to right, anterior, superior
PAIR_COLUMNS = (
    "baseline_visit",
    "baseline_week",
    "registration",
    "correlation_before",
    "correlation_after",
    "flag",
    "lesions_lost",
)


@dataclass(frozen=True)
class WriteOptions:
    """Everything that shapes a dataset besides its cases."""

    info: DatasetInfo
    channels: tuple[str, ...]
    labels: dict[str, int]
    test_patients: tuple[str, ...] = ()
    folds: int | None = None  # None: three, or as many as there are training patients
    seed: int = 0
    workers: Workers = 1
    steps: Steps = NO_STEPS
    roots: Mapping[str, Path] = field(default_factory=dict)  # source -> its folder: cases.csv names files below it
    existing: Existing | None = None  # the dataset that is added to
    pairs: PairOptions | None = None
    accept: tuple[str, ...] = ()  # of `plausibility.ACCEPTABLE`: what is seen only when pairs are written


def write_raw_dataset(
    checked: Sequence[CheckedCase],
    work: Unfinished,
    options: WriteOptions,
    tell: Callable[[Sequence[Failure]], None],
) -> list[Failure]:
    """Fill a folder with imagesTr, labelsTr, imagesTs, labelsTs, dataset.json, cases.csv and splits_final.json.

    Images on the first channel's grid are copied byte for byte, others are resampled onto it; with `options.steps`
    all are processed, and `provenance/` says how. Cases that an earlier, killed run had written are kept. There are
    folds where there are training patients.

    Returns
    -------
    list of Failure
        Cases whose preparation failed (a registration, say), or whose files changed since the check; they are left
        out. `tell` gets them before anything that follows from them is found out, such as too few patients for the
        folds.

    Raises
    ------
    ConversionError
        If no case is left, there are too few patients for the folds that were asked for, or unknown test patients.
    MachineError
        If there is too little space, or the machine gives out.
    """
    roles = roles_of([c.case for c in checked], options)
    folds_of({c.case.case_id: c.case.patient_id for c in checked}, roles, options)  # too few patients: said now
    check_space(checked, work.folder)
    if options.existing is not None:
        copy_files(options.existing, work.folder)
    baselines = baselines_of(checked, options.steps)
    # each job carries its own part only: on a cluster a table of all cases would travel with every one
    jobs = [(c, roles[c.case.case_id], baselines.get(c.case.case_id)) for c in checked]
    write = partial(_write_or_recall, work=work, options=options)
    outcome = map_cases(write, jobs, lambda job: job[0].case.case_id, "write", options.workers)
    tell(outcome.failures)
    good = outcome.results
    if not good:
        raise ConversionError(
            f"{work.folder.name}: none of {len(checked)} cases could be written; nothing is. Mend what the cases above "
            "say, or leave the step out that failed."
        )
    patient_of = {written["row"]["case_id"]: written["row"]["patient_id"] for written in good}
    folds = folds_of(patient_of, roles, options)
    old = options.existing
    kept = set() if old is None else set(old.files) - {"dataset.json", "cases.csv", SPLITS}
    _remove_others(work.folder, kept | {name for written in good for name in written["files"]})
    rows = [*([] if old is None else old.rows()), *(written["row"] for written in good)]
    write_table(_cases_table(rows, options.channels), work.folder / "cases.csv")
    shown = {written["row"]["case_id"]: written["appearance"] for written in good}
    content = _dataset_json(patient_of, roles, options)
    content |= _absent_of(rows)
    content |= {**_axes_of(options), **_spacing_of(options)}
    content |= summary_of(shown, roles, None if old is None else old.content.get("appearance"))
    _write_json(content, work.folder / "dataset.json")
    if folds:
        _write_json(folds, work.folder / SPLITS)
    return outcome.failures


def _axes_of(options: WriteOptions) -> dict[str, str]:
    """Axes of every image, where they all have the same: whoever predicts later turns his images to them."""
    old = options.existing
    is_same = options.steps.reorients and (old is None or old.content.get("axes") == RAS)
    return {"axes": RAS} if is_same else {}


def _spacing_of(options: WriteOptions) -> dict[str, Any]:
    """Voxels to which every image was resampled: intensities are normalised on them, so a prediction needs them too."""
    old, spacing = options.existing, options.steps.spacing
    asked = list(spacing) if isinstance(spacing, tuple | list) else spacing
    is_same = asked and (old is None or old.content.get("spacing") == asked)
    return {"spacing": asked} if is_same else {}


def roles_of(cases: Sequence[Case], options: WriteOptions) -> dict[str, str]:
    """Case id -> "train" or "test"; patients of a dataset that is added to stay what they are."""
    old = options.existing
    return assign_roles(cases, options.test_patients, frozenset() if old is None else old.patients("test"))


def folds_of(patient_of: Mapping[str, str], roles: Mapping[str, str], options: WriteOptions) -> list[Fold]:
    """Folds of the cases whose role is to train, old ones too; `make_folds` says when there are none, or an error.

    Folds of a dataset that is added to are extended, unless others are asked for by number.
    """
    old = options.existing
    trained = {case: patient for case, patient in patient_of.items() if roles[case] == "train"}
    if old is not None:
        trained |= dict(old.cases.loc[old.cases["role"] == "train", ["case_id", "patient_id"]].to_numpy())
        more = None if options.folds is not None else extended_folds(old.folds, trained, options.seed)
        if more is not None:
            return more
    return make_folds(trained, options.folds, options.seed)


def check_writable(folder: Path) -> None:
    """Raise ConversionError if the first folder above `folder` that exists cannot be written."""
    place = next(parent for parent in folder.absolute().parents if parent.exists())
    if not os.access(place, os.W_OK):
        raise ConversionError(f"{place}: no permission to write. Choose another --raw or change its owner.")


def check_space(checked: Sequence[CheckedCase], folder: Path) -> None:
    """Raise MachineError if the disk has less room than the sources take, less what is written already.

    Notes on what was checked are then kept.
    """
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    needed, free = sum(c.bytes for c in checked) - there, shutil.disk_usage(folder).free
    if needed > free:
        raise MachineError(
            f"{folder.parent}: the dataset needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free. "
            "Free space or choose another --raw."
        )


def _write_or_recall(
    job: tuple[CheckedCase, str, Case | None], work: Unfinished, options: WriteOptions
) -> dict[str, Any]:
    """Write one case unless it is there; return its row of cases.csv and its files with their sizes."""
    checked, role, baseline = job
    case = checked.case
    how = {"role": role, "resampled": checked.resampled, "recoded": checked.recoded, "steps": asdict(options.steps)}
    how["rewritten"] = dict(checked.rewritten)
    if options.pairs is not None:
        how |= {"pairs": asdict(options.pairs), "accept": options.accept}
    if baseline is not None:
        how["baseline"] = fingerprint(baseline, {})
    note, key = work.memory / f"{case.case_id}.written.json", fingerprint(case, how)
    found = recall(note, key)
    if found is not None and all(_has_size(work.folder / name, size) for name, size in found["files"].items()):
        return found
    row, paths = _write_case(checked, role, work.folder, options, baseline)
    written = {
        "row": row,
        "appearance": _appearance(checked, paths, options),
        "files": {path.relative_to(work.folder).as_posix(): path.stat().st_size for path in paths},
    }
    remember(note, key, written)
    return written


def _appearance(checked: CheckedCase, paths: Sequence[Path], options: WriteOptions) -> dict[str, Any]:
    """What the written images show, per channel: as the check saw them, measured anew where they were changed."""
    if checked.case.pair is not None:  # differences and normalised images: a new scan is not like them
        return {}
    seen = dict(checked.appearance)
    names = channels_of(checked.case, options)
    for channel, path in zip(names, paths, strict=False):
        if channel not in checked.case.absent and (options.steps.any() or channel in checked.resampled):
            here = appearance_of(read_volume(path))
            seen |= {channel: here.as_json()} if here.shows_a_head else {}
    return seen


def channels_of(case: Case, options: WriteOptions) -> tuple[str, ...]:
    """Channels of a case's files, in order: those of the dataset, also where the case lacks some."""
    return options.channels if case.pair is not None or case.absent else tuple(case.images)


def _write_absent(absent: Sequence[str], targets: Mapping[str, Path]) -> None:
    """Write zeros for channels that a case lacks, on the grid of those that it has."""
    present = next(path for channel, path in targets.items() if channel not in absent)
    grid = read_grid(present)
    for channel in absent:
        write_volume(targets[channel], np.zeros(grid.shape, dtype=np.uint8), grid.affine)


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _write_case(
    checked: CheckedCase, role: str, folder: Path, options: WriteOptions, baseline: Case | None
) -> tuple[dict[str, object], list[Path]]:
    case = checked.case
    images, labels = (folder / f"{name}{'Tr' if role == 'train' else 'Ts'}" for name in ("images", "labels"))
    names = channels_of(case, options)
    targets = {channel: images / f"{case.case_id}_{index:04d}{FILE_ENDING}" for index, channel in enumerate(names)}
    label = labels / f"{case.case_id}{FILE_ENDING}"
    for place in (images, *([labels] if case.label is not None else [])):
        place.mkdir(exist_ok=True)
    row: dict[str, object] = {
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "visit": case.visit or "1",
        "week": case.week,
    }
    row |= {"role": role, "resampled": " ".join(checked.resampled) or None, "site": case.site or None}
    row |= {"source": case.source} if case.source else {}
    row |= {"rewritten": "; ".join(f"{name}: {why}" for name, why in checked.rewritten.items()) or None}
    paths = [*targets.values(), *([label] if case.label is not None else [])]
    sums: dict[str, str] = {}
    record = folder / "provenance" / f"{case.case_id}.json"
    if case.pair is not None and options.pairs is not None:
        row |= {"resampled": None, "rewritten": None}
        row |= _pair_columns(
            case.pair, write_pair(case, targets, label, record, options.steps, options.pairs, options.accept)
        )
        paths.append(record)
    elif options.steps.any():
        steps = write_preprocessed(case, targets, label, record, options.steps, baseline)
        row |= {"resampled": None, "rewritten": None, "steps": " ".join(steps)}
        paths.append(record)
    else:
        sums = _write_images(checked, targets) | _write_label(checked, label, targets)
    if case.absent:
        _write_absent(case.absent, targets)
        row |= {ABSENT: " ".join(case.absent)}
    for name, path in case.files().items():
        row |= {
            f"source_{name}": _source_name(path, case, options.roots),
            f"sha256_{name}": sums.get(name) or checksum(path),
        }
    return row, paths


def _pair_columns(pair: Pair, written: WrittenPair) -> dict[str, object]:
    """What cases.csv says of a pair besides its follow-up's place in the trial."""
    return {
        "steps": written.steps,
        "baseline_visit": pair.baseline.visit,
        "baseline_week": pair.baseline.week,
        "registration": written.registration,
        "correlation_before": written.correlation_before,
        "correlation_after": written.correlation_after,
        "flag": written.flag or None,
        "lesions_lost": written.lesions_lost or None,
    }


def _write_images(checked: CheckedCase, targets: Mapping[str, Path]) -> dict[str, str]:
    """Write the channels; return the checksums of the sources that were copied."""
    case = checked.case
    reference, sums = _reference(case), {}
    for channel, path in case.images.items():
        if channel in checked.resampled:
            with tempfile.TemporaryDirectory() as aside, plain_files([reference, path], Path(aside)) as (fixed, moving):
                if channel in checked.rewritten:  # not 0 outside
                    moving = Path(aside) / "changed.nii.gz"
                    write_plain(path, moving, read=read_image)
                resample_onto(fixed, moving, targets[channel], case.transforms.get(channel, ()))
        elif channel in checked.rewritten:
            write_plain(path, targets[channel], read_grid(reference), read_image)
        else:
            sums[channel] = copy_with_checksum(path, targets[channel])
    return sums


def _reference(case: Case) -> Path:
    return case.reference or next(iter(case.images.values()))


def _write_label(checked: CheckedCase, target: Path, images: Mapping[str, Path]) -> dict[str, str]:
    case, mask = checked.case, checked.case.label
    if mask is None:
        return {}
    if not checked.recoded and LABEL not in checked.rewritten:
        return {LABEL: copy_with_checksum(next(iter(mask.files.values())), target)}
    if mask.rule in CHANGE_RULES:
        baseline, followup = list(images.values())[:2]
        data, grid = label_of_change(mask, baseline, followup, case.brain_mask)
        write_volume(target, data, _grid_of_label(checked, grid).affine)
    else:
        label, _ = read_label(mask)
        label = onto_grid(label, read_grid(_reference(case)), str(_reference(case)))
        write_volume(target, label.data, _grid_of_label(checked, label.grid).affine)
    return {}


def _grid_of_label(checked: CheckedCase, own: Grid) -> Grid:
    """The grid of the images where the label's own differs by more than what float32 does to one affine."""
    image = read_grid(_reference(checked.case))
    return own if largest_distance(own.shape, own.affine, image.affine) <= NOISE_MM else image


def _source_name(path: Path, case: Case, roots: Mapping[str, Path]) -> str:
    """Path below the source, its name before it where there are several; no path of this machine."""
    root = roots.get(case.source, Path())
    below = path.relative_to(root).as_posix() if path.is_relative_to(root) else "/".join(path.parts[-2:])
    return f"{case.source}/{below}" if case.source else below


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove what an earlier run with other options had written."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(folder).as_posix() not in names:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _cases_table(rows: Sequence[dict[str, object]], channels: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    masks = sorted(name.removeprefix("source_") for name in frame if name.startswith(f"source_{LABEL}"))
    images = [name for name in channels if f"source_{name}" in frame] or [
        name.removeprefix("source_")
        for name in frame
        if name.startswith("source_") and name.removeprefix("source_") not in masks
    ]
    pairs = [f"{kind}_{name}" for name in (*images, *(masks or [LABEL])) for kind in ("source", "sha256")]
    rewritten = ["rewritten"] if frame["rewritten"].notna().any() else []
    site = ["site"] if frame["site"].notna().any() else []
    steps = [name for name in (ABSENT, "steps", *PAIR_COLUMNS) if name in frame]
    source = ["source"] if "source" in frame else []
    columns = [*CASES.names, "resampled", *rewritten, *steps, *site, *source, *pairs]
    more = [name for name in frame if name not in (*columns, "site", "rewritten")]  # of a dataset that is added to
    return frame.reindex(columns=[*columns, *more]).sort_values("case_id")


def _dataset_json(patient_of: dict[str, str], roles: dict[str, str], options: WriteOptions) -> dict[str, object]:
    old = options.existing
    training = sum(roles[case] == "train" for case in patient_of)
    if old is not None:
        content = dict(old.content)
        patients = {**content.get("patients", {}), **patient_of}
        joined = {
            name: "; ".join(dict.fromkeys(filter(None, (content.get(name, ""), getattr(options.info, name)))))
            for name in ("description", "citation", "licence")
        }
        training += int((old.cases["role"] == "train").sum())
        return {**content, **joined, "numTraining": training, "patients": dict(sorted(patients.items()))}
    return {
        "name": options.info.name,
        "description": options.info.description,
        "citation": options.info.citation,
        "licence": options.info.licence,
        "channel_names": {str(i): name for i, name in enumerate(options.channels)},
        "labels": options.labels,
        "numTraining": training,
        "file_ending": FILE_ENDING,
        **({} if options.pairs is None else {"pairs": asdict(options.pairs)}),
        "patients": dict(sorted(patient_of.items())),
    }


def _absent_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """What dataset.json says of cases that lack channels; nothing where none does."""
    lacking = {str(row["case_id"]): str(row[ABSENT]).split() for row in rows if row.get(ABSENT)}
    return {ABSENT: dict(sorted(lacking.items()))} if lacking else {}


def _write_json(content: object, path: Path) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
