"""The gallery's scripts run, are short, and draw the pictures that the page shows. Oracle: the committed pictures."""

import importlib.util
import re
from pathlib import Path

import pytest

GALLERY = Path(__file__).resolve().parents[1] / "docs" / "gallery"


def load():
    spec = importlib.util.spec_from_file_location("draw", GALLERY / "draw.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DRAW = load()


def test_ten_scripts_each_on_the_page_with_its_picture():
    page = (GALLERY / "index.md").read_text(encoding="utf-8")
    assert len(DRAW.SCRIPTS) == 10
    assert sorted(re.findall(r"\]\((\w+)\.png\)", page)) == DRAW.SCRIPTS
    assert sorted(re.findall(r"<!-- script: (\w+)\.py -->", page)) == DRAW.SCRIPTS
    assert sorted(path.stem for path in GALLERY.glob("*.png")) == DRAW.SCRIPTS
    assert sum(path.stat().st_size for path in GALLERY.glob("*.png")) < 1_500_000


@pytest.mark.parametrize("name", DRAW.SCRIPTS)
def test_a_script_has_at_most_forty_lines_of_code(name):
    text = (GALLERY / f"{name}.py").read_text(encoding="utf-8")
    assert sum(1 for line in text.splitlines() if line.strip()) <= 40
