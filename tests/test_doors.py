"""nnU-Net's own lookup, in a fresh interpreter, must end at our classes before it imports torchvision."""

import ast
import json
import runpy
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nnunet_ms.doors.trainers as door
from nnunet_ms.doors import normalization, planners
from nnunet_ms.doors.__main__ import main
from nnunet_ms.doors.classes import CLASSES, NORMALISATION, PLANNERS, TRAINERS

STARTUP = Path(__file__).resolve().parents[1] / "startup"

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
    homes = (
        "any_sequence",
        "any_sequence_synthetic",
        "multi_arm_t2",
        "multi_arm_ablation",
        "joint_t1",
        "new_lesions",
        "fine_tune",
        "rim",
    )
    assert set(trainers.values()) == {f"nnunet_ms.trainers.{home}" for home in homes}
    assert answer["found"]["nnUNetPlannerMS"] == "nnunet_ms.trainers.planner"
    assert answer["found"]["BrainPercentileNormalization"] == "nnunet_ms.trainers.normalization"


def test_door_exports_every_trainer():
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from nnunet_ms.trainers import (
        any_sequence,
        any_sequence_synthetic,
        fine_tune,
        joint_t1,
        multi_arm_ablation,
        multi_arm_t2,
        new_lesions,
        rim,
    )

    trainers = {
        name
        for module in (
            any_sequence,
            any_sequence_synthetic,
            multi_arm_t2,
            multi_arm_ablation,
            joint_t1,
            new_lesions,
            fine_tune,
            rim,
        )
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, nnUNetTrainer) and name.startswith("nnUNetTrainerMS")
    }
    assert trainers == set(door.__all__)


def test_the_table_names_every_class_where_it_is():
    assert set(CLASSES[TRAINERS]) == set(door.__all__)
    assert {name: getattr(door, name).__module__ for name in door.__all__} == CLASSES[TRAINERS]
    assert set(CLASSES[PLANNERS]) == set(planners.__all__)
    assert set(CLASSES[NORMALISATION]) == set(normalization.__all__)


def test_the_folder_for_ext_trainer_holds_the_trainers(capsys):
    main([])
    assert (Path(capsys.readouterr().out.strip()) / "trainers.py").is_file()


def test_a_command_that_nnunet_does_not_have(capsys):
    assert main(["nnUNetv2_trian"]) == 2
    assert "nnUNetv2_train" in capsys.readouterr().err


def test_the_hook_waits_for_one_module_only():
    hook = runpy.run_path(str(STARTUP / "nnunet_ms_doors.py"))
    finder = hook["Finder"]()
    assert finder.find_spec("json") is None
    assert finder.find_spec("nnunetv2.utilities.find_objects") is None


def test_starting_python_imports_nothing_of_nnunet_or_of_us():
    code = "import nnunet_ms_doors, sys; nnunet_ms_doors.install(); print(sorted(sys.modules))"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(STARTUP)!r}); {code}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    bare = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; print(sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert set(ast.literal_eval(loaded)) - set(ast.literal_eval(bare)) == {"nnunet_ms_doors"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("nnunet-ms-simulate", 130, "nnunet-ms-simulate: interrupted. Repeat the command to start again.\n"),
        ("other", -signal.SIGINT, "KeyboardInterrupt\n"),
    ],
)
def test_a_command_that_is_interrupted_while_it_is_imported_says_so_in_one_line(tmp_path, name, code, told):
    script = tmp_path / name  # as pip writes it, with an import that takes long
    script.write_text("print('begun', flush=True)\nimport time\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", RUN, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=STARTUP,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # pytest may run where it is ignored
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors == told if code == 130 else errors.endswith(told)


RUN = """
import runpy, sys
sys.orig_argv = [sys.executable, sys.argv[1]]  # of `nnunet-ms-simulate ...` in a shell
import nnunet_ms_doors; nnunet_ms_doors.install()
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.mark.slow
def test_wheel_puts_nothing_into_nnunet(tmp_path):
    root = Path(__file__).resolve().parents[1]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=root,
        check=True,
        capture_output=True,
    )
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {"nnunet_ms_doors.py", "nnunet_ms_doors.pth", "nnunet_ms_doors.start"} <= set(names)
    assert "nnunet_ms/analysis/report/report.html.j2" in names
    assert "nnunet_ms/doors/trainers.py" in names
    assert {name.split("/")[0] for name in names if "/" in name and ".dist-info/" not in name} == {"nnunet_ms"}
