"""Scans become what the model takes: checked, without skull, registered to the first sequence, on its grid.

The converter's checks and steps do it; decided here is only which of them a scan needs. Of a patient with several
visits the later ones are brought (rigidly) onto the first, so that change can be told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.checks.check import CheckedCase, check_cases
from nnunet_ms.dataset_conversion.checks.plausibility import BRAIN_ML
from nnunet_ms.dataset_conversion.preparation import baselines_of, write_preprocessed
from nnunet_ms.dataset_conversion.resume_notes import fingerprint, recall, remember
from nnunet_ms.dataset_conversion.steps import Steps
from nnunet_ms.errors import ConversionError, SettingsError
from nnunet_ms.images.appearance import coarse_of, from_json, information_about
from nnunet_ms.images.deepbet_brain import check_deepbet
from nnunet_ms.images.grids import Spacing
from nnunet_ms.images.limits import INFORMATION, LITTLE_INFORMATION
from nnunet_ms.images.patient_regions import BrainPlace
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.images.zero_level import read_image
from nnunet_ms.options import chosen
from nnunet_ms.parallel import Outcome, Workers, map_cases
from nnunet_ms.segmentation.chosen_model import ChosenModel
from nnunet_ms.segmentation.results import ScanWarning
from nnunet_ms.segmentation.trimmed import trim_images
from nnunet_ms.segmentation.visit_warnings import warnings_of_scan
from nnunet_ms.trainers.training_range import TrainingRange, read_training_range

Brain = Literal["auto", "given", "deepbet", "none"]
Align = Literal["auto", "rigid", "none"]
IMAGES, PROVENANCE = "imagesTs", "provenance"


@dataclass(frozen=True)
class How:
    """How scans are prepared.

    Parameters
    ----------
    brain : {"auto", "given", "deepbet", "none"}
        `auto` applies the mask that comes with the data; without one it leaves what has no skull, else deepbet's.
    align : {"auto", "rigid", "none"}
        `auto` registers where grids differ, or where images on one grid do not fit.
    accept : tuple of str
        Of `plausibility.ACCEPTABLE`.
    threads : int
        Of each process. One gives the same registration each time; with more, sums differ in their last digits.
    whole_heads : bool
        Whether the model was trained with the skull.
    reorient : bool
        Whether images are turned, as those of the training were.
    spacing : Spacing
        Voxels to which images are resampled, as those of the training were.
    trim : bool
        Whether what lies outside of MNI152's brain is cut away, see `trimmed`.
    """

    brain: Brain = "auto"
    align: Align = "auto"
    accept: tuple[str, ...] = ()
    threads: int = 1
    whole_heads: bool = False
    reorient: bool = False
    spacing: Spacing = None
    trim: bool = True

    def __post_init__(self) -> None:
        chosen(self.brain, get_args(Brain), "brain")
        chosen(self.align, get_args(Align), "align")


@dataclass(frozen=True)
class Prepared:
    """A case that is ready: its images in the work folder, by sequence, and what was done to it."""

    case: Case
    images: Mapping[str, Path]
    record: Path
    notes: tuple[str, ...]
    warnings: tuple[ScanWarning, ...] = ()
    place: BrainPlace | None = None  # of the brain in MNI space, where it was looked for


def trained_on_whole_heads(known: Mapping[str, Mapping[str, object]], sequence: str) -> bool:
    """Whether the smallest image that a model was trained on is larger than a brain; False where nobody knows.

    Parameters
    ----------
    known : mapping
        `appearance` of dataset.json, see `images.appearance.summary_of`.
    sequence : str
        Channel that is looked at.

    Examples
    --------
    >>> trained_on_whole_heads({"flair": {"nonzero_ml": [2900.0, 4100.0]}}, "flair"), trained_on_whole_heads({}, "t1")
    (True, False)
    """
    limits = known.get(sequence, {}).get("nonzero_ml")
    return isinstance(limits, list) and bool(limits) and float(limits[0]) > BRAIN_ML


def prepare_scans(
    cases: Sequence[Case], model: ChosenModel, how: How, folder: Path, memory: Path, workers: Workers = 1
) -> Outcome[Prepared]:
    """Check and prepare every scan; what cannot be used is a failure, the others go on.

    Parameters
    ----------
    cases : sequence of Case
        From `find_scans`.
    model : ChosenModel
        Says which sequences are needed, and the number of each.
    how : How
    folder : Path
        Gets `imagesTs` in nnU-Net's naming and `provenance`.
    memory : Path
        Notes, so that what is done is not done again.
    workers : int or Dask, optional

    Raises
    ------
    SettingsError
        If a skull is to be removed and deepbet is not installed.
    """
    asked = [_with_problem(case, model, how) for case in cases]
    steps = Steps(align="" if how.align == "none" else "rigid")
    looked = check_cases(asked, steps=steps, accept=how.accept, workers=workers, memory=memory)
    jobs = [(checked, *steps_of_scan(checked, how)) for checked in looked.results]
    _check_deepbet(jobs)
    several = {one for one in _patients(looked.results) if _patients(looked.results).count(one) > 1}
    first = baselines_of(looked.results, Steps(to_baseline=True)) if several else {}
    jobs = [(c, replace(s, to_baseline=c.case.patient_id in several), notes) for c, s, notes in jobs]
    for name in (IMAGES, PROVENANCE):
        (folder / name).mkdir(parents=True, exist_ok=True)
    known = read_training_range(model.model.folder)
    write = partial(_prepare, sequences=model.sequences, known=known, how=how, folder=folder, memory=memory)
    ready = [(*job, first.get(job[0].case.case_id)) for job in jobs]
    written = map_cases(write, ready, lambda job: job[0].case.case_id, "prepare", workers)
    return Outcome(written.results, [*looked.failures, *written.failures])


def _patients(checked: Sequence[CheckedCase]) -> list[str]:
    return [one.case.patient_id for one in checked]


def _with_problem(case: Case, model: ChosenModel, how: How) -> Case:
    """The case; what it lacks is its problem."""
    if case.problem:
        return case
    if how.brain == "given" and case.brain_mask is None:
        told = "expected a brain mask, found none. Add one (--brain-mask FILE, column brain_mask of a manifest)"
        return replace(case, problem=f"{case.case_id}: --brain given: {told}, or take --brain auto.")
    try:
        model.check_scan(case.case_id, tuple(case.images))
    except ConversionError as error:
        return replace(case, problem=f"{error} ({case.remark})" if case.remark else str(error))
    return case


def steps_of_scan(checked: CheckedCase, how: How) -> tuple[Steps, tuple[str, ...]]:
    """Which steps a scan needs, and what to tell about them.

    Parameters
    ----------
    checked : CheckedCase
        With the appearance of its images.
    how : How
    """
    images = checked.case.images
    align = len(images) > 1 and (how.align == "rigid" or (how.align == "auto" and bool(checked.resampled)))
    given, deepbet, note = _brain(checked, how)
    notes = [note] if note else []
    if checked.case.brain_mask is not None and not given:
        notes.append(f"{checked.case.brain_mask}: this brain mask is not used")
    if checked.resampled and not align:
        notes.append(f"{', '.join(checked.resampled)}: brought onto the grid of {next(iter(images))} by the headers")
    if how.spacing:
        new = _voxels(how.spacing)
        notes.append(f"resampled to {new}, as the images of the training were; lesions are measured there")
    return Steps(
        reorient=how.reorient,
        spacing=how.spacing,
        align="rigid" if align else "",
        apply_brain_mask=given,
        brain="deepbet" if deepbet else "",
        threads=how.threads,
    ), tuple(notes)


def _voxels(spacing: Spacing) -> str:
    if spacing is None or isinstance(spacing, str):
        return f"{spacing} voxels"
    return f"voxels of {' x '.join(f'{edge:g}' for edge in spacing)} mm"


def _brain(checked: CheckedCase, how: How) -> tuple[bool, bool, str]:
    """Whether the mask of the data is applied, whether deepbet's is, and what to tell."""
    case = checked.case
    volumes = {name: from_json(seen).nonzero_ml for name, seen in checked.appearance.items()}
    whole = [f"{name} ({volume:.0f} ml)" for name, volume in volumes.items() if volume > BRAIN_ML]
    if how.brain == "given":
        return True, False, "the brain mask of the data is applied"
    if how.brain == "deepbet":
        return False, True, "the skull is removed by deepbet"
    if how.brain == "none" or how.whole_heads:
        trained = ", as the model's training images have it" if how.whole_heads else ": do not believe masks outside"
        return False, False, f"the skull is left{trained}: {', '.join(whole)} hold more than a brain" if whole else ""
    shown = ", ".join(f"{name} {volume:.0f} ml" for name, volume in volumes.items())
    seen = f"the skull is removed already ({shown})" if shown else "no head is seen (too small, or noise)"
    seen = f"whole head: {', '.join(whole)}" if whole else seen
    if case.brain_mask is not None:  # of a stripped image too: often tighter, and what is around changes the mean
        return True, False, f"{seen}; the brain mask of the data is applied"
    if whole:
        return False, True, f"{seen}; the skull is removed by deepbet"
    then = "left as it is" if shown else "nothing is said about the skull, nothing removed"
    return False, False, f"{seen}: {then}"


