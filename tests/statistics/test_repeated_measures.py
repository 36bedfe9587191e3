"""Oracle: R 4.2.2 (`repeated_measures.R`), definitions, and what Wahlig et al. print."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.repeated_measures import (
    Summary,
    paired_comparison,
    paired_summaries,
    repeated_anova,
    unpaired_comparison,
    unpaired_summaries,
)

HERE = Path(__file__).parent
SCORES = pd.read_csv(HERE / "repeated_measures_scores.csv")
R = pd.read_csv(HERE / "repeated_measures.csv", skipinitialspace=True)
METRICS = ("sensitivity", "ppv")


def scores_of(metric, method):
    arm, _, size = method.partition(" ")
    here = SCORES[(SCORES["metric"] == metric) & (SCORES["arm"] == arm)]
    return (here[here["size"] == int(size)] if size else here).set_index("study")["value"]


@pytest.mark.parametrize("metric", METRICS)
def test_anova_and_greenhouse_geisser_are_those_of_r(metric):
    row = R[(R["metric"] == metric) & (R["family"] == "anova")].iloc[0]
    models = [f"{arm} {size}" for size, arm in product((10, 20, 30), ("FT", "DN"))]
    found = repeated_anova(np.column_stack([scores_of(metric, model) for model in models]))
    assert (found.f, found.df_methods, found.df_error) == pytest.approx((row.statistic, row.df, row.df_error), rel=1e-9)
    assert (found.p, found.p_epsilon) == pytest.approx((row.p, row.p_epsilon), rel=1e-8)
    assert (found.n_studies, found.n_left_out) == (row.n, 18 - row.n)


@pytest.mark.parametrize(
    "row", list(R[R["family"] != "anova"].itertuples()), ids=lambda r: f"{r.metric} {r.first} {r.second}"
)
def test_comparisons_are_those_of_r(row):
    compare = paired_comparison if row.family == "arms" else unpaired_comparison
    found = compare(scores_of(row.metric, row.first), scores_of(row.metric, row.second))
    values = (found.n_first, found.difference, found.low, found.high, found.t, found.df, found.p, found.rank_p)
    expected = (row.n, row.difference, row.low, row.high, row.statistic, row.df, row.p, row.p_rank)
    assert values == pytest.approx(expected, rel=1e-8, abs=1e-10)
    assert found.welch_p == pytest.approx(row.p_welch, rel=1e-8, nan_ok=True)


def test_a_level_moves_the_interval_alone():
    wide, narrow = (unpaired_comparison([1, 2, 4], [2, 5, 9, 4], level) for level in (0.95, 0.9))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wide.p == narrow.p


def test_undefined_values_are_left_out_and_counted():
    nan = float("nan")
    pairs = paired_comparison([0.5, nan, 0.7, 0.9, nan], [0.4, 0.5, 0.5, 0.6, nan])
    assert (pairs.n_first, pairs.n_second, pairs.n_undefined) == (3, 3, 2)
    assert pairs.p == paired_comparison([0.5, 0.7, 0.9], [0.4, 0.5, 0.6]).p
    others = unpaired_comparison([0.5, nan, 0.7], [0.4, 0.5, 0.5, nan])
    assert (others.n_first, others.n_second, others.n_undefined) == (2, 3, 2)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ([0.5], [0.4], "expected at least 2 studies with both values, found 1"),
        ([], [], "found 0"),
        ([0.5, 0.6, 0.7], [0.4, 0.5, 0.6], "all differences are equal"),
        ([0.5, float("nan")], [0.4, 0.5], "found 1"),
    ],
)
def test_pairs_that_cannot_be_compared_say_why(first, second, why):
    found = paired_comparison(first, second)
    assert why in found.problem
    assert np.isnan([found.t, found.p, found.rank_p]).all()


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ([0.5], [0.4, 0.6], "expected at least 2 values of each, found 1 and 2"),
        ([0.5, 0.5], [0.4, 0.4], "no value differs"),
        ([float("nan")] * 3, [0.4, 0.6], "found 0 and 2"),
    ],
)
def test_groups_that_cannot_be_compared_say_why(first, second, why):
    found = unpaired_comparison(first, second)
    assert why in found.problem
    assert np.isnan(found.p)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([[0.5, 0.4]], "found 2 and 1"),
        ([[0.5], [0.4]], "found 1 and 2"),
        ([[0.5, 0.4], [0.7, 0.6], [0.2, 0.1]], "differ by the same in every study"),
        (np.empty((0, 3)), "found 3 and 0"),
    ],
)
def test_an_anova_that_cannot_be_done_says_why(values, why):
    found = repeated_anova(values)
    assert why in found.problem
    assert np.isnan(found.p)


def test_wrong_arguments_are_refused():
    with pytest.raises(StatisticsError, match="expected equal lengths, found 2 in first, 3 in second"):
        paired_comparison([1, 2], [1, 2, 3])
    with pytest.raises(OptionError, match=r"confidence.*Did you mean 0\.95"):
        unpaired_comparison([1, 2], [1, 2, 3], 95)
    with pytest.raises(StatisticsError, match="1 of 2 values are infinite"):
        unpaired_comparison([1, float("inf")], [1, 2, 3])
    with pytest.raises(StatisticsError, match="correlation: expected a number from -1 to 1"):
        paired_summaries(Summary(0.5, 0.1, 9), Summary(0.4, 0.1, 9), 1.2)
    with pytest.raises(StatisticsError, match=r"found 9 and 10\. Use the unpaired t"):
        paired_summaries(Summary(0.5, 0.1, 9), Summary(0.4, 0.1, 10), 0.0)
    with pytest.raises(StatisticsError, match="standard error above 0"):
        unpaired_summaries(Summary(0.5, 0.0, 9), Summary(0.4, 0.1, 10))


def test_summaries_give_what_the_values_give():
    a, b = scores_of("sensitivity", "FT 20"), scores_of("sensitivity", "default")
    printed = [Summary(float(x.mean()), float(x.sem()), len(x)) for x in (a, b)]
    whole, found = unpaired_comparison(a, b), unpaired_summaries(*printed)
    assert (found.t, found.df, found.p) == pytest.approx((whole.t, whole.df, whole.p), rel=1e-10)
    c = scores_of("sensitivity", "DN 20")
    whole = paired_comparison(a, c)
    found = paired_summaries(
        printed[0], Summary(float(c.mean()), float(c.sem()), len(c)), float(np.corrcoef(a, c)[0, 1])
    )
    assert (found.t, found.df, found.p) == pytest.approx((whole.t, whole.df, whole.p), rel=1e-9)


# Wahlig et al. 2023, abstract: fine-tuned, de novo (mean, standard error), studies, training sizes K of the task,
# printed p (None: "< .001").
PRINTED = {
    "flair 10 sensitivity": ((0.55, 0.02), (0.49, 0.02), 60, 5, 0.001),
    "flair 10 ppv": ((0.66, 0.02), (0.32, 0.02), 60, 5, None),
    "new 30 sensitivity": ((0.49, 0.05), (0.51, 0.04), 60, 5, 0.437),
    "new 30 ppv": ((0.60, 0.05), (0.43, 0.04), 60, 5, 0.002),
    "enhancing 20 sensitivity": ((0.74, 0.06), (0.44, 0.09), 40, 3, 0.001),
    "enhancing 20 ppv": ((0.69, 0.05), (0.37, 0.05), 40, 3, 0.001),
}
ROUNDING = 0.0049  # of means and standard errors, printed with two decimals


def p_range(fine_tuned, de_novo, n, correlation):
    """Smallest and largest p that two printed rows allow, over their rounding."""
    corners = product((-ROUNDING, ROUNDING), repeat=4)
    found = [
        paired_summaries(
            Summary(fine_tuned[0] + a, fine_tuned[1] + b, n), Summary(de_novo[0] + c, de_novo[1] + d, n), correlation
        ).p
        for a, b, c, d in corners
    ]
    equal = abs(fine_tuned[0] - de_novo[0]) <= 2 * ROUNDING
    return min(found), 1.0 if equal else max(found)


def correlations_that_give(name):
    fine_tuned, de_novo, n, _, printed = PRINTED[name]
    ranges = {round(r, 2): p_range(fine_tuned, de_novo, n, r) for r in np.linspace(-1, 0.9, 39)}
    return [r for r, (low, high) in ranges.items() if low <= printed + 0.0005 and high >= printed - 0.0005]


@pytest.mark.parametrize("name", ["flair 10 ppv", "enhancing 20 ppv"])
def test_stars_that_no_correlation_could_take_away(name):
    # The paper does not print how the arms correlate. For these two rows the worst case, -1, still has its star.
    fine_tuned, de_novo, n, sizes, _ = PRINTED[name]
    assert paired_summaries(Summary(*fine_tuned, n), Summary(*de_novo, n), -1.0).p < 0.05 / sizes


@pytest.mark.parametrize(
    "name", ["flair 10 sensitivity", "new 30 sensitivity", "new 30 ppv", "enhancing 20 sensitivity"]
)
def test_printed_p_values_are_those_of_a_paired_t_test_with_some_correlation(name):
    # Honest limit: mean and standard error give the paired p up to the correlation between the arms. Each of these
    # printed p values is reached with one from 0 on, as scores of the same studies have.
    assert max(correlations_that_give(name)) >= 0


def test_one_printed_p_is_larger_than_its_row_allows():
    # Enhancement, PPV, 20 studies: .69 +- .05 and .37 +- .05 on 40 pairs give p < .0005 with any correlation from 0 on.
    # The printed .001 needs one below 0, or fewer pairs (a PPV is undefined where nothing was predicted). Not resolved.
    assert max(correlations_that_give("enhancing 20 ppv")) < 0


def test_the_second_grader_against_models_from_ten_studies():
    # FLAIR: grader 2 on 10 studies .63 +- .06 and .74 +- .05; models on 60. The PPV of the de novo model is lower
    # beyond .05 / 10, the fine-tuned model differs in neither; the sensitivity of de novo hangs on the rounding.
    grader = {"sensitivity": (0.63, 0.06), "ppv": (0.74, 0.05)}
    models = {("FT", "sensitivity"): (0.55, 0.02), ("DN", "sensitivity"): (0.49, 0.02), ("FT", "ppv"): (0.66, 0.02)}
    models[("DN", "ppv")] = (0.32, 0.02)
    starred = {}
    for (arm, metric), (mean, se) in models.items():
        for a, b in product((-ROUNDING, ROUNDING), repeat=2):
            one, other = Summary(mean, se + a, 60), Summary(grader[metric][0], grader[metric][1] + b, 10)
            found = unpaired_summaries(one, other)
            t, p = stats.ttest_ind_from_stats(one.mean, one.se * 60**0.5, 60, other.mean, other.se * 10**0.5, 10)
            assert (found.t, found.p) == pytest.approx((t, p), rel=1e-10)
            starred.setdefault((arm, metric), set()).add(found.p < 0.05 / 10)
    assert starred == {
        ("FT", "sensitivity"): {False},
        ("FT", "ppv"): {False},
        ("DN", "sensitivity"): {False, True},
        ("DN", "ppv"): {True},
    }


def test_the_default_model_of_enhancement_is_as_sensitive_as_fine_tuned():
    # Table 6: default .73 +- .07 (10 studies), fine-tuned from 20 studies .74 +- .06 (40): far from .05 / 6.
    assert unpaired_summaries(Summary(0.74, 0.06, 40), Summary(0.73, 0.07, 10)).p > 0.9
