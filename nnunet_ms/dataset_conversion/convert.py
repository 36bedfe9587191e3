"""Source data become an nnU-Net raw dataset: find, check, write, in that order; the commands parse and call this.

Messages name the command's options, whose words are those of the arguments: `--test-patients` is `test_patients`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nnunet_ms.dataset_conversion.cases import Case, names_of
from nnunet_ms.dataset_conversion.checks.check import CheckedCase, check_cases
from nnunet_ms.dataset_conversion.checks.plausibility import accepted_names
from nnunet_ms.dataset_conversion.checks.voxel_sizes import voxel_size_notes
from nnunet_ms.dataset_conversion.gather import Gathered, More, apart_from, gather_pairs, write_tables
from nnunet_ms.dataset_conversion.pair_checks import check_pairs
from nnunet_ms.dataset_conversion.pairs import PairChannels, Pairing, Registration, Space, pair_options
from nnunet_ms.dataset_conversion.raw_dataset.dataset_folder import new_folder
from nnunet_ms.dataset_conversion.raw_dataset.existing import check_fits, read_existing
from nnunet_ms.dataset_conversion.raw_dataset.roles import assign_roles, without_leaks
from nnunet_ms.dataset_conversion.raw_dataset.write import WriteOptions, check_writable, write_raw_dataset
from nnunet_ms.dataset_conversion.results import Conversion, Problem, SourceCheck
from nnunet_ms.dataset_conversion.sources.all_sources import Kind
from nnunet_ms.dataset_conversion.sources.patterns import Words
from nnunet_ms.dataset_conversion.steps import Steps, steps_of
from nnunet_ms.dataset_conversion.told import check_steps, flagged_pairs, notes_of_cases, notes_of_folds, remarks_of
from nnunet_ms.errors import ConversionError, NnunetMsError
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import Unfinished, resumable_folder
from nnunet_ms.parallel import Failure, Outcome, Workers
from nnunet_ms.threads import one_thread

Say = Callable[[str | Failure], None]
SHOWN_FAILURES = 10  # beside an error that ends a conversion


@one_thread
@known_keywords
def convert(
    source: str | Path,
    kind: Kind = "trial",
    *,
    dataset_id: int | None = None,
    raw: str | Path | None = None,
    name: str | None = None,
    channels: str | Sequence[str] | None = None,
    may_lack: str | Iterable[str] = (),
    target: str | None = None,
    patterns: Words = None,
    rater: str = "",
    variant: str = "",
    prefer: str = "",
    also: Sequence[More] = (),
    add_to: str | Path | None = None,
    test_patients: str | Iterable[str] = (),
    folds: int | None = None,
    seed: int = 0,
    steps: Steps | Mapping[str, Any] | None = None,
    pairs: Pairing | Literal[""] = "",
    space: Space = "baseline",
    registration: Registration = "",
    pair_channels: PairChannels = "subtraction",
    lesions: str = "",
    accept_poor_registration: bool = False,
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
    dataset_id : int, optional
        nnU-Net's number of the dataset, 1 to 999; needed unless `add_to` names one.
    raw : str or Path, optional
        Folder of raw datasets; default: the environment variable nnUNet_raw.
    name : str, optional
        Name of the dataset, letters, digits, dash and underscore; default: the kind's.
    channels : sequence of str, or str with commas, optional
        Sequences in their order; the first gives the grid. Default: the kind's.
    may_lack : str with commas or iterable of str, optional
        Channels that a case may lack: they become a channel of zeros, for a trainer of any sequences
        (`nnUNetTrainerMSMultiArmAny`). One of FLAIR and T2 must be there; for the joint T1 task, T1 after contrast
        agent.
    target : str, optional
        Reference mask to learn; default: the kind's.
    rater : str, optional
        Archives: a rater, `consensus` (default), `union` or `all`.
    variant : str, optional
        Archives: `preprocessed` (default) or `unprocessed`.
    prefer : str, optional
        `bids`, where a session has several files of one sequence: `run=last`, `flair.acq=3d`, with commas.
    patterns : mapping, sequence of "name=pattern", or path of a TOML file, optional
        `folder`: which file is which sequence of which patient and visit, see
        `nnunet_ms.dataset_conversion.sources.patterns`.
    also : sequence of (kind, path) or (kind, path, options), optional
        Further sources with the same channels and target; cases.csv then has a column `source`.
    add_to : str or Path, optional
        Instead of `dataset_id`: a raw dataset that gets the cases besides its own. Its patients keep their roles and
        folds, new ones are dealt out; the new dataset replaces the old one in one step.
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
    pairs : {"", "consecutive", "baseline"}, optional
        Two visits become one case: each visit with the one before, or with the patient's first one; they are
        registered, normalised in their common brain and subtracted (`docs/new_lesions.md`). `target` is then `new`,
        `new_or_enlarging` or `all`, and `channels` are the sequences of a visit.
    space, registration, pair_channels, accept_poor_registration
        Of pairs, see `pairs.PairOptions`.
    lesions : str, optional
        Of pairs: the mask of both visits that the change is made from; default: the kind's.
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
    existing = None if add_to is None else read_existing(add_to)
    told = {"space": space, "registration": registration, "channels": pair_channels, "target": target}
    paired = pair_options(pairs, **told, accept_poor_registration=accept_poor_registration)
    words: dict[str, Any] = {"rater": rater, "variant": variant, "prefer": prefer, "patterns": patterns}
    words |= {"channels": channels or (None if paired else existing and existing.channels), "target": target}
    words |= {"may_lack": names_of(may_lack)}
    found = gather_pairs(source, kind, also, paired, lesions, named=kind if existing else "", **words)
    rest = dict[str, Any](folds=folds, seed=seed, workers=workers, existing=existing, pairs=found.pairs)
    options = WriteOptions(
        info=found.info(name),
        channels=found.channels,
        labels=found.labels,
        test_patients=names_of(test_patients),
        steps=steps_of(steps),
        roots=found.roots,
        accept=accepted_names(names_of(accept)),
        **rest,
    )
    folder = _place(raw, dataset_id, name, options, overwrite=overwrite)
    cases, notes = _ready(found, options, say)
    read = partial(_checked, cases, found.first.path, options, headers_only=headers_only)
    if dry_run:
        return _tried(read(None, say), notes, folder, options, say)
    check_writable(folder)
    with resumable_folder(folder, replace=overwrite or existing is not None) as work:
        return _filled(read(work.memory, say), notes, work, folder, options, found, say)


def _tried(
    outcome: Outcome[CheckedCase], notes: list[str], folder: Path, options: WriteOptions, say: Say | None
) -> Conversion:
    """What would be written; raises what would be raised, as far as reading shows it."""
    with _reasons(outcome.failures, say):
        later = notes_of_folds(outcome.results, options)
    _tell(say, later)
    all_notes = [*notes, *notes_of_cases(outcome, options), *later]
    return _conversion(folder, outcome, [], all_notes, options.steps, written=False)


def _filled(
    outcome: Outcome[CheckedCase],
    notes: list[str],
    work: Unfinished,
    folder: Path,
    options: WriteOptions,
    found: Gathered,
    say: Say | None,
) -> Conversion:
    """Write the dataset into its unfinished folder."""
    failures: list[Failure] = list(outcome.failures)
    with _reasons(failures, say):
        written = write_raw_dataset(outcome.results, work, options, partial(_also, failures, say))
    left = {failure.case for failure in written}
    later = notes_of_folds([one for one in outcome.results if one.case.case_id not in left], options)
    later += write_tables(found, work.folder)
    _tell(say, later)
    flagged = flagged_pairs(outcome, work.folder, options)
    if options.pairs is not None and options.pairs.accept_poor_registration:
        later += [f"{one.case}: accepted: {one.reason}" for one in flagged]
        _tell(say, later[-len(flagged) :] if flagged else [])
        flagged = []
    _tell(say, flagged)
    all_notes = [*notes, *notes_of_cases(outcome, options), *later]
    return replace(_conversion(folder, outcome, written, all_notes, options.steps), flagged=tuple(flagged))


def _place(
    raw: str | Path | None, dataset_id: int | None, name: str | None, options: WriteOptions, *, overwrite: bool
) -> Path:
    """Where the dataset goes: a new folder, or that of the dataset that is added to."""
    if options.existing is None:
        return new_folder(raw, dataset_id, options.info.name, overwrite=overwrite)
    if dataset_id is not None or name is not None or raw is not None or overwrite:
        raise ConversionError(
            f"--add-to {options.existing.folder}: expected no --dataset-id, --name, --raw and --overwrite, which the "
            "dataset has settled. Leave them out."
        )
    return options.existing.folder


def _ready(found: Gathered, options: WriteOptions, say: Say | None) -> tuple[list[Case], list[str]]:
    """The cases with what keeps some of them out, and what to tell before anything is read."""
    old = options.existing
    check_steps(found.cases, options.steps, found.first.path, options.pairs)
    cases, notes = list(found.cases), list(found.notes)
    if old is not None:
        cases, more = apart_from(old, cases, [source.kind for source, _ in found.parts])
        notes += more
        check_fits(old, cases, options.channels, options.labels)
    assign_roles(cases, options.test_patients)  # an unknown test patient is said before anything is read
    trained = frozenset() if old is None else old.patients("train")
    _tell(say, notes)
    return without_leaks(cases, options.test_patients, trained), notes


def check(
    source: str | Path,
    kind: Kind = "trial",
    *,
    channels: str | Sequence[str] | None = None,
    may_lack: str | Iterable[str] = (),
    target: str | None = None,
    patterns: Words = None,
    rater: str = "",
    variant: str = "",
    prefer: str = "",
    also: Sequence[More] = (),
    pairs: Pairing | Literal[""] = "",
    space: Space = "baseline",
    registration: Registration | Literal[""] = "",
    pair_channels: PairChannels = "subtraction",
    lesions: str = "",
    accept_poor_registration: bool = False,
    headers_only: bool = False,
    accept: str | Iterable[str] = (),
    workers: Workers = 1,
) -> SourceCheck:
    """Read a source as `convert` would, write nothing, and return its problems; the arguments are those of `convert`.

    Pairs are registered and subtracted, because what is wrong with two visits does not show otherwise.

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
    words: dict[str, Any] = {"channels": channels, "target": target, "rater": rater, "variant": variant}
    words |= {"may_lack": names_of(may_lack)}
    told = {"space": space, "registration": registration, "channels": pair_channels, "target": target}
    paired = pair_options(pairs, **told, accept_poor_registration=accept_poor_registration)
    found = gather_pairs(source, kind, also, paired, lesions, prefer=prefer, patterns=patterns, **words)
    cases, accepted = without_leaks(found.cases), accepted_names(names_of(accept))
    if not cases:
        raise ConversionError("expected at least one case, found none. Check the source.")
    outcome = check_cases(cases, headers_only=headers_only, accept=accepted, workers=workers)
    unlike = check_pairs(outcome.results, found.pairs, found.channels, accepted, workers) if found.pairs else []
    errors = [Problem("error", failure.case, failure.reason) for failure in (*outcome.failures, *unlike)]
    notes = [
        Problem("note", one.case.case_id, note) for one in outcome.results for note in remarks_of(one, found.roots)
    ]
    notes += [Problem("note", "all cases", note) for note in voxel_size_notes(outcome.results)]
    ranked = [*sorted(errors, key=lambda row: row.case), *sorted(notes, key=lambda row: row.case)]
    return SourceCheck(len(cases), tuple(ranked))


def _checked(
    cases: Sequence[Case],
    source: Path,
    options: WriteOptions,
    memory: Path | None,
    say: Say | None,
    *,
    headers_only: bool,
) -> Outcome[CheckedCase]:
    """Check the cases and tell what was found out; ConversionError if none is left."""
    how: dict[str, Any] = {"headers_only": headers_only, "accept": options.accept, "memory": memory}
    outcome = check_cases(cases, steps=options.steps, workers=options.workers, **how)
    _tell(say, outcome.failures)
    with _reasons(outcome.failures, say):
        if not outcome.results:
            raise ConversionError(f"{source}: none of {len(cases)} cases can be converted; nothing written.")
    _tell(say, notes_of_cases(outcome, options))
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


def _tell(say: Say | None, what: Iterable[str | Failure]) -> None:
    if say is None:
        return
    for line in what:
        say(line)


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
