"""Tables of a learning curve: our numbers against plain arithmetic and scipy, the paper's in their own columns."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from nnunet_ms.learning.cli import _summary
from nnunet_ms.learning.curve import LearningCurve
from nnunet_ms.learning.curve_figure import curve_figure
from nnunet_ms.learning.curve_tables import COMPARISONS, CURVE, comparison_table, curve_table
from nnunet_ms.learning.scoring import SCORES
from nnunet_ms.tables import read_table, write_table
from tests.learning.made_up import scores, tables

METRICS = ("sensitivity", "ppv")


def values(table, metric, arm, size=None):
    rows = table[(table["metric"] == metric) & (table["arm"] == arm)]
    rows = rows[rows["size"].isna() if size is None else rows["size"] == size]
    return rows["value"].to_numpy()


def test_means_are_those_of_the_studies_and_the_papers_stand_beside():
    table, means, _ = tables()
    found = means.set_index(["metric", "arm", "size"])
    ours = values(table, "ppv", "FT", 10)
    row = found.loc[("ppv", "FT", 10)]
    assert row["mean"] == pytest.approx(sum(ours) / 12)
    assert row["se"] == pytest.approx(np.std(ours, ddof=1) / 12**0.5)
    assert (row["published_mean"], row["data_note"]) == (0.66, "made up")
    assert row["mean"] != row["published_mean"]
    assert found.loc[("sensitivity", "default", pd.NA), "published_mean"].item() == 0.38


@pytest.mark.parametrize("undefined", [(), (("DN", 10, 3),), (("DN", 10, 3), ("DN", 10, 7), ("FT", 20, 0))], ids=len)
def test_undefined_ppvs_are_in_no_mean_and_counted(undefined):
    table = scores(undefined=undefined)
    found = curve_table(table, 12, 4)
    for arm in ("FT", "DN"):
        for size in (10, 20):
            ours = values(table, "ppv", arm, size)
            row = found[(found["metric"] == "ppv") & (found["arm"] == arm) & (found["size"] == size)].iloc[0]
            blank = sum((a, s) == (arm, size) for a, s, _ in undefined)
            assert (row["n"], row["n_undefined"], row["n_missing"]) == (12 - blank, blank, 0)
            assert row["mean"] == pytest.approx(ours[~np.isnan(ours)].mean())


def test_studies_that_were_not_scored_are_counted():
    table = scores()
    gone = (table["arm"] == "FT") & (table["size"] == 20) & (table["subset"] == 1)
    found = curve_table(table[~gone], 12, 4)
    missing = found.loc[found["n_missing"] > 0, ["metric", "arm", "size", "n_missing"]].to_numpy().tolist()
    assert missing == [["sensitivity", "FT", 20, 4], ["ppv", "FT", 20, 4]]


@pytest.mark.parametrize("size", [2, 15])
def test_where_nothing_is_known_the_numbers_are_blank_and_can_be_printed_and_drawn(size):
    rows = [
        ("new", m, "DN", size, f"S{i}", f"P{i}", 0, 0.0 if m == "sensitivity" else np.nan)
        for m in METRICS
        for i in "ab"
    ]
    table = pd.DataFrame(rows, columns=SCORES.names).astype({"size": "Int64"})
    means, comparisons = curve_table(table, 2, 2), comparison_table(table, [size])
    assert means["published_mean"].dtype == np.float64
    assert means["published_mean"].isna().all()
    assert means["mean"].isna().tolist() == [False, True]
    assert means["n_undefined"].tolist() == [0, 2]
    lines = _summary(LearningCurve(table, means, comparisons, pd.DataFrame({"done": [True]}), [], Path("out")))
    assert lines.splitlines()[2].split() == ["ppv", "DN", str(size), "-", "-", "0", "2", "-"]
    assert curve_figure(means, comparisons, "nothing found").axes


def test_tests_are_the_papers_families():
    table, _, found = tables()
    assert found.groupby(["metric", "family"])["comparisons"].unique().map(list).to_dict() == {
        (metric, family): [count]
        for metric in ("sensitivity", "ppv")
        for family, count in {"anova": 1, "arms": 2, "default": 4, "grader": 4}.items()
    }
    row = found[(found["metric"] == "ppv") & (found["first"] == "FT 10") & (found["family"] == "arms")].iloc[0]
    expected = scipy.stats.ttest_rel(values(table, "ppv", "FT", 10), values(table, "ppv", "DN", 10))
    assert (row["statistic"], row["p"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert (row["starred"], row["published_p"]) == (True, "<0.001")
    row = found[(found["metric"] == "ppv") & (found["first"] == "DN 20") & (found["family"] == "default")].iloc[0]
    expected = scipy.stats.ttest_ind(values(table, "ppv", "DN", 20), values(table, "ppv", "default"))
    assert row["p_bonferroni"] == pytest.approx(min(4 * expected.pvalue, 1))


def test_both_tables_are_read_back_as_written(tmp_path):
    _, means, comparisons = tables()
    for table, frame in {CURVE: means, COMPARISONS: comparisons}.items():
        write_table(frame, tmp_path / "table.csv")
        again = read_table(tmp_path / "table.csv", table)
        assert len(again) == len(frame)
        assert list(again) == list(frame)
