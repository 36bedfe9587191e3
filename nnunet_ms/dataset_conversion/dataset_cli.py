"""`nnunet-ms-convert check|back|splits`: look before, and after a dataset was written."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.commands import COULD_NOT_RUN, OK, SOME_CASES_FAILED, parser, positive, run
from nnunet_ms.errors import ConversionError, visible

PROGRAM = "nnunet-ms-convert"


def main(argv: Sequence[str]) -> int:
    """Run one of the three; `argv` starts with its name."""
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
    result.add_argument("--rater", default="nnunetms", help="name of the model (default: %(default)s)")
    result.add_argument("--overwrite", action="store_true", help="replace the folder")
    return result


def back(args: argparse.Namespace) -> int:
    """Write the masks back."""
    from nnunet_ms.dataset_conversion.raw_dataset.write_back import write_back

    number = write_back(args.dataset, args.predictions, args.out, args.rater, overwrite=args.overwrite)
    print(f"wrote {number} masks to {args.out}")
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
    variable = "nnUNet_preprocessed"  # nnU-Net's own name
    place = os.environ.get(variable)
    for path in write_folds(folds, args.dataset, Path(place) if place else None):
        print(f"wrote {len(folds)} folds to {path}")
    return OK


def print_problems(rows: Sequence[dict[str, str]], number: int, *, as_json: bool) -> int:
    """Print the problems of a source by severity; 0 none or notes only, 1 some cases have errors, 2 all or no cases."""
    order = {"error": 0, "note": 1}
    ranked = sorted(rows, key=lambda row: (order[row["severity"]], row["case"]))
    if as_json:
        print(json.dumps({"cases": number, "problems": ranked}, indent=2))
    else:
        for row in ranked:
            print(f"{row['severity']:6} {visible(row['case'])}: {visible(row['problem'])}")
        errors = sum(row["severity"] == "error" for row in ranked)
        print(f"{number} cases: {errors} with errors, {len(ranked) - errors} notes; nothing written")
    failed = {row["case"] for row in ranked if row["severity"] == "error"}
    if number == 0:
        raise ConversionError("expected at least one case, found none. Check the source.")
    return OK if not failed else COULD_NOT_RUN if len(failed) == number else SOME_CASES_FAILED
