"""Optional preparation of the images, each step asked for by name and recorded per case.

Whatever the steps, each image is resampled at most once: alignment of a sequence, to the baseline visit, to the MNI152
template, new orientation and new voxel size are joined into one transform. Masks take the nearest neighbour.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import SimpleITK

from nnunet_ms.arrays import Matrix
from nnunet_ms.dataset_conversion.cases import Case, Mask, place_in_time
from nnunet_ms.dataset_conversion.checks.check import CheckedCase
from nnunet_ms.dataset_conversion.labels import CHANGE_RULES, label_of_change, read_label
from nnunet_ms.dataset_conversion.steps import Steps
from nnunet_ms.errors import ImageError
from nnunet_ms.images.bias_field import correct_bias
from nnunet_ms.images.brain_mask import given_mask, hd_bet_mask
from nnunet_ms.images.deepbet_brain import SOURCES, deepbet_mask
from nnunet_ms.images.grids import orientation_of, reoriented, respaced
from nnunet_ms.images.itk import resample, simpleitk_threads, to_itk, voxels
from nnunet_ms.images.registration import Registration, register
from nnunet_ms.images.resample import smoothed
from nnunet_ms.images.template import mni152, register_to_mni
from nnunet_ms.images.volumes import Grid, Volume, read_grid, read_volume, same_grid, write_volume
from nnunet_ms.images.zero_level import level_outside, read_image, with_zero_outside
from nnunet_ms.outputs import whole_file

Number = TypeVar("Number", bound=np.number[Any])


def baselines_of(checked: Sequence[CheckedCase], steps: Steps) -> dict[str, Case]:
    """Case id -> the patient's first visit, see `place_in_time`, for each later visit; empty without such a step."""
    if not steps.through_baseline:
        return {}
    first: dict[str, Case] = {}
    cases = sorted((one.case for one in checked), key=place_in_time)
    for case in cases:
        first.setdefault(case.patient_id, case)
    return {case.case_id: first[case.patient_id] for case in cases if first[case.patient_id] is not case}


def write_preprocessed(
    case: Case, targets: Mapping[str, Path], label: Path, record: Path, steps: Steps, baseline: Case | None
) -> list[str]:
    """Write the images and the mask of a case, and `record`: every step with its settings, the transforms, the grids.

    Returns
    -------
    list of str
        Names of the steps, in their order.

    Raises
    ------
    ImageError
        If a registration, the bias field or HD-BET fails.
    """
    with simpleitk_threads(steps.threads):
        log: list[dict[str, Any]] = []
        volumes = zero_outside({channel: read_volume(path) for channel, path in case.images.items()}, log)
        grid = next(iter(volumes.values())).grid
        images = {name: to_itk(volume.data.astype(np.float32), volume.grid) for name, volume in volumes.items()}
        brain = brain_of(case, next(iter(volumes.values())), steps, log)
        if steps.n4:
            images = without_bias(images, volumes, grid, brain, log)
        to_reference = aligned(images, case.images, steps, log)
        with naming(_reference(case), None if baseline is None else _reference(baseline)):
            to_visit = _onto_baseline(next(iter(images.values())), baseline, steps, log)
        frame = grid if baseline is None else read_grid(_reference(baseline))
        if steps.to_mni:
            to_visit = to_visit @ _from_mni(case if baseline is None else baseline, log)
            frame = mni152().grid
        target = target_grid(frame, steps, log)
        inside = (
            None
            if brain is None or not steps.strips
            else voxels(moved_onto(brain, grid, target, to_visit, is_label=True))
        )
        for channel, image in images.items():
            moved = moved_onto(image, volumes[channel].grid, target, to_reference[channel] @ to_visit, is_label=False)
            data = voxels(moved) if inside is None else voxels(moved) * (inside != 0)
            write_volume(targets[channel], data.astype(np.float32), target.affine)
        if case.label is not None:
            mask = _label(case, case.label)
            if steps.to_mni:
                _check_inside(mask, target, to_visit)
            moved = moved_onto(to_itk(mask.data, mask.grid), mask.grid, target, to_visit, is_label=True)
            write_volume(label, voxels(moved).astype(np.uint8), target.affine)
        _write_record(record, case, grid, target, to_visit, baseline, log)
        return [entry["step"] for entry in log]


def zero_outside(volumes: Mapping[str, Volume], log: list[dict[str, Any]]) -> dict[str, Volume]:
    """The images less what they are around the head, where that is one value and not 0."""
    levels = {channel: level_outside(volume.data) for channel, volume in volumes.items()}
    if told := {channel: level for channel, level in levels.items() if level}:
        log.append({"step": "zero_outside", "subtracted": told})
    return {channel: with_zero_outside(volume) for channel, volume in volumes.items()}


