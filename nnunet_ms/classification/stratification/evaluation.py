"""Networks and baselines of disability on the same scans: tables, figures and a page. `nnunet-ms-stratify evaluate`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms import commands
from nnunet_ms.errors import OptionError
from nnunet_ms.options import known_keywords
from nnunet_ms.progress import Progress, unseen

if TYPE_CHECKING:
    import pandas as pd

    from nnunet_ms.classification.stratification.judged_scans import JudgedScans

PROGRAM = "nnunet-ms-stratify"
RESULTS, COMPARISONS, LEFT_OUT, PUBLISHED = "results.csv", "comparisons.csv", "left_out.csv", "published.csv"
CALIBRATION, BENEFIT, SETTINGS, PAGE = "calibration.csv", "decision_curve.csv", "settings.json", "evaluation.md"


@known_keywords
def evaluate_disability(
    tables: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    scans: str | Path | None = None,
    baselines: str | Path | None = None,
    models: Sequence[str] = (),
    replicates: int = 2000,
    seed: int = 0,
    data_note: str = "",
    replace: bool = False,
    progress: Progress = unseen,
) -> "pd.DataFrame":
    r"""Compare networks with baselines, and with one another, on the scans that all of them have judged.

    Parameters
    ----------
    tables : str, Path or sequence of them
        `cross_validation.csv` of `train`, `predictions.csv` of `predict`, or other tables of `judged_scans.JUDGED`;
        "NAME=PATH" names a model.
    output : str or Path
        Folder to write: `results.csv`, `comparisons.csv`, `calibration.csv`, `decision_curve.csv`, `left_out.csv`,
        `published.csv`, figures and `evaluation.md`.
    scans : str or Path, optional
        `scans.csv` of `prepare`: the truth where tables tell none, field strengths, and predictors for the test of what
        networks add.
    baselines : str or Path, optional
        `baselines.csv` of `train`: its regressions, frozen, on `scans` of other patients.
    models : sequence of str, optional
        Only these of the tables.
    data_note : str, optional
        What the data are, such as "real" or "simulated"; stands in every table and figure.
    replicates, seed : int, optional
        Of the intervals over patients.
    replace : bool, optional
        Whether an existing output is replaced.
    progress : Progress, optional

    Returns
    -------
    pandas.DataFrame
        `evaluation_tables.RESULTS`.

    Raises
    ------
    OptionError, TableError
        See `judged_scans.read_judged`.
    FileExistsError
        If the output exists and is not to be replaced.

    Examples
    --------
    >>> scans = [f"P{k},a,{k % 2},{0.3 + 0.4 * (k % 2) + 0.01 * (k % 7):.2f},0.5,{k % 7},global" for k in range(28)]
    >>> header = "patient_id,visit,truth,probability,threshold,fold,model"
    >>> _ = Path("cross_validation.csv").write_text("\n".join([header, *scans]))
    >>> results = evaluate_disability("cross_validation.csv", "evaluation", data_note="simulated", replicates=50)
    >>> rows = results[(results["decision"] == "0.5")].set_index("measure")["estimate"]
    >>> rows[["accuracy", "balanced_accuracy"]].tolist()
    [1.0, 1.0]
    """
    from nnunet_ms.classification.stratification.evaluation_tables import Resampling, results_table
    from nnunet_ms.classification.stratification.judged_scans import read_judged
    from nnunet_ms.outputs import whole_folder

    how = Resampling(replicates, seed)
    judged = read_judged(tables, scans, baselines, models)
    results = results_table(judged, how, data_note, progress)
    settings = {
        "tables": [str(table) for table in ([tables] if isinstance(tables, str | Path) else tables)],
        "scans": None if scans is None else str(scans),
        "baselines": None if baselines is None else str(baselines),
        "models": [model.name for model in judged.models],
        "data_note": data_note,
        "replicates": replicates,
        "seed": seed,
    }
    with whole_folder(output, replace) as folder:
        _write(folder, judged, results, data_note, replicates, seed)
        (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return results


def _write(
    folder: Path, judged: "JudgedScans", results: "pd.DataFrame", data_note: str, replicates: int, seed: int
) -> None:
    import pandas as pd

    from nnunet_ms.classification.stratification import evaluation_tables as tables
    from nnunet_ms.classification.stratification.evaluation_figures import evaluation_figures
    from nnunet_ms.classification.stratification.evaluation_page import page
    from nnunet_ms.classification.stratification.published import PUBLISHED as PRINTED
    from nnunet_ms.plotting.style import save_figure
    from nnunet_ms.tables import write_table

    comparisons = tables.comparisons_table(judged, tables.Resampling(replicates, seed), data_note)
    groups, benefit = tables.calibration_table(judged), tables.decision_curve(judged)
    named = {RESULTS: results, COMPARISONS: comparisons, CALIBRATION: groups, BENEFIT: benefit}
    named |= {LEFT_OUT: judged.left_out, PUBLISHED: pd.DataFrame([vars(one) for one in PRINTED])}
    for name, table in named.items():
        write_table(table, folder / name)
    figures = evaluation_figures(judged, results, groups, benefit, data_note)
    for name, figure in figures.items():
        save_figure(figure, folder, name)
    (folder / PAGE).write_text(page(judged, results, comparisons, data_note, list(figures)), encoding="utf-8")


def add_evaluate_parser(to: "argparse._SubParsersAction[Any]") -> None:
    """Add `evaluate` to the command's sub-commands."""
    parser = to.add_parser("evaluate", help="compare networks with baselines and with one another on the same scans")
    parser.add_argument(
        "tables",
        nargs="+",
        metavar="TABLE",
        help="cross_validation.csv, predictions.csv or a folder that holds one; NAME=TABLE names the model",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--scans",
        type=Path,
        metavar="CSV",
        help="scans.csv of prepare: truth, field strengths, and predictors for the test of what networks add",
    )
    parser.add_argument(
        "--baselines", type=Path, metavar="CSV", help="baselines.csv of train, to be judged frozen on --scans"
    )
    parser.add_argument(
        "--models",
        type=lambda text: [name.strip() for name in text.split(",")],
        default=[],
        metavar="A,B",
        help="only these of the tables (default: all)",
    )
    parser.add_argument(
        "--horizon-weeks",
        type=float,
        metavar="N",
        help="of survival tables: week up to which risks are judged (default: a fifth is followed beyond it)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument("--data-note", default="", help="what the data are, such as real or simulated")
    parser.add_argument("--replicates", type=commands.positive, default=2000, help="of patients (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the replicates (default: 0)")
    parser.set_defaults(action=run_evaluate)


def run_evaluate(args: argparse.Namespace) -> int:
    """Act on the arguments of `evaluate`; exit code 1 where some model has not judged all scans."""
    import sys

    from nnunet_ms.classification.stratification.survival_evaluation import has_survival, run_evaluate_survival
    from nnunet_ms.progress import bar
    from nnunet_ms.table_files import read_csv_file

    if has_survival(args.tables):
        return run_evaluate_survival(args)
    if args.horizon_weeks is not None:
        raise OptionError("horizon-weeks: expected tables of --task survival, found others. Leave it out.")
    results = evaluate_disability(
        args.tables,
        args.output,
        scans=args.scans,
        baselines=args.baselines,
        models=args.models,
        replicates=args.replicates,
        seed=args.seed,
        replace=args.overwrite,
        data_note=args.data_note,
        progress=bar,
    )
    first = results.iloc[0]
    print(
        f"{args.output / PAGE}: {results['model'].nunique()} models on {first['scans']} scans of {first['patients']} "
        f"patients, {first['positive']} with EDSS >= 3.0."
    )
    left_out = read_csv_file(args.output / LEFT_OUT).drop_duplicates(["patient_id", "visit"])
    if len(left_out):
        print(
            f"{PROGRAM}: {len(left_out)} scans are not judged by every model; no model is evaluated on them: "
            f"{args.output / LEFT_OUT}.",
            file=sys.stderr,
        )
        return commands.SOME_CASES_FAILED
    return commands.OK
