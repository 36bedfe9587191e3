"""Oracle: the files that `nnunet-ms-predict` writes for the same images, model and seed."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from nnunet_ms.errors import ModelError, SettingsError
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.trainers.predict_cli import main
from nnunet_ms.trainers.prediction.open_model import choose_device, fold_names, open_model
from nnunet_ms.trainers.prediction.time_taken import MEMORY, SECONDS

OPTIONS = {"mc_samples": 2, "dropout": 0.3, "seed": 2, "maps": ["entropy", "variance_masks", "deterministic"]}
NAMES = ("t1", "flair", "t2")


@pytest.fixture(scope="module")
def files(image_folder):
    return {name: image_folder / f"a_1_{number:04d}.nii.gz" for number, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def opened(model_folder):
    return open_model(str(model_folder), device="cpu")


@pytest.fixture(scope="module")
def found(opened, files):
    return opened.predict({name: str(path) for name, path in files.items()}, **OPTIONS)


@pytest.fixture(scope="module")
def written(model_folder, image_folder, files, tmp_path_factory):
    """Output of the command for this image."""
    root = tmp_path_factory.mktemp("command")
    (root / "images").mkdir()
    for path in files.values():
        (root / "images" / path.name).symlink_to(path)
    words = ["-i", root / "images", "-o", root / "out", "-m", model_folder, "-device", "cpu", "--mc-samples", 2]
    words += ["--dropout", 0.3, "--seed", 2, "--maps", ",".join(OPTIONS["maps"])]
    assert main([str(word) for word in words]) == 0
    return root / "out"


def test_a_model_says_what_it_takes_and_finds(opened, found):
    assert opened.channels == NAMES
    assert opened.lesion_types == ("t2_lesions",)
    assert repr(opened) == "<OpenModel nnUNetTrainerMSMultiArmTiny: t1, flair, t2 -> t2_lesions, folds 0, 1>"
    assert repr(found).startswith(f"<ImagePrediction 20x26x11: {len(found.lesions)} t2_lesions of ")


def test_arrays_are_the_files_of_the_command(found, written, files):
    for name, values in {"": found.mask, "probability": found.probability, **found.uncertainty}.items():
        image = read_volume(written / name / "a_1.nii.gz")
        assert np.array_equal(image.data, values), name
        assert np.allclose(image.grid.affine, found.affine)
    assert np.allclose(found.affine, nib.load(files["t1"]).affine)
    assert list(found.uncertainty) == OPTIONS["maps"]
    assert 0 < found.mask.sum() < found.mask.size


def test_tables_are_those_of_the_command(found, written):
    for name, table in {"lesions": found.lesions, "cases": found.patient}.items():
        expected = pd.read_csv(written / f"{name}.csv")
        pd.testing.assert_frame_equal(table, expected[list(table)], check_dtype=False, rtol=1e-12)
    assert {"volume_ml", "x_mm", "y_mm", "z_mm", "uncertainty"} <= set(found.lesions)
    assert found.lesions["uncertainty"].between(0, 1).all()


def test_a_saved_result_is_what_the_command_writes(found, written, tmp_path):
    mask = found.save(str(tmp_path / "saved"), "a_1")
    assert mask == tmp_path / "saved" / "a_1.nii.gz"
    names = {path.relative_to(tmp_path / "saved") for path in (tmp_path / "saved").rglob("*") if path.is_file()}
    theirs = {path.relative_to(written) for path in written.rglob("*") if path.is_file() and ".done" not in path.parts}
    assert {str(name) for name in theirs - names} == {"failures.csv"}
    for name in names - {Path("lesions.csv"), Path("cases.csv"), Path("prediction.json")}:
        assert (tmp_path / "saved" / name).read_bytes() == (written / name).read_bytes(), name
    for name in ("lesions.csv", "cases.csv"):  # the command reads its rows back once more, which costs the last digit
        one, other = (pd.read_csv(folder / name) for folder in (tmp_path / "saved", written))
        assert list(one) == list(other)
        spent = [column for column in (*SECONDS, *MEMORY) if column in one]  # differs from run to run
        pd.testing.assert_frame_equal(one.drop(columns=spent), other.drop(columns=spent), rtol=1e-12)
    one, other = (json.loads((folder / "prediction.json").read_text()) for folder in (tmp_path / "saved", written))
    assert one.keys() == other.keys()
    assert {**one, "time": None} == {**other, "time": None}


def test_a_saved_result_replaces_nothing(found, tmp_path):
    (tmp_path / "out").mkdir()
    found.save(tmp_path / "out")
    with pytest.raises(SettingsError, match="expected a new or empty folder, found something in it"):
        found.save(tmp_path / "out")
    for name in ("", "a/b", ".."):
        with pytest.raises(SettingsError, match="case_id: expected a name for files"):
            found.save(tmp_path / "other", name)
    assert not (tmp_path / "other").exists()


def test_images_and_arrays_give_what_files_give(opened, files, found):
    images = {name: nib.load(path) for name, path in files.items()}
    in_order = [np.asarray(image.dataobj) for image in images.values()]
    affine = images["t1"].affine
    for given, geometry in (
        (images, {}),
        (in_order, {"affine": affine}),
        ([files["t1"], *in_order[1:]], {"affine": affine}),
    ):
        again = opened.predict(given, **geometry, **OPTIONS)
        assert np.array_equal(again.mask, found.mask)
        assert np.allclose(again.probability, found.probability, atol=1e-5)
        assert np.allclose(again.affine, found.affine)
        pd.testing.assert_frame_equal(again.lesions, found.lesions, atol=1e-5)


def test_spacing_alone_gives_the_same_voxels_in_a_world_of_its_own(opened, files, found):
    arrays = {name: np.asarray(nib.load(path).dataobj) for name, path in files.items()}
    again = opened.predict(arrays, spacing=(1, 1, 3), **OPTIONS)
    assert np.array_equal(again.mask, found.mask)
    assert again.lesions["volume_ml"].tolist() == pytest.approx(found.lesions["volume_ml"].tolist())
    assert np.array_equal(again.affine, np.diag([1, 1, 3, 1]))


def test_the_picture_is_a_figure_with_its_words(found):
    figure = found.plot("case 7")
    assert figure.get_suptitle().startswith(f"case 7\n{len(found.lesions)} lesions, ")
    assert "4 samples: 2 folds, dropout p = 0.3 at decoder, seed 2" in figure.get_supxlabel()
    figure.draw_without_rendering()


def test_maps_that_are_not_asked_for_are_not_kept(opened, files):
    plain = opened.predict(files, mc_samples=0, maps=())
    assert dict(plain.uncertainty) == {}
    assert plain.plot().get_suptitle().startswith("model\n")
    assert plain.patient["n_samples"].tolist() == [2.0]  # the folds


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"maps": ["colour"]}, SettingsError, "maps: expected one of 'entropy'"),
        ({"dropout_site": "tail"}, SettingsError, "dropout_site: expected one of 'head'"),
        ({"threshold": 1.5}, SettingsError, "threshold: expected 0 < t < 1, found 1.5"),
        (
            {"sample": 3},
            TypeError,
            r"predict: unknown argument 'sample'.*It takes image, affine, spacing, mc_samples",
        ),
    ],
)
def test_bad_arguments(opened, files, options, error, message):
    with pytest.raises(error, match=message):
        opened.predict(files, **options)


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelError, match=r"plans\.json: no such file; expected a folder of nnU-Net's results"):
        open_model(str(tmp_path), device="cpu")


def test_a_folder_may_have_any_name(model_folder, files, found, tmp_path):
    (tmp_path / "our_model").symlink_to(model_folder)
    again = open_model(tmp_path / "our_model", device="cpu").predict(files, **OPTIONS)
    assert np.array_equal(again.probability, found.probability)


def test_folds_are_numbers_or_names(model_folder):
    assert open_model(model_folder, 1, device="cpu").model.folds == ("1",)
    assert (fold_names((0, "1")), fold_names("all"), fold_names(None)) == (("0", "1"), ("all",), None)
    with pytest.raises(ModelError, match=r"of different folds \['7'\], found folds \['0', '1'\]"):
        open_model(model_folder, folds=7)


def test_the_device_is_the_best_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(None) == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device(None) == torch.device("cpu")
    with pytest.raises(
        SettingsError, match=r"device: expected one of \['cpu'\] on this machine, found cuda\. Choose cpu"
    ):
        choose_device("cuda")
