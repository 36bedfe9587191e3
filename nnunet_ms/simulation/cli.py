"""`nnunet-ms-simulate`: a trial, single scans, a cohort of rims on QSM or of disability, whose truth is known."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nnunet_ms import commands
from nnunet_ms.simulation.model.presets import GRIDS
from nnunet_ms.simulation.model.trial_presets import PRESETS

PROGRAM = "nnunet-ms-simulate"
SEQUENCES = ("flair", "t2", "t1", "t1post", "pd")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `nnunet-ms-simulate`."""
    parser = commands.parser(
        PROGRAM,
        "Simulate data with known truth: a two-arm trial, single brain scans with multiple sclerosis lesions, a\n"
        "cohort of patients with rim lesions on QSM, one whose disability depends on what scans show, or scans for\n"
        "training, from label maps and lesion masks by the physics of MRI.\n"
        "Repeating a command finishes an interrupted run.",
        f"{PROGRAM} trial --preset demo --patients 20 --images --seed 1 -o simulated_trial",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="{trial,phantom,rims,disability,scans}")
    trial = kinds.add_parser("trial", help="tables and truth.json of a trial, with --images also its MRI")
    trial.add_argument("--preset", choices=sorted(PRESETS), default="demo", help="which trial (default: demo)")
    trial.add_argument("--images", action="store_true", help="make images and masks instead of a table of volumes")
    trial.add_argument("--qsm", action="store_true", help="with --images: a map of susceptibility at every visit too")
    trial.add_argument(
        "--prl-hazard-ratios",
        type=float,
        nargs=3,
        metavar=("HR0", "HR1-3", "HR4+"),
        help="without --images: hazard ratios of the treatment by the number of rim lesions; prl_count in the tables",
    )
    phantom = kinds.add_parser("phantom", help="scans without a trial: FLAIR, T2, T1, T1 post contrast, QSM and masks")
    phantom.add_argument("--visits", type=commands.positive, default=1, help="per patient, 24 weeks apart (default: 1)")
    rims = kinds.add_parser("rims", help="QSM, FLAIR, masks and labels of rim lesions: a manifest of nnunet-ms-rim")
    disability = kinds.add_parser("disability", help="T1, FLAIR, regions and EDSS: a manifest of nnunet-ms-stratify")
    disability.add_argument(
        "--signal",
        choices=("ventricles", "brainstem", "lesions", "age", "mixed", "none"),
        default="ventricles",
        help="what the EDSS mostly depends on (default: ventricles)",
    )
    disability.add_argument(
        "--field-effect",
        type=float,
        default=0.0,
        help="log odds ratio of 1.5 T against 3 T between EDSS >= 3.0 and below, -5 to 5 (default: 0)",
    )
    disability.add_argument("--edge-mm", type=int, choices=(2, 4), default=2, help="of the voxels (default: 2)")
    scans = kinds.add_parser("scans", help="scans for training, from label maps and lesion masks: a manifest")
    _add_scans(scans)
    for kind in (trial, phantom, rims, disability, scans):
        _add_common(kind)
    for kind in (trial, phantom):
        kind.add_argument("--grid", choices=sorted(GRIDS), help="voxel grid (default: the preset's, or demo)")
    phantom.set_defaults(patients=1)
    rims.set_defaults(patients=120)
    disability.set_defaults(patients=160)
    scans.set_defaults(patients=20)
    return parser


def _add_scans(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        help="label maps with FreeSurfer's numbers, files or folders (default: phantom's)",
    )
    parser.add_argument(
        "--lesions",
        type=Path,
        nargs="+",
        help="lesion masks aligned to MNI space, files or folders (names with 'lesion'), or manifests (CSV) with t1 "
        "or flair, brain_mask and t2_lesions, which are fitted to it (default: the phantom's lesions)",
    )
    parser.add_argument(
        "--count", type=commands.positive, dest="patients", help="number of scans, each of a patient of its own"
    )
    parser.add_argument(
        "--sequences", nargs="+", choices=SEQUENCES, default=["flair", "t2", "t1"], help="(default: flair t2 t1)"
    )
    parser.add_argument(
        "--slices-mm", type=float, nargs=2, default=(1.0, 7.0), metavar=("MIN", "MAX"), help="(default: 1 7)"
    )
    parser.add_argument(
        "--thick",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="of scans with slices over 1 mm, 0 to 1 (default: 0.5)",
    )
    parser.add_argument("--own-grid", action="store_true", help="write the slices themselves, not interpolated to 1 mm")
    parser.add_argument("--skull", action="store_true", help="leave the skull and scalp of label maps that have them")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit code 0, 1 (some patients failed, listed) or 2 (could not run)."""
    remains = "Visits that are complete are kept. Repeat the command to make the others."
    return commands.run(PROGRAM, lambda: _simulate(build_parser().parse_args(argv)), remains)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder: new, empty or of the same command")
    parser.add_argument(
        "--patients",
        type=commands.positive,
        help="number of patients (default: the preset's; phantom 1, rims 120, disability 160, scans 20)",
    )
    parser.add_argument("--seed", type=_seed, default=0, help="whole number >= 0 (default: 0)")
    commands.add_parallel_options(parser)


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 0, found {text}")
    return value


def _simulate(args: argparse.Namespace) -> int:
    from nnunet_ms.simulation.images.files import PhantomSettings, write_phantoms  # takes a second; not for --help
    from nnunet_ms.simulation.simulate import simulate, simulate_disability, simulate_rims, simulate_scans

    if args.kind == "phantom":
        settings = PhantomSettings(args.patients, args.seed, args.grid or "demo", args.visits)
        failures = write_phantoms(settings, args.output, args.workers)
    elif args.kind == "rims":
        failures = simulate_rims(args.output, args.patients, seed=args.seed, workers=args.workers).failures
    elif args.kind == "scans":
        failures = simulate_scans(
            args.output,
            args.patients,
            seed=args.seed,
            labels=args.labels or (),
            lesions=args.lesions or (),
            sequences=args.sequences,
            slices_mm=args.slices_mm,
            thick=args.thick,
            own_grid=args.own_grid,
            skull=args.skull,
            workers=args.workers,
        ).failures
    elif args.kind == "disability":
        failures = simulate_disability(
            args.output,
            args.patients,
            seed=args.seed,
            signal=args.signal,
            field_effect=args.field_effect,
            edge_mm=args.edge_mm,
            workers=args.workers,
        ).failures
    else:
        failures = simulate(
            args.output,
            args.preset,
            args.patients,
            seed=args.seed,
            grid=args.grid,
            images=args.images,
            qsm=args.qsm,
            prl_hazard_ratios=args.prl_hazard_ratios,
            workers=args.workers,
        ).failures
    commands.report_failures(failures, PROGRAM)
    return commands.SOME_CASES_FAILED if failures else commands.OK


if __name__ == "__main__":
    raise SystemExit(main())
