"""Does joint training help? Individual, joint, encoder-only and decoder-only on simulated scans, equal in all else.

Training on 40 simulated patients, test on 40 others, three seeds; every variant sees the same scans, the same number
of iterations, the same sampling of patches, and (per seed) starts from the same weights in its branches. Scans: the
phantom at 2x2x3 mm, a slab of 20 slices around the ventricles, one visit, with more enhancing lesions than patients
have (mean 8 per brain, `--enhancing`), so that 40 patients say something about small ones; the lesions are larger than
the paper's (median 80 mm3, at least three voxels of 12 mm3), because the scans have to be small enough for a CPU.
`--grid trial` has voxels and lesion sizes of a trial instead. Masks and probabilities come from `nnunet-ms-predict`
without mirroring and without dropout, the numbers from `nnunet-ms-evaluate` (rule `krishnan2023`) and its
`--lesion-auc`. Simulated data: the numbers say which variant is better on phantoms, and nothing about patients.

    python benchmarks/joint_t1_ablation.py --work runs/joint_t1
    python benchmarks/joint_t1_ablation.py --work runs/joint_t1_long --epochs 60 --variants individual joint
    python benchmarks/joint_t1_ablation.py --work runs/joint_t1_gpu --full --grid trial --device cuda

Finished steps are not repeated, and an interrupted training goes on from its checkpoint; `--score-only` makes tables
of what is finished. Written: every number of every model with its bootstrap interval over patients
(`joint_t1_ablation.csv`), differences of AUC with DeLong's test (`joint_t1_against_individual.csv`), and means over
the seeds (`joint_t1_means.csv`). Candidates of the ROC curves are components of probability above 0.1.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ablation_commands import call, script

DATASET, NAME, PLANS = 807, "JointT1", "nnUNetPlansMS"
CHANNELS, TARGET = "t1,t1post,flair,t2", "t1_unenhancing,t1_enhancing"
SLICES = slice(22, 42)
TRAINED, TESTED = 40, 40
VARIANTS = {
    "individual": "nnUNetTrainerMSIndividualT1",
    "joint": "nnUNetTrainerMSJointT1",
    "encoder": "nnUNetTrainerMSJointT1Encoder",
    "decoder": "nnUNetTrainerMSJointT1Decoder",
}
METRICS = ("dice", "ltpr", "lfpr", "r_vol")
RULE = "krishnan2023"
STATISTICS = ("ltpr", "lfpr", "lesion_dice", "auc", "auc_common")  # by size
NUMBERS = ("value", "low", "high")
CANDIDATE = 0.1  # probability of candidates: at the masks' 0.5 there is hardly a false enhancing component


@dataclass(frozen=True)
class Budget:
    """Length of one training; the patch in voxels is capped, `None` takes the plan's."""

    epochs: int
    iterations: int
    patch_voxels: int | None
    batch: int | None
    suffix: str


SMALL = Budget(epochs=12, iterations=20, patch_voxels=8 * 32 * 32, batch=4, suffix="Small")
FULL = Budget(epochs=100, iterations=250, patch_voxels=None, batch=None, suffix="")


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps that are not done, print and store the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/joint_t1"), help="scans, models and masks")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--enhancing", type=float, default=8.0, help="mean number per brain (default: %(default)s)")
    parser.add_argument("--grid", choices=("coarse", "trial"), default="coarse", help="voxels (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=int, help="of 20 iterations, 12 by default; 250 iterations and 100 with --full"
    )
    parser.add_argument("--full", action="store_true", help="full networks: GPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--score-only", action="store_true", help="tables of what is finished; train nothing")
    args = parser.parse_args(argv)
    args.work = args.work.resolve()
    models = [(seed, variant) for seed in args.seeds for variant in args.variants]
    if not args.score_only:
        prepare(args)
        for seed in args.seeds:
            train_and_predict(args, seed)
    finished = [model for model in models if (masks(args, *model) / "cases.csv").exists()]
    tables = score(args, finished)
    for name, table in tables.items():
        args.results.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.results / f"joint_t1_{name}.csv", index=False)
    print(tables["means"].to_string(index=False, float_format="{:.3f}".format))
    return 0


