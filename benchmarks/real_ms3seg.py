"""Real scans: the small multi-arm network against nnU-Net's default network on MS3SEG, through nnU-Net's commands.

Six patients of MS3SEG with FLAIR, T2 and T1, three folds by patient. The small trainer is planned, trained and
validated by `nnUNetv2_plan_and_preprocess` and `nnUNetv2_train`; masks of the three unseen thirds are pooled and
evaluated. Beside it nnU-Net's default network, loss, optimiser and augmentation (`nnUNetTrainer` on nnU-Net's own
plans) with the same number of iterations, the same patch and the same batch, on the folds of `--default-folds`. The
models of all folds are then tried on two patients of another data set (open_ms) at their own resolution.

    python benchmarks/real_ms3seg.py --data ../shared/data --work runs/ms3seg

Finished steps are not repeated. The table goes to stdout and to `--results`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

FOLDS = (0, 1, 2)
CASES, EXTERNAL = "803", "804"
TRAINER, PLANS = "nnUNetTrainerMSMultiArmSmall", "nnUNetPlansMS"
DEFAULT_PLANS = "nnUNetPlansEqual"
METRICS = ("dice", "ppv", "tpr", "ltpr", "lppv", "lfpr", "r_vol", "r_count")


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps that are not done, print and store the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with ms3seg and open_ms")
    parser.add_argument("--work", type=Path, default=Path("runs/ms3seg"), help="folder for data sets, models and masks")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "real_ms3seg.csv")
    parser.add_argument("--trainer", default=TRAINER, help="trainer of ours (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--default-folds", type=int, nargs="*", default=[0], help="folds of nnU-Net's default network (default: 0)"
    )
    args = parser.parse_args(argv)
    prepare(args)
    rows = [score(args, args.trainer, train_ours(args))]
    folds = args.default_folds
    if folds:
        of_folds = f"folds {' '.join(map(str, folds))}"
        if len(folds) < len(FOLDS):
            rows.append(score(args, f"{args.trainer}, {of_folds}", masks_of(args, args.trainer, PLANS, folds)))
        rows.append(score(args, f"nnUNetTrainer (default network), {of_folds}", train_default(args, folds)))
    rows.append(external(args))
    table = pd.concat(rows, ignore_index=True)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.results, index=False)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    return 0


def prepare(args: argparse.Namespace) -> None:
    """Convert and plan, with our planner and with nnU-Net's."""
    raw = args.work.resolve() / "raw"
    for number, kind, folder, more in (
        (CASES, "ms3seg", "ms3seg", ()),
        (EXTERNAL, "open_ms", "open_ms_cross_sectional", ("--folds", "2")),
    ):
        if not list(raw.glob(f"Dataset{number}_*")):
            # exit code 1: the two MS3SEG patients without T2 are listed and left out
            call(
                args,
                script("nnunet-ms-convert", kind, args.data / folder, "--dataset-id", number, *more),
                ok=(0, 1),
            )
    if not (args.work / "preprocessed" / "Dataset803_MS3SEG" / f"{PLANS}.json").exists():
        call(args, script("nnUNetv2_plan_and_preprocess", "-d", CASES, "-pl", "nnUNetPlannerMS", "-npfp", 2, "-np", 2))


def train_ours(args: argparse.Namespace) -> Path:
    """Train the folds that are not finished; return the folder of pooled validation masks."""
    for fold in FOLDS:
        folder = model_folder(args, args.trainer, PLANS) / f"fold_{fold}"
        if not (folder / "validation" / "summary.json").exists():
            started = time.monotonic()
            command = ("nnUNetv2_train", CASES, "3d_fullres", fold, "-tr", args.trainer, "-p", PLANS)
            call(args, script(*command, "-device", args.device, "--c"))
            (folder / "minutes.txt").write_text(f"{(time.monotonic() - started) / 60:.1f}\n")
    return masks_of(args, args.trainer, PLANS, FOLDS)


def train_default(args: argparse.Namespace, folds: Sequence[int]) -> Path:
    """Train nnU-Net's default network with our number of iterations, patch and batch."""
    for fold in folds:
        folder = model_folder(args, "nnUNetTrainer", DEFAULT_PLANS) / f"fold_{fold}"
        if not (folder / "validation" / "summary.json").exists():
            started = time.monotonic()
            call(args, [sys.executable, __file__, "equal-budget", args.trainer, args.device, str(fold)])
            (folder / "minutes.txt").write_text(f"{(time.monotonic() - started) / 60:.1f}\n")
    return masks_of(args, "nnUNetTrainer", DEFAULT_PLANS, folds)


