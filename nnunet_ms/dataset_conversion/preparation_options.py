"""Options of `nnunet-ms-convert` for the optional preparation of images."""

import argparse
from typing import TYPE_CHECKING

from nnunet_ms.commands import positive
from nnunet_ms.errors import ConversionError

if TYPE_CHECKING:
    from nnunet_ms.dataset_conversion.preparation import Steps

NO_STEPS = ("open_ms_longitudinal",)  # its images come with transforms and are resampled by them, once


def add_step_options(to: argparse.ArgumentParser) -> None:
    """Add one flag per step; without any, files are copied."""
    group = to.add_argument_group(
        "preparation of the images", "Each step is asked for, and recorded per case in provenance/ and cases.csv."
    )
    group.add_argument("--n4", action="store_true", help="correct the bias field (N4) of every image")
    group.add_argument(
        "--align", choices=("rigid", "affine"), default="", help="register the other channels to the first one"
    )
    group.add_argument(
        "--to-baseline", action="store_true", help="register later visits (rigidly) to the patient's first one"
    )
    group.add_argument("--reorient", action="store_true", help="axes to right, anterior, superior")
    group.add_argument(
        "--spacing", type=spacing, metavar="MM", help="voxels of this size: 1x1x3 (implies --reorient), 1, or isotropic"
    )
    group.add_argument(
        "--apply-brain-mask", action="store_true", help="0 outside the brain mask that comes with the data"
    )
    group.add_argument("--hd-bet", action="store_true", help="brain mask by the external command hd-bet, applied")
    group.add_argument("--threads", type=positive, default=1, help="threads per process for these steps (default: 1)")


def spacing(text: str) -> "tuple[float, float, float] | str":
    """Parse `1x1x3`, `1` or `isotropic` (for argparse)."""
    if text == "isotropic":
        return text
    parts = text.split("x")
    values = [float(part) for part in (parts * 3 if len(parts) == 1 else parts)]
    if len(values) != 3 or not all(0.05 <= value <= 25 for value in values):
        raise argparse.ArgumentTypeError(f"expected 1x1x3, 1 or isotropic in mm, found {text}")
    return values[0], values[1], values[2]


def steps_of(args: argparse.Namespace) -> "Steps":
    """Steps from the arguments.

    Raises
    ------
    ConversionError
        If two steps exclude each other, hd-bet is not installed, or the kind comes aligned already.
    """
    from nnunet_ms.dataset_conversion.preparation import Steps
    from nnunet_ms.images.brain_mask import check_hd_bet

    if args.hd_bet and args.apply_brain_mask:
        raise ConversionError("--hd-bet and --apply-brain-mask: expected one brain mask, found two. Leave one out.")
    steps = Steps(
        reorient=args.reorient or (isinstance(args.spacing, tuple) and len(set(args.spacing)) > 1),
        n4=args.n4,
        align=args.align,
        to_baseline=args.to_baseline,
        spacing=args.spacing,
        brain_mask=args.apply_brain_mask,
        hd_bet=args.hd_bet,
        threads=args.threads,
    )
    if steps.any() and args.kind in NO_STEPS:
        raise ConversionError(
            f"{args.kind}: expected no preparation, because its images are resampled by its own transforms, once. "
            "Leave the steps out."
        )
    if steps.hd_bet:
        check_hd_bet()
    return steps
