import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from nnunet_ms.analysis.evaluation.model_comparison import COMPARISON, RANKING, compare_models, holm, rank_models


def metrics(values, metric="dice", patients=None):
    """`tables.AGREEMENT_CASES` of models -> values per case."""
    rows = [
        (f"c{i:02d}", f"p{(patients or range(len(row)))[i]}", "v", rater, "t2_lesions", "rule", metric, value)
        for rater, row in values.items()
        for i, value in enumerate(row)
    ]
    names = ["case_id", "patient_id", "visit", "rater", "lesion_type", "rule", "metric", "value"]
    return pd.DataFrame(rows, columns=names)


def pair(seed=0, n=30):
    generator = np.random.default_rng(seed)
    x = generator.uniform(0.3, 0.9, size=n)
    return x, x + generator.normal(0.03, 0.1, size=n)


def test_difference_and_test_against_scipy():
    # Oracle: the mean, and scipy.stats.wilcoxon of the paired values (one case per patient).
    x, y = pair()
    (row,) = compare_models(metrics({"one": x, "two": y})).to_dict("records")
    assert list(row) == COMPARISON.names
    assert row["difference"] == pytest.approx((x - y).mean())
    assert row["p"] == pytest.approx(stats.wilcoxon(x, y, method="approx").pvalue)
    assert row["low"] < row["difference"] < row["high"]
    assert (row["n_cases"], row["n_patients"]) == (30, 30)


def test_visits_of_a_patient_count_once():
    # By definition: five identical visits per patient carry the information of one.
    x, y = pair(1, 20)
    patients = [i // 5 for i in range(100)]
    alone = compare_models(metrics({"one": x, "two": y})).iloc[0]
    repeated = compare_models(metrics({"one": np.repeat(x, 5), "two": np.repeat(y, 5)}, patients=patients)).iloc[0]
    assert repeated["p"] == pytest.approx(alone["p"])
    assert repeated["difference"] == pytest.approx(alone["difference"])
    assert (repeated["n_cases"], repeated["n_patients"]) == (100, 20)


def test_cases_without_a_value_and_few_patients():
    x, y = pair(2, 6)
    x[0] = np.nan
    row = compare_models(metrics({"one": x, "two": y})).iloc[0]
    assert (row["n_cases"], row["difference"]) == (5, pytest.approx((x - y)[1:].mean()))
    x[1] = np.nan
    assert np.isnan(compare_models(metrics({"one": x, "two": y})).iloc[0]["p"])
    same = compare_models(metrics({"one": y, "two": y})).iloc[0]
    assert (same["p"], same["difference"]) == (1, 0)


def test_holm_against_statsmodels():
    p = pd.Series([0.01, np.nan, 0.04, 0.03, 0.2])
    expected = multipletests(p.dropna(), method="holm")[1]
    assert holm(p).dropna().tolist() == pytest.approx(expected.tolist())
    assert holm(p).isna().tolist() == p.isna().tolist()


def test_ranks_by_hand():
    # By hand: dice ranks (1, 2, 3), (2, 1, 3) and a tie for the first place; lfpr is better when small.
    dice = {"a": [0.9, 0.5, 0.7], "b": [0.8, 0.6, 0.7], "c": [0.1, 0.2, np.nan]}
    lfpr = {"a": [0.1, 0.1, 0.1], "b": [0.2, 0.2, 0.2], "c": [0.3, 0.3, 0.3]}
    table = rank_models(pd.concat([metrics(dice), metrics(lfpr, "lfpr")]))
    assert list(table.columns) == RANKING.names
    ranks = table.set_index(["metric", "rater"])["mean_rank"]
    assert ranks["dice"].to_dict() == pytest.approx({"a": 1.5, "b": 1.5, "c": 3})
    assert ranks["lfpr"].to_dict() == {"a": 1, "b": 2, "c": 3}
    assert ranks["all"].to_dict() == pytest.approx({"a": 1.25, "b": 1.75, "c": 3})
    places = table[table["metric"] == "all"].set_index("rater")["place"]
    assert places.to_dict() == {"a": 1, "b": 2, "c": 3}
