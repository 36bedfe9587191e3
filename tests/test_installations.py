"""Four ways to install nnU-Net and this package: nnU-Net works in each, finds our classes, and nothing stays behind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from nnunet_ms.doors.classes import CLASSES
from tests.installations import Environment, libraries, nnunet_checkout, nnunet_scripts, place_nnunet

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
# no part of an installation; other processes write the last of them at this moment
LEFT_OUT = (".*", "tests", "benchmarks", "docs", "demo", "build", "__pycache__")
LOOKUP = """
import json, sys
from os.path import join
import nnunetv2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

root, found = nnunetv2.__path__[0], {}
for place, names in json.loads(sys.argv[1]).items():
    folder = join(root, *place.split(".")[1:])
    for name in names:
        is_trainer = place.endswith("nnUNetTrainer")
        of_nnunet = recursive_find_trainer_class_by_name if is_trainer else recursive_find_python_class
        found[name] = of_nnunet(*((name,) if is_trainer else (folder, name, place))).__module__
assert recursive_find_trainer_class_by_name("nnUNetTrainer") is nnUNetTrainer  # its own are still found
print(json.dumps({"found": found, "torchvision": "torchvision" in sys.modules}))
"""
EXPECTED = {name: module for classes in CLASSES.values() for name, module in classes.items()}


@pytest.fixture(scope="module")
def libs(tmp_path_factory):
    return libraries(tmp_path_factory.mktemp("installations") / "libraries")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def wheel_and_wheel(folder, libs, wheel):
    here = Environment(folder / "env")
    here.see(libs)
    place_nnunet(here.site)
    nnunet_scripts(here)
    here.install(str(wheel))
    return here


def wheel_and_editable_nnunet(folder, libs, wheel):
    here = Environment(folder / "env")
    here.see(libs)
    here.install("-e", str(nnunet_checkout(folder / "nnUNet")))
    here.install(str(wheel))
    return here


def base_and_venv(folder, libs, wheel):
    """nnU-Net below, this package in an environment on top that sees it, as on HPC modules or with `pip --user`."""
    base, here = Environment(folder / "base"), Environment(folder / "env")
    place_nnunet(base.site)
    nnunet_scripts(here)  # as `python -m nnunet_ms.doors nnUNetv2_train` runs them
    here.see(base.site)
    here.see(libs)
    here.install(str(wheel))
    return here


def both_editable(folder, libs, wheel):
    here = Environment(folder / "env")
    here.see(libs)
    checkout = folder / "nnunet_ms"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*LEFT_OUT))
    here.install("-e", str(nnunet_checkout(folder / "nnUNet")))
    here.install("-e", str(checkout))
    return here


WAYS = [wheel_and_wheel, wheel_and_editable_nnunet, base_and_venv, both_editable]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def environment(request, tmp_path_factory, libs, wheel):
    folder = tmp_path_factory.mktemp(request.param.__name__)
    return request.param(folder, libs, wheel)


def test_nnunet_finds_every_class_without_variable_and_torchvision(environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("nnUNet", "PYTHON"))}
    printed = environment.run("python", "-c", LOOKUP, json.dumps(CLASSES), env=clean)
    assert json.loads(printed.splitlines()[-1]) == {"found": EXPECTED, "torchvision": False}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A tiny raw dataset, converted from phantoms by the environment that runs the tests."""
    out = tmp_path_factory.mktemp("tiny")
    python = [sys.executable, "-m"]
    simulate = ["nnunet_ms.simulation.cli", "trial", "--preset", "demo", "--patients", "3", "--images", "--seed", "5"]
    convert = ["nnunet_ms.dataset_conversion.cli", "trial", "trial/manifest.csv", "--dataset-id", "801", "--name", "T"]
    subprocess.run([*python, *simulate, "-o", "trial"], cwd=out, check=True, capture_output=True)
    manifest = pd.read_csv(out / "trial" / "manifest.csv", dtype=str)
    manifest[manifest["week"] == "0"].to_csv(out / "trial" / "manifest.csv", index=False)  # a scan each, for speed
    convert += ["--test-patients", "P003", "--folds", "2", "--raw", "raw"]
    subprocess.run([*python, *convert], cwd=out, check=True, capture_output=True)
    return out


