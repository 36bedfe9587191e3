"""The README's table of papers, its commands and its picture exist."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
STEMS = ["multi_arm_t2", "joint_t1", "new_lesions", "rim", "stratification"]


def rows():
    table = README.split("| stem |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_all_five_systems_are_listed_once():
    assert [row[0].strip("`") for row in rows()] == STEMS


@pytest.mark.parametrize("row", rows(), ids=STEMS)
def test_module_and_test_of_a_system_carry_its_stem(row):
    stem, _, module, test, status = row
    if status == "planned":
        assert (module, test) == ("–", "–")
        assert not list((ROOT / "nnunet_ms").rglob(f"{stem.strip('`')}.py"))
        return
    for cell in (module, test):
        path = ROOT / cell.strip("`")
        assert path.exists()  # a file, or a room of several
        assert path.stem.removeprefix("test_") == stem.strip("`")


def test_every_command_and_trainer_of_the_readme_exists():
    import nnunet_ms.doors.trainers as door

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert set(re.findall(r"nnunet-ms-[a-z-]+", README)) <= set(scripts)
    assert set(re.findall(r"nnUNetTrainerMS\w+", README)) == set(door.__all__)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_tested_versions_include_torch_and_torchvision():
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(r"^torch==", pinned, re.MULTILINE)
    assert re.search(r"^torchvision==", pinned, re.MULTILINE)
    assert "/" not in re.sub(r"#.*", "", pinned)  # no path, no address of an index
