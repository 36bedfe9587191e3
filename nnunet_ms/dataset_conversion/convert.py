"""Source data become an nnU-Net raw dataset: find, check, write, in that order; the commands parse and call this.

Messages name the command's options, whose words are those of the arguments: `--test-patients` is `test_patients`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo, check_case_ids, label_names, names_of
from nnunet_ms.dataset_conversion.checks.check import CheckedCase, check_cases
from nnunet_ms.dataset_conversion.checks.plausibility import accepted_names
from nnunet_ms.dataset_conversion.checks.voxel_sizes import voxel_size_notes
from nnunet_ms.dataset_conversion.links import links_out
from nnunet_ms.dataset_conversion.raw_dataset.dataset_folder import new_folder
from nnunet_ms.dataset_conversion.raw_dataset.roles import assign_roles, fold_notes, without_leaks
from nnunet_ms.dataset_conversion.raw_dataset.write import WriteOptions, check_writable, folds_of, write_raw_dataset
from nnunet_ms.dataset_conversion.sources.all_sources import Kind, check_options, source_of
from nnunet_ms.dataset_conversion.sources.source import Request, Source
from nnunet_ms.dataset_conversion.steps import Steps, steps_of
from nnunet_ms.errors import ConversionError, NnunetMsError
from nnunet_ms.images.brain_mask import check_hd_bet
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import resumable_folder
from nnunet_ms.parallel import Failure, Outcome, Workers

Say = Callable[[str | Failure], None]
SHOWN_FAILURES = 10  # beside an error that ends a conversion


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote, or with `dry_run` would write.

    Parameters
    ----------
    folder : Path
        The dataset.
    cases, patients : tuple of str
        Ids of the cases, in the order of the source, and of their patients, sorted.
    failures : tuple of Failure
        Cases that were left out, each with its reason.
    notes : tuple of str
        What a user should know: what was resampled, masks that overlap, tables that came along.
    resampled : dict
        Case id -> channels that were resampled onto the first one's grid. Empty with `steps`: provenance/ then says
        what was done to every case.
    written : bool
        False with `dry_run`.
    """

    folder: Path
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    resampled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    written: bool = True

    def summary(self) -> str:
        """One line, as the command prints it.

        Examples
        --------
        >>> Conversion(Path("raw/Dataset801_Trial"), ("P1_base", "P1_w24"), ("P1",)).summary()
        'wrote raw/Dataset801_Trial: 2 cases of 1 patients, 0 left out'
        """
        return (
            f"{'wrote' if self.written else 'would write'} {self.folder}: {len(self.cases)} cases of "
            f"{len(self.patients)} patients, {len(self.failures)} left out"
        )


@dataclass(frozen=True)
class Problem:
    """One thing to know about a case: an `error` keeps it out of a dataset, a `note` does not."""

    severity: Literal["error", "note"]
    case: str
    problem: str


@dataclass(frozen=True)
class SourceCheck:
    """The cases of a source (their number) and their problems, errors first, then by case."""

    cases: int
    problems: tuple[Problem, ...]

    @property
    def failed(self) -> frozenset[str]:
        """Cases with errors."""
        return frozenset(problem.case for problem in self.problems if problem.severity == "error")


