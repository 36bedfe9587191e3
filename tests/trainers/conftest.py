import pytest

from tests.trainers.tiny_model import write_images, write_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A trained-model folder with two folds of the tiny trainer (not trained), below results/Dataset001_Test."""
    root = tmp_path_factory.mktemp("nnunet")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("raw", "preprocessed", "results"):
            (root / name).mkdir()
            patch.setenv(f"nnUNet_{name}", str(root / name))
        preprocessed = root / "preprocessed" / "Dataset001_Test" / "nnUNetPlansMS_3d_fullres"
        preprocessed.mkdir(parents=True)
        (preprocessed / "case.b2nd").touch()  # tells nnU-Net the format of the preprocessed cases
        patch.setenv("nnUNet_compile", "f")
        return write_model(root / "results" / "Dataset001_Test")


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))
