"""The target `rim` through the command: masks of rims, labels of lesions in a table or an image, a ready map."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.lesions.rims import shell_of
from tests.dataset_conversion.conftest import save

SHAPE, SPACING = (26, 24, 10), (1.0, 1.0, 2.0)
CENTRES = {"plus": (7, 8, 5), "minus": (18, 14, 5)}  # voxels


def box(centre, half=(4, 4, 2)):
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(c - h, c + h + 1) for c, h in zip(centre, half, strict=True))] = True
    return mask


LESIONS = {name: box(centre) for name, centre in CENTRES.items()}
SHELL = shell_of(LESIONS["plus"], SPACING)


def ppb(seed=0):
    data = np.random.default_rng(seed).normal(0, 25, SHAPE)
    data[LESIONS["minus"]] += 30
    data[SHELL] += 80
    return data.astype(np.float32)


def point(name, label, shift=(0, 0, 0)):
    return [*np.multiply(np.add(CENTRES[name], shift), SPACING), label]


def write_points(path, *points):
    pd.DataFrame(points, columns=["x_mm", "y_mm", "z_mm", "label"]).to_csv(path, index=False)


def study(folder, files, patients=2, qsm=ppb):
    """A manifest whose visits have QSM, FLAIR, and the `files` (name -> writer that gets a path)."""
    rows = []
    for number in range(patients):
        home = folder / f"P{number}"
        save(home / "qsm.nii.gz", qsm(number), SPACING)
        save(home / "flair.nii.gz", np.random.default_rng(number).integers(1, 900, SHAPE).astype(np.int16), SPACING)
        row = {"patient_id": f"P{number}", "visit": "base", "week": 0}
        row |= {name: f"P{number}/{name}.nii.gz" for name in ("qsm", "flair")}
        for name, (suffix, write) in files.items():
            write(home / f"{name}{suffix}")
            row[name] = f"P{number}/{name}{suffix}"
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def image(data):
    return ".nii.gz", lambda path: save(path, data.astype(np.uint8), SPACING)


def table(*points):
    return ".csv", lambda path: write_points(path, *points)


MASK = LESIONS["plus"] | LESIONS["minus"]
MAP = np.where(SHELL, 2, np.where(MASK, 1, 0))
FORMS = {
    "a mask of rims": {"t2_lesions": image(MASK), "rim_mask": image(SHELL)},
    "points": {"lesions": image(MASK), "labels": table(point("plus", 1), point("minus", 0))},
    "only rim+ points": {"lesions": image(MASK), "labels": table(point("plus", 1))},
    "a point a little outside": {"lesions": image(MASK), "labels": table(point("plus", 1, (0, -6, 0)))},
    "an image of labels": {
        "t2_lesions": image(MASK),
        "labels": image(np.where(LESIONS["plus"], 2, np.where(LESIONS["minus"], 1, 0))),
    },
    "a rim and labels": {"lesions": image(MASK), "rim_mask": image(SHELL), "labels": table(point("minus", 1))},
}


def run(manifest, raw, *more):
    return main(["trial", str(manifest), "--target", "rim", "--dataset-id", "9", "--raw", str(raw), *more])


def labels_of(raw):
    return [np.asarray(nib.load(path).dataobj) for path in sorted(raw.glob("Dataset009_*/labelsTr/*.nii.gz"))]


@pytest.mark.parametrize("files", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("channels", ["qsm,flair", "qsm"])
def test_every_form_becomes_core_and_rim(tmp_path, raw, files, channels):
    assert run(study(tmp_path / "study", files), raw, "--channels", channels) == 0
    content = json.loads(next(raw.glob("Dataset009_*/dataset.json")).read_text())
    assert content["labels"] == {"background": 0, "core": 1, "rim": 2}
    assert list(content["channel_names"].values()) == channels.split(",")
    assert len(labels_of(raw)) == 2
    assert all(np.array_equal(found, MAP) for found in labels_of(raw))


def test_a_ready_map_is_named_in_both_places(tmp_path, raw):
    manifest = study(tmp_path / "study", {"t2_lesions": image(MAP)})
    rows = pd.read_csv(manifest)
    rows.assign(rim_mask=rows["t2_lesions"]).to_csv(manifest, index=False)
    assert run(manifest, raw, "--channels", "qsm,flair") == 0
    assert all(np.array_equal(found, MAP) for found in labels_of(raw))


def test_what_is_assumed_is_told(tmp_path, raw, capsys):
    assert run(study(tmp_path / "study", FORMS["a point a little outside"]), raw, "--channels", "qsm") == 0
    said = capsys.readouterr().out
    for part in (
        "rim of 1 lesions: their outer 1.5 mm",
        "1 of 2 lesions have no label and count as rim-",
        "1 labels moved",
    ):
        assert part in said
    wide = {"lesions": image(MASK & ~SHELL), "rim_mask": image(SHELL | LESIONS["plus"])}
    assert run(study(tmp_path / "wide", wide), raw, "--channels", "qsm", "--overwrite") == 0
    assert "rim voxels lie outside of the lesion mask; they are rim" in capsys.readouterr().out


BAD = {
    "rim+ in no lesion": ({"lesions": image(MASK), "labels": table([1.0, 20.0, 2.0, 1])}, "label 1 at .*In no lesion"),
    "two labels in one lesion": (
        {"lesions": image(MASK), "labels": table(point("plus", 1), point("plus", 0, (1, 1, 0)))},
        "labels of both kinds",
    ),
    "no lesion mask": ({"labels": table(point("plus", 1))}, "expected a lesion mask .*beside labels, found none"),
    "rim of another visit": (
        {"lesions": image(LESIONS["minus"]), "rim_mask": image(SHELL)},
        "expected rims at the edges of lesions, found none",
    ),
    "the lesion mask as rim": ({"lesions": image(MASK), "rim_mask": image(MASK)}, "Is it a lesion mask"),
    "a map of core and rim, of a case without rims": (
        {"lesions": image(MASK), "rim_mask": image(LESIONS["minus"] | LESIONS["plus"])},
        "named in both places",
    ),
    "labels 0 and 2 in a table": ({"lesions": image(MASK), "labels": table(point("plus", 2))}, "column label"),
    "an image of other numbers": ({"lesions": image(MASK), "labels": image(7 * MASK)}, "values"),
    "rim mask of other numbers": ({"lesions": image(MASK), "rim_mask": image(3 * SHELL)}, "values"),
}


@pytest.mark.parametrize(("files", "told"), BAD.values(), ids=BAD.keys())
def test_what_would_train_on_wrong_labels_is_left_out_and_told(tmp_path, raw, capsys, files, told):
    import re

    assert run(study(tmp_path / "study", files), raw, "--channels", "qsm") == 2
    assert re.search(told, capsys.readouterr().err)


UNITS = {
    "ppm": (lambda seed: ppb(seed) / 1000, "this is ppm. Multiply by 1000"),
    "phase": (lambda seed: np.random.default_rng(seed).uniform(-np.pi, np.pi, SHAPE).astype(np.float32), "found phase"),
    "raw phase": (
        lambda seed: np.random.default_rng(seed).integers(-4096, 4096, SHAPE).astype(np.int16),
        "found phase",
    ),
    "magnitude": (lambda seed: (ppb(seed) + 2000).astype(np.float32), "a magnitude or R2"),
}


@pytest.mark.parametrize(("qsm", "told"), UNITS.values(), ids=UNITS.keys())
def test_qsm_of_other_units_is_refused_and_can_be_accepted(tmp_path, raw, capsys, qsm, told):
    manifest = study(tmp_path / "study", FORMS["a mask of rims"], qsm=qsm)
    assert run(manifest, raw, "--channels", "qsm,flair") == 2
    said = capsys.readouterr().err
    assert told in said
    assert "--accept qsm" in said
    assert main(["check", "trial", str(manifest), "--target", "rim", "--channels", "qsm"]) == 2
    assert run(manifest, raw, "--channels", "qsm,flair", "--accept", "qsm") == 0
    assert "accepted (qsm)" in capsys.readouterr().out


def test_a_visit_without_rim_and_labels_is_there_to_be_predicted(tmp_path, raw, capsys):
    manifest = study(tmp_path / "study", FORMS["a mask of rims"], patients=3)
    rows = pd.read_csv(manifest)
    rows.loc[2, "rim_mask"] = None
    rows.to_csv(manifest, index=False)
    assert run(manifest, raw, "--channels", "qsm") == 0
    assert len(labels_of(raw)) == 2
    assert len(list(raw.glob("Dataset009_*/imagesTs/*.nii.gz"))) == 1
    assert "no rim and no labels of lesions" in capsys.readouterr().out


def test_folder_and_guessed_manifest_know_rims(tmp_path, raw):
    study(tmp_path / "study", FORMS["a mask of rims"])
    (tmp_path / "study" / "manifest.csv").unlink()
    patterns = [f"--pattern={name}={{patient}}/{name}.nii.gz" for name in ("qsm", "flair", "t2_lesions", "rim_mask")]
    words = ["folder", str(tmp_path / "study"), *patterns, "--target", "rim", "--dataset-id", "9", "--raw", str(raw)]
    assert main(words) == 0
    assert all(np.array_equal(found, MAP) for found in labels_of(raw))
    assert main(["manifest", str(tmp_path / "study"), "-o", str(tmp_path / "study" / "m.csv")]) == 0
    written = pd.read_csv(tmp_path / "study" / "m.csv")
    assert {"qsm", "flair", "t2_lesions", "rim_mask"} <= set(written)
    assert run(tmp_path / "study" / "m.csv", raw / "again", "--channels", "qsm") == 0
    assert all(np.array_equal(found, MAP) for found in labels_of(raw / "again"))


def test_bids_takes_a_susceptibility_map_and_rims_of_derivatives(tmp_path, raw):
    for number in (1, 2):
        stem = f"sub-{number:02}/anat/sub-{number:02}"
        home = tmp_path / "bids"
        save(
            home / f"{stem}_FLAIR.nii.gz",
            np.random.default_rng(number).integers(1, 900, SHAPE).astype(np.int16),
            SPACING,
        )
        save(home / f"derivatives/sepia/{stem}_Chimap.nii.gz", ppb(number), SPACING)
        save(home / f"derivatives/manual/{stem}_label-lesion_mask.nii.gz", MASK.astype(np.uint8), SPACING)
        save(home / f"derivatives/manual/{stem}_label-rim_mask.nii.gz", SHELL.astype(np.uint8), SPACING)
    words = ["bids", str(tmp_path / "bids"), "--target", "rim", "--channels", "qsm,flair", "--dataset-id", "9"]
    assert main([*words, "--raw", str(raw)]) == 0
    assert len(labels_of(raw)) == 2
    assert all(np.array_equal(found, MAP) for found in labels_of(raw))
