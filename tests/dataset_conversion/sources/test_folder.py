"""Any tree by patterns: against Python's own globs, and as datasets."""

import fnmatch
import json
import re

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import check, convert
from nnunet_ms.dataset_conversion.sources.folder import SOURCE
from nnunet_ms.dataset_conversion.sources.patterns import expression, patterns_of
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.volumes import read_mask
from tests.dataset_conversion.conftest import SHAPE, save

PATHS = [
    "P1/w0/FLAIR.nii.gz",
    "P1/w0/T2_FLAIR_3d.nii.gz",
    "P1/FLAIR.nii.gz",
    "a/b/P2/FLAIR.nii.gz",
    "P[1]/FLAIR.nii.gz",
]
GLOBS = ["*/*/FLAIR.nii.gz", "P?/FLAIR.nii.gz", "P[12]/FLAIR.nii.gz", "P[!2]/*.nii.gz", "*/*/*flair*.nii.gz", "P1/**"]


@pytest.mark.parametrize("glob", GLOBS)
def test_globs_mean_what_they_mean_in_a_shell(glob):
    # Oracle: fnmatch, part by part, as a shell matches names; ** crosses folders
    def shell(path):
        ours, theirs = glob.lower().split("/"), path.lower().split("/")
        if "**" in glob:
            return path.startswith("P1/")
        return len(ours) == len(theirs) and all(map(fnmatch.fnmatchcase, theirs, ours))

    inner = glob.partition("/")[2] if not glob.startswith("*/") else glob[2:]
    first = glob.partition("/")[0]
    pattern = re.compile(expression(f"{{patient:{first}}}/{inner}"), re.IGNORECASE)
    assert [p for p in PATHS if pattern.fullmatch(p)] == [p for p in PATHS if shell(p)]


PARTS = {
    "{patient}/{visit}/{patient}_{visit}_FLAIR.nii.gz": ("P1/w0/P1_w0_FLAIR.nii.gz", {"patient": "P1", "visit": "w0"}),
    "**/{patient}/FLAIR.nii.gz": ("a/b/P2/FLAIR.nii.gz", {"patient": "P2"}),
    "{patient:P_??}_{visit}.nii.gz": ("P_01_base_a.nii.gz", {"patient": "P_01", "visit": "base_a"}),
    "{site}/{patient}/week{week}.nii": ("Rome/7/week12.5.nii", {"site": "Rome", "patient": "7", "visit": "12.5"}),
    "sub-{patient}+(x).nii": ("sub-3+(x).nii", {"patient": "3"}),
}


@pytest.mark.parametrize("pattern", PARTS)
def test_parts_of_names(pattern):
    path, parts = PARTS[pattern]
    assert re.fullmatch(expression(pattern), path).groupdict() == parts
    assert re.fullmatch(expression(pattern), "other" + path[3:]) is None or "**" in pattern or path[0] == "R"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flair=FLAIR.nii.gz"], r"--pattern flair=FLAIR.nii.gz: expected \{patient\}"),
        (["flair={patient}/{visit}_{week}.nii"], "expected .patient., and .visit. or .week."),
        (["flair={patient}/{session}.nii"], r"found '\{patient\}/\{session\}.nii'"),
        (["{patient}.nii"], "expected name=pattern"),
        (["FLAIR={patient}.nii"], "expected a name of small letters"),
        ("none.toml", "none.toml: no such file"),
    ],
)
def test_patterns_that_cannot_be(words, message):
    with pytest.raises(ConversionError, match=message):
        patterns_of(words)


@pytest.mark.parametrize(
    "text", ["[pattern]\nflair = 'x'\n", "[patterns]\nflair = 3\n", "flair = 'x'", "[patterns", ""]
)
def test_files_of_patterns_that_cannot_be(tmp_path, text):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ConversionError, match=r"--patterns .*p.toml: expected (one table \[patterns\]|TOML)"):
        patterns_of(tmp_path / "p.toml")


@pytest.fixture
def scans(tmp_path):
    """Three patients at two sites with scans at weeks 0 and 24; names differ, one visit has no mask."""
    for number, (site, patient) in enumerate([("Oslo", "A1"), ("Oslo", "A2"), ("Rome", "B1")]):
        for week in (0, 24):
            place, rng = tmp_path / "scans" / site / patient / f"w{week}", np.random.default_rng(10 * number + week)
            flair = "3D_FLAIR_sag" if number else "tirm"
            for name in (flair, "t1_mprage"):
                save(place / f"{patient}_{name}.nii.gz", rng.integers(1, 900, SHAPE).astype(np.int16))
            mask = np.zeros(SHAPE, np.uint8)
            mask[3:5, 3, 2] = 1
            if (patient, week) != ("A2", 24):
                save(place / f"{patient}_lesions.nii.gz", mask)
            save(place / f"{patient}_brain.nii.gz", np.ones(SHAPE, np.uint8))
    return tmp_path / "scans"


WORDS = [
    "flair={site}/{patient}/w{week}/*FLAIR*.nii.gz",
    "flair={site}/{patient}/w{week}/*tirm.nii.gz",
    "t1={site}/{patient}/w{week}/*t1*.nii.gz",
    "t2_lesions=**/{site}/{patient}/w{week}/{patient}_lesions.nii.gz",
    "brain_mask={site}/{patient}/w{week}/*_brain.nii.gz",
]


