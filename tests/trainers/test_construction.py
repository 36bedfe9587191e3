"""Every trainer that the door exports, from plans and dataset.json, on CPU, as nnU-Net constructs it."""

import hashlib
import inspect
import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

import nnunet_ms.doors.trainers as door
from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.planner import nnUNetPlannerMS

# joint_t1 and rim ask for other labels, those that fine-tune for a source; VolumeLoss has the network of another
OTHERS = ("JointT1", "IndividualT1", "FineTune", "DeNovo", "VolumeLoss", "MSRim")
TRAINERS = [getattr(door, name) for name in door.__all__ if not any(word in name for word in OTHERS)]
DATASET_JSON = {
    "channel_names": {"0": "T1w", "1": "FLAIR", "2": "T2w"},
    "labels": {"background": 0, "lesion": 1},
    "numTraining": 4,
    "file_ending": ".nii.gz",
}
SPACINGS = {"anisotropic": (3.0, 1.0, 1.0), "isotropic": (1.0, 1.0, 1.0)}


def make_plans(spacing=SPACINGS["anisotropic"], shape=(61, 218, 182), dataset_json=DATASET_JSON):
    planner = object.__new__(nnUNetPlannerMS)  # without the files of a dataset
    planner.UNet_vram_target_GB, planner.preprocessor_name = 16, "DefaultPreprocessor"
    planner.dataset_json = dataset_json
    plan = planner.get_plans_for_configuration(spacing, shape, "nnUNetPlansMS_3d_fullres", 1e9, {})
    plans = {
        "dataset_name": "Dataset001_Test",
        "plans_name": "nnUNetPlansMS",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
        "experiment_planner_used": "nnUNetPlannerMS",
        "configurations": {"3d_fullres": {**plan, "batch_dice": False}},
    }
    return json.loads(json.dumps(plans))  # as read from a file


@pytest.fixture
def nnunet_folders(tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    folder = tmp_path / "preprocessed" / "Dataset001_Test" / "nnUNetPlansMS_3d_fullres"
    folder.mkdir(parents=True)
    (folder / "case.b2nd").touch()  # tells nnU-Net the format of the preprocessed cases
    monkeypatch.setenv("nnUNet_compile", "f")
    return tmp_path


def construct(trainer_class, plans=None, dataset_json=DATASET_JSON, fold=0):
    plans = {**(plans or make_plans()), "continue_training": False}
    return trainer_class(plans, "3d_fullres", fold, deepcopy(dataset_json), device=torch.device("cpu"))


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_signature_is_nnunets(trainer_class):
    ours, theirs = (list(inspect.signature(c.__init__).parameters) for c in (trainer_class, nnUNetTrainer))
    assert ours == theirs


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("kind", SPACINGS)
@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_initialise_and_one_loss(trainer_class, kind):
    trainer = construct(trainer_class, make_plans(SPACINGS[kind]))
    trainer.initialize()
    strides = trainer.configuration_manager.pool_op_kernel_sizes
    levels = len(trainer_class.filters)
    patch = [int(n) * 2 for n in np.prod(strides, axis=0)]  # smaller than the plan's, to be quick
    outputs = trainer.network(torch.randn(2, 3, *patch))
    scales = trainer._get_deep_supervision_scales()
    expected = [(2, 2, *(round(p * s) for p, s in zip(patch, scale, strict=True))) for scale in scales]
    assert [tuple(o.shape) for o in outputs] == expected
    assert len(outputs) == levels - 1
    assert trainer.loss.weight_factors == (1.0,) * (levels - 1)
    targets = [torch.ones(2, 2, *shape[2:]) for shape in expected]
    assert torch.isfinite(trainer.loss(outputs, targets))
    trainer.set_deep_supervision_enabled(enabled=False)
    assert torch.is_tensor(trainer.network(torch.randn(1, 3, *patch)))


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_inference_build_takes_the_checkpoint(trainer_class, tmp_path):
    trainer = construct(trainer_class)
    trainer.initialize()
    trainer.logger.log("ema_fg_dice", 0.1, 0)
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    plans = PlansManager(trainer.plans_manager.plans)  # what nnU-Net stores beside the model
    network = trainer_class.build_network_architecture(
        plans, plans.get_configuration("3d_fullres"), 3, 2, enable_deep_supervision=False
    )
    weights = torch.load(tmp_path / "checkpoint.pth", weights_only=False)["network_weights"]
    network.load_state_dict(weights)
    trainer.set_deep_supervision_enabled(enabled=False)
    x = torch.randn(1, 3, 8, 16, 16)
    with torch.no_grad():
        assert torch.equal(network.eval()(x), trainer.network.eval()(x))
    expected = hashlib.sha256((tmp_path / "checkpoint.pth").read_bytes()).hexdigest()
    assert (tmp_path / "checkpoint.pth.sha256").read_text() == f"{expected}  checkpoint.pth\n"
    again = construct(trainer_class)
    again.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert all(torch.equal(v, weights[k]) for k, v in again.network.state_dict().items())


@pytest.mark.usefixtures("nnunet_folders")
def test_heads_are_where_pretrained_weights_start_anew():
    trainer = construct(door.nnUNetTrainerMSMultiArmTiny)
    trainer.initialize()
    heads = [key for key in trainer.network.state_dict() if ".seg_layers." in key]
    assert heads == [f"decoder.seg_layers.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")]


@pytest.mark.usefixtures("nnunet_folders")
def test_arms_follow_the_channel_names():
    trainer = construct(door.nnUNetTrainerMSMultiArmTiny)
    trainer.initialize()
    assert [arm.channels for arm in trainer.network.arms] == [(1, 2, 0), (1,), (2,)]


