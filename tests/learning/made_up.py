"""Made-up scores of a learning curve: 12 studies, two sizes, a default model and a second grader on four of them."""

from functools import cache

import numpy as np
import pandas as pd

from nnunet_ms.learning.curve_tables import comparison_table, curve_table

SHIFT = {("FT", 10): (0.55, 0.66), ("DN", 10): (0.49, 0.32), ("FT", 20): (0.59, 0.68), ("DN", 20): (0.58, 0.66)}


def scores(seed=0, task="flair", undefined=()):
    """Rows of `scoring.SCORES`; PPVs in `undefined`, as (arm, size, study), are blank."""
    generator = np.random.default_rng(seed)
    easy = generator.normal(0, 0.05, 12)
    rows = []
    models = {**SHIFT, ("default", None): (0.38, 0.95), ("grader", None): (0.63, 0.74)}
    for (arm, size), means in models.items():
        for study in range(12 if size else 4):
            for metric, mean in zip(("sensitivity", "ppv"), means, strict=True):
                value = float(np.clip(mean + easy[study] + generator.normal(0, 0.03), 0, 1))
                blank = metric == "ppv" and (arm, size, study) in undefined
                name, patient = f"S{study:02d}", f"P{study:02d}"
                rows.append((task, metric, arm, size, name, patient, study // 4, np.nan if blank else value))
    names = ["task", "metric", "arm", "size", "study", "patient_id", "subset", "value"]
    return pd.DataFrame(rows, columns=names).astype({"size": "Int64"})


@cache
def tables(undefined=()):
    """Scores, means and comparisons; computed once."""
    table = scores(undefined=undefined)
    return table, curve_table(table, 12, 4, "made up"), comparison_table(table, [10, 20], "made up")
