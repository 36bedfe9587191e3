import numpy as np
import pytest

from tests.trainers.tiny_model import write_images, write_results

ANY = "nnUNetTrainerMSMultiArmAnyTiny"
HOW = {"samples": 0, "tta": False, "pictures": False, "device": "cpu"}
NAMES = ("t1", "flair", "t2")  # of the tiny model's channels


@pytest.fixture(scope="session")
def any_folder(tmp_path_factory):
    """A model for any sequences, of random numbers."""
    return write_results(tmp_path_factory.mktemp("any_model"), folds=(0,), trainer_name=ANY)


@pytest.fixture(scope="session")
def scans(tmp_path_factory):
    """Images of one scan by sequence: small, so that no head is seen in them."""
    folder = write_images(tmp_path_factory.mktemp("scans"), cases=("a_1",))
    for number, name in enumerate(NAMES):
        (folder / f"a_1_{number:04d}.nii.gz").rename(folder / f"{name}.nii.gz")
    return {name: folder / f"{name}.nii.gz" for name in NAMES}


@pytest.fixture
def rng():
    return np.random.default_rng(0)
