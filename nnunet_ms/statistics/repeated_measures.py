"""The same studies, scored under several methods: repeated-measures ANOVA, paired and unpaired t.

What Wahlig et al. [1]_ compare training sizes with; `method_families` puts their families of comparisons together. The
unpaired test is theirs for methods that were scored on fewer studies. Welch's test, the rank tests and the mixed model
(`mixed_means`) stand beside and are ours.

References
----------
.. [1] Wahlig SG et al. Front Neurosci 17:1188336, 2023. doi:10.3389/fnins.2023.1188336
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats
from statsmodels.stats.anova import AnovaRM

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, level, refuse

NAN = float("nan")


@dataclass(frozen=True)
class RepeatedAnova:
    """One-way repeated-measures ANOVA over k methods; studies without a value of every method are left out.

    `epsilon` is Greenhouse and Geisser's, and `p_epsilon` the p value with both degrees of freedom multiplied by it:
    `p` holds where all differences between methods have one variance.
    """

    f: float
    df_methods: float
    df_error: float
    p: float
    epsilon: float
    p_epsilon: float
    n_studies: int
    n_left_out: int
    problem: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two methods: `difference` = first - second with its interval, t test, and what stands beside it.

    `welch_p`: Welch's test, of unpaired methods only. `rank_p`: Wilcoxon's signed ranks of paired methods, the
    rank-sum test of others; normal approximation with continuity correction, zeros left out. `n_undefined`: values, or
    pairs, that were left out because one is undefined.
    """

    paired: bool
    n_first: int
    n_second: int
    n_undefined: int
    mean_first: float
    mean_second: float
    difference: float
    low: float
    high: float
    t: float
    df: float
    p: float
    welch_df: float
    welch_p: float
    rank_p: float
    problem: str = ""


@dataclass(frozen=True)
class Summary:
    """A printed mean with its standard error over n studies."""

    mean: float
    se: float
    n: int


@dataclass(frozen=True)
class Contrast:
    """A difference of two means with its standard error and t test; `problem` says why there is none."""

    difference: float
    se: float
    df: float
    t: float
    p: float
    problem: str = ""


def repeated_anova(values: npt.ArrayLike) -> RepeatedAnova:
    """Ask whether k methods, each scored on the same studies, have one mean [1]_.

    Parameters
    ----------
    values : (n, k) array
        One row per study, one column per method; NaN where a value is undefined.

    Returns
    -------
    RepeatedAnova
        With fewer than two complete studies or two methods, or without any variation, `problem` says so.

    Raises
    ------
    StatisticsError
        If a value is infinite or no number.

    References
    ----------
    .. [1] Greenhouse SW, Geisser S. Psychometrika 24:95-112, 1959. doi:10.1007/BF02289823

    Examples
    --------
    With two methods F is the square of the paired t, here (0.2 / (0.1 / sqrt(3)))^2.

    >>> found = repeated_anova([[0.5, 0.4], [0.7, 0.5], [0.9, 0.6], [0.8, float("nan")]])
    >>> round(found.f, 6), found.n_studies, found.n_left_out
    (12.0, 3, 1)
    """
    table = as_numbers(values, "values", 2)
    refuse(_infinite(table))
    complete = table[~np.isnan(table).any(axis=1)]
    (n, k), left_out = complete.shape, len(table) - len(complete)
    problem = ""
    if n < 2 or k < 2:
        problem = f"expected at least 2 methods and 2 studies with a value of each, found {k} and {n}"
    elif np.ptp(_residuals(complete)) <= 1e-12 * np.abs(complete).max():
        problem = "the methods differ by the same in every study"
    if problem:
        return RepeatedAnova(*(NAN,) * 6, n, left_out, problem)
    rows = pd.DataFrame(complete).rename_axis("study").reset_index().melt("study", var_name="method")
    found = AnovaRM(rows, "value", "study", within=["method"]).fit().anova_table.iloc[0]
    f, df, df_error = (float(found[name]) for name in ("F Value", "Num DF", "Den DF"))
    epsilon = _epsilon(complete)
    p_epsilon = float(scipy.stats.f.sf(f, epsilon * df, epsilon * df_error))
    return RepeatedAnova(f, df, df_error, float(found["Pr > F"]), epsilon, p_epsilon, n, left_out)


def _residuals(table: Floats) -> Floats:
    """Return what is left of each value beside its study and its method."""
    by_study, by_method = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    return np.asarray(table - by_study - by_method + table.mean())


