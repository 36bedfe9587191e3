import math

import numpy as np
import pytest
import torch

import nnunet_ms.doors.trainers as door
from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.losses import SigmoidCrossEntropy
from nnunet_ms.trainers.matched_length import matched_epochs
from nnunet_ms.trainers.new_lesions import patch_of, strides_of
from tests.trainers.test_construction import DATASET_JSON, SPACINGS, construct, make_plans, nnunet_folders  # noqa: F401
from tests.trainers.test_multi_arm_t2 import PATIENTS, preprocessed  # noqa: F401


class Patches(door.nnUNetTrainerMSBalancedTiny):
    """Patches so small that some hold no lesion."""

    max_patch_voxels = 8 * 16 * 16


def small(trainer_class, **settings):
    dataset = {**DATASET_JSON, "patients": PATIENTS}
    return construct(type(trainer_class.__name__, (trainer_class,), settings), make_plans(shape=(12, 60, 60)), dataset)


@pytest.fixture
def one_process(monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")


@pytest.mark.usefixtures("preprocessed", "one_process")
def test_half_of_the_patches_are_on_lesions_and_half_without():
    trainer = small(Patches)
    trainer.initialize()
    loader, _ = trainer.get_dataloaders()
    held = [[bool((labels == 1).any()) for labels, _ in next(loader)["target"][0]] for _ in range(12)]
    share = np.mean(held)
    # B_1 has no lesion and is drawn too: its patch is without, and the next ones make up for it
    assert 0.4 <= share <= 0.6
    assert all(sum(batch) <= 2 for batch in held)


@pytest.mark.usefixtures("preprocessed")
def test_the_log_says_which_patches_there_are():
    trainer = small(Patches)
    train, validation = trainer.get_tr_and_val_datasets()
    assert train.identifiers == ["A_1", "A_2", "B_1"]
    assert {case: one.kind for case, one in train.free.items()} == {"A_1": "free", "A_2": "free", "B_1": "free"}
    assert list(validation.free) == ["C_1"]
    with open(trainer.log_file) as stream:  # noqa: PTH123
        log = stream.read()
    assert "1 of 3 training cases have no lesion; their patches have none." in log
    assert "Lesion-free patches of 8x16x16: 3 of 3 training cases have some" in log


@pytest.mark.usefixtures("preprocessed")
def test_cases_full_of_lesions_say_so():
    trainer = small(door.nnUNetTrainerMSBalancedTiny)  # patches of nearly the whole slices, a lesion in their middle
    train, _ = trainer.get_tr_and_val_datasets()
    assert train.free["A_1"].kind == "fewest"
    with open(trainer.log_file) as stream:  # noqa: PTH123
        assert "2 have none, and those with the fewest lesion voxels take their place" in stream.read()


def test_a_subset_without_any_lesion_is_one_clear_error(preprocessed):  # noqa: F811
    (preprocessed / "splits_final.json").write_text('[{"train": ["B_1"], "val": ["C_1"]}]')
    with pytest.raises(ModelError, match="none of the 1 training cases of fold 0 has a lesion"):
        small(Patches).get_tr_and_val_datasets()


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize(
    ("name", "levels", "patch"),
    [
        ("nnUNetTrainerMSBalanced", 4, 96),
        ("nnUNetTrainerMSBalancedDepth3", 3, 96),
        ("nnUNetTrainerMSBalancedDepth5", 5, 96),
    ],
)
def test_the_papers_patch_and_levels_stand_in_the_stored_plans(name, levels, patch):
    trainer = construct(getattr(door, name), make_plans(SPACINGS["isotropic"], shape=(182, 218, 182)))
    stored = trainer.plans_manager.plans["configurations"]["3d_fullres"]
    assert stored["patch_size"] == [patch] * 3
    assert stored["batch_size"] == 2
    assert len(stored["architecture"]["arch_kwargs"]["strides"]) == levels
    assert {
        key: len(value) for key, value in stored["architecture"]["arch_kwargs"].items() if key.startswith("n_conv")
    } == {
        "n_conv_per_stage": levels,
        "n_conv_per_stage_decoder": levels - 1,
    }
    # thick slices keep the planned patch, and plans of nnU-Net's own topology will do
    plans = make_plans()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["strides"] = [[1, 1, 1]] + [[2, 2, 2]] * 5
    other = construct(getattr(door, name), plans)
    assert other.plans_manager.plans["configurations"]["3d_fullres"]["patch_size"] == [32, 96, 96]
    assert len(other.configuration_manager.pool_op_kernel_sizes) == levels


def test_patches_are_as_the_levels_divide():
    for levels in (3, 4, 5):
        for spacing, planned in (([3, 1, 1], [20, 72, 88]), ([1, 1, 1], [64, 64, 64])):
            strides = strides_of(spacing, levels)
            patch = patch_of(spacing, planned, [70, 100, 90], strides)
            assert (np.array(patch) % np.prod(strides, axis=0) == 0).all()


@pytest.mark.parametrize("labels", [[1], [1, 2], [2, 1], [3]])
def test_cross_entropy_is_torchs(labels):
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(2, 1 + len(labels), 3, 4, 5, generator=generator)
    output[:, 0] = 0
    target = torch.randint(0, 4, (2, 2, 3, 4, 5), generator=generator).float()
    found = SigmoidCrossEntropy(labels)(output, target)
    terms = []
    for channel, label in enumerate(labels, 1):
        for logit, voxel in zip(output[:, channel].flatten().tolist(), target[:, 0].flatten().tolist(), strict=True):
            p = 1 / (1 + math.exp(-logit))
            terms.append(-math.log(p if voxel == label else 1 - p))
    assert found.item() == pytest.approx(sum(terms) / (len(terms) / len(labels)), rel=1e-5)
    if labels == [1]:
        two = torch.nn.functional.cross_entropy(output, (target[:, 0] == 1).long())
        assert found.item() == pytest.approx(two.item(), rel=1e-5)


@pytest.mark.usefixtures("nnunet_folders")
def test_our_loss_is_of_one_type():
    dataset = {**DATASET_JSON, "labels": {"background": 0, "new": 1, "enlarging": 2}}
    trainer = construct(door.nnUNetTrainerMSBalancedVolumeLoss, dataset_json=dataset)
    with pytest.raises(ModelError, match=r"has the loss of one lesion type, found labels \[1, 2\]"):
        trainer.initialize()
    trainer = construct(door.nnUNetTrainerMSBalancedTiny, dataset_json=dataset)
    trainer.initialize()
    assert trainer.loss.loss.labels == (1, 2)


@pytest.mark.parametrize(
    ("studies", "patches", "epochs"), [(10, 500, 108), (50, 500, 540), (11, 500, 119), (10, 2500, 22), (1, 10**6, 1)]
)
def test_length_is_the_papers_number_of_presentations(studies, patches, epochs):
    # 10.8 N epochs of 250 batches of 2; where it does not come out even, the next whole epoch
    assert matched_epochs(studies, 60 * 3 * 30, patches) == epochs


@pytest.mark.usefixtures("preprocessed", "one_process")
@pytest.mark.parametrize(
    ("name", "epochs"),
    [
        ("nnUNetTrainerMSBalanced", 33),  # 3 cases x 5400 / 500 = 32.4
        ("nnUNetTrainerMSDeNovoMultiArm", 7),  # 10 patches a batch: 3 x 5400 / 2500
        ("nnUNetTrainerMSBalancedSmall", 3),  # 3 x 40 / 40
        ("nnUNetTrainerMSDeNovoFlairT1Small", 3),
        ("nnUNetTrainerMSBalancedTiny", 2),  # its own
    ],
)
def test_the_training_is_as_long_as_its_cases_ask_for(name, epochs):
    trainer = small(getattr(door, name), filters=getattr(door, "nnUNetTrainerMSBalancedSmall").filters)  # noqa: B009
    trainer.initialize()
    trainer._match_length()
    assert trainer.num_epochs == trainer.lr_scheduler.max_steps == epochs
