"""Oracle: lesions drawn by hand, whose place, size and overlap are known."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.evaluate_cli import main
from nnunet_ms.analysis.evaluation.agreement_by_location import BY_LOCATION, NO_REGION, count_places
from nnunet_ms.analysis.evaluation.evaluate import evaluate
from nnunet_ms.errors import SettingsError, TableError
from nnunet_ms.tables import LESIONS, read_table

SHAPE = (40, 20, 10)
NAMES = {3: "frontal", 4: "parietal", 5: "parietal"}


def save(folder, name, data):
    folder.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.eye(4)), folder / f"{name}.nii.gz")


def box(mask, x, y, z=2, size=3):
    mask[x : x + size, y : y + size, z : z + 2] = 1


def draw(root, patients=1):
    """Three reference lesions (one missed) and two predicted ones that are false, in two regions and outside them."""
    labels, ventricles = np.zeros((2, *SHAPE), dtype=np.uint8)
    labels[:15], labels[15:20], labels[20:30] = 3, 4, 5  # frontal; parietal in two parts; the rest is none
    labels[0, 0, 0] = 200  # a label that the table does not name
    ventricles[5, 5, 6] = 1
    reference, prediction = np.zeros((2, *SHAPE), dtype=np.uint8)
    box(reference, 4, 4)  # frontal, 3 mm from the ventricles; found
    box(prediction, 4, 4)
    box(reference, 18, 4)  # parietal: two voxels wide in label 4, one in 5; half of it found
    box(prediction, 19, 4)
    box(reference, 33, 4)  # in no region; missed
    box(prediction, 4, 14)  # frontal, false
    box(prediction, 33, 14)  # no region, false
    for i in range(patients):
        for folder, data in (
            ("references", reference), ("predictions", prediction), ("labels", labels), ("ventricles", ventricles),
        ):  # fmt: skip
            save(root / folder, f"c{i}", data)
    (root / "names.csv").write_text("label,name\n3,frontal\n4,parietal\n5,parietal\n", encoding="utf-8")
    return [root / name for name in ("predictions", "references", "out")]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    root = tmp_path_factory.mktemp("places")
    folders = draw(root, patients=6)
    with pytest.MonkeyPatch.context() as patch:  # drawing is tested elsewhere
        patch.setattr("nnunet_ms.analysis.evaluation.evaluate._draw", lambda *_: None)
        evaluation = evaluate(
            *folders, regions={"ventricles": root / "ventricles"}, region_labels=root / "labels", region_names=NAMES,
        )  # fmt: skip
    return root, evaluation


def rows_of(table, scheme):
    return table[table["scheme"] == scheme].set_index("location")


def test_lesions_are_counted_where_they_lie(found):
    rows = rows_of(found[1].agreement_by_location, "brain_region")
    assert list(rows.index) == ["frontal", "parietal", NO_REGION, "all"]
    expected = {"frontal": (6, 6, 12, 6), "parietal": (6, 6, 6, 0), NO_REGION: (6, 0, 6, 6), "all": (18, 12, 24, 12)}
    for name, numbers in expected.items():
        columns = ["reference_lesions", "found_lesions", "predicted_lesions", "false_lesions"]
        assert tuple(rows.loc[name, columns]) == numbers, name
    assert rows["ltpr"].tolist() == pytest.approx([1, 1, 0, 2 / 3])
    assert rows["lfpr"].tolist() == pytest.approx([1 / 2, 0, 1, 1 / 2])
    # Dice of the parietal lesion: 18 voxels each, 12 shared
    assert rows["lesion_dice_found"].tolist() == pytest.approx([1, 2 / 3, np.nan, 5 / 6], nan_ok=True)
    assert rows["lesion_dice"].tolist() == pytest.approx([1, 2 / 3, 0, 5 / 9])
    assert rows["reference_share"].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    assert set(rows["n_patients"]) == {6}


def test_distance_classes_have_rows_of_their_own(found):
    rows = rows_of(found[1].agreement_by_location, "location")
    assert list(rows.index) == ["periventricular", "deep_white_matter", "all"]
    assert rows["reference_lesions"].tolist() == [6, 12, 18]
    assert rows["false_lesions"].tolist() == [0, 12, 12]


def test_the_table_can_be_read_back_and_lesions_say_their_region(found):
    out = found[1].out
    assert len(read_table(out / "agreement_by_location.csv", BY_LOCATION)) == 7
    lesions = read_table(out / "lesions.csv", LESIONS)
    own = lesions[(lesions["case_id"] == "c0") & (lesions["rater"] == "reference")].sort_values("x_mm")
    assert own["brain_region"].fillna("").tolist() == ["frontal", "parietal", ""]
    assert own["brain_region_share"].astype(float).tolist() == [1, 1, 0]


def test_the_command_takes_a_table_of_names_and_draws(tmp_path):
    predictions, references, out = draw(tmp_path)
    more = ["--region-labels", str(tmp_path / "labels"), "--region-names", str(tmp_path / "names.csv")]
    assert main(["--predictions", str(predictions), "--references", str(references), "-o", str(out), *more]) == 0
    table = read_table(out / "agreement_by_location.csv", BY_LOCATION)
    assert table["location"].tolist() == ["frontal", "parietal", NO_REGION, "all"]
    assert table["ltpr_low"].isna().all()  # one patient
    assert (out / "agreement_by_location_brain_region_krishnan2023.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"region_labels": "labels"}, SettingsError, "region_labels: expected region_names beside it"),
        ({"region_names": {1: "x"}}, SettingsError, "region_names: expected region_labels beside it"),
        ({"region_labels": "labels", "region_names": {}}, SettingsError, "found none"),
        ({"region_labels": "labels", "region_names": {0: "x"}}, SettingsError, "expected labels from 1"),
        ({"region_labels": "labels", "region_names": {1: "all"}}, SettingsError, "expected labels from 1"),
        ({"region_labels": "labels", "region_names": {1: " "}}, SettingsError, "expected labels from 1"),
        ({"region_labels": "nowhere", "region_names": {1: "x"}}, SettingsError, "expected a folder of images"),
        ({"region_labels": "labels", "region_names": "twice.csv"}, TableError, "label 3 stands twice"),
        ({"region_labels": "labels", "region_names": "spelt.csv"}, TableError, "frontal"),
    ],
)
def test_maps_without_names_and_names_that_cannot_be_are_refused(tmp_path, monkeypatch, given, error, message):
    folders = draw(tmp_path)
    (tmp_path / "twice.csv").write_text("label,name\n3,a\n3,b\n", encoding="utf-8")
    (tmp_path / "spelt.csv").write_text("label,name\n3,frontal\n4,Frontal\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        evaluate(*folders, **given)
    assert not folders[2].exists()


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("value", "message"), [(0.5, "other numbers"), (9, "found none")], ids=["fraction", "unnamed"])
def test_a_map_that_is_none_of_labels_or_not_of_the_table_leaves_its_case_out(tmp_path, value, message):
    folders = draw(tmp_path, patients=2)
    save(tmp_path / "labels", "c1", np.full(SHAPE, value, dtype=np.float32))
    evaluation = evaluate(*folders, region_labels=tmp_path / "labels", region_names=NAMES)
    assert [failure.case for failure in evaluation.failures] == ["c1"]
    assert message in evaluation.failures[0].reason
    assert set(evaluation.agreement_by_location["n_cases"]) == {1}


def test_counts_of_no_lesion_are_empty():
    counts = count_places(np.zeros(0, dtype=object), np.zeros(0, dtype=bool), np.zeros(0))
    assert {name: len(values) for name, values in counts.items()} == dict.fromkeys(counts, 0)
    assert pd.DataFrame(counts).empty
