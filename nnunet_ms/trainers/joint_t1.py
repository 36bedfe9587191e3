"""System `joint_t1`: trainers for T1 unenhancing and contrast-enhancing lesions together.

Krishnan et al., "Joint MRI T1 Unenhancing and Contrast-enhancing Multiple Sclerosis Lesion Segmentation with Deep
Learning in OPERA Trials", Radiology 2022. The paper gives two U-Nets with cross-network connections and a combined
loss; every detail here is ours (docs/joint_t1.md).

`nnUNetv2_train D 3d_fullres FOLD -tr nnUNetTrainerMSJointT1 -p nnUNetPlansMS` on a dataset of
`nnunet-ms-convert trial --target t1_unenhancing,t1_enhancing --channels t1,t1post,flair,t2`. Class names stand in
every checkpoint: never rename them.
"""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.channels import channel_indices
from nnunet_ms.trainers.label_counts import told_of_labels
from nnunet_ms.trainers.lesion_patches import ENHANCING, UNENHANCING, JointT1Dataset
from nnunet_ms.trainers.lesion_volumes import LesionVolumeDataset
from nnunet_ms.trainers.losses import JointT1Loss
from nnunet_ms.trainers.multi_arm_t2 import nnUNetTrainerMSMultiArm, nnUNetTrainerMSMultiArmSmall
from nnunet_ms.trainers.networks.joint_unet import CrossConnections, JointUNet
from nnunet_ms.trainers.patches import Stride

LABELS = {"unenhancing": UNENHANCING, "enhancing": ENHANCING}


class nnUNetTrainerMSJointT1(nnUNetTrainerMSMultiArm):  # noqa: N801 - nnU-Net's naming
    """Two connected U-Nets; everything that the class does not name is as in the T2 system.

    Half of the patches are centred on an enhancing lesion when the case has one (`lesion_patches`); cases without any
    lesion give free patches. The loss adds the product of both probabilities, weighted by `exclusivity`.
    """

    filters: ClassVar[tuple[int, ...]] = (24, 48, 96, 192)
    branch_sequences: ClassVar[dict[str, tuple[str, ...]]] = {
        "unenhancing": ("t1", "t2", "flair"),
        "enhancing": ("t1", "t1post", "flair", "t2"),
    }
    cross_connections: ClassVar[CrossConnections] = "both"
    exclusivity: ClassVar[float] = 0.1
    dataset: ClassVar[type[LesionVolumeDataset]] = JointT1Dataset

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net reads this signature
    ) -> None:
        found = {name: value for name, value in dataset_json["labels"].items() if name not in ("background", "ignore")}
        # regions and an ignore label have errors of their own
        if found != LABELS and not any(isinstance(value, list | tuple) for value in found.values()):
            raise ModelError(
                f"{type(self).__name__} needs the labels {LABELS} in dataset.json, found {found}. "
                "Convert with --target t1_unenhancing,t1_enhancing."
            )
        super().__init__(plans, configuration, fold, dataset_json, device)

    @classmethod
    def _network(cls, channel_names: list[str], first_kernel: Stride, settings: dict[str, Any]) -> nn.Module:
        channels = {
            branch: channel_indices(channel_names, sequences, f"{cls.__name__}, branch {branch},")
            for branch, sequences in cls.branch_sequences.items()
        }
        own = {name: value for name, value in settings.items() if name != "foreground_classes"}  # one per branch
        return JointUNet(channels, first_kernel=first_kernel, cross_connections=cls.cross_connections, **own)

    def _loss(self, patch_volume_mm3: float) -> nn.Module:
        return JointT1Loss(patch_volume_mm3, self.exclusivity)

    def _training_cases(self, train: list[str], with_lesions: list[str]) -> list[str]:
        """All cases: those without a lesion give free patches. Says how many have which lesions."""
        folder = Path(self.preprocessed_dataset_folder)
        for line in told_of_labels(folder, train, with_lesions, LABELS, self.fold)[1]:
            self.print_to_log_file(line)
        return train


class nnUNetTrainerMSIndividualT1(nnUNetTrainerMSJointT1):  # noqa: N801
    """Baseline: the same two networks without connections and without the exclusivity term, so they never meet."""

    cross_connections: ClassVar[CrossConnections] = "none"
    exclusivity: ClassVar[float] = 0.0


class nnUNetTrainerMSJointT1Encoder(nnUNetTrainerMSJointT1):  # noqa: N801
    """Ablation: connections between the encoders only."""

    cross_connections: ClassVar[CrossConnections] = "encoder"


class nnUNetTrainerMSJointT1Decoder(nnUNetTrainerMSJointT1):  # noqa: N801
    """Ablation: connections between the decoders only."""

    cross_connections: ClassVar[CrossConnections] = "decoder"


class nnUNetTrainerMSJointT1NoExclusivity(nnUNetTrainerMSJointT1):  # noqa: N801
    """Ablation: all connections, lambda 0."""

    exclusivity: ClassVar[float] = 0.0


class nnUNetTrainerMSJointT1Small(nnUNetTrainerMSJointT1):  # noqa: N801
    """Branches of 8/16/32/64 filters, 400 steps of four small patches: minutes on two CPU cores, for trying things out.

    Sizes, learning rate, dropout and mirroring as in the small T2 trainer.
    """

    filters: ClassVar[tuple[int, ...]] = (8, 16, 32, 64)
    learning_rate = nnUNetTrainerMSMultiArmSmall.learning_rate
    dropout = 0.0
    mirror_axes: ClassVar[tuple[int, ...]] = (0, 1, 2)
    epochs = 40
    iterations_per_epoch = 10
    validation_iterations_per_epoch = 1
    max_patch_voxels: ClassVar[int | None] = nnUNetTrainerMSMultiArmSmall.max_patch_voxels
    max_batch_size: ClassVar[int | None] = 4
    seed: ClassVar[int | None] = 0
    checkpoint_every = 5


class nnUNetTrainerMSIndividualT1Small(nnUNetTrainerMSJointT1Small):  # noqa: N801
    """Small baseline, see `nnUNetTrainerMSIndividualT1`."""

    cross_connections: ClassVar[CrossConnections] = "none"
    exclusivity: ClassVar[float] = 0.0


class nnUNetTrainerMSJointT1EncoderSmall(nnUNetTrainerMSJointT1Small):  # noqa: N801
    """Small ablation, see `nnUNetTrainerMSJointT1Encoder`."""

    cross_connections: ClassVar[CrossConnections] = "encoder"


class nnUNetTrainerMSJointT1DecoderSmall(nnUNetTrainerMSJointT1Small):  # noqa: N801
    """Small ablation, see `nnUNetTrainerMSJointT1Decoder`."""

    cross_connections: ClassVar[CrossConnections] = "decoder"


class nnUNetTrainerMSJointT1Tiny(nnUNetTrainerMSJointT1Small):  # noqa: N801
    """Seconds instead of minutes: for tests of the whole way, not for results."""

    epochs = 2
    iterations_per_epoch = 4
    max_batch_size: ClassVar[int | None] = 2
