"""Which lesions are compared. Oracle: small tables whose lesions are counted by hand."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.classification.rim.scored_lesions import read_scored
from nnunet_ms.errors import OptionError, TableError


def rows(**columns):
    """Four lesions of three patients; `columns` replace or add."""
    base = {
        "patient_id": ["P1", "P1", "P2", "P3"],
        "visit": "base",
        "lesion_id": [1, 2, 1, 1],
        "label": [1, 0, 0, 1],
        "probability": [0.9, 0.2, 0.6, 0.5],
    }
    return pd.DataFrame({**base, **columns})


@pytest.fixture
def write(tmp_path):
    def save(name, frame):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(path, index=False)
        return path

    return save


def test_tables_of_all_three_origins(write):
    # training (threshold, fold, model), prediction (threshold and decision), segmentation (decision alone)
    tables = [
        write("run/cross_validation.csv", rows(threshold=0.55, fold=[0, 0, 1, 1], model="net")),
        write("predicted/rim_lesions.csv", rows(threshold=0.5, rim=[1, 0, 1, 0])),
        write("segmented.csv", rows(rim=[0, 0, 1, 1]).drop(columns="label")),
    ]
    scored = read_scored(tables)
    assert [model.name for model in scored.models] == ["net", "predicted", "segmented"]
    assert [model.decision.tolist() for model in scored.models] == [[1, 0, 1, 0], [1, 0, 1, 0], [0, 0, 1, 1]]
    assert scored.models[0].fold.tolist() == [0, 0, 1, 1]
    assert np.isnan(scored.models[2].fold).all()
    assert scored.rim.tolist() == [1, 0, 0, 1]
    assert scored.left_out.empty


def test_what_is_missing_is_listed_with_the_reason(write):
    labels = write("lesions.csv", rows(label=[1, 0, None, 1]).drop(columns="probability"))
    one = write("one.csv", rows(probability=[0.9, None, 0.6, 0.5]).drop(columns="label"))
    two = write("two.csv", rows().drop(columns="label").iloc[:3])
    extra = write("three.csv", pd.concat([rows(), rows(patient_id="P9").iloc[:1]]).drop(columns="label"))
    scored = read_scored([one, two, extra], labels)
    assert scored.rows[["patient_id", "lesion_id"]].to_numpy().tolist() == [["P1", 1]]
    found = {tuple(row) for row in scored.left_out[["model", "patient_id", "lesion_id", "reason"]].to_numpy().tolist()}
    assert found == {
        ("one", "P1", 2, "no probability"),
        ("two", "P3", 1, "not in the table"),
        *((model, "P2", 1, "no label") for model in ("one", "two", "three")),
        ("three", "P9", 1, "no label"),
    }
    assert scored.missing == 2


def test_rows_in_another_order_are_the_same_lesions(write):
    table = rows(threshold=0.55)
    scored = read_scored([write("a.csv", table), write("b.csv", table.iloc[::-1])])
    one, other = scored.models
    assert one.probability.tolist() == other.probability.tolist() == [0.9, 0.2, 0.6, 0.5]


def test_names_given_and_found(write, tmp_path):
    write("run/cross_validation.csv", rows(threshold=0.5))
    write("with=sign.csv", rows(threshold=0.5))
    scored = read_scored([tmp_path / "run", f"mine={tmp_path / 'run'}", tmp_path / "with=sign.csv"])
    assert [model.name for model in scored.models] == ["run", "mine", "with=sign"]


def test_a_threshold_for_tables_without_one(write):
    path = write("plain.csv", rows())
    assert np.isnan(read_scored([path]).models[0].decision).all()
    assert read_scored([path], threshold=0.6).models[0].decision.tolist() == [1, 0, 1, 0]
    own = write("own.csv", rows(threshold=[0.95, None, 0.95, 0.95]))
    assert read_scored([own], threshold=0.1).models[0].decision.tolist() == [0, 1, 0, 0]


def test_names_with_leading_zeros_stay_text(write):
    numbered = rows(patient_id=["001", "001", "002", "003"], visit="01")
    scored = read_scored([write("a.csv", numbered)], write("lesions.csv", numbered.drop(columns="probability")))
    assert scored.rows["patient_id"].tolist() == ["001", "001", "002", "003"]


BAD = {
    "no model has the lesion": (
        rows(),
        rows(patient_id=list("WXYZ")),
        "lesions with a label that every model has",
    ),
    "probability above 1": (rows(probability=[0.9, 20, 0.6, 0.5]), None, "row 2, column probability: .* found '20"),
    "label 2": (rows(label=[1, 0, 2, 1]), None, "row 3, column label: .* found '2"),
    "label 0.5": (rows(label=[1, 0, 0.5, 1]), None, "lesion 1 of patient P2, visit base: expected 1 .*found 0.5"),
    "twice": (pd.concat([rows(), rows().iloc[:1]]), None, "row 5: model a, patient_id P1, .* stands twice"),
    "no probability": (rows().drop(columns="probability"), None, r"rim predictions needs columns \['probability'\]"),
    "empty": (rows().iloc[:0], None, "expected a row per lesion, found none"),
    "no label at all": (rows().drop(columns="label"), None, "expected a column label in one of the tables"),
    "patient in two folds": (rows(fold=[0, 1, 1, 0]), None, "patient P1 is in 2 folds"),
    "all labels blank": (rows(label=np.nan), None, "found none among 4"),
    "label twice": (rows(), pd.concat([rows(), rows()]), "row 5: patient_id P1.* stands twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_by_name(case, write):
    table, labels, message = BAD[case]
    path = write("a.csv", table)
    with pytest.raises(TableError, match=message):
        read_scored([path], None if labels is None else write("lesions.csv", labels))


def test_labels_that_differ_between_tables_are_refused(write):
    paths = [write("a.csv", rows()), write("b.csv", rows(label=[1, 0, 1, 1]))]
    with pytest.raises(
        TableError, match=r"lesion 1 of patient P2, visit base: expected one label, found 0 in a, 1 in b"
    ):
        read_scored(paths)


def test_one_model_in_two_tables_is_refused(write):
    paths = [write("a.csv", rows(model="net")), write("b.csv", rows(model="net"))]
    with pytest.raises(TableError, match=r"model 'net' stands in .*a\.csv too\. Give one of them another name: NAME="):
        read_scored(paths)
    assert [model.name for model in read_scored([paths[0], f"other={paths[1]}"]).models] == ["net", "other"]


def test_a_folder_without_a_table_is_refused(tmp_path):
    with pytest.raises(TableError, match=r"expected cross_validation\.csv or rim_lesions\.csv in it, found neither"):
        read_scored([tmp_path])


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), "0.5"])
def test_a_threshold_is_a_probability(threshold, write):
    with pytest.raises(OptionError, match=r"^threshold: expected a probability from 0 to 1, found"):
        read_scored([write("a.csv", rows())], threshold=threshold)


def test_no_table_is_refused():
    with pytest.raises(OptionError, match=r"^tables: expected at least one table"):
        read_scored([])


def test_lesions_that_lie_elsewhere_in_another_table_are_not_compared(write):
    here = {"x_mm": [1, 20, 3, 4], "y_mm": 5, "z_mm": 6}
    net = write("net.csv", rows(**here))
    labels = write("lesions.csv", rows(**here | {"y_mm": 8}))
    assert len(read_scored([net], labels).rows) == 4  # 3 mm apart: the centre of another mask of one lesion
    segmented = write("segmented.csv", rows(**here | {"x_mm": [20, 1, 3, 4]}))
    message = r"segmented: lesion 1 of patient P1.* 19.0 mm away \(2 of 4 lesions\): the tables number their lesions"
    with pytest.raises(TableError, match=message):
        read_scored([net, segmented])
    with pytest.raises(TableError, match=message):
        read_scored([segmented], labels=net)


def test_labels_that_the_table_of_labels_changes_are_counted(write):
    labels = write("lesions.csv", rows(label=[0, 1, np.nan, 1]))
    scored = read_scored(write("net.csv", rows()), labels)
    assert scored.relabelled == 2
    assert scored.rows["label"].tolist() == [0, 1, 1]


@pytest.mark.parametrize("name", ["a|b", "a\nb", "../a", "x" * 101])
def test_names_of_models_that_break_tables_and_files_are_refused(write, name):
    with pytest.raises(TableError, match=r"net.csv: model: expected a plain name"):
        read_scored([write("net.csv", rows(model=name))])
