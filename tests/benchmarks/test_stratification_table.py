"""Every number of the tables of models in docs/stratification.md is the one in benchmarks/results."""

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "docs" / "stratification.md").read_text(encoding="utf-8")
MEASURES = {"accuracy": "accuracy", "balanced accuracy": "balanced_accuracy", "AUC": "roc_auc"}
MEASURES |= {"AUC within folds": "roc_auc", "calibration slope": "calibration_slope"}
AT_HALF = {"accuracy", "balanced_accuracy"}
TABLES = {
    "Signal in the brainstem.": "stratification.csv",
    "Signal in the ventricles.": "stratification_ventricles.csv",
    "No signal.": "stratification_no_signal.csv",
}


def table(after):
    """Cells of the first table after a line that begins with these words."""
    block = re.search(rf"\n\*\*{re.escape(after)}.*?((?:^\|[^\n]*\n)+)", PAGE, re.DOTALL | re.MULTILINE)[1]
    rows = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in block.splitlines()]
    return rows[0], rows[2:]


def told(row):
    return f"{row['estimate']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


@pytest.mark.parametrize("title", TABLES)
def test_the_table_is_that_of_the_results(title):
    results = pd.read_csv(RESULTS / TABLES[title])
    head, rows = table(title)
    assert len(rows) == results["model"].nunique()
    for model, *cells in rows:
        for words, cell in zip(head[1:], cells, strict=True):
            scope = "within folds" if words == "AUC within folds" else "pooled"
            own = results[(results["model"] == model.removesuffix(" (baseline)")) & (results["scope"] == scope)]
            own = own[own["measure"] == MEASURES[words]]
            own = own[own["decision"].astype(str) == "0.5"] if MEASURES[words] in AT_HALF else own
            assert len(own) == 1
            assert cell == told(own.iloc[0]), (model, words)


def test_increments_over_the_regression_are_those_of_the_comparisons():
    compared = pd.read_csv(RESULTS / "stratification_comparisons.csv")
    adds = compared[(compared["question"] == "increment") & (compared["versus"] == "volumes")].set_index("model")
    _, rows = table("What the networks add to the regression on volumes.")
    assert [row[0] for row in rows] == list(adds.index)
    for model, difference, p in rows:
        row = adds.loc[model]
        assert difference == f"{row['auc_difference']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        assert float(p) == pytest.approx(row["p_holm"], rel=0.06)


def test_the_answers_that_the_page_gives_are_the_tables():
    # the region with the signal is the first of the regions, and without one every interval covers a half
    results = pd.read_csv(RESULTS / "stratification.csv")
    areas = results[(results["measure"] == "roc_auc") & (results["scope"] == "pooled")].set_index("model")["estimate"]
    assert areas[["wm", "gm", "sgm", "ventricles", "brainstem"]].idxmax() == "brainstem"
    null = pd.read_csv(RESULTS / "stratification_no_signal.csv")
    null = null[(null["measure"] == "balanced_accuracy") & (null["decision"].astype(str) == "0.5")]
    networks = null[null["model"].isin(["global", "brainstem"])]
    assert len(networks) == 2
    assert ((networks["low"] <= 0.5) & (networks["high"] >= 0.5)).all()
