"""Every number of the tables of models in docs/rim.md is the one in benchmarks/results/rim_models.csv."""

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
RESULTS = pd.read_csv(ROOT / "benchmarks" / "results" / "rim_models.csv")
MEASURES = {
    "average precision": "pr_auc_average_precision",
    "pROC AUC": "proc_auc",
    "ROC AUC": "roc_auc",
    "sensitivity": "sensitivity",
    "PPV": "ppv",
    "count: MSE": "prl_count_mse",
    "count: r": "prl_count_r",
    "calibration slope": "calibration_slope",
}
DIFFERENCES = {"difference of average precision": "pr_auc_average_precision", "of pROC AUC": "proc_auc"}


def tables(first):
    """Header cells and rows of each table of the page whose first heading is `first`."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", (ROOT / "docs" / "rim.md").read_text(), re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        if rows[0][0] == first:
            found.append((rows[0], [row for row in rows[2:] if row[0].startswith("`")]))
    return found


def row_of(model, measure, versus=None):
    chosen = RESULTS[(RESULTS["model"] == model) & (RESULTS["measure"] == measure)]
    chosen = chosen[chosen["versus"].isna() if versus is None else chosen["versus"] == versus]
    assert len(chosen) == 1, (model, measure, versus)
    return chosen.iloc[0]


def told(row, digits=2, sign=""):
    estimate, low, high = (f"{row[name]:{sign}.{digits}f}".replace("-", "−") for name in ("estimate", "low", "high"))
    return f"{estimate} ({low} to {high})"


def test_the_results_are_those_of_the_csv():
    ((header, rows),) = [(h, r) for h, r in tables("model") if "calibration slope" in h]
    assert {row[0].strip("`") for row in rows} == set(RESULTS["model"])
    for row in rows:
        assert row[-1] in ("corrected", "first", "none")  # which features a model was trained on
        for heading, cell in zip(header[1:-1], row[1:-1], strict=True):
            if cell != "–":
                wanted = told(row_of(row[0].strip("`"), MEASURES[heading]))
                assert cell.replace("-", "−") == wanted, (row[0], heading)


def test_the_differences_are_those_of_the_csv():
    ((header, rows),) = [(h, r) for h, r in tables("against") if set(DIFFERENCES) & set(h)]
    assert len(rows) == RESULTS["model"].nunique() - 1
    for row in rows:
        for heading, cell in zip(header[1:], row[1:], strict=True):
            wanted = told(row_of("qsmrimnet", DIFFERENCES[heading], row[0].strip("`")), 3, "+")
            assert cell == wanted, (row[0], heading)


@pytest.mark.parametrize("measure", sorted(MEASURES.values()))
def test_all_rows_are_of_the_same_lesions(measure):
    rows = RESULTS[(RESULTS["measure"] == measure) & RESULTS["versus"].isna()]
    assert len(rows) == RESULTS["model"].nunique()
    assert rows[["patients", "lesions", "rim_lesions"]].drop_duplicates().shape == (1, 3)
