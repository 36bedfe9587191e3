"""The whole command on a tiny untrained model. Oracles: `predict` on the same images, nibabel's resampling."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.processing import resample_from_to

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.steps import Steps
from nnunet_ms.errors import ConversionError, ImageError
from nnunet_ms.images.patient_regions import BrainPlace
from nnunet_ms.segmentation import places, prepared_scans
from nnunet_ms.segmentation.chosen_model import choose_model
from nnunet_ms.segmentation.cli import main
from nnunet_ms.segmentation.segment import segment
from nnunet_ms.trainers.prediction.predict import predict
from tests.segmentation.conftest import HOW, NAMES


def array(path):
    return np.asarray(nib.load(path).dataobj)


@pytest.mark.parametrize("there", [("flair",), ("t2",), ("flair", "t1"), ("t1", "t2"), NAMES])
def test_any_sequences_give_what_predict_gives(there, any_folder, scans, tmp_path):
    done = segment(**{name: scans[name] for name in there}, patient="P1", out=tmp_path / "out", model=any_folder, **HOW)
    (tmp_path / "images").mkdir()
    for name in there:
        shutil.copy(scans[name], tmp_path / "images" / f"P1_{NAMES.index(name):04d}.nii.gz")
    plain = {"mc_samples": 0, "tta": False, "pictures": False, "device": "cpu"}
    predict(tmp_path / "images", tmp_path / "predicted", model=any_folder, **plain)
    expected = array(tmp_path / "predicted" / "P1.nii.gz")
    assert 0 < expected.sum() < expected.size
    for name in there:
        np.testing.assert_array_equal(array(tmp_path / "out" / "masks" / name / "P1.nii.gz"), expected)
    assert done.failures == ()
    assert done.visits["volume_ml"].tolist() == pd.read_csv(tmp_path / "predicted" / "visits.csv")["volume_ml"].tolist()
    assert not (tmp_path / "out" / "work").exists()


def test_images_are_turned_to_the_axes_that_the_model_was_trained_on(any_folder, scans, tmp_path):
    model = shutil.copytree(any_folder, tmp_path / any_folder.name)
    known = json.loads((model / "dataset.json").read_text())
    (model / "dataset.json").write_text(json.dumps({**known, "axes": "RAS"}))  # as `convert --reorient` notes it
    sagittal = nib.load(scans["flair"]).as_reoriented([[1, -1], [2, 1], [0, -1]])
    nib.save(sagittal, tmp_path / "flair.nii.gz")
    found = []
    for number, image in enumerate((scans["flair"], tmp_path / "flair.nii.gz")):
        out = tmp_path / f"out{number}"
        segment(flair=image, patient="P1", out=out, model=model, **HOW)
        found.append(nib.load(out / "masks" / "flair" / "P1.nii.gz"))
    assert found[1].shape == sagittal.shape
    canonical = [nib.as_closest_canonical(one).get_fdata() for one in found]
    assert canonical[0].any()
    np.testing.assert_array_equal(*canonical)


def test_masks_lie_on_each_images_own_grid(any_folder, scans, tmp_path):
    # T1 with finer voxels of another order of axes; nothing is registered, so that nibabel can tell where all belongs
    t1 = nib.load(scans["t1"])
    fine = nib.Nifti1Image(np.repeat(t1.get_fdata(dtype=np.float32), 3, axis=2).transpose(2, 0, 1)[::-1], np.eye(4))
    index = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1 / 3, 0, 0, 10 + 1 / 3], [0, 0, 0, 1]])
    fine.set_sform(t1.affine @ index, 1)
    fine.set_qform(t1.affine @ index, 1)
    nib.save(fine, tmp_path / "t1.nii.gz")
    segment(
        flair=scans["flair"], t1=tmp_path / "t1.nii.gz", patient="P1", out=tmp_path / "out", model=any_folder,
        align="none", **HOW,
    )  # fmt: skip
    flair, own = (nib.load(tmp_path / "out" / "masks" / name / "P1.nii.gz") for name in ("flair", "t1"))
    assert flair.shape == nib.load(scans["flair"]).shape
    assert own.shape == fine.shape
    np.testing.assert_allclose(own.affine, fine.affine, atol=1e-4)
    expected = resample_from_to(flair, fine, order=0).get_fdata()
    assert expected.any()
    found = array(tmp_path / "out" / "masks" / "t1" / "P1.nii.gz")
    np.testing.assert_array_equal(found[1:-1], expected[1:-1])  # nibabel ends at the middle of the outermost slices


def four_dimensional(scans, folder):
    image = nib.load(scans["flair"])
    nib.save(nib.Nifti1Image(np.stack([image.get_fdata()] * 3, axis=-1), image.affine), folder / "flair.nii.gz")
    return ["--flair", str(folder / "flair.nii.gz")]


def only_t1(scans, folder):
    return ["--t1", str(scans["t1"])]


def only_t1post(scans, folder):
    return ["--t1post", str(scans["t1"])]


def one_image_twice(scans, folder):
    return ["--flair", str(scans["flair"]), "--t1", str(shutil.copy(scans["flair"], folder / "t1.nii.gz"))]


def no_image(scans, folder):
    (folder / "flair.nii.gz").write_bytes(b"text")
    return ["--flair", str(folder / "flair.nii.gz")]


def no_such_mask(scans, folder):
    return ["--flair", str(scans["flair"]), "--brain", "given"]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (four_dimensional, r"flair\.nii\.gz: .*(4-D|dimensions|\(20, 26, 11, 3\))"),
        (only_t1, "expected flair or t2 .*found t1"),
        (only_t1post, r"expected flair or t2 .*found no sequence.*t1post: not used, the model takes t1, flair, t2"),
        (one_image_twice, r"t1\.nii\.gz: expected t1, found the voxels of flair"),
        (no_image, r"flair\.nii\.gz"),
        (no_such_mask, "--brain given: expected a brain mask, found none. Add one"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_scan_that_cannot_be_used_is_one_clear_line(make, match, any_folder, scans, tmp_path, capsys):
    words = make(scans, tmp_path)
    assert main([*words, "--model", str(any_folder), "--device", "cpu", "-o", str(tmp_path / "out")]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nnunet-ms-segment: ")]
    assert len(told) == 1
    assert re.search(match, told[0]), told
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".partial*"))


def test_without_a_model_the_way_to_one_is_told(scans, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NNUNET_MS_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("nnunet_ms.trainers.packages.installed.entry_points", lambda group: [])
    assert main(["--flair", str(scans["flair"]), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert re.search(r"--model: expected the model ms-any-small.*found none.*nnunet-ms-model install FILE", told)


def test_a_scan_without_lesions_is_a_result(any_folder, scans, tmp_path):
    how = {**HOW, "samples": 2, "tta": True, "pictures": True, "threshold": 0.999999}
    done = segment(**scans, patient="P1", out=tmp_path / "out", model=any_folder, **how)
    assert done.failures == ()
    assert done.lesions.empty
    assert done.visits["volume_ml"].tolist() == [0.0]
    assert "No lesion was found" in (tmp_path / "out" / "pages" / "P1.html").read_text(encoding="utf-8")
    for name in NAMES:
        assert not array(tmp_path / "out" / "masks" / name / "P1.nii.gz").any()


def test_a_run_that_goes_on_tells_what_the_first_one_noted(any_folder, scans, tmp_path):
    (tmp_path / "images").mkdir()
    shutil.copy(scans["flair"], tmp_path / "images" / f"P1_{NAMES.index('flair'):04d}.nii.gz")
    how = {"mc_samples": 0, "tta": False, "pictures": False, "device": "cpu"}
    first, again = (
        predict(tmp_path / "images", tmp_path / "out", model=any_folder, resume=bool(n), **how) for n in (0, 1)
    )
    assert [note for note in first.notes if "t1: absent" in note]
    assert again.notes == first.notes


@pytest.mark.parametrize("change", ["smaller", "moved", "not_an_image"])
def test_a_named_brain_mask_is_looked_at_even_where_no_skull_is_seen(change, any_folder, scans, tmp_path):
    image = nib.load(scans["flair"])
    data = np.ones(image.shape, np.uint8)
    moved = image.affine + np.eye(4, k=3) * 20 * (change == "moved")
    nib.save(nib.Nifti1Image(data[1:] if change == "smaller" else data, moved), tmp_path / "brain.nii.gz")
    if change == "not_an_image":
        (tmp_path / "brain.nii.gz").write_bytes(b"text")
    with pytest.raises(ImageError, match=r"brain\.nii\.gz"):
        segment(
            flair=scans["flair"], brain_mask=tmp_path / "brain.nii.gz", out=tmp_path / "out", model=any_folder, **HOW
        )


@pytest.mark.parametrize(
    ("brain", "ending"), [("auto", "the brain mask of the data is applied"), ("none", "this brain mask is not used")]
)
def test_what_becomes_of_a_brain_mask_is_told(brain, ending, any_folder, scans, tmp_path):
    image = nib.load(scans["flair"])
    inside = np.zeros(image.shape, np.uint8)
    half = len(inside) // 2
    inside[half:] = 1
    nib.save(nib.Nifti1Image(inside, image.affine), tmp_path / "brain.nii.gz")
    how = {**HOW, "brain": brain, "keep_work": True}
    done = segment(
        flair=scans["flair"], brain_mask=tmp_path / "brain.nii.gz", out=tmp_path / "out", model=any_folder, **how
    )
    assert [note for note in done.notes if note.endswith(ending)]
    (seen,) = (tmp_path / "out" / "work").rglob("*_0001.nii.gz")  # FLAIR is this model's second channel
    assert bool(nib.load(seen).get_fdata()[: half - 1].any()) == (brain == "none")


def test_images_are_resampled_as_those_of_the_training_were(any_folder, scans, tmp_path):
    model = shutil.copytree(any_folder, tmp_path / any_folder.name)
    known = json.loads((model / "dataset.json").read_text())
    edges = [2.0, 2.0, 3.0]
    (model / "dataset.json").write_text(
        json.dumps({**known, "axes": "RAS", "spacing": edges})
    )  # as `--spacing` is noted
    done = segment(flair=scans["flair"], patient="P1", out=tmp_path / "out", model=model, **{**HOW, "keep_work": True})
    (seen,) = (tmp_path / "out" / "work").rglob("*_0001.nii.gz")
    np.testing.assert_allclose(nib.load(seen).header.get_zooms(), edges, rtol=1e-5)
    back = nib.load(tmp_path / "out" / "masks" / "flair" / "P1.nii.gz")
    assert back.shape == nib.load(scans["flair"]).shape
    assert [note for note in done.notes if "resampled to voxels of 2 x 2 x 3 mm, as the images of the training" in note]


@pytest.mark.parametrize("found", [[1, 1], "fine", 3, None, {"x": 1}, [1, 1, -1], [1, 1, "1"]])
def test_voxels_that_nobody_noted_properly_are_not_known(found, any_folder, scans, tmp_path):
    model = shutil.copytree(any_folder, tmp_path / any_folder.name)
    known = json.loads((model / "dataset.json").read_text())
    (model / "dataset.json").write_text(json.dumps({**known, "spacing": found}))
    assert choose_model(model, "cpu").spacing is None


def test_every_lesion_of_the_tables_has_its_place(any_folder, scans, tmp_path, monkeypatch):
    # the scans are no heads: as if they were, in a brain without any region, where all is deep white matter
    monkeypatch.setattr(places, "NO_HEAD_MM", 0)
    monkeypatch.setattr(places, "brain_of", lambda image: image.data > -1e9)
    monkeypatch.setattr(places, "place_brain", lambda *_: BrainPlace(np.eye(4), 0.95, -0.5))
    monkeypatch.setattr(places, "regions_of", lambda *_: {})
    done = segment(**scans, patient="P1", out=tmp_path / "out", model=any_folder, **HOW)
    assert len(done.lesions) == done.visits["lesion_count"].sum() > 0
    assert set(done.lesions["location"]) == {"deep_white_matter"}
    written = pd.read_csv(tmp_path / "out" / "places.csv").set_index("location")
    assert written["lesion_count"].to_dict() == {
        **dict.fromkeys(places.LOCATIONS[:-1], 0), "deep_white_matter": len(done.lesions),
    }  # fmt: skip
    assert written["volume_ml"].sum() == pytest.approx(done.visits["volume_ml"].sum(), rel=1e-6)
    assert written["mni_dice"].unique() == [0.95]


@pytest.mark.parametrize(
    ("align", "asked", "values", "told"),
    [
        ("auto", "rigid", [0.07, 0.23], "registered it fitted less .0.07 nats. than by the headers .0.23."),
        ("auto", "rigid", [0.3], r"t1: registered to flair \(rigid\)"),
        ("auto", "rigid", [0.07, 0.1], None),
        ("rigid", "rigid", [0.07], None),
    ],
)
def test_headers_are_believed_where_a_registration_goes_astray(
    align, asked, values, told, monkeypatch, scans, tmp_path
):
    written, shared = [], iter(values)
    monkeypatch.setattr(prepared_scans, "write_preprocessed", lambda *how: written.append(how[4].align))
    monkeypatch.setattr(prepared_scans, "_shared", lambda _: {"t1": next(shared)})
    case = Case("P1", "", None, {"flair": scans["flair"], "t1": scans["t1"]}, None)
    how = (case, case.images, tmp_path / "P1.json", Steps(align=asked), None, align, {})
    if told is None:
        with pytest.raises(ConversionError, match=r"expected the head of .*Is it of this patient and visit"):
            prepared_scans._write(*how)
    else:
        assert re.search(told, prepared_scans._write(*how)[0])
    assert written == [asked, ""][: len(values)]
