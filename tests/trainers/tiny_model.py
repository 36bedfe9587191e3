"""A model folder as nnU-Net leaves it, with untrained narrow networks, and images that fit it."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

import nnunet_ms.doors.trainers as door
from tests.trainers.test_construction import construct, make_plans

SHAPE, SPACING = (20, 26, 11), (1.0, 1.0, 3.0)  # several tiles in every direction
TRAINER = "nnUNetTrainerMSMultiArmTiny"
DATASET_JSON = {
    "channel_names": {"0": "t1", "1": "flair", "2": "t2"},
    "labels": {"background": 0, "lesion": 1},
    "numTraining": 4,
    "file_ending": ".nii.gz",
    "patients": {"a_1": "a", "a_2": "a"},
}


def small_plans(dataset_json=DATASET_JSON):
    plans = make_plans(dataset_json=dataset_json)
    plans["configurations"]["3d_fullres"]["patch_size"] = [8, 16, 16]
    plans["foreground_intensity_properties_per_channel"] = {
        str(channel): {} for channel in range(len(dataset_json["channel_names"]))
    }
    return plans


def write_model(folder, folds=(0, 1), trainer_name=TRAINER, dataset_json=DATASET_JSON):
    """Write plans.json, dataset.json and a checkpoint per fold into TRAINER__nnUNetPlansMS__3d_fullres."""
    model = folder / f"{trainer_name}__nnUNetPlansMS__3d_fullres"
    for fold in folds:
        torch.manual_seed(fold)
        trainer = construct(getattr(door, trainer_name), small_plans(dataset_json), dataset_json, fold)
        trainer.initialize()
        with torch.no_grad():  # mild logits, so that masks have an inside and an outside
            trainer.network.decoder.seg_layers[0].weight *= 0.3
        trainer.logger.log("ema_fg_dice", 0.1, 0)
        (model / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
        trainer.save_checkpoint(str(model / f"fold_{fold}" / "checkpoint_final.pth"))
    (model / "plans.json").write_text(json.dumps(trainer.plans_manager.plans))
    (model / "dataset.json").write_text(json.dumps(dataset_json))
    return model


def write_results(root, **how):
    """Write the model below `root`/results/Dataset001_Test, with nnU-Net's folders around it; returns its folder.

    `how` are arguments of `write_model`.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("raw", "preprocessed", "results"):
            (root / name).mkdir()
            patch.setenv(f"nnUNet_{name}", str(root / name))
        preprocessed = root / "preprocessed" / "Dataset001_Test" / "nnUNetPlansMS_3d_fullres"
        preprocessed.mkdir(parents=True)
        (preprocessed / "case.b2nd").touch()  # tells nnU-Net the format of the preprocessed cases
        patch.setenv("nnUNet_compile", "f")
        return write_model(root / "results" / "Dataset001_Test", **how)


def write_images(folder, cases=("a_1", "a_2"), channels=3):
    """Write smooth random images with an empty border, so that cropping is tested too."""
    folder.mkdir(exist_ok=True)
    affine = np.diag([-SPACING[0], SPACING[1], SPACING[2], 1.0])
    affine[:3, 3] = (30, -20, 5)
    for number, case in enumerate(cases):
        for channel in range(channels):
            data = np.random.default_rng([number, channel]).normal(100, 20, SHAPE).astype(np.float32)
            data[:2] = data[-1:] = 0
            data[:, :3] = 0
            nib.save(nib.Nifti1Image(data, affine), folder / f"{case}_{channel:04d}.nii.gz")
    return folder