@known_keywords
def convert(
    source: str | Path,
    kind: Kind = "trial",
    *,
    dataset_id: int,
    raw: str | Path | None = None,
    name: str | None = None,
    channels: str | Sequence[str] | None = None,
    target: str | None = None,
    rater: str = "",
    variant: str = "",
    prefer: str = "",
    test_patients: str | Iterable[str] = (),
    folds: int | None = None,
    seed: int = 0,
    steps: Steps | Mapping[str, Any] | None = None,
    headers_only: bool = False,
    accept: str | Iterable[str] = (),
    workers: Workers = 1,
    overwrite: bool = False,
    dry_run: bool = False,
    say: Say | None = None,
) -> Conversion:
    """Write trial or challenge data as an nnU-Net raw dataset: complete or absent, folds by patient.

    Parameters
    ----------
    source : str or Path
        Manifest CSV (`trial`) or folder (the other kinds). It is never written to.
    kind : str, optional
        Layout of the source, a name of `SOURCES`.
    dataset_id : int
        nnU-Net's number of the dataset, 1 to 999.
    raw : str or Path, optional
        Folder of raw datasets; default: the environment variable nnUNet_raw.
    name : str, optional
        Name of the dataset, letters, digits, dash and underscore; default: the kind's.
    channels : sequence of str, or str with commas, optional
        Sequences in their order; the first gives the grid. Default: the kind's.
    target : str, optional
        Reference mask to learn; default: the kind's.
    rater : str, optional
        Archives: a rater, `consensus` (default), `union` or `all`.
    variant : str, optional
        Archives: `preprocessed` (default) or `unprocessed`.
    prefer : str, optional
        `bids`, where a session has several files of one sequence: `run=last`, `flair.acq=3d`, with commas.
    test_patients : iterable of str, or str with commas, optional
        Their cases go to imagesTs and labelsTs, and so do patients without a mask. All may test: a dataset without
        training cases is there to be predicted.
    folds : int, optional
        Cross-validation folds by patient, >= 2. Default: three, or as many as there are training patients; there are
        none where nobody trains, or one patient only.
    seed : int, optional
        Seed of their shuffling, >= 0.
    steps : Steps or mapping, optional
        Preparation of the images by name, such as ``{"n4": True, "align": "rigid"}``. Without any, files whose grid is
        the first channel's are copied byte for byte.
    headers_only : bool, optional
        Whether the voxels of copied files are believed unread: fast, but damage inside is not seen.
    accept : str with commas or iterable of str, optional
        What may be so, though it looks wrong: names of `plausibility.ACCEPTABLE`, such as `alignment`.
    workers : int or Dask, optional
        Processes, or a cluster; see `parallel.map_cases`.
    overwrite : bool, optional
        Whether a dataset of this number and name is replaced.
    dry_run : bool, optional
        Check everything, write nothing.
    say : callable, optional
        Called with each note (str) and each `Failure` as soon as it is known; a long conversion can so be followed.

    Returns
    -------
    Conversion
        Cases with a problem are left out, listed in `failures`, and do not stop the others.

    Raises
    ------
    ConversionError
        If the source does not have this layout, no case is good or too few for the folds (without `say`, the error's
        notes then name the first that are not), the number is taken, or two steps exclude each other.
    OptionError
        If a word (kind, a step) is unknown; the message lists those that are known.
    TableError
        If the manifest, or a table of the data set, cannot be read.

    Examples
    --------
    Three patients with one visit each, listed in a manifest:

    >>> done = convert("study/manifest.csv", dataset_id=801, raw="raw", channels="flair,t1")
    >>> done.folder.as_posix(), done.cases, done.failures
    ('raw/Dataset801_Trial', ('P1_base', 'P2_base', 'P3_base'), ())
    >>> sorted(path.name for path in done.folder.iterdir())
    ['cases.csv', 'dataset.json', 'imagesTr', 'labelsTr', 'splits_final.json']

    The same with other voxels, and one patient to test on; nothing is written:

    >>> wanted = {"steps": {"spacing": (1, 1, 1)}, "test_patients": ["P3"], "folds": 2, "channels": "flair,t1"}
    >>> convert("study/manifest.csv", dataset_id=802, raw="raw", dry_run=True, **wanted).summary()
    'would write raw/Dataset802_Trial: 3 cases of 3 patients, 0 left out'
    """
    found = source_of(kind)
    request = found.request(source, channels, target, rater, variant, prefer)
    options = WriteOptions(
        info=_info(found, name),
        channels=request.channels,
        labels=label_names(request.target),
        test_patients=names_of(test_patients),
        folds=folds,
        seed=seed,
        workers=workers,
        steps=steps_of(steps),
        root=request.root,
    )
    looks = {"headers_only": headers_only, "accept": accepted_names(names_of(accept))}
    folder = new_folder(raw, dataset_id, options.info.name, overwrite=overwrite)
    cases = find_cases(found, request)
    _check_steps(cases, options.steps, request.path)
    assign_roles(cases, options.test_patients)  # an unknown test patient is said before anything is read
    cases = without_leaks(cases, options.test_patients)
    if dry_run:
        outcome = _checked(cases, request, options, looks, None, say)
        with _reasons(outcome.failures, say):
            notes = _fold_notes(outcome.results, options)
        _tell(say, notes)
        return _conversion(folder, outcome, [], [*_notes(outcome, options), *notes], options.steps, written=False)
    check_writable(folder)
    with resumable_folder(folder, replace=overwrite) as work:
        outcome = _checked(cases, request, options, looks, work.memory, say)
        failures: list[Failure] = list(outcome.failures)
        with _reasons(failures, say):
            written = write_raw_dataset(outcome.results, work, options, partial(_also, failures, say))
        left = {failure.case for failure in written}
        notes = _fold_notes([one for one in outcome.results if one.case.case_id not in left], options)
        notes += [] if found.write_tables is None else found.write_tables(request.path, work.folder)
        _tell(say, notes)
    return _conversion(folder, outcome, written, [*_notes(outcome, options), *notes], options.steps)


