"""Oracle: small tables joined by hand."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.classification.stratification.judged_scans import read_judged
from nnunet_ms.errors import NnunetMsError, OptionError, TableError

ROWS = pd.DataFrame(
    {"patient_id": ["P1", "P1", "P2", "P3"], "visit": ["b", "a", "a", "a"], "truth": [1, 1, 0, 1],
     "probability": [0.9, 0.8, 0.2, 0.6], "threshold": 0.5, "fold": [0, 0, 1, 2]}
)  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def to_file(frame, name="cross_validation.csv", folder="m"):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        frame.to_csv(path, index=False)
        return path

    return to_file


def scans(**change):
    frame = ROWS[["patient_id", "visit"]].assign(disabled=[1, 1, 0, 1], age_years=[40, 39, 30, 50.0], field_tesla=3.0)
    return frame.assign(**change)


def test_scans_of_all_models_are_kept_and_the_rest_listed(write):
    other = ROWS.iloc[1:].assign(model="age")
    judged = read_judged([write(ROWS.assign(model="global")), write(other, folder="n")])
    assert [(model.name, model.is_baseline, model.out_of_fold) for model in judged.models] == [
        ("global", False, True), ("age", True, True)]  # fmt: skip
    assert judged.rows[["patient_id", "visit"]].to_numpy().tolist() == [["P1", "a"], ["P2", "a"], ["P3", "a"]]
    assert judged.left_out.to_dict("records") == [
        {"model": "age", "patient_id": "P1", "visit": "b", "reason": "no probability of this model"}]  # fmt: skip
    assert judged.models[0].probability.tolist() == [0.8, 0.2, 0.6]


def test_baselines_stand_after_networks_and_the_first_visit_is_taken(write):
    frame = pd.concat([ROWS.assign(model="age"), ROWS.assign(model="wm")])
    judged = read_judged(write(frame).parent)
    assert [model.name for model in judged.models] == ["wm", "age"]
    assert judged.rows[judged.one_each][["patient_id", "visit"]].to_numpy().tolist() == [
        ["P1", "a"], ["P2", "a"], ["P3", "a"]]  # fmt: skip


def test_predictions_take_their_truth_from_the_table_of_scans(write):
    frame = ROWS.drop(columns=["truth", "fold"]).assign(disabled=[1, 1, 0, 1])
    judged = read_judged([f"mine={write(frame, 'predictions.csv')}"], write(scans(), "scans.csv"))
    (model,) = judged.models
    assert (model.name, model.evaluation, judged.truth.tolist()) == ("mine", "frozen", [1, 1, 0, 1])
    assert judged.field.tolist() == [3.0] * 4
    assert judged.terms("age").ravel().tolist() == [40, 39, 30, 50]


def test_frozen_baselines_are_added(write):
    fits = pd.DataFrame({"model": "age", "fold": [0, 0], "term": ["intercept", "age_years"], "estimate": [-4.0, 0.1]})
    fits = fits.assign(penalty="none", reason="", n=9, positive=4, threshold=0.5)
    judged = read_judged(write(ROWS.drop(columns="fold"), "predictions.csv"), write(scans(), "scans.csv"),
                         write(fits, "baselines.csv"))  # fmt: skip
    assert judged.models[1].evaluation == "frozen"
    assert judged.models[1].probability == pytest.approx(1 / (1 + np.exp(-(np.array([0, -0.1, -1, 1.0])))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(fold=[0, 1, 1, 2]), "patient P1 is in 2 folds"),
        (lambda f: f.assign(fold=[0, None, 1, 2]), "a fold in each row or in none"),
        (lambda f: f.assign(truth=1), "both classes"),
        (lambda f: f.iloc[:0], "a row per scan"),
        (lambda f: f.assign(probability=[0.9, 0.8, 1.2, 0.6]), "probability"),
        (lambda f: f.assign(visit="a"), "P1"),
        (lambda f: f.drop(columns="truth"), "scans.csv"),
    ],
)
def test_tables_that_cannot_be_meant(write, change, message):
    with pytest.raises(TableError, match=message):
        read_judged(write(change(ROWS)))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (scans(disabled=[1, 0, 0, 1]), "patient P1, visit a: expected one, found"),
        (scans().iloc[:3], "none of patient P3, visit a"),
    ],
)
def test_a_table_of_scans_of_another_preparation(write, table, message):
    with pytest.raises(TableError, match=message):
        read_judged(write(ROWS), write(table, "scans.csv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tables": []}, "at least one table"),
        ({"models": ["gm"]}, "found 'gm'"),
        ({"baselines": "baselines.csv"}, "--scans"),
    ],
)
def test_options_that_cannot_be_meant(write, options, message):
    with pytest.raises(OptionError, match=message):
        read_judged(**{"tables": write(ROWS), **options})


def test_one_name_for_two_models(write):
    tables = [write(ROWS.assign(model="wm")), write(ROWS.assign(model="wm"), folder="n")]
    with pytest.raises(NnunetMsError, match="'wm' stands in another table too"):
        read_judged(tables)
