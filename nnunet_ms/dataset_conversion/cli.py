"""`nnunet-ms-convert`: trial and challenge data become nnU-Net raw data."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms.commands import (
    COULD_NOT_RUN,
    OK,
    SOME_CASES_FAILED,
    add_parallel_options,
    parser,
    positive,
    report_failures,
    run,
)
from nnunet_ms.dataset_conversion import dataset_cli, guess_cli
from nnunet_ms.dataset_conversion.cases import names_of
from nnunet_ms.dataset_conversion.pair_options import add_pair_options, chosen_pairs
from nnunet_ms.dataset_conversion.preparation_options import add_step_options, chosen_steps
from nnunet_ms.dataset_conversion.source_options import add_patterns, more_sources, patterns_in
from nnunet_ms.dataset_conversion.sources.all_sources import SOURCES
from nnunet_ms.errors import ConversionError, visible

if TYPE_CHECKING:
    from nnunet_ms.parallel import Failure

PROGRAM = "nnunet-ms-convert"
SOURCE_OPTIONS = ("channels", "may_lack", "target", "rater", "variant", "prefer", "also", "headers_only", "accept")


def build_parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    result = parser(
        PROGRAM,
        "Write trial or challenge data as an nnU-Net raw dataset: complete or absent, folds by patient.",
        f"{PROGRAM} trial study/manifest.csv --dataset-id 801 --test-patients P031,P032 --workers 2\n\n"
        f"before and after: {PROGRAM} guess | manifest | check | splits | back, each with --help",
    )
    _add_source(result)
    result.add_argument("--dataset-id", type=positive, metavar="N", help="nnU-Net dataset number, 1-999")
    result.add_argument(
        "--add-to", type=Path, metavar="DATASET", help="instead of a number: a raw dataset that gets the cases as well"
    )
    result.add_argument("--name", help="dataset name (default: the kind's)")
    result.add_argument("--raw", type=Path, help="folder of raw datasets (default: $nnUNet_raw)")
    result.add_argument(
        "--folds",
        type=positive,
        help="cross-validation folds by patient (default: 3, or as many as patients train; none where none does)",
    )
    result.add_argument("--seed", type=int, default=0, help="seed of the folds (default: 0)")
    result.add_argument(
        "--test-patients", default="", metavar="IDS", help="comma-separated, or @file with one per line"
    )
    add_parallel_options(result)
    result.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    result.add_argument("--overwrite", action="store_true", help="replace the dataset of this number")
    add_step_options(result)
    add_pair_options(result)
    return result


def _add_source(result: argparse.ArgumentParser) -> None:
    result.add_argument("kind", choices=tuple(SOURCES), help="layout of the source")
    result.add_argument("source", type=Path, help="manifest CSV (trial) or folder (the others)")
    result.add_argument("--channels", help="sequences in order; the first gives the grid (default: the kind's)")
    result.add_argument(
        "--may-lack",
        default="",
        metavar="CHANNELS",
        help="channels that a case may lack, such as t2,t1: zeros then, for nnUNetTrainerMSMultiArmAny and its like",
    )
    result.add_argument("--target", help="reference mask to learn (default: the kind's)")
    result.add_argument("--rater", default="", help="archives: a rater, consensus (default), union or all")
    result.add_argument(
        "--variant",
        default="",
        help="archives: preprocessed (default) or unprocessed; open_ms: coregistered (default), raw (docs/sources.md)",
    )
    result.add_argument(
        "--prefer",
        default="",
        metavar="ENTITIES",
        help="bids, where a session has several files of one sequence: run=last, acq=3d, flair.acq=3d,t1.run=1 ...",
    )
    add_patterns(result)
    result.add_argument(
        "--also",
        action="append",
        nargs=2,
        default=[],
        metavar=("KIND", "SOURCE"),
        help="a further source, same channels and target; its options after the kind: ms3seg,variant=registered",
    )
    result.add_argument(
        "--headers-only",
        action="store_true",
        help="believe the voxels of copied files unread: fast, but NaN, odd labels, and damage inside are not seen",
    )
    result.add_argument(
        "--accept",
        default="",
        metavar="NAMES",
        help="what may be so, though it looks wrong, as the message names it: mask_contrast,alignment ...",
    )


def check_parser() -> argparse.ArgumentParser:
    """Arguments of `check`."""
    result = parser(
        f"{PROGRAM} check",
        "Read a source as a conversion would, write nothing, and print its problems by severity.",
        f"{PROGRAM} check trial study/manifest.csv --json",
    )
    _add_source(result)
    add_pair_options(result)
    add_parallel_options(result)
    result.add_argument("--json", action="store_true", help="print JSON")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 all cases, 1 some cases left out and listed, 2 nothing written."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] in (["back"], ["splits"]):
        return dataset_cli.main(arguments)
    if arguments[:1] in (["guess"], ["manifest"]):
        return guess_cli.main(arguments)
    if arguments[:1] == ["check"]:
        return run(f"{PROGRAM} check", lambda: run_check(check_parser().parse_args(arguments[1:])), only_prints=True)
    remains = "Cases that are written are kept aside. Repeat the command to go on."
    return run(PROGRAM, lambda: run_convert(build_parser().parse_args(arguments)), remains)


def run_convert(args: argparse.Namespace) -> int:
    """Call `convert` and print what it says."""
    from nnunet_ms.dataset_conversion.convert import convert

    done = convert(
        args.source,
        args.kind,
        dataset_id=args.dataset_id,
        raw=args.raw,
        name=args.name,
        add_to=args.add_to,
        **_of_source(args),
        test_patients=read_patients(args.test_patients),
        folds=args.folds,
        seed=args.seed,
        steps=chosen_steps(args),
        **chosen_pairs(args),
        workers=args.workers,
        overwrite=args.overwrite,
        dry_run=args.dry_run,
        say=_say,
    )
    print(done.summary())
    return SOME_CASES_FAILED if done.failures or done.flagged else OK


def run_check(args: argparse.Namespace) -> int:
    """Call `check` and print the problems; 0 none or notes only, 1 some cases have errors, 2 all have."""
    from nnunet_ms.dataset_conversion.convert import check

    found = check(args.source, args.kind, **_of_source(args), **chosen_pairs(args), workers=args.workers)
    if args.json:
        print(json.dumps({"cases": found.cases, "problems": [asdict(row) for row in found.problems]}, indent=2))
    else:
        for row in found.problems:
            print(f"{row.severity:6} {visible(row.case)}: {visible(row.problem)}")
        errors = sum(row.severity == "error" for row in found.problems)
        print(f"{found.cases} cases: {errors} with errors, {len(found.problems) - errors} notes; nothing written")
    return OK if not found.failed else COULD_NOT_RUN if len(found.failed) == found.cases else SOME_CASES_FAILED


def _of_source(args: argparse.Namespace) -> dict[str, Any]:
    """The options that `convert` and `check` share."""
    words = {name: getattr(args, name) for name in SOURCE_OPTIONS}
    return words | {"also": more_sources(args.also), "patterns": patterns_in(args)}


def _say(what: "str | Failure") -> None:
    if isinstance(what, str):
        print(visible(what))
    else:
        report_failures([what], PROGRAM)


def read_patients(text: str) -> tuple[str, ...]:
    """Patient ids from a comma-separated list, or from a file with one per line when the text starts with @."""
    if not text.startswith("@"):
        return names_of(text)
    path = Path(text[1:])
    if not path.is_file():
        raise ConversionError(f"--test-patients: {path}: no such file. Check the path and the spelling.")
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


if __name__ == "__main__":
    raise SystemExit(main())