def _epsilon(table: Floats) -> float:
    """Greenhouse and Geisser's epsilon: (tr S)^2 / ((k - 1) tr S^2), S the doubly centred covariance of the methods."""
    k = table.shape[1]
    centre = np.eye(k) - 1 / k
    s = centre @ np.atleast_2d(np.cov(table, rowvar=False)) @ centre
    return float(np.trace(s) ** 2 / ((k - 1) * np.trace(s @ s)))


def _infinite(values: Floats) -> str:
    found = int(np.isinf(values).sum())
    return f"{found} of {values.size} values are infinite" if found else ""


def paired_comparison(first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = 0.95) -> Comparison:
    """Compare two methods on the same studies: paired t, Wilcoxon's signed ranks beside.

    Parameters
    ----------
    first, second : (n,) arrays
        Values of the same studies in the same order; a pair with NaN is left out and counted.
    confidence : float, optional
        Level of the interval of the mean difference.

    Returns
    -------
    Comparison
        With fewer than two pairs, or where all differences are equal, `problem` says so.

    Raises
    ------
    OptionError, StatisticsError
        If the level is not between 0 and 1, lengths differ, or a value is infinite or no number.

    Examples
    --------
    R: `t.test(c(.5, .7, .9), c(.4, .5, .6), paired = TRUE)` gives t = 3.4641, df = 2, p = 0.07418.

    >>> found = paired_comparison([0.5, 0.7, 0.9], [0.4, 0.5, 0.6])
    >>> round(found.t, 4), found.df, round(found.p, 5)
    (3.4641, 2.0, 0.07418)
    """
    level(confidence)
    a, b = _values(first=first, second=second)
    equally_long(first=a, second=b)
    known = ~np.isnan(a) & ~np.isnan(b)
    a, b, undefined = a[known], b[known], int((~known).sum())
    gaps = a - b
    problem = ""
    if len(gaps) < 2:
        problem = f"expected at least 2 studies with both values, found {len(gaps)}"
    elif np.ptp(gaps) <= 1e-12 * max(np.abs(a).max(), np.abs(b).max()):
        problem = "all differences are equal"
    counts = (True, len(a), len(b), undefined)
    means = (_mean(a), _mean(b), _mean(gaps))
    if problem:
        return Comparison(*counts, *means, *(NAN,) * 8, problem)
    test = scipy.stats.ttest_rel(a, b)
    interval = test.confidence_interval(confidence)
    t, df, p = float(test.statistic), float(test.df), float(test.pvalue)
    ranks = scipy.stats.wilcoxon(gaps, correction=True, method="asymptotic")
    return Comparison(
        *counts, *means, float(interval.low), float(interval.high), t, df, p, NAN, NAN, float(ranks.pvalue)
    )


def unpaired_comparison(first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = 0.95) -> Comparison:
    """Compare two methods scored on different numbers of studies: t with one variance, Welch's test beside.

    Parameters
    ----------
    first, second : (n,) and (m,) arrays
        NaN is left out and counted.
    confidence : float, optional
        Level of the interval of the difference of means, with one variance.

    Returns
    -------
    Comparison
        With fewer than two values in one of them, or where no value differs within both, `problem` says so.

    Raises
    ------
    OptionError, StatisticsError
        If the level is not between 0 and 1, or a value is infinite or no number.

    Examples
    --------
    R: `t.test(c(1, 2, 3, 4), c(3, 5), var.equal = TRUE)`: t = -1.3093, df = 4, p-value = 0.2606.

    >>> found = unpaired_comparison([1, 2, 3, 4], [3, 5])
    >>> round(found.t, 4), found.df, round(found.p, 4)
    (-1.3093, 4.0, 0.2606)
    """
    level(confidence)
    a, b = _values(first=first, second=second)
    undefined = int(np.isnan(a).sum() + np.isnan(b).sum())
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    problem = ""
    if min(len(a), len(b)) < 2:
        problem = f"expected at least 2 values of each, found {len(a)} and {len(b)}"
    elif np.ptp(a) == 0 and np.ptp(b) == 0:
        problem = "no value differs from the others of its method"
    counts = (False, len(a), len(b), undefined)
    means = (_mean(a), _mean(b), _mean(a) - _mean(b))
    if problem:
        return Comparison(*counts, *means, *(NAN,) * 8, problem)
    with warnings.catch_warnings():  # one of the two may hold equal values: its variance is 0, and meant so
        warnings.filterwarnings("ignore", message="Precision loss occurred", category=RuntimeWarning)
        test, welch = scipy.stats.ttest_ind(a, b), scipy.stats.ttest_ind(a, b, equal_var=False)
    interval = test.confidence_interval(confidence)
    ranks = scipy.stats.mannwhitneyu(a, b, use_continuity=True, method="asymptotic")
    numbers = [test.statistic, test.df, test.pvalue, welch.df, welch.pvalue, ranks.pvalue]
    t, df, p, welch_df, welch_p, rank_p = map(float, numbers)
    return Comparison(*counts, *means, float(interval.low), float(interval.high), t, df, p, welch_df, welch_p, rank_p)


