"""What is each part of the multi-arm network and of its loss good for? Twelve variants, equal in all else.

Step by step from the plain 3-D U-Net to the paper's network, attention on its skips, one arm in 2.5-D, and the network
with other losses (`VARIANTS`; Krishnan et al. 2023, supplement S2 and S3), at a CPU's size: a quarter of the filters,
small patches, few steps. Two sets of scans, three seeds:

- `trial`: simulated. 24 patients train; a trial of 20 others, scanned at weeks 0 and 120 in two arms, is predicted, so
  that the separation of the arms (percent change of the T2 volume) can be compared with that of the reference masks.
- `ms3seg`: six real patients with FLAIR, T2 and T1; seed k trains on fold k and predicts its two unseen patients, so
  that the three seeds together predict every patient once. Left out when `--data` has no such folder.

Every variant sees the same scans, steps and draws of patches. Masks come from `nnunet-ms-predict` without mirroring and
without dropout, numbers from `nnunet-ms-evaluate` (rule `krishnan2023`).

    python benchmarks/multi_arm_ablation.py --work runs/multi_arm --data ../shared/data/ms3seg
    python benchmarks/multi_arm_ablation.py --work runs/multi_arm_gpu --full --device cuda

Finished steps are not repeated, and an interrupted training goes on from its checkpoint; `--score-only` makes tables
and figure of what is finished (`multi_arm_ablation_tables.py`).
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ablation_commands import call, script

PLANS, RULE = "nnUNetPlansMS", "krishnan2023"
DATASETS = {"trial": "Dataset809_MultiArm", "ms3seg": "Dataset803_MS3SEG"}
FOLDS = 3
TRAINED, PER_ARM = 24, 10
SLICES = slice(24, 40)
WEEKS = (0, 120)
# percent change of T2 volume and new lesions between the visits, as in ORATORIO (placebo about +11 %, active -3 %)
ARMS = {"placebo": (11.0, 3.0), "active": (-3.0, 0.3)}
CHANGE_SD = 4.0
VARIANTS = {
    "plain U-Net": "nnUNetTrainerMSPlain",
    "one arm, no shortcuts": "nnUNetTrainerMSSingleArmNoShortcuts",
    "one arm, encoder": "nnUNetTrainerMSSingleArmEncoder",
    "one arm, encoder + skip": "nnUNetTrainerMSSingleArmEncoderSkip",
    "one arm, all shortcuts": "nnUNetTrainerMSSingleArm",
    "multi-arm": "nnUNetTrainerMSMultiArm",
    "multi-arm, no shortcuts": "nnUNetTrainerMSMultiArmNoShortcuts",
    "multi-arm, skip attention": "nnUNetTrainerMSMultiArmSkipAttention",
    "one arm, 2.5-D": "nnUNetTrainerMSSingleArm25D",
    "multi-arm, Dice + CE": "nnUNetTrainerMSMultiArmDiceCE",
    "multi-arm, Tversky": "nnUNetTrainerMSMultiArmTversky",
    "multi-arm, asymmetric": "nnUNetTrainerMSMultiArmAsymmetric",
}
# what `nnUNetTrainerMSMultiArmSmall` sets, given to every variant: there is no small class of each
SMALL_SIZES = ("filters", "learning_rate", "dropout", "mirror_axes", "validation_iterations_per_epoch")


@dataclass(frozen=True)
class Budget:
    """Length of one training; the patch in voxels is capped, `None` takes the plan's."""

    epochs: int
    iterations: int
    patch_voxels: int | None
    batch: int | None


