"""Do the joint model's masks tell the trial's story? Enhancing lesions of a simulated `opera2` trial with images.

The preset `opera2` with images on the demo grid: the first 20 patients train a small joint T1 model (or `--model`
names one, such as the ablation's), the other 100 are the trial. Percent reduction of enhancing lesions at each visit,
and the negative binomial rate ratio, from the model's masks and from the true masks. Wanted: reductions within 10
points of the truth at each visit, and the same conclusion of the test. Simulated data: nothing about patients.

    python benchmarks/joint_t1_opera2.py --work runs/joint_t1_opera2
    python benchmarks/joint_t1_opera2.py --work runs/second_trial --seed 4 --model MODEL --results second_trial.csv

The second line is another trial for the model of the first (MODEL: its folder TRAINER__PLANS__3d_fullres).
Finished steps are not repeated.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

DATASET, NAME, PLANS, TRAINER = 808, "JointT1Opera2", "nnUNetPlansMS", "nnUNetTrainerMSJointT1Small"
CHANNELS, TARGET, LABELS = "t1,t1post,flair,t2", "t1_unenhancing,t1_enhancing", "t1_unenhancing=1,t1_enhancing=2"
TRAINED = 20
LIMIT = 10.0  # percentage points
SETTINGS = """
[trial]
name = "Simulated trial of the shape of OPERA II"
simulated = true
preset = "opera2"
[tables]
patients = "patients.csv"
visits = "evaluation/visits.csv"
assessments = "trial/assessments.csv"
[arms]
reference = "interferon"
compared = ["ocrelizumab"]
[lesions]
type = "t1_unenhancing"
zero_volume = "half_smallest_positive"
[visits]
baseline_week = 0
weeks = [24, 48, 96]
[disability]
preset = "krishnan2023"
outcomes = ["cdp24"]
[conventions]
preset = "r"
[analysis]
bootstrap_draws = 200
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps that are not done, print and store the table; exit code 1 when it is not as wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/joint_t1_opera2"))
    parser.add_argument(
        "--patients", type=int, default=100, help="of the trial, besides those that train (%(default)s)"
    )
    parser.add_argument("--model", type=Path, help="trained model folder, fold `all`, instead of training one")
    parser.add_argument("--epochs", type=int, default=200, help="of 20 iterations (%(default)s)")
    parser.add_argument("--seed", type=int, default=3, help="of the trial; with --model another one is a new trial")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--until", choices=("plan", "end"), default="end", help="stop after planning")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "joint_t1_opera2.csv")
    args = parser.parse_args(argv)
    args.work = args.work.resolve()
    args.model = args.model.resolve() if args.model else model_folder(args.work)
    prepare(args)
    if args.until == "plan":
        return 0
    if not (args.model / "fold_all" / "checkpoint_final.pth").exists():
        call(args.work, [sys.executable, __file__, "train", str(args.epochs), args.device])
    analyse(args)
    table = compare(args.work / "report" / "endpoints.csv")
    args.results.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.results, index=False)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    return 0 if table["as_wanted"].all() else 1


def prepare(args: argparse.Namespace) -> None:
    """Simulate, convert and plan."""
    work, trial = args.work, args.work / "trial"
    if not (trial / "manifest.csv").exists():
        options = ("--preset", "opera2", "--grid", "demo", "--seed", args.seed, "--images", "-o", trial)
        call(work, script("nnunet-ms-simulate", "trial", *options, "--patients", TRAINED + args.patients))
    if not (raw(work) / "dataset.json").exists():
        tested = ",".join(names(args.patients))
        options = ("--channels", CHANNELS, "--target", TARGET, "--dataset-id", DATASET, "--name", NAME, "--folds", 2)
        call(work, script("nnunet-ms-convert", "trial", trial / "manifest.csv", *options, "--test-patients", tested))
    planned = work / "preprocessed" / raw(work).name / f"{PLANS}.json"
    if args.model == model_folder(work) and not planned.exists():
        call(
            work, script("nnUNetv2_plan_and_preprocess", "-d", DATASET, "-pl", "nnUNetPlannerMS", "-npfp", 1, "-np", 1)
        )


