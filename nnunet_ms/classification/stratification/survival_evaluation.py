"""Predicted time to progression against what happened: tables, figures and a page."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from nnunet_ms import commands
from nnunet_ms.errors import OptionError
from nnunet_ms.options import known_keywords

if TYPE_CHECKING:
    from nnunet_ms.classification.stratification.survival_tables import PredictedSurvival

RESULTS, LEFT_OUT, SETTINGS, PAGE = "results.csv", "left_out.csv", "settings.json", "evaluation.md"
# measures of the page's table, in its order
SHOWN = {
    "concordance_uno": "concordance (Uno) at the horizon",
    "concordance_antolini": "concordance of the curves (Antolini)",
    "brier": "Brier score at the horizon",
    "brier_integrated": "mean Brier score up to the horizon",
    "observed_expected": "observed / predicted risk at the horizon",
    "calibration_slope": "calibration slope (log hazard)",
}
ADDED = "hazard_ratio_per_sd"


@known_keywords
def evaluate_survival(
    tables: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    horizon_weeks: float | None = None,
    models: Sequence[str] = (),
    data_note: str = "",
    replicates: int = 500,
    seed: int = 0,
    replace: bool = False,
) -> pd.DataFrame:
    r"""Compare survival models on the patients that all of them have judged.

    Parameters
    ----------
    tables : str, Path or sequence of them
        `cross_validation.csv` of `nnunet-ms-stratify train --task survival`, or folders that hold one; "NAME=PATH"
        names the network, or goes before the names of several.
    output : str or Path
        Folder to write: `results.csv`, `left_out.csv`, figures and `evaluation.md`.
    horizon_weeks : float, optional
        A week of the curves; without it the last one beyond which a fifth of the patients is followed.
    models : sequence of str, optional
        Only these of the tables.
    data_note : str, optional
        What the data are, such as "real" or "simulated".
    replicates, seed : int, optional
        Of the intervals over patients.
    replace : bool, optional
        Whether an existing output is replaced.

    Returns
    -------
    pandas.DataFrame
        `survival_results.SURVIVAL_RESULTS`.

    Raises
    ------
    OptionError
        If curves are not written at the horizon.
    TableError
        See `survival_tables.read_survival`.
    FileExistsError
        If the output exists and is not to be replaced.

    Examples
    --------
    >>> import numpy as np
    >>> from nnunet_ms.classification.stratification.survival_tables import COVARIATES, curve_rows
    >>> names, weeks = [f"P{k}" for k in range(20)], np.arange(20) * 4.0 + 5
    >>> rows = pd.DataFrame({"case_id": names, "patient_id": names, "visit": "a", "fold": 0, "time_weeks": weeks})
    >>> rows = rows.assign(event=[1, 1, 0, 1] * 5, **dict.fromkeys(COVARIATES, np.nan))
    >>> at = np.array([12.0, 24, 36, 48, 60])
    >>> curves = {"net": np.exp(-np.outer(1 / weeks, at)), "kaplan-meier": np.tile(np.exp(-at / 45), (20, 1))}
    >>> table = pd.concat([curve_rows(name, rows, values, at) for name, values in curves.items()])
    >>> table.to_csv("cross_validation.csv", index=False)
    >>> results = evaluate_survival("cross_validation.csv", "evaluation", data_note="made up", replicates=20)
    >>> results.loc[results["measure"] == "concordance_uno", ["model", "versus", "estimate"]].values.tolist()
    [['net', '', 1.0], ['kaplan-meier', '', 0.5], ['net', 'kaplan-meier', 0.5]]
    """
    from nnunet_ms.classification.stratification.survival_results import SurvivalResampling, survival_results
    from nnunet_ms.classification.stratification.survival_tables import check_events, checked_horizon, read_survival
    from nnunet_ms.outputs import whole_folder

    paths = [tables] if isinstance(tables, str | Path) else list(tables)
    predicted = read_survival(paths, models)
    check_events(predicted)
    horizon = checked_horizon(horizon_weeks, predicted)
    results = survival_results(predicted, horizon, SurvivalResampling(replicates, seed), data_note)
    settings = {
        "task": "survival",
        "tables": [str(path) for path in paths],
        "horizon_weeks": horizon,
        "data_note": data_note,
        "replicates": replicates,
        "seed": seed,
    }
    with whole_folder(output, replace) as folder:
        _write(folder, predicted, results, horizon, data_note)
        (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return results


def has_survival(tables: Sequence[str | Path]) -> bool:
    """Whether tables are of `--task survival`, by their headers.

    Raises
    ------
    OptionError
        If some are and some are not.

    Examples
    --------
    >>> has_survival(["no_such_table.csv"])
    False
    """
    from nnunet_ms.classification.stratification.survival_tables import is_survival

    found = [is_survival(table) for table in tables]
    if any(found) and not all(found):
        raise OptionError(
            f"tables: expected all of --task survival or none, found {tables[found.index(True)]}, which is, and "
            f"{tables[found.index(False)]}, which is not. Evaluate them apart."
        )
    return any(found)


def run_evaluate_survival(args: argparse.Namespace) -> int:
    """Act on the arguments of `evaluate` with survival tables; exit code 1 where a model lacks patients."""
    for name in ("scans", "baselines"):
        if getattr(args, name) is not None:
            raise OptionError(f"{name}: expected no such option with survival tables, found one. Leave it out.")
    results = evaluate_survival(
        args.tables,
        args.output,
        horizon_weeks=args.horizon_weeks,
        models=args.models,
        data_note=args.data_note,
        replicates=args.replicates,
        seed=args.seed,
        replace=args.overwrite,
    )
    first = results.iloc[0]
    print(
        f"{args.output / PAGE}: {results['model'].nunique()} models on {first['patients']} patients, {first['events']} "
        f"with confirmed progression up to week {results['week'].max():g}."
    )
    print(*verdicts(results), sep="\n")
    lacking = len(pd.read_csv(args.output / LEFT_OUT))
    return commands.SOME_CASES_FAILED if lacking else commands.OK


def verdicts(results: pd.DataFrame) -> list[str]:
    """Plain sentences: whether each network beats what it is compared with, and what it adds.

    Examples
    --------
    >>> from nnunet_ms.classification.stratification.survival_results import SURVIVAL_RESULTS
    >>> rows = [("concordance_antolini", 0.02, -0.05, 0.09), ("brier_integrated", -0.001, -0.01, 0.01)]
    >>> frame = pd.DataFrame(rows, columns=["measure", "estimate", "low", "high"])
    >>> frame = frame.assign(model="global", versus="cox").reindex(columns=SURVIVAL_RESULTS.names)
    >>> print(verdicts(frame)[0])
    global does not beat cox: concordance +0.020 (-0.050 to 0.090), mean Brier score -0.001 (-0.010 to 0.010).
    """
    sentences = []
    compared = results[(results["versus"] != "") & (results["measure"] == "concordance_antolini")]
    for model, versus in compared[["model", "versus"]].itertuples(index=False):
        rows = results[(results["model"] == model) & (results["versus"] == versus)].set_index("measure")
        ranks, errs = rows.loc["concordance_antolini"], rows.loc["brier_integrated"]
        sentences.append(_verdict(str(model), str(versus), ranks, errs))
    names = ["model", "versus", "estimate", "low", "high", "p", "problem"]
    added = results.loc[results["measure"] == ADDED, names].to_dict("records")
    return [*sentences, *(_addition(**{str(name): value for name, value in row.items()}) for row in added)]


def _verdict(model: str, versus: str, ranks: pd.Series, errs: pd.Series) -> str:
    if pd.isna(ranks["low"]) or pd.isna(errs["low"]):
        return f"{model} and {versus}: no interval of the difference, see `problem` in {RESULTS}."
    better, closer = ranks["low"] > 0, errs["high"] < 0
    worse = ranks["high"] < 0 or errs["low"] > 0
    words = "beats" if better and closer else "does not beat"
    part = " in both respects" if better and closer else " on one side only" if better or closer else ""
    lost = "; it is worse" if worse and not (better or closer) else ""
    numbers = [
        f"{what} {row['estimate']:+.3f} ({row['low']:.3f} to {row['high']:.3f})"
        for what, row in (("concordance", ranks), ("mean Brier score", errs))
    ]
    return f"{model} {words} {versus}{part}{lost}: {', '.join(numbers)}."


def _addition(model: str, versus: str, estimate: float, low: float, high: float, p: float, problem: str) -> str:
    if pd.isna(p):
        return f"What {model} adds to {versus or 'nothing'} cannot be said: {problem}."
    adds = "adds" if p < 0.05 else "is not shown to add"
    return (
        f"{model} {adds} to {versus or 'nothing'} (Cox, likelihood-ratio p = {p:.2g}): hazard ratio per SD of its log "
        f"hazard {estimate:.2f} ({low:.2f} to {high:.2f})."
    )


def _write(folder: Path, predicted: "PredictedSurvival", results: pd.DataFrame, horizon: float, data_note: str) -> None:
    from nnunet_ms.classification.stratification.survival_figures import survival_figures
    from nnunet_ms.plotting.style import save_figure
    from nnunet_ms.tables import write_table

    write_table(results, folder / RESULTS)
    write_table(pd.DataFrame({"case_and_model": predicted.left_out}), folder / LEFT_OUT)
    figures = survival_figures(predicted, results, horizon, data_note)
    for name, figure in figures.items():
        save_figure(figure, folder, name)
    (folder / PAGE).write_text(_page(predicted, results, horizon, data_note, list(figures)), encoding="utf-8")


def _page(
    predicted: "PredictedSurvival", results: pd.DataFrame, horizon: float, data_note: str, figures: list[str]
) -> str:
    from nnunet_ms.classification.stratification.survival_figures import told

    models = list(predicted.curves)
    lines = ["| " + " | ".join(["measure", *models]) + " |", "|" + "---|" * (len(models) + 1)]
    for measure, words in SHOWN.items():
        values = [value_of(results, model, measure, horizon) for model in models]
        lines.append(f"| {words} | {' | '.join(values)} |")
    parts = [
        "# Time to confirmed progression: evaluation",
        f"{told(predicted, horizon, data_note)}. Horizon: {horizon:g} weeks. Intervals are 95 % ones.",
        "\n".join(lines),
        *verdicts(results),
        "Everybody alike (kaplan-meier) has a concordance of one half within a fold; over folds it is a little less, "
        "because the curve of a fold is fitted without its own events.",
        *([f"Left out: {'; '.join(predicted.left_out)}."] if predicted.left_out else []),
        *(f"![{name}]({name}.png)" for name in figures),
    ]
    return "\n\n".join(parts) + "\n"


def value_of(results: pd.DataFrame, model: str, measure: str, week: float) -> str:
    """Estimate with its interval as text; a dash where there is none."""
    chosen = (results["model"] == model) & (results["versus"] == "") & (results["measure"] == measure)
    rows = results[chosen & (results["week"] == week)]
    if rows.empty or pd.isna(rows["estimate"].iloc[0]):
        return "–"
    row = rows.iloc[0]
    interval = "" if pd.isna(row["low"]) else f" ({row['low']:.2f} to {row['high']:.2f})"
    return f"{row['estimate']:.2f}{interval}"
