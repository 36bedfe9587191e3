"""Tables and figure of `multi_arm_ablation.py`, from the masks that are there.

- `multi_arm_ablation.csv`: every number of every model, with the interval over patients that evaluation gives;
- `multi_arm_ablation_means.csv`: mean over the seeds, the least and the greatest seed, and the difference from the
  multi-arm network, paired by patient and seed, with a 95 % interval from a bootstrap over patients;
- `multi_arm_separation.csv`: separation of the arms of the simulated trial (percent change of T2 volume, placebo minus
  active) by the model and by the reference in the same patients; `seed` is empty where volumes are means of the seeds.

The intervals hold for other patients of the kind, given these trained models; how much a training by itself varies is
what the seeds show.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import multi_arm_ablation as run
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.plotting.style import COLOURS, MARKERS, style
from nnunet_ms.statistics.bootstrap_interval import patient_interval

METRICS = ("dice", "ppv", "tpr", "ltpr", "lfpr")
AGAINST = "multi-arm"
KINDS = {"trial": "simulated", "ms3seg": "real"}
Floats = npt.NDArray[np.float64]


def write_tables(args: argparse.Namespace) -> None:
    """Evaluate what is finished; write the tables and the figure; print the means."""
    found = {(data, seed): evaluate(args, data, seed) for data in run.datasets(args) for seed in args.seeds}
    found = {key: out for key, out in found.items() if out is not None}
    if not found:
        raise SystemExit(f"{args.work / 'masks'}: no finished model. Run without --score-only.")
    models, cases = read(found, "agreement.csv"), read(found, "agreement_cases.csv")
    parameters = {name: count_parameters(name) for name in run.VARIANTS}
    tables = {
        "ablation": every_model(models, parameters),
        "ablation_means": means(cases, parameters),
    }
    if any(data == "trial" for data, _ in found):
        tables["separation"] = separation(read(found, "visits.csv", "trial"))
    args.results.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        path = args.results / f"multi_arm_{name}{args.suffix}.csv"
        table.to_csv(path, index=False, float_format="%.5g")
    figure(tables).savefig(args.figure, dpi=120, metadata={"Software": None})
    print("\n".join(markdown(tables)))


def markdown(tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    """The table of the documentation: mean of the seeds, and the least and the greatest seed of Dice."""
    cells = tables["ablation_means"].set_index(["data", "variant", "metric"]).sort_index()
    sets = [data for data in KINDS if data in cells.index.get_level_values("data")]
    heads = [f"{data}: Dice (seeds) | LTPR | LFPR" for data in sets]
    apart = tables.get("separation")
    whole = pd.DataFrame() if apart is None else apart[apart["seed"].isna()].set_index("variant")
    yield "| " + " | ".join(["variant", *heads, *(["separation, points"] if len(whole) else [])]) + " |"
    yield "|---" * (1 + 3 * len(sets) + bool(len(whole))) + "|"
    for variant in (name for name in run.VARIANTS if name in cells.index.get_level_values("variant")):
        row = [variant]
        for data in sets:
            dice, ltpr, lfpr = (cells.loc[(data, variant, metric)] for metric in ("dice", "ltpr", "lfpr"))
            row.append(f"{short(dice['mean'])} ({short(dice['least_seed'])}-{short(dice['greatest_seed'])})")
            row += [short(ltpr["mean"]), short(lfpr["mean"])]
        if variant in whole.index:
            gap = whole.loc[variant]
            row.append(f"{gap['difference']:+.1f} ({gap['low']:+.1f} to {gap['high']:+.1f})")
        yield "| " + " | ".join(row) + " |"


def short(value: float) -> str:
    """Two digits without the leading 0."""
    return f"{value:.2f}".removeprefix("0")


def evaluate(args: argparse.Namespace, data: str, seed: int) -> Path | None:
    """Evaluate all finished models of one seed together, if that is not done; None where there is none."""
    done = [name for name in args.variants if (run.masks(args, data, seed, name) / "cases.csv").exists()]
    out = Path(args.work / "evaluation" / f"{data}{seed}")
    if not done:
        return None
    raters = {run.VARIANTS[name] for name in done}
    if (out / "visits.csv").exists() and raters <= set(pd.read_csv(out / "visits.csv")["rater"]):
        return out
    unseen = run.unseen(args, data, seed)
    folders = [f"--predictions={run.VARIANTS[name]}={run.masks(args, data, seed, name)}" for name in done]
    what = ("--references", unseen / "labels", "--cases", unseen / "cases.csv", "--rules", run.RULE)
    note = ("--data-note", KINDS[data], "-o", out)
    run.call(args, run.script("nnunet-ms-evaluate", *folders, *what, *note))
    return out


def read(found: dict[tuple[str, int], Path], name: str, only: str | None = None) -> pd.DataFrame:
    """One table of all evaluations, with columns for the data set, the seed and the variant."""
    of_trainer = {trainer: variant for variant, trainer in run.VARIANTS.items()}
    tables = [
        pd.read_csv(out / name, dtype={"case_id": str, "patient_id": str}).assign(data=data, seed=seed)
        for (data, seed), out in found.items()
        if only in (None, data)
    ]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(variant=table["rater"].map(of_trainer).fillna(table["rater"]))


def count_parameters(variant: str) -> int:
    """Parameters of the full network of a variant; strides do not change their number."""
    import torch

    import nnunet_ms.doors.trainers as door

    cls: Any = type("Full", (getattr(door, run.VARIANTS[variant]),), {})
    strides = ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2))
    settings = {"foreground_classes": 1, "filters": (32, 64, 128, 256), "strides": strides, "dropout": 0.1}
    with torch.device("meta"):  # shapes only
        network = cls._network(["flair", "t2", "t1"], (1, 3, 3), settings | {"deep_supervision": True})
    return sum(p.numel() for p in network.parameters())


def every_model(models: pd.DataFrame, parameters: dict[str, int]) -> pd.DataFrame:
    """All metrics of all models."""
    table = models[models["metric"].isin((*METRICS, "r_vol", "r_count"))]
    table = table.assign(parameters=table["variant"].map(parameters), kind=table["data"].map(KINDS))
    return in_order(table)[
        ["data", "kind", "variant", "parameters", "seed", "metric", "mean", "sd", "low", "high", "n", "n_undefined"]
    ]


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Sort by data set, variant as in `VARIANTS`, and what follows."""
    rank = table["variant"].map({name: index for index, name in enumerate(run.VARIANTS)})
    keys = [key for key in ("data", "rank", "metric", "seed") if key == "rank" or key in table]
    down = [key != "data" for key in keys]  # the trial first
    return table.assign(rank=rank).sort_values(keys, ascending=down, kind="stable").drop(columns="rank")