def check(
    source: str | Path,
    kind: Kind = "trial",
    *,
    channels: str | Sequence[str] | None = None,
    target: str | None = None,
    rater: str = "",
    variant: str = "",
    prefer: str = "",
    headers_only: bool = False,
    accept: str | Iterable[str] = (),
    workers: Workers = 1,
) -> SourceCheck:
    """Read a source as `convert` would, write nothing, and return its problems; the arguments are those of `convert`.

    Raises
    ------
    ConversionError
        If the source does not have this layout or holds no case.
    OptionError, TableError
        As `convert`.

    Examples
    --------
    >>> _ = Path("study/P2/t1.nii.gz").write_bytes(b"no image")
    >>> found = check("study/manifest.csv", channels=["flair", "t1"])
    >>> found.cases, sorted(found.failed)
    (3, ['P2_base'])
    >>> found.problems[0].severity, found.problems[0].problem
    ('error', 'study/P2/t1.nii.gz: ...')
    """
    found = source_of(kind)
    request = found.request(source, channels, target, rater, variant, prefer)
    cases = without_leaks(find_cases(found, request))
    if not cases:
        raise ConversionError("expected at least one case, found none. Check the source.")
    outcome = check_cases(cases, headers_only=headers_only, accept=accepted_names(names_of(accept)), workers=workers)
    errors = [Problem("error", failure.case, failure.reason) for failure in outcome.failures]
    notes = [Problem("note", one.case.case_id, note) for one in outcome.results for note in _remarks(one, request.root)]
    notes += [Problem("note", "all cases", note) for note in voxel_size_notes(outcome.results)]
    ranked = [*sorted(errors, key=lambda row: row.case), *sorted(notes, key=lambda row: row.case)]
    return SourceCheck(len(cases), tuple(ranked))


def find_cases(found: Source, request: Request) -> list[Case]:
    """Cases of a source by the names of its files; nothing is read but tables.

    Raises
    ------
    ConversionError
        If an option is not the kind's, two cases would share a name, or as the source's `find`.
    """
    check_options(found, request)
    cases = found.find(request)
    check_case_ids(cases, request.path)
    return cases


def _info(found: Source, name: str | None) -> DatasetInfo:
    info = found.info if name is None else replace(found.info, name=name)
    if not re.fullmatch("[A-Za-z0-9_-]+", info.name):  # it becomes a folder's name
        raise ConversionError(
            f"--name {info.name}: expected letters, digits, dash and underscore. Choose another name."
        )
    return info


def _check_steps(cases: Sequence[Case], steps: Steps, source: Path) -> None:
    """Raise ConversionError for preparation of images that bring transforms, or by HD-BET if it is not installed."""
    moved = next((case for case in cases if case.transforms), None)
    if steps.any() and moved is not None:
        raise ConversionError(
            f"{source}: expected no preparation, because the images (of {moved.case_id}, say) are resampled by their "
            "own transforms, once. Leave the steps out, or choose a --variant that is co-registered already."
        )
    if steps.hd_bet:
        check_hd_bet()


