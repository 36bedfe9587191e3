"""Trainers for whatever sequences, slices and scanners there are: one model for any non-empty subset of its channels.

Ours, on the networks of `multi_arm_t2` and `joint_t1`. In training, sequences are left out at random (what the lesions
need stays), slices are made thick, and bias, noise, motion and residual skull differ from patch to patch. A sequence
that a scan lacks is a channel of zeros.
"""

from typing import Any, ClassVar

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch import nn

from nnunet_ms.trainers.brain_leftovers import LeftoverTissue, ResidualSkull
from nnunet_ms.trainers.channels import channel_indices, sequence_of
from nnunet_ms.trainers.joint_t1 import nnUNetTrainerMSJointT1, nnUNetTrainerMSJointT1Small
from nnunet_ms.trainers.losses import DiceCrossEntropyLoss
from nnunet_ms.trainers.multi_arm_t2 import nnUNetTrainerMSMultiArm, nnUNetTrainerMSMultiArmSmall
from nnunet_ms.trainers.networks.any_joint_unet import AnyJointUNet
from nnunet_ms.trainers.networks.any_sequence_unet import AnySequenceUNet
from nnunet_ms.trainers.networks.multi_arm_unet import Arm
from nnunet_ms.trainers.patches import Stride
from nnunet_ms.trainers.scan_variety import (
    DropSequences,
    RandomBias,
    RandomContrast,
    RandomMotion,
    RandomRicianNoise,
    RandomSlices,
    RandomTissueContrast,
)
from nnunet_ms.trainers.weight_average import WeightAverage


class AnySequences(nnUNetTrainerMSMultiArm):
    """What the trainers for any sequences share: what differs from scan to scan in training.

    Attributes
    ----------
    needed : tuple of str
        Sequences of which one at least must be there.
    keep_all : float
        Share of the patches that keep all their sequences.
    as_acquired : float
        Share of the patches whose contrast, slices and artefacts stay those of the scan. 0 to begin with; most of them
        in a last stage, on scans like those that the model is for (docs/multi_arm_t2.md).
    slice_mm : tuple of float
        Thickness of slices that are simulated.
    """

    takes_absent: ClassVar[bool] = True
    needed: ClassVar[tuple[str, ...]]
    keep_all: ClassVar[float] = 0.4
    as_acquired: ClassVar[float] = 0.0
    slice_mm: ClassVar[tuple[float, float]] = (1.0, 7.0)

    def _do_i_compile(self) -> bool:
        """Never: which arms run depends on the data."""
        return False

    def get_training_transforms(  # type: ignore[override]  # nnU-Net calls it on the instance, which knows the channels
        self,
        patch_size: Any,
        rotation_for_DA: Any,
        deep_supervision_scales: Any,
        mirror_axes: tuple[int, ...] | None,
        do_dummy_2d_data_aug: bool,
        use_mask_for_norm: list[bool] | None = None,
        **rest: Any,
    ) -> BasicTransform:
        """Transforms of the plain trainer, then those of `scan_variety`; sequences are left out last."""
        shape = super().get_training_transforms(
            patch_size,
            rotation_for_DA,
            deep_supervision_scales,
            mirror_axes,
            do_dummy_2d_data_aug,
            use_mask_for_norm,
            **rest,
        )
        return ComposeTransforms([shape, *self.variety()])

    def variety(self) -> list[BasicTransform]:
        """What differs from scan to scan."""
        names = [sequence_of(str(name)) for name in self.dataset_json["channel_names"].values()]
        needed = [number for number, name in enumerate(names) if name in self.needed]
        scan = [
            RandomTissueContrast(),  # while channels are equally sharp
            RandomSlices(self.configuration_manager.spacing, self.slice_mm),
            RandomContrast(),
            RandomBias(),
            RandomRicianNoise(),
            RandomMotion(),
            ResidualSkull(),
            LeftoverTissue(),
        ]
        if self.as_acquired:
            scan = [RandomTransform(ComposeTransforms(scan), apply_probability=1 - self.as_acquired)]
        return [*scan, DropSequences(len(names), needed, self.keep_all)]


