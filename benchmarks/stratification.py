"""Disability from the whole brain or one region on simulated cohorts: the whole way from images to a table of results.

`nnunet-ms-simulate disability`, then `nnunet-ms-stratify prepare --in-mni`, `train` (six strategies, seven folds by
patient, and the baselines) and `evaluate`; the same without a signal for two strategies. Two questions whose answers
are known: does the region that carries the signal rank first among the regions; and without a signal, does the
interval of balanced accuracy cover 50 %? How far from the best possible the models are, the AUC of the true risk says.
Simulated data: the numbers compare these models on these brains and say nothing about patients.

    python benchmarks/stratification.py --work runs/stratification
    python benchmarks/stratification.py --signal ventricles --stem stratification_ventricles --null-strategies ""

Finished steps are not repeated; a killed one goes on where it was. Written into `--results`: `stratification.csv`,
`stratification_comparisons.csv`, `stratification_calibration.csv`, `stratification_decision.csv`,
`stratification_no_signal.csv`, and `stratification_cohort.csv` (what the cohorts were, and the AUC of the true risk);
`--stem` names those of another signal.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

STRATEGIES = ("global", "wm", "gm", "sgm", "ventricles", "brainstem")
REGIONS = STRATEGIES[1:]
NULL_STRATEGIES = ("global", "brainstem")
SIMULATE, STRATIFY = "simulate", "stratify"  # commands of `python -m nnunet_ms`
TABLES = {"results": "", "comparisons": "_comparisons", "calibration": "_calibration", "decision_curve": "_decision"}
NULL = "none"


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps that are not done; exit code 1 where an answer is not the known one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/stratification"), help="cohorts, models, results")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--stem", default="stratification", help="of the tables' names (%(default)s)")
    parser.add_argument("--signal", default="brainstem", help="a region that carries it (%(default)s)")
    parser.add_argument("--patients", type=int, default=160, help="of each cohort (%(default)s)")
    parser.add_argument("--edge-mm", type=int, default=4, help="of the voxels (%(default)s)")
    parser.add_argument("--folds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--network", default="compact")
    parser.add_argument("--epochs", type=int, default=6, help="at most (%(default)s)")
    parser.add_argument("--augmentation", action="store_true", help="takes half of the time of a small network")
    parser.add_argument("--strategies", default=",".join(STRATEGIES), help="with commas between (all)")
    parser.add_argument("--null-strategies", default=",".join(NULL_STRATEGIES), help="of the null cohort, or none")
    parser.add_argument("--full", action="store_true", help="full networks: GPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="for simulation and preparation")
    args = parser.parse_args(argv)
    cohorts = {args.signal: args.strategies} | ({NULL: args.null_strategies} if args.null_strategies else {})
    for signal, strategies in cohorts.items():
        evaluated(args, signal, strategies)
        collected(args, list(cohorts))  # what there is so far, should the rest be cut short
    return answers(args)


def evaluated(args: argparse.Namespace, signal: str, strategies: str) -> None:
    """Every step of one cohort."""
    work, edge, workers = args.work / signal, ["--edge-mm", args.edge_mm], ["--workers", args.workers]
    options = ["--patients", args.patients, "--seed", args.seed, "--signal", signal]
    command(SIMULATE, "disability", *options, *edge, *workers, "-o", work / "cohort")
    prepare = ["--in-mni", "--no-pictures", *edge, *workers]
    command(STRATIFY, "prepare", work / "cohort" / "manifest.csv", *prepare, "-o", work / "prepared")
    recipe = ["--network", args.network, "--folds", args.folds, "--seed", args.seed, "--device", args.device]
    recipe += [] if args.full else ["--small"]
    recipe += ["--epochs", args.epochs] + ([] if args.augmentation else ["--no-augmentation"])
    start = time.monotonic()
    for strategy in strategies.split(","):  # one after the other, so that each is in the table as soon as it is done
        command(STRATIFY, "train", work / "prepared", "-o", work / "models", "--strategies", strategy, *recipe)
        print(f"{signal}, {strategy}: {time.monotonic() - start:.0f} s since the first training began", flush=True)
    table, scans = work / "models" / "cross_validation.csv", work / "prepared" / "scans.csv"
    note = ["--data-note", "simulated", "--overwrite"]
    command(STRATIFY, "evaluate", table, "--scans", scans, *note, "-o", work / "evaluation")


def collected(args: argparse.Namespace, signals: Sequence[str]) -> None:
    """Store the tables of the evaluations that are done."""
    args.results.mkdir(parents=True, exist_ok=True)
    for signal in signals:
        evaluation = args.work / signal / "evaluation"
        if not evaluation.is_dir():
            continue
        if signal == NULL:
            store(pd.read_csv(evaluation / "results.csv"), args.results / f"{args.stem}_no_signal.csv")
            continue
        for name, stem in TABLES.items():
            store(pd.read_csv(evaluation / f"{name}.csv"), args.results / f"{args.stem}{stem}.csv")
    done = [signal for signal in signals if (args.work / signal / "cohort" / "truth.csv").is_file()]
    rows = pd.DataFrame([cohort_row(args.work / signal / "cohort") for signal in done])
    store(rows, args.results / f"{args.stem}_cohort.csv")


def store(table: pd.DataFrame, path: Path) -> None:
    """Write a table as it is kept in the repository."""
    table.to_csv(path, index=False, lineterminator="\n", float_format="%.6g")


def cohort_row(cohort: Path) -> dict[str, object]:
    """What a cohort is, and how well its true risk tells its own scans apart."""
    truth, told = pd.read_csv(cohort / "truth.csv"), json.loads((cohort / "truth.json").read_text(encoding="utf-8"))
    constant = truth["risk"].min() == truth["risk"].max()
    return {
        "signal": told["signal"],
        "patients": truth["patient_id"].nunique(),
        "scans": len(truth),
        "positive": int(truth["disabled"].sum()),
        **{f"log_odds_ratio_{name}": value for name, value in told["log_odds_ratios"].items()},
        "best_auc": told["best_auc"],
        "auc_of_true_risk": 0.5 if constant else roc_auc_score(truth["disabled"], truth["risk"]),
        "correct_by_true_risk": ((truth["risk"] >= 0.5) == (truth["disabled"] == 1)).mean(),
        "ventricles_ml_median": truth["ventricles_ml"].median(),
        "brainstem_ml_median": truth["brainstem_ml"].median(),
        "correlation_ventricles": truth["ventricle_z"].corr(truth["ventricles_ml"]),
        "correlation_brainstem": truth["stem_z"].corr(truth["brainstem_ml"]),
    }


def answers(args: argparse.Namespace) -> int:
    """Print what the tables say of the two questions; 1 where an answer is not the known one."""
    found = pooled(args.results / f"{args.stem}.csv")
    regions = found.loc[[name for name in REGIONS if name in found.index], "roc_auc"].sort_values(ascending=False)
    print(found.round(3).to_string())
    first = regions.index[0] == args.signal
    print(f"AUC of the regions: {regions.round(3).to_dict()}; {args.signal} ranks {'first' if first else 'NOT first'}")
    best = pd.read_csv(args.results / f"{args.stem}_cohort.csv").iloc[0]["auc_of_true_risk"]
    print(f"AUC of the true risk in these scans: {best:.3f} (chance can put a model a little above it)")
    covers = True
    if args.null_strategies:
        null = pooled(args.results / f"{args.stem}_no_signal.csv").loc[args.null_strategies.split(",")]
        covers = bool(((null["low"] <= 0.5) & (null["high"] >= 0.5)).all())
        print(null.round(3).to_string(), f"the intervals {'cover' if covers else 'DO NOT cover'} 50 %", sep="\n")
    return 0 if first and covers else 1


def pooled(path: Path) -> pd.DataFrame:
    """By model: ROC AUC, accuracy, balanced accuracy at .5 and the interval of the last."""
    table = pd.read_csv(path)
    table = table[table["scope"] == "pooled"]
    at_half = table[table["decision"].astype(str).isin(["0.5"])]
    areas = table[table["measure"] == "roc_auc"].set_index("model")["estimate"]
    balanced = at_half[at_half["measure"] == "balanced_accuracy"].set_index("model")
    accuracy = at_half[at_half["measure"] == "accuracy"].set_index("model")["estimate"]
    return pd.DataFrame(
        {
            "roc_auc": areas,
            "accuracy": accuracy,
            "balanced_accuracy": balanced["estimate"],
            "low": balanced["low"],
            "high": balanced["high"],
        }
    ).loc[list(dict.fromkeys(table["model"]))]


def command(name: str, *arguments: object) -> None:
    """Run a command of the package; its messages go to the terminal."""
    subprocess.run([sys.executable, "-m", "nnunet_ms", name, *map(str, arguments)], check=True)


if __name__ == "__main__":
    sys.exit(main())