def prepare(args: argparse.Namespace) -> None:
    """Simulate, convert and plan."""
    simulate(args.work / "scans", args.grid, args.enhancing)
    if not list((args.work / "raw").glob(f"Dataset{DATASET}_*")):
        patients = [f"P{number:03d}" for number in range(TRAINED + 1, TRAINED + TESTED + 1)]
        options = ("--channels", CHANNELS, "--target", TARGET, "--dataset-id", DATASET, "--name", NAME, "--folds", 2)
        manifest = args.work / "scans" / "manifest.csv"
        call(args, script("nnunet-ms-convert", "trial", manifest, *options, "--test-patients", ",".join(patients)))
    if not (args.work / "preprocessed" / dataset() / f"{PLANS}.json").exists():
        arguments = ("-d", DATASET, "-pl", "nnUNetPlannerMS", "-npfp", 1, "-np", 1)
        call(args, script("nnUNetv2_plan_and_preprocess", *arguments))


def simulate(folder: Path, grid: str, enhancing: float) -> None:
    """Write one visit of each patient, cut to the slab, and the manifest last."""
    from nnunet_ms.images.volumes import write_volume
    from nnunet_ms.simulation.images.phantom import acquire_visit, draw_patient
    from nnunet_ms.simulation.model.course import Course
    from nnunet_ms.simulation.model.presets import CONTRASTS, GRIDS, PHANTOMS, GridSettings, LesionSizes
    from nnunet_ms.simulation.model.streams import Step, stream

    if (folder / "manifest.csv").exists():
        return
    coarse = GridSettings((2.0, 2.0, 3.0), LesionSizes(median_mm3=80.0, log_sd=1.0))
    settings = coarse if grid == "coarse" else GRIDS[grid]
    columns = [*CONTRASTS, "brain_mask", *TARGET.split(",")]
    rows = []
    for index in range(TRAINED + TESTED):
        patient = f"P{index + 1:03d}"
        paths = {column: f"{patient}/{column}.nii.gz" for column in columns}
        rows.append({"patient_id": patient, "visit": "week000", "week": 0, **paths})
        if all((folder / path).exists() for path in paths.values()):
            continue
        rng = np.random.default_rng([7, index])
        volume = PHANTOMS.tlv_median_ml * np.exp(PHANTOMS.tlv_log_sd * np.clip(rng.standard_normal(), -2.5, 2.5))
        course = Course((volume,), (0,), (int(rng.poisson(enhancing)),), (0,), PHANTOMS.black_hole_share)
        drawn = draw_patient(settings, course, 7, index)
        visit = acquire_visit(drawn, 0, stream(7, Step.ACQUISITION, index, 0))
        affine = drawn.anatomy.grid.affine.copy()
        affine[:3, 3] += affine[:3, 2] * SLICES.start
        for column, path in paths.items():
            write_volume(folder / path, np.ascontiguousarray(visit.volumes[column][:, :, SLICES]), affine)
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)


def train_and_predict(args: argparse.Namespace, seed: int) -> None:
    """All variants of one seed, in a process of their own, because nnU-Net reads its folders when it is imported."""
    if all((masks(args, seed, variant) / "cases.csv").exists() for variant in args.variants):
        return
    settings = {name: getattr(args, name) for name in ("variants", "full", "device", "epochs")}
    settings["work"] = str(args.work)
    call(args, [sys.executable, __file__, "seed", str(seed), json.dumps(settings)], seed)


def run_seed(seed: int, settings: dict[str, Any]) -> None:
    """Train what is not trained and predict what is not predicted."""
    args = argparse.Namespace(**{**settings, "work": Path(settings["work"])})
    for variant in args.variants:
        started = time.monotonic()
        if not (model_folder(args, seed, variant) / "fold_all" / "checkpoint_final.pth").exists():
            train(args, seed, variant)
        print(f"{variant}, seed {seed}: trained {(time.monotonic() - started) / 60:.1f} min", flush=True)
        if not (masks(args, seed, variant) / "cases.csv").exists():
            predict(args, seed, variant)
        print(f"{variant}, seed {seed}: predicted {(time.monotonic() - started) / 60:.1f} min", flush=True)