def _check_deepbet(jobs: Sequence[tuple[CheckedCase, Steps, tuple[str, ...]]]) -> None:
    """Raise SettingsError, once for all, where deepbet is needed and not there."""
    first = next((checked for checked, steps, _ in jobs if steps.brain), None)
    if first is None:
        return
    try:
        check_deepbet()
    except SettingsError as error:
        raise SettingsError(
            f"{next(iter(first.case.images.values()))}: expected an image without skull, or deepbet to remove it, "
            'found a whole head and no deepbet. Run: pip install "nnunet-ms[brain]", or give brain masks (--brain-mask '
            "FILE), or take --brain none and do not believe lesions outside of the brain."
        ) from error


Job = tuple[CheckedCase, Steps, tuple[str, ...], Case | None]


def _prepare(
    job: Job, sequences: tuple[str, ...], known: TrainingRange | None, how: How, folder: Path, memory: Path
) -> Prepared:
    """Write the images of one scan, unless an earlier run has done so."""
    checked, steps, notes, baseline = job
    case = checked.case
    targets = {name: folder / IMAGES / f"{case.case_id}_{sequences.index(name):04d}.nii.gz" for name in case.images}
    record = folder / PROVENANCE / f"{case.case_id}.json"
    asked: dict[str, Any] = {"steps": vars(steps), "how": vars(how), "sequences": sequences}
    asked |= {"baseline": "" if baseline is None else fingerprint(baseline, {}), "range": repr(known)}
    note, key = memory / f"{case.case_id}.prepared.json", fingerprint(case, asked)
    found = recall(note, key)
    if found is not None and all(path.is_file() for path in (*targets.values(), record)):
        warnings = tuple(ScanWarning(**one) for one in found["warnings"])
        return Prepared(case, targets, record, tuple(found["notes"]), warnings, _place_from(found["place"]))
    heads = {name: path for name, path in targets.items() if name in checked.appearance}
    more = _write(case, targets, record, steps, baseline, how.align, heads)
    warnings = warnings_of_scan(case, targets, record, known, how.accept)
    trims = how.trim and not how.whole_heads and how.brain != "none"
    trimmed, place = trim_images(targets) if trims else ("", None)
    notes = (*notes, *more, *filter(None, [trimmed, case.remark, checked.remark]))
    kept = None if place is None else {**vars(place), "matrix": place.matrix.tolist()}
    remember(note, key, {"notes": list(notes), "warnings": [vars(one) for one in warnings], "place": kept})
    return Prepared(case, targets, record, notes, warnings, place)