def back_to_source(
    data: npt.NDArray[Number], record: Mapping[str, Any], *, is_label: bool = True
) -> tuple[npt.NDArray[Number], Matrix]:
    """Bring a mask (X, Y, Z) from a prepared case's grid back to its source's; return voxels and affine.

    A map that is no label is interpolated linearly.
    """
    source, target = (
        Grid(tuple(record[name]["shape"]), np.array(record[name]["affine"])) for name in ("source_grid", "grid")
    )
    matrix = np.linalg.inv(np.array(record["target_to_source"]))
    moved = resample(to_itk(data, target), source, matrix, is_label=is_label)
    return voxels(moved).astype(data.dtype), source.affine


def _label(case: Case, mask: Mask) -> Volume:
    """Label of a case on its own grid; a mask of change is split by the two images as they were, unprepared."""
    if mask.rule not in CHANGE_RULES:
        return read_label(mask)[0]
    baseline, followup = list(case.images.values())[:2]
    data, grid = label_of_change(mask, baseline, followup, case.brain_mask)
    return Volume(data, grid, next(iter(mask.files.values())))


def _reference(case: Case) -> Path:
    return next(iter(case.images.values()))


def brain_of(case: Case, reference: Volume, steps: Steps, log: list[dict[str, Any]]) -> SimpleITK.Image | None:
    """Brain mask on the first channel's grid, for N4 and for stripping."""
    if steps.hd_bet:
        mask = hd_bet_mask(reference.data.astype(np.float32), reference.grid, reference.path)
        log.append({"step": "hd_bet", "voxels": int(mask.sum())})
    elif steps.brain:
        mask = _deepbet_mask(case, reference, steps, log)
    elif case.brain_mask is not None and (steps.apply_brain_mask or steps.n4):
        mask = given_mask(case.brain_mask, reference.grid, reference.path)
    else:
        return None
    if steps.strips:
        log.append({"step": "brain_mask", "outside": 0, "voxels": int(mask.sum())})
    return to_itk(mask, reference.grid)


def _deepbet_mask(case: Case, reference: Volume, steps: Steps, log: list[dict[str, Any]]) -> npt.NDArray[np.uint8]:
    """Mask of T1, else FLAIR, on the first channel's grid; with `align` it is registered to it as its image is."""
    channel = next((name for name in SOURCES if name in case.images), None)
    if channel is None:
        raise ImageError(
            f"{case.case_id}: --brain deepbet: expected channel t1 or flair, found {', '.join(case.images)}. Add one, "
            "or give brain masks (--apply-brain-mask)."
        )
    path = case.images[channel]
    source = reference if path == reference.path else read_image(path)
    mask = deepbet_mask(source.data, source.grid, path)
    log.append({"step": "deepbet", "channel": channel, "voxels": int(mask.sum())})
    matrix = np.eye(4)
    if source is not reference and steps.align:
        fixed, moving = (to_itk(one.data.astype(np.float32), one.grid) for one in (reference, source))
        with naming(path, reference.path):
            matrix = register(fixed, moving, steps.align).matrix
    moved = moved_onto(to_itk(mask, source.grid), source.grid, reference.grid, matrix, is_label=True)
    return voxels(moved).astype(np.uint8)


def without_bias(
    images: dict[str, SimpleITK.Image],
    volumes: Mapping[str, Volume],
    grid: Grid,
    brain: SimpleITK.Image | None,
    log: list[dict[str, Any]],
) -> dict[str, SimpleITK.Image]:
    """The channels with their bias corrected, inside the brain mask where it lies on their grid."""
    corrected = {}
    for channel, image in images.items():
        fits = brain is not None and same_grid(grid, volumes[channel].grid)
        corrected[channel] = correct_bias(image, brain if fits else None)
    log.append({"step": "n4", "channels": list(images), "mask": "otsu" if brain is None else "brain where on its grid"})
    return corrected


def aligned(
    images: Mapping[str, SimpleITK.Image], paths: Mapping[str, Path], steps: Steps, log: list[dict[str, Any]]
) -> dict[str, Matrix]:
    """Per channel the matrix from points of the first channel to points of this one."""
    names = list(images)
    matrices = {name: np.eye(4) for name in names}
    if steps.align:
        for name in names[1:]:
            with naming(paths[name], paths[names[0]]):
                found = register(images[names[0]], images[name], steps.align)
            matrices[name] = found.matrix
            entry = {"step": f"align_{steps.align}", "channel": name, "onto": names[0]}
            log.append(entry | {"matrix": found.matrix.tolist(), "information": [found.before, found.after]})
    return matrices