def train(args: argparse.Namespace, seed: int, variant: str) -> None:
    """Train on all cases of the training set (fold `all`): nnU-Net's loop, with this budget and seed."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

    import nnunet_ms.doors.trainers as door

    budget, name = (FULL if args.full else SMALL), trainer(args, variant)
    cls = getattr(door, name)
    cls.seed, cls.epochs, cls.iterations_per_epoch = seed, args.epochs or budget.epochs, budget.iterations
    cls.max_patch_voxels, cls.max_batch_size, cls.checkpoint_every = budget.patch_voxels, budget.batch, 3
    run = get_trainer_from_args(str(DATASET), "3d_fullres", "all", name, PLANS, device=torch.device(args.device))
    maybe_load_checkpoint(run, True, False)  # noqa: FBT003 - nnU-Net's order: go on, and not for validation only
    run.run_training()


def predict(args: argparse.Namespace, seed: int, variant: str) -> None:
    """Masks and mean probabilities of the test patients."""
    from nnunet_ms.trainers.predict_cli import main as nnunet_ms_predict

    images, cases = (args.work / "raw" / dataset() / name for name in ("imagesTs", "cases.csv"))
    arguments = ("-m", model_folder(args, seed, variant), "-f", "all", "-i", images, "--cases", cases)
    options = ("--mc-samples", 0, "--no-tta", "--step-size", 0.75, "--no-pictures", "--rater", variant)
    more = ("--data-note", "simulated", "-device", args.device, "--continue", "-o", masks(args, seed, variant))
    if nnunet_ms_predict([str(part) for part in (*arguments, *options, *more)]) != 0:
        raise SystemExit(f"{variant}, seed {seed}: prediction failed")


def score(args: argparse.Namespace, models: Sequence[tuple[int, str]]) -> dict[str, pd.DataFrame]:
    """Tables of the finished models: every number per model, and every variant against individual training."""
    values, differences = [], []
    for seed in sorted({seed for seed, _ in models}):
        out = evaluate(args, seed, [variant for at, variant in models if at == seed])
        agreement, auc = pd.read_csv(out / "agreement.csv"), pd.read_csv(out / "lesion_auc" / "lesion_auc.csv")
        agreement = agreement[agreement["metric"].isin(METRICS)].rename(columns={"mean": "value"})
        single = auc[auc["versus"].isna() & auc["stat_name"].isin(STATISTICS)]
        single = single.assign(metric=single["stat_name"] + "_" + single["size"], value=single["stat"])
        values.append(pd.concat([agreement, single])[["lesion_type", "rater", "metric", *NUMBERS]].assign(seed=seed))
        differences.append(auc[auc["versus"] == "individual"].assign(seed=seed))
    ablation = pd.concat(values).sort_values(["lesion_type", "metric", "seed"], kind="stable")
    columns = [
        "lesion_type",
        "size",
        "rater",
        "versus",
        "stat_name",
        "stat",
        "low",
        "high",
        "n_lesions",
        "n_false",
        "seed",
    ]
    against = pd.concat(differences)[columns] if differences else pd.DataFrame(columns=columns)
    means = ablation.pivot_table(index=["lesion_type", "metric"], columns="rater", values="value").reset_index()
    return {"ablation": ablation, "against_individual": against, "means": means}


def evaluate(args: argparse.Namespace, seed: int, variants: Sequence[str]) -> Path:
    """Evaluate all models of one seed together, if that is not done."""
    out, raw = args.work / "evaluation" / f"seed{seed}", args.work / "raw" / dataset()
    done = out / "lesion_auc" / "lesion_auc.csv"
    if done.exists() and set(pd.read_csv(done)["rater"]) == set(variants):
        return out
    folders = [f"--predictions={variant}={masks(args, seed, variant)}" for variant in variants]
    folders += [f"--lesion-auc={variant}={masks(args, seed, variant) / 'probability'}" for variant in variants]
    options = ("--references", raw / "labelsTs", "--cases", raw / "cases.csv", "--rules", RULE)
    more = ("--labels", "t1_unenhancing=1,t1_enhancing=2", "--candidate-threshold", CANDIDATE, "-o", out)
    call(args, script("nnunet-ms-evaluate", *folders, *options, *more, "--data-note", "simulated"))
    return out


def dataset() -> str:
    """Name of the dataset's folder."""
    return f"Dataset{DATASET}_{NAME}"


def trainer(args: argparse.Namespace, variant: str) -> str:
    """Trainer of a variant, small or full."""
    return VARIANTS[variant] + (FULL if args.full else SMALL).suffix


def model_folder(args: argparse.Namespace, seed: int, variant: str) -> Path:
    """Folder of a trained model."""
    results = args.work / f"results_seed{seed}"
    return Path(results / dataset() / f"{trainer(args, variant)}__{PLANS}__3d_fullres")


def masks(args: argparse.Namespace, seed: int, variant: str) -> Path:
    """Folder of a model's masks."""
    return Path(args.work / "masks" / f"{variant}_seed{seed}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["seed"]:
        run_seed(int(sys.argv[2]), json.loads(sys.argv[3]))
        sys.exit(0)
    sys.exit(main())
