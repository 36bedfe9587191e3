"""`nnunet-ms-segment`: from scans to lesion masks and tables, with whatever sequences there are."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_ms.commands import (
    OK,
    SOME_CASES_FAILED,
    add_parallel_options,
    parser,
    report_failures,
    run,
)

PROGRAM = "nnunet-ms-segment"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; it needs no library beyond Python's own."""
    command = parser(
        PROGRAM,
        "Segment the lesions of scans as they come: skull, registration, prediction with uncertainty, masks in every "
        "input's grid, tables of lesions and visits, what changed since the visit before.",
        f"{PROGRAM} --flair FLAIR.nii.gz --t1 T1.nii.gz -o segmented",
    )
    command.add_argument(
        "source", nargs="?", type=Path, metavar="INPUT",
        help="manifest (CSV), BIDS folder, or folder of one patient; or name the images of one scan:",
    )  # fmt: skip
    for name, words in (("flair", "FLAIR"), ("t2", "T2"), ("t1", "T1"), ("t1post", "T1 after contrast agent")):
        command.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"{words} of one scan")
    command.add_argument("--brain-mask", type=Path, metavar="FILE", help="brain mask of the one scan")
    command.add_argument("--patient", default="", metavar="ID", help="of the one scan (default: its folder's name)")
    command.add_argument("--visit", default="", metavar="NAME", help="of the one scan")
    command.add_argument(
        "--prefer", default="", metavar="ENTITIES", help="BIDS, of several files of a sequence: run=last, flair.acq=3d"
    )
    command.add_argument("-o", "--out", type=Path, required=True, help="folder to write, new")
    command.add_argument("--overwrite", action="store_true", help="replace the folder")
    _add_model(command)
    _add_preparation(command)
    _add_output(command)
    return command


def _add_model(command: argparse.ArgumentParser) -> None:
    model = command.add_argument_group("model")
    model.add_argument(
        "--model", metavar="MODEL", help="name of an installed model, folder, or packed file (default: ms-any-small)"
    )
    model.add_argument("--samples", type=int, default=10, help="per fold, for the uncertainty; 0: none (%(default)s)")
    model.add_argument("--seed", type=int, default=0, help="of the samples (%(default)s)")
    model.add_argument("--threshold", type=float, default=0.5, help="of the mean probability (%(default)s)")
    model.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="spread the samples over mirrored images, and over subsets of the sequences where the network takes any",
    )
    model.add_argument("-device", "--device", help="cuda, cuda:1, cpu or mps (default: the first that is there)")


def _add_preparation(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("preparation")
    group.add_argument(
        "--brain", choices=("auto", "given", "deepbet", "none"), default="auto",
        help="auto: the brain mask of the data; without one what has no skull is left, else deepbet's (extra brain)",
    )  # fmt: skip
    group.add_argument(
        "--align", choices=("auto", "rigid", "none"), default="auto",
        help="the other sequences to the first; auto: where grids differ or images do not fit (%(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--trim", action=argparse.BooleanOptionalAction, default=True,
        help="cut away what a brain mask leaves more than 3 mm outside of MNI152's brain (neck, eyes)",
    )  # fmt: skip
    group.add_argument(
        "--accept", default="", metavar="NAMES", help="what may be so, though it looks wrong, as the message names it"
    )


def _add_output(command: argparse.ArgumentParser) -> None:
    output = command.add_argument_group("output and work")
    output.add_argument("--rater", default="", help="the model's name in all tables (default: its own)")
    output.add_argument("--data-note", dest="note", default="", help="what the data are, such as real or simulated")
    output.add_argument("--no-pictures", dest="pictures", action="store_false", help="no pictures")
    output.add_argument("--bids-out", type=Path, metavar="FOLDER", help="the masks as a BIDS derivative, besides")
    output.add_argument("--keep-work", action="store_true", help="keep the images as the network got them, in work/")
    add_parallel_options(output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if some scans failed, or 2 if nothing could be done."""
    remains = "Scans that are done are kept aside. Repeat the command to go on."
    return run(PROGRAM, lambda: _segment(vars(build_parser().parse_args(argv))), remains)


def _segment(options: dict[str, Any]) -> int:
    from nnunet_ms.nnunet import require_nnunet

    require_nnunet()
    from tqdm import tqdm

    from nnunet_ms.segmentation.segment import segment

    done = segment(**options, say=tqdm.write)
    report_failures(done.failures, PROGRAM)
    print(done.summary())
    return SOME_CASES_FAILED if done.failures else OK


if __name__ == "__main__":
    raise SystemExit(main())
