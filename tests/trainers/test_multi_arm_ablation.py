"""Each ablation is the paper's trainer with one thing changed. Construction and checkpoints: `test_construction.py`."""

import numpy as np
import pytest
import torch

import nnunet_ms.doors.trainers as door
from nnunet_ms.trainers import losses, multi_arm_ablation
from nnunet_ms.trainers.multi_arm_t2 import nnUNetTrainerMSMultiArm
from tests.trainers.test_construction import construct, make_plans, nnunet_folders  # noqa: F401 - a fixture

ABLATIONS = {
    name: trainer
    for name, trainer in vars(multi_arm_ablation).items()
    if isinstance(trainer, type) and trainer.__module__ == multi_arm_ablation.__name__
}
# Oracle: the layer table, see tests/trainers/networks/test_multi_arm_unet.py
PARAMETERS = {
    "nnUNetTrainerMSPlain": 7_670_979,
    "nnUNetTrainerMSSingleArmNoShortcuts": 5_198_531,
    "nnUNetTrainerMSSingleArmEncoder": 5_229_123,
    "nnUNetTrainerMSSingleArmEncoderSkip": 5_317_155,
    "nnUNetTrainerMSSingleArm": 5_346_211,
    "nnUNetTrainerMSMultiArm": 5_932_243,
    "nnUNetTrainerMSMultiArmNoShortcuts": 5_780_019,
    "nnUNetTrainerMSMultiArmSkipAttention": 5_954_540,
    "nnUNetTrainerMSSingleArm25D": 2_620_003,
    "nnUNetTrainerMSMultiArmDiceCE": 5_932_243,
    "nnUNetTrainerMSMultiArmTversky": 5_932_243,
    "nnUNetTrainerMSMultiArmAsymmetric": 5_932_243,
}


def test_every_ablation_is_counted():
    assert set(ABLATIONS) <= set(PARAMETERS)


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_of_the_trainers_network(name):
    trainer = construct(getattr(door, name))
    with torch.device("meta"):  # shapes only
        network = trainer.build_network_architecture(trainer.plans_manager, trainer.configuration_manager, 3, 2)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


SETTINGS = (
    *("learning_rate", "epochs", "iterations_per_epoch", "validation_iterations_per_epoch", "filters", "dropout"),
    *("main_sequences", "extra_arm_divisor", "max_patch_voxels", "max_batch_size", "mirror_axes", "seed", "dataset"),
)


@pytest.mark.parametrize("name", ABLATIONS)
def test_all_but_the_switch_is_the_papers_trainer(name):
    assert all(getattr(ABLATIONS[name], key) == getattr(nnUNetTrainerMSMultiArm, key) for key in SETTINGS)


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nnUNetTrainerMSMultiArm", losses.SmoothTruncatedLoss),
        ("nnUNetTrainerMSMultiArmNoShortcuts", losses.SmoothTruncatedLoss),
        ("nnUNetTrainerMSMultiArmDiceCE", losses.DiceCrossEntropyLoss),
        ("nnUNetTrainerMSMultiArmTversky", losses.TverskyLoss),
        ("nnUNetTrainerMSMultiArmAsymmetric", losses.AsymmetricSimilarityLoss),
    ],
)
def test_the_trainer_chooses_the_loss(name, kind):
    trainer = construct(getattr(door, name))
    built = trainer._build_loss()
    assert type(built.loss) is kind
    assert built.weight_factors == (1.0, 1.0, 1.0)


@pytest.mark.usefixtures("nnunet_folders")
def test_dice_of_the_sample_or_the_batch_as_the_plans_say():
    plans = make_plans()
    axes = []
    for batch_dice in (False, True):
        plans["configurations"]["3d_fullres"]["batch_dice"] = batch_dice
        axes.append(construct(door.nnUNetTrainerMSMultiArmDiceCE, plans)._build_loss().loss.axes)
    assert axes == [(1, 2, 3), (0, 1, 2, 3)]


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("spacing", [(3.0, 1.0, 1.0), (1.0, 1.0, 1.0)])
def test_2_5_d_leaves_z_alone_in_the_stored_plans(spacing):
    trainer = construct(door.nnUNetTrainerMSSingleArm25D, make_plans(spacing))
    strides = trainer.plans_manager.plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["strides"]
    before = construct(door.nnUNetTrainerMSSingleArm, make_plans(spacing)).configuration_manager.pool_op_kernel_sizes
    assert strides == [[1, *stride[1:]] for stride in before]
    assert [scale[0] for scale in trainer._get_deep_supervision_scales()] == [1.0, 1.0, 1.0]
    assert np.prod(strides, axis=0).tolist() == [1, 8, 8]


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize(
    ("switch", "value", "message"),
    [
        ("shortcuts", ("encodr",), "shortcuts: expected one of .*Did you mean 'encoder'"),
        ("skip_attention", "gated", "skip_attention: expected one of 'none', 'gates', found 'gated'"),
        ("dimensions", "2.5D", "dimensions: expected one of .*Did you mean '2.5d'"),
        ("dimensions", "2.5d", "strides of 1 along z"),  # without the plans of nnUNetTrainerMSSingleArm25D
    ],
)
def test_a_variant_of_ones_own_with_an_unknown_switch_is_refused(switch, value, message):
    trainer = construct(type("Mine", (nnUNetTrainerMSMultiArm,), {switch: value}))
    with pytest.raises(ValueError, match=message):
        trainer.initialize()
