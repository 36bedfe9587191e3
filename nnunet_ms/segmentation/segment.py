"""From a scan to lesion tables in one call: what `nnunet-ms-segment` does.

Written into the output folder, complete or not at all:

========================  =================================================================================
`masks/<sequence>/`       `<case>.nii.gz` on the grid of that sequence's own image
`probability/`            mean probability on the grid of the first sequence (FLAIR where there is one)
`lesions.csv`             one row per lesion, with its place and uncertainty
`visits.csv`              one row per visit: number and volume of lesions, and what changed since the visit before
`lesion_changes.csv`      one row per lesion of two compared visits
`places.csv`              one row per visit and place: number and volume of the lesions there, see `places`
`cases.csv`               one row per visit with expected volume, interval and uncertainty of the whole scan
`pages/<patient>.html`    volumes, counts, places, change, pictures, uncertainty in words
`qc/`                     slices with the outlines of the lesions
`warnings.csv`            one row per reason to look at a scan before its mask is believed, see `scan_warnings.WARNINGS`
`failures.csv`            scans that are in none of the above, and why
`segmentation.json`       model, settings, and what was done to each scan
========================  =================================================================================

Lesions and change are measured where the network saw them: on the grid of the first sequence of the patient's first
visit, onto which later visits are registered. Masks are then brought back to each input's own grid.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nnunet_ms.dataset_conversion.cases import Case, names_of
from nnunet_ms.dataset_conversion.checks.plausibility import accepted_names
from nnunet_ms.errors import ConversionError
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import Unfinished, resumable_folder
from nnunet_ms.parallel import Failure, Workers
from nnunet_ms.segmentation.bids_out import Derivative, check_bids_names, write_bids
from nnunet_ms.segmentation.chosen_model import ChosenModel, choose_model, samples_of
from nnunet_ms.segmentation.masks_back import write_masks
from nnunet_ms.segmentation.pages import Numbers, notes_of_model, write_pages
from nnunet_ms.segmentation.places import Placed, place_lesions
from nnunet_ms.segmentation.prepared_scans import (
    IMAGES,
    Align,
    Brain,
    How,
    Prepared,
    Say,
    prepare_scans,
    trained_on_whole_heads,
)
from nnunet_ms.segmentation.scans import Scans, find_scans
from nnunet_ms.segmentation.targets import RECORD, check_apart, check_targets
from nnunet_ms.segmentation.visit_warnings import WARNING_COLUMNS
from nnunet_ms.tables import CASES, write_failures, write_table
from nnunet_ms.trainers.prediction.export import DONE
from nnunet_ms.trainers.prediction.predict import Predicted, predict, silent
from nnunet_ms.trainers.prediction.settings import lesion_types
from nnunet_ms.trainers.training_range import read_training_range
from nnunet_ms.versions import version_of

WORK = "work"
MINIMUM_VOXELS = 3  # of a lesion that is counted
TABLES = ("visits.csv", "lesion_changes.csv", "cases.csv")


@dataclass(frozen=True)
class Segmentation:
    """What was written to `out`.

    Attributes
    ----------
    out : Path
    lesions, visits, cases, places : pandas.DataFrame
        The tables, as written.
    failures : tuple of Failure
        Scans that could not be segmented.
    notes : tuple of str
        What a user should know, scan by scan.
    """

    out: Path
    lesions: pd.DataFrame
    visits: pd.DataFrame
    cases: pd.DataFrame
    places: pd.DataFrame
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """One line, as the command prints it."""
        return f"{self.out}: {self.cases['case_id'].nunique()} scans segmented, {len(self.failures)} failed"


@known_keywords
def segment(
    source: str | Path | None = None,
    out: str | Path = "segmented",
    *,
    flair: str | Path | None = None,
    t2: str | Path | None = None,
    t1: str | Path | None = None,
    t1post: str | Path | None = None,
    brain_mask: str | Path | None = None,
    patient: str = "",
    visit: str = "",
    prefer: str = "",
    model: str | Path | None = None,
    brain: Brain = "auto",
    align: Align = "auto",
    trim: bool = True,
    accept: str | Sequence[str] = (),
    samples: int = 10,
    seed: int = 0,
    threshold: float = 0.5,
    tta: bool = True,
    rater: str = "",
    note: str = "",
    pictures: bool = True,
    bids_out: str | Path | None = None,
    device: str | None = None,
    workers: Workers = 1,
    keep_work: bool = False,
    overwrite: bool = False,
    say: Say = silent,
) -> Segmentation:
    """Segment the lesions of scans as they come, and write masks in their grids, tables and pictures.

    Parameters
    ----------
    source : str or Path, optional
        Manifest (CSV), BIDS data set, or folder of one patient whose file names tell the sequences.
    out : str or Path, optional
        Folder to write, new unless `overwrite`.
    flair, t2, t1, t1post : str or Path, optional
        Instead of `source`: the images of one scan, as many as there are and the model takes.
    brain_mask : str or Path, optional
        Of the one scan, on the grid of its first image.
    patient, visit : str, optional
        Of the one scan; the patient is else called as the folder of its first image.
    prefer : str, optional
        BIDS: which of several files of one sequence: `run=last`, `flair.acq=3d`, with commas.
    model : str or Path, optional
        Name of an installed model, folder of nnU-Net's results, or packed file; default: `ms-any-small`,
        which comes with the package.
    brain : {"auto", "given", "deepbet", "none"}, optional
        `auto` applies the brain mask of the data; without one it leaves an image whose skull is removed, and else takes
        deepbet's (extra `brain`).
    align : {"auto", "rigid", "none"}, optional
        `auto` registers the other sequences to the first where their grids differ or they do not fit.
    trim : bool, optional
        Whether what a brain mask leaves more than 3 mm outside of MNI152's brain is cut away.
    accept : str with commas or sequence of str, optional
        What may be so, though it looks wrong, as the message names it: `sequence`, `brain_mask` ...
    samples : int, optional
        Per fold, for the uncertainty; 0 for one plain pass.
    seed, threshold, tta : optional
        As `predict`.
    rater, note : str, optional
        The model's name (default: its own) and what the data are, in all tables.
    pictures : bool, optional
        Whether slices are drawn.
    bids_out : str or Path, optional
        Folder for the masks as a BIDS derivative, besides `out`; best `derivatives/NAME` of the data set.
    device : str, optional
        "cuda", "cuda:1", "cpu" or "mps"; without it the first of cuda, mps and cpu that is there.
    workers : int or Dask, optional
        Processes, or a cluster, that prepare scans and write results.
    keep_work : bool, optional
        Whether the images as the network got them are kept, in `work`.
    overwrite : bool, optional
        Whether an existing `out` is replaced.
    say : callable, optional
        Gets a line about each thing that was decided or done.

    Returns
    -------
    Segmentation
        Scans with a problem are left out, listed in `failures`, and do not stop the others.

    Raises
    ------
    SettingsError
        If an argument does not fit, or deepbet is needed and not installed.
    ConversionError
        If the source cannot be read, or not one scan can be used.
    ModelError
        If there is no such model, or it is damaged, altered, or of other channels.
    ImageError
        If not one scan could be predicted.

    Examples
    --------
    >>> done = segment(flair="flair.nii.gz", t1="t1.nii.gz", t2="t2.nii.gz", patient="P1", out="segmented",
    ...     model="trained", samples=0, device="cpu", pictures=False)
    >>> done.summary()
    'segmented: 1 scans segmented, 0 failed'
    >>> sorted(path.as_posix() for path in Path("segmented/masks").rglob("*.nii.gz"))
    ['segmented/masks/flair/P1.nii.gz', 'segmented/masks/t1/P1.nii.gz', 'segmented/masks/t2/P1.nii.gz']
    """
    out = Path(out)
    targets = {"-o": out} if bids_out is None else {"-o": out, "--bids-out": Path(bids_out)}
    check_targets(targets, overwrite=overwrite)
    given = {"flair": flair, "t2": t2, "t1": t1, "t1post": t1post}
    files = {name: path for name, path in given.items() if path is not None}
    where: dict[str, Any] = {"brain_mask": brain_mask, "patient": patient, "visit": visit, "prefer": prefer}
    sampling: dict[str, Any] = {"seed": seed, "threshold": threshold, "tta": tta, "pictures": pictures, "note": note}
    how = How(brain=brain, align=align, trim=trim, accept=accepted_names(names_of(accept)))
    chosen = choose_model(model, device)
    whole = trained_on_whole_heads(chosen.appearance, chosen.reference_sequence)
    how = replace(how, whole_heads=whole, reorient=chosen.is_oriented, spacing=chosen.spacing)
    count, told = samples_of(chosen, samples, threshold)
    sampling |= {"mc_samples": count, "rater": rater or (chosen.facts.name if chosen.facts else "model")}
    scans = find_scans(source, files, chosen.sequences, **where)
    check_apart(targets, scans.cases, source, chosen.model.folder, is_bids=scans.root is not None)
    if bids_out is not None:
        check_bids_names(scans.cases, scans.root, sampling["rater"])
    with resumable_folder(out, replace=overwrite) as work:
        done = _Run(chosen, how, sampling, workers, say, work).segment(scans, [told] if told else [])
        if bids_out is not None:
            _derivative(done, scans, chosen, sampling["rater"], Path(bids_out), replace=overwrite)
        if not keep_work:
            shutil.rmtree(work.folder / WORK)
    return replace(done, out=out)


def warning_rows(prepared: Sequence[Prepared]) -> pd.DataFrame:
    """Rows of `warnings.csv`, in the order of the scans; empty where nothing is to be said.

    Examples
    --------
    >>> warning_rows([]).columns.tolist()
    ['patient_id', 'visit', 'sequence', 'warning', 'found', 'known']
    """
    rows = [
        (one.case.patient_id, one.case.visit or "1", w.sequence, w.name, w.found, w.known)
        for one in prepared
        for w in one.warnings
    ]
    return pd.DataFrame(rows, columns=WARNING_COLUMNS)


def _derivative(
    done: Segmentation, scans: Scans, chosen: ChosenModel, rater: str, target: Path, *, replace: bool
) -> None:
    good = [case for case in scans.cases if case.case_id in set(done.cases["case_id"])]
    what = Derivative(scans.root, rater, dict(chosen.model.classes), f"nnunet-ms-segment, model {chosen.reference}")
    write_bids(good, done.out, target, what, replace=replace)


@dataclass(frozen=True)
class _Run:
    """One run: what it was asked for, and the folder that it fills."""

    chosen: ChosenModel
    how: How
    sampling: Mapping[str, Any]
    workers: Workers
    say: Say
    work: Unfinished

    def segment(self, scans: Scans, told: Sequence[str]) -> Segmentation:
        """Prepare, predict, bring back, write the tables."""
        scratch, folder = self.work.folder / WORK, self.work.folder
        notes = [f"model {self.chosen.reference}: {', '.join(self.chosen.sequences)}", *told, *scans.notes]
        for line in notes:
            self.say(line)
        prepared, failures = self._prepared(scans.cases, scratch)
        notes += self._told(prepared)
        predicted = self._predicted(prepared, scratch)
        for line in predicted.notes:
            self.say(line)
        failed = {failure.case for failure in predicted.failures}
        good = [one for one in prepared if one.case.case_id not in failed]
        lost, back = write_masks(
            good, scratch / "predictions", folder, self.workers, self.sampling["threshold"], MINIMUM_VOXELS
        )
        placed = self._placed(good, predicted)
        for line in [*lost, *placed.notes]:
            self.say(line)
        good, predicted = placed.prepared, replace(predicted, lesions=placed.lesions)
        back += [*placed.failures, *self._pages(good, predicted)]
        failures = sorted([*failures, *predicted.failures, *back], key=lambda failure: failure.case)
        for name in TABLES:
            shutil.copyfile(scratch / "predictions" / name, folder / name)
        write_table(placed.lesions, folder / "lesions.csv")
        write_table(placed.places, folder / "places.csv")
        if (scratch / "predictions" / "qc").is_dir():
            shutil.copytree(scratch / "predictions" / "qc", folder / "qc", dirs_exist_ok=True)
        write_failures(failures, folder / "failures.csv")
        write_table(warning_rows(good), folder / "warnings.csv")
        notes = [*notes, *predicted.notes, *lost, *placed.notes]
        self._record(good, notes)
        tables = predicted.lesions, predicted.visits, predicted.cases, placed.places
        return Segmentation(folder, *tables, tuple(failures), tuple(notes))

    def _prepared(self, cases: Sequence[Case], scratch: Path) -> tuple[list[Prepared], list[Failure]]:
        done = prepare_scans(cases, self.chosen, self.how, scratch, self.work.memory, self.workers)
        if len(done.failures) == len(cases) == 1:
            raise ConversionError(done.failures[0].reason)
        if not done.results:
            first = "; ".join(f"{failure.case}: {failure.reason}" for failure in done.failures[:3])
            raise ConversionError(f"none of {len(done.failures)} scans can be segmented. {first or 'Check INPUT.'}")
        return done.results, list(done.failures)

    def _told(self, prepared: Sequence[Prepared]) -> list[str]:
        told = [(one.case.case_id, [*one.notes, *(f"WARNING {w.text}" for w in one.warnings)]) for one in prepared]
        lines = [f"{case_id}: {note}" for case_id, notes in told for note in notes]
        for line in lines:
            self.say(line)
        return lines

    def _predicted(self, prepared: Sequence[Prepared], scratch: Path) -> Predicted:
        """Predict what an earlier run has not, or has from other images."""
        predictions, table = scratch / "predictions", scratch / "cases.csv"
        rows = [
            (one.case.case_id, one.case.patient_id, one.case.visit or "1", one.case.week, "test") for one in prepared
        ]
        write_table(pd.DataFrame(rows, columns=CASES.names), table)
        wanted = {path.name for one in prepared for path in one.images.values()}
        for path in (scratch / IMAGES).iterdir():  # of scans that this run leaves out
            if path.name not in wanted:
                path.unlink()
        self._forget_stale(prepared, predictions)
        return predict(
            scratch / IMAGES,
            predictions,
            model=self.chosen.opened,
            cases=table,
            maps=("entropy",),
            workers=self.workers,
            resume=True,
            say=self.say,
            minimum_voxels=MINIMUM_VOXELS,
            **self.sampling,
        )

    def _placed(self, good: Sequence[Prepared], predicted: Predicted) -> Placed:
        masks = self.work.folder / WORK / "predictions"
        classes = lesion_types(self.chosen.model, "")  # called as in the tables
        return place_lesions(good, predicted.lesions, predicted.visits, masks, classes, self.work.memory, self.workers)

    def _pages(self, good: Sequence[Prepared], predicted: Predicted) -> list[Failure]:
        numbers = Numbers(predicted.lesions, predicted.cases, predicted.visits)
        folder = self.work.folder
        known = read_training_range(self.chosen.model.folder)
        model = notes_of_model(self.chosen, {} if known is None else known.words())
        return write_pages(good, folder / WORK / "predictions", folder, numbers, model, self.workers)

    def _forget_stale(self, prepared: Sequence[Prepared], predictions: Path) -> None:
        """Remove predictions of a killed run with other settings, or of images that were prepared anew."""
        note = self.work.memory / "sampling.json"
        key = json.dumps({**self.sampling, "model": self.chosen.reference, "how": asdict(self.how)}, default=str)
        if not note.is_file() or note.read_text(encoding="utf-8") != key:
            shutil.rmtree(predictions, ignore_errors=True)
            note.write_text(key, encoding="utf-8")
        for one in prepared:
            done = predictions / DONE / one.case.case_id
            if done.is_dir() and done.stat().st_mtime < one.record.stat().st_mtime:
                shutil.rmtree(done)

    def _record(self, good: Sequence[Prepared], notes: Sequence[str]) -> None:
        prediction = json.loads((self.work.folder / WORK / "predictions" / "prediction.json").read_text("utf-8"))
        scans = {one.case.case_id: json.loads(one.record.read_text(encoding="utf-8")) for one in good}
        for name, one in zip(scans, good, strict=True):
            scans[name] |= {"images": {sequence: str(path) for sequence, path in one.case.images.items()}}
        content: dict[str, Any] = {"model": self.chosen.reference, "brain": self.how.brain, "align": self.how.align}
        content |= {"prediction": prediction, "scans": scans, "notes": list(notes)}
        content |= {"software": {"nnunet-ms": version_of("nnunet-ms")}}
        (self.work.folder / RECORD).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