@contextmanager
def naming(moving: Path, fixed: Path | None) -> Iterator[None]:
    """Let the error of a registration name its files, and what to do where a header lost its place."""
    try:
        yield
    except ImageError as error:
        raise ImageError(
            f"{moving} onto {fixed}: {error} Where one of the two was saved without scanner coordinates (an origin of "
            "0, 0, 0 at a corner), give it the origin of the other; a channel can also be left out (--channels)."
        ) from error


def _onto_baseline(image: SimpleITK.Image, baseline: Case | None, steps: Steps, log: list[dict[str, Any]]) -> Matrix:
    """Matrix from points of the baseline visit to points of this one; always rigid."""
    if baseline is None:
        if steps.through_baseline:
            log.append({"step": "baseline"})
        return np.eye(4)
    first = read_image(_reference(baseline))
    found = register(to_itk(first.data.astype(np.float32), first.grid), image, "rigid")
    entry = {"step": "to_baseline", "baseline": baseline.case_id, "matrix": found.matrix.tolist()}
    log.append(entry | {"information": [found.before, found.after]})
    return found.matrix


def _from_mni(first: Case, log: list[dict[str, Any]]) -> Matrix:
    """Matrix from points of MNI space to points of the first visit; always rigid.

    It is of the first visit's image as it came, in one thread, so that every visit of the patient finds the same one.
    """
    path = _reference(first)
    with simpleitk_threads(1):
        found = _mni_registration(path, path.stat().st_mtime_ns)
    entry: dict[str, Any] = {"step": "to_mni", "template": mni152().name, "visit": first.case_id}
    log.append(entry | {"matrix": found.matrix.tolist(), "information": [found.before, found.after]})
    return found.matrix


@lru_cache(maxsize=4)  # the visits of a patient follow each other; a file that changed is another one
def _mni_registration(path: Path, changed_ns: int) -> Registration:  # noqa: ARG001
    image = read_image(path)
    try:
        return register_to_mni(image.data.astype(np.float32), image.grid)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def _check_inside(mask: Volume, target: Grid, to_visit: Matrix) -> None:
    """Raise ImageError where lesions would lie beside the template's grid, and so be lost."""
    points = mask.grid.to_world(np.argwhere(mask.data))
    whole = np.linalg.inv(to_visit @ target.affine)
    index = points @ whole[:3, :3].T + whole[:3, 3]
    outside = int(((index < -0.5) | (index > np.array(target.shape) - 0.5)).any(axis=1).sum())
    if outside:
        raise ImageError(
            f"{mask.path}: expected lesions inside the MNI152 template's grid, found {outside} of {len(points)} voxels "
            "beside it. Look at image and mask: does the header put both in the same place? Else leave out --to-mni."
        )


def target_grid(grid: Grid, steps: Steps, log: list[dict[str, Any]]) -> Grid:
    """The grid that reorientation and new voxel edges make of one."""
    target = grid
    if steps.reorients:
        target = reoriented(grid)
        log.append({"step": "reorient", "from": orientation_of(grid), "to": orientation_of(target)})
    if steps.spacing is not None:
        before, target = target.spacing, respaced(target, steps.spacing)
        log.append({"step": "resample", "from_mm": list(before), "to_mm": list(target.spacing)})
    return target


def moved_onto(image: SimpleITK.Image, grid: Grid, target: Grid, matrix: Matrix, *, is_label: bool) -> SimpleITK.Image:
    """Resample once, after smoothing along axes that become coarser; on the same grid nothing is touched.

    What is 0 around the head or brain stays 0: nnU-Net takes the rest for brain, and smoothing leaves small numbers far
    outside.
    """
    if same_grid(grid, target) and np.array_equal(matrix, np.eye(4)):
        return image
    if is_label:
        return resample(image, target, matrix, is_label=True)
    moved = resample(smoothed(image, grid, target), target, matrix, is_label=False)
    content = SimpleITK.BinaryFillhole(SimpleITK.Cast(image != 0, SimpleITK.sitkUInt8))
    return SimpleITK.Mask(moved, resample(content, target, matrix, is_label=True))


def _write_record(
    path: Path, case: Case, grid: Grid, target: Grid, to_visit: Matrix, baseline: Case | None, log: list[dict[str, Any]]
) -> None:
    content = {
        "case_id": case.case_id,
        "steps": log,
        "interpolation": {"images": "linear, once", "masks": "nearest neighbour"},
        "source_grid": {"shape": list(grid.shape), "affine": grid.affine.tolist()},
        "grid": {"shape": list(target.shape), "affine": target.affine.tolist()},
        "baseline": None if baseline is None else baseline.case_id,
        "target_to_source": to_visit.tolist(),  # points, RAS mm
        "software": {"SimpleITK": SimpleITK.Version.VersionString(), "nnunet-ms": version("nnunet-ms")},
    }
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
