"""The table of docs/rim.md from the results of `rim_models.py`: `python benchmarks/rim_models_table.py`.

It stands between two comments of the page and is written by nobody else; a test compares them. Read are
`results/rim_models.csv` (seed 0, intervals over patients) and `results/rim_models_seeds.csv` (the same measures of
every seed, which draws folds and trainings anew).
"""

from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "rim.md"
BEGIN, END = "<!-- written by benchmarks/rim_models_table.py -->", "<!-- end -->"
FIRST = "qsmrimnet"
PRECISION = "pr_auc_average_precision"
MEASURES = {
    "average precision": PRECISION,
    "pROC AUC": "proc_auc",
    "ROC AUC": "roc_auc",
    "sensitivity": "sensitivity",
    "PPV": "ppv",
    "count: MSE": "prl_count_mse",
    "count: r": "prl_count_r",
    "calibration slope": "calibration_slope",
}
# papers' numbers, of their own patients, by the columns above
PAPERS = {
    "published, QSMRim-Net, own patients": {
        "average precision": "0.704",
        "pROC AUC": "0.760",
        "count: MSE": "0.98",
        "count: r": "0.89 (0.86 to 0.92)",
    },
    "its rerun by others, other patients": {"average precision": "0.514 ± 0.121", "ROC AUC": "0.908 ± 0.073"},
}
AGAINST, SEEDS = "`qsmrimnet` less this, average precision", "average precision over seeds"
NONE = "–"


def table(results: pd.DataFrame, seeds: pd.DataFrame) -> str:
    """Return the table in Markdown, one row per model in the order of the results, and the papers' rows."""
    head = ["model", *MEASURES, AGAINST, SEEDS]
    rows = [[f"`{model}`", *_cells(results, seeds, model)] for model in results["model"].drop_duplicates()]
    rows += [[name, *(numbers.get(column, NONE) for column in head[1:])] for name, numbers in PAPERS.items()]
    lines = [f"| {' | '.join(cells)} |" for cells in [head, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def _cells(results: pd.DataFrame, seeds: pd.DataFrame, model: str) -> list[str]:
    own = results[(results["model"] == model) & results["versus"].isna()].set_index("measure")
    less = results[(results["model"] == FIRST) & (results["versus"] == model)].set_index("measure")
    measures = [_told(own, name) for name in MEASURES.values()]
    return [*measures, _told(less, PRECISION, 3, "+"), _over_seeds(seeds, model)]


def _told(rows: pd.DataFrame, measure: str, digits: int = 2, sign: str = "") -> str:
    """Estimate with its interval; a dash where there is none."""
    if measure not in rows.index or pd.isna(rows.loc[measure, "estimate"]):
        return NONE
    estimate, low, high = (
        f"{rows.loc[measure, name]:{sign}.{digits}f}".replace("-", "−") for name in ("estimate", "low", "high")
    )
    return f"{estimate} ({low} to {high})"


def _over_seeds(seeds: pd.DataFrame, model: str) -> str:
    values = seeds[(seeds["model"] == model) & (seeds["measure"] == PRECISION)]["estimate"]
    if len(values) < 2:
        return "1 seed"
    return f"{values.mean():.2f}, {values.min():.2f} to {values.max():.2f} ({len(values)} seeds)"


def written(page: str, new: str) -> str:
    """Return the page with another table between the comments."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def main() -> None:
    """Write the table into the page."""
    results, seeds = (pd.read_csv(HERE / "results" / name) for name in ("rim_models.csv", "rim_models_seeds.csv"))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), table(results, seeds)), encoding="utf-8")


if __name__ == "__main__":
    main()
