"""`nnunet-ms-stratify`: disability from T1 and FLAIR, from a manifest of scans on."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms import commands
from nnunet_ms.classification.stratification.evaluation import add_evaluate_parser
from nnunet_ms.classification.stratification.explain_models import add_explain_parser
from nnunet_ms.classification.stratification.patient_risk import add_risk_parser
from nnunet_ms.classification.stratification.predict_models import add_predict_parser
from nnunet_ms.classification.stratification.train_models import add_train_parser

if TYPE_CHECKING:
    from nnunet_ms.classification.stratification.preparation import PreparationSettings

PROGRAM = "nnunet-ms-stratify"
EXAMPLES = {
    "prepare": "disability/manifest.csv -o prepared --workers 4",
    "train": "prepared -o models --strategies global,ventricles --device cuda",
    "predict": "models/ventricles prepared_elsewhere -o predicted",
    "evaluate": "models/cross_validation.csv --scans prepared/scans.csv -o evaluation",
    "risk": "predictions/predictions.csv --patients trial/patients.csv --visit baseline -o patients.csv",
    "explain": "models/global prepared -o explained",
}
REMAINS = "What is complete is kept. Repeat the command to go on."


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; it needs no library beyond Python's own."""
    parser = commands.parser(
        PROGRAM,
        "Whether EDSS >= 3.0 shows in the whole brain or in one region of it (Coll et al. 2024).",
        "\n  ".join(f"{PROGRAM} {step} {words}" for step, words in EXAMPLES.items()),
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    add_prepare_parser(steps)
    add_train_parser(steps)
    add_predict_parser(steps)
    add_evaluate_parser(steps)
    add_risk_parser(steps)
    add_explain_parser(steps)
    commands.add_examples(PROGRAM, steps, EXAMPLES)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a step; exit code 0, 1 (some scans failed, listed) or 2 (could not run)."""

    def act() -> int:
        arguments = build_parser().parse_args(argv)
        code: int = arguments.action(arguments)
        return code

    return commands.run(PROGRAM, act, REMAINS)


def add_prepare_parser(to: "argparse._SubParsersAction[Any]") -> None:
    """Add `prepare` to the steps."""
    parser = to.add_parser(
        "prepare",
        help="scans of a manifest: into MNI152 space, with regions and volumes",
        description="Bring T1 and FLAIR of every scan into MNI152 space, with the regions that networks see.",
    )
    parser.add_argument(
        "manifest", type=Path, help="CSV: patient_id, visit, times, t1, flair, edss; masks, labels, age"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to fill, or to go on with")
    parser.add_argument(
        "--edge-mm", type=float, default=2.0, metavar="MM", help="edge of the voxels (default: %(default)s)"
    )
    parser.add_argument(
        "--labels-of",
        choices=("aseg", "mindglide"),
        default="aseg",
        help="whose ids the label maps have: FreeSurfer, FastSurfer and SynthSeg, or MindGlide (default: %(default)s)",
    )
    parser.add_argument(
        "--outside", type=_ids, default=(), metavar="ID,...", help="further ids that are in no region, as of the skull"
    )
    parser.add_argument("--priors", type=Path, metavar="DIR", help="NiftySeg's priors, for scans without a label map")
    parser.add_argument(
        "--brain",
        choices=("given", "deepbet", "nonzero"),
        default="given",
        help="the brain: column brain_mask, by deepbet (extra brain), or where T1 is not 0 (default: %(default)s)",
    )
    parser.add_argument("--in-mni", action="store_true", help="the images lie in MNI152 space: register nothing")
    parser.add_argument("--n4", action="store_true", help="correct the bias field of both images (N4)")
    parser.add_argument("--earlier-edss", choices=("refuse", "use"), default="refuse", help="an EDSS before the scan")
    parser.add_argument("--visits", type=Path, metavar="CSV", help="visits.csv: lesion volumes of scans that tell none")
    parser.add_argument("--rater", help="whose volumes of --visits, where there are several raters or models")
    parser.add_argument("--no-pictures", action="store_true", help="draw no overview")
    commands.add_parallel_options(parser)
    parser.set_defaults(action=run_prepare)


def _ids(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(one) for one in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers like 501,502, found {text}") from None


def preparation_settings(arguments: argparse.Namespace) -> "PreparationSettings":
    """Settings of `prepare`.

    Raises
    ------
    OptionError
        If a number is out of its range.
    """
    from nnunet_ms.classification.stratification.preparation import PreparationSettings
    from nnunet_ms.classification.stratification.regions import label_table

    return PreparationSettings(
        edge_mm=arguments.edge_mm,
        table=label_table(arguments.labels_of, arguments.outside),
        priors=arguments.priors,
        brain=arguments.brain,
        in_mni=arguments.in_mni,
        n4=arguments.n4,
    )


def run_prepare(arguments: argparse.Namespace) -> int:
    """Act on the arguments of `prepare`; exit code 1 where a scan failed."""
    from nnunet_ms.classification.stratification.preparation import GOOD_DICE
    from nnunet_ms.classification.stratification.prepared_folder import prepare_cohort

    found = prepare_cohort(
        arguments.manifest,
        arguments.output,
        preparation_settings(arguments),
        earlier_edss=arguments.earlier_edss,
        workers=arguments.workers,
        pictures=not arguments.no_pictures,
        visits=arguments.visits,
        rater=arguments.rater,
    )
    disabled = int(found.scans["disabled"].sum())
    out_of_all = int((found.left_out["strategy"] == "all").sum())
    print(
        f"{found.folder}: {len(found.scans)} scans of {found.scans['patient_id'].nunique()} patients, {disabled} with "
        f"EDSS >= 3.0; {out_of_all} left out."
    )
    if found.lesion_load:
        print(f"{found.lesion_load[0].upper()}{found.lesion_load[1:]}")
    for region, count in found.left_out["strategy"].value_counts().items():
        if region != "all":
            print(f"{region}: {count} scans lack it: {found.folder / 'left_out.csv'}.")
    poor = found.scans.loc[found.scans["brain_dice"] < GOOD_DICE, "case_id"]
    if len(poor):
        print(f"Dice of brain and template below {GOOD_DICE:g}, is the brain whole? Look at {', '.join(poor)}.")
    commands.report_failures(found.failures, PROGRAM)
    return commands.SOME_CASES_FAILED if found.failures else commands.OK


if __name__ == "__main__":
    raise SystemExit(main())
