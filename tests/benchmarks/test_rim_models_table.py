"""The table of models in docs/rim.md is that of the committed results; its cells are checked by hand on a small one."""

import importlib
import sys
from pathlib import Path

import pandas as pd
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RESULTS = pd.read_csv(BENCHMARKS / "results" / "rim_models.csv")
SEEDS = pd.read_csv(BENCHMARKS / "results" / "rim_models_seeds.csv")
BOTH_WAYS = {"qsmrimnet": "qsmrimnet-no-oversampling"} | {
    name: f"{name}-oversampling" for name in ("rimnet", "aprl", "radiomics")
}


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("rim_models_table")
    sys.modules.pop("rim_models_table", None)


def test_the_page_holds_the_table_of_the_results(script):
    page = script.PAGE.read_text(encoding="utf-8")
    assert page == script.written(page, script.table(RESULTS, SEEDS)), "run python benchmarks/rim_models_table.py"
    assert page.count("| model | average precision |") == 1  # no second one that could say something else


def row(model, measure, estimate, low, high, versus=None):
    values = {"estimate": estimate, "low": low, "high": high}
    return {"model": model, "versus": versus, "measure": measure, **values}


def test_cells_are_estimates_intervals_differences_and_seeds(script):
    precision, none = "pr_auc_average_precision", float("nan")
    results = pd.DataFrame(
        [
            row("qsmrimnet", precision, 0.5012, 0.4, 0.6),
            row("qsmrimnet", "prl_count_r", -0.126, -0.3, 0.1),
            row("aprl", precision, 0.25, 0.2, 0.3),
            row("aprl", "calibration_slope", none, none, none),
            row("qsmrimnet", precision, 0.2512, -0.0104, 0.5, "aprl"),
        ]
    )
    seeds = pd.DataFrame(
        [{"seed": k, "model": "aprl", "measure": precision, "estimate": 0.2 + k / 10} for k in (0, 1, 2)]
    )
    lines = script.table(results, seeds).splitlines()
    assert [len(line.split("|")) for line in lines] == [13] * 6
    first, second = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:4])
    assert first == ["`qsmrimnet`", "0.50 (0.40 to 0.60)", *["–"] * 5, "−0.13 (−0.30 to 0.10)", "–", "–", "1 seed"]
    assert second[0] == "`aprl`"
    assert second[-3:] == ["–", "+0.251 (−0.010 to +0.500)", "0.30, 0.20 to 0.40 (3 seeds)"]
    assert "0.704" in lines[4]
    assert "0.514 ± 0.121" in lines[5]


def test_every_model_stands_there_with_and_without_oversampling():
    assert {name for pair in BOTH_WAYS.items() for name in pair} == set(RESULTS["model"])


@pytest.mark.parametrize("measure", ["pr_auc_average_precision", "proc_auc", "sensitivity", "calibration_slope"])
def test_all_rows_are_of_the_same_lesions(measure):
    rows = RESULTS[(RESULTS["measure"] == measure) & RESULTS["versus"].isna()]
    assert len(rows) == RESULTS["model"].nunique()
    assert rows[["patients", "lesions", "rim_lesions"]].drop_duplicates().shape == (1, 3)


def test_the_first_seed_is_that_of_the_intervals():
    own = RESULTS[RESULTS["versus"].isna()].set_index(["model", "measure"])["estimate"]
    first = SEEDS[SEEDS["seed"] == 0].set_index(["model", "measure"])["estimate"]
    assert set(first.index.get_level_values("model")) == set(RESULTS["model"])
    pd.testing.assert_series_equal(first, own.reindex(first.index), check_exact=False, rtol=1e-12)