@pytest.mark.usefixtures("nnunet_folders")
def test_missing_sequence_is_one_clear_error():
    dataset_json = {**DATASET_JSON, "channel_names": {"0": "FLAIR", "1": "T1w"}}
    with pytest.raises(ModelError, match=r"nnUNetTrainerMSMultiArm needs .*t2 missing"):
        construct(door.nnUNetTrainerMSMultiArm, dataset_json=dataset_json).initialize()


@pytest.mark.usefixtures("nnunet_folders")
def test_foreign_plans_are_refused_with_the_way_out():
    plans = make_plans()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["strides"] = [[1, 1, 1]] + [[2, 2, 2]] * 5
    with pytest.raises(ModelError, match=r"4 levels in 3-D.*-pl nnUNetPlannerMS"):
        construct(door.nnUNetTrainerMSMultiArm, plans).initialize()


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ({"background": 0, "lesion": 1, "ignore": 2}, "ignore label"),
        ({"background": 0, "any": [1, 2], "core": 2}, "regions"),
    ],
)
def test_unsupported_labels_are_refused_by_name(labels, what):
    dataset_json = {**DATASET_JSON, "labels": labels, "regions_class_order": [1, 2]}
    with pytest.raises(NotImplementedError, match=what):
        construct(door.nnUNetTrainerMSMultiArmSmall, dataset_json=dataset_json)


@pytest.mark.usefixtures("nnunet_folders")
def test_cascade_is_refused_by_name():
    plans = make_plans()
    plans["configurations"]["3d_fullres"]["previous_stage"] = "3d_lowres"
    with pytest.raises(NotImplementedError, match="cascade"):
        construct(door.nnUNetTrainerMSMultiArm, plans)


@pytest.mark.usefixtures("nnunet_folders")
def test_small_trainer_caps_patch_and_batch_in_the_stored_plans():
    trainer = construct(door.nnUNetTrainerMSMultiArmSmall)
    stored = trainer.plans_manager.plans["configurations"]["3d_fullres"]
    assert stored["batch_size"] == 4
    assert np.prod(stored["patch_size"]) <= 16 * 64 * 64
    assert construct(door.nnUNetTrainerMSMultiArm).configuration_manager.patch_size == [32, 96, 96]


@pytest.mark.usefixtures("nnunet_folders")
def test_callers_plans_stay_as_they_are():
    plans = make_plans()
    before = deepcopy(plans)
    construct(door.nnUNetTrainerMSMultiArmSmall, plans)
    assert plans == before


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_cases_without_some_sequences_are_for_the_trainers_of_any(trainer_class, nnunet_folders):
    lacking = {**DATASET_JSON, "absent": {"P2": ["T2w"]}}
    name = trainer_class.__name__
    if "Any" in name:
        construct(trainer_class, dataset_json=lacking)
        return
    with pytest.raises(ModelError, match=rf"{name} needs all .*, found 1 that lack some \(P2 has no T2w\)"):
        construct(trainer_class, dataset_json=lacking)


def test_any_sequence_trainer_leaves_sequences_out_and_makes_slices_thick(nnunet_folders):
    trainer = construct(door.nnUNetTrainerMSMultiArmAnySmall)
    patch = [8, 16, 16]
    transforms = trainer.get_training_transforms(
        patch, (-0.1, 0.1), None, (0, 1, 2), do_dummy_2d_data_aug=True, use_mask_for_norm=[True] * 3
    )
    np.random.seed(0)  # noqa: NPY002 - what the transforms draw from
    torch.manual_seed(0)
    seen = set()
    for _ in range(60):
        given = {"image": torch.randn(3, 8, 20, 20), "segmentation": torch.ones(2, 8, 20, 20)}
        image = transforms(**given)["image"]
        assert tuple(image.shape) == (3, *patch)
        seen.add(tuple(bool(channel.any()) for channel in image))
    # T1 is the first channel, and alone it is not enough
    assert len(seen) == 6
    assert (True, False, False) not in seen


@pytest.mark.parametrize(("share", "expected"), [(1.0, (0, 0)), (0.75, (15, 45)), (0.0, (100, 100))])
def test_a_share_of_the_patches_stays_as_acquired(share, expected, nnunet_folders, monkeypatch):
    def changed(_, **data):
        return {**data, "image": data["image"] + 1}

    monkeypatch.setattr(door.nnUNetTrainerMSMultiArmAnySmall, "as_acquired", share)
    trainer = construct(door.nnUNetTrainerMSMultiArmAnySmall)
    for name in ("RandomTissueContrast", "RandomSlices", "RandomContrast", "RandomBias", "RandomRicianNoise"):
        monkeypatch.setattr(f"nnunet_ms.trainers.scan_variety.{name}.__call__", changed)
    for name in ("RandomMotion", "ResidualSkull", "LeftoverTissue", "DropSequences"):
        module = "scan_variety" if name not in ("ResidualSkull", "LeftoverTissue") else "brain_leftovers"
        monkeypatch.setattr(f"nnunet_ms.trainers.{module}.{name}.__call__", lambda _, **data: data)
    torch.manual_seed(0)
    told = 0
    for _ in range(100):
        given = {"image": torch.zeros(3, 4, 8, 8), "segmentation": torch.zeros(1, 4, 8, 8)}
        for transform in trainer.variety():
            given = transform(**given)
        told += bool(given["image"].any())
    assert expected[0] <= told <= expected[1]
