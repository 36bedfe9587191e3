"""What cannot be what its name says is named; what is right has no remark. On drawn heads, and on real scans."""

import json
import re

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.checks.plausibility import ACCEPTABLE
from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import check, convert
from nnunet_ms.errors import OptionError
from tests.images.drawn_head import AFFINE, SHAPE, image, tissues

SEQUENCES = ("flair", "t1", "t2")


def drawn(seed=0, skull=True):
    """Images and mask of one patient by name."""
    label, lesions = tissues(seed, skull)
    return {**{name: image(name, label, seed) for name in SEQUENCES}, "t2_lesions": lesions.astype(np.uint8)}


def write_study(folder, patients, affine=AFFINE):
    """Manifest of patients: name -> image by column."""
    rows = []
    for name, images in patients.items():
        (folder / name).mkdir(parents=True)
        for column, data in images.items():
            nib.save(nib.Nifti1Image(data, affine), folder / name / f"{column}.nii.gz")
        rows.append({"patient_id": name, "visit": "v", "week": 0, **{c: f"{name}/{c}.nii.gz" for c in images}})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def changed(**columns):
    """A patient of whom some images are others; each is a function of the right ones."""

    def make(right, _other):
        return {**right, **{column: change(right) for column, change in columns.items()}}

    return make


def ball(centre, radius):
    return (np.linalg.norm(np.indices(SHAPE) - np.array(centre).reshape(3, 1, 1, 1), axis=0) < radius).astype(np.uint8)


def brightest(share):
    return lambda right: (
        right["flair"] > np.percentile(right["flair"][right["flair"] > 60], 100 * (1 - share))
    ).astype(np.uint8)


