"""Damaged inputs by the hundred: none crashes, none is converted, each is named, and no dataset is partial."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.tables import CASES, read_table
from tests.dataset_conversion.damage import (
    FLAIR,
    MASK,
    T1,
    catalogue,
    convert_damaged,
    lines_of,
    make,
    manifest_of,
    paths,
    whole_case,
)


def test_each_of_more_than_500_damaged_cases_is_named_and_only_whole_ones_are_written(tmp_path, capsys):
    damages = {name.replace("+", "p"): damage for name, damage in catalogue().items()}
    assert len(damages) >= 500
    whole = ["whole-1", "whole-2", "whole-3"]
    manifest = make(tmp_path / "study", damages, whole)
    assert convert_damaged(manifest, tmp_path / "raw") == 1
    lines = lines_of(capsys.readouterr().err)
    assert [name for name in damages if f"{name}_v" not in lines] == []
    not_named = [line for name, line in lines.items() if str(tmp_path / "study" / name.removesuffix("_v")) not in line]
    assert not_named == []
    written = sorted(path.name for path in (tmp_path / "raw" / "Dataset005_Trial" / "labelsTr").iterdir())
    assert written == [f"{name}_v.nii.gz" for name in whole]
    assert len(list((tmp_path / "raw" / "Dataset005_Trial" / "imagesTr").iterdir())) == 2 * len(whole)

    # and when nothing is whole, nothing is written
    (tmp_path / "study" / "none").mkdir()
    only = manifest_of(tmp_path / "study", list(damages)[::8])
    assert convert_damaged(only, tmp_path / "other") == 2
    assert not (tmp_path / "other").exists()
    assert "Traceback" not in capsys.readouterr().err


ODD = [
    "O'Neil",
    'say "hi"',
    "Zoë",
    "名前",
    "-rf",
    ".hidden",
    "..",
    "a b",
    "=1+1",
    "a;b|c",
    "%s",
    "a\tb",
    "x" * 120,
    "$HOME",
]


def test_odd_names_become_safe_file_names_and_stay_what_they_are_in_the_table(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number, odd in enumerate(ODD):
        folder = odd.replace("..", "dots")
        whole_case(tmp_path / "study" / folder, rng)
        rows.append({"patient_id": odd, "visit": f"{number}", "week": 0, **paths(folder)})
    pd.DataFrame(rows).to_csv(tmp_path / "study" / "manifest.csv", index=False)
    assert convert_damaged(tmp_path / "study" / "manifest.csv", tmp_path / "raw") == 0
    folder = tmp_path / "raw" / "Dataset005_Trial"
    names = [path.name for path in (folder / "labelsTr").iterdir()]
    assert len(names) == len(ODD)
    assert all(name.isascii() and not name.startswith(".") and "/" not in name and " " not in name for name in names)
    assert sorted(read_table(folder / "cases.csv", CASES)["patient_id"]) == sorted(ODD)
    assert set(json.loads((folder / "dataset.json").read_text())["patients"].values()) == set(ODD)


@pytest.fixture
def open_place():
    """A folder that every user may enter and fill; pytest's own is its user's."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o777)
        yield Path(place)


def test_file_names_that_are_no_utf8_and_control_characters_are_named_in_one_line(tmp_path, capsys):
    layout = {b"01\xff2": "msseg", b"013": "msseg"}
    for number, folder in enumerate(layout):
        place = Path(os.fsdecode(os.fsencode(tmp_path / "source") + b"/" + folder + b"/013"))
        whole_case(place, np.random.default_rng(number))
        for name, target in ((FLAIR, "flair_time01"), (T1, "flair_time02")):
            (place / name).rename(place / f"{target}_on_middle_space.nii.gz")
        (place / MASK).rename(place / "ground_truth.nii.gz")
        if number == 0:
            (place.parent / "013").rename(place.parent / "014")
    assert main(["check", "msseg2_2021", str(tmp_path / "source")]) == 1
    assert "\\udcff2/014" in capsys.readouterr().out
    frame = pd.DataFrame([{"patient_id": "A\nB\x1b[31m", "visit": "v", "week": 0, **paths("A")}])
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    assert convert_damaged(tmp_path / "manifest.csv", tmp_path / "raw") == 2
    assert len(capsys.readouterr().err.splitlines()) == 2  # the case, and that none is left


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_files_and_folders_that_may_not_be_read_are_named(open_place, capsys):
    study = open_place / "study"
    manifest = make(study, {}, ["A", "B", "C", "D", "E"])
    (study / "B" / FLAIR).chmod(0)
    (study / "C" / MASK).chmod(0)
    (study / "D").chmod(0)
    was = os.geteuid()
    try:
        if was == 0:  # root may read everything
            os.seteuid(65534)
        code = convert_damaged(manifest, open_place / "raw")
    finally:
        os.seteuid(was)
        (study / "D").chmod(0o755)
    assert code == 1
    assert set(lines_of(capsys.readouterr().err)) == {"B_v", "C_v", "D_v"}
