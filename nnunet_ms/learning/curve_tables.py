"""Tables of a learning curve: means and tests, with what the paper prints in columns of their own."""

from collections.abc import Sequence

import pandas as pd

from nnunet_ms.learning.published import published_mean, published_p, published_se
from nnunet_ms.statistics.method_families import RESULTS, method_comparisons, method_means
from nnunet_ms.tables import Column, Table

_TEXT = ("task", "metric", "family", "first", "second", "note")
_COUNTS = ("n_first", "n_second", "n_undefined", "comparisons")

CURVE = Table(
    "learning_curve",
    (
        Column("task"),
        Column("metric"),
        Column("arm"),
        Column("size", "integer", blank=True, minimum=1),
        Column("mean", "number", blank=True),
        Column("se", "number", blank=True),
        Column("n", "integer", minimum=0),
        Column("n_undefined", "integer", minimum=0),
        Column("n_missing", "integer", minimum=0),
        Column("published_mean", "number", blank=True),
        Column("published_se", "number", blank=True),
        Column("data_note", blank=True),
    ),
    key=("task", "metric", "arm", "size"),
)


def _column(name: str) -> Column:
    if name in _TEXT:
        return Column(name, blank=True)
    if name == "starred":
        return Column(name, "flag", blank=True)
    return Column(name, "integer" if name in _COUNTS else "number", blank=True)


COMPARISONS = Table(
    "learning_curve",
    (*(_column(name) for name in RESULTS), Column("published_p", blank=True), Column("data_note", blank=True)),
    key=("task", "metric", "family", "first", "second"),
)


def curve_table(scores: pd.DataFrame, expected: int, expected_once: int, note: str = "") -> pd.DataFrame:
    """Mean and standard error of each model (`CURVE`).

    Parameters
    ----------
    scores : DataFrame
        `scoring.SCORES`.
    expected, expected_once : int
        Studies that a model of an arm, and the default model or second grader, should have been scored on.
    note : str, optional
        What the data are.

    Returns
    -------
    DataFrame
        `n_undefined` counts PPVs of studies where nothing was predicted, which are in no mean; `n_missing` studies
        that were not scored.
    """
    means = method_means(scores)
    should = means["size"].isna().map({True: expected_once, False: expected})
    means["n_missing"] = (should - means["n"] - means["n_undefined"]).astype(int)
    for name, published in {"published_mean": published_mean, "published_se": published_se}.items():
        values = [
            published(task, metric, arm, None if pd.isna(size) else int(size))
            for task, metric, arm, size in means[["task", "metric", "arm", "size"]].itertuples(index=False)
        ]
        means[name] = pd.array(values, dtype="float64")  # also where the paper has none of these models
    return means.assign(data_note=note)[CURVE.names]


def comparison_table(scores: pd.DataFrame, sizes: Sequence[int], note: str = "") -> pd.DataFrame:
    """Tests of the paper (`COMPARISONS`), its p of fine-tuned against de novo beside ours."""
    found = method_comparisons(scores, sizes=sizes)
    found["published_p"] = [
        published_p(task, metric, int(first.split()[1])) if family == "arms" else ""
        for task, metric, family, first in found[["task", "metric", "family", "first"]].itertuples(index=False)
    ]
    return found.assign(data_note=note)[COMPARISONS.names]
