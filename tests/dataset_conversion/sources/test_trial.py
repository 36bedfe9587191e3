"""A manifest: its columns, its visits, and paths that stay in its folder."""

import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.sources import trial as trial_source
from nnunet_ms.errors import ConversionError
from tests.dataset_conversion.conftest import convert_trial, edit, refused


def blank_one_t2(frame):
    frame.loc[0, "t2"] = None


def test_missing_sequence_of_one_visit_is_listed(trial, raw, capsys):
    edit(trial, blank_one_t2)
    assert convert_trial(trial, raw) == 1
    assert "patient P1 visit base: no path for ['t2']" in capsys.readouterr().err


def test_unknown_column(trial, raw, capsys):
    edit(trial, lambda frame: frame.insert(3, "flare", "x"))
    assert "unknown columns ['flare']" in refused(trial, raw, capsys)


def test_duplicate_visit(trial, raw, capsys):
    def repeat(frame):
        frame.loc[1, "visit"] = "base"

    edit(trial, repeat)
    assert "row 2: patient_id P1, visit base stands twice" in refused(trial, raw, capsys)


@pytest.mark.parametrize("path", ["../elsewhere/flair.nii.gz", "/data/flair.nii.gz", "images/../../flair.nii.gz"])
def test_path_outside_the_manifests_folder(trial, raw, capsys, path):
    def move(frame):
        frame.loc[2, "flair"] = path

    edit(trial, move)
    assert f"row 3, column flair: expected a path inside the manifest's folder, found {path}" in refused(
        trial, raw, capsys
    )


def test_sequence_that_no_visit_has(trial, raw, capsys):
    edit(trial, lambda frame: frame.pop("t2"))
    assert "found none in ['t2']" in refused(trial, raw, capsys)


@pytest.mark.parametrize(
    "path", ["..", "../x.nii.gz", "a/../../x", "/x", "./../x", "a/b/../../../x", "//x", "~/../../x"]
)
def test_paths_that_leave_the_folder_of_the_manifest_are_refused(tmp_path, path):
    frame = pd.DataFrame([{"patient_id": "A", "visit": "v", "week": 0, "flair": path, "t2_lesions": "m.nii.gz"}])
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(ConversionError, match="expected a path inside the manifest's folder"):
        trial_source.find_cases(trial_source.SOURCE.request(tmp_path / "manifest.csv", "flair"))
