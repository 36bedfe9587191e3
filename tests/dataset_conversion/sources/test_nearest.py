"""A refused source names the nearest kinds and the way out: with the true layouts of other kinds."""

import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import check
from nnunet_ms.dataset_conversion.sources.nearest import nearest_kinds
from nnunet_ms.errors import ConversionError
from tests.dataset_conversion.sources.test_archive import KINDS, layout


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_kind_is_among_the_three_that_are_named(kind, tmp_path):
    layout(kind, tmp_path)
    wrong = "shifts" if kind != "shifts" else "isbi2015"
    with pytest.raises(
        ConversionError, match=f"The nearest other kinds: .*{kind} .*nnunet-ms-convert guess "
    ) as raised:
        check(tmp_path, wrong)
    named = str(raised.value).partition("The nearest other kinds: ")[2].partition(". For any")[0]
    assert named.count(" (") == 3
    assert "\n" not in str(raised.value)


PLACES = {
    "bids": ["sub-7/ses-a/anat/sub-7_ses-a_T1w.nii.gz", "sub-7/ses-a/anat/sub-7_ses-a_FLAIR.nii.gz"],
    "ms3seg": ["x/101228/101228_FLAIR.nii.gz", "x/101228/101228_T1WI_reg.nii.gz", "y/101228/101228_abWMH_Mask.nii.gz"],
    "open_ms": ["a/patient01/FLAIR.nii.gz", "a/patient01/T1W.nii.gz", "a/patient01/T1WKS.nii.gz"],
    "open_ms_longitudinal": ["a/patient01/study1_FLAIR.nii.gz", "a/patient01/gt.nii.gz"],
}


@pytest.mark.parametrize("kind", PLACES)
def test_a_few_names_are_enough(kind):
    assert kind in nearest_kinds(PLACES[kind])[:2]


def test_the_command_says_it_in_one_line(tmp_path, capsys):
    (tmp_path / "a.nii.gz").touch()
    assert main(["mslesseg", str(tmp_path), "--dataset-id", "5", "--raw", str(tmp_path / "raw")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"nnunet-ms-convert guess {tmp_path} proposes patterns" in error


def test_a_folder_where_a_manifest_was_expected(tmp_path, capsys):
    layout("wmh2017", tmp_path)
    assert main(["trial", str(tmp_path), "--dataset-id", "5", "--raw", str(tmp_path / "raw")]) == 2
    error = capsys.readouterr().err
    assert (
        "expected a manifest, a CSV with one row per visit, found a folder. The nearest other kinds: wmh2017" in error
    )
