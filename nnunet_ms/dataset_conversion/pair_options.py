"""Options of `nnunet-ms-convert` for pairs of visits."""

import argparse
from typing import Any

NAMES = ("pairs", "space", "registration", "pair_channels", "lesions", "accept_poor_registration")


def add_pair_options(to: argparse.ArgumentParser) -> None:
    """Add the options of pairs, named as the arguments of `convert`."""
    group = to.add_argument_group(
        "pairs of visits",
        "Two visits become one case: registered, normalised in their common brain, subtracted (docs/new_lesions.md). "
        "--target is then new, new_or_enlarging or all (new, enlarging, resolved and shrinking lesions as labels).",
    )
    group.add_argument(
        "--pairs", choices=("consecutive", "baseline"), default="", help="each visit with the one before, or the first"
    )
    group.add_argument(
        "--space",
        choices=("baseline", "halfway"),
        default="baseline",
        help="the baseline's grid (default, as in the paper), or between the two",
    )
    group.add_argument(
        "--registration",
        choices=("rigid", "greedy", "published", "none"),
        default="",
        help="SimpleITK or picsl-greedy (extra greedy), both rigid; what comes with the data; or the headers' "
        "positions (default: published where the source has it, else rigid)",
    )
    group.add_argument(
        "--pair-channels",
        choices=("subtraction", "visits", "all"),
        default="subtraction",
        help="follow-up minus baseline (default), both visits, or all three",
    )
    group.add_argument("--lesions", default="", metavar="MASK", help="mask of both visits that the change is made from")
    group.add_argument(
        "--accept-poor-registration",
        action="store_true",
        help="exit 0 although visits correlate by less than 0.6 after registration, or less than before it; flagged",
    )


def chosen_pairs(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `convert` from those of the command."""
    return {name: getattr(args, name) for name in NAMES}
