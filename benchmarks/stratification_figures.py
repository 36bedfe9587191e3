"""The figures of docs/stratification.md from the committed tables of `stratification.py`, and a picture of its cohort.

    python benchmarks/stratification_figures.py docs
    python benchmarks/stratification_figures.py docs --cohort runs/stratification/ventricles/cohort

The first writes `stratification_models.png`, `stratification_calibration.png` and `stratification_decision.png`; with
a cohort also `disability_simulated.png`: T1, FLAIR and regions of patients with narrow and wide ventricles, at both
field strengths.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.images.volumes import read_volume
from nnunet_ms.plotting.style import COLOURS, LINES, MARKERS, footnote, headline, save_picture, style

RESULTS = Path(__file__).parent / "results"
BASELINES = ("volumes", "confounders", "lesion_load", "age", "majority")
SHOWN = ("global", "brainstem", "volumes", "age")  # curves
AXIAL, SAGITTAL = 0.525, 0.5  # shares of the box: through the lateral ventricles, and the brain stem
OF_REGIONS = {"white matter": (2, 7, 41, 46, 77), "deep grey": (*range(10, 14), *range(49, 53)), "ventricles": (4, 43)}


def main(argv: Sequence[str] | None = None) -> None:
    """Draw all figures whose tables are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--cohort", type=Path, help="folder of nnunet-ms-simulate disability")
    args = parser.parse_args(argv)
    tables = {
        name: pd.read_csv(args.results / f"stratification{name}.csv")
        for name in ("", "_calibration", "_decision", "_cohort")
    }
    cohort = tables["_cohort"].iloc[0]
    whose = f"simulated, {cohort['scans']} scans of {cohort['patients']} patients"
    with style():
        drawn = {
            "stratification_models": models(tables[""], cohort, whose),
            "stratification_calibration": calibration(tables["_calibration"], whose),
            "stratification_decision": decision(tables["_decision"], whose),
        }
        if args.cohort:
            drawn["disability_simulated"] = brains(args.cohort)
    for name, figure in drawn.items():
        save_picture(figure, args.output / f"{name}.png", dpi=90)


def models(results: pd.DataFrame, cohort: pd.Series, whose: str) -> Figure:
    """AUC and balanced accuracy of strategies and baselines with intervals, chance, and what the true risk reaches."""
    figure = Figure(figsize=(9, 4.6))
    axes = figure.subplots(1, 2, sharey=True)
    pooled = results[results["scope"] == "pooled"]
    order = list(dict.fromkeys(pooled["model"]))
    halves = pooled["decision"].astype(str) == "0.5"
    panels = {
        "ROC AUC": (pooled[pooled["measure"] == "roc_auc"], cohort["auc_of_true_risk"]),
        "balanced accuracy at .5": (pooled[halves & (pooled["measure"] == "balanced_accuracy")], None),
    }
    for axis, (title, (rows, best)) in zip(axes, panels.items(), strict=True):
        forest(axis, rows.set_index("model").reindex(order), order)
        axis.axvline(0.5, color="0.6", linewidth=1, linestyle=":")
        if best is not None:
            axis.axvline(best, color=COLOURS[2], linewidth=1.2, linestyle="--", label="true risk")
            axis.legend(loc="lower left", fontsize=8)
        axis.set_title(title)
    headline(figure, f"EDSS >= 3.0 from one region or none: {whose}")
    footnote(figure, "Out of fold; 95 % intervals over patients. Circles: networks, squares: baselines.")
    return figure


def forest(axis: Axes, rows: pd.DataFrame, order: Sequence[str]) -> None:
    """One line per model."""
    for place, name in enumerate(order):
        baseline = name in BASELINES
        colour = COLOURS[1] if baseline else COLOURS[0]
        row = rows.loc[name]
        axis.plot([row["low"], row["high"]], [place, place], color=colour)
        axis.plot(row["estimate"], place, MARKERS[1] if baseline else MARKERS[0], color=colour)
    axis.set_yticks(range(len(order)), order)
    axis.set_ylim(len(order) - 0.5, -0.5)