SMALL = Budget(epochs=6, iterations=20, patch_voxels=8 * 32 * 32, batch=4)
FULL = Budget(epochs=100, iterations=250, patch_voxels=None, batch=None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps that are not done, print and store the tables."""
    from multi_arm_ablation_tables import write_tables

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/multi_arm"), help="scans, models and masks")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ms3seg"), help="folder of MS3SEG")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--figure", type=Path, default=Path(__file__).parents[1] / "docs" / "multi_arm_ablation.png")
    parser.add_argument("--seeds", type=int, nargs="+", choices=range(FOLDS), default=list(range(FOLDS)))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--full", action="store_true", help="full networks and patches, 25,000 steps: GPU")
    parser.add_argument("--epochs", type=int, help="of 20 iterations, 6 by default; of 250 and 100 with --full")
    parser.add_argument("--suffix", default="", help="of the names of the tables, such as _long")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--score-only", action="store_true", help="tables of what is finished; train nothing")
    args = parser.parse_args(argv)
    args.work, args.data = args.work.resolve(), args.data.resolve()
    if not args.score_only:
        prepare(args)
        for seed in args.seeds:
            settings = {name: getattr(args, name) for name in ("variants", "full", "device", "epochs")}
            settings["work"] = str(args.work)
            # a process of its own, because nnU-Net reads its folders when it is imported
            call(args, [sys.executable, __file__, "seed", str(seed), json.dumps(settings)], seed)
    write_tables(args)
    return 0


def prepare(args: argparse.Namespace) -> None:
    """Simulate, convert and plan."""
    simulate(args.work / "scans")
    raw = args.work / "raw"
    if not (raw / DATASETS["trial"]).exists():
        tested = ",".join(f"P{number:03d}" for number in range(TRAINED, TRAINED + 2 * PER_ARM))
        options = ("--channels", "flair,t2,t1", "--target", "t2_lesions", *_id_and_name("trial"), "--folds", FOLDS)
        manifest = args.work / "scans" / "manifest.csv"
        call(args, script("nnunet-ms-convert", "trial", manifest, *options, "--test-patients", tested))
    if args.data.is_dir() and not (raw / DATASETS["ms3seg"]).exists():
        # exit code 1: the two patients without T2 are listed and left out
        call(args, script("nnunet-ms-convert", "ms3seg", args.data, *_id_and_name("ms3seg")[:2]), ok=(0, 1))
    for data in datasets(args):
        if not (args.work / "preprocessed" / DATASETS[data] / f"{PLANS}.json").exists():
            arguments = ("-d", *_id_and_name(data)[1:2], "-pl", "nnUNetPlannerMS", "-npfp", 1, "-np", 1)
            call(args, script("nnUNetv2_plan_and_preprocess", *arguments))


def _id_and_name(data: str) -> tuple[str, str, str, str]:
    number, name = DATASETS[data].removeprefix("Dataset").split("_")
    return "--dataset-id", number, "--name", name


def datasets(args: argparse.Namespace) -> list[str]:
    """Data sets that have been converted."""
    return [data for data, folder in DATASETS.items() if (args.work / "raw" / folder).is_dir()]


def simulate(folder: Path) -> None:
    """Write the training patients' single visits and the trial's two, cut to a slab, and the manifest last."""
    if (folder / "manifest.csv").exists():
        return
    rows = [row for index in range(TRAINED + 2 * PER_ARM) for row in simulate_patient(folder, index)]
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)


def arm_of(patient: str) -> str:
    """Arm of a patient of the trial, by turns."""
    return list(ARMS)[int(patient.removeprefix("P")) % 2]


def simulate_patient(folder: Path, index: int) -> Iterator[dict[str, Any]]:
    """Write one patient's visits on a grid of 2x2x3 mm; yield the rows of the manifest."""
    from nnunet_ms.images.volumes import write_volume
    from nnunet_ms.simulation.images.phantom import acquire_visit, draw_patient
    from nnunet_ms.simulation.model.course import Course
    from nnunet_ms.simulation.model.presets import PHANTOMS, GridSettings, LesionSizes
    from nnunet_ms.simulation.model.streams import Step, stream

    patient, rng = f"P{index:03d}", np.random.default_rng([18, index])
    volume = PHANTOMS.tlv_median_ml * np.exp(PHANTOMS.tlv_log_sd * np.clip(rng.standard_normal(), -1.5, 1.5))
    percent, new = ARMS[arm_of(patient)]
    later = volume * (1 + (percent + CHANGE_SD * rng.standard_normal()) / 100)
    course = Course((volume, later), (0, int(rng.poisson(new))), (0, 0), (0, 0), PHANTOMS.black_hole_share)
    settings = GridSettings((2.0, 2.0, 3.0), LesionSizes(median_mm3=80.0, log_sd=1.0))
    drawn = draw_patient(settings, course, 18, index)
    for visit, week in enumerate(WEEKS if index >= TRAINED else WEEKS[:1]):
        acquired = acquire_visit(drawn, visit, stream(18, Step.ACQUISITION, index, visit))
        affine = drawn.anatomy.grid.affine.copy()
        affine[:3, 3] += affine[:3, 2] * SLICES.start
        columns = ("flair", "t2", "t1", "brain_mask", "t2_lesions")
        paths = {column: f"{patient}/{week}_{column}.nii.gz" for column in columns}
        for column, path in paths.items():
            write_volume(folder / path, np.ascontiguousarray(acquired.volumes[column][:, :, SLICES]), affine)
        yield {"patient_id": patient, "visit": f"week{week:03d}", "week": week, **paths}


def run_seed(seed: int, settings: dict[str, Any]) -> None:
    """Train what is not trained and predict what is not predicted."""
    args = argparse.Namespace(**{**settings, "work": Path(settings["work"])})
    for data in datasets(args):
        for variant in args.variants:
            if (masks(args, data, seed, variant) / "cases.csv").exists():
                continue
            started = time.monotonic()
            size_trainer(args, variant)
            if not (model_folder(args, data, seed, variant) / fold_name(data, seed) / "checkpoint_final.pth").exists():
                train(args, data, seed, variant)
            trained = time.monotonic()
            predict(args, data, seed, variant)
            seconds = f"trained {trained - started:.0f} s, predicted {time.monotonic() - trained:.0f} s"
            print(f"{data}, {variant}, seed {seed}: {seconds}", flush=True)


def size_trainer(args: argparse.Namespace, variant: str) -> type:
    """Give a variant's class the sizes of this run; training and prediction are in one process, so both see them."""
    import nnunet_ms.doors.trainers as door

    cls, budget = getattr(door, VARIANTS[variant]), FULL if args.full else SMALL
    sizes = {} if args.full else {name: getattr(door.nnUNetTrainerMSMultiArmSmall, name) for name in SMALL_SIZES}
    sizes |= {"epochs": args.epochs or budget.epochs, "iterations_per_epoch": budget.iterations, "checkpoint_every": 2}
    sizes |= {"max_patch_voxels": budget.patch_voxels, "max_batch_size": budget.batch}
    for name, value in sizes.items():
        setattr(cls, name, value)
    return cls  # type: ignore[no-any-return]


def train(args: argparse.Namespace, data: str, seed: int, variant: str) -> None:
    """Train with nnU-Net's loop: the simulated patients all together, the real ones without the fold of the seed."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

    size_trainer(args, variant).seed = seed  # type: ignore[attr-defined]
    fold = "all" if data == "trial" else seed
    device = torch.device(args.device)
    run = get_trainer_from_args(DATASETS[data], "3d_fullres", fold, VARIANTS[variant], PLANS, device=device)
    maybe_load_checkpoint(run, True, False)  # noqa: FBT003 - nnU-Net's order: go on, and not for validation only
    run.logger.plot_progress_png = lambda _folder: None  # a picture per epoch would take as long as its steps
    run.run_training()


def predict(args: argparse.Namespace, data: str, seed: int, variant: str) -> None:
    """Masks of the unseen scans."""
    from nnunet_ms.trainers.predict_cli import main as nnunet_ms_predict

    images = unseen(args, data, seed)
    fold = fold_name(data, seed).removeprefix("fold_")
    model = ("-m", model_folder(args, data, seed, variant), "-f", fold, "-device", args.device)
    what = ("-i", images, "--cases", images / "cases.csv", "-o", masks(args, data, seed, variant), "--continue")
    options = ("--mc-samples", 0, "--no-tta", "--step-size", 0.75, "--no-pictures", "--rater", variant)
    note = ("--data-note", "simulated" if data == "trial" else "real")
    if nnunet_ms_predict([str(part) for part in (*model, *what, *options, *note)]) != 0:
        raise SystemExit(f"{data}, {variant}, seed {seed}: prediction failed")


def unseen(args: argparse.Namespace, data: str, seed: int) -> Path:
    """Folder with links to the scans that a seed's models have not seen, their references and their table of cases."""
    raw, folder = args.work / "raw" / DATASETS[data], args.work / "unseen" / f"{data}{seed}"
    if (folder / "cases.csv").exists():
        return Path(folder)
    cases = pd.read_csv(raw / "cases.csv", dtype={"case_id": str, "patient_id": str})
    if data == "trial":
        chosen, images, labels = cases[cases["role"] == "test"], "imagesTs", "labelsTs"
    else:
        splits = json.loads((args.work / "preprocessed" / raw.name / "splits_final.json").read_text())
        chosen, images, labels = cases[cases["case_id"].isin(splits[seed]["val"])], "imagesTr", "labelsTr"
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    for case in chosen["case_id"]:
        for path in (raw / images).glob(f"{case}_0*.nii.gz"):
            _link(folder / path.name, path)
        _link(folder / "labels" / f"{case}.nii.gz", raw / labels / f"{case}.nii.gz")
    chosen.to_csv(folder / "cases.csv", index=False)
    return Path(folder)


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def fold_name(data: str, seed: int) -> str:
    """Folder of the fold that a seed trains."""
    return "fold_all" if data == "trial" else f"fold_{seed}"


def model_folder(args: argparse.Namespace, data: str, seed: int, variant: str) -> Path:
    """Folder of a trained model."""
    return Path(args.work / f"results_seed{seed}" / DATASETS[data] / f"{VARIANTS[variant]}__{PLANS}__3d_fullres")


def masks(args: argparse.Namespace, data: str, seed: int, variant: str) -> Path:
    """Folder of a model's masks."""
    return Path(args.work / "masks" / f"{data}_{VARIANTS[variant]}_seed{seed}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["seed"]:
        run_seed(int(sys.argv[2]), json.loads(sys.argv[3]))
        sys.exit(0)
    sys.exit(main())