def means(cases: pd.DataFrame, parameters: dict[str, int]) -> pd.DataFrame:
    """Mean over the seeds of each variant, and its paired difference from the multi-arm network."""
    rows = []
    for (data, metric), here in cases[cases["metric"].isin(METRICS)].groupby(["data", "metric"]):
        # mean of a patient's visits, per seed: (patient, seed) x variant
        wide = here.pivot_table(index=["patient_id", "seed"], columns="variant", values="value")
        for variant in wide.columns:
            by_seed = wide[variant].groupby("seed").mean()
            row = {"data": data, "kind": KINDS[str(data)], "variant": variant, "parameters": parameters[variant]}
            row |= {"seeds": by_seed.size, "metric": metric, "mean": by_seed.mean()}
            row |= {"least_seed": by_seed.min(), "greatest_seed": by_seed.max()}
            rows.append(row | paired(wide, variant))
    return in_order(pd.DataFrame(rows))


def paired(wide: pd.DataFrame, variant: str) -> dict[str, float]:
    """Mean difference from the multi-arm network over patients and seeds that have both."""
    if variant == AGAINST or AGAINST not in wide:
        return {"difference": np.nan, "low": np.nan, "high": np.nan, "patients": np.nan}
    by_patient = (wide[variant] - wide[AGAINST]).dropna().groupby("patient_id").mean()
    sums = np.column_stack([by_patient.to_numpy(), np.ones(by_patient.size)])
    low, high = patient_interval(sums, lambda drawn: drawn[:, 0] / drawn[:, 1])
    return {"difference": by_patient.mean(), "low": low, "high": high, "patients": by_patient.size}


def separation(visits: pd.DataFrame) -> pd.DataFrame:
    """Separation of the arms by each model and by the reference."""
    keys = ["variant", "patient_id"]
    rows: list[dict[str, Any]] = []
    for seed, here in [*visits.groupby("seed"), (None, visits)]:
        change = percent_change(here, keys)
        variants = [name for name in change["variant"].unique() if name != "reference"]
        rows += [{"seed": seed, "variant": name, **separated(change, name)} for name in variants]
    return in_order(pd.DataFrame(rows))