def train(epochs: int, device: str) -> None:
    """Train the small joint model on every visit of the training patients (fold `all`)."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

    import nnunet_ms.doors.trainers as door

    cls = getattr(door, TRAINER)
    cls.epochs, cls.iterations_per_epoch, cls.max_patch_voxels, cls.checkpoint_every = epochs, 20, 8 * 32 * 32, 3
    run = get_trainer_from_args(str(DATASET), "3d_fullres", "all", TRAINER, PLANS, device=torch.device(device))
    maybe_load_checkpoint(run, True, False)  # noqa: FBT003 - nnU-Net's order: go on, and not for validation only
    run.run_training()


def analyse(args: argparse.Namespace) -> None:
    """Predict, evaluate and compute the endpoints."""
    work, cases = args.work, raw(args.work) / "cases.csv"
    if not (work / "masks" / "cases.csv").exists():
        options = ("--mc-samples", 0, "--no-tta", "--step-size", 0.75, "--no-pictures", "--rater", "joint_t1")
        where = ("-m", args.model, "-f", "all", "-i", raw(work) / "imagesTs", "-o", work / "masks")
        more = ("--cases", cases, "-device", args.device, "--continue", "--data-note", "simulated")
        call(work, script("nnunet-ms-predict", *where, *options, *more))
    if not (work / "evaluation" / "visits.csv").exists():
        where = ("--predictions", work / "masks", "--references", raw(work) / "labelsTs", "--cases", cases)
        options = ("--labels", LABELS, "--rater", "joint_t1", "--data-note", "simulated", "-o", work / "evaluation")
        call(work, script("nnunet-ms-evaluate", *where, *options))
    if not (work / "report" / "endpoints.csv").exists():
        patients = pd.read_csv(work / "trial" / "patients.csv")
        patients[patients["patient_id"].isin(names(args.patients))].to_csv(work / "patients.csv", index=False)
        (work / "trial.toml").write_text(SETTINGS, encoding="utf-8")
        call(work, script("nnunet-ms-endpoints", "run", work / "trial.toml", "-o", work / "report"))


def compare(path: Path) -> pd.DataFrame:
    """Table of reference and model: percent reduction by visit, rate ratio and p of the negative binomial model."""
    rows = pd.read_csv(path, keep_default_na=False, dtype=str)
    rows = rows[(rows["endpoint"] == "enhancing_lesions") & rows["contrast"].ne("")]
    wanted = rows["analysis"].eq("by_visit") & rows["stat_name"].eq("percent_reduction")
    wanted |= (
        rows["analysis"].eq("negative_binomial")
        & rows["term"].eq("arm")
        & rows["stat_name"].isin(["rate_ratio", "low", "high", "p"])
    )
    keys = ["analysis", "visit", "stat_name"]
    chosen = rows[wanted].assign(stat=lambda frame: pd.to_numeric(frame["stat"]))
    wide = chosen.pivot_table(index=keys, columns="rater", values="stat").reset_index()
    close = (wide["joint_t1"] - wide["reference"]).abs() <= LIMIT
    same = (wide["joint_t1"] < 0.05) == (wide["reference"] < 0.05)
    wide["as_wanted"] = close.where(wide["stat_name"] == "percent_reduction", same | (wide["stat_name"] != "p"))
    return wide


def names(patients: int) -> list[str]:
    """Patients of the trial."""
    return [f"P{number:03d}" for number in range(TRAINED + 1, TRAINED + patients + 1)]


def raw(work: Path) -> Path:
    """Folder of the dataset."""
    return work / "raw" / f"Dataset{DATASET}_{NAME}"


def model_folder(work: Path) -> Path:
    """Folder of the trained model."""
    return work / "results" / raw(work).name / f"{TRAINER}__{PLANS}__3d_fullres"


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
        log.write(json.dumps(command) + "\n")
        log.flush()
        code = subprocess.run(command, env={**os.environ, **folders, **processes}, stdout=log, stderr=log, check=False)
    if code.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {code.returncode}, see {work / 'log.txt'}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(int(sys.argv[2]), sys.argv[3])
        sys.exit(0)
    sys.exit(main())
