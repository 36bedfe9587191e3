"""Plans name layers and parts of nnU-Net only, whatever else they try; nothing is imported or run to find out."""

import json
import pydoc
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from nnunet_ms.errors import ModelError
from nnunet_ms.trainers import allowed_names
from nnunet_ms.trainers.allowed_names import check_names, find_trainer, layers
from nnunet_ms.trainers.prediction.model import read_model
from tests.trainers.test_construction import construct
from tests.trainers.tiny_model import TRAINER, small_plans

CONFIGURATION = ("configurations", "3d_fullres")
ARGUMENTS = (*CONFIGURATION, "architecture", "arch_kwargs")


def put(plans, place, value):
    """Put a value into nested dicts; those that are not there are made."""
    here = plans
    for key in place[:-1]:
        here = here.setdefault(key, {})
    here[place[-1]] = value


EVIL = [
    "subprocess.Popen",
    "os.system",
    "builtins.eval",
    "eval",
    "os..system",
    "torch.nn.functional.relu",
    "torch.load",
]
PLACES = {
    "nonlin": (*ARGUMENTS, "nonlin"),
    "norm_op": (*ARGUMENTS, "norm_op"),
    "conv_op": (*ARGUMENTS, "conv_op"),
    "dropout_op": (*ARGUMENTS, "dropout_op"),
    "network": (*CONFIGURATION, "architecture", "network_class_name"),
    "reader": ("image_reader_writer",),
    "labels": ("label_manager",),
    "preprocessor": (*CONFIGURATION, "preprocessor_name"),
    "resampling": (*CONFIGURATION, "resampling_fn_data"),
    "resampling of masks": (*CONFIGURATION, "resampling_fn_seg"),
    "resampling of probabilities": (*CONFIGURATION, "resampling_fn_probabilities"),
    "another configuration": ("configurations", "other", "architecture", "network_class_name"),
    "old plans": (*CONFIGURATION, "UNet_class_name"),
}


@pytest.mark.parametrize("value", EVIL)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_program_in_the_place_of_a_part_is_refused_by_place_and_file(place, value):
    plans = small_plans()
    put(plans, place, value)
    with pytest.raises(ModelError, match=rf"\Aplans\.json: {'.'.join(place)} names '{value}'.* it could run code\."):
        check_names(plans, "plans.json")


def nested(plans):
    put(plans, (*ARGUMENTS, "kernel_sizes"), [[3, 3, 3], ["os.system"]])


def pool(plans):
    put(plans, (*ARGUMENTS, "pool"), "os.system")


def scheme(plans):
    put(plans, (*CONFIGURATION, "normalization_schemes"), ["ZScoreNormalization", "os", "NoNormalization"])


def kwargs(plans):
    put(plans, (*CONFIGURATION, "resampling_fn_data_kwargs", "fn"), "builtins.exec")


def inherited(plans):
    parent = deepcopy(plans["configurations"]["3d_fullres"])
    put(parent, ("architecture", "arch_kwargs", "nonlin"), "subprocess.Popen")
    plans["configurations"] = {"parent": parent, "3d_fullres": {"inherits_from": "parent"}}


def further_argument(plans):
    put(plans, (*ARGUMENTS, "block"), "print")
    plans["configurations"]["3d_fullres"]["architecture"]["_kw_requires_import"].append("block")


def looked_up_by_a_dict(plans):
    put(plans, (*CONFIGURATION, "architecture", "_kw_requires_import"), {"pool": 1})


def looked_up_by_a_text(plans):
    put(plans, (*ARGUMENTS, "a"), "eval")
    put(plans, (*CONFIGURATION, "architecture", "_kw_requires_import"), "a")


def configuration_called_like_a_text(plans):
    plans["configurations"]["dataset_name"] = {"architecture": {"network_class_name": "os.system"}}


def imported_by_nnunet(plans):
    put(plans, (*CONFIGURATION, "resampling_fn_data"), "deepcopy")  # a name inside nnU-Net's module, not of nnU-Net


HIDDEN = [nested, pool, scheme, kwargs, inherited, further_argument, looked_up_by_a_dict, looked_up_by_a_text]
HIDDEN += [configuration_called_like_a_text, imported_by_nnunet]


