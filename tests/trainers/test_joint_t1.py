"""The joint T1 trainers as nnU-Net constructs them, their patches, and the whole way through nnU-Net's commands."""

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

import nnunet_ms.doors.trainers as door
from nnunet_ms.errors import ModelError
from tests.trainers.test_construction import construct, make_plans, nnunet_folders  # noqa: F401
from tests.trainers.test_multi_arm_t2 import train

NAMES = [name for name in door.__all__ if "FineTune" not in name and "DeNovo" not in name]  # source, length
TRAINERS = [getattr(door, name) for name in NAMES if "JointT1" in name or "IndividualT1" in name]
DATASET_JSON = {
    "channel_names": {"0": "t1", "1": "t1post", "2": "flair", "3": "t2"},
    "labels": {"background": 0, "unenhancing": 1, "enhancing": 2},
    "numTraining": 4,
    "file_ending": ".nii.gz",
}


def make(trainer_class, dataset_json=DATASET_JSON, shape=(61, 218, 182)):
    return construct(trainer_class, make_plans(shape=shape, dataset_json=dataset_json), dataset_json)


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_signature_is_nnunets(trainer_class):
    ours, theirs = (list(inspect.signature(c.__init__).parameters) for c in (trainer_class, nnUNetTrainer))
    assert ours == theirs


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_initialise_one_loss_and_inference_build(trainer_class):
    trainer = make(trainer_class)
    trainer.initialize()
    outputs = trainer.network(torch.randn(2, 4, 8, 16, 16))
    assert [tuple(o.shape) for o in outputs] == [(2, 3, 8, 16, 16), (2, 3, 8, 8, 8), (2, 3, 4, 4, 4)]
    assert trainer.loss.weight_factors == (1.0, 1.0, 1.0)
    targets = [torch.randint(0, 3, (2, 2, *o.shape[2:])).float() for o in outputs]
    assert torch.isfinite(trainer.loss(outputs, targets))
    plans = PlansManager(trainer.plans_manager.plans)  # what nnU-Net stores beside the model
    network = trainer_class.build_network_architecture(
        plans, plans.get_configuration("3d_fullres"), 4, 3, enable_deep_supervision=False
    )
    network.load_state_dict(trainer.network.state_dict())
    trainer.set_deep_supervision_enabled(enabled=False)
    x = torch.randn(1, 4, 8, 16, 16)
    with torch.no_grad():
        assert torch.equal(network.eval()(x), trainer.network.eval()(x))


@pytest.mark.parametrize(
    ("name", "connections", "exclusivity"),
    [
        ("JointT1", "both", 0.1),
        ("IndividualT1", "none", 0.0),
        ("JointT1Encoder", "encoder", 0.1),
        ("JointT1Decoder", "decoder", 0.1),
        ("JointT1NoExclusivity", "both", 0.0),
        ("JointT1Small", "both", 0.1),
        ("IndividualT1Small", "none", 0.0),
        ("JointT1EncoderSmall", "encoder", 0.1),
        ("JointT1DecoderSmall", "decoder", 0.1),
    ],
)
def test_a_variant_is_one_attribute_away(name, connections, exclusivity):
    trainer_class = getattr(door, f"nnUNetTrainerMS{name}")
    assert (trainer_class.cross_connections, trainer_class.exclusivity) == (connections, exclusivity)


@pytest.mark.usefixtures("nnunet_folders")
def test_joint_and_individual_start_from_the_same_function():
    networks = []
    for name in ("nnUNetTrainerMSJointT1Small", "nnUNetTrainerMSIndividualT1Small"):
        trainer = make(getattr(door, name))
        trainer.initialize()
        networks.append(trainer.network.eval())
    x = torch.randn(1, 4, 8, 16, 16)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(networks[0](x), networks[1](x), strict=True))


@pytest.mark.usefixtures("nnunet_folders")
def test_branches_follow_the_channel_names():
    names = {"0": "FLAIR", "1": "T1wGd", "2": "T2w", "3": "T1w"}
    trainer = make(door.nnUNetTrainerMSJointT1Tiny, {**DATASET_JSON, "channel_names": names})
    trainer.initialize()
    assert trainer.network.channels == {"unenhancing": (3, 2, 0), "enhancing": (3, 1, 0, 2)}


