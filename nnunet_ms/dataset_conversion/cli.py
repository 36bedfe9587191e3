"""`nnunet-ms-convert`: trial and challenge data become nnU-Net raw data."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ms.commands import OK, SOME_CASES_FAILED, add_parallel_options, parser, positive, report_failures, run
from nnunet_ms.dataset_conversion import dataset_cli
from nnunet_ms.dataset_conversion.preparation_options import add_step_options, steps_of
from nnunet_ms.errors import ConversionError, visible

if TYPE_CHECKING:
    from types import ModuleType

    from nnunet_ms.dataset_conversion.cases import Case
    from nnunet_ms.dataset_conversion.checks.check import CheckedCase
    from nnunet_ms.dataset_conversion.raw_dataset.write import WriteOptions
    from nnunet_ms.parallel import Failure, Outcome

PROGRAM = "nnunet-ms-convert"
ARCHIVES = ("isbi2015", "msseg2016", "msseg2_2021", "mslesseg", "shifts", "wmh2017", "open_ms_longitudinal", "bids")
KINDS = ("trial", "open_ms", "ms3seg", *ARCHIVES)


def build_parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    result = parser(
        PROGRAM,
        "Write trial or challenge data as an nnU-Net raw dataset: complete or absent, folds by patient.",
        f"{PROGRAM} trial study/manifest.csv --dataset-id 801 --test-patients P031,P032 --workers 2\n\n"
        f"before and after: {PROGRAM} check | splits | back, each with --help",
    )
    _add_source(result)
    result.add_argument("--dataset-id", type=positive, required=True, metavar="N", help="nnU-Net dataset number, 1-999")
    result.add_argument("--name", help="dataset name (default: the kind's)")
    result.add_argument("--raw", type=Path, help="folder of raw datasets (default: $nnUNet_raw)")
    result.add_argument("--folds", type=positive, default=3, help="cross-validation folds by patient (default: 3)")
    result.add_argument("--seed", type=int, default=0, help="seed of the folds (default: 0)")
    result.add_argument(
        "--test-patients", default="", metavar="IDS", help="comma-separated, or @file with one per line"
    )
    add_parallel_options(result)
    result.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    result.add_argument("--overwrite", action="store_true", help="replace the dataset of this number")
    add_step_options(result)
    return result


def _add_source(result: argparse.ArgumentParser) -> None:
    result.add_argument("kind", choices=KINDS, help="layout of the source")
    result.add_argument("source", type=Path, help="manifest CSV (trial) or folder (the others)")
    result.add_argument("--channels", help="sequences in order; the first gives the grid (default: the kind's)")
    result.add_argument("--target", help="reference mask to learn (default: the kind's)")
    result.add_argument("--rater", default="", help="archives: a rater, consensus (default), union or all")
    result.add_argument("--variant", default="", help="archives: preprocessed (default) or unprocessed")
    result.add_argument(
        "--prefer",
        default="",
        metavar="ENTITIES",
        help="bids, where a session has several files of one sequence: run=last, acq=3d, flair.acq=3d,t1.run=1 ...",
    )
    result.add_argument(
        "--headers-only",
        action="store_true",
        help="believe the voxels of copied files unread: fast, but NaN, odd labels, and damage inside are not seen",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 all cases, 1 some cases left out and listed, 2 nothing written."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] in (["back"], ["splits"]):
        return dataset_cli.main(arguments)
    if arguments[:1] == ["check"]:
        return run(f"{PROGRAM} check", lambda: check(check_parser().parse_args(arguments[1:])))
    remains = "Cases that are written are kept aside. Repeat the command to go on."
    return run(PROGRAM, lambda: convert(build_parser().parse_args(arguments)), remains)


def check_parser() -> argparse.ArgumentParser:
    """Arguments of `check`."""
    result = parser(
        f"{PROGRAM} check",
        "Read a source as a conversion would, write nothing, and print its problems by severity.",
        f"{PROGRAM} check trial study/manifest.csv --json",
    )
    _add_source(result)
    add_parallel_options(result)
    result.add_argument("--json", action="store_true", help="print JSON")
    return result


def check(args: argparse.Namespace) -> int:
    """Find and check; 0 no error, 1 some cases have errors, 2 all have."""
    from nnunet_ms.dataset_conversion.cases import check_case_ids
    from nnunet_ms.dataset_conversion.checks.check import CheckOptions, check_cases

    cases = find_cases(args)
    check_case_ids(cases, args.source)
    outcome = check_cases(cases, args.workers, CheckOptions(headers_only=args.headers_only))
    rows = [{"severity": "error", "case": f.case, "problem": f.reason} for f in outcome.failures]
    for checked in outcome.results:
        notes = [checked.remark] if checked.remark else []
        if checked.resampled:
            notes.append(f"{', '.join(checked.resampled)} will be resampled onto {_grid_name(checked.case)}")
        if checked.case.label is None:
            notes.append("no mask: becomes a test case")
        rows += [{"severity": "note", "case": checked.case.case_id, "problem": note} for note in notes]
    return dataset_cli.print_problems(rows, len(cases), as_json=args.json)


def convert(args: argparse.Namespace) -> int:
    """Find, check, write."""
    from nnunet_ms.dataset_conversion.cases import check_case_ids
    from nnunet_ms.dataset_conversion.checks.check import CheckOptions, check_cases
    from nnunet_ms.dataset_conversion.raw_dataset.write import assign_roles, check_writable, write_raw_dataset
    from nnunet_ms.outputs import remove_leftovers, resumable_folder

    folder = dataset_folder(args)
    options = write_options(args)
    reading = CheckOptions(args.headers_only, options.steps.brain_mask, options.steps.n4)
    cases = find_cases(args)
    check_case_ids(cases, args.source)
    assign_roles(cases, options.test_patients)
    if args.dry_run:
        outcome = check_cases(cases, args.workers, reading)
        return _report(args, folder, outcome, _announce(args, outcome, len(cases)))
    check_writable(folder)
    remove_leftovers(folder)
    with resumable_folder(folder, replace=args.overwrite) as work:
        outcome = check_cases(cases, args.workers, reading, work.memory)
        failures = _announce(args, outcome, len(cases))
        failures = [*failures, *write_raw_dataset(outcome.results, work, options)]
        if args.kind == "bids":
            _write_clinical(args.source, work.folder)
    return _report(args, folder, outcome, failures)


def _write_clinical(source: Path, folder: Path) -> None:
    """Write the clinical tables of a BIDS data set into the new dataset."""
    from nnunet_ms.dataset_conversion.sources.bids_tables import read_clinical, write_clinical

    clinical = read_clinical(source)
    for name in write_clinical(clinical, folder):
        print(f"with {name} from the tables of {source.name}")
    for note in clinical.notes:
        print(note)


def _announce(args: argparse.Namespace, outcome: "Outcome[CheckedCase]", number: int) -> "list[Failure]":
    """Print what was found out; ConversionError if no case is left."""
    report_failures(outcome.failures, PROGRAM)
    if not outcome.results:
        raise ConversionError(f"{args.source}: none of {number} cases can be converted; nothing written.")
    prepares = steps_of(args).any()  # then provenance/ says what was resampled
    for checked in outcome.results:
        if checked.resampled and not prepares:
            print(f"{checked.case.case_id}: {', '.join(checked.resampled)} resampled onto {_grid_name(checked.case)}")
        if checked.remark:
            print(f"{checked.case.case_id}: {visible(checked.remark)}")
    return outcome.failures


def _report(
    args: argparse.Namespace, folder: Path, outcome: "Outcome[CheckedCase]", failures: "Sequence[Failure]"
) -> int:
    later = failures[len(outcome.failures) :]
    report_failures(later, PROGRAM)
    failed = {failure.case for failure in later}
    good = [checked.case for checked in outcome.results if checked.case.case_id not in failed]
    print(
        f"{'would write' if args.dry_run else 'wrote'} {folder}: {len(good)} cases of "
        f"{len({case.patient_id for case in good})} patients, {len(failures)} left out"
    )
    return SOME_CASES_FAILED if failures else OK


def _grid_name(case: "Case") -> str:
    return next(iter(case.images)) if case.reference is None else case.reference.name


def dataset_folder(args: argparse.Namespace) -> Path:
    """Return the folder to write.

    Raises
    ------
    ConversionError
        If no raw folder is known, the number is above 999, or it is taken.
    """
    raw = args.raw or _folder_from("nnUNet_raw")
    if raw is None:
        raise ConversionError("no raw folder: give --raw DIR or set nnUNet_raw.")
    if args.dataset_id > 999:
        raise ConversionError(f"--dataset-id {args.dataset_id}: expected 1 to 999. Choose another number.")
    folder: Path = raw / f"Dataset{args.dataset_id:03d}_{write_options(args).info.name}"
    others = _other_names(folder, args.dataset_id)
    if others or (folder.exists() and not args.overwrite):
        raise ConversionError(
            f"{raw}: dataset number {args.dataset_id} is taken by {others or folder.name}. Choose another --dataset-id"
            + ("." if others else ", or --overwrite it.")
        )
    return folder


def _folder_from(variable: str) -> Path | None:
    place = os.environ.get(variable)
    return Path(place) if place else None


def _other_names(folder: Path, number: int) -> list[str]:
    """Names of other datasets with this number, in nnU-Net's three folders: it could not tell them apart."""
    places = {folder.parent, *map(_folder_from, ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"))} - {None}
    found = {path.name for place in places if place and place.is_dir() for path in place.glob(f"Dataset{number:03d}_*")}
    return sorted(found - {folder.name})


def write_options(args: argparse.Namespace) -> "WriteOptions":
    """Return the options of the dataset from the arguments."""
    from nnunet_ms.dataset_conversion.cases import label_names
    from nnunet_ms.dataset_conversion.raw_dataset.write import WriteOptions

    module = source_module(args.kind)
    info = module.INFO if args.name is None else replace(module.INFO, name=args.name)
    if not re.fullmatch("[A-Za-z0-9_-]+", info.name):  # it becomes a folder's name
        raise ConversionError(
            f"--name {info.name}: expected letters, digits, dash and underscore. Choose another name."
        )
    return WriteOptions(
        info=info,
        channels=tuple(split_names(args.channels or module.CHANNELS)),
        labels=label_names(args.target or module.TARGET),
        test_patients=tuple(read_patients(args.test_patients)),
        folds=args.folds,
        seed=args.seed,
        workers=args.workers,
        steps=steps_of(args),
        root=args.source if args.source.is_dir() else args.source.parent,
    )


def source_module(kind: str) -> "ModuleType":
    """Return the module of a source; each has `INFO` and `find_cases`."""
    return import_module(f"nnunet_ms.dataset_conversion.sources.{kind}")


def find_cases(args: argparse.Namespace) -> "list[Case]":
    """Return the cases of the source; names only, nothing is read.

    Raises
    ------
    ConversionError
        If `--rater` or `--variant` is given for a kind that has neither, or as the kind's `find_cases`.
    """
    module = source_module(args.kind)
    channels, target = split_names(args.channels or module.CHANNELS), args.target or module.TARGET
    if args.prefer and args.kind != "bids":
        raise ConversionError(f"--prefer is for bids; remove it for {args.kind}.")
    if args.kind == "bids":
        return list(module.find_cases(args.source, channels, target, args.rater, args.variant, args.prefer))
    if args.kind in ARCHIVES:
        return list(module.find_cases(args.source, channels, target, args.rater, args.variant))
    if args.rater or args.variant:
        raise ConversionError(f"--rater and --variant are for {', '.join(ARCHIVES)}; remove them for {args.kind}.")
    return list(module.find_cases(args.source, channels, target))


def split_names(text: str) -> list[str]:
    """Split a comma-separated list, without blanks."""
    return [name.strip() for name in text.split(",") if name.strip()]


def read_patients(text: str) -> list[str]:
    """Patient ids from a comma-separated list, or from a file with one per line when the text starts with @."""
    if not text.startswith("@"):
        return split_names(text)
    path = Path(text[1:])
    if not path.is_file():
        raise ConversionError(f"--test-patients: {path}: no such file. Check the path and the spelling.")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


if __name__ == "__main__":
    sys.exit(main())
