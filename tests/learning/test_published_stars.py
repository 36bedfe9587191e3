"""Stars of the paper; oracle: t tests of scipy on scores that have the printed means."""

import numpy as np
import pytest
from scipy import stats

from nnunet_ms.errors import StatisticsError
from nnunet_ms.learning.published import published_mean, published_se
from nnunet_ms.learning.published_stars import ONCE, STUDIES, largest, published_stars
from nnunet_ms.statistics.repeated_measures import largest_standard_error

FOUND = published_stars()


def row(task, metric, family, first):
    keys = {"task": task, "metric": metric, "family": family, "first": first}
    (found,) = FOUND.loc[(FOUND[list(keys)] == list(keys.values())).all(axis=1)].itertuples()
    return found


def scores(mean, n, rng):
    """Scores from 0 to 1 with this mean: as spread as can be, or less so."""
    ones = np.zeros(n)
    ones[: round(mean * n)] = 1
    share = rng.uniform(0, 0.9)
    return rng.permutation((1 - share) * ones + share * ones.mean())


@pytest.mark.parametrize(("mean", "n"), [(0.5, 10), (0.3, 10), (0.9, 40), (0.05, 60), (0.0, 2)])
def test_no_scores_have_a_larger_standard_error(mean, n):
    rng, bound = np.random.default_rng(3), largest_standard_error(mean, n)
    ones = np.r_[np.ones(round(mean * n)), np.zeros(n - round(mean * n))]
    assert stats.sem(ones) == pytest.approx(bound)
    for _ in range(200):
        drawn = rng.beta(0.4, 0.6, n)
        assert stats.sem(drawn) <= largest_standard_error(float(drawn.mean()), n) + 1e-12


def test_rounding_can_only_widen_it():
    assert largest(0.32, 60) >= max(largest_standard_error(m, 60) for m in (0.315, 0.32, 0.325))
    assert largest(0.499, 60) == pytest.approx(largest_standard_error(0.5, 60))
    assert largest(0.95, 10) == pytest.approx(largest_standard_error(0.945, 10))


@pytest.mark.parametrize(("mean", "n"), [(-0.1, 5), (1.1, 5), (0.5, 1), (float("nan"), 5)])
def test_means_that_no_scores_have_are_refused(mean, n):
    with pytest.raises(StatisticsError, match="expected a mean from 0 to 1 of at least 2 scores"):
        largest_standard_error(mean, n)


def test_every_comparison_of_the_three_tables_is_there_once():
    counts = FOUND.groupby(["task", "family"], sort=False).size().to_dict()
    # K sizes x 2 metrics between the arms; 2 K x 2 against the default model and, of one task, the second grader
    expected = {("flair", "arms"): 10, ("flair", "default"): 20, ("flair", "grader"): 20}
    expected |= {("new", "arms"): 10, ("new", "default"): 20, ("enhancing", "arms"): 6, ("enhancing", "default"): 12}
    assert counts == expected
    assert not FOUND.duplicated(["task", "metric", "family", "first"]).any()
    families = FOUND.groupby(["task", "family"])["comparisons"].unique().map(list).to_dict()
    assert families[("flair", "arms")] == [5]
    assert families[("enhancing", "default")] == [6]


CERTAIN = [
    one
    for one in FOUND[(FOUND["star"] == "yes") & (FOUND["known"] == "means")].itertuples()
    if published_se(one.task, one.metric, one.first.split()[0], int(one.first.split()[1])) is None
]


@pytest.mark.parametrize("found", CERTAIN, ids=lambda one: f"{one.task} {one.metric} {one.first} {one.second}")
def test_a_certain_star_stands_whatever_the_scores_are(found):
    rng, n = np.random.default_rng(7), STUDIES[found.task]
    arm, size = found.first.split()
    mean = published_mean(found.task, found.metric, arm, int(size))
    other = published_mean(
        found.task, found.metric, *(("DN", int(size)) if found.family == "arms" else (found.second, None))
    )
    for _ in range(100):
        if found.family == "arms":
            a, b = np.sort(scores(mean, n, rng)), np.sort(scores(other, n, rng))[::-1]  # as opposed as can be
            p = stats.ttest_rel(a, b).pvalue
        else:
            p = stats.ttest_ind(scores(mean, n, rng), scores(other, ONCE, rng)).pvalue
        assert p < 0.05 / found.comparisons


@pytest.mark.parametrize(
    ("task", "metric", "first", "star"),
    [
        ("flair", "sensitivity", "FT 10", "yes"),  # p as printed: .001
        ("flair", "ppv", "FT 10", "yes"),  # < .001
        ("flair", "sensitivity", "FT 50", "no"),  # .614
        ("new", "sensitivity", "FT 20", "yes"),  # .003, de novo higher
        ("new", "sensitivity", "FT 30", "no"),  # .437
        ("new", "sensitivity", "FT 40", "yes"),  # .010, the printed star says that it was below .05 / 5
        ("new", "ppv", "FT 30", "yes"),  # .002
        ("enhancing", "sensitivity", "FT 20", "yes"),  # .001
        ("enhancing", "ppv", "FT 20", "yes"),  # .001
    ],
)
def test_stars_of_the_printed_p_values(task, metric, first, star):
    assert (row(task, metric, "arms", first).star, row(task, metric, "arms", first).known) == (star, "p")


def test_what_cannot_be_said_is_open():
    assert row("new", "sensitivity", "arms", "FT 10").star == "open"
    assert FOUND["star"].value_counts().to_dict() == {"open": 44, "unlikely": 24, "likely": 16, "yes": 12, "no": 2}