def equal_budget(trainer_name: str, device: str, fold: str) -> None:
    """Plan with nnU-Net's planner, set our patch and batch, train `nnUNetTrainer` for our number of iterations."""
    import torch
    from batchgenerators.utilities.file_and_folder_operations import load_json, save_json
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiments, preprocess
    from nnunetv2.paths import nnUNet_preprocessed, nnUNet_results
    from nnunetv2.run.run_training import get_trainer_from_args
    from nnunetv2.utilities.json_export import recursive_fix_for_json_export

    import nnunet_ms.doors.trainers as door

    ours = getattr(door, trainer_name)
    base = Path(str(nnUNet_preprocessed)) / "Dataset803_MS3SEG"
    plan_experiments([int(CASES)], "ExperimentPlanner", overwrite_plans_name=DEFAULT_PLANS)
    plans = load_json(str(base / f"{DEFAULT_PLANS}.json"))
    stored = Path(str(nnUNet_results)) / "Dataset803_MS3SEG" / f"{trainer_name}__{PLANS}__3d_fullres"
    equal = load_json(str(stored / "plans.json"))["configurations"]["3d_fullres"]
    configuration = plans["configurations"]["3d_fullres"]
    # the levels that nnU-Net itself gives a network for this patch; its own patch would take hours on a CPU
    _, strides, kernels, patch, _ = get_pool_and_conv_props(configuration["spacing"], equal["patch_size"], 4, 999999)
    configuration |= {"patch_size": [int(n) for n in patch], "batch_size": equal["batch_size"]}
    configuration["architecture"]["arch_kwargs"] |= {
        "n_stages": len(strides),
        "strides": strides,
        "kernel_sizes": kernels,
        "features_per_stage": [min(320, 32 * 2**level) for level in range(len(strides))],
        "n_conv_per_stage": [2] * len(strides),
        "n_conv_per_stage_decoder": [2] * (len(strides) - 1),
    }
    recursive_fix_for_json_export(plans)
    save_json(plans, str(base / f"{DEFAULT_PLANS}.json"), sort_keys=False)
    preprocess([int(CASES)], DEFAULT_PLANS, ("3d_fullres",), (2,))
    torch.manual_seed(0)
    trainer = get_trainer_from_args(
        CASES, "3d_fullres", int(fold), "nnUNetTrainer", DEFAULT_PLANS, device=torch.device(device)
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch = ours.epochs, ours.iterations_per_epoch
    trainer.num_val_iterations_per_epoch = ours.validation_iterations_per_epoch
    trainer.run_training()
    trainer.perform_actual_validation()


def external(args: argparse.Namespace) -> pd.DataFrame:
    """Predict the two open_ms patients with the ensemble of the folds, at their own resolution."""
    out = args.work / "external"
    images = args.work / "raw" / "Dataset804_OpenMS" / "imagesTr"
    model = ("-d", CASES, "-c", "3d_fullres", "-tr", args.trainer, "-p", PLANS, "-f", *FOLDS, "-device", args.device)
    if not (out / "patient26.nii.gz").exists():
        call(args, script("nnUNetv2_predict", "-i", images.resolve(), "-o", out.resolve(), *model, "--disable_tta"))
    return score(
        args, f"{args.trainer}, 3 folds, on open_ms", out, args.work / "raw" / "Dataset804_OpenMS" / "labelsTr"
    )


def masks_of(args: argparse.Namespace, trainer: str, plans: str, folds: Sequence[int]) -> Path:
    """Gather the validation masks of some folds in one folder."""
    pooled = args.work / "masks" / f"{trainer}_{''.join(map(str, folds))}"
    shutil.rmtree(pooled, ignore_errors=True)
    pooled.mkdir(parents=True)
    for fold in folds:
        for mask in (model_folder(args, trainer, plans) / f"fold_{fold}" / "validation").glob("*.nii.gz"):
            shutil.copy(mask, pooled)
    return pooled


def score(args: argparse.Namespace, name: str, masks: Path, references: Path | None = None) -> pd.DataFrame:
    """Evaluate masks under `krishnan2023` and return one row of the table."""
    references = references or args.work / "raw" / "Dataset803_MS3SEG" / "labelsTr"
    wanted = args.work / "references" / masks.name  # only the cases that were predicted
    shutil.rmtree(wanted, ignore_errors=True)
    wanted.mkdir(parents=True)
    for mask in masks.glob("*.nii.gz"):
        shutil.copy(references / mask.name, wanted)
    out = args.work / "evaluation" / masks.name
    arguments = ("--predictions", masks, "--references", wanted, "--rater", name.split(",")[0], "-o", out)
    call(args, script("nnunet-ms-evaluate", *arguments, "--data-note", "real"))
    agreement = pd.read_csv(out / "agreement.csv").set_index("metric")
    cases = pd.read_csv(out / "agreement_cases.csv")
    dice = cases[cases["metric"] == "dice"].sort_values("case_id")
    row = {"model": name, "cases": len(dice)}
    for metric in METRICS:
        row |= {metric: agreement.loc[metric, "mean"], f"{metric}_sd": agreement.loc[metric, "sd"]}
    row["dice_per_case"] = " ".join(
        f"{case}:{value:.2f}" for case, value in zip(dice["case_id"], dice["value"], strict=True)
    )
    return pd.DataFrame([row])


def model_folder(args: argparse.Namespace, trainer: str, plans: str) -> Path:
    """Folder of a trained model."""
    return Path(args.work / "results" / "Dataset803_MS3SEG" / f"{trainer}__{plans}__3d_fullres")


def script(name: str, *arguments: object) -> list[str]:
    """Command with the scripts of this interpreter's environment."""
    return [str(Path(sys.executable).parent / name), *map(str, arguments)]


def call(args: argparse.Namespace, command: Sequence[str], ok: tuple[int, ...] = (0,)) -> None:
    """Run a command with nnU-Net's folders below the work folder; its output goes to a log."""
    work = args.work.resolve()
    folders = {f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")}
    environment = {**os.environ, **folders, "nnUNet_def_n_proc": "2"}
    # one process for augmentation and training: on two cores more only get in each other's way
    environment["nnUNet_n_proc_DA"] = "1" if "plan" in command[0] or "equal-budget" in command else "0"
    work.mkdir(parents=True, exist_ok=True)
    with (work / "log.txt").open("a") as log:
        code = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False).returncode
    if code not in ok:
        raise SystemExit(f"{' '.join(command)}: exit code {code}, see {work / 'log.txt'}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["equal-budget"]:
        equal_budget(*sys.argv[2:5])
        sys.exit(0)
    sys.exit(main())
