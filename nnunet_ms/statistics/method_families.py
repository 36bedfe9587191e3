"""Learning curves compared as Wahlig et al. do it [1]_: per task and metric, an ANOVA and three families of t tests.

With K training sizes: 2 K comparisons of the models with the default model (the one that was trained on another
disease), 2 K with a second grader, K of fine-tuned against de novo models. The paper does not print these numbers; they
follow from its stars: .005 has one and .006 none against the default model (K = 5: .05 / 10), .010 has one and .014
none between the arms (.05 / 5). The default model and the second grader are scored on the first subset only, hence
unpaired tests; the arms are paired by study.

Undefined values (a PPV where nothing was predicted) are left out of means and tests, and counted.

References
----------
.. [1] Wahlig SG et al. Front Neurosci 17:1188336, 2023. doi:10.3389/fnins.2023.1188336
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.input_checks import as_numbers, columns_there, level
from nnunet_ms.statistics.mixed_means import MixedMeans, mixed_means
from nnunet_ms.statistics.multiplicity import holm
from nnunet_ms.statistics.repeated_measures import (
    Comparison,
    RepeatedAnova,
    paired_comparison,
    repeated_anova,
    unpaired_comparison,
)

FINE_TUNED, DE_NOVO, DEFAULT, GRADER = "FT", "DN", "default", "grader"
ARMS = (FINE_TUNED, DE_NOVO)
ONCE = (DEFAULT, GRADER)  # they have no training size
COLUMNS = ("task", "metric", "arm", "size", "study", "value")
RESULTS = (
    *("task", "metric", "family", "first", "second", "n_first", "n_second", "n_undefined", "mean_first", "mean_second"),
    *("difference", "low", "high", "statistic", "df", "df_error", "p", "comparisons", "p_bonferroni", "p_holm"),
    *("starred", "p_epsilon", "p_welch", "p_rank", "p_mixed", "note"),
)


def method_means(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error over studies of each method.

    Parameters
    ----------
    table : DataFrame
        One row per score: `task`, `metric`, `arm` ("FT", "DN", "default", "grader"), `size` (training studies; blank
        for "default" and "grader"), `study`, `value` (blank: undefined).

    Returns
    -------
    DataFrame
        `task, metric, arm, size, mean, se, n, n_undefined`; `se` is the standard deviation (n - 1) over the root of
        n, NaN below two values.

    Raises
    ------
    StatisticsError
        If a column is missing, an arm unknown, a size missing or too many, a value infinite, or a score stands twice.

    Examples
    --------
    >>> method = {"task": "flair", "metric": "ppv", "arm": "FT", "size": 10}
    >>> method_means(pd.DataFrame({**method, "study": [1, 2, 3], "value": [0.6, 0.8, None]}))
        task metric arm  size  mean   se  n  n_undefined
    0  flair    ppv  FT    10   0.7  0.1  2            1
    """
    scores = _checked(table)
    rows = [
        {
            **dict(zip(("task", "metric", "arm", "size"), names, strict=True)),
            "mean": float(values.mean()),
            "se": float(values.std(ddof=1) / np.sqrt(values.count())),
            "n": int(values.count()),
            "n_undefined": int(values.isna().sum()),
        }
        for names, values in scores.groupby(["task", "metric", "arm", "size"], sort=False, dropna=False)["value"]
    ]
    return pd.DataFrame(rows).astype({"size": "Int64"})


