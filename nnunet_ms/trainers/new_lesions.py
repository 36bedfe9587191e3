"""System `new_lesions`: trainers for few labelled cases.

Wahlig et al., Front Neurosci 17:1188336, 2023, doi 10.3389/fnins.2023.1188336.

`nnUNetv2_train D 3d_fullres FOLD -tr nnUNetTrainerMSBalanced -p nnUNetPlansMS` trains de novo; `fine_tune` goes on from
a network that was trained on something else. Class names stand in every checkpoint: never rename them.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from torch import nn

from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.balanced_patches import BalancedDataset, FreeCentres, free_centres
from nnunet_ms.trainers.lesion_volumes import LesionVolumeDataset
from nnunet_ms.trainers.losses import SigmoidCrossEntropy, SmoothTruncatedLoss
from nnunet_ms.trainers.matched_length import MatchedLength
from nnunet_ms.trainers.multi_arm_t2 import nnUNetTrainerMSMultiArmSmall, nnUNetTrainerMSPlain
from nnunet_ms.trainers.patches import Stride, clip_to_shape, divisors, is_anisotropic

CUBE = (96, 96, 96)  # the paper's patch, voxels of 1 mm


class nnUNetTrainerMSBalanced(MatchedLength, nnUNetTrainerMSPlain):  # noqa: N801 - nnU-Net's naming
    """Plain 3-D U-Net, cross-entropy, half of the patches centred on lesions and half without any.

    From the paper: U-Net of four levels, cross-entropy, Adam, as many patches with as without lesions, 96x96x96 on
    isotropic data, elastic augmentation, 5400 presentations per training study. Ours: the residual blocks and widths of
    the other systems, three supervised levels, learning rate 1e-4 with polynomial decay, dropout 0.1 (for samples),
    affine deformation beside the elastic one, and the planned patch where voxels are anisotropic.
    """

    filters: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)
    batch: ClassVar[int] = 2
    dataset: ClassVar[type[LesionVolumeDataset]] = BalancedDataset

    @classmethod
    def _fit_plans(cls, plans: dict[str, Any], configuration: str) -> None:
        """Write this trainer's levels, patch and batch into the plans, which are stored beside the model."""
        plan = plans["configurations"][configuration]
        if "architecture" in plan and "patch_size" in plan and len(plan["spacing"]) == 3:
            strides = strides_of(plan["spacing"], len(cls.filters))
            _set_topology(plan["architecture"]["arch_kwargs"], cls.filters, strides)
            plan["patch_size"] = patch_of(
                plan["spacing"], plan["patch_size"], plan["median_image_size_in_voxels"], strides
            )
            plan["batch_size"] = cls.batch
        super()._fit_plans(plans, configuration)

    def _loss(self, patch_volume_mm3: float) -> nn.Module:  # noqa: ARG002 - the other systems' losses need it
        return SigmoidCrossEntropy([int(label) for label in self.label_manager.foreground_labels])

    def _training_cases(self, train: list[str], with_lesions: list[str]) -> list[str]:
        """All cases: those without a lesion give patches without one."""
        if len(with_lesions) < len(train):
            without = len(train) - len(with_lesions)
            self.print_to_log_file(f"{without} of {len(train)} training cases have no lesion; their patches have none.")
        return train

    def get_tr_and_val_datasets(self) -> tuple[LesionVolumeDataset, LesionVolumeDataset]:
        """Datasets that offer lesions and lesion-free places by turns.

        Raises
        ------
        ModelError
            If no training case has a lesion.
        """
        train, validation = super().get_tr_and_val_datasets()
        _, _, loaded, _ = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        train.free = self._free(train, [int(n) for n in loaded])
        validation.free = self._free(validation, self.configuration_manager.patch_size)
        found = Counter(one.kind for one in train.free.values())
        patch = "x".join(str(n) for n in self.configuration_manager.patch_size)
        self.print_to_log_file(
            f"Lesion-free patches of {patch}: {found['free']} of {len(train.free)} training cases have some; in "
            f"{found['nearly free']} a deformation can bring a lesion's edge in; {found['fewest']} have none, and "
            "those with the fewest lesion voxels take their place."
        )
        return train, validation

    def _free(self, dataset: LesionVolumeDataset, loaded: Sequence[int]) -> dict[str, FreeCentres]:
        patch = self.configuration_manager.patch_size
        return {
            case: free_centres(np.asarray(LesionVolumeDataset.load_case(dataset, case)[1][0]), patch, loaded)
            for case in dataset.identifiers
        }