def _checked(
    cases: Sequence[Case],
    request: Request,
    options: WriteOptions,
    looks: Mapping[str, Any],
    memory: Path | None,
    say: Say | None,
) -> Outcome[CheckedCase]:
    """Check the cases and tell what was found out; ConversionError if none is left."""
    outcome = check_cases(cases, steps=options.steps, workers=options.workers, memory=memory, **looks)
    _tell(say, outcome.failures)
    with _reasons(outcome.failures, say):
        if not outcome.results:
            raise ConversionError(f"{request.path}: none of {len(cases)} cases can be converted; nothing written.")
    _tell(say, _notes(outcome, options))
    return outcome


@contextmanager
def _reasons(failures: Sequence[Failure], say: Say | None) -> Iterator[None]:
    """Let an error carry the first of the cases that were left out before it, unless they are told already."""
    try:
        yield
    except NnunetMsError as error:
        for failure in failures[:SHOWN_FAILURES] if say is None else ():
            error.add_note(f"case {failure.case}: {failure.reason}")
        raise


def _also(failures: list[Failure], say: Say | None, more: Sequence[Failure]) -> None:
    """Tell of further failures, and keep them for an error that may follow from them."""
    _tell(say, more)
    failures.extend(more)


def _fold_notes(good: Sequence[CheckedCase], options: WriteOptions) -> list[str]:
    """What to know about the folds; ConversionError as `folds_of`."""
    roles = assign_roles([one.case for one in good], ())
    tests = set(options.test_patients)
    patient_of = {one.case.case_id: one.case.patient_id for one in good if one.case.patient_id not in tests}
    folds_of(patient_of, roles, options)
    return fold_notes(len({p for case, p in patient_of.items() if roles[case] == "train"}), options.folds)


def _tell(say: Say | None, what: Iterable[str | Failure]) -> None:
    if say is None:
        return
    for line in what:
        say(line)


def _notes(outcome: Outcome[CheckedCase], options: WriteOptions) -> list[str]:
    """What the user should know about good cases; with steps, provenance/ says what was resampled."""
    notes = _found_how([checked.case for checked in outcome.results])
    notes += [] if options.steps.spacing else voxel_size_notes(outcome.results)
    for checked in outcome.results:
        if checked.resampled and not options.steps.any():
            channels = ", ".join(checked.resampled)
            notes.append(f"{checked.case.case_id}: {channels} resampled onto {_grid_name(checked.case)}")
        if checked.remark:
            notes.append(f"{checked.case.case_id}: {checked.remark}")
        if link := links_out(checked.case, options.root):
            notes.append(f"{checked.case.case_id}: {link}")
    return notes


def _found_how(cases: Sequence[Case]) -> list[str]:
    """How cases were found, each remark once with the number of its cases."""
    remarks = Counter(case.remark for case in cases if case.remark)
    return [f"{number} {'case' if number == 1 else 'cases'} {remark}" for remark, number in remarks.items()]


def _remarks(checked: CheckedCase, root: Path) -> list[str]:
    remarks = [text for text in (checked.case.remark, checked.remark, links_out(checked.case, root)) if text]
    if checked.resampled:
        remarks.append(f"{', '.join(checked.resampled)} will be resampled onto {_grid_name(checked.case)}")
    if checked.case.label is None:
        remarks.append("no mask: becomes a test case")
    return remarks


def _grid_name(case: Case) -> str:
    return next(iter(case.images)) if case.reference is None else case.reference.name


def _conversion(
    folder: Path,
    outcome: Outcome[CheckedCase],
    later: Sequence[Failure],
    notes: Sequence[str],
    steps: Steps,
    *,
    written: bool = True,
) -> Conversion:
    failed = {failure.case for failure in later}
    good = [checked for checked in outcome.results if checked.case.case_id not in failed]
    return Conversion(
        folder=folder,
        cases=tuple(checked.case.case_id for checked in good),
        patients=tuple(sorted({checked.case.patient_id for checked in good})),
        failures=(*outcome.failures, *later),
        notes=tuple(notes),
        resampled={} if steps.any() else {one.case.case_id: one.resampled for one in good if one.resampled},
        written=written,
    )