def percent_change(visits: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Percent change of T2 volume between the two visits; volumes are means over the seeds that are in the table."""
    wide = visits.pivot_table(index=keys, columns="week", values="volume_ml").reset_index()
    first, last = (wide[float(week)] for week in run.WEEKS)
    arm = wide["patient_id"].map(run.arm_of)
    return wide.assign(change=100 * (last / first.where(first > 0) - 1), arm=arm)


def separated(change: pd.DataFrame, variant: str) -> dict[str, float]:
    """Separation by model and reference in the same patients, and its error with an interval over patients."""
    both = change.pivot_table(index=["patient_id", "arm"], columns="variant", values="change")
    both = both[["reference", variant]].dropna().reset_index()
    placebo = (both["arm"] == "placebo").to_numpy(float)
    error = (both[variant] - both["reference"]).to_numpy()

    def of(values: Floats) -> float:
        return float(values[placebo == 1].mean() - values[placebo == 0].mean())

    def gap(drawn: Floats) -> Floats:
        return drawn[:, 0] / drawn[:, 1] - drawn[:, 2] / drawn[:, 3]

    sums = np.column_stack([placebo * error, placebo, (1 - placebo) * error, 1 - placebo])
    low, high = patient_interval(sums, gap)
    model, reference = of(both[variant].to_numpy()), of(both["reference"].to_numpy())
    return {
        "patients": len(both),
        "separation_model": model,
        "separation_reference": reference,
        "difference": model - reference,
        "low": low,
        "high": high,
        "patient_sd": float(error.std(ddof=1)),
    }


def figure(tables: dict[str, pd.DataFrame]) -> Figure:
    """Dice by data set and error of the separation, one row per variant; small marks are the seeds."""
    with style():
        drawn = Figure(figsize=(10, 4.6), facecolor="white")
        panels = list(drawn.subplots(1, 3, sharey=True))
        models, averaged = tables["ablation"], tables["ablation_means"]
        for axes, data in zip(panels, KINDS, strict=False):
            for variant, per_seed in dice(models, data):
                row(axes, variant, per_seed, averaged_dice(averaged, data, variant))
            axes.set_title({"trial": "20 simulated patients", "ms3seg": "6 real patients (MS3SEG)"}[data])
            axes.set_xlabel("Dice")
        apart = tables.get("separation", pd.DataFrame(columns=["variant", "seed", "difference"]))
        for variant, here in apart.groupby("variant"):
            whole = here[here["seed"].isna()].iloc[0]
            row(panels[2], str(variant), here.loc[here["seed"].notna(), "difference"].to_numpy(), whole["difference"])
            panels[2].plot([whole["low"], whole["high"]], [place(str(variant))] * 2, color=COLOURS[0], linewidth=1)
        panels[2].axvline(0, color="0.6", linewidth=0.8)
        panels[2].set_title("Separation: model - reference")
        panels[2].set_xlabel("percentage points of volume change")
        panels[0].set_yticks([place(name) for name in run.VARIANTS], list(run.VARIANTS))
        panels[0].set_ylim(-len(run.VARIANTS), 1)
        drawn.supxlabel(
            "Small networks, few steps. Large: mean of the seeds; small: seeds. Line: 95 % interval over patients.",
            fontsize=8,
        )
    return drawn


def dice(models: pd.DataFrame, data: str) -> Iterator[tuple[str, Floats]]:
    """Variant and the Dice of each seed."""
    here = models[(models["data"] == data) & (models["metric"] == "dice")]
    for variant, one in here.groupby("variant"):
        yield str(variant), one["mean"].to_numpy()


def averaged_dice(means: pd.DataFrame, data: str, variant: str) -> float:
    """Mean Dice of a variant over its seeds."""
    here = (means["data"] == data) & (means["metric"] == "dice") & (means["variant"] == variant)
    return float(means.loc[here, "mean"].iloc[0])


def place(variant: str) -> int:
    """Height of a variant's row: the first on top."""
    return -list(run.VARIANTS).index(variant)


def row(axes: Axes, variant: str, seeds: Floats, whole: float) -> None:
    """One variant: its seeds small, their mean large; other losses in another colour."""
    height, colour = place(variant), COLOURS[1 if place(variant) < -8 else 0]
    axes.plot(seeds, [height] * len(seeds), MARKERS[0], markersize=3, color="0.5")
    axes.plot(whole, height, MARKERS[2 if colour == COLOURS[1] else 0], markersize=7, color=colour)