class nnUNetTrainerMSBalancedDepth3(nnUNetTrainerMSBalanced):  # noqa: N801
    """The paper's variant with three levels (FLAIR task)."""

    filters: ClassVar[tuple[int, ...]] = (32, 64, 128)


class nnUNetTrainerMSBalancedDepth5(nnUNetTrainerMSBalanced):  # noqa: N801
    """The paper's variant with five levels (FLAIR task); the fifth 320 wide, as nnU-Net's widest."""

    filters: ClassVar[tuple[int, ...]] = (32, 64, 128, 256, 320)


class nnUNetTrainerMSBalancedVolumeLoss(nnUNetTrainerMSBalanced):  # noqa: N801
    """Ours: the loss of the multi-arm system, in which small lesions weigh more, everything else equal."""

    def _loss(self, patch_volume_mm3: float) -> nn.Module:
        labels = [int(label) for label in self.label_manager.foreground_labels]
        if len(labels) > 1:
            raise ModelError(
                f"{type(self).__name__} has the loss of one lesion type, found labels {labels} in dataset.json. "
                "Train several types with nnUNetTrainerMSBalanced."
            )
        return SmoothTruncatedLoss(patch_volume_mm3)


class nnUNetTrainerMSBalancedSmall(nnUNetTrainerMSBalanced):  # noqa: N801
    """Four levels of 8/16/32/64 filters, patches of at most 65,536 voxels, 40 presentations per study: two CPU cores.

    10 epochs of 10 batches of 4 for 10 studies, 30 for 30: the paper's proportion at 1/135 of its length.
    """

    filters: ClassVar[tuple[int, ...]] = nnUNetTrainerMSMultiArmSmall.filters
    learning_rate = nnUNetTrainerMSMultiArmSmall.learning_rate
    batch: ClassVar[int] = 4
    presentations_per_study: ClassVar[int | None] = 40
    iterations_per_epoch = 10
    validation_iterations_per_epoch = 1
    max_patch_voxels: ClassVar[int | None] = nnUNetTrainerMSMultiArmSmall.max_patch_voxels
    seed: ClassVar[int | None] = 0
    checkpoint_every = 5


class nnUNetTrainerMSBalancedTiny(nnUNetTrainerMSBalancedSmall):  # noqa: N801
    """Seconds instead of minutes: for tests of the whole way, not for results."""

    presentations_per_study: ClassVar[int | None] = None
    epochs = 2
    iterations_per_epoch = 4
    batch: ClassVar[int] = 2


def strides_of(spacing: Sequence[float], levels: int) -> tuple[Stride, ...]:
    """Strides on entering each level: as in the other systems, for any number of levels.

    Examples
    --------
    >>> strides_of([3.0, 1.0, 1.0], 3)
    ((1, 1, 1), (1, 2, 2), (2, 2, 2))
    """
    second: Stride = (1, 2, 2) if is_anisotropic(spacing) else (2, 2, 2)
    return ((1, 1, 1), second, *((2, 2, 2),) * (levels - 2))


def patch_of(
    spacing: Sequence[float], planned: Sequence[int], median_shape: Sequence[float], strides: Sequence[Stride]
) -> list[int]:
    """96x96x96 where voxels are isotropic, else the planned patch; never larger than the image, as the levels divide.

    Examples
    --------
    >>> patch_of([1.0, 1.0, 1.0], [64, 64, 64], [182, 218, 80], strides_of([1.0, 1.0, 1.0], 4))
    [96, 96, 80]
    """
    divisor = divisors(strides)
    if not is_anisotropic(spacing):
        return list(clip_to_shape(CUBE, median_shape, divisor))
    return [max(d, int(n) // d * d) for n, d in zip(planned, divisor, strict=True)]


def _set_topology(network: dict[str, Any], filters: Sequence[int], strides: Sequence[Stride]) -> None:
    """Give the plans' architecture these levels, so that nnU-Net's scales of deep supervision are those of the network.

    The network named there is nnU-Net's and is not built; kernels of new levels are 3x3x3.
    """
    levels = len(filters)
    kernels = [list(kernel) for kernel in network.get("kernel_sizes", [])][:levels]
    network.update(
        n_stages=levels,
        features_per_stage=list(filters),
        strides=[list(stride) for stride in strides],
        kernel_sizes=[*kernels, *([3, 3, 3] for _ in range(levels - len(kernels)))],
    )
    for key, n in (
        ("n_conv_per_stage", levels),
        ("n_blocks_per_stage", levels),
        ("n_conv_per_stage_decoder", levels - 1),
    ):
        if key in network:
            network[key] = [2] * n