@pytest.mark.usefixtures("nnunet_folders")
def test_without_a_post_contrast_image_the_error_names_it():
    names = {"0": "t1", "1": "flair", "2": "t2"}
    with pytest.raises(ModelError, match=r"branch enhancing.*t1post missing.*--channels t1,t1post,flair,t2"):
        make(door.nnUNetTrainerMSJointT1, {**DATASET_JSON, "channel_names": names}).initialize()


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("labels", [{"lesion": 1}, {"enhancing": 1, "unenhancing": 2}])
def test_other_labels_are_refused_with_the_way_out(labels):
    dataset_json = {**DATASET_JSON, "labels": {"background": 0, **labels}}
    with pytest.raises(ModelError, match=r"needs the labels .*--target t1_unenhancing,t1_enhancing"):
        make(door.nnUNetTrainerMSJointT1, dataset_json)


# data ------------------------------------------------------------------------------------------------------------


def preprocessed(root, labels_of, channels=4, made=lambda: make(door.nnUNetTrainerMSJointT1Tiny, shape=(12, 60, 60))):
    """Preprocessed cases with a cube of each label; every case is training and validation (fold `all` apart)."""
    base = root / "preprocessed" / "Dataset001_Test"
    folder = base / "nnUNetPlansMS_3d_fullres"
    (folder / "case.b2nd").unlink()
    rng = np.random.default_rng(0)
    for case, labels in labels_of.items():
        seg = np.zeros((1, 12, 60, 60), np.int16)
        for label in labels:
            seg[0, 3 + 3 * label, 20 * label : 20 * label + 4, 10:14] = label
        data = rng.normal(size=(channels, *seg.shape[1:])).astype(np.float32)
        locations = {label: np.argwhere(seg == label) for label in (1, 2)}
        locations = {label: np.c_[np.zeros(len(found), int), found[:, 1:]] for label, found in locations.items()}
        blocks = (1, 12, 60, 60)
        nnUNetDatasetBlosc2.save_case(
            data, seg, {"class_locations": locations}, str(folder / case), chunks=blocks, blocks=blocks
        )
    cases = list(labels_of)
    (base / "splits_final.json").write_text(json.dumps([{"train": cases[:-1], "val": cases[-1:]}]))
    (base / "dataset_fingerprint.json").write_text("{}")
    return made()


def test_half_of_the_patches_are_centred_on_an_enhancing_lesion(nnunet_folders, monkeypatch):  # noqa: F811
    trainer = preprocessed(nnunet_folders, {"a": (1, 2), "b": (1, 2)})
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    np.random.seed(0)  # noqa: NPY002 - what nnU-Net draws from
    seen = []
    monkeypatch.setattr(np.random, "choice", recording(np.random.choice, seen))
    trainer.initialize()
    loader, _ = trainer.get_dataloaders()
    seen.clear()
    for _ in range(60):
        next(loader)
    labels = [index for options, index in seen if options == 2]
    assert len(labels) == 120
    assert np.mean(labels) == pytest.approx(0.5, abs=0.15)


def recording(choice, seen):
    """What nnU-Net's loader draws: number of options, index of the choice."""

    def draw(options, *arguments, **settings):
        found = choice(options, *arguments, **settings)
        if isinstance(options, int):
            seen.append((options, int(found)))
        return found

    return draw


def test_cases_without_lesions_give_patches_too(nnunet_folders):  # noqa: F811
    trainer = preprocessed(nnunet_folders, {"a": (1, 2), "b": (), "c": (1,)})
    train, _ = trainer.get_tr_and_val_datasets()
    assert train.identifiers == ["a", "b"]
    assert "'unenhancing': 1, 'enhancing': 1" in Path(trainer.log_file).read_text()


def test_no_enhancing_lesion_in_training_trains_and_warns_what_it_means(nnunet_folders, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    trainer = preprocessed(nnunet_folders, {"a": (1,), "b": (1,), "c": (1, 2)})
    trainer.initialize()
    loader, _ = trainer.get_dataloaders()
    loss = trainer.train_step(next(loader))["loss"]
    assert np.isfinite(loss)
    said = capsys.readouterr().out
    assert "WARNING: no enhancing lesion in any of the 2 training cases of fold 0" in said
    assert "say nothing about enhancing lesions" in said


def test_no_lesion_at_all_is_one_clear_error(nnunet_folders):  # noqa: F811
    with pytest.raises(ModelError, match="none of the 1 training cases of fold 0 has a lesion"):
        preprocessed(nnunet_folders, {"a": (), "b": (1,)}).get_tr_and_val_datasets()


@pytest.mark.slow
def test_resumed_training_equals_an_uninterrupted_one(nnunet_folders, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setattr(door.nnUNetTrainerMSJointT1Tiny, "epochs", 3)
    whole = train(preprocessed(nnunet_folders, {"a": (1, 2), "b": (1,), "c": (1, 2)}), 3)
    half, resumed = (make(door.nnUNetTrainerMSJointT1Tiny, shape=(12, 60, 60)) for _ in range(2))
    train(half, 2)
    half.current_epoch -= 1  # nnU-Net saves before it counts the epoch on
    half.save_checkpoint(str(tmp_path / "half.pth"))
    resumed.load_checkpoint(str(tmp_path / "half.pth"))
    train(resumed, 3)
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key]), key


