import pytest

from tests.trainers.tiny_model import write_images, write_results


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A trained-model folder with two folds of the tiny trainer (not trained), below results/Dataset001_Test."""
    return write_results(tmp_path_factory.mktemp("nnunet"))


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))