@pytest.mark.parametrize("hide", HIDDEN, ids=lambda hide: hide.__name__)
def test_hidden_deeper(hide):
    plans = small_plans()
    hide(plans)
    with pytest.raises(ModelError, match=r"\Aplans\.json: configurations\..* names .*which is no layer or part"):
        check_names(plans, "plans.json")


def test_what_nnunet_and_this_package_write_is_allowed():
    check_names(small_plans(), "plans.json")
    residual = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
        "arch_kwargs": {"block": "dynamic_network_architectures.building_blocks.residual.BasicBlockD", "nonlin": None},
        "_kw_requires_import": ["block", "nonlin"],
    }
    check_names({"configurations": {"3d_fullres": {"architecture": residual}}}, "plans.json")
    check_names({"dataset_name": "Dataset001_v.two", "normalization_schemes": ["CTNormalization"]}, "plans.json")


def test_the_lists_name_what_is_there():
    # Oracle: what nnU-Net would look up by pydoc; Primus needs more than nnU-Net's U-Nets to be imported.
    import dynamic_network_architectures as architectures

    primus = {name for name in allowed_names.ARCHITECTURES if ".primus." in name}
    for name in (layers() | allowed_names.ARCHITECTURES) - primus:
        assert issubclass(pydoc.locate(name), nn.Module), name
    text = (Path(architectures.__path__[0]) / "architectures" / "primus.py").read_text()
    assert {name.rpartition(".")[2] for name in primus} == set(re.findall(r"^class (Primus\w*)", text, re.MULTILINE))


@pytest.mark.parametrize("name", ["os", "subprocess", "Bomb", "nnUNetTrainer.os", "", "../x", "deepcopy", "__init__"])
def test_a_trainer_of_neither(name):
    with pytest.raises(ModelError, match=r"\Ac\.pth: the trainer '.*' is none of nnU-Net's or of this package"):
        find_trainer(name, "c.pth")


def test_trainers_of_both():
    assert find_trainer(TRAINER, "c.pth").__name__ == TRAINER
    assert find_trainer("nnUNetTrainerDA5", "c.pth").__module__.startswith("nnunetv2.training.nnUNetTrainer.")


@pytest.mark.parametrize("trainer", [TRAINER, "nnUNetTrainer"])
def test_a_model_that_would_import_a_module_of_its_own_leaves_no_marker(model_folder, tmp_path, monkeypatch, trainer):
    # nnU-Net would import `evil_part` from the path; the import writes a file
    folder = shutil.copytree(model_folder, tmp_path / "model", ignore=shutil.ignore_patterns("*.sha256"))
    marker = tmp_path / "marker"
    (tmp_path / "evil_part.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for path in folder.glob("fold_*/checkpoint_final.pth"):
        torch.save({**torch.load(path, weights_only=False), "trainer_name": trainer}, path)
    plans = json.loads((folder / "plans.json").read_text())
    put(plans, PLACES["nonlin"], "evil_part.layer")
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ModelError, match=r"plans\.json: .*arch_kwargs\.nonlin names 'evil_part\.layer'"):
        read_model(folder)
    assert not marker.exists()
    assert "evil_part" not in sys.modules


def test_the_command_says_it_in_one_line_and_exits_with_2(model_folder, image_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    plans = json.loads((folder / "plans.json").read_text())
    put(plans, PLACES["nonlin"], "subprocess.Popen")
    (folder / "plans.json").write_text(json.dumps(plans))
    command = [sys.executable, "-m", "nnunet_ms.trainers.predict_cli", "-i", image_folder, "-o", tmp_path / "out"]
    done = subprocess.run([*command, "-m", folder, "-device", "cpu"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert (
        "plans.json: configurations.3d_fullres.architecture.arch_kwargs.nonlin names 'subprocess.Popen'" in done.stderr
    )


def test_training_with_such_plans_is_refused_too():
    import nnunet_ms.doors.trainers as door

    plans = small_plans()
    put(plans, PLACES["resampling"], "system")
    with pytest.raises(
        ModelError, match=r"the plans of nnUNetTrainerMSMultiArmTiny: .*resampling_fn_data names 'system'"
    ):
        construct(getattr(door, TRAINER), plans)
