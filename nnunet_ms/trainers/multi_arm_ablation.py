"""System `multi_arm_t2`: its ablations. What each part of the network and of the loss is good for.

Krishnan et al., Sci Rep 13:4102, 2023, supplement S2 and S3. Step by step from the plain U-Net
(`nnUNetTrainerMSPlain`) to the paper's system (`nnUNetTrainerMSMultiArm`): one arm without far connections; with those
into the encoder; into the skips too; into the decoder too (`nnUNetTrainerMSSingleArm`); all arms. Beside them attention
on the skips, one arm in 2.5-D, and the losses that the field uses. The supplement could not be read: how each variant
is built is ours (docs/multi_arm_t2.md). Everything that a class does not name is as in `nnUNetTrainerMSMultiArm`.
`benchmarks/multi_arm_ablation.py` trains all of them at a CPU's size. Class names stand in every checkpoint: never
rename them.
"""

from typing import Any, ClassVar

from torch import nn

from nnunet_ms.trainers.losses import AsymmetricSimilarityLoss, DiceCrossEntropyLoss, TverskyLoss
from nnunet_ms.trainers.multi_arm_t2 import nnUNetTrainerMSMultiArm, nnUNetTrainerMSSingleArm
from nnunet_ms.trainers.networks.multi_arm_unet import Dimensions, Shortcut, SkipAttention


class nnUNetTrainerMSSingleArmNoShortcuts(nnUNetTrainerMSSingleArm):  # noqa: N801 - nnU-Net's naming
    """One encoder, adjacent levels only."""

    shortcuts: ClassVar[tuple[Shortcut, ...]] = ()


class nnUNetTrainerMSSingleArmEncoder(nnUNetTrainerMSSingleArm):  # noqa: N801
    """One encoder, in which a block receives every previous level; skips and decoder see adjacent levels only."""

    shortcuts: ClassVar[tuple[Shortcut, ...]] = ("encoder",)


class nnUNetTrainerMSSingleArmEncoderSkip(nnUNetTrainerMSSingleArm):  # noqa: N801
    """One encoder, far connections in encoder and skips; the decoder sees the adjacent level only."""

    shortcuts: ClassVar[tuple[Shortcut, ...]] = ("encoder", "skip")


class nnUNetTrainerMSSingleArm25D(nnUNetTrainerMSSingleArm):  # noqa: N801
    """One encoder, three neighbouring slices in, one slice at a time after the first convolution."""

    dimensions: ClassVar[Dimensions] = "2.5d"

    @classmethod
    def _fit_plans(cls, plans: dict[str, Any], configuration: str) -> None:
        """Also leave z alone in the strides, which deep supervision and inference read from the plans."""
        super()._fit_plans(plans, configuration)
        kwargs = plans["configurations"][configuration]["architecture"]["arch_kwargs"]
        kwargs["strides"] = [[1, *stride[1:]] for stride in kwargs["strides"]]


class nnUNetTrainerMSMultiArmNoShortcuts(nnUNetTrainerMSMultiArm):  # noqa: N801
    """All three encoders, adjacent levels only."""

    shortcuts: ClassVar[tuple[Shortcut, ...]] = ()


class nnUNetTrainerMSMultiArmSkipAttention(nnUNetTrainerMSMultiArm):  # noqa: N801
    """The paper's system with an attention gate on every skip."""

    skip_attention: ClassVar[SkipAttention] = "gates"


class nnUNetTrainerMSMultiArmDiceCE(nnUNetTrainerMSMultiArm):  # noqa: N801
    """The paper's network with nnU-Net's default loss; levels still weigh 1 each."""

    def _loss(self, patch_volume_mm3: float) -> nn.Module:  # noqa: ARG002 - the volume is for ours
        return DiceCrossEntropyLoss(batch_dice=self.configuration_manager.batch_dice)


class nnUNetTrainerMSMultiArmTversky(nnUNetTrainerMSMultiArm):  # noqa: N801
    """The paper's network with the Tversky loss, 0.3 and 0.7."""

    def _loss(self, patch_volume_mm3: float) -> nn.Module:  # noqa: ARG002
        return TverskyLoss()


class nnUNetTrainerMSMultiArmAsymmetric(nnUNetTrainerMSMultiArm):  # noqa: N801
    """The paper's network with the asymmetric similarity loss, beta 1.5."""

    def _loss(self, patch_volume_mm3: float) -> nn.Module:  # noqa: ARG002
        return AsymmetricSimilarityLoss()