def test_plan_train_and_predict(environment, dataset, tmp_path):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("nnUNet", "PYTHON"))}
    folders = {f"nnUNet_{name}": str(tmp_path / name) for name in ("raw", "preprocessed", "results")}
    shutil.copytree(dataset / "raw", tmp_path / "raw")
    plan = {**clean, **folders, "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1"}
    train = {**plan, "nnUNet_n_proc_DA": "0"}
    trainer = ("-tr", "nnUNetTrainerMSMultiArmTiny", "-p", "nnUNetPlansMS", "-device", "cpu")
    planner = ("-pl", "nnUNetPlannerMS", "-c", "3d_fullres", "-npfp", "1", "-np", "1")
    environment.run("nnUNetv2_plan_and_preprocess", "-d", "801", *planner, env=plan, cwd=tmp_path)
    environment.run("nnUNetv2_train", "801", "3d_fullres", "0", *trainer, env=train, cwd=tmp_path)
    images = tmp_path / "raw" / "Dataset801_T" / "imagesTs"
    for extra in sorted(images.iterdir())[3:]:  # the channels of one case
        extra.unlink()
    model = ("-d", "801", "-c", "3d_fullres", "-f", "0", "--disable_tta", "-npp", "1", "-nps", "1")
    environment.run("nnUNetv2_predict", "-i", str(images), "-o", "out", *model, *trainer, env=train, cwd=tmp_path)
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 1


def test_uninstalling_leaves_nothing_and_nnunet_works(environment):
    environment.pip("uninstall", "--yes", "--quiet", "nnunet-ms")
    assert [entry.name for entry in environment.site.iterdir() if "nnunet_ms" in entry.name] == []
    assert not list(environment.site.glob("nnunetv2/**/nnunet_ms*"))
    code = "import sys, nnunetv2.utilities.find_objects; print(any('nnunet_ms' in name for name in sys.modules))"
    assert environment.run("python", "-c", code).strip().endswith("False")


def test_doors_of_0_1_0_are_removed_on_upgrade(tmp_path, libs, wheel):
    here = Environment(tmp_path / "env")
    place_nnunet(here.site)
    here.see(libs)
    old = {  # what the wheel of 0.1.0 put into nnU-Net's folders
        "nnunetv2/training/nnUNetTrainer/nnunet_ms_trainers.py",
        "nnunetv2/experiment_planning/nnunet_ms_planners.py",
        "nnunetv2/preprocessing/normalization/nnunet_ms_normalization.py",
    }
    before = tmp_path / "before"
    shutil.copytree(ROOT / "nnunet_ms", before / "nnunet_ms", ignore=shutil.ignore_patterns(*LEFT_OUT))
    shutil.copytree(ROOT / "startup", before / "startup", ignore=shutil.ignore_patterns(*LEFT_OUT))
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, before)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    head, _, rest = text.partition("[tool.hatch.build.targets.wheel.force-include]\n")
    doors = "".join(f'"nnunet_ms/doors/{name.rsplit("_", 1)[1]}" = "{name}"\n' for name in sorted(old))
    text = f"{head}[tool.hatch.build.targets.wheel.force-include]\n{doors}\n{rest[rest.index('[tool') :]}"
    (before / "pyproject.toml").write_text(text.replace('version = "', 'version = "0.0.'), encoding="utf-8")
    here.install(str(before))
    assert all((here.site / name).is_file() for name in old)
    here.install("--upgrade", str(wheel))
    assert not any((here.site / name).exists() for name in old)
    assert "nnUNetPlannerMS" in here.run("python", "-c", LOOKUP, json.dumps(CLASSES))
