"""The rim trainers as nnU-Net constructs them, their patches, and what they refuse."""

import inspect
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

import nnunet_ms.doors.trainers as door
from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.normalization import QsmWindowNormalization
from nnunet_ms.trainers.rim import times_drawn
from tests.trainers.test_construction import construct, make_plans, nnunet_folders  # noqa: F401
from tests.trainers.test_joint_t1 import preprocessed, recording
from tests.trainers.test_multi_arm_t2 import train

TRAINERS = [getattr(door, f"nnUNetTrainerMSRim{size}") for size in ("", "Small", "Tiny")]
CHANNELS = {
    "QSM and FLAIR": ("qsm", "flair"),
    "QSM": ("QSM",),
    "FLAIR": ("T2-FLAIR",),
    "four": ("t1", "chi", "flair", "t2"),
}


def dataset(channels=("qsm", "flair"), labels=None):
    return {
        "channel_names": {str(i): name for i, name in enumerate(channels)},
        "labels": {"background": 0, **({"core": 1, "rim": 2} if labels is None else labels)},
        "numTraining": 4,
        "file_ending": ".nii.gz",
    }


def make(trainer_class, content=None, shape=(61, 218, 182)):
    content = content or dataset()
    return construct(trainer_class, make_plans(shape=shape, dataset_json=content), content)


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_signature_is_nnunets(trainer_class):
    ours, theirs = (list(inspect.signature(c.__init__).parameters) for c in (trainer_class, nnUNetTrainer))
    assert ours == theirs


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("channels", CHANNELS.values(), ids=CHANNELS.keys())
def test_initialise_one_loss_and_inference_build(channels):
    trainer = make(door.nnUNetTrainerMSRimTiny, dataset(channels))
    trainer.initialize()
    outputs = trainer.network(torch.randn(2, len(channels), 8, 16, 16))
    assert [tuple(o.shape) for o in outputs] == [(2, 3, 8, 16, 16), (2, 3, 8, 8, 8), (2, 3, 4, 4, 4)]
    targets = [torch.randint(0, 3, (2, 2, *o.shape[2:])).float() for o in outputs]
    assert torch.isfinite(trainer.loss(outputs, targets))
    plans = PlansManager(trainer.plans_manager.plans)
    network = type(trainer).build_network_architecture(
        plans, plans.get_configuration("3d_fullres"), len(channels), 3, enable_deep_supervision=False
    )
    network.load_state_dict(trainer.network.state_dict())


def test_qsm_has_a_fixed_window_and_the_others_a_z_score():
    plan = make_plans(dataset_json=dataset(("t1", "QSM", "flair")))["configurations"]["3d_fullres"]
    scheme, z = "QsmWindowNormalization", "BrainPercentileNormalization"
    assert plan["normalization_schemes"] == [z, scheme, z]


def test_window_keeps_signs_and_is_the_same_for_everybody():
    rng = np.random.default_rng(0)
    scheme = QsmWindowNormalization(use_mask_for_norm=True, intensityproperties={})
    calm, wild = rng.normal(0, 20, (4, 5, 6)), rng.normal(0, 90, (4, 5, 6))
    brain = np.zeros((4, 5, 6), np.int8)
    brain[0] = -1
    for image in (calm, wild):
        out = scheme.run(image.copy(), brain)
        assert (out[0] == 0).all()
        assert out[1:] == pytest.approx(np.clip(image[1:], -300, 300) / 10, abs=1e-5)
        assert (np.sign(out[1:]) == np.sign(image[1:])).all()


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize(
    "labels", [{"lesion": 1}, {"rim": 1, "core": 2}, {"core": 1}, {"core": 1, "rim": 2, "vein": 3}]
)
def test_other_labels_are_refused_with_the_way_out(labels):
    with pytest.raises(ModelError, match=r"needs the labels .*--target rim"):
        make(door.nnUNetTrainerMSRim, dataset(labels=labels))


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("channels", [("t1",), ("t1", "t2"), ("phase",), ("swi", "t1post")])
def test_without_qsm_and_flair_the_error_names_both(channels):
    with pytest.raises(ModelError, match=r"one of \['qsm', 'flair'\] among the channels.*--channels qsm,flair"):
        make(door.nnUNetTrainerMSRim, dataset(channels))


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("scheme", ["ZScoreNormalization", "BrainPercentileNormalization", "NoNormalization"])
def test_plans_that_lose_the_units_of_qsm_are_refused(scheme):
    plans = make_plans(dataset_json=dataset())
    plans["configurations"]["3d_fullres"]["normalization_schemes"][0] = scheme
    with pytest.raises(ModelError, match=rf"normalise channel qsm by {scheme}.*-pl nnUNetPlannerMS"):
        construct(door.nnUNetTrainerMSRim, plans, dataset())


