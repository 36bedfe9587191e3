"""`nnunet-ms-rim`: paramagnetic rim lesions, from a manifest of QSM to a count per visit."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms import commands
from nnunet_ms.classification.rim.evaluation import add_evaluate_parser
from nnunet_ms.classification.rim.predict_models import add_predict_parser
from nnunet_ms.classification.rim.train_models import add_train_parser

if TYPE_CHECKING:
    from nnunet_ms.classification.rim.lesion_boxes import BoxSettings

PROGRAM = "nnunet-ms-rim"
EXAMPLES = {
    "features": "rims/manifest.csv -o rim_data --workers 4",
    "train": "rim_data -o rim_models --models qsmrimnet,rimnet,aprl --device cuda",
    "predict": "rim_models/qsmrimnet rim_data -o rims --manifest rims/manifest.csv",
    "evaluate": "rim_models/cross_validation.csv -o rim_evaluation",
}
REMAINS = "What is complete is kept. Repeat the command to go on."


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; it needs no library beyond Python's own."""
    parser = commands.parser(
        PROGRAM,
        "Chronic active lesions on QSM: which lesions have a paramagnetic rim (QSMRim-Net, Zhang et al. 2022).",
        f"{PROGRAM} features {EXAMPLES['features']}\n  {PROGRAM} train {EXAMPLES['train']}\n"
        f"  {PROGRAM} predict {EXAMPLES['predict']}\n  {PROGRAM} evaluate {EXAMPLES['evaluate']}",
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    add_features_parser(steps)
    add_train_parser(steps)
    add_predict_parser(steps)
    add_evaluate_parser(steps)
    commands.add_examples(PROGRAM, steps, EXAMPLES)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a step; exit code 0, 1 (some visits or lesions failed, listed) or 2 (could not run)."""

    def act() -> int:
        arguments = build_parser().parse_args(argv)
        code: int = arguments.action(arguments)
        return code

    return commands.run(PROGRAM, act, REMAINS)


def add_features_parser(to: "argparse._SubParsersAction[Any]") -> None:
    """Add `features` to the steps."""
    parser = to.add_parser(
        "features",
        help="lesions of a manifest: their rows, radiomic features and patches",
        description="Take the lesions of every visit apart, label and cut them out, and measure 527 radiomic features.",
    )
    parser.add_argument("manifest", type=Path, help="CSV: patient_id, visit, qsm, lesions; flair, brain_mask, labels")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to fill, or to go on with")
    add_box_options(parser)
    commands.add_parallel_options(parser)
    parser.set_defaults(action=run_features)


def add_box_options(parser: argparse.ArgumentParser) -> None:
    """Add what `box_settings` reads: how lesions are found and cut out."""
    group = parser.add_argument_group("lesions")
    group.add_argument(
        "--geometry",
        choices=("8x32x32", "32x32x32"),
        default="8x32x32",
        help="cells of the patch, slices first (default: %(default)s)",
    )
    group.add_argument(
        "--extent-mm", type=float, default=24.0, metavar="MM", help="edge of the patch (default: %(default)s)"
    )
    group.add_argument(
        "--minimum-voxels",
        type=commands.positive,
        default=30,
        metavar="N",
        help="smaller lesions are left out, and counted (default: %(default)s)",
    )
    group.add_argument("--no-split", action="store_true", help="leave confluent lesions as they are")
    group.add_argument(
        "--qsm-unit",
        choices=("ppb", "ppm", "unchecked"),
        default="ppb",
        help="unit of the QSM files; unchecked: ppb, whatever they look like (default: %(default)s)",
    )
    group.add_argument(
        "--label-reach-mm",
        type=float,
        default=0.0,
        metavar="MM",
        help="how far outside a lesion the point of its label may lie (default: %(default)s)",
    )
    group.add_argument(
        "--unlabelled",
        choices=("unknown", "rim-"),
        default="unknown",
        help="what a lesion without a label is in a visit that has labels (default: %(default)s)",
    )


def box_settings(arguments: argparse.Namespace) -> "BoxSettings":
    """Settings of `add_box_options`.

    Raises
    ------
    OptionError
        If a number is out of its range.
    """
    from nnunet_ms.classification.rim.lesion_boxes import BoxSettings

    depth, height, width = (int(cells) for cells in arguments.geometry.split("x"))
    return BoxSettings(
        geometry=(depth, height, width),
        extent_mm=arguments.extent_mm,
        minimum_voxels=arguments.minimum_voxels,
        split=not arguments.no_split,
        qsm_unit=arguments.qsm_unit,
        label_reach_mm=arguments.label_reach_mm,
        unlabelled=arguments.unlabelled,
    )


def run_features(arguments: argparse.Namespace) -> int:
    """Act on the arguments of `features`; exit code 1 where a visit or a lesion failed."""
    from nnunet_ms.classification.rim.dataset import rim_dataset, without_qsm_note

    found = rim_dataset(arguments.manifest, arguments.output, box_settings(arguments), arguments.workers)
    visits = found.visits
    print(
        f"{found.out}: {len(found.lesions)} lesions of {len(visits)} visits, {int(visits['labelled'].sum())} labelled, "
        f"{int(visits['rim_positive'].sum())} of them rim+; {int(visits['too_small'].sum())} smaller ones left out"
        f" ({int(visits['too_small_rims'].sum())} rim+)."
    )
    if len(found.label_problems):
        print(
            f"{len(found.label_problems)} labels are not the label of one lesion: {found.out / 'label_problems.csv'}."
        )
    if note := without_qsm_note(found.lesions):
        print(f"{found.out / 'lesions.csv'}: {note}")
    commands.report_failures(found.failures, PROGRAM)
    return commands.SOME_CASES_FAILED if found.failures else commands.OK


if __name__ == "__main__":
    raise SystemExit(main())
