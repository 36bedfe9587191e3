"""Oracle: `p.adjust` of R (`repeated_measures.R`), and the stars that Wahlig et al. print."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.method_families import COLUMNS, method_comparisons, method_means
from tests.statistics.test_repeated_measures import METRICS, SCORES, R


@pytest.fixture(scope="module")
def compared():
    return method_comparisons(SCORES)


@pytest.mark.parametrize("family", ["anova", "arms", "default", "grader"])
@pytest.mark.parametrize("metric", METRICS)
def test_families_are_those_of_r(compared, metric, family):
    found, expected = (t[(t["metric"] == metric) & (t["family"] == family)] for t in (compared, R))
    assert (found["first"].tolist(), found["second"].tolist()) == (
        expected["first"].fillna("").tolist(), expected["second"].fillna("").tolist()
    )  # fmt: skip
    for name in ("statistic", "df", "p", "p_bonferroni", "p_holm", "p_welch", "p_rank"):
        assert found[name].to_numpy() == pytest.approx(expected[name].to_numpy(), rel=1e-8, nan_ok=True), name
    assert found["p_mixed"].to_numpy() == pytest.approx(expected["p_mixed"].to_numpy(), rel=1e-5, nan_ok=True)
    # the families: 2 K with the default model, 2 K with the second grader, K for the arms
    assert set(found["comparisons"]) == {{"anova": 1, "arms": 3}.get(family, 6)}


def test_means_and_standard_errors_are_those_of_the_scores():
    found = method_means(SCORES)
    assert len(found) == 16
    row = found[(found["metric"] == "ppv") & (found["arm"] == "DN") & (found["size"] == 10)].iloc[0]
    values = SCORES[(SCORES["metric"] == "ppv") & (SCORES["arm"] == "DN") & (SCORES["size"] == 10)]["value"].dropna()
    assert (row["mean"], row["se"]) == pytest.approx((np.mean(values), np.std(values, ddof=1) / len(values) ** 0.5))
    assert (row["n"], row["n_undefined"]) == (16, 2)
    assert found.loc[found["arm"] == "default", "size"].isna().all()


def scores_with(p, n=60):
    """Two columns of n studies whose paired t test has this p value."""
    from scipy import stats

    gaps = np.resize([1.0, -1.0, 0.5, -0.5], n)
    t = stats.t.isf(p / 2, n - 1)
    gaps = gaps - gaps.mean() + t * gaps.std(ddof=1) / n**0.5
    base = np.linspace(0.2, 0.6, n)
    return base + gaps / 50, base


# FLAIR and new lesions have K = 5, enhancement K = 3; p as printed, and whether it has a star
STARS = [
    (5, 0.010, 0.0002, True),  # new, sensitivity, 40 studies: printed .010
    (5, 0.014, 0.0, False),
    (5, 0.003, 0.0, True),  # new, sensitivity, 20 studies
    (5, 0.001, 0.0, True),  # FLAIR, sensitivity, 10 studies
    (5, 0.614, 0.0, False),  # FLAIR, sensitivity, 50 studies
    (5, 0.437, 0.0, False),  # new, sensitivity, 30 studies
    (5, 0.002, 0.0, True),  # new, PPV, 30 studies
    (3, 0.001, 0.0, True),  # enhancement, 20 studies, both
]


@pytest.mark.parametrize(("sizes", "printed", "below", "starred"), STARS)
def test_stars_between_the_arms_follow_from_the_printed_p(sizes, printed, below, starred):
    # .010 is printed for anything from .0095 to .0105, and .05 / 5 lies inside: its star says that it was below.
    planned = [10 * k for k in range(1, sizes + 1)]
    ft, dn = scores_with(printed - below)
    rows = [("new", "ppv", arm, 10, s, v) for arm, values in (("FT", ft), ("DN", dn)) for s, v in enumerate(values)]
    found = method_comparisons(pd.DataFrame(rows, columns=COLUMNS), sizes=planned)
    first = found[found["first"] == "FT 10"].iloc[0]
    assert first["p"] == pytest.approx(printed - below, rel=1e-6)
    assert (bool(first["starred"]), first["comparisons"]) == (starred, sizes)
    # what was planned and not scored counts, and says so
    others = found[(found["family"] == "arms") & (found["first"] != "FT 10")]
    assert len(others) == sizes - 1
    assert set(others["note"]) == {"expected at least 2 studies with both values, found 0"}


@pytest.mark.parametrize(("p", "starred"), [(0.005 - 0.0001, True), (0.006, False)])
def test_stars_against_the_default_model_are_of_two_comparisons_per_size(p, starred):
    # 10 studies against 60 of five sizes and two arms: .005 has a star, .006 none (.05 / 10)
    from scipy import stats

    base, few = np.resize([0.1, 0.2, 0.3, 0.4], 60), np.resize([0.1, 0.2, 0.3, 0.4, 0.25], 10)
    se = (((59 * base.var(ddof=1)) + 9 * few.var(ddof=1)) / 68 * (1 / 60 + 1 / 10)) ** 0.5
    few = few - few.mean() + base.mean() - stats.t.isf(p / 2, 68) * se
    rows = [("flair", "ppv", arm, k, s, v) for arm in ("FT", "DN") for k in range(1, 6) for s, v in enumerate(base)]
    rows += [("flair", "ppv", "default", None, s, v) for s, v in enumerate(few)]
    found = method_comparisons(pd.DataFrame(rows, columns=COLUMNS))
    found = found[found["family"] == "default"]
    assert set(found["comparisons"]) == {10}
    assert found["p"].to_numpy() == pytest.approx(p, rel=1e-6)
    assert set(found["starred"]) == {starred}


def test_studies_of_one_arm_only_are_told_and_not_called_undefined():
    rows = [("flair", "ppv", "FT", 10, s, v) for s, v in enumerate([0.5, 0.7, 0.9, 0.6])]
    rows += [("flair", "ppv", "DN", 10, s, v) for s, v in enumerate([0.4, 0.5, 0.6])]
    found = method_comparisons(pd.DataFrame(rows, columns=COLUMNS)).set_index("family").loc["arms"]
    assert (found["n_first"], found["n_undefined"]) == (3, 0)
    assert found["note"] == "1 studies are scored for one of the two only"


def row(**changes):
    return {"task": "flair", "metric": "ppv", "arm": "FT", "size": 10, "study": "P1", "value": 0.5, **changes}


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([row(arm="ft")], r"arm: expected FT, DN, default, grader, found \['ft'\]"),
        ([row(size=None)], "size: expected a whole number of training studies"),
        ([row(size=10.5)], "size: expected a whole number of training studies"),
        ([row(size=0)], "size: expected a whole number of training studies"),
        ([row(arm="default")], "size: expected blank for default and grader"),
        ([row(), row(value=0.6)], "1 scores stand twice, the first is flair ppv FT 10 of study P1"),
        ([row(value=float("inf"))], "value: 1 of 1 are infinite"),
        ([row(value="high")], "value: expected numbers"),
        ([row(study=None)], "study: blank in 1 rows"),
    ],
)
def test_tables_that_are_wrong_are_refused(rows, what):
    with pytest.raises(StatisticsError, match=what):
        method_means(pd.DataFrame(rows))


def test_missing_columns_sizes_and_levels_are_refused():
    with pytest.raises(StatisticsError, match="expected column 'study'"):
        method_means(SCORES.drop(columns="study"))
    with pytest.raises(StatisticsError, match=r"sizes: .* found none of \[30\]"):
        method_comparisons(SCORES, sizes=[10, 20])
    with pytest.raises(OptionError, match="alpha: expected a number between 0 and 1, found 5"):
        method_comparisons(SCORES, alpha=5)
