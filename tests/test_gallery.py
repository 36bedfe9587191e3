"""The gallery's scripts run, are short, and draw the pictures that the page shows. Oracle: the committed pictures."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all scripts: what one has simulated is there for the next."""
    return tmp_path_factory.mktemp("gallery")


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAW.SCRIPTS)
def test_a_script_draws_its_picture(name, folder):
    drawn, shown = (
        np.asarray(Image.open(path).convert("L"), float) for path in (DRAW.draw(name, folder), picture(name))
    )
    assert np.abs(np.array(drawn.shape) - shown.shape).max() <= 4
    rows, columns = np.minimum(drawn.shape, shown.shape)
    assert np.abs(drawn[:rows, :columns] - shown[:rows, :columns]).mean() < 12  # of 255: other fonts, other digits


def picture(name):
    return GALLERY / f"{name}.png"
