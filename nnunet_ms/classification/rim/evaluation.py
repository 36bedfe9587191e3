"""Any number of rim classifiers against the same labels: tables, figures and a page. `nnunet-ms-rim evaluate`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms import commands
from nnunet_ms.options import known_keywords
from nnunet_ms.progress import Progress, unseen

if TYPE_CHECKING:
    import pandas as pd

    from nnunet_ms.classification.rim.scored_lesions import ScoredLesions

PROGRAM = "nnunet-ms-rim"
RESULTS, COUNTS, LEFT_OUT = "results.csv", "counts.csv", "left_out.csv"
PUBLISHED, SETTINGS, PAGE = "published.csv", "settings.json", "evaluation.md"
OTHER_LABEL = "have another label in the table of labels than in a model's; that of the table of labels counts"
# measures of the page's table, in its order
SHOWN = {
    "proc_auc": "pROC AUC (FPR < 0.1)",
    "proc_auc_mcclish": "the same, McClish",
    "roc_auc": "ROC AUC",
    "pr_auc_average_precision": "average precision",
    "pr_auc_trapezoid": "PR AUC, trapezoid",
    "sensitivity": "sensitivity",
    "ppv": "PPV",
    "f1": "F1",
    "prl_count_mse": "count per visit: MSE",
    "prl_count_r": "count per visit: r",
    "prl_count_ccc": "count per visit: CCC",
    "calibration_slope": "calibration slope",
}


@known_keywords
def evaluate_rims(
    tables: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    labels: str | Path | None = None,
    threshold: float | None = None,
    data_note: str = "",
    replicates: int = 2000,
    seed: int = 0,
    replace: bool = False,
    progress: Progress = unseen,
) -> "pd.DataFrame":
    r"""Compare rim classifiers on the lesions that all of them have scored.

    Parameters
    ----------
    tables : str, Path or sequence of them
        `cross_validation.csv` of `train`, `rim_lesions.csv` of `predict`, decisions of a segmented rim, or any table of
        `scored_lesions.PREDICTIONS`; "NAME=PATH" names a model. All are compared with the first.
    output : str or Path
        Folder to write: `results.csv`, `counts.csv`, `left_out.csv`, `published.csv`, figures and `evaluation.md`.
    labels : str or Path, optional
        Table with the labels; without it the column `label` of the tables.
    threshold : float, optional
        For tables that say neither `rim` nor `threshold`.
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
        See `scored_lesions.read_scored`.
    FileExistsError
        If the output exists and is not to be replaced.

    Examples
    --------
    >>> lesions = [f"P{k // 4},a,{k % 4 + 1},{int(k % 4 == 0)},{0.9 - 0.2 * (k % 4)},0.5" for k in range(24)]
    >>> header = "patient_id,visit,lesion_id,label,probability,threshold"
    >>> _ = Path("net.csv").write_text("\n".join([header, *lesions]))
    >>> results = evaluate_rims(["net.csv"], "evaluation", data_note="simulated", replicates=50)
    >>> results.set_index("measure")["estimate"][["proc_auc", "sensitivity", "ppv"]].tolist()
    [1.0, 1.0, 0.3333333333333333]
    """
    from nnunet_ms.classification.rim.evaluation_tables import Resampling, results_table
    from nnunet_ms.classification.rim.scored_lesions import read_scored
    from nnunet_ms.outputs import whole_folder

    scored = read_scored(tables, labels, threshold)
    results = results_table(scored, Resampling(replicates, seed), data_note, progress)
    settings = {
        "tables": [str(table) for table in ([tables] if isinstance(tables, str | Path) else tables)],
        "labels": str(labels) if labels is not None else None,
        "threshold": threshold,
        "data_note": data_note,
        "replicates": replicates,
        "seed": seed,
        "relabelled": scored.relabelled,
    }
    with whole_folder(output, replace) as folder:
        _write(folder, scored, results, data_note)
        (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return results


def _write(folder: Path, scored: "ScoredLesions", results: "pd.DataFrame", data_note: str) -> None:
    from nnunet_ms.classification.rim.evaluation_figures import evaluation_figures
    from nnunet_ms.classification.rim.evaluation_tables import counts_table, published_table
    from nnunet_ms.plotting.style import save_figure
    from nnunet_ms.tables import write_table

    counts = counts_table(scored)
    tables = {RESULTS: results, COUNTS: counts, LEFT_OUT: scored.left_out, PUBLISHED: published_table()}
    for name, table in tables.items():
        write_table(table, folder / name)
    figures = evaluation_figures(scored, results, counts, data_note)
    for name, figure in figures.items():
        save_figure(figure, folder, name)
    (folder / PAGE).write_text(_page(scored, results, data_note, list(figures)), encoding="utf-8")


def _page(scored: "ScoredLesions", results: "pd.DataFrame", data_note: str, figures: list[str]) -> str:
    from nnunet_ms.classification.rim.evaluation_figures import value_of, whose

    names = [model.name for model in scored.models]
    head = ["measure", *names, "published, QSMRim-Net (own data)", "rerun by others (own data)"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for measure, words in SHOWN.items():
        values = [value_of(results, name, measure) for name in names]
        lines.append(f"| {words} | {' | '.join([*values, *_published(measure)])} |")
    pictures = [f"![{name}]({name}.png)" for name in figures]
    left_out = [f"Left out: {words}." for words in _left_out(scored)]
    if scored.relabelled:
        left_out.insert(0, f"{scored.relabelled} lesions {OTHER_LABEL}.")
    parts = [
        "# Rim+ lesions: evaluation",
        f"{whose(scored, data_note)}. Intervals are 95 % ones, over resampled patients (r: Fisher's, CCC: Lin's).",
        "\n".join(lines),
        "Published numbers are of their authors' own patients; they stand here to be seen beside, not to be beaten.",
        f"Average precision of a worthless model is the prevalence, {float(scored.rim.mean()):.3f}.",
        *_differences(results),
        *left_out,
        *pictures,
    ]
    return "\n\n".join(parts) + "\n"


def _differences(results: "pd.DataFrame") -> list[str]:
    """A sentence for each model that the first is compared with: whether its ranking has been shown to differ."""
    rows = results[(results["versus"] != "") & (results["measure"] == "pr_auc_average_precision")]
    return [_sentence(**row) for row in rows[["model", "versus", "estimate", "low", "high"]].to_dict("records")]


def _sentence(model: str, versus: str, estimate: float, low: float, high: float) -> str:
    if not low <= high:  # no interval
        return f"{model} and {versus}: no interval of the difference, see `problem` in {RESULTS}."
    shown = "better" if low > 0 else "worse" if high < 0 else "neither better nor worse"
    return (
        f"{model} against {versus}: {shown} by this interval; difference of average precision {estimate:.3f} "
        f"({low:.3f} to {high:.3f})."
    )


def _published(measure: str) -> list[str]:
    from nnunet_ms.classification.rim.published import PAPER, QSMRIMNET, RERUN, published_for

    found = [published_for(QSMRIMNET, measure, source) for source in (PAPER, RERUN)]
    return ["–" if number is None else f"{number.value:g}" for number in found]


def _left_out(scored: "ScoredLesions") -> list[str]:
    """How many lesions of which model are not compared, and why."""
    counts = scored.left_out.groupby(["model", "reason"], sort=False).size()
    return [f"{n} lesions of {model}: {reason}" for (model, reason), n in counts.items()]


def add_evaluate_parser(to: "argparse._SubParsersAction[Any]") -> None:
    """Add `evaluate` to the command's sub-commands."""
    parser = to.add_parser("evaluate", help="compare classifiers of rims on the same lesions")
    parser.add_argument(
        "tables",
        nargs="+",
        metavar="TABLE",
        help="cross_validation.csv, rim_lesions.csv or a folder that holds one; NAME=TABLE names the model",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--labels", type=Path, metavar="CSV", help="labels of the lesions (default: those of the tables)"
    )
    parser.add_argument("--threshold", type=float, metavar="P", help="for tables without a threshold or a decision")
    parser.add_argument("--data-note", default="", help="what the data are, such as real or simulated")
    parser.add_argument("--replicates", type=commands.positive, default=2000, help="resamples (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.set_defaults(action=run_evaluate)


def run_evaluate(args: argparse.Namespace) -> int:
    """Act on the arguments of `evaluate`; exit code 1 where a model lacks lesions that have a label."""
    import sys

    from nnunet_ms.classification.rim.scored_lesions import NO_LABEL
    from nnunet_ms.progress import bar
    from nnunet_ms.table_files import read_csv_file

    results = evaluate_rims(
        args.tables,
        args.output,
        labels=args.labels,
        threshold=args.threshold,
        data_note=args.data_note,
        replicates=args.replicates,
        seed=args.seed,
        replace=args.overwrite,
        progress=bar,
    )
    first = results.iloc[0]
    print(
        f"{args.output / RESULTS}: {results['model'].nunique()} models on {first['lesions']} lesions of "
        f"{first['patients']} patients, {first['rim_lesions']} rim+."
    )
    changed = json.loads((args.output / SETTINGS).read_text(encoding="utf-8"))["relabelled"]
    if changed:
        print(f"{changed} lesions {OTHER_LABEL}.")
    left_out = read_csv_file(args.output / LEFT_OUT)
    lacking = left_out[left_out["reason"] != NO_LABEL]
    without = len(left_out) - len(lacking)
    if without:
        print(f"{without} scores are of lesions without a label: {args.output / LEFT_OUT}.")
    if len(lacking):
        print(
            f"{PROGRAM}: {len(lacking)} labelled lesions lack a score of some model; no model is evaluated on them: "
            f"{args.output / LEFT_OUT}.",
            file=sys.stderr,
        )
        return commands.SOME_CASES_FAILED
    return commands.OK
