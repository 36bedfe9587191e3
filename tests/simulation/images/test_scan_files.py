"""`nnunet-ms-simulate scans`: what is written, resumed, refused; label maps and masks in files."""

import json

import numpy as np
import pandas as pd
import pytest

from nnunet_ms import commands
from nnunet_ms.checkpoints import sha256_of
from nnunet_ms.errors import ImageError, OptionError, SettingsError
from nnunet_ms.images.names import nifti_files
from nnunet_ms.images.volumes import read_volume, write_volume
from nnunet_ms.simulation.cli import main
from nnunet_ms.simulation.images.scan_files import draw_masks
from nnunet_ms.simulation.images.scan_sources import Source, find_masks
from nnunet_ms.simulation.simulate import simulate_scans

AFFINE = np.array([[1.0, 0, 0, -28], [0, 1, 0, -46], [0, 0, 1, -10], [0, 0, 0, 1]])


def ball(radius, shape=(56, 56, 56), centre=(28, 28, 28)):
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2


@pytest.fixture
def sources(tmp_path):
    """A label map of 50 mm and a mask of lesions in it, and a folder that knows where the map lies."""
    labels = np.zeros((56, 56, 56), dtype=np.int16)
    for radius, number in ((24, 24), (22, 3), (19, 2), (4, 4)):
        labels[ball(radius)] = number
    (tmp_path / "labels").mkdir()
    write_volume(tmp_path / "labels" / "head.nii.gz", labels, AFFINE)
    (tmp_path / "masks").mkdir()
    write_volume(tmp_path / "masks" / "p1_lesion.nii.gz", ball(5, centre=(40, 28, 28)).astype(np.uint8), AFFINE)
    return tmp_path


def placed(out, *files):
    """Notes as a run leaves them, so that nothing is fitted: a ball fits no template."""
    (out / ".placed").mkdir(parents=True)
    for file in files:
        digest = sha256_of(file)
        told = {"from_mni": np.eye(4).ravel().tolist(), "placed": "fitted", "likeness": 1.0, "volume_ml": 0.5}
        (out / ".placed" / f"{digest[:16]}.json").write_text(json.dumps(told))


def make(sources, out, **more):
    head, mask = sources / "labels" / "head.nii.gz", sources / "masks" / "p1_lesion.nii.gz"
    if not out.exists():
        placed(out, head, mask)
    options = {"labels": [sources / "labels"], "lesions": [sources / "masks"], "thick": 0.0, **more}
    return simulate_scans(out, 3, seed=2, **options)


def test_files_of_scans_and_their_manifest(sources):
    made = make(sources, sources / "out", sequences=("flair", "t1", "t1post"))
    assert made.failures == []
    manifest, truth = pd.read_csv(made.manifest), pd.read_csv(made.truth)
    kinds = ["t2_lesions", "t1_unenhancing", "t1_enhancing"]
    assert list(manifest) == ["patient_id", "visit", "week", "flair", "t1", "t1post", "brain_mask", *kinds]
    assert truth["label_map"].tolist() == ["labels/head.nii.gz"] * 3
    for row, told in zip(manifest.to_dict("records"), truth.to_dict("records"), strict=True):
        volumes = {name: read_volume(made.folder / row[name]) for name in list(manifest)[3:]}
        assert len({one.grid.shape for one in volumes.values()}) == 1
        assert all((volumes[name].data[volumes["brain_mask"].data == 0] == 0).all() for name in ("flair", "t1"))
        # Oracle: the voxels of the written mask, of 1 mm3 each.
        assert told["lesion_volume_ml"] == pytest.approx(volumes["t2_lesions"].data.sum() / 1000)
        assert not (volumes["t1_unenhancing"].data & volumes["t1_enhancing"].data).any()


def test_a_set_is_finished_and_the_same_however_often_it_is_cut(sources):
    whole = make(sources, sources / "whole")
    make(sources, sources / "cut")
    gone = sources / "cut" / "images" / "P002"
    before = {path.name: path.read_bytes() for path in gone.rglob("*") if path.is_file()}
    for path in sorted(gone.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    gone.rmdir()
    again = make(sources, sources / "cut")
    assert {path.name: path.read_bytes() for path in gone.rglob("*") if path.is_file()} == before
    assert again.truth.read_bytes() == whole.truth.read_bytes()


def test_other_settings_and_other_folders_are_refused(sources):
    make(sources, sources / "out")
    with pytest.raises(SettingsError, match="other settings"):
        make(sources, sources / "out", thick=1.0)
    (sources / "mine").mkdir()
    (sources / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="expected an empty folder or synthetic scans"):
        make(sources, sources / "mine")
    assert [path.name for path in (sources / "mine").iterdir() if path.name != ".lock"] == ["notes.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequences": ("dwi",)}, "sequence"),
        ({"sequences": ("t1", "t1")}, "each once"),
        ({"slices_mm": (0.5, 3)}, "from 1 to 10"),
        ({"slices_mm": (5, 3)}, "smaller one first"),
        ({"thick": 1.5}, "a share from 0 to 1"),
        ({"seed": -1}, "whole number >= 0"),
    ],
)
def test_options_outside_of_their_range_are_refused(tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        simulate_scans(tmp_path / "out", 1, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["missing", "empty", "without"])
def test_sources_that_are_not_there_are_named(sources, what):
    place = {"missing": sources / "nowhere", "empty": sources / "none", "without": sources / "labels"}[what]
    (sources / "none").mkdir()
    with pytest.raises(SettingsError, match=f"{place.name}: expected a file, or a folder"):
        nifti_files([place], "lesion")


@pytest.mark.parametrize(("shift", "message"), [(0, "none in it"), (300, "aligned to MNI space")])
def test_masks_that_cannot_be_used_are_refused(sources, shift, message):
    file, affine = sources / "masks" / "p1_lesion.nii.gz", AFFINE.copy()
    affine[0, 3] += shift
    write_volume(file, ball(5).astype(np.uint8) * np.uint8(shift > 0), affine)
    with pytest.raises(ImageError, match=message):
        find_masks([sources / "masks"], sources / "notes")


def test_a_manifest_without_images_names_its_row(sources):
    table = sources / "masks.csv"
    table.write_text("patient_id,visit,week,t2_lesions\nP1,week000,0,masks/p1_lesion.nii.gz\n")
    with pytest.raises(SettingsError, match="row of P1, week000: expected t2_lesions, brain_mask and one of t1, flair"):
        find_masks([table], sources / "notes")


def test_one_scan_in_twenty_has_no_lesion_and_two_masks_are_of_patients_with_few(sources):
    # Oracle: the shares and the smaller half, by their definition, over 400 draws.
    path = str(sources / "masks" / "p1_lesion.nii.gz")
    every = [Source(path, "", tuple(np.eye(4).ravel()), "header", None, float(n)) for n in range(6)]
    counts = [len(draw_masks(every, np.random.default_rng(seed))) for seed in range(400)]
    assert 8 <= counts.count(0) <= 34
    assert 20 <= counts.count(2) <= 62


def test_the_command_says_what_is_wrong_and_where(tmp_path, capsys):
    assert main(["scans", "-o", str(tmp_path / "out"), "--labels", str(tmp_path / "none")]) == commands.COULD_NOT_RUN
    assert "none: expected a file, or a folder with NIfTI files" in capsys.readouterr().err
