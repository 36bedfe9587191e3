"""Does a model of other diseases save labelled MS scans? FT against DN at equal compute, on simulated scans.

Wahlig et al. (Front Neurosci 2023) fine-tune models of mixed pathology, tumours above all, with 10 to 50 MS studies.
Here both are phantoms of one visit at 2x2x3 mm, a slab of 20 slices around the ventricles, FLAIR alone. MS: the
simulator's lesions (median 80 mm3, many, in white matter, around the ventricles). Source: the same heads without MS and
with one abnormality of another shape and size,

- tumour-like, every other one: an irregular ball of 8 to 18 mm radius around a place in white matter, FLAIR 1.3 to 1.7
  times as bright, with a dark core of 0.4 of the radius and a soft border;
- infarct-like: what a ball of 10 to 20 mm around a place on the cortex has of grey and white matter, 1.3 to 1.6 times
  as bright, with a sharp border.

The source model is trained on all source scans (`nnUNetTrainerMSBalancedSmall`), then `nnunet-ms-learning-curve` does
the rest, once per seed; a seed draws other subsets. Simulated data: the numbers say what happens with these phantoms
and networks, and nothing about patients.

    python benchmarks/learning_curve.py --work runs/learning_curve
    python benchmarks/learning_curve.py --work runs/learning_curve_gpu --full --subsets 6 --seeds 0 --gpus 0,1

Finished steps are not repeated. Written into `--results`: `learning_curve_means.csv` and `learning_curve_tests.csv`,
with the seed in each row; printed: how often fine-tuning has the higher PPV and sensitivity at each N.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

SOURCE, TARGET = (817, "Dataset817_Source"), (816, "Dataset816_Few")
SPACING, SLICES = (2.0, 2.0, 3.0), slice(22, 42)
PLANS, CONFIGURATION = "nnUNetPlansMS", "3d_fullres"
TRAINERS = {"FT": "nnUNetTrainerMSFineTune", "DN": "nnUNetTrainerMSBalanced"}
Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps that are not done, print and store the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/learning_curve"), help="scans, models and curves")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the subsets")
    parser.add_argument("--subsets", type=int, default=4, help="one more than there are sizes (%(default)s)")
    parser.add_argument("--studies", type=int, default=10, help="of a subset (%(default)s)")
    parser.add_argument("--source-scans", type=int, default=40, help="scans of other diseases (%(default)s)")
    parser.add_argument(
        "--trainer", choices=("Small", "Tiny"), default="Small", help="Tiny: to see that the way is open"
    )
    parser.add_argument("--full", action="store_true", help="full networks and length: GPU")
    parser.add_argument("--gpus", help="numbers with commas between; else the CPU")
    args = parser.parse_args(argv)
    args.work = args.work.resolve()
    prepare(args)
    parts = [curve(args, seed) for seed in args.seeds]
    for name in ("means", "tests"):
        table = pd.concat([part[name] for part in parts], ignore_index=True)
        args.results.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.results / f"learning_curve_{name}.csv", index=False)
    print(verdict(pd.concat([part["means"] for part in parts])))
    return 0


def prepare(args: argparse.Namespace) -> None:
    """Scans, datasets, plans, and the source model."""
    draw_scans(args.work / "source", args.source_scans, other_disease=True)
    draw_scans(args.work / "ms", args.subsets * args.studies, other_disease=False)
    for (number, name), scans in ((SOURCE, "source"), (TARGET, "ms")):
        if not (args.work / "raw" / name / "dataset.json").is_file():
            words = ("--channels", "flair", "--dataset-id", number, "--name", name.partition("_")[2])
            call(args, "nnunet-ms-convert", "trial", args.work / scans / "manifest.csv", *words)
        if not (args.work / "preprocessed" / name / f"{PLANS}.json").is_file():
            words = ("-pl", "nnUNetPlannerMS", "-c", CONFIGURATION, "-npfp", 1, "-np", 1)
            call(args, "nnUNetv2_plan_and_preprocess", "-d", number, *words)
    if not source_checkpoint(args).is_file():
        words = (SOURCE[0], CONFIGURATION, "all", "-tr", trainer(args, "DN"), "-p", PLANS, "-device", device(args))
        call(args, "nnUNetv2_train", *words, "--c")


def curve(args: argparse.Namespace, seed: int) -> dict[str, pd.DataFrame]:
    """The learning curve of one seed: its means and tests."""
    out = args.work / f"curve_{seed}"
    raw = args.work / "raw" / TARGET[1]
    call(
        args,
        "nnunet-ms-convert",
        "splits",
        raw,
        *("--scheme", "learning-curve", "--folds", args.subsets, "--seed", seed),
    )
    pairs = ",".join(f"{arm}={trainer(args, arm)}" for arm in TRAINERS)
    words = ("--source", source_checkpoint(args), "--trainers", pairs, "--data-note", "simulated", "-o", out)
    places = ("--gpus", args.gpus) if args.gpus else ("-device", device(args))
    call(args, "nnunet-ms-learning-curve", TARGET[0], *words, *places)
    files = {"means": "learning_curve.csv", "tests": "comparisons.csv"}
    return {name: pd.read_csv(out / file).drop(columns="data_note").assign(seed=seed) for name, file in files.items()}


def verdict(means: pd.DataFrame) -> str:
    """Return in words what the paper's finding, higher PPV at small N, has become."""
    wide = means[means["arm"].isin(list(TRAINERS))].pivot_table(
        index=["metric", "size", "seed"], columns="arm", values="mean"
    )
    lines = []
    for (metric, size), rows in (wide["FT"] - wide["DN"]).groupby(level=["metric", "size"]):
        higher = int((rows > 0).sum())
        which = f"fine-tuned higher in {higher} of {len(rows)} seeds"
        lines.append(f"{metric}, N = {size:.0f}: {which}, by {rows.mean():+.3f}")
    return "\n".join(lines)


