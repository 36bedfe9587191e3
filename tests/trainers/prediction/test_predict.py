"""The whole command on a tiny untrained model. Oracles: nnU-Net's own prediction, the maps themselves, a second run."""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunet_ms import nnunet
from nnunet_ms.errors import ModelError, NnunetMsError, SettingsError
from nnunet_ms.images.volumes import read_mask, read_volume, same_grid
from nnunet_ms.tables import CASES, LESIONS, read_table
from nnunet_ms.trainers.predict_cli import main
from nnunet_ms.trainers.prediction.open_model import open_model
from nnunet_ms.trainers.prediction.predict import predict
from nnunet_ms.trainers.prediction.tiles import TileRunner
from nnunet_ms.trainers.prediction.time_taken import MEMORY, SECONDS
from tests.trainers.tiny_model import write_images

CPU = torch.device("cpu")
MASK_OF_NNUNET = "a_1"


@pytest.fixture(scope="module")
def command(model_folder, image_folder):
    def run(out, *options, images=image_folder, folds=("0", "1")):
        paths = ["-i", str(images), "-o", str(out), "-m", str(model_folder), "-device", "cpu", "-f", *folds]
        return main([*paths, "--no-pictures", *options])

    return run


@pytest.fixture(scope="module")
def sampled(command, tmp_path_factory):
    out = tmp_path_factory.mktemp("sampled") / "out"
    maps = "entropy,mutual_information,variance,deterministic"
    assert command(out, "--mc-samples", "4", "--dropout", "0.3", "--maps", maps, "--rater", "net") == 0
    return out


def without_cost(path):
    """The digits of cases.csv but for what differs from run to run: seconds and memory."""
    return pd.read_csv(path, dtype=str).drop(columns=[*SECONDS, *MEMORY]).to_csv()


def test_tables_and_maps_belong_together(sampled):
    lesions, cases = read_table(sampled / "lesions.csv", LESIONS), read_table(sampled / "cases.csv", CASES)
    assert list(cases["case_id"]) == ["a_1", "a_2"]
    assert set(cases["n_samples"].astype(float)) == {8.0}  # 4 samples of 2 folds
    mask, p = read_mask(sampled / "a_1.nii.gz"), read_volume(sampled / "probability" / "a_1.nii.gz")
    assert same_grid(mask.grid, p.grid)
    assert np.array_equal(mask.data > 0, p.data > 0.5)
    here = lesions[lesions["case_id"] == "a_1"]
    assert len(here) > 0
    assert here["uncertainty"].between(0, 1).all()
    assert set(here["rater"]) == {"net"}
    entropy, information = (
        read_volume(sampled / name / "a_1.nii.gz").data for name in ("entropy", "mutual_information")
    )
    q = p.data.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.nan_to_num(-(q * np.log(q) + (1 - q) * np.log(1 - q)))
    assert np.allclose(entropy, expected, atol=1e-4)
    assert (information <= entropy + 1e-6).all()
    inside = np.argwhere(mask.data)  # the empty border of the image stays empty
    assert inside[:, 0].min() >= 2
    assert inside[:, 1].min() >= 3
    record = json.loads((sampled / "prediction.json").read_text())
    assert (record["samples"], record["sampling"]["probability"], record["folds"]) == (8, 0.3, ["0", "1"])


def test_plain_prediction_is_nnunets(command, model_folder, image_folder, tmp_path):
    assert command(tmp_path / "out", "--mc-samples", "0", folds=("1",)) == 0
    predictor = nnUNetPredictor(device=CPU, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model_folder), ("1",))
    files = [str(image_folder / f"{MASK_OF_NNUNET}_{channel:04d}.nii.gz") for channel in range(3)]
    data, properties = predictor.plans_manager.image_reader_writer_class().read_images(files)
    expected = predictor.predict_single_npy_array(data, properties).transpose(2, 1, 0)
    found = read_mask(tmp_path / "out" / f"{MASK_OF_NNUNET}.nii.gz").data
    assert 0 < found.sum() < found.size
    # nnU-Net's half precision rounds logits at the image's corners to whole numbers
    assert np.mean(found != expected) < 0.01
    assert np.array_equal(found[4:-4, 6:-6, 2:-2], expected[4:-4, 6:-6, 2:-2])


def test_deterministic_map_is_the_plain_prediction(command, sampled, tmp_path):
    assert command(tmp_path / "out", "--mc-samples", "0") == 0
    plain = read_volume(tmp_path / "out" / "probability" / "a_2.nii.gz").data
    assert np.allclose(read_volume(sampled / "deterministic" / "a_2.nii.gz").data, plain, atol=1e-5)


