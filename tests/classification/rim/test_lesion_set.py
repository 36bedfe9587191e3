"""Reading of a features folder: what it holds comes back, and what does not fit together is named."""

import shutil

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.classification.rim.lesion_set import read_lesion_set, read_settings
from nnunet_ms.errors import TableError
from tests.classification.rim.tiny_lesions import NAMES, write_lesions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_lesions(tmp_path_factory.mktemp("tiny") / "features", patients=4, rim_patients=2, per_patient=3)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_rows_features_and_patches_belong_together(folder):
    lesions = read_lesion_set(folder)
    assert len(lesions) == 12
    assert lesions.names == NAMES
    assert lesions.patches.shape == (12, 2, 8, 32, 32)
    assert lesions.geometry == (8, 32, 32)
    assert lesions.patients[:4] == ["000", "000", "000", "001"]  # ids as given
    table = pd.read_csv(folder / "features.csv")
    np.testing.assert_allclose(lesions.columns(["original_shape_Sphericity"])[:, 0], table["original_shape_Sphericity"])
    with np.load(folder / "boxes" / "002_base.npz") as file:
        assert np.array_equal(lesions.patches[6:9], file["patches"])
    assert read_settings(folder) == {"geometry": [8, 32, 32]}


def test_visits_need_not_stand_together(copy):
    rows, features = pd.read_csv(copy / "lesions.csv", dtype=str), pd.read_csv(copy / "features.csv", dtype=str)
    order = [0, 3, 6, 1, 9, 4, 2, 5, 7, 10, 8, 11]
    rows.iloc[order].to_csv(copy / "lesions.csv", index=False)
    features.iloc[order].to_csv(copy / "features.csv", index=False)
    with np.load(copy / "boxes" / "001_base.npz") as file:
        assert np.array_equal(read_lesion_set(copy).patches[[1, 5, 7]], file["patches"])


def test_some_of_the_lesions(folder):
    lesions = read_lesion_set(folder)
    some = lesions.take(lesions.rim)
    assert len(some) == len(some.features) == len(some.patches) == int(lesions.rim.sum())
    assert np.array_equal(lesions.take(np.array([2, 0])).patches, lesions.patches[[2, 0]])


def change(name, column, value, row=1):
    def act(folder):
        table = pd.read_csv(folder / name, dtype=str)
        table.loc[row, column] = value
        table.to_csv(folder / name, index=False)

    return act


def patches(array):
    return lambda folder: np.savez(folder / "boxes" / "001_base.npz", patches=array)


FULL = np.zeros((3, 2, 8, 32, 32), dtype=np.float32)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (change("lesions.csv", "label", "0.5"), r"lesions\.csv: row 2, column label: expected 1 \(rim\+\), 0"),
        (change("lesions.csv", "lesion_id", "9"), r"features\.csv: expected the 12 lesions of lesions\.csv in their"),
        (change("lesions.csv", "lesion_id", "1"), r"lesions\.csv: row 2: patient_id 000.* stands twice"),
        (change("features.csv", NAMES[1], "NaN"), rf"row 2, column {NAMES[1]}: expected a finite number, found 'NaN'"),
        (change("features.csv", NAMES[1], "inf"), "expected a finite number, found 'inf'"),
        (change("features.csv", NAMES[4], ""), "expected a finite number, found None"),
        (change("features.csv", NAMES[4], "high"), "expected a finite number, found 'high'"),
        (
            change("features.csv", NAMES[1], "1e308"),
            "expected a finite number, found .*1e.?308.*squares overflow",
        ),
        (lambda folder: (folder / "features.csv").unlink(), r"features\.csv: no such file"),
        (lambda folder: (folder / "lesions.csv").unlink(), r"lesions\.csv: no such file"),
        (lambda folder: (folder / "boxes/001_base.npz").unlink(), r"001_base\.npz: no such file.*to its end"),
        (lambda folder: (folder / "boxes/001_base.npz").write_bytes(b"PK"), "cannot read them"),
        (patches(FULL[:2]), "expected 3 patches as lesions.csv has lesions of this visit, found 2"),
        (patches(FULL[:, :1]), r"expected finite patches \(lesions, 2, D, H, W\), found \(3, 1, 8, 32, 32\)"),
        (patches(FULL * np.nan), "expected finite patches"),
        (patches(FULL[:, :, :4]), "expected patches of one size"),
        (patches(np.array([None])), "cannot read them"),  # a pickle
    ],
)
def test_what_does_not_fit_together_is_named(copy, act, message):
    act(copy)
    with pytest.raises(TableError, match=message):
        read_lesion_set(copy)


def test_no_folder_and_no_settings(tmp_path):
    with pytest.raises(TableError, match="expected a folder of nnunet-ms-rim features, found none"):
        read_lesion_set(tmp_path / "none")
    assert read_settings(tmp_path) == {}
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(TableError, match=r"settings\.json: expected JSON"):
        read_settings(tmp_path)
