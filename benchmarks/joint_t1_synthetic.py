"""Joint T1 trained on synthetic scans, to see whether it still calls vessels and choroid plexus enhancing lesions.

Synthetic scans (`nnunet-ms-simulate scans`) on the grid of `joint_t1_opera2.py`, 2x2x4 mm, train the same small joint
model with the same patches; the scans differ: brains of label maps with real lesion masks, vessels and choroid plexus
that take up contrast agent, instead of phantoms. The last scans are held out and evaluated. The masks of the patients
that `joint_t1_real.py` shows are left out. That script, with MODEL the folder that this one prints, does the rest.

    python benchmarks/joint_t1_synthetic.py --labels synthseg_labels --masks open_ms_masks
    python benchmarks/joint_t1_real.py --model MODEL --work runs/real --picture out.png --trained-on "synthetic scans"

Finished steps are not repeated, and an interrupted training goes on. `--small` runs every step in about two minutes of
one core, for whoever changes this file; its numbers mean nothing.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

DATASET, NAME, PLANS, TRAINER = 831, "JointT1Synthetic", "nnUNetPlansMS", "nnUNetTrainerMSJointT1Small"
CHANNELS, TARGET, LABELS = "t1,t1post,flair,t2", "t1_unenhancing,t1_enhancing", "t1_unenhancing=1,t1_enhancing=2"
SMALL = (5, 1, 2)  # scans, of which are held out, epochs
SHOWN = ("patient07", "patient26")  # by joint_t1_real.py


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps that are not done; print Dice, LTPR and LFPR of the held-out scans."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="label maps with FreeSurfer's numbers")
    parser.add_argument("--masks", type=Path, required=True, help="lesion masks aligned to MNI space, of open_ms")
    parser.add_argument("--work", type=Path, default=Path("runs/joint_t1_synthetic"))
    parser.add_argument("--scans", type=int, default=28, help="of which the last ones are held out (%(default)s)")
    parser.add_argument("--held-out", type=int, default=6, help="(%(default)s)")
    parser.add_argument("--epochs", type=int, default=105, help="of 20 iterations (%(default)s)")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="five scans of 4x4x4 mm, two short epochs: does it run?")
    parser.add_argument("--until", choices=("plan", "train", "end"), default="end", help="stop after this step")
    args = parser.parse_args(argv)
    args.work = args.work.resolve()
    if args.small:
        args.scans, args.held_out, args.epochs = SMALL
    prepare(args)
    if args.until == "plan":
        return 0
    folder = args.work / "results" / raw(args.work).name / f"{TRAINER}__{PLANS}__3d_fullres"
    if not (folder / "fold_all" / "checkpoint_final.pth").exists():
        call(args.work, [sys.executable, __file__, "--train", str(args.epochs), str(2 if args.small else 20)])
    if args.until == "end":
        evaluate(args.work, folder)
    print(folder)
    return 0


def prepare(args: argparse.Namespace) -> None:
    """Simulate, convert and plan."""
    work, scans = args.work, args.work / "scans"
    if not (scans / "manifest.csv").exists():
        masks = [path for path in sorted(args.masks.glob("*lesion.nii.gz")) if not path.name.startswith(SHOWN)]
        masks = masks[:3] if args.small else masks
        options = ("--labels", args.labels, "--lesions", *masks, "--sequences", "t1", "t1post", "flair", "t2")
        counts = ("--count", args.scans, "--seed", args.seed, "--thick", 0.3)
        call(work, script("nnunet-ms-simulate", "scans", *options, *counts, "-o", scans))
    if not (raw(work) / "dataset.json").exists():
        tested = ",".join(f"P{number:03d}" for number in range(args.scans - args.held_out + 1, args.scans + 1))
        options = ("--channels", CHANNELS, "--target", TARGET, "--dataset-id", DATASET, "--name", NAME, "--folds", 2)
        rest = ("--spacing", "4" if args.small else "2x2x4", "--apply-brain-mask", "--test-patients", tested)
        call(work, script("nnunet-ms-convert", "trial", scans / "manifest.csv", *options, *rest))
    if not (work / "preprocessed" / raw(work).name / f"{PLANS}.json").exists():
        options = ("-d", DATASET, "-pl", "nnUNetPlannerMS", "-npfp", 1, "-np", 1)
        call(work, script("nnUNetv2_plan_and_preprocess", *options))


def train(epochs: int, iterations: int) -> None:
    """Train as `joint_t1_opera2.py` does (fold `all`), on one thread."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

    import nnunet_ms.doors.trainers as door

    torch.set_num_threads(1)
    cls = getattr(door, TRAINER)
    cls.epochs, cls.iterations_per_epoch, cls.max_patch_voxels, cls.checkpoint_every = (
        epochs,
        iterations,
        8 * 32 * 32,
        3,
    )
    run = get_trainer_from_args(str(DATASET), "3d_fullres", "all", TRAINER, PLANS, device=torch.device("cpu"))
    maybe_load_checkpoint(run, True, False)  # noqa: FBT003 - nnU-Net's order: go on, and not for validation only
    run.run_training()


def evaluate(work: Path, model: Path) -> None:
    """Predict the held-out scans and print what the masks are worth."""
    cases, masks = raw(work) / "cases.csv", work / "predicted"
    if not (masks / "cases.csv").exists():
        options = ("--mc-samples", 0, "--no-tta", "--no-pictures", "--rater", "joint_t1", "--data-note", "simulated")
        where = ("-m", model, "-f", "all", "-i", raw(work) / "imagesTs", "-o", masks, "--cases", cases)
        call(work, script("nnunet-ms-predict", *where, *options, "-device", "cpu"))
    if not (work / "evaluation" / "visits.csv").exists():
        where = ("--predictions", masks, "--references", raw(work) / "labelsTs", "--cases", cases)
        options = ("--labels", LABELS, "--rater", "joint_t1", "--data-note", "simulated", "-o", work / "evaluation")
        call(work, script("nnunet-ms-evaluate", *where, *options))
    table = pd.read_csv(work / "evaluation" / "agreement.csv")
    print(table[table["metric"].isin(["dice", "ltpr", "lfpr"])].dropna(axis=1, how="all").to_string(index=False))


def raw(work: Path) -> Path:
    """Folder of the dataset."""
    return work / "raw" / f"Dataset{DATASET}_{NAME}"


def script(name: str, *arguments: object) -> list[str]:
    """Command with the scripts of this interpreter's environment."""
    return [str(Path(sys.executable).parent / name), *map(str, arguments)]


def call(work: Path, command: Sequence[str]) -> None:
    """Run a command with nnU-Net's folders below the work folder; its output goes to a log."""
    folders = {f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")}
    # augmentation in the training process: repeatable; planning needs a process
    processes = {"nnUNet_n_proc_DA": "1" if "plan" in command[0] else "0", "nnUNet_def_n_proc": "1"}
    work.mkdir(parents=True, exist_ok=True)
    with (work / "log.txt").open("a") as log:
        env = {**os.environ, **folders, **processes}
        code = subprocess.run([*map(str, command)], env=env, stdout=log, stderr=log, check=False)
    if code.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {code.returncode}, see {work / 'log.txt'}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        train(int(sys.argv[2]), int(sys.argv[3]))
        sys.exit(0)
    sys.exit(main())