# how -> (change, names of errors or words of the note)
WRONG = {
    "mask mirrored left to right": (changed(t2_lesions=lambda r: r["t2_lesions"][::-1].copy()), "mask_mirrored"),
    "mask mirrored front to back": (changed(t2_lesions=lambda r: r["t2_lesions"][:, ::-1].copy()), "mask_mirrored"),
    "mask upside down": (changed(t2_lesions=lambda r: r["t2_lesions"][:, :, ::-1].copy()), "mask_mirrored"),
    "mask in a corner": (changed(t2_lesions=lambda _: ball((4, 4, 4), 4)), "mask_outside"),
    "mask in another corner": (changed(t2_lesions=lambda _: ball((4, 62, 43), 3)), "mask_outside"),
    "mask 3 cm off": (
        changed(t2_lesions=lambda r: np.roll(r["t2_lesions"], -10, axis=1)),
        "mask_contrast|mask_mirrored",
    ),
    "mask of another patient": (lambda r, o: {**r, "t2_lesions": o["t2_lesions"]}, "mask_contrast|mask_mirrored"),
    "mask of the brightest tenth": (changed(t2_lesions=brightest(0.1)), "mask_threshold"),
    "mask of the brightest quarter": (changed(t2_lesions=brightest(0.25)), "mask_threshold"),
    "mask empty": (changed(t2_lesions=lambda r: 0 * r["t2_lesions"]), "note: the mask is empty"),
    "FLAIR and T2 exchanged": (changed(flair=lambda r: r["t2"], t2=lambda r: r["flair"]), "sequence"),
    "T1 and T2 exchanged": (changed(t1=lambda r: r["t2"], t2=lambda r: r["t1"]), "sequence"),
    "FLAIR and T1 exchanged": (
        changed(flair=lambda r: r["t1"], t1=lambda r: r["flair"]),
        "mask_contrast|mask_mirrored",
    ),
    "T1 of another patient": (lambda r, o: {**r, "t1": o["t1"]}, "alignment"),
    "T2 of another patient": (lambda r, o: {**r, "t2": o["t2"]}, "alignment"),
    "T1 24 mm off": (changed(t1=lambda r: np.roll(r["t1"], 8, axis=1)), "alignment"),
    "T1 12 mm off": (changed(t1=lambda r: np.roll(r["t1"], 4, axis=2)), "alignment"),
    "T1 upside down": (changed(t1=lambda r: r["t1"][:, :, ::-1].copy()), "alignment"),
    "T1 after contrast agent": (changed(t1=lambda r: image("t1post", tissues()[0])), "note: .*after contrast agent"),
    "brain mask of 2.4 litres": (changed(brain_mask=lambda _: ball((28, 33, 24), 28)), "brain_mask"),
    "brain mask of a fist": (changed(brain_mask=lambda _: ball((28, 33, 24), 14)), "note: .*expected a brain of"),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All of them in one study, with heads and with brains that are right: case -> severity -> text."""
    right, other = drawn(0), drawn(1)
    patients = {f"wrong{k}": change(right, other) for k, (change, _) in enumerate(WRONG.values())}
    rng = np.random.default_rng(0)
    for images in patients.values():  # no image twice: that is another error
        images.update({n: (images[n] + rng.random(SHAPE) * 1e-3).astype(np.float32) for n in SEQUENCES})
    patients |= {f"right{k}": drawn(k, skull=bool(k % 2)) for k in range(2, 8)}
    problems = check(write_study(tmp_path_factory.mktemp("study"), patients), channels=SEQUENCES).problems
    return {(row.case, row.severity): row.problem for row in problems}


@pytest.mark.parametrize("how", WRONG)
def test_what_is_wrong_is_named(found, how):
    case, expected = f"wrong{list(WRONG).index(how)}_v", WRONG[how][1]
    if expected.startswith("note: "):
        assert re.search(expected.removeprefix("note: "), found[(case, "note")])
    else:
        assert set(found[(case, "error")].rpartition("--accept ")[2].rstrip(".").split(",")) <= set(expected.split("|"))


@pytest.mark.parametrize("number", range(2, 8))
def test_what_is_right_has_no_remark(found, number):
    assert [text for (case, _), text in found.items() if case == f"right{number}_v"] == []


def test_what_is_accepted_is_converted_and_said(tmp_path, capsys):
    patients = {f"P{k}": drawn(k) for k in range(3)}
    patients["P1"]["t2_lesions"] = patients["P1"]["t2_lesions"][::-1].copy()
    manifest = write_study(tmp_path / "study", patients)
    words = ["trial", str(manifest), "--channels", "flair,t1", "--dataset-id", "801", "--raw", str(tmp_path / "raw")]
    assert main(["check", *words[:4]]) == 1
    assert "--accept mask_mirrored" in capsys.readouterr().out
    assert main([*words, "--accept", "mask_mirrored,alignment"]) == 0
    assert "P1_v: accepted (mask_mirrored): " in capsys.readouterr().out


def test_what_is_no_name_is_refused(tmp_path):
    manifest = write_study(tmp_path / "study", {"P1": drawn()})
    with pytest.raises(OptionError, match=r"accept: expected one of 'mask_outside'.*found 'everything'"):
        check(manifest, channels="flair", accept="everything")
    assert set(ACCEPTABLE) >= {"mask_mirrored", "sequence", "alignment"}


def test_a_field_of_view_that_holds_no_head_is_noted(tmp_path):
    # A cord: 200 x 200 x 60 mm.
    rng, place = np.random.default_rng(0), np.indices((100, 100, 30))
    away = np.hypot(place[0] - 50, place[1] - 50)
    cord = (60 * (away < 30) + 40 * (away < 18) + 60 * (away < 6) + rng.normal(0, 2, away.shape)).astype(np.float32)
    manifest = write_study(tmp_path, {"P1": {"flair": cord}}, np.diag([2.0, 2.0, 2.0, 1.0]))
    (row,) = (row for row in check(manifest, channels="flair").problems if "field of view" in row.problem)
    assert (row.severity, "200 x 200 x 60 mm, is too small for a head" in row.problem) == ("note", True)


@pytest.mark.parametrize("shape", [(24, 28, 20), (64, 64, 40)])
def test_noise_is_no_head_and_nothing_is_said_of_it(tmp_path, shape):
    rng, mask = np.random.default_rng(0), np.zeros(shape, np.uint8)
    mask[5:9, 6:10, 7:9] = 1
    images = {name: rng.integers(0, 900, shape).astype(np.int16) for name in SEQUENCES} | {"t2_lesions": mask}
    manifest = write_study(tmp_path, {"P1": images}, np.diag([9.375, 9.375, 9.0, 1.0]))
    assert check(manifest, channels=SEQUENCES).problems == ()


def test_voxel_sizes_that_differ_several_fold_are_told_with_what_nnunet_makes_of_them(tmp_path):
    thin, rows = drawn(3), []
    for number in range(5):
        folder = tmp_path / f"P{number}"
        folder.mkdir()
        step = 1 if number < 2 else 5
        affine = AFFINE @ np.diag([1, 1, step, 1])
        for name in ("flair", "t2_lesions"):
            data = np.roll(thin[name], number, axis=0)[:, :, ::step]
            nib.save(nib.Nifti1Image(data, affine), folder / f"{name}.nii.gz")
        paths = {name: f"P{number}/{name}.nii.gz" for name in ("flair", "t2_lesions")}
        rows.append({"patient_id": f"P{number}", "visit": "v", "week": 0, **paths})
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    text = {row.case: row.problem for row in check(tmp_path / "manifest.csv", channels="flair").problems}["all cases"]
    assert "voxels of 3 to 15 mm along one axis: nnU-Net plans 3 mm there" in text
    assert "3 of 5 cases are interpolated 2-fold and more" in text
    assert "5-fold. Plan with -pl nnUNetPlannerMSMixed, convert protocols into datasets of their own, or choose" in text


REAL = ("open_ms_cross_sectional", "ms3seg")


@pytest.mark.parametrize(
    ("kind", "folder", "channels"), [("open_ms", REAL[0], "flair,t1,t2"), ("ms3seg", REAL[1], "flair,t1")]
)
def test_real_data_of_two_scanners_have_no_error(shared_data, kind, folder, channels):
    found = check(shared_data / folder, kind, channels=channels)
    assert [row for row in found.problems if "resampled" not in row.problem] == []


@pytest.mark.parametrize("how", ["mirrored", "another's T1", "exchanged"])
def test_the_same_wrong_is_an_error(shared_data, tmp_path, how):
    here, there = (shared_data / "open_ms_cross_sectional" / name for name in ("patient26", "patient07"))
    names = {"flair": "FLAIR", "t1": "T1w", "t2": "T2w", "t2_lesions": "lesion"}
    images = {column: nib.load(here / f"{name}.nii.gz") for column, name in names.items()}
    data = {column: np.asarray(one.dataobj) for column, one in images.items()}
    if how == "mirrored":
        data["t2_lesions"] = data["t2_lesions"][::-1]
    elif how == "another's T1":
        data["t1"] = np.asarray(nib.load(there / "T1w.nii.gz").dataobj)
    else:
        data["flair"], data["t2"] = data["t2"], data["flair"]
    manifest = write_study(tmp_path, {"P1": data}, images["flair"].affine)
    assert {row.severity for row in check(manifest, channels="flair,t1,t2").problems} == {"error"}


def test_datasets_say_what_their_images_show(tmp_path):
    done = convert(
        write_study(tmp_path / "study", {f"P{k}": drawn(k, skull=False) for k in range(3)}),
        dataset_id=801,
        raw=tmp_path / "raw",
        channels="flair,t2",
    )
    shown = json.loads((done.folder / "dataset.json").read_text())["appearance"]
    assert shown["flair"]["cases"] == 3
    assert shown["flair"]["spacing_mm"] == [[3, 3, 3], [3, 3, 3]]
    assert shown["flair"]["asymmetry"][1] < 1 < 2 < shown["t2"]["asymmetry"][0]
    images = [np.asarray(nib.load(path).dataobj) for path in sorted(done.folder.glob("imagesTr/*_0000.nii.gz"))]
    share = [float((one != 0).mean()) for one in images]
    assert shown["flair"]["nonzero_share"] == pytest.approx([min(share), max(share)], abs=0.01)
