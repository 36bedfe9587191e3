"""Oracles: numbers worked by hand, and pandas on a list of single lesions."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.evaluation.cohort_metrics import count_sizes
from nnunet_ms.analysis.evaluation.rules import RULES
from nnunet_ms.analysis.evaluation.size_groups import (
    AVERAGING,
    RATES,
    SIZE_GROUPS,
    group_names,
    group_starts,
    summarise_groups,
)

RULE = RULES["krishnan2023"]
# patient, rater, voxels, found, lesion Dice: worked by hand below
LESIONS = [
    ("a", "reference", 5, True, 0.4), ("a", "reference", 8, False, 0.0), ("a", "reference", 60, True, 0.8),
    ("a", "reference", 300, True, 0.9), ("b", "reference", 10, False, 0.0), ("b", "reference", 11, True, 0.6),
    ("b", "reference", 50, True, 0.7), ("a", "net", 6, True, 0.4), ("a", "net", 4, False, 0.0),
    ("a", "net", 3, False, 0.0), ("b", "net", 55, True, 0.9), ("c", "net", 9, False, 0.0),
]  # fmt: skip


def counted(lesions, rule=RULE):
    frame = pd.DataFrame(lesions, columns=["patient_id", "rater", "voxels", "found", "dice"])
    blocks = [
        pd.DataFrame(count_sizes(*(rows[c].to_numpy() for c in ("voxels", "found", "dice")), rule))
        .assign(patient_id=patient, rater=rater)
        for (patient, rater), rows in frame.groupby(["patient_id", "rater"])
    ]  # fmt: skip
    return pd.concat(blocks, ignore_index=True)


@pytest.fixture(scope="module")
def table():
    return summarise_groups(counted(LESIONS), RULE).set_index(["size_bin", "metric", "averaging"])


@pytest.mark.parametrize(
    ("size", "metric", "over_patients", "pooled", "patients", "lesions"),
    [
        ("3 to 10", "ltpr", (1 / 2 + 0) / 2, 1 / 3, 2, 3),
        ("3 to 10", "lfpr", (2 / 3 + 1) / 2, 3 / 4, 2, 4),
        ("3 to 10", "lesion_dice_found", 0.4, 0.4, 1, 1),
        ("3 to 10", "lesion_dice", (0.2 + 0) / 2, 0.4 / 3, 2, 3),
        ("11 to 50", "ltpr", 1.0, 1.0, 1, 2),
        ("11 to 50", "lfpr", np.nan, np.nan, 0, 0),
        ("11 to 50", "lesion_dice", 0.65, 0.65, 1, 2),
        ("> 50", "ltpr", 1.0, 1.0, 1, 2),  # the rule's bins 51 to 150 and > 150 together
        ("> 50", "lesion_dice_found", 0.85, 0.85, 1, 2),
        ("> 50", "lfpr", 0.0, 0.0, 1, 1),
        ("all", "ltpr", (3 / 4 + 2 / 3) / 2, 5 / 7, 2, 7),
        ("all", "lfpr", (2 / 3 + 0 + 1) / 3, 3 / 5, 3, 5),
    ],
)
def test_rates_worked_by_hand(table, size, metric, over_patients, pooled, patients, lesions):
    for averaging, value in zip(AVERAGING, (over_patients, pooled), strict=True):
        row = table.loc[(size, metric, averaging)]
        assert row["value"] == pytest.approx(value, nan_ok=True)
        assert (row["n_patients"], row["n_lesions"]) == (patients, lesions)
        assert np.isnan([row["low"], row["high"]]).all()  # below five patients


def test_many_patients_against_pandas_with_intervals_around():
    rng = np.random.default_rng(4)
    n = 400
    lesions = [
        (f"p{rng.integers(25)}", rater, int(rng.integers(3, 200)), bool(rng.random() < 0.7), rng.random())
        for rater in ("reference", "net")
        for _ in range(n)
    ]
    table = summarise_groups(counted(lesions), RULE).set_index(["size_bin", "metric", "averaging"])
    frame = pd.DataFrame(lesions, columns=["patient", "rater", "voxels", "found", "dice"])
    frame["size"] = pd.cut(frame["voxels"], [2, 10, 50, np.inf], labels=["3 to 10", "11 to 50", "> 50"]).astype(str)
    for (size, rater), rows in frame.groupby(["size", "rater"]):
        metric, value = ("ltpr", rows["found"]) if rater == "reference" else ("lfpr", ~rows["found"])
        over = value.groupby(rows["patient"]).mean()
        row = table.loc[(size, metric, "patients")]
        assert [row["value"], row["sd"]] == pytest.approx([over.mean(), over.std()])
        pooled = table.loc[(size, metric, "pooled")]
        assert pooled["value"] == pytest.approx(value.mean())
        for one in (row, pooled):
            assert one["low"] < one["value"] < one["high"]
        if rater == "reference":
            dice = rows[rows["found"]].groupby("patient")["dice"].mean()
            assert table.loc[(size, "lesion_dice_found", "patients"), "value"] == pytest.approx(dice.mean())


@pytest.mark.parametrize(
    ("rule", "starts"),
    [("krishnan2023", (3, 11, 51)), ("isbi2015", (1, 3, 11, 51)), ("msseg2016", (1, 3, 11, 51)),
     ("panoptica_ms", (1, 3, 11, 51))],
)  # fmt: skip
def test_every_rule_has_the_papers_groups(rule, starts):
    assert group_starts(RULES[rule]) == starts
    assert group_names(RULES[rule])[-4:] == ["3 to 10", "11 to 50", "> 50", "all"]


def test_without_lesions_every_number_is_blank():
    empty = counted(LESIONS).assign(**dict.fromkeys(("lesions", "found", "lesion_dice", "lesion_dice_found"), 0))
    table = summarise_groups(empty, RULE)
    assert len(table) == 4 * len(RATES) * len(AVERAGING)
    assert table["value"].isna().all()
    assert (table[["n_patients", "n_lesions"]] == 0).all().all()


def test_every_column_of_the_table_is_there(table):
    made = {*table.reset_index().columns, "rater", "lesion_type", "rule", "data_note"}
    assert made == set(SIZE_GROUPS.names)
