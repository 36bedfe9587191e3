"""nnU-Net's own trainer, trained by nnU-Net: its folds are the samples. Oracle: nnU-Net's prediction with each fold."""

import json
import shutil
import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_ms.images.volumes import read_mask, read_volume
from nnunet_ms.trainers.predict_cli import main

pytestmark = pytest.mark.slow

NAME, SHAPE, CASES = "Dataset002_Own", (28, 32, 20), ("p0", "p1", "p2", "p3")
DATASET_JSON = {
    "channel_names": {"0": "flair", "1": "t2"},
    "labels": {"background": 0, "lesion": 1},
    "numTraining": len(CASES),
    "file_ending": ".nii.gz",
}


def write_raw(raw):
    """Noise with a few bright balls in both channels."""
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps(DATASET_JSON))
    affine, grid = np.diag([1.0, 1.0, 2.0, 1.0]), np.indices(SHAPE)
    for number, case in enumerate(CASES):
        rng = np.random.default_rng(number)
        centres = rng.uniform(5, np.array(SHAPE) - 5, (4, 3))
        label = np.any([((grid - c[:, None, None, None]) ** 2).sum(0) < 9 for c in centres], axis=0)
        nib.save(nib.Nifti1Image(label.astype(np.uint8), affine), raw / "labelsTr" / f"{case}.nii.gz")
        for channel in range(2):
            image = (100 + 60 * label + rng.normal(0, 10, SHAPE)).astype(np.float32)
            nib.save(nib.Nifti1Image(image, affine), raw / "imagesTr" / f"{case}_{channel:04d}.nii.gz")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a model of nnUNetTrainer, two folds of a few steps, through nnU-Net's own functions."""
    root = tmp_path_factory.mktemp("nnunet")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nnU-Net's training warns of what is none of ours
        for name in ("raw", "preprocessed", "results"):
            patch.setenv(f"nnUNet_{name}", str(root / name))
        patch.setenv("nnUNet_n_proc_DA", "1")  # the planner takes it for PyTorch's threads
        patch.setenv("nnUNet_compile", "f")
        write_raw(root / "raw" / NAME)
        extract_fingerprints([2], num_processes=1)
        plans = plan_experiments([2])
        preprocess([2], plans, configurations=("3d_fullres",), num_processes=(1,))
        halves = list(CASES[:2]), list(CASES[2:])
        splits = [{"train": one, "val": other} for one, other in (halves, halves[::-1])]
        (root / "preprocessed" / NAME / "splits_final.json").write_text(json.dumps(splits))
        patch.setenv("nnUNet_n_proc_DA", "0")
        for fold in (0, 1):
            torch.manual_seed(fold)
            trainer = get_trainer_from_args("2", "3d_fullres", fold, device=torch.device("cpu"))
            trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 1, 4, 1
            trainer.run_training()
        return root / "results" / NAME / "nnUNetTrainer__nnUNetPlans__3d_fullres", root / "raw" / NAME / "imagesTr"


def fold_probability(model, images, fold, case):
    """nnU-Net's own lesion probability (X, Y, Z) of one fold, of the one tile that the volume fits into."""
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, use_mirroring=False, use_gaussian=False)
    predictor.initialize_from_trained_model_folder(str(model), (fold,))
    files = [str(images / f"{case}_{channel:04d}.nii.gz") for channel in range(2)]
    data, properties = predictor.plans_manager.image_reader_writer_class().read_images(files)
    _, probability = predictor.predict_single_npy_array(data, properties, save_or_return_probabilities=True)
    return probability[1].transpose(2, 1, 0)


def test_folds_are_the_samples_and_their_mean_is_nnunets(trained, tmp_path):
    model, images = trained
    out = tmp_path / "out"
    options = ["-m", str(model), "-f", "0", "1", "-device", "cpu", "--no-tta", "--no-pictures", "--maps", "variance"]
    assert main(["-i", str(images), "-o", str(out), *options]) == 0
    folds = np.stack([fold_probability(model, images, fold, "p1") for fold in ("0", "1")])
    assert np.abs(folds[0] - folds[1]).max() > 0.01  # they do disagree
    mean = read_volume(out / "probability" / "p1.nii.gz").data
    assert np.allclose(mean, folds.mean(0), atol=0.01)  # nnU-Net sums in half precision
    assert np.allclose(read_volume(out / "variance" / "p1.nii.gz").data, folds.var(0), atol=0.01)
    sure = np.abs(folds.mean(0) - 0.5) > 0.01
    assert np.array_equal(read_mask(out / "p1.nii.gz").data[sure] > 0, (folds.mean(0) > 0.5)[sure])
    cases = pd.read_csv(out / "cases.csv")
    assert list(cases["case_id"]) == list(CASES)
    assert set(cases["n_samples"]) == {2}
    assert cases["psu"].between(0, 1).all()
    assert json.loads((out / "prediction.json").read_text())["trainer"] == "nnUNetTrainer"


def test_mirrorings_are_samples_too(trained, tmp_path):
    model, images = trained
    one = tmp_path / "images"
    one.mkdir()
    for path in images.glob("p0_*"):
        shutil.copy(path, one)
    options = ["-m", str(model), "-device", "cpu", "--no-pictures"]
    assert main(["-i", str(one), "-o", str(tmp_path / "out"), *options]) == 0
    assert set(pd.read_csv(tmp_path / "out" / "cases.csv")["n_samples"]) == {16}  # 2 folds x 8 mirrorings
