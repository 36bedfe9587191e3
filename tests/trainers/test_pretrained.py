"""Oracle: the file system: a pickle that is run makes a folder."""

import pytest
import torch

from nnunet_ms.checkpoints import write_checksum
from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.pretrained import check_pretrained_weights
from tests.trainers.test_multi_arm_t2 import Bomb

COMMAND = ["nnUNetv2_train", "1", "3d_fullres", "0", "-p", "nnUNetPlansMS"]


@pytest.fixture
def weights(tmp_path):
    torch.save({"network_weights": {"a": torch.ones(2)}}, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


@pytest.fixture
def bomb(tmp_path):
    torch.save({"network_weights": {}, "logging": Bomb(tmp_path / "crater")}, tmp_path / "bomb.pth")
    return tmp_path / "bomb.pth"


@pytest.mark.parametrize("form", ["-pretrained_weights {}", "-pretrained_weights={}", "-pretrained {}", "-pre={}"])
def test_weights_that_could_run_code_are_refused_in_every_form_of_the_option(bomb, weights, form):
    check_pretrained_weights([*COMMAND, *form.format(weights).split()])
    with pytest.raises(ModelError, match=r"bomb\.pth: expected weights to begin with.*mkdir; loading it could"):
        check_pretrained_weights([*COMMAND, *form.format(bomb).split()])
    assert not (bomb.parent / "crater").exists()


@pytest.mark.parametrize("arguments", [[], ["-p", "x.pth"], ["-device", "cpu"], ["--c"]])
def test_other_options_name_no_weights(arguments):
    check_pretrained_weights([*COMMAND, *arguments])


def test_changed_and_foreign_files_are_refused(weights, tmp_path):
    write_checksum(weights)
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelError, match="expected SHA-256"):
        check_pretrained_weights([*COMMAND, "-pretrained_weights", str(weights)])
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="'network_weights'"):
        check_pretrained_weights([*COMMAND, "-pretrained_weights", str(tmp_path / "other.pth")])