def test_a_folder_becomes_a_dataset_by_options_by_a_file_and_from_python(scans, raw, tmp_path, capsys):
    options = [word for text in WORDS for word in ("--pattern", text)]
    assert main(["folder", str(scans), *options, "--dataset-id", "5", "--raw", str(raw), "--folds", "2"]) == 1
    assert "case Oslo-A2_24: patient Oslo-A2 visit 24: found no mask, while" in capsys.readouterr().err
    folder = raw / "Dataset005_Folder"
    content = json.loads((folder / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "flair", "1": "t1"}
    cases = pd.read_csv(folder / "cases.csv").set_index("case_id")
    assert cases["week"].to_dict() == {
        "Oslo-A1_0": 0,
        "Oslo-A1_24": 24,
        "Oslo-A2_0": 0,
        "Rome-B1_0": 0,
        "Rome-B1_24": 24,
    }
    assert cases["site"].tolist() == ["Oslo", "Oslo", "Oslo", "Rome", "Rome"]
    assert cases.loc["Oslo-A1_0", "source_flair"] == "Oslo/A1/w0/A1_tirm.nii.gz"
    (tmp_path / "p.toml").write_text(
        "[patterns]\n"
        + "\n".join(f"{n} = {json.dumps([w.partition('=')[2] for w in WORDS if w.startswith(n + '=')])}"
                    for n in ("flair", "t1", "t2_lesions", "brain_mask"))
    )  # fmt: skip
    done = convert(scans, "folder", dataset_id=6, raw=raw, patterns=tmp_path / "p.toml", folds=2)
    assert sorted(done.cases) == cases.index.tolist()
    done = convert(
        scans, "folder", dataset_id=7, raw=raw, patterns=WORDS, channels="t1", steps={"apply_brain_mask": True}
    )
    assert len(list((done.folder / "imagesTr").glob("*_0000.nii.gz"))) == 5


def test_without_a_pattern_of_masks_all_is_there_to_be_predicted(scans, raw):
    done = convert(scans, "folder", dataset_id=5, raw=raw, patterns=WORDS[:3])
    assert len(done.cases) == 6
    assert done.notes[0].endswith("found no mask of t2_lesions; its cases are there to be predicted")


@pytest.mark.parametrize(("place", "cases"), [("Rome/B1", 2), ("Rome", 2), ("Oslo/A1/w24", 1), (".", 6)])
def test_a_part_of_the_tree_is_read_by_the_same_patterns(scans, raw, place, cases):
    everything = convert(scans, "folder", dataset_id=5, raw=raw, patterns=WORDS[:3])
    part = convert(scans / place, "folder", dataset_id=6, raw=raw, patterns=WORDS[:3])
    assert len(part.cases) == cases
    assert set(part.cases) <= set(everything.cases)


def test_two_masks_are_two_labels(scans, raw):
    words = [*WORDS[:3], "t1_unenhancing={site}/{patient}/w{week}/*_lesions.nii.gz"]
    words.append("t1_enhancing={site}/{patient}/w{week}/*_gd.nii.gz")
    for path in [path for path in scans.rglob("*_lesions.nii.gz") if "B1" not in path.name]:
        mask = np.zeros(SHAPE, np.uint8)
        mask[7, 7, 3] = 1
        save(path.with_name(path.name.replace("_lesions", "_gd")), mask)
    done = convert(scans, "folder", dataset_id=5, raw=raw, patterns=words, target="t1_unenhancing,t1_enhancing")
    label = read_mask(done.folder / "labelsTr" / "Oslo-A1_0.nii.gz", labels=(0, 1, 2)).data
    assert (label[3, 3, 2], label[7, 7, 3], int((label > 0).sum())) == (1, 2, 3)
    left = {failure.case for failure in done.failures}
    assert left == {"Rome-B1_0", "Rome-B1_24", "Oslo-A2_24"}
    assert "found no mask ['t1_enhancing']" in next(f.reason for f in done.failures if f.case == "Rome-B1_0")


def test_several_files_of_one_pattern_are_named(scans):
    (scans / "Rome" / "B1" / "w0" / "B1_FLAIR_again.nii.gz").write_bytes(b"x")
    found = check(scans, "folder", patterns=WORDS)
    (problem,) = [row for row in found.problems if "B1_FLAIR_again" in row.problem]
    assert problem.case == "Rome-B1_0"
    assert "expected one file" in problem.problem


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a pattern per sequence.* nnunet-ms-convert guess"),
        (["flair={patient}/nothing.nii"], r"expected files that match flair=\{patient\}/nothing.nii, found \['Oslo/A1"),
    ],
)
def test_no_pattern_and_no_file(scans, words, message):
    with pytest.raises(ConversionError, match=message):
        check(scans, "folder", patterns=words)
    with pytest.raises(ConversionError, match="--channels t2: expected different names among"):
        check(scans, "folder", patterns=WORDS, channels="t2")


def test_patterns_belong_to_this_kind(scans, capsys):
    with pytest.raises(ConversionError, match="--patterns is for folder; remove it for bids"):
        check(scans, "bids", patterns=WORDS)
    assert main(["folder", str(scans), "--pattern", WORDS[0], "--patterns", "p.toml", "--dataset-id", "5"]) == 2
    assert "expected one of them, found both" in capsys.readouterr().err
    assert SOURCE.request(scans, patterns=WORDS).channels == ("flair", "t1")