def calibration(groups: pd.DataFrame, whose: str) -> Figure:
    """Share of disabled scans against the mean probability, in groups of rising probability."""
    names = [name for name in SHOWN if name in set(groups["model"])]
    figure = Figure(figsize=(9, 2.9))
    for axis, name, colour in zip(figure.subplots(1, len(names), sharey=True), names, COLOURS, strict=False):
        own = groups[groups["model"] == name]
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        low, high = own["observed"] - own["observed_low"], own["observed_high"] - own["observed"]
        spread = np.clip([low, high], 0, None)
        axis.errorbar(own["mean_probability"], own["observed"], yerr=spread, fmt="o-", color=colour, markersize=4)
        axis.set(title=name, xlabel="probability", xlim=(0, 1), ylim=(0, 1))
    figure.axes[0].set_ylabel("share with EDSS >= 3.0")
    headline(figure, f"Calibration out of fold: {whose}")
    return figure


def decision(curve: pd.DataFrame, whose: str) -> Figure:
    """Net benefit of treating by each model, of treating all and none."""
    figure = Figure(figsize=(6.5, 3.8))
    axis = figure.subplots()
    names = [name for name in SHOWN if name in set(curve["model"])]
    first = curve[curve["model"] == names[0]]
    axis.plot(first["threshold"], first["treat_all"], color="0.6", linewidth=1, label="all")
    axis.axhline(0, color="black", linewidth=1, label="none")
    for name, colour, line in zip(names, COLOURS, LINES, strict=False):
        own = curve[curve["model"] == name]
        axis.plot(own["threshold"], own["net_benefit"], color=colour, linestyle=line, label=name)
    axis.set(xlabel="threshold of the probability", ylabel="net benefit", xlim=(0.05, 0.9))
    axis.set_ylim(-0.08, max(0.05, float(first["treat_all"].max()) + 0.05))
    axis.legend(fontsize=8)
    headline(figure, f"Decision curve: {whose}")
    return figure


def brains(cohort: Path) -> Figure:
    """T1, FLAIR and regions of four patients: the narrowest and widest ventricles at each field strength."""
    truth = pd.read_csv(cohort / "truth.csv")
    chosen = [
        own.iloc[place]
        for field in (1.5, 3.0)
        for own in [truth[truth["field_tesla"] == field].sort_values("ventricles_ml")]
        for place in (1, -2)
    ]
    figure = Figure(figsize=(8, 9.5))
    axes = figure.subplots(4, len(chosen))
    for column, row in enumerate(chosen):
        place = cohort / "images" / row["patient_id"] / row["visit"]
        t1, flair, labels = (read_volume(place / f"{name}.nii.gz").data for name in ("t1", "flair", "region_labels"))
        middle, across = round(SAGITTAL * t1.shape[0]), round(AXIAL * t1.shape[2])
        shown = (t1[:, :, across], flair[:, :, across], regions(labels[:, :, across]), t1[middle])
        for line, cut in enumerate(shown):
            colours = "viridis" if line == 2 else "gray"
            axes[line, column].imshow(cut.T, cmap=colours, origin="lower", interpolation="nearest")
            axes[line, column].set_axis_off()
        sizes = f"ventricles {row['ventricles_ml']:.0f} ml, stem {row['brainstem_ml']:.0f} ml"
        axes[0, column].set_title(f"{row['field_tesla']:g} T, EDSS {row['edss']:g}\n{sizes}", fontsize=8)
    headline(figure, "Simulated scans: T1, FLAIR, regions, T1 from the side")
    return figure


def regions(cut: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Outside 0, other tissue 1, white matter 2, deep grey matter 3, ventricles 4."""
    shown = (cut > 0).astype(float)
    for value, ids in enumerate(OF_REGIONS.values(), start=2):
        shown[np.isin(cut, ids)] = value
    return shown


if __name__ == "__main__":
    main()