def test_an_interrupted_run_goes_on_and_ends_the_same(command, sampled, tmp_path, capsys):
    out = shutil.copytree(sampled, tmp_path / "out")
    options = ("--mc-samples", "4", "--dropout", "0.3", "--rater", "net")
    maps = ("--maps", "entropy,mutual_information,variance,deterministic")
    shutil.rmtree(out / ".done" / "a_2")
    for name in ("lesions.csv", "cases.csv"):
        (out / name).unlink()
    assert command(out, *options, *maps, "--continue") == 0
    assert "1 of 2 cases done before" in capsys.readouterr().out
    for name in ("lesions.csv", "a_2.nii.gz", "probability/a_2.nii.gz"):
        assert (out / name).read_bytes() == (sampled / name).read_bytes(), name
    assert without_cost(out / "cases.csv") == without_cost(sampled / "cases.csv")
    times = [json.loads((folder / "prediction.json").read_text())["time"] for folder in (out, sampled)]
    assert [row["cases"] for time in times for row in time] == [2, 2]  # also the case that was done before
    assert command(out, *options, *maps) == 2
    assert "go on with resume (--continue)" in capsys.readouterr().err
    assert command(out, *options, "--seed", "1", *maps, "--continue") == 2
    assert "found other sampling" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("where", [("--workers", "2"), ("--dask", "local:1")], ids="=".join)
def test_other_processes_write_the_same_files(command, sampled, tmp_path, where):
    maps = "entropy,mutual_information,variance,deterministic"
    options = ("--mc-samples", "4", "--dropout", "0.3", "--maps", maps, "--rater", "net", *where)
    assert command(tmp_path / "out", *options) == 0
    for name in ("lesions.csv", "a_1.nii.gz", "probability/a_1.nii.gz"):
        assert (tmp_path / "out" / name).read_bytes() == (sampled / name).read_bytes(), name
    assert without_cost(tmp_path / "out" / "cases.csv") == without_cost(sampled / "cases.csv")
    assert pd.read_csv(tmp_path / "out" / "cases.csv")["case_s"].gt(0).all()


def test_one_bad_case_is_listed_and_the_others_go_on(command, tmp_path, capsys):
    images = write_images(tmp_path / "images", ("bad", "few", "good", "void"))
    (images / "bad_0001.nii.gz").write_bytes(b"no image")
    (images / "few_0001.nii.gz").unlink()
    nib.save(nib.Nifti1Image(np.zeros((0, 4, 4), np.float32), np.eye(4)), images / "void_0002.nii.gz")
    assert command(tmp_path / "out", "--mc-samples", "0", images=images, folds=("0",)) == 1
    error = capsys.readouterr().err
    assert "case bad: " in error
    assert "case few: expected channels 0000 (t1), 0001 (flair), 0002 (t2)" in error
    assert "void_0002.nii.gz: expected voxels, found an image of shape (0, 4, 4)" in error
    assert list(pd.read_csv(tmp_path / "out" / "failures.csv")["case_id"]) == ["bad", "few", "void"]
    assert list(pd.read_csv(tmp_path / "out" / "cases.csv")["case_id"]) == ["good"]
    assert (tmp_path / "out" / "good.nii.gz").is_file()
    assert not (tmp_path / "out" / "bad.nii.gz").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_probability_that_is_no_number_fails_its_case(command, tmp_path, capsys, monkeypatch, value):
    images, fold, seen = write_images(tmp_path / "images", ("good", "strange")), TileRunner._fold, []

    def second_is_strange(runner, number, data):
        samples, sure = fold(runner, number, data)
        seen.append(number)
        if len(seen) == 2:
            samples[0, 0, 3, 4, 5] = value
        return samples, sure

    monkeypatch.setattr(TileRunner, "_fold", second_is_strange)
    assert command(tmp_path / "out", "--mc-samples", "0", images=images, folds=("0",)) == 1
    assert "case strange: fold 0: expected probabilities, found NaN or infinity. Look" in capsys.readouterr().err
    assert list(pd.read_csv(tmp_path / "out" / "failures.csv")["case_id"]) == ["strange"]
    assert list(pd.read_csv(tmp_path / "out" / "cases.csv")["case_id"]) == ["good"]
    assert not (tmp_path / "out" / "strange.nii.gz").exists()


@pytest.mark.parametrize("name", ["../../T", "a/b", "C:x", "a\nb"])
@pytest.mark.parametrize("option", ["rater", "lesion_type"])
def test_names_that_leave_the_folder_are_refused(model_folder, image_folder, tmp_path, option, name):
    with pytest.raises(SettingsError, match=rf"{option}: expected a plain name"):
        predict(image_folder, tmp_path / "out", model=model_folder, device="cpu", mc_samples=0, **{option: name})
    assert not (tmp_path / "out").exists()


