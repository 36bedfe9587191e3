"""`nnunet-ms-predict`: masks with calibrated probability and uncertainty, by Monte Carlo dropout."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.commands import OK, SOME_CASES_FAILED, add_parallel_options, parser, positive, report_failures, run

PROGRAM = "nnunet-ms-predict"
# dropout.SITES and case_measures.MAPS, spelled out because --help must not import torch; a test compares them
SITES = ("head", "last", "decoder2", "decoder", "bottleneck", "all")
MAPS = (
    *("entropy", "expected_entropy", "mutual_information", "epkl", "rmi", "variance", "negated_confidence"),
    *("variance_folds", "variance_flips", "variance_masks", "deterministic"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; it needs no library beyond Python's own."""
    command = parser(
        PROGRAM,
        "Predict a folder of images with samples of the network: mask, mean probability, uncertainty per lesion and "
        "patient. Works on nnU-Net's results folders; without dropout, folds and mirrorings are the samples.",
        f"{PROGRAM} -i imagesTs -o predictions -d 801 -tr nnUNetTrainerMSMultiArm -f 0 1 2 --maps entropy",
    )
    command.add_argument(
        "-i", "--images", type=Path, required=True, help="folder of <case>_0000.nii.gz, <case>_0001..."
    )
    command.add_argument("-o", "--out", type=Path, required=True, help="folder to write, empty or new")
    _add_model(command)
    _add_samples(command)
    _add_output(command)
    _add_work(command)
    return command


def _add_model(command: argparse.ArgumentParser) -> None:
    model = command.add_argument_group("model")
    model.add_argument("-d", "--dataset", help="id or name of the dataset below nnUNet_results")
    model.add_argument("-tr", "--trainer", help="trainer that made the checkpoints")
    model.add_argument("-p", "--plans", default="nnUNetPlansMS", help="plans (%(default)s)")
    model.add_argument("-c", "--configuration", default="3d_fullres", help="configuration (%(default)s)")
    model.add_argument(
        "-m",
        "--model-folder",
        dest="model",
        type=Path,
        help="instead of -d, -tr, -p, -c: TRAINER__PLANS__CONFIGURATION, or the name of an installed model",
    )
    model.add_argument(
        "-f", "--folds", nargs="+", metavar="FOLD", help="0 1 2 ... or all (all numbered ones that exist)"
    )
    model.add_argument("-chk", "--checkpoint", default="checkpoint_final.pth", help="file in each fold (%(default)s)")


def _add_samples(command: argparse.ArgumentParser) -> None:
    samples = command.add_argument_group("samples")
    samples.add_argument("--mc-samples", type=int, default=10, help="per fold; 0: none, dropout off (%(default)s)")
    samples.add_argument(
        "--dropout-site", choices=SITES, default="decoder", help="where channels are dropped (%(default)s)"
    )
    samples.add_argument("--dropout", type=float, help="probability; default: what the network was trained with")
    samples.add_argument("--closed-form", action="store_true", help="with --dropout-site head: no sampling")
    samples.add_argument("--seed", type=int, default=0, help="of the dropped channels (%(default)s)")
    samples.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="spread the samples over mirrored images, and over subsets of the sequences where the network takes any",
    )
    samples.add_argument("--step-size", type=float, default=0.5, help="between tiles, share of the patch (%(default)s)")


def _add_output(command: argparse.ArgumentParser) -> None:
    output = command.add_argument_group("output")
    output.add_argument("--threshold", type=float, default=0.5, help="of the mean probability (%(default)s)")
    output.add_argument(
        "--fold-thresholds",
        type=float,
        nargs="+",
        default=(),
        metavar="T",
        help="one per fold, fitted on its validation cases: LSU+ and PSU+ with them",
    )
    output.add_argument("--maps", type=_maps, default=(), help=f"comma-separated, further maps: {','.join(MAPS)}")
    output.add_argument(
        "--minimum-voxels", type=positive, default=3, help="smallest lesion in the tables (%(default)s)"
    )
    output.add_argument("--cases", type=Path, help="cases.csv of the dataset: patient, visit and week of each case")
    output.add_argument("--rater", default="model", help="the model's name in all tables (%(default)s)")
    output.add_argument("--lesion-type", default="", help="lesion type in all tables (default: from the label)")
    output.add_argument(
        "--rim-threshold", type=float, default=0.5, help="models of core and rim: score of a rim+ lesion (%(default)s)"
    )
    output.add_argument(
        "--no-rim-split",
        dest="rim_split",
        action="store_false",
        help="models of core and rim: decide on confluent lesions as one, not on each part",
    )
    output.add_argument("--data-note", dest="note", default="", help="what the data are, such as real or simulated")
    output.add_argument("--no-pictures", dest="pictures", action="store_false", help="no quality-control pictures")


def _add_work(command: argparse.ArgumentParser) -> None:
    work = command.add_argument_group("work")
    work.add_argument("-device", "--device", default="cuda", help="cuda, cuda:1, cpu or mps (%(default)s)")
    add_parallel_options(work)  # processes, or a cluster, that write finished cases
    work.add_argument(
        "--continue", dest="resume", action="store_true", help="go on with an earlier run in the same folder"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if some cases failed, or 2 if nothing could be done."""
    remains = "Cases that are done are kept. Repeat the command with --continue to predict the others."
    return run(PROGRAM, lambda: _predict(build_parser().parse_args(argv)), remains)


def _predict(arguments: argparse.Namespace) -> int:
    from nnunet_ms.nnunet import require_nnunet

    require_nnunet()  # before anything imports it: one line instead of an ImportError
    from tqdm import tqdm

    from nnunet_ms.trainers.prediction.predict import predict  # torch and nnU-Net: seconds, which --help must not take

    # every option has the name of an argument (a test compares them); `write` does not disturb the progress bar
    predicted = predict(**vars(arguments), say=tqdm.write)
    for note in predicted.notes:
        print(f"{PROGRAM}: {note}")
    report_failures(predicted.failures, PROGRAM)
    print(f"{predicted.cases['case_id'].nunique()} cases, {len(predicted.failures)} failed: {arguments.out}")
    return SOME_CASES_FAILED if predicted.failures else OK


def _maps(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in MAPS]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected names out of {','.join(MAPS)}, found {unknown}")
    return names


if __name__ == "__main__":
    raise SystemExit(main())
