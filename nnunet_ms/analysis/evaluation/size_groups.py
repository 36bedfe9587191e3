"""Lesion Dice, LTPR and LFPR by lesion size, as Figure 3a of Krishnan et al. 2023 shows them for several cohorts.

The paper groups lesions of 3-10, 11-50 and more than 50 voxels, and averages over patients; both are given. Ours,
because it is silent: a patient's rate is that of all its lesions of the group at all visits, so that a patient weighs
the same however many visits it has; a patient without such a lesion has no rate and is not counted. Lesion Dice is that
of a reference lesion with the union of the predicted lesions that touch it (`lesions.overlap.lesion_dice`), binned by
its size in the reference: `lesion_dice_found` over the lesions that are found, `lesion_dice` over all, 0 where missed.

`averaging` says which of two numbers a row is: `patients`, the mean of patients' rates, or `pooled`, the rate of all
lesions together, in which a patient with many lesions weighs more. The intervals of both resample patients.
"""

from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.analysis.evaluation.cohort_metrics import ALL_SIZES, size_bin_name
from nnunet_ms.analysis.evaluation.matching import Rule
from nnunet_ms.arrays import Floats
from nnunet_ms.statistics.bootstrap_interval import LEVEL, mean_interval, patient_interval
from nnunet_ms.tables import REFERENCE, Column, Table

LAST_GROUP = 51  # voxels: larger lesions are one group in the figure, whatever bins the rule has above
PATIENTS, POOLED = AVERAGING = ("patients", "pooled")
# metric -> what is counted, of how many, and by whose size the lesion is binned
RATES = {
    "lesion_dice_found": ("lesion_dice_found", "found", True),
    "lesion_dice": ("lesion_dice", "lesions", True),
    "ltpr": ("found", "lesions", True),
    "lfpr": ("false", "lesions", False),
}
SIZE_GROUPS = Table(
    "agreement by size group",
    (
        *(Column(name) for name in ("rater", "lesion_type", "rule", "size_bin", "metric", "averaging")),
        Column("value", "number", blank=True),
        Column("sd", "number", blank=True, minimum=0),
        *(Column(name, "number", blank=True) for name in ("low", "high")),
        Column("level", "number", minimum=0),
        *(Column(name, "integer", minimum=0) for name in ("n_patients", "n_lesions")),
        Column("data_note", blank=True),
    ),
    key=("rater", "lesion_type", "rule", "size_bin", "metric", "averaging"),
)


def group_starts(rule: Rule) -> tuple[int, ...]:
    """First size of each group in voxels: the rule's bins, with one open group from `LAST_GROUP`.

    Examples
    --------
    >>> from nnunet_ms.analysis.evaluation.rules import RULES
    >>> group_starts(RULES["krishnan2023"])
    (3, 11, 51)
    """
    return tuple(first for first in rule.size_bins if first <= LAST_GROUP)


def group_names(rule: Rule) -> list[str]:
    """Names of the groups in the order of size, and of all sizes together.

    Examples
    --------
    >>> from nnunet_ms.analysis.evaluation.rules import RULES
    >>> group_names(RULES["krishnan2023"])
    ['3 to 10', '11 to 50', '> 50', 'all']
    """
    starts = group_starts(rule)
    ends = [*(first - 1 for first in starts[1:]), None]
    return [*(size_bin_name(low, high) for low, high in zip(starts, ends, strict=True)), ALL_SIZES]


def summarise_groups(counts: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Summarise lesion Dice and detection by size group, over patients and pooled.

    Parameters
    ----------
    counts : pandas.DataFrame
        `patient_id`, `rater` and the columns of `cohort_metrics.count_sizes`; any number of rows per patient.
    rule : Rule
        Its size bins.

    Returns
    -------
    pandas.DataFrame
        `SIZE_GROUPS` without `rater`, `lesion_type`, `rule` and `data_note`.
    """
    group = np.minimum(counts["size_bin"].to_numpy(int), len(group_starts(rule)) - 1)
    known = counts.assign(group=group, false=counts["lesions"] - counts["found"])
    sums = [name for name in ("lesions", "found", "false", "lesion_dice", "lesion_dice_found") if name in known]
    of_reference = (known["rater"] == REFERENCE).to_numpy()
    names = group_names(rule)
    rows = []
    for number, name in enumerate(names):
        inside = (group == number) if name != ALL_SIZES else np.ones(len(group), dtype=bool)
        for metric, (part, whole, by_reference) in RATES.items():
            chosen = known[inside & (of_reference == by_reference)].groupby("patient_id")[sums].sum()
            pairs = chosen[[part, whole]].to_numpy(float)
            rows += [{"size_bin": name, "metric": metric, **row} for row in _averages(pairs[pairs[:, 1] > 0])]
    return pd.DataFrame(rows)


def _averages(pairs: Floats) -> list[dict[str, Any]]:
    """Mean of patients' rates and pooled rate of (patients, 2) counts, part and whole > 0."""
    rates = pairs[:, 0] / pairs[:, 1]
    n, lesions = len(pairs), int(pairs[:, 1].sum())
    common = {"n_patients": n, "n_lesions": lesions, "level": LEVEL}
    limits = mean_interval(rates, [str(i) for i in range(n)])
    pooled = patient_interval(pairs, lambda sums: sums[:, 0] / sums[:, 1])
    return [
        {
            "averaging": PATIENTS,
            "value": float(rates.mean()) if n else np.nan,
            "sd": float(rates.std(ddof=1)) if n > 1 else np.nan,
            "low": limits[0],
            "high": limits[1],
            **common,
        },
        {
            "averaging": POOLED,
            "value": float(pairs[:, 0].sum() / lesions) if n else np.nan,
            "sd": np.nan,
            "low": pooled[0],
            "high": pooled[1],
            **common,
        },
    ]
