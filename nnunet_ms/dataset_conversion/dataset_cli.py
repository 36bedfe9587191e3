"""`nnunet-ms-convert back|splits`: after a dataset was written."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.commands import OK, parser, positive, run
from nnunet_ms.errors import ConversionError

PROGRAM = "nnunet-ms-convert"


def main(argv: Sequence[str]) -> int:
    """Run one of the two; `argv` starts with its name."""
    name, *rest = argv
    arguments, action = {"back": (back_parser, back), "splits": (splits_parser, splits)}[name]
    return run(f"{PROGRAM} {name}", lambda: action(arguments().parse_args(rest)))


def back_parser() -> argparse.ArgumentParser:
    """Arguments of `back`."""
    result = parser(
        f"{PROGRAM} back",
        "Take predictions back to the layout of their source (BIDS derivatives, or the source's folders).",
        f"{PROGRAM} back $nnUNet_raw/Dataset801_BIDS predictions -o derivatives/nnunetms",
    )
    result.add_argument("dataset", type=Path, help="the nnU-Net raw dataset")
    result.add_argument("predictions", type=Path, help="folder of predicted masks")
    result.add_argument("-o", "--out", type=Path, required=True, help="folder to write")
    result.add_argument("--probabilities", type=Path, help="folder of probability maps to take back too")
    result.add_argument("--source", type=Path, help="the BIDS data set of the images, if OUT is not in its derivatives")
    result.add_argument("--rater", default="nnunetms", help="name of the model (default: %(default)s)")
    result.add_argument(
        "--visit",
        choices=("baseline", "followup"),
        default="baseline",
        help="of pairs of visits: on whose grid, in whose folder (default: %(default)s)",
    )
    result.add_argument(
        "--layout",
        choices=("source", "isbi2015"),
        default="source",
        help="isbi2015: the test set's masks as the challenge's site takes them, and a zip (default: the source's)",
    )
    result.add_argument("--team", default="", help="with --layout isbi2015: the name that is submitted")
    result.add_argument(
        "--file-names",
        default="",
        metavar="NAME",
        help="with --layout isbi2015 (default: {scan}_{team}.nii)",
    )
    result.add_argument("--overwrite", action="store_true", help="replace the folder")
    return result


def back(args: argparse.Namespace) -> int:
    """Write the masks back."""
    if args.layout == "isbi2015":
        return submission(args)
    if args.team or args.file_names:
        raise ConversionError("--team, --file-names: expected with --layout isbi2015 only. Add it, or leave them out.")
    from nnunet_ms.dataset_conversion.raw_dataset.write_back import write_back

    written = write_back(
        args.dataset,
        args.predictions,
        args.out,
        args.rater,
        probabilities=args.probabilities,
        source=args.source,
        visit=args.visit,
        overwrite=args.overwrite,
    )
    print(f"wrote {len(written)} masks{' and maps' if args.probabilities else ''} to {args.out}")
    return OK


def submission(args: argparse.Namespace) -> int:
    """Write the files of a challenge, and their zip."""
    from nnunet_ms.dataset_conversion.raw_dataset.submission import FILE_NAMES, write_submission

    if args.probabilities or args.source:
        raise ConversionError("--probabilities, --source: the challenge takes masks alone. Leave them out.")
    default = back_parser().get_default
    if (args.rater, args.visit) != (default("rater"), default("visit")):
        raise ConversionError("--rater, --visit: the challenge's names have neither, but a --team. Leave them out.")
    done = write_submission(
        args.dataset,
        args.predictions,
        args.out,
        args.team,
        file_names=args.file_names or FILE_NAMES,
        overwrite=args.overwrite,
    )
    for note in done.notes:
        print(note)
    print(f"wrote {len(done.names)} masks, {done.names[0]} to {done.names[-1]}, and {done.path}")
    return OK


def splits_parser() -> argparse.ArgumentParser:
    """Arguments of `splits`."""
    result = parser(
        f"{PROGRAM} splits",
        "Write splits_final.json by patient: k-fold, stratified by lesion load, by site, or a cyclic learning curve.",
        f"{PROGRAM} splits $nnUNet_raw/Dataset801_Trial --scheme stratified --folds 5",
    )
    result.add_argument("dataset", type=Path, help="the nnU-Net raw dataset")
    result.add_argument("--scheme", choices=("kfold", "stratified", "site", "learning-curve"), default="kfold")
    result.add_argument("--folds", type=positive, default=5, help="folds, or subsets of a learning curve (default: 5)")
    result.add_argument("--seed", type=int, default=0, help="seed of the folds (default: 0)")
    return result


def splits(args: argparse.Namespace) -> int:
    """Make the folds and write them."""
    from nnunet_ms.dataset_conversion.raw_dataset.fold_files import make_folds, write_folds

    folds = make_folds(args.dataset, args.scheme, args.folds, args.seed)
    for path in write_folds(folds, args.dataset):
        print(f"wrote {len(folds)} folds to {path}")
    return OK