# data ------------------------------------------------------------------------------------------------------------

rims = partial(preprocessed, channels=2, made=lambda: make(door.nnUNetTrainerMSRimTiny, shape=(12, 60, 60)))


def test_cases_with_a_rim_are_drawn_as_often_as_all_others(nnunet_folders, monkeypatch):  # noqa: F811
    trainer = rims(nnunet_folders, {"a": (1,), "b": (1, 2), "c": (1,), "d": (), "e": (1, 2), "v": (1, 2)})
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    np.random.seed(0)  # noqa: NPY002 - what nnU-Net draws from
    seen = []
    monkeypatch.setattr(np.random, "choice", recording(np.random.choice, seen))
    data, _ = trainer.get_tr_and_val_datasets()
    assert sorted(data.identifiers) == ["a", "b", "b", "c", "d", "e", "e"]
    log = Path(trainer.log_file).read_text()
    assert "with lesions: {'core': 4, 'rim': 2}" in log
    assert "Of 5 training cases 2 have a rim; each of those is drawn 2 times as often" in log
    trainer.initialize()
    loader, _ = trainer.get_dataloaders()
    drawn = [case for _ in range(40) for case in next(loader)["keys"]]
    assert np.mean([case in ("b", "e") for case in drawn]) == pytest.approx(4 / 7, abs=0.2)


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_patches_of_a_case_with_a_rim_are_centred_on_one(nnunet_folders, monkeypatch, share):  # noqa: F811
    trainer = rims(nnunet_folders, {"a": (1,), "b": (1, 2), "v": (1, 2)})
    monkeypatch.setattr(door.nnUNetTrainerMSRimTiny.dataset, "rim_only", share)
    np.random.seed(0)  # noqa: NPY002 - what nnU-Net draws from
    data, _ = trainer.get_tr_and_val_datasets()
    offered = [sorted(data.load_case("b")[3]["class_locations"]) for _ in range(100)]
    assert np.mean([labels == [2] for labels in offered]) == pytest.approx(share, abs=0.15)
    assert all(sorted(data.load_case("a")[3]["class_locations"]) == [1] for _ in range(5))


@pytest.mark.parametrize(
    ("cases", "with_rim", "times"), [(20, 10, 1), (20, 1, 10), (30, 3, 9), (7, 2, 3), (5, 0, 1), (1, 1, 1)]
)
def test_half_of_the_draws_have_a_rim_where_ten_times_is_enough(cases, with_rim, times):
    assert times_drawn(cases, with_rim) == times
    if with_rim and times < 10:
        assert times * with_rim >= cases - with_rim


def test_one_case_with_a_rim_trains_and_warns(nnunet_folders, monkeypatch):  # noqa: F811
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    trainer = rims(nnunet_folders, {"a": (1, 2), "b": (1,), "v": (1,)})
    trained = train(trainer, 1)
    assert all(torch.isfinite(value).all() for value in trained.network.state_dict().values())
    assert "WARNING: a single training case of fold 0, a, has a rim" in Path(trainer.log_file).read_text()


def test_no_rim_at_all_warns_what_the_model_will_not_say(nnunet_folders):  # noqa: F811
    trainer = rims(nnunet_folders, {"a": (1,), "b": (1,), "v": (1, 2)})
    trainer.get_tr_and_val_datasets()
    log = Path(trainer.log_file).read_text()
    assert "WARNING: no rim lesion in any of the 2 training cases of fold 0" in log
    assert "say nothing about rim lesions" in log


def test_few_steps_learn_from_both_labels(nnunet_folders, monkeypatch, tmp_path):  # noqa: F811
    """A real training of a few steps; its checkpoint names the trainer and opens again."""
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    trainer = rims(nnunet_folders, {"a": (1, 2), "b": (1, 2), "v": (1, 2)})
    trainer.initialize()
    assert trainer.loss.weight_factors == (1.0, 0.5, 0.25)  # a rim is a voxel wide, or less, at the coarser levels
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    train(trainer, 1)
    head = [name for name in before if name.endswith(("seg_layers.0.weight", "seg_layers.2.weight"))]
    after = trainer.network.state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in head)
    trainer.save_checkpoint(str(tmp_path / "few.pth"))
    saved = torch.load(tmp_path / "few.pth", weights_only=False)
    assert saved["trainer_name"] == "nnUNetTrainerMSRimTiny"
    again = make(door.nnUNetTrainerMSRimTiny, shape=(12, 60, 60))
    again.load_checkpoint(str(tmp_path / "few.pth"))
    assert all(torch.equal(value, after[name]) for name, value in again.network.state_dict().items())
