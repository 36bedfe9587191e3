"""The folder of a new dataset: named as nnU-Net names it, and of a number that nobody has."""

import pytest
from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id

from nnunet_ms.dataset_conversion.raw_dataset.dataset_folder import new_folder
from nnunet_ms.errors import ConversionError


@pytest.mark.parametrize("dataset_id", [1, 42, 999])
def test_nnunet_reads_the_number_in_the_name(raw, dataset_id):
    # Oracle: nnU-Net
    folder = new_folder(str(raw), dataset_id, "Trial-2_b")
    assert folder.parent == raw
    assert convert_dataset_name_to_id(folder.name) == dataset_id
    assert not raw.exists()


@pytest.mark.parametrize("dataset_id", [0, -5, 1000, 5.0, "5", None])
def test_numbers_that_cannot_be(raw, dataset_id):
    with pytest.raises(ConversionError, match=f"--dataset-id {dataset_id}: expected 1 to 999"):
        new_folder(raw, dataset_id, "Trial")


def test_no_folder_known(raw):
    with pytest.raises(ConversionError, match="no raw folder: give --raw DIR or set nnUNet_raw"):
        new_folder(None, 5, "Trial")


@pytest.mark.parametrize("variable", ["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"])
def test_a_number_that_another_dataset_has_in_any_of_nnunets_folders(raw, tmp_path, monkeypatch, variable):
    (tmp_path / "place" / "Dataset005_Older").mkdir(parents=True)
    monkeypatch.setenv(variable, str(tmp_path / "place"))
    with pytest.raises(
        ConversionError, match=r"number 5 is taken by \['Dataset005_Older'\]. Choose another --dataset-id\."
    ):
        new_folder(raw, 5, "Trial", overwrite=True)
    assert new_folder(raw, 6, "Trial").name == "Dataset006_Trial"


def test_an_existing_folder_is_replaced_only_when_asked(raw):
    (raw / "Dataset005_Trial").mkdir(parents=True)
    with pytest.raises(
        ConversionError, match=r"taken by Dataset005_Trial\. Choose another --dataset-id, or --overwrite it"
    ):
        new_folder(raw, 5, "Trial")
    assert new_folder(raw, 5, "Trial", overwrite=True) == raw / "Dataset005_Trial"