def _values(**arrays: npt.ArrayLike) -> list[Floats]:
    """Return arrays as numbers; infinite ones are refused, NaN stays."""
    found = [as_numbers(values, name) for name, values in arrays.items()]
    for values in found:
        refuse(_infinite(values))
    return found


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else NAN


def unpaired_summaries(first: Summary, second: Summary) -> Contrast:
    """Unpaired t test with one variance, from printed means and standard errors.

    Raises
    ------
    StatisticsError
        If a standard error is not positive or an n is below 2.

    Examples
    --------
    Wahlig et al., FLAIR: PPV of the second grader (10 studies) and of a model from 10 studies, trained de novo (60).

    >>> unpaired_summaries(Summary(0.32, 0.02, 60), Summary(0.74, 0.05, 10)).p < 0.001
    True
    """
    _check_summaries(first, second)
    n, m = first.n, second.n
    pooled = (first.se**2 * n * (n - 1) + second.se**2 * m * (m - 1)) / (n + m - 2)
    return _t_test(first.mean - second.mean, float(np.sqrt(pooled * (1 / n + 1 / m))), n + m - 2)


def paired_summaries(first: Summary, second: Summary, correlation: float) -> Contrast:
    """Paired t test from printed means and standard errors, for a correlation between the methods.

    Papers rarely print the correlation; -1 gives the largest p value that the printed numbers allow.

    Raises
    ------
    OptionError, StatisticsError
        If the correlation is not from -1 to 1, a standard error is not positive, or the numbers of studies differ.

    Examples
    --------
    Wahlig et al., FLAIR, 10 studies: PPV .66 +- .02 and .32 +- .02, p < .001: whatever the correlation.

    >>> paired_summaries(Summary(0.66, 0.02, 60), Summary(0.32, 0.02, 60), correlation=-1.0).p < 0.001
    True
    """
    _check_summaries(first, second)
    if first.n != second.n:
        raise StatisticsError(f"n: expected one number of studies, found {first.n} and {second.n}. Use the unpaired t.")
    if not -1 <= correlation <= 1:
        raise StatisticsError(
            f"correlation: expected a number from -1 to 1, found {correlation}. -1 is the worst case."
        )
    variance = first.se**2 + second.se**2 - 2 * correlation * first.se * second.se
    return _t_test(first.mean - second.mean, float(np.sqrt(max(variance, 0.0))), first.n - 1)


def largest_standard_error(mean: float, n: int) -> float:
    """Largest standard error that n scores from 0 to 1 with this mean can have.

    Their variance is largest where every score is 0 or 1 (Bhatia and Davis, Am Math Mon 107:353-357, 2000): a test with
    this standard error bounds one whose standard error is not printed.

    Raises
    ------
    StatisticsError
        If the mean is not from 0 to 1 or n is below 2.

    Examples
    --------
    >>> scores = np.array([1, 1, 1, 0, 0.0])
    >>> bool(np.isclose(largest_standard_error(0.6, 5), scores.std(ddof=1) / 5**0.5))
    True
    """
    if not (0 <= mean <= 1 and n >= 2):
        raise StatisticsError(
            f"expected a mean from 0 to 1 of at least 2 scores, found mean {mean} of {n}. Correct the row."
        )
    return float(np.sqrt(mean * (1 - mean) / (n - 1)))


def _check_summaries(*summaries: Summary) -> None:
    for one in summaries:
        if not (one.se > 0 and one.n >= 2):
            raise StatisticsError(
                f"{one}: expected a standard error above 0 and n of at least 2. Check what is printed."
            )


def _t_test(difference: float, se: float, df: float) -> Contrast:
    if se == 0:
        return Contrast(difference, se, df, NAN, NAN, "the difference has no variance")
    return Contrast(difference, se, df, difference / se, 2 * float(scipy.stats.t.sf(abs(difference / se), df)))