class nnUNetTrainerMSMultiArmAny(AnySequences):  # noqa: N801 - nnU-Net's naming
    """Multi-arm network for any subset of FLAIR, T2 and T1 that holds FLAIR or T2, at any slice thickness."""

    needed: ClassVar[tuple[str, ...]] = ("flair", "t2")

    @classmethod
    def _network(cls, channel_names: list[str], first_kernel: Stride, settings: dict[str, Any]) -> nn.Module:
        main = channel_indices(channel_names, cls.main_sequences, cls.__name__)
        extra = [channel_indices(channel_names, (sequence,), cls.__name__) for sequence in cls.extra_arms]
        arms = [Arm(main), *(Arm(channels, cls.extra_arm_divisor) for channels in extra)]
        needed = channel_indices(channel_names, cls.needed, cls.__name__)
        return AnySequenceUNet(arms, needed, first_kernel=first_kernel, **settings)


class nnUNetTrainerMSMultiArmAnySmall(nnUNetTrainerMSMultiArmAny, nnUNetTrainerMSMultiArmSmall):  # noqa: N801
    """The small network for any subset of sequences, on two CPU cores."""


class nnUNetTrainerMSMultiArmAnySmallLong(WeightAverage, nnUNetTrainerMSMultiArmAnySmall):  # noqa: N801
    """For a model that others will use: 8000 steps, weights averaged, nnU-Net's loss.

    The paper's loss finds more lesions, and many more that are none (docs/multi_arm_t2.md); a model for scans that it
    has never seen must know what is no lesion, so most of the patches lie anywhere.
    """

    epochs = 200
    iterations_per_epoch = 40
    checkpoint_every = 5
    # wider than the small trainer's 64 mm: what is cortex and what lies outside of the brain is told by what is around
    max_patch_voxels: ClassVar[int | None] = 32 * 80 * 80
    max_batch_size: ClassVar[int | None] = 2
    lesion_share: ClassVar[float] = 0.4  # of the patches that are centred on a lesion; more of them, more is called one

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net reads this signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.oversample_foreground_percent = self.lesion_share
        self.probabilistic_oversampling = True  # of each patch, not of a batch

    def _loss(self, patch_volume_mm3: float) -> nn.Module:  # noqa: ARG002 - the volume is for the paper's
        return DiceCrossEntropyLoss(batch_dice=True)


class nnUNetTrainerMSMultiArmAnyTiny(nnUNetTrainerMSMultiArmAnySmall):  # noqa: N801
    """As `nnUNetTrainerMSMultiArmTiny`, for any subset of sequences."""

    epochs = 2
    iterations_per_epoch = 4
    max_batch_size: ClassVar[int | None] = 2


class nnUNetTrainerMSJointT1Any(AnySequences, nnUNetTrainerMSJointT1):  # noqa: N801
    """Two connected U-Nets for any subset of T1, T1 after contrast agent, FLAIR and T2 with the second among them."""

    needed: ClassVar[tuple[str, ...]] = ("t1post",)

    @classmethod
    def _network(cls, channel_names: list[str], first_kernel: Stride, settings: dict[str, Any]) -> nn.Module:
        channels = {
            branch: channel_indices(channel_names, sequences, f"{cls.__name__}, branch {branch},")
            for branch, sequences in cls.branch_sequences.items()
        }
        needed = channel_indices(channel_names, cls.needed, cls.__name__)
        own = {name: value for name, value in settings.items() if name != "foreground_classes"}  # one per branch
        own |= {"first_kernel": first_kernel, "cross_connections": cls.cross_connections}
        return AnyJointUNet(channels, needed, **own)


class nnUNetTrainerMSJointT1AnySmall(nnUNetTrainerMSJointT1Any, nnUNetTrainerMSJointT1Small):  # noqa: N801
    """The small network for any sequences beside T1 after contrast agent, on two CPU cores."""


class nnUNetTrainerMSJointT1AnyTiny(nnUNetTrainerMSJointT1AnySmall):  # noqa: N801
    """As `nnUNetTrainerMSJointT1Tiny`, for any sequences beside T1 after contrast agent."""

    epochs = 2
    iterations_per_epoch = 4
    max_batch_size: ClassVar[int | None] = 2
