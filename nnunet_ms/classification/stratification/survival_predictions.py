"""Risk of confirmed progression of new scans, by networks as they were trained: the mean curve of all folds' models."""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms import commands
from nnunet_ms.arrays import Floats
from nnunet_ms.classification.stratification.fold_models import WEIGHTS, input_of, load_fold_model, model_logits
from nnunet_ms.classification.stratification.hazards import hazards_of
from nnunet_ms.classification.stratification.prepared_folder import PreparedCohort, read_prepared
from nnunet_ms.classification.stratification.survival_intervals import curves_at, median_weeks
from nnunet_ms.classification.stratification.survival_models import SURVIVAL, load_survival_model
from nnunet_ms.classification.stratification.survival_tables import SURVIVAL_PREDICTIONS, curve_grid
from nnunet_ms.classification.torch_runs import check_device
from nnunet_ms.errors import ImageError, ModelError, OptionError
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import whole_folder
from nnunet_ms.parallel import Failure
from nnunet_ms.progress import Progress, unseen
from nnunet_ms.tables import write_failures, write_table

PROGRAM = "nnunet-ms-stratify"


@known_keywords
def predict_survival(
    models: str | Path,
    prepared: str | Path,
    output: str | Path,
    *,
    horizons: Sequence[float] = (),
    device: str = "cpu",
    replace: bool = False,
    progress: Progress = unseen,
) -> tuple[pd.DataFrame, list[Failure]]:
    """Judge prepared scans by the models of one strategy.

    Parameters
    ----------
    models : str or Path
        Folder of a strategy, with `fold_<k>/model.pt`, of `train --task survival`.
    prepared : str or Path
        Folder of `nnunet-ms-stratify prepare`.
    output : str or Path
        Folder to write: `predictions.csv`; `left_out.csv`, scans without the region; `failures.csv`, damaged scans;
        `settings.json`.
    horizons : sequence of float, optional
        Weeks whose risk is written; without them every twelve weeks up to the shortest follow-up of the models.
    device : str, optional
    replace : bool, optional
        Whether an existing output is replaced.
    progress : Progress, optional

    Returns
    -------
    predictions : pandas.DataFrame
        `SURVIVAL_PREDICTIONS`: one row per scan and horizon; `median_weeks` is the first week at which the risk is one
        half, blank where it stays below up to the last edge.
    failures : list of Failure
        Scans that could not be judged.

    Raises
    ------
    ModelError
        If a fold is missing, or a model is damaged or of another task.
    OptionError
        If a horizon lies beyond what the models have seen.
    FileExistsError
        If the output exists and is not to be replaced.

    Examples
    --------
    >>> predict_survival("absent/global", "prepared", "risks", horizons=[48, 96])
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: absent/global: expected models of a strategy, fold_0/model.pt and so on, found none...
    """
    check_device(device)
    folds = read_survival_models(models)
    last = min(contents["edges"][-1] for contents in folds)
    weeks = _checked_horizons(horizons, last)
    cohort = read_prepared(prepared)
    left_out = cohort.left_out[cohort.left_out["strategy"] == folds[0]["strategy"]]
    seen = cohort.scans[~cohort.scans["case_id"].isin(left_out["case_id"])]
    rows: list[pd.DataFrame] = []
    failures: list[Failure] = []
    for scan in progress(seen.to_dict("records"), "scans", lambda row: str(row["case_id"])):
        try:
            curve = mean_curve(folds, cohort, str(scan["case_id"]), np.append(weeks, np.arange(1.0, last + 1)), device)
        except ImageError as error:
            failures.append(Failure(str(scan["case_id"]), str(error)))
            continue
        median = median_weeks(curve[None, len(weeks) :], np.arange(1.0, last + 1))[0]
        own = {name: str(scan[name]) for name in ("case_id", "patient_id", "visit")}
        rows.append(pd.DataFrame({**own, "week": weeks, "risk": 1 - curve[: len(weeks)], "median_weeks": median}))
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=SURVIVAL_PREDICTIONS.names)
    settings = {
        "task": "survival",
        "strategy": folds[0]["strategy"],
        "outcome": folds[0]["outcome"],
        "models": len(folds),
        "horizon_weeks": weeks.tolist(),
    }
    with whole_folder(output, replace) as folder:
        write_table(table, folder / "predictions.csv")
        write_table(left_out, folder / "left_out.csv")
        write_failures(failures, folder / "failures.csv")
        (folder / "settings.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return table, failures


def is_survival_model(folder: str | Path) -> bool:
    """Whether the models in a folder of a strategy are of `--task survival`; False where there is none.

    Raises
    ------
    ModelError
        If the first of them is damaged.

    Examples
    --------
    >>> is_survival_model("no_such_folder")
    False
    """
    paths = sorted(Path(folder).glob(f"fold_*/{WEIGHTS}"))
    return bool(paths) and load_fold_model(paths[0])["task"] == SURVIVAL


def run_predict_survival(args: argparse.Namespace, models: Path) -> int:
    """Act on the arguments of `predict` with survival models; exit code 1 where a scan is damaged."""
    from nnunet_ms.progress import bar

    table, failures = predict_survival(
        models,
        args.prepared,
        args.output,
        horizons=args.horizons or (),
        device=args.device,
        progress=bar,
    )
    told = json.loads((args.output / "settings.json").read_text(encoding="utf-8"))
    weeks = ", ".join(f"{week:g}" for week in told["horizon_weeks"])
    print(
        f"{args.output / 'predictions.csv'}: risk of confirmed progression ({told['outcome']}) of "
        f"{table['case_id'].nunique()} scans up to weeks {weeks}, by the mean of {told['models']} networks of "
        f"{told['strategy']}."
    )
    without = len(pd.read_csv(args.output / "left_out.csv"))
    if without:
        print(f"{without} scans lack the region and are left out: {args.output / 'left_out.csv'}.")
    commands.report_failures(failures, PROGRAM)
    return commands.SOME_CASES_FAILED if failures else commands.OK


def read_survival_models(folder: str | Path) -> list[dict[str, Any]]:
    """Models of all folds of a strategy.

    Raises
    ------
    ModelError
        If there is none, one is missing, or they do not belong together.

    Examples
    --------
    >>> read_survival_models("study")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: study: expected models of a strategy, fold_0/model.pt and so on, found none. ...
    """
    folder = Path(folder)
    paths = sorted(folder.glob(f"fold_*/{WEIGHTS}"))
    if not paths:
        raise ModelError(
            f"{folder}: expected models of a strategy, fold_0/{WEIGHTS} and so on, found none. Name the folder of one "
            "strategy that train wrote."
        )
    found = [load_survival_model(path) for path in paths]
    first = found[0]
    numbers = sorted(contents["fold"] for contents in found)
    if numbers != list(range(first["folds"])):
        raise ModelError(
            f"{folder}: expected models of folds 0 to {first['folds'] - 1}, found {numbers}. Let train finish."
        )
    for name in ("strategy", "outcome", "shape", "coarser", "preparation"):
        if any(contents[name] != first[name] for contents in found):
            raise ModelError(f"{folder}: expected models of one {name}, found several. Copy the folder again.")
    return found


def mean_curve(
    folds: Sequence[dict[str, Any]], cohort: PreparedCohort, case_id: str, weeks: Floats, device: str = "cpu"
) -> Floats:
    """Mean over the models of a scan's predicted share without progression at each week, (t,).

    Raises
    ------
    ImageError
        If the scan lacks the region, or is damaged.
    ModelError
        If it was prepared in another way.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from nnunet_ms.classification.stratification.networks import stratification_network
    >>> from nnunet_ms.classification.stratification.preparation import PreparedScan
    >>> shape, told = [20, 24, 20], ({}, {}, "", 0.9, np.eye(4))
    >>> scan = PreparedScan(np.ones((2, *shape), np.float32), np.ones(shape, bool), *told)
    >>> cohort = SimpleNamespace(load=lambda case_id: scan)
    >>> made = stratification_network("compact", small=True, outputs=2, shape=shape)
    >>> fold = {"network": "compact", "small": True, "outputs": 2, "shape": shape, "weights": made.state_dict()}
    >>> fold |= {"strategy": "global", "coarser": 1, "edges": np.array([0.0, 48.0, 96.0])}
    >>> curve = mean_curve([fold, fold], cohort, "P001_week000", np.array([48.0, 96.0]))
    >>> bool(1 > curve[0] > curve[1] > 0)
    True
    """
    images = input_of(folds[0], cohort.load(case_id), case_id)[None]
    curves = [
        curves_at(hazards_of(model_logits(contents, images, np.arange(1), device)), contents["edges"], weeks)[0]
        for contents in folds
    ]
    return np.asarray(np.mean(curves, axis=0))


def _checked_horizons(horizons: object, last: float) -> Floats:
    given = list(horizons) if isinstance(horizons, Iterable) and not isinstance(horizons, str) else [horizons]
    if not given:
        return curve_grid([last])
    are_weeks = all(isinstance(week, int | float) and not isinstance(week, bool) and 0 < week <= last for week in given)
    if not are_weeks or len(set(given)) < len(given):
        raise OptionError(
            f"horizons: expected different weeks above 0 and up to {last:g}, the shortest follow-up of the models' "
            f"training, found {', '.join(map(str, given))}. Name others."
        )
    return np.sort(np.array(given, dtype=np.float64))
