"""Options of `nnunet-ms-convert` for the optional preparation of images."""

import argparse
from dataclasses import fields

from nnunet_ms.commands import positive
from nnunet_ms.dataset_conversion.steps import Steps
from nnunet_ms.images.limits import are_edges


def add_step_options(to: argparse.ArgumentParser) -> None:
    """Add one flag per step, named as the fields of `Steps`; without any, files are copied."""
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
    group.add_argument(
        "--to-mni",
        action="store_true",
        help="register the first visit (rigidly) to the MNI152 template, and later ones through it, onto its grid",
    )
    group.add_argument("--reorient", action="store_true", help="axes to right, anterior, superior")
    group.add_argument(
        "--spacing", type=spacing, metavar="MM", help="voxels of this size: 1x1x3 (implies --reorient), 1, or isotropic"
    )
    group.add_argument(
        "--apply-brain-mask", action="store_true", help="0 outside the brain mask that comes with the data"
    )
    group.add_argument("--hd-bet", action="store_true", help="brain mask by the external command hd-bet, applied")
    group.add_argument(
        "--brain",
        choices=("deepbet",),
        default="",
        help="brain mask by deepbet (extra brain) of T1, else FLAIR, applied",
    )
    group.add_argument("--threads", type=positive, default=1, help="threads per process for these steps (default: 1)")


def spacing(text: str) -> "tuple[float, float, float] | str":
    """Parse `1x1x3`, `1` or `isotropic` (for argparse).

    Examples
    --------
    >>> spacing("1x1x3"), spacing("1"), spacing("isotropic")
    ((1.0, 1.0, 3.0), (1.0, 1.0, 1.0), 'isotropic')
    """
    if text == "isotropic":
        return text
    parts = text.split("x")
    values = tuple(float(part) for part in (parts * 3 if len(parts) == 1 else parts))
    if not are_edges(values):
        raise argparse.ArgumentTypeError(f"expected 1x1x3, 1 or isotropic in mm, found {text}")
    return values[0], values[1], values[2]


def chosen_steps(args: argparse.Namespace) -> Steps:
    """Steps from the arguments; raises as `Steps`."""
    return Steps(**{field.name: getattr(args, field.name) for field in fields(Steps)})
