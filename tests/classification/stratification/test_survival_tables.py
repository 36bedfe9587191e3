"""Oracle: what was written is read again; what does not belong together is refused."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.classification.stratification.survival_tables import (
    checked_horizon,
    curve_grid,
    curve_rows,
    is_survival,
    read_survival,
    usual_horizon,
)
from nnunet_ms.errors import OptionError, TableError

AT = np.array([12.0, 24.0])
PATIENTS = pd.DataFrame(
    {
        "case_id": ["A_1", "B_1", "C_1"],
        "patient_id": list("ABC"),
        "visit": "1",
        "fold": [0, 1, 0],
        "time_weeks": [20.0, 30, 40],
        "event": [1, 0, 1],
        "age_years": [30.0, 40, 50],
        "edss_baseline": [2.0, 2.5, np.nan],
        "lesion_volume_ml": np.nan,
    }
)
CURVES = {"net": np.array([[0.9, 0.5], [0.8, 0.7], [0.6, 0.6]]), "cox": np.array([[0.7, 0.4], [0.8, 0.5], [0.9, 0.1]])}


def written(folder, change=lambda table: table, name="cross_validation.csv"):
    table = pd.concat([curve_rows(model, PATIENTS, curves, AT) for model, curves in CURVES.items()])
    change(table).to_csv(folder / name, index=False)
    return folder / name


def test_curves_are_read_as_they_were_written(tmp_path):
    found = read_survival([written(tmp_path)])
    assert list(found.curves) == ["net", "cox"]
    for model, curves in CURVES.items():
        assert (found.curves[model] == curves).all()
    assert found.at.tolist() == AT.tolist()
    assert found.event.tolist() == [True, False, True]
    assert found.left_out == []


def test_a_folder_stands_for_its_table_which_is_known_by_its_header(tmp_path):
    written(tmp_path)
    assert is_survival(tmp_path)
    assert read_survival([tmp_path]).weeks.tolist() == [20, 30, 40]
    (tmp_path / "other.csv").write_text("patient_id,visit,model,fold,truth,probability,threshold\n")
    assert not is_survival(tmp_path / "other.csv")


def test_a_patient_that_one_model_has_not_judged_is_listed(tmp_path):
    path = written(tmp_path, lambda table: table[(table["model"] != "cox") | (table["case_id"] != "B_1")])
    found = read_survival([path])
    assert found.patients["case_id"].tolist() == ["A_1", "C_1"]
    assert found.left_out == ["B_1: no curve of cox"]


def of_other_follow_up(table):
    return table.assign(time_weeks=table["time_weeks"].where(table["model"] == "cox", 99))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_other_follow_up, "scan A_1: expected one time_weeks, found 99.0 and 20.0"),
        (
            lambda t: t[(t["model"] == "net") | (t["week"] == 12)],
            "expected curves at the same weeks, found none of cox",
        ),
        (
            lambda t: t.assign(patient_id=t["patient_id"].replace("B", "A")),
            "expected one scan per patient, found two of A",
        ),
        (
            lambda t: t[(t["model"] == "net") == (t["case_id"] == "A_1")],
            "expected patients with a curve of every model",
        ),
        (lambda t: t.assign(survival=1.5), "column survival: expected a number"),
        (lambda t: t.drop(columns="event"), "event"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, change, message):
    with pytest.raises(TableError, match=message):
        read_survival([written(tmp_path, change)])


def test_a_model_in_two_tables_is_refused(tmp_path):
    with pytest.raises(TableError, match="expected each model in one table, found net twice"):
        read_survival([written(tmp_path), written(tmp_path, name="again.csv")])


@pytest.mark.parametrize(("longest", "first", "last"), [(30, 12, 24), (5, 12, 12), (100, 12, 96), (900, 24, 888)])
def test_grid_of_weeks(longest, first, last):
    grid = curve_grid([3, longest])
    assert (grid[0], grid[-1]) == (first, last)
    assert len(grid) <= 60


def test_horizon(tmp_path):
    found = read_survival([written(tmp_path)])
    assert usual_horizon(np.arange(10.0) * 10, [12, 24, 60, 72, 84]) == 72  # two of ten are followed beyond 72, one 84
    assert usual_horizon([1, 2], [12, 24]) == 12
    assert checked_horizon(None, found) == 24
    with pytest.raises(OptionError, match=r"horizon_weeks: expected a week of the curves \(12, 24\), found 20"):
        checked_horizon(20, found)