# the whole way ---------------------------------------------------------------------------------------------------


def write_trial(folder, patients=3):
    """A manifest of small scans: a bright cube in FLAIR and a dark one in T1, another cube bright after contrast."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(patients):
        shape, affine = (40, 48, 12), np.diag([1.0, 1.0, 3.0, 1.0])
        masks = {name: np.zeros(shape, np.uint8) for name in ("t1_unenhancing", "t1_enhancing")}
        masks["t1_unenhancing"][10:14, 12:16, 4:6] = 1
        masks["t1_enhancing"][24:28, 30 + number : 34 + number, 6:8] = 1
        images = {name: rng.normal(100, 5, shape) for name in ("t1", "t1post", "flair", "t2")}
        for name in ("flair", "t2"):
            images[name] += 60 * (masks["t1_unenhancing"] + masks["t1_enhancing"])
        images["t1"] -= 40 * masks["t1_unenhancing"]
        images["t1post"] += 80 * masks["t1_enhancing"]
        row = {"patient_id": f"P{number}", "visit": "w0", "week": 0}
        for name, data in {**images, **masks}.items():
            row[name] = f"P{number}_{name}.nii.gz"
            kind = np.uint8 if name in masks else np.float32
            nib.save(nib.Nifti1Image(data.astype(kind), affine), folder / row[name])
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)


@pytest.mark.slow
def test_train_and_predict_through_the_commands(tmp_path):
    names = ("raw", "preprocessed", "results")
    clean = {name: value for name, value in os.environ.items() if not name.lower().startswith("nnunet")}
    folders = {f"nnUNet_{name}": str(tmp_path / name) for name in names}
    environment = {**clean, **folders, "nnUNet_def_n_proc": "1"}
    for name in names:
        (tmp_path / name).mkdir()
    write_trial(tmp_path)

    def run(command, *arguments, **more):
        program = Path(sys.executable).parent / command
        line = [str(program), *map(str, arguments)]
        done = subprocess.run(line, env={**environment, **more}, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    target = "t1_unenhancing,t1_enhancing"
    manifest = tmp_path / "manifest.csv"
    run("nnunet-ms-convert", "trial", manifest, "--dataset-id", 7, "--target", target, "--test-patients", "P2",
        "--channels", "t1,t1post,flair,t2", "--folds", 2)  # fmt: skip
    run("nnUNetv2_plan_and_preprocess", "-d", 7, "-pl", "nnUNetPlannerMS", "-npfp", 1, "-np", 1)
    trainer = "nnUNetTrainerMSJointT1Tiny"
    model = ("-tr", trainer, "-p", "nnUNetPlansMS", "-device", "cpu")
    printed = run("nnUNetv2_train", 7, "3d_fullres", 0, *model, nnUNet_n_proc_DA="0")
    assert "with lesions: {'unenhancing': 1, 'enhancing': 1}" in printed
    images = next((tmp_path / "raw").glob("Dataset007_*")) / "imagesTs"
    out = tmp_path / "predicted"
    run("nnUNetv2_predict", "-i", images, "-o", out, "-d", 7, "-c", "3d_fullres", "-f", 0, *model, "--disable_tta",
        "-npp", 0, "-nps", 0)  # fmt: skip
    mask = np.asarray(nib.load(next(out.glob("*.nii.gz"))).dataobj)
    assert mask.shape == (40, 48, 12)
    assert set(np.unique(mask)) <= {0, 1, 2}
    sampled = tmp_path / "sampled"
    run("nnunet-ms-predict", "-i", images, "-o", sampled, "-d", 7, "-f", 0, *model, "--mc-samples", 3,
        "--dropout", 0.2, "--no-pictures")  # fmt: skip
    assert {path.name for path in (sampled / "probability").iterdir()} == {
        "P2_w0_t1_unenhancing.nii.gz",
        "P2_w0_t1_enhancing.nii.gz",
    }
    assert set(pd.read_csv(sampled / "cases.csv")["lesion_type"]) == {"t1_unenhancing", "t1_enhancing"}
    shutil.rmtree(tmp_path / "preprocessed")
