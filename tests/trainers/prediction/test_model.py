import shutil

import pytest
import torch
from torch import nn

from nnunet_ms.errors import ModelError, NnunetMsError, SettingsError
from nnunet_ms.trainers.prediction import model
from nnunet_ms.trainers.prediction.model import Model, read_model


@pytest.fixture
def copied(model_folder, tmp_path):
    """A copy to change: without the checksums of what was there before."""
    return shutil.copytree(model_folder, tmp_path / model_folder.name, ignore=shutil.ignore_patterns("*.sha256"))


def test_opens_what_nnunet_wrote(model_folder):
    model = read_model(model_folder)
    assert model.trainer == "nnUNetTrainerMSMultiArmTiny"
    assert model.folds == ("0", "1")
    assert model.classes == [("lesion", 1)]
    assert model.mirror_axes == ()
    weights = torch.load(model_folder / "fold_1" / "checkpoint_final.pth", weights_only=False)["network_weights"]
    assert all(torch.equal(value, weights[name]) for name, value in model.weights[1].items())


class Bomb:
    def __reduce__(self):
        return print, ("code ran",)


def test_a_checkpoint_that_could_run_code_is_refused_with_the_reason(copied, capsys):
    path = copied / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    torch.save({**checkpoint, "logging": Bomb()}, path)
    with pytest.raises(
        ModelError,
        match=r"checkpoint_final\.pth: expected a checkpoint of nnU-Net .* found builtins\.print; loading it",
    ):
        read_model(copied)
    assert "code ran" not in capsys.readouterr().out


def test_a_file_of_torch_that_is_no_checkpoint(copied):
    torch.save({"weights": torch.zeros(1)}, copied / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(
        ModelError, match=r"checkpoint_final\.pth: expected a checkpoint of nnU-Net with .*\['network_weights', 't"
    ):
        read_model(copied)


def test_another_trainer_is_named(model_folder):
    with pytest.raises(
        ModelError, match=r"expected a checkpoint of nnUNetTrainer, found one of nnUNetTrainerMSMultiArmTiny"
    ):
        read_model(model_folder, trainer="nnUNetTrainer")


@pytest.mark.parametrize("folds", [("0", "1", "2"), ("all",), ("0", "0")])
def test_folds_that_are_not_there(model_folder, folds):
    with pytest.raises(
        ModelError, match=r"expected checkpoint_final\.pth of different folds .*found folds \['0', '1'\]"
    ):
        read_model(model_folder, folds)


def test_a_missing_model_lists_what_is_there(model_folder):
    with pytest.raises(ModelError, match=r"plans\.json: no such file.*Beside it are \['nnUNetTrainerMSMultiArmTiny__"):
        read_model(model_folder.with_name("nnUNetTrainer__nnUNetPlans__3d_fullres"))


def test_weights_of_another_network_are_refused(copied):
    path = copied / "fold_1" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["network_weights"]["decoder.seg_layers.0.bias"] = torch.zeros(7)
    torch.save(checkpoint, path)
    with pytest.raises(ModelError, match=r"decoder\.seg_layers\.0\.bias: expected \(1,\), found \(7,\)"):
        read_model(copied)


def test_parameters_of_distributed_and_compiled_training_are_read(copied):
    path = copied / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    weights = checkpoint["network_weights"]
    torch.save({**checkpoint, "network_weights": {f"module._orig_mod.{k}": v for k, v in weights.items()}}, path)
    assert all(torch.equal(value, weights[name]) for name, value in read_model(copied, ("0",)).weights[0].items())


@pytest.mark.parametrize("heads", [2, 4])
def test_log_odds_of_a_softmax(heads):
    # Oracle: p / (1 - p) of the softmax itself.
    model = object.__new__(Model)
    object.__setattr__(model, "network", nn.Identity())
    logits = torch.randn(3, heads, 2, 2, 2, dtype=torch.float64)
    p = torch.softmax(logits, 1)[:, 1:]
    assert torch.allclose(model.log_odds(logits), torch.log(p / (1 - p)))


def test_models_are_found_below_nnunets_results(model_folder, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(model_folder.parents[1]))
    parts = model_folder.name.split("__")
    find = model.model_folder
    assert find("1", *parts) == find("Dataset001_Test", *parts) == model_folder
    with pytest.raises(NnunetMsError, match=r"expected one folder Dataset007_\*, found 0"):
        find("7", *parts)
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(SettingsError, match="nnUNet_results: expected nnU-Net's results folder"):
        find("1", *parts)