def _place_from(known: Mapping[str, Any] | None) -> BrainPlace | None:
    return None if known is None else BrainPlace(np.array(known["matrix"]), known["dice"], known["contrast"])


def _write(
    case: Case,
    targets: Mapping[str, Path],
    record: Path,
    steps: Steps,
    baseline: Case | None,
    align: Align,
    heads: Mapping[str, Path],
) -> list[str]:
    """Write the images; where they do not fit each other and may be registered, once more, registered."""
    unused = record.with_suffix(".nii.gz")  # of a mask, which there is none of
    write_preprocessed(case, targets, unused, record, steps, baseline)
    shared, told = _shared(heads), []
    if align == "auto" and not steps.align and any(value < LITTLE_INFORMATION for value in shared.values()):
        write_preprocessed(case, targets, unused, record, replace(steps, align="rigid"), baseline)
        told = ["images on one grid did not fit each other: registered"]
        shared = _shared(heads)
    elif steps.align:
        told = [f"{', '.join(list(targets)[1:])}: registered to {next(iter(targets))} (rigid)"]
    poor = _poor(shared)
    if poor and align == "auto" and steps.align:  # thick slices without skull: where a registration can go astray
        before = shared[poor]
        write_preprocessed(case, targets, unused, record, replace(steps, align=""), baseline)
        shared = _shared(heads)
        if not _poor(shared):
            told = [
                f"{poor}: registered it fitted less ({before:.2f} nats) than by the headers ({shared[poor]:.2f}), "
                "which are believed"
            ]
            poor = ""
    if poor:
        raise ConversionError(
            f"{case.images[poor]}: expected the head of {next(iter(case.images.values()))}, found another one, or it "
            f"lies elsewhere: after registration they share {max(shared[poor], 0):.2f} nats (right pairs 0.23 and "
            f"more). {_way_out(case, poor)}"
        )
    return told


def _poor(shared: Mapping[str, float]) -> str:
    """The first sequence that does not show the head of the first one; blank where all do."""
    return next((name for name, value in shared.items() if value < INFORMATION), "")


def _way_out(case: Case, name: str) -> str:
    """What to do with an image that cannot be registered: often its voxels are right and its header is not."""
    first, moving = (read_image(case.images[one]) for one in (next(iter(case.images)), name))
    if first.data.shape == moving.data.shape:
        value = information_about(replace(moving, grid=first.grid), coarse_of(first)) or 0.0
        if value >= LITTLE_INFORMATION:
            return (
                f"Voxel by voxel they fit ({value:.2f} nats): its header is wrong, not the image. Give a copy of it "
                f"the header of {first.path.name} (FSL: fslcpgeom {first.path.name} {moving.path.name}; nibabel: "
                f"Nifti1Image(image.dataobj, first.affine)), or leave {name} out."
            )
    return f"Is it of this patient and visit? Else leave {name} out."


def _shared(heads: Mapping[str, Path]) -> dict[str, float]:
    """Mutual information of each sequence with the first, nats; of images that show a head."""
    if len(heads) < 2:
        return {}
    first, *others = heads
    coarse = coarse_of(read_volume(heads[first]))
    found = {name: information_about(read_volume(heads[name]), coarse) for name in others}
    return {name: value for name, value in found.items() if value is not None}


Say = Callable[[str], object]
