"""Bad input to the functions of the front door: the thing, what was expected, what was found, what to do next."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import nnunet_ms as ms
from tests.trainers.tiny_model import write_images, write_results

MASK = np.zeros((6, 6, 6), dtype=np.uint8)
MASK[2:4, 2:4, 2:4] = 1
FRAME = pd.DataFrame({"time": [1.0, 2, 3, 4], "event": [1, 0, 1, 1], "arm": ["a", "b", "a", "b"]})


@pytest.fixture
def folder(tmp_path):
    """One case as folders of predictions and references, its masks, and a folder that is no model."""
    for name in ("predictions", "references"):
        (tmp_path / name).mkdir()
        nib.save(nib.Nifti1Image(MASK, np.eye(4)), tmp_path / name / "c.nii.gz")
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return ms.open_model(write_results(tmp_path_factory.mktemp("nnunet")), folds=0, device="cpu")


def refused(message):
    return pytest.raises(ms.NnunetMsError, match=message)


def test_masks_of_different_shape_and_without_spacing():
    with refused(r"prediction: expected the grid of reference \(shape \(6, 6, 6\).*found shape \(5, 6, 6\)"):
        ms.evaluate_masks(MASK, MASK[1:], spacing=(1, 1, 3))
    with refused("reference: an array needs spacing or affine, found neither"):
        ms.evaluate_masks(MASK, MASK)
    with refused(r"expected a 3-D image, found shape \(6, 6\)"):
        ms.evaluate_masks(MASK[0], MASK[0], spacing=(1, 1, 3))


def test_unknown_words_are_answered_with_the_known_ones(folder):
    with refused(r"rule: expected one of 'krishnan2023', .*found 'krishnan2032'\. Did you mean 'krishnan2023'"):
        ms.evaluate_masks(MASK, MASK, spacing=(1, 1, 3), rule="krishnan2032")
    with refused(r"rules: expected different names out of \['isbi2015', .*'krishnan2023'.*found \['krishnan2032'\]"):
        ms.evaluate(folder / "predictions", folder / "references", folder / "out", rules="krishnan2032")
    with refused("expected one of .*'trial'.*found 'trail'"):
        ms.convert(folder / "manifest.csv", "trail", dataset_id=801, raw=folder)
    with refused("preset: expected one of 'demo'.*found 'opera'"):
        ms.simulate(folder / "trial", "opera")
    with refused("conventions: expected one of 'r', 'sas', found 'R'. Did you mean 'r'"):
        ms.run_trial(folder / "trial.toml", folder / "out", conventions="R")
    with refused("ties: expected one of 'efron', 'breslow', found 'Efron'"):
        ms.statistics.cox(FRAME, "time", "event", "arm", ties="Efron")
    assert not (folder / "out").exists()


def test_a_frame_without_the_column():
    with refused(r"^expected column 'tlv', found \['time', 'event', 'arm'\]"):
        ms.statistics.cox(FRAME, "time", "event", ["arm", "tlv"])


def test_texts_are_paths(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert ms.evaluate_masks("predictions/c.nii.gz", "references/c.nii.gz")["dice"] == 1
    assert ms.evaluate("predictions", "references", "out").visits["lesion_count"].tolist() == [1, 1]
    with refused(r"^nowhere\.toml"):
        ms.run_trial("nowhere.toml", "report")
    with refused(r"nowhere\.csv"):
        ms.convert("nowhere.csv", dataset_id=801, raw="raw")
    with refused("nowhere: expected a folder of images"):
        ms.predict("nowhere", "out2", model=write_results(folder), folds=0, mc_samples=0, device="cpu")


def test_a_folder_that_is_no_model(folder):
    with refused(r"predictions.plans\.json: no such file; expected a folder of nnU-Net's results"):
        ms.open_model(folder / "predictions", device="cpu")
    with refused(r"plans\.json: no such file"):
        ms.predict(folder, folder / "out", model=str(folder / "predictions"), device="cpu")
    with refused(r"model: expected its folder \(-m\), or dataset and trainer"):
        ms.predict(folder, folder / "out")


def test_images_that_are_not_the_models(model, tmp_path):
    write_images(tmp_path, ("a",))
    given = {name: tmp_path / f"a_{number:04d}.nii.gz" for number, name in enumerate(model.channels)}
    with refused(
        r"image: expected the channels \['t1', 'flair', 't2'\], found \['t1', 'FLAIR', 't2'\]\. Is 'FLAIR' 'flair'"
    ):
        model.predict({"t1": given["t1"], "FLAIR": given["flair"], "t2": given["t2"]}, mc_samples=0)
    arrays = {name: np.asarray(nib.load(path).dataobj) for name, path in given.items()}
    with refused("t1: an array needs spacing or affine, found neither"):
        model.predict(arrays, mc_samples=0)
    with refused(r"flair: expected the grid of t1 \(shape \(20, 26, 11\).*found shape \(20, 26, 10\)"):
        model.predict({**arrays, "flair": arrays["flair"][..., 1:]}, spacing=(1, 1, 3), mc_samples=0)


@pytest.mark.parametrize(
    ("function", "wrong", "meant"),
    [
        ("convert", "channel", "channels"),
        ("evaluate", "rule", "rules"),
        ("evaluate_masks", "rules", "rule"),
        ("open_model", "fold", "folds"),
        ("predict", "samples", "mc_samples"),
        ("run_trial", "convention", "conventions"),
        ("simulate", "patient", "patients"),
    ],
)
def test_a_misspelt_argument_is_answered_with_the_name_that_was_meant(function, wrong, meant):
    with pytest.raises(
        TypeError, match=rf"^{function}: unknown argument '{wrong}'\. Did you mean '{meant}'\? It takes "
    ):
        getattr(ms, function)(**{wrong: 1})


def test_everything_that_a_user_can_mend_is_one_class():
    assert issubclass(ms.NnunetMsError, Exception)
    with pytest.raises(ValueError, match="preset"):  # an option is a ValueError too, as callers from Python expect
        ms.simulate("out", "opera")