def method_comparisons(
    table: pd.DataFrame, *, sizes: Sequence[int] | None = None, alpha: float = 0.05, confidence: float = 0.95
) -> pd.DataFrame:
    """ANOVA and families of comparisons, per task and metric.

    Parameters
    ----------
    table : DataFrame
        As for `method_means`.
    sizes : sequence of int, optional
        Planned training sizes, which count in the families even if nothing was scored at one; without it, those of
        the table.
    alpha : float, optional
        Of a whole family, for the stars.
    confidence : float, optional
        Level of the intervals, which are not adjusted.

    Returns
    -------
    DataFrame
        One row per test, columns `RESULTS`: `family` (`anova`: over all models, within the studies that have a value
        of each; `arms`, `default`, `grader`), `first` and `second` (such as "FT 10"), `statistic` (F or t),
        `comparisons` (in the family), `p_bonferroni`, `p_holm` and `starred` (`p_bonferroni` below alpha), and beside
        them `p_epsilon` (ANOVA, Greenhouse-Geisser), `p_welch`, `p_rank` and `p_mixed`. `n_undefined`: values, pairs
        or (ANOVA) studies left out. `note` says why a test could not be done; it counts in its family all the same.

    Raises
    ------
    OptionError, StatisticsError
        As `method_means`, or if a level is not between 0 and 1.

    Examples
    --------
    >>> values = {"FT": [0.55, 0.61, 0.70, 0.52], "DN": [0.45, 0.50, 0.62, 0.46]}
    >>> rows = [("flair", "ppv", arm, 10, s, v) for arm in values for s, v in enumerate(values[arm])]
    >>> found = method_comparisons(pd.DataFrame(rows, columns=COLUMNS), sizes=[10, 20])
    >>> found.loc[found["first"] == "FT 10", ["second", "comparisons", "p", "p_bonferroni", "starred"]].round(4)
      second  comparisons       p  p_bonferroni  starred
    1  DN 10            2  0.0042        0.0085     True
    """
    level(alpha, "alpha")
    scores = _checked(table)
    planned = sorted({int(size) for size in (scores["size"].dropna() if sizes is None else sizes)})
    outside = sorted({int(size) for size in scores["size"].dropna()} - set(planned))
    if outside:
        raise StatisticsError(f"sizes: expected all of the table's, found none of {outside}. Name them too.")
    rows = [
        {"task": task, "metric": metric, **row}
        for (task, metric), part in scores.groupby(["task", "metric"], sort=False)
        for row in _rows(part, planned, alpha, level(confidence))
    ]
    return pd.DataFrame(rows).reindex(columns=list(RESULTS)).astype({"n_second": "Int64", "starred": "boolean"})


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the scores with sizes as whole numbers, or refuse."""
    columns_there(table, COLUMNS)
    scores = table[list(COLUMNS)].reset_index(drop=True)
    unknown = sorted({str(arm) for arm in scores["arm"]} - {*ARMS, *ONCE})
    if unknown:
        raise StatisticsError(f"arm: expected {', '.join((*ARMS, *ONCE))}, found {unknown}. Correct these rows.")
    for name in ("task", "metric", "study"):
        if scores[name].isna().any():
            raise StatisticsError(f"{name}: blank in {int(scores[name].isna().sum())} rows. Fill them in.")
    scores["value"] = as_numbers(scores["value"].to_numpy(dtype=object, na_value=np.nan), "value")
    size = as_numbers(scores["size"].to_numpy(dtype=object, na_value=np.nan), "size")
    trained = scores["arm"].isin(ARMS)
    if np.isnan(size[trained]).any() or (size[trained] < 1).any() or (size[trained] % 1 != 0).any():
        raise StatisticsError(
            "size: expected a whole number of training studies in every row of FT and DN. Fill it in."
        )
    if not np.isnan(size[~trained]).all():
        raise StatisticsError("size: expected blank for default and grader, which have no training size. Remove it.")
    scores["size"] = pd.array(size, dtype="Int64")
    infinite = int(np.isinf(scores["value"]).sum())
    if infinite:
        raise StatisticsError(f"value: {infinite} of {len(scores)} are infinite. Leave undefined values blank.")
    twice = scores[scores.duplicated(["task", "metric", "arm", "size", "study"])]
    if len(twice):
        row = twice.iloc[0]
        which = f"{row['task']} {row['metric']} {_name(row['arm'], row['size'])} of study {row['study']}"
        raise StatisticsError(f"{len(twice)} scores stand twice, the first is {which}. Leave one of each.")
    return scores


def _name(arm: str, size: Any) -> str:
    return arm if size is None or pd.isna(size) else f"{arm} {size}"


def _rows(part: pd.DataFrame, sizes: Sequence[int], alpha: float, confidence: float) -> Iterator[dict[str, Any]]:
    """Tests of one task and metric."""
    method = np.array([_name(arm, size) for arm, size in zip(part["arm"], part["size"], strict=True)], dtype=object)
    scored = {name: part.loc[method == name].set_index("study")["value"] for name in dict.fromkeys(method)}
    models = [_name(arm, size) for size in sizes for arm in ARMS]
    yield _anova_row([scored[name] for name in models if name in scored])
    families = {
        "arms": [(_name(FINE_TUNED, size), _name(DE_NOVO, size)) for size in sizes],
        **{one: [(model, one) for model in models] for one in ONCE if one in scored},
    }
    fitted = mixed_means(part["study"].tolist(), list(method), part["value"].to_numpy())
    for family, pairs in families.items():
        compare = _paired if family == "arms" else _unpaired
        empty = pd.Series(dtype=float)
        tests = [compare(scored.get(a, empty), scored.get(b, empty), confidence) for a, b in pairs]
        yield from _family_rows(family, pairs, tests, fitted, alpha)


def _paired(first: pd.Series, second: pd.Series, confidence: float) -> tuple[Comparison, str]:
    """Compare within the studies that both have; say how many only one of them has."""
    both = first.index.intersection(second.index, sort=False)
    alone = len(first) + len(second) - 2 * len(both)
    found = paired_comparison(first.loc[both].to_numpy(), second.loc[both].to_numpy(), confidence)
    return found, f"{alone} studies are scored for one of the two only" if alone else ""


def _unpaired(first: pd.Series, second: pd.Series, confidence: float) -> tuple[Comparison, str]:
    return unpaired_comparison(first.to_numpy(), second.to_numpy(), confidence), ""


def _anova_row(models: Sequence[pd.Series]) -> dict[str, Any]:
    table = pd.concat(models, axis=1).to_numpy() if models else np.empty((0, 0))
    found: RepeatedAnova = repeated_anova(table)
    return {
        **dict.fromkeys(("first", "second"), ""),
        "family": "anova",
        "n_first": found.n_studies,
        "n_undefined": found.n_left_out,
        "statistic": found.f,
        "df": found.df_methods,
        "df_error": found.df_error,
        "p": found.p,
        "p_epsilon": found.p_epsilon,
        "comparisons": 1,
        "note": found.problem,
    }


def _family_rows(
    family: str,
    pairs: Sequence[tuple[str, str]],
    tests: Sequence[tuple[Comparison, str]],
    fitted: MixedMeans,
    alpha: float,
) -> Iterator[dict[str, Any]]:
    """Rows of a family; a test that could not be done counts with p = 1."""
    p = [test.p for test, _ in tests]
    adjusted = holm([1.0 if np.isnan(value) else value for value in p])
    for (first, second), (test, note), by_holm in zip(pairs, tests, adjusted, strict=True):
        bonferroni = min(test.p * len(pairs), 1.0) if not np.isnan(test.p) else test.p
        yield {
            "family": family,
            "first": first,
            "second": second,
            "n_first": test.n_first,
            "n_second": test.n_second,
            "n_undefined": test.n_undefined,
            "mean_first": test.mean_first,
            "mean_second": test.mean_second,
            "difference": test.difference,
            "low": test.low,
            "high": test.high,
            "statistic": test.t,
            "df": test.df,
            "p": test.p,
            "comparisons": len(pairs),
            "p_bonferroni": bonferroni,
            "p_holm": by_holm if not np.isnan(test.p) else test.p,
            "starred": bool(bonferroni < alpha),
            "p_welch": test.welch_p,
            "p_rank": test.rank_p,
            "p_mixed": fitted.contrast(first, second).p,
            "note": "; ".join(text for text in (test.problem, note) if text),
        }
