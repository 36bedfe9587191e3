"""Does a model of other diseases save labelled MS scans? FT against DN at equal compute, on simulated scans.

Wahlig et al. (Front Neurosci 2023) fine-tune models of mixed pathology, tumours above all, with 10 to 50 MS studies.
Here both are phantoms (`learning_curve_scans.py`). Task `new`, as in the paper: pairs of visits, of which a network
sees the subtraction (`nnunet-ms-convert --pairs`), and new lesions; the source has abnormalities that are new at the
follow-up. Task `flair`: single visits, all lesions.

The source model is trained on all source scans (`nnUNetTrainerMSBalancedSmall`), then `nnunet-ms-learning-curve` does
the rest, once per seed; a seed draws other subsets. Simulated data: the numbers say what happens with these phantoms
and networks, and nothing about patients.

    python benchmarks/learning_curve.py --work runs/learning_curve
    python benchmarks/learning_curve.py --work runs/learning_curve --sizes 10,20,30 --patch 16,32,32 --presentations 20
    python benchmarks/learning_curve.py --work runs/learning_curve_gpu --full --seeds 0 --gpus 0,1

`--presentations` runs the commands in forks of one process (`learning_curve_forks.py`), so that a small training is not
mostly start of a program. Finished steps are not repeated. Written into `--results`: `learning_curve_means.csv` and
`learning_curve_tests.csv`, with the seed in each row, and `learning_curve_scores.csv`; printed: how often fine-tuning
has the higher PPV and sensitivity at each N.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from learning_curve_scans import draw_scans

SOURCE, TARGET = (817, "Dataset817_Source"), (816, "Dataset816_Few")
PLANS, CONFIGURATION = "nnUNetPlansMS", "3d_fullres"
TRAINERS = {"FT": "nnUNetTrainerMSFineTune", "DN": "nnUNetTrainerMSBalanced"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps that are not done, print and store the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/learning_curve"), help="scans, models and curves")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the subsets")
    parser.add_argument("--task", choices=("new", "flair"), default="new", help="(%(default)s)")
    parser.add_argument("--subsets", type=int, default=6, help="(%(default)s)")
    parser.add_argument("--sizes", default="10,20,30", help="training studies (%(default)s)")
    parser.add_argument("--studies", type=int, default=10, help="of a subset (%(default)s)")
    parser.add_argument("--source-scans", type=int, default=40, help="scans of other diseases (%(default)s)")
    parser.add_argument(
        "--trainer", choices=("Small", "Tiny"), default="Small", help="Tiny: to see that the way is open"
    )
    parser.add_argument("--patch", help="voxels z,y,x, written into the plans")
    parser.add_argument("--presentations", type=int, help="per study, instead of the 40 of Small; in forks")
    parser.add_argument("--batch", type=int, default=4, help="with --presentations; epochs stay as long (%(default)s)")
    parser.add_argument("--source-presentations", type=int, default=120, help="the same for the source (%(default)s)")
    parser.add_argument("--full", action="store_true", help="full networks and length: GPU")
    parser.add_argument("--gpus", help="numbers with commas between; else the CPU")
    args = parser.parse_args(argv)
    args.work = args.work.resolve()
    prepare(args)
    parts = [curve(args, seed) for seed in args.seeds]
    for name in ("means", "tests", "scores"):
        table = pd.concat([part[name] for part in parts], ignore_index=True)
        args.results.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.results / f"learning_curve_{name}.csv", index=False)
    means = pd.concat([part["means"] for part in parts])
    print(verdict(means))
    draw(means, args.results / "learning_curve.png")
    return 0


def draw(means: pd.DataFrame, path: Path) -> None:
    """Draw sensitivity and PPV of both arms at each N, a symbol per seed, and the default model as a line per seed."""
    from matplotlib.figure import Figure

    from nnunet_ms.plotting.style import COLOURS, MARKERS, footnote, style

    with style():
        figure = Figure(figsize=(9.0, 4.0), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, (metric, title) in zip(panels, {"sensitivity": "sensitivity", "ppv": "PPV"}.items(), strict=True):
            rows = means[means["metric"] == metric]
            sizes = sorted(rows["size"].dropna().unique())
            for number, (arm, name) in enumerate({"FT": "fine-tuned", "DN": "de novo"}.items()):
                for seed, found in rows[rows["arm"] == arm].groupby("seed"):
                    x = found["size"] + 2.0 * (number - 0.5) + 0.6 * (seed - 1)
                    look = {"color": COLOURS[number], "marker": MARKERS[number], "linestyle": "none", "capsize": 2}
                    axes.errorbar(x, found["mean"], found["se"], label=name if seed == 0 else None, **look)
            for seed, value in rows[rows["arm"] == "default"].set_index("seed")["mean"].items():
                axes.axhline(value, color=COLOURS[2], linewidth=0.8, label="default model" if seed == 0 else None)
            axes.set(title=f"Lesion-wise {title}", xlabel="training pairs, N", xticks=sizes, ylim=(0, 1.08))
            axes.set_xlim(min(sizes) - 5, max(sizes) + 5)
        panels[0].set_ylabel("mean over pairs")
        panels[0].legend(loc="upper left", fontsize=8)
        footnote(
            figure, "Simulated data. A symbol per seed, which draws the subsets; bars: standard errors over 60 pairs."
        )
        figure.savefig(path, dpi=120)


def prepare(args: argparse.Namespace) -> None:
    """Scans, datasets, plans, and the source model."""
    draw_scans(args.work / "source", args.source_scans, pairs=args.task == "new", other_disease=True)
    draw_scans(args.work / "ms", args.subsets * args.studies, pairs=args.task == "new", other_disease=False)
    pairs = ("--pairs", "consecutive", "--target", "new", "--registration", "none") if args.task == "new" else ()
    for (number, name), scans in ((SOURCE, "source"), (TARGET, "ms")):
        if not (args.work / "raw" / name / "dataset.json").is_file():
            words = ("--channels", "flair", "--dataset-id", number, "--name", name.partition("_")[2], *pairs)
            call(args, "nnunet-ms-convert", "trial", args.work / scans / "manifest.csv", *words)
        if not (args.work / "preprocessed" / name / f"{PLANS}.json").is_file():
            words = ("-pl", "nnUNetPlannerMS", "-c", CONFIGURATION, "-npfp", 1, "-np", 1)
            call(args, "nnUNetv2_plan_and_preprocess", "-d", number, *words)
            set_patch(args, args.work / "preprocessed" / name / f"{PLANS}.json")
    if not source_checkpoint(args).is_file():
        words = (
            SOURCE[0],
            CONFIGURATION,
            "all",
            "-tr",
            trainer(args, "DN"),
            "-p",
            PLANS,
            "-device",
            device(args),
            "--c",
        )
        if args.presentations:
            call(args, "fork", args.source_presentations, args.batch, "nnUNetv2_train", *words)
        else:
            call(args, "nnUNetv2_train", *words)


def set_patch(args: argparse.Namespace, plans: Path) -> None:
    """Write the patch that was asked for into the plans."""
    if args.patch:
        content = json.loads(plans.read_text(encoding="utf-8"))
        content["configurations"][CONFIGURATION]["patch_size"] = [int(n) for n in args.patch.split(",")]
        plans.write_text(json.dumps(content, indent=4), encoding="utf-8")


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
    trainers = ",".join(f"{arm}={trainer(args, arm)}" for arm in TRAINERS)
    words = ("--source", source_checkpoint(args), "--trainers", trainers, "--data-note", "simulated", "-o", out)
    words += ("--task", args.task, "--sizes", args.sizes)
    words += ("--gpus", args.gpus) if args.gpus else ("-device", device(args))
    if args.presentations:
        call(args, "fork", args.presentations, args.batch, TARGET[0], *words, "--no-tta", results=out / "results")
    else:
        call(args, "nnunet-ms-learning-curve", TARGET[0], *words)
    files = {"means": "learning_curve.csv", "tests": "comparisons.csv", "scores": "scores.csv"}
    tables = {name: pd.read_csv(out / file) for name, file in files.items()}
    return {name: table.drop(columns="data_note", errors="ignore").assign(seed=seed) for name, table in tables.items()}


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


def call(args: argparse.Namespace, program: str, *words: object, results: Path | None = None) -> None:
    """Run a command of this environment with nnU-Net's folders in `--work`; augmentation in the training process."""
    if program == "fork":
        command = [sys.executable, str(Path(__file__).with_name("learning_curve_forks.py"))]
    elif program.startswith("nnunet-ms-"):  # also where the scripts are older than the checkout
        command = [sys.executable, "-m", "nnunet_ms", program.removeprefix("nnunet-ms-")]
    else:
        command = [str(Path(sys.executable).parent / program)]
    folders = {f"nnUNet_{name}": str(args.work / name) for name in ("raw", "preprocessed", "results")}
    if results is not None:
        folders["nnUNet_results"] = str(results)
    for folder in folders.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    settings = {} if args.full else {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1"}
    subprocess.run([*command, *map(str, words)], check=True, env={**os.environ, **folders, **settings})


if __name__ == "__main__":
    sys.exit(main())
