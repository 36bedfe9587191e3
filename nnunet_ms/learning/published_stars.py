"""Which stars of the paper's tables 3, 5 and 6 follow from what is known of them [1]_.

The means are known, the standard errors of few rows, the p values of some. What a star hangs on is bounded:

- scores lie between 0 and 1, so that no n of them with mean m have a standard error above sqrt(m (1 - m) / (n - 1))
  (`largest_standard_error`), and two methods on the same studies correlate by -1 at worst. A star that stands with
  these stands whatever the scores were;
- for the other rows the range of p is given that standard errors up to half as large again as the nearest that are
  printed, or as small as two thirds of them, and correlations from 0 to 0.8 allow.

The studies are taken to be 60 (40 for enhancing lesions) and 10; a PPV of a study in which nothing was predicted is
undefined, and how many such there were is not known.

References
----------
.. [1] Wahlig SG et al. Front Neurosci 17:1188336, 2023, tables 3, 5 and 6. doi:10.3389/fnins.2023.1188336
"""

import math
from collections.abc import Iterator
from itertools import product

import pandas as pd

from nnunet_ms.learning.published import (
    CURVES,
    PPV,
    SENSITIVITY,
    published_mean,
    published_p,
    published_se,
)
from nnunet_ms.statistics.repeated_measures import (
    Summary,
    largest_standard_error,
    paired_summaries,
    unpaired_summaries,
)

LEVEL = 0.05
STUDIES = {"flair": 60, "new": 60, "enhancing": 40}
ONCE = 10  # studies of the first subset, on which the default model and the second grader were scored
ROUNDING = 0.005  # of what is printed with two decimals
WIDER = 1.5  # how much larger, or smaller, than a printed standard error its neighbours may be
CORRELATIONS = (0.0, 0.8)
COLUMNS = (
    "task",
    "metric",
    "family",
    "first",
    "second",
    "comparisons",
    "difference",
    "p_low",
    "p_high",
    "known",
    "star",
)
Rows = Iterator[tuple[object, ...]]


def published_stars() -> pd.DataFrame:
    """Return one row per comparison of the paper's tables, and what can be said of its star.

    Returns
    -------
    DataFrame
        `known`: "p" (printed), "standard errors" of both, or "means" alone; `p_low`, `p_high`: smallest and largest p
        that what is known allows, under "means" within the plausible range; `star`: "yes" or "no" where it follows
        whatever the scores were, "likely" or "unlikely" where the whole plausible range says so, else "open".

    Examples
    --------
    >>> stars = published_stars()
    >>> len(stars), int(stars["star"].isin(["yes", "no"]).sum())
    (98, 14)
    """
    rows = [row for task in CURVES for metric in (SENSITIVITY, PPV) for row in _rows(task, metric)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(task: str, metric: str) -> Rows:
    sizes = list(CURVES[task][metric])
    for size in sizes:
        yield _arms(task, metric, size, len(sizes))
    for once in ("default", "grader"):
        if published_mean(task, metric, once, None) is None:
            continue
        for size, arm in product(sizes, ("FT", "DN")):
            yield _against(task, metric, arm, size, once, 2 * len(sizes))


def _arms(task: str, metric: str, size: int, comparisons: int) -> tuple[object, ...]:
    fine_tuned, de_novo = (_mean(task, metric, arm, size) for arm in ("FT", "DN"))
    keys = (task, metric, "arms", f"FT {size}", f"DN {size}", comparisons, round(fine_tuned - de_novo, 2))
    n, limit = STUDIES[task], LEVEL / comparisons
    printed = published_p(task, metric, size)
    if printed:
        half = 0.0005
        low, high = (0.0, 0.001) if printed.startswith("<") else (float(printed) - half, float(printed) + half)
        return *keys, low, high, "p", _star(low, high, limit, printed=True)
    worst = _paired(fine_tuned, de_novo, largest(fine_tuned, n), largest(de_novo, n), n, -1.0)
    if worst < limit:
        return *keys, 0.0, worst, "means", "yes"
    found = [
        _paired(fine_tuned, de_novo, a, b, n, correlation)
        for a, b in product(_plausible(task, metric, "FT", size, n), _plausible(task, metric, "DN", size, n))
        for correlation in CORRELATIONS
    ]
    return *keys, min(found), max(found), "means", _star(min(found), max(found), limit)


def _against(task: str, metric: str, arm: str, size: int, once: str, comparisons: int) -> tuple[object, ...]:
    mean, other = _mean(task, metric, arm, size), _mean(task, metric, once, None)
    name = f"{arm} {size}"
    keys = (task, metric, once, name, once, comparisons, round(mean - other, 2))
    n, limit = STUDIES[task], LEVEL / comparisons
    errors = published_se(task, metric, arm, size), published_se(task, metric, once, None)
    known = "means" if None in errors else "standard errors"
    bounds = [
        largest(m, count) if error is None else error + ROUNDING
        for m, count, error in zip((mean, other), (n, ONCE), errors, strict=True)
    ]
    worst = _unpaired(mean, other, bounds[0], bounds[1], n)
    if worst < limit:
        return *keys, 0.0, worst, known, "yes"
    found = [
        _unpaired(mean, other, a, b, n, gap)
        for a, b in product(_plausible(task, metric, arm, size, n), _plausible(task, metric, once, None, ONCE))
        for gap in (-2 * ROUNDING, 2 * ROUNDING)
    ]
    return *keys, min(found), max(found), known, _star(min(found), max(found), limit)


def _star(low: float, high: float, limit: float, *, printed: bool = False) -> str:
    if printed and low < limit <= high:
        return "yes" if low + high <= 2 * limit else "open"  # printed .010 with a star: it was below .05 / 5
    if high < limit:
        return "yes" if printed else "likely"
    if low >= limit:
        return "no" if printed else "unlikely"
    return "open"


def _mean(task: str, metric: str, arm: str, size: int | None) -> float:
    mean = published_mean(task, metric, arm, size)
    return math.nan if mean is None else mean


def largest(mean: float, n: int) -> float:
    """Largest standard error of n scores whose mean is printed as this, rounded."""
    nearest = min(max(0.5, mean - ROUNDING), mean + ROUNDING)  # the variance is largest at one half
    return largest_standard_error(nearest, n)


def _plausible(task: str, metric: str, arm: str, size: int | None, n: int) -> tuple[float, float]:
    """Smallest and largest plausible standard error, from what is printed of this model or of the nearest ones."""
    printed = published_se(task, metric, arm, size)
    if printed is not None:
        return printed - ROUNDING, printed + ROUNDING
    near = [
        error * math.sqrt(STUDIES[task] / n)
        for size_, a in product(CURVES[task][metric], ("FT", "DN"))
        if (error := published_se(task, metric, a, size_)) is not None
    ]
    return min(near) / WIDER, min(WIDER * max(near), largest(_mean(task, metric, arm, size), n))


def _paired(first: float, second: float, a: float, b: float, n: int, correlation: float) -> float:
    """Return p of the paired t test, the difference as small as rounding allows."""
    gap = max(abs(first - second) - 2 * ROUNDING, 0.0)
    return paired_summaries(Summary(gap, a, n), Summary(0.0, b, n), correlation).p


def _unpaired(first: float, second: float, a: float, b: float, n: int, gap: float = -2 * ROUNDING) -> float:
    difference = max(abs(first - second) + gap, 0.0)
    return unpaired_summaries(Summary(difference, a, n), Summary(0.0, b, ONCE)).p