def draw_scans(folder: Path, count: int, *, other_disease: bool) -> None:
    """Write FLAIR, brain mask and lesion mask of each patient, cut to the slab, and the manifest last."""
    from nnunet_ms.images.volumes import write_volume
    from nnunet_ms.simulation.images.phantom import acquire_visit, draw_patient
    from nnunet_ms.simulation.model.course import Course
    from nnunet_ms.simulation.model.presets import PHANTOMS, GridSettings, LesionSizes
    from nnunet_ms.simulation.model.streams import Step, stream

    if (folder / "manifest.csv").is_file():
        return
    settings, seed = GridSettings(SPACING, LesionSizes(median_mm3=80.0, log_sd=1.0)), 31 if other_disease else 30
    rows = []
    for index in range(count):
        patient = f"{'S' if other_disease else 'P'}{index + 1:03d}"
        rng = np.random.default_rng([seed, index])
        volume = PHANTOMS.tlv_median_ml * np.exp(PHANTOMS.tlv_log_sd * np.clip(rng.standard_normal(), -2.5, 2.5))
        course = Course((0.0 if other_disease else volume,), (0,), (0,), (0,), PHANTOMS.black_hole_share)
        drawn = draw_patient(settings, course, seed, index)
        visit = acquire_visit(drawn, 0, stream(seed, Step.ACQUISITION, index, 0))
        volumes = {name: visit.volumes[name] for name in ("flair", "brain_mask", "t2_lesions")}
        if other_disease:
            volumes |= paint(volumes["flair"], drawn.anatomy, rng, tumour=index % 2 == 0)
        affine = drawn.anatomy.grid.affine.copy()
        affine[:3, 3] += affine[:3, 2] * SLICES.start
        for name, data in volumes.items():
            write_volume(folder / patient / f"{name}.nii.gz", np.ascontiguousarray(data[:, :, SLICES]), affine)
        paths = {name: f"{patient}/{name}.nii.gz" for name in volumes}
        rows.append({"patient_id": patient, "visit": "week000", "week": 0, **paths})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)


def paint(flair: Volume, anatomy: "object", rng: np.random.Generator, *, tumour: bool) -> dict[str, np.ndarray]:
    """Return FLAIR with one abnormality, and its mask; anatomy is `simulation.images.anatomy.Anatomy`."""
    from scipy import ndimage

    from nnunet_ms.simulation.images.lesion_shapes import smooth_noise

    slab = np.zeros(anatomy.brain.shape, dtype=bool)
    slab[:, :, SLICES.start + 4 : SLICES.stop - 4] = True
    depth = ndimage.distance_transform_edt(anatomy.brain, sampling=SPACING)
    allowed = slab & ((anatomy.white > 0.8) & (depth > 15) if tumour else anatomy.brain & (depth < 5) & (depth > 0))
    places = np.argwhere(allowed)
    centre = places[rng.integers(len(places))]
    far = np.sqrt(
        sum(((axis - at) * mm) ** 2 for axis, at, mm in zip(np.indices(flair.shape), centre, SPACING, strict=True))
    )
    radius = rng.uniform(8, 18) if tumour else rng.uniform(10, 20)
    rough = (0.15 if tumour else 0.05) * radius * smooth_noise(anatomy, 4.0, rng)
    tissue = anatomy.brain & (anatomy.csf < 0.5)
    mask = (far + rough < radius) & tissue
    bright = np.where(mask, rng.uniform(1.3, 1.7 if tumour else 1.6), 1.0)
    if tumour:
        bright = np.where((far + rough < 0.4 * radius) & tissue, 0.8, bright)
    soft = ndimage.gaussian_filter(bright, [(1.5 if tumour else 0.7) / mm for mm in SPACING])
    return {"flair": (flair * soft).astype(np.float32), "t2_lesions": mask.astype(np.uint8)}


def source_checkpoint(args: argparse.Namespace) -> Path:
    """Where the source model is, or will be."""
    folder = args.work / "results" / SOURCE[1] / f"{trainer(args, 'DN')}__{PLANS}__{CONFIGURATION}"
    return folder / "fold_all" / "checkpoint_final.pth"


def trainer(args: argparse.Namespace, arm: str) -> str:
    """Trainer of an arm in the size that was asked for."""
    return TRAINERS[arm] + ("" if args.full else args.trainer)


def device(args: argparse.Namespace) -> str:
    """Where to train."""
    return "cuda" if args.gpus or args.full else "cpu"


def call(args: argparse.Namespace, program: str, *words: object) -> None:
    """Run a command of this environment with nnU-Net's folders in `--work`; augmentation in the training process."""
    if program.startswith("nnunet-ms-"):  # also where the scripts are older than the checkout
        command = [sys.executable, "-m", "nnunet_ms", program.removeprefix("nnunet-ms-")]
    else:
        command = [str(Path(sys.executable).parent / program)]
    folders = {f"nnUNet_{name}": str(args.work / name) for name in ("raw", "preprocessed", "results")}
    for folder in folders.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    settings = {} if args.full else {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1"}
    subprocess.run([*command, *map(str, words)], check=True, env={**os.environ, **folders, **settings})


if __name__ == "__main__":
    sys.exit(main())
