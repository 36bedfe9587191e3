"""nnU-Net's own lookup, in a fresh interpreter, must end at our classes before it imports torchvision."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nnunet_ms.doors.trainers as door
from nnunet_ms.doors.__main__ import main

LOOKUP = """
import json, sys
from os.path import join
import nnunetv2
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

root = nnunetv2.__path__[0]
found = {}
for name in sys.argv[1].split(","):
    found[name] = recursive_find_trainer_class_by_name(name).__module__
found["nnUNetPlannerMS"] = recursive_find_python_class(
    join(root, "experiment_planning"), "nnUNetPlannerMS", "nnunetv2.experiment_planning").__module__
found["BrainPercentileNormalization"] = recursive_find_python_class(
    join(root, "preprocessing", "normalization"), "BrainPercentileNormalization",
    "nnunetv2.preprocessing.normalization").__module__
print(json.dumps({"found": found, "torchvision": "torchvision" in sys.modules}))
"""


@pytest.mark.slow
def test_nnunet_finds_every_class_by_name_without_torchvision(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", LOOKUP, ",".join(door.__all__)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answer = json.loads(run.stdout.splitlines()[-1])
    assert not answer["torchvision"]
    trainers = {name: answer["found"][name] for name in door.__all__}
    # the classes keep their one true module, so that pickles and checkpoints name it
    assert set(trainers.values()) == {"nnunet_ms.trainers.multi_arm_t2", "nnunet_ms.trainers.joint_t1"}
    assert answer["found"]["nnUNetPlannerMS"] == "nnunet_ms.trainers.planner"
    assert answer["found"]["BrainPercentileNormalization"] == "nnunet_ms.trainers.normalization"


def test_door_exports_every_trainer():
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from nnunet_ms.trainers import joint_t1, multi_arm_t2

    trainers = {
        name
        for name, value in {**vars(multi_arm_t2), **vars(joint_t1)}.items()
        if isinstance(value, type) and issubclass(value, nnUNetTrainer) and value is not nnUNetTrainer
    }
    assert trainers == set(door.__all__)


def test_folder_for_an_editable_nnunet_holds_the_trainers(capsys):
    assert main() == 0
    assert (Path(capsys.readouterr().out.strip()) / "trainers.py").is_file()


@pytest.mark.slow
def test_wheel_places_the_doors_inside_nnunet(tmp_path):
    root = Path(__file__).resolve().parents[1]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=root,
        check=True,
        capture_output=True,
    )
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert "nnunetv2/training/nnUNetTrainer/nnunet_ms_trainers.py" in names
    assert "nnunetv2/experiment_planning/nnunet_ms_planners.py" in names
    assert "nnunetv2/preprocessing/normalization/nnunet_ms_normalization.py" in names
    assert "nnunet_ms/analysis/report/report.html.j2" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"nnunet_ms", "nnunetv2"}
