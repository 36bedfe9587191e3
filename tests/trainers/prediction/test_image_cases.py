import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.trainers.prediction.image_cases import find_image_cases, read_images
from nnunet_ms.trainers.prediction.model import read_model
from tests.trainers.tiny_model import write_images


@pytest.fixture(scope="module")
def model(model_folder):
    return read_model(model_folder, ("0",))


def test_cases_are_found_with_the_patients_of_the_dataset(model, image_folder):
    cases, failures = find_image_cases(image_folder, model)
    assert failures == []
    assert [(case.case_id, case.patient_id, case.visit) for case in cases] == [
        ("a_1", "a", "unknown"),
        ("a_2", "a", "unknown"),
    ]
    assert [path.name for path in cases[0].files] == [f"a_1_{channel:04d}.nii.gz" for channel in range(3)]
    assert [image.grid.shape for image in read_images(cases[0])] == [(20, 26, 11)] * 3


def test_a_table_of_cases_gives_visits(model, image_folder, tmp_path):
    table = pd.DataFrame({"case_id": ["a_1"], "patient_id": ["P"], "visit": ["v1"], "week": [4], "role": ["test"]})
    table.to_csv(tmp_path / "cases.csv", index=False)
    cases, _ = find_image_cases(image_folder, model, tmp_path / "cases.csv")
    assert [(case.patient_id, case.visit, case.week) for case in cases[:1]] == [("P", "v1", 4)]
    assert cases[1].patient_id == "a_2"


def test_missing_and_further_channels_are_failures_of_their_case(model, tmp_path):
    images = write_images(tmp_path / "images", ("few", "good", "many"))
    (images / "few_0001.nii.gz").unlink()
    (images / "many_0003.nii.gz").write_bytes((images / "many_0002.nii.gz").read_bytes())
    cases, failures = find_image_cases(images, model)
    assert [case.case_id for case in cases] == ["good"]
    assert [failure.case for failure in failures] == ["few", "many"]
    assert "expected channels 0000 (t1), 0001 (flair), 0002 (t2)" in failures[0].reason
    assert failures[0].reason.endswith("found 0000, 0002. Add or remove files.")
    assert "found 0000, 0001, 0002, 0003" in failures[1].reason


def test_folders_without_images(model, tmp_path):
    with pytest.raises(SettingsError, match="expected a folder of images"):
        find_image_cases(tmp_path / "none", model)
    with pytest.raises(SettingsError, match="expected images <case>_0000"):
        find_image_cases(tmp_path, model)


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        ((0, 4, 4), 1, "expected voxels, found an image of shape"),
        ((20, 26, 11), 0, "expected intensities, found 0 in every voxel"),
        ((20, 26, 12), 1, "expected the grid of"),
        ((20, 26, 11), np.nan, "expected finite voxels"),
        ((20, 26, 11, 2), 1, "expected a 3-D image"),
    ],
)
def test_images_that_cannot_be_predicted(model, tmp_path, shape, value, message):
    images = write_images(tmp_path / "images", ("c",))
    for channel in range(3):
        if value == 0 or channel == 1 or shape[0] == 0:
            affine = nib.load(images / f"c_{channel:04d}.nii.gz").affine
            data = np.full(shape, value, np.float32)
            nib.save(nib.Nifti1Image(data, affine), images / f"c_{channel:04d}.nii.gz")
    (case,), _ = find_image_cases(images, model)
    with pytest.raises(ImageError, match=message):
        read_images(case)


def test_an_image_in_the_place_of_another_is_refused(model, tmp_path):
    # such as the image before contrast agent in the place of that after it
    write_images(tmp_path, ("x",))
    (tmp_path / "x_0002.nii.gz").write_bytes((tmp_path / "x_0000.nii.gz").read_bytes())
    (case,), _ = find_image_cases(tmp_path, model)
    with pytest.raises(ImageError, match=r"x_0002.nii.gz: expected another sequence.*before contrast agent"):
        read_images(case)
