"""All models of rims on a simulated cohort: the whole way from simulated maps to the table of results.

`nnunet-ms-simulate rims`, then `nnunet-ms-rim features`, `train` (eight models on the same five folds by patient) and
`evaluate`. The bar: the full model's average precision is at least five times the prevalence, which is what chance has.
Simulated data: the numbers compare these models on these phantoms and say nothing about patients.

    python benchmarks/rim_models.py --work runs/rim_models
    python benchmarks/rim_models.py --work runs/rim_models_full --full --device cuda --results runs/rim_models_full

Finished steps are not repeated; a killed one goes on where it was. `--features` takes a folder that is there already.
Written into `--results`: `rim_models.csv` (first seed, pooled over folds, intervals over patients),
`rim_models_counts.csv`, and `rim_models_seeds.csv`, estimates of all seeds; a seed draws folds and trainings anew.
`rim_models_table.py` puts them into docs/rim.md.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

MODELS = (
    *("qsmrimnet", "aprl", "radiomics", "aprl-oversampling", "radiomics-oversampling"),
    *("qsmrimnet-no-oversampling", "rimnet", "rimnet-oversampling"),
)
KEPT = ("seed", "model", "measure", "estimate")
BAR = 5.0  # times the prevalence
SIMULATE, RIM = "simulate", "rim"  # commands of `python -m nnunet_ms`


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps that are not done; exit code 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/rim_models"), help="cohort, features, models, results")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--features", type=Path, help="folder of nnunet-ms-rim features, instead of a new cohort")
    parser.add_argument("--patients", type=int, default=120, help="of the cohort (%(default)s)")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the cohort (%(default)s)")
    parser.add_argument("--seeds", default="0", help="of folds and trainings, with commas between (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="for simulation and features")
    parser.add_argument("--models", default=",".join(MODELS), help="with commas between (all)")
    parser.add_argument("--epochs", type=int, help="at most (the recipe's)")
    parser.add_argument("--full", action="store_true", help="full networks: GPU")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    features = args.features or measured(args)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    for seed in seeds:
        train(args, features, seed)
    over_seeds({seed: evaluated(args, seed) for seed in seeds}, args.results)
    return summary(args.work / f"evaluation_{seeds[0]}", args.results)


def measured(args: argparse.Namespace) -> Path:
    """Simulate the cohort and measure its lesions; the folder of the features."""
    cohort, features, workers = args.work / "cohort", args.work / "features", ["--workers", str(args.workers)]
    numbers = ["--patients", str(args.patients), "--seed", str(args.seed)]
    command(SIMULATE, "rims", *numbers, *workers, "-o", cohort)
    command(RIM, "features", cohort / "manifest.csv", *workers, "-o", features)
    return features


def train(args: argparse.Namespace, features: Path, seed: int) -> None:
    """Train all models, one after the other, so that each is in the table as soon as it is done."""
    sizes = [] if args.full else ["--small"]
    sizes += ["--epochs", str(args.epochs)] if args.epochs else []
    for model in args.models.split(","):
        command(
            *(RIM, "train", features, "-o", args.work / f"seed_{seed}", "--models", model, "--folds", str(args.folds)),
            *("--seed", str(seed), "--device", args.device, *sizes),
        )


def evaluated(args: argparse.Namespace, seed: int) -> Path:
    """Compare the models of a seed; the folder of the tables and figures."""
    table, output = args.work / f"seed_{seed}" / "cross_validation.csv", args.work / f"evaluation_{seed}"
    command(RIM, "evaluate", table, "-o", output, "--data-note", "simulated", "--overwrite")
    return output


def over_seeds(evaluations: dict[int, Path], results: Path) -> None:
    """Store the pooled estimates of every seed."""
    tables = [pd.read_csv(folder / "results.csv").assign(seed=seed) for seed, folder in evaluations.items()]
    found = pd.concat(tables)
    chosen = found[(found["scope"] == "pooled") & found["versus"].isna()]
    results.mkdir(parents=True, exist_ok=True)
    chosen[list(KEPT)].to_csv(results / "rim_models_seeds.csv", index=False, lineterminator="\n")


def summary(evaluation: Path, results: Path) -> int:
    """Store the pooled results, print the average precision of each model against the prevalence."""
    found = pd.read_csv(evaluation / "results.csv")
    pooled = found[found["scope"] == "pooled"]
    results.mkdir(parents=True, exist_ok=True)
    pooled.to_csv(results / "rim_models.csv", index=False, lineterminator="\n")
    counts = pd.read_csv(evaluation / "counts.csv")
    counts.to_csv(results / "rim_models_counts.csv", index=False, lineterminator="\n")
    own = pooled[(pooled["measure"] == "pr_auc_average_precision") & pooled["versus"].isna()]
    times = {}
    for row in own.itertuples():
        prevalence = row.rim_lesions / row.lesions
        times[row.model] = row.estimate / prevalence
        print(
            f"{row.model}: average precision {row.estimate:.3f} ({row.low:.3f} to {row.high:.3f}), "
            f"{times[row.model]:.1f} times the prevalence of {prevalence:.4f}"
        )
    ok = times.get("qsmrimnet", 0.0) >= BAR
    print(f"bar of {BAR:g} times the prevalence for qsmrimnet: {'met' if ok else 'missed'}")
    return 0 if ok else 1


def command(name: str, *arguments: object) -> None:
    """Run a command of the package; its messages go to the terminal."""
    subprocess.run([sys.executable, "-m", "nnunet_ms", name, *map(str, arguments)], check=True)


if __name__ == "__main__":
    sys.exit(main())