def test_without_nnunet_the_command_says_so_in_one_line(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(nnunet, "version", lambda _: "1.7.1")
    assert command(tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nnunet-ms-predict: nnU-Net: expected nnunetv2 >= 2.8, < 3, found 1.7.1. Install it")


def test_nothing_that_works_leaves_nothing(command, tmp_path, capsys):
    images = write_images(tmp_path / "images", ("c",), channels=4)
    assert command(tmp_path / "out", "--mc-samples", "0", images=images, folds=("0",)) == 2
    assert "none of 1 cases could be predicted. c: expected channels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-f", "0", "1", "2"), "expected checkpoint_final.pth of different folds ['0', '1', '2'], found folds"),
        (("-tr", "nnUNetTrainer"), "expected a checkpoint of nnUNetTrainer, found one of nnUNetTrainerMSMultiArmTiny"),
        (("--fold-thresholds", "0.4"), "fold_thresholds: expected 2 numbers, one per fold"),
    ],
)
def test_a_model_that_does_not_fit_writes_nothing(command, tmp_path, capsys, options, message):
    assert command(tmp_path / "out", "--mc-samples", "0", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_thresholds_of_folds_give_lsu_plus_and_the_variance_is_split(command, sampled, tmp_path):
    # Oracle: with the mask's own threshold in every fold LSU+ is LSU; a low one changes it and nothing else
    maps = ("--maps", "variance_folds,variance_flips,variance_masks")
    options = ("--mc-samples", "4", "--dropout", "0.3", "--rater", "net", *maps, "--fold-thresholds")
    before = pd.read_csv(sampled / "lesions.csv")
    for name, thresholds in {"same": ("0.5", "0.5"), "other": ("0.5", "0.2")}.items():
        assert command(tmp_path / name, *options, *thresholds) == 0
    same, other = (pd.read_csv(tmp_path / name / "lesions.csv") for name in ("same", "other"))
    assert same["lsu_plus"].tolist() == same["uncertainty"].tolist() == before["uncertainty"].tolist()
    assert other["uncertainty"].tolist() == before["uncertainty"].tolist()
    assert (other["lsu_plus"] != other["uncertainty"]).any()
    cases = pd.read_csv(tmp_path / "same" / "cases.csv")
    assert cases["psu_plus"].tolist() == cases["psu"].tolist()
    # the parts of the variance add up to it; without mirroring none of it comes from there
    folds, flips, masks = (
        read_volume(tmp_path / "same" / f"variance_{name}" / "a_1.nii.gz").data for name in ("folds", "flips", "masks")
    )
    total = read_volume(sampled / "variance" / "a_1.nii.gz").data
    assert np.allclose(folds + flips + masks, total, atol=1e-5)
    assert flips.max() < 1e-6
    assert min(folds.max(), masks.max()) > 1e-3


def test_an_open_model_predicts_folders_too(command, model_folder, image_folder, tmp_path):
    # Oracle: the command, which opens the folder itself
    opened, said = open_model(model_folder, ("0",), device="cpu"), []
    found = predict(str(image_folder), str(tmp_path / "a"), model=opened, mc_samples=0, pictures=False, say=said.append)
    assert command(tmp_path / "b", "--mc-samples", "0", folds=("0",)) == 0
    assert without_cost(tmp_path / "a" / "cases.csv") == without_cost(tmp_path / "b" / "cases.csv")
    assert [line.partition(":")[0] for line in said] == found.cases["case_id"].tolist() == ["a_1", "a_2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 0}, "model: expected no folds and no device beside a model that is open"),
        ({"dataset": 1, "model": "folder"}, r"model: expected its folder \(-m\) or a dataset \(-d\), found both"),
        ({"dataset": 1, "model": None}, r"model: expected its folder \(-m\), or dataset and trainer \(-d and -tr\)"),
        ({"dataset": 7, "model": None, "trainer": "nnUNetTrainer"}, r"expected one folder Dataset007_\*, found 0"),
    ],
)
def test_one_model_is_named_in_one_way(model_folder, image_folder, tmp_path, monkeypatch, options, message):
    monkeypatch.setenv("nnUNet_results", str(model_folder.parents[1]))
    opened = open_model(model_folder, ("0",), device="cpu")
    with pytest.raises(NnunetMsError, match=message):
        predict(image_folder, tmp_path / "out", **{"model": opened, **options})


def test_nothing_to_sample_is_refused_with_the_ways_out(model_folder, image_folder, tmp_path):
    with pytest.raises(ModelError, match=r"trained with dropout probability 0.*dropout 0\.1 .*mc_samples 0"):
        predict(image_folder, tmp_path / "out", model=model_folder, folds=0, device="cpu")
    assert not (tmp_path / "out").exists()
