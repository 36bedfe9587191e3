"""System `multi_arm_t2`: trainers for T2 lesions.

Krishnan et al., Sci Rep 13:4102, 2023, doi 10.1038/s41598-023-31207-5.

`nnUNetv2_train D 3d_fullres FOLD -tr nnUNetTrainerMSMultiArm -p nnUNetPlansMS`. Settings are class attributes; a
variant is a subclass that changes them. Class names stand in every checkpoint: never rename them.
"""

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import get_tp_fp_fn_tn
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import nn

from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.allowed_names import check_names
from nnunet_ms.trainers.augmentation import MAX_ROTATION, SCALING, training_transforms
from nnunet_ms.trainers.channels import channel_indices, refuse_absent
from nnunet_ms.trainers.label_counts import lesion_labels
from nnunet_ms.trainers.lesion_volumes import LesionVolumeDataset, write_volume_maps
from nnunet_ms.trainers.losses import SmoothTruncatedLoss
from nnunet_ms.trainers.networks.multi_arm_unet import (
    SHORTCUTS,
    Arm,
    Dimensions,
    MultiArmUNet,
    Shortcut,
    SkipAttention,
)
from nnunet_ms.trainers.networks.plain_unet import PlainUNet
from nnunet_ms.trainers.patches import Stride, divisors, is_anisotropic, shrink_until
from nnunet_ms.trainers.pretrained import check_pretrained_weights
from nnunet_ms.trainers.safe_training import SafeTraining


class nnUNetTrainerMSMultiArm(SafeTraining):  # noqa: N801 - nnU-Net's naming; the name is stored in checkpoints
    """Three encoders (all channels, FLAIR, T2), one decoder, smooth-truncated loss with lesion-volume weights.

    From the paper: Adam at 1e-4, batch 10 (in the plans), patches that contain lesions only, affine and elastic
    augmentation on half of them, three supervised levels with weight 1, patient-level folds. Ours: nnU-Net's polynomial
    decay of the learning rate, and the length (250 epochs of 250 iterations; the paper's 30 epochs are passes over all
    lesion patches). No mirroring, neither in training nor at inference, since the paper has none; a variant may set
    `mirror_axes`.
    """

    learning_rate = 1e-4
    epochs = 250
    iterations_per_epoch = 250
    validation_iterations_per_epoch = 50
    filters: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)
    dropout = 0.1
    # sequences of each encoder, and the divisor of its width; the first encoder sees every channel
    main_sequences: ClassVar[tuple[str, ...]] = ("flair", "t2", "t1")
    extra_arms: ClassVar[tuple[str, ...]] = ("flair", "t2")
    extra_arm_divisor = 4
    shortcuts: ClassVar[tuple[Shortcut, ...]] = SHORTCUTS  # see `MultiArmUNet`
    skip_attention: ClassVar[SkipAttention] = "none"
    dimensions: ClassVar[Dimensions] = "3d"
    max_patch_voxels: ClassVar[int | None] = None  # caps the patch of the plans
    max_batch_size: ClassVar[int | None] = None  # caps the batch of the plans
    mirror_axes: ClassVar[tuple[int, ...]] = ()  # in training and, as nnU-Net does, at inference
    seed: ClassVar[int | None] = None  # makes training repeatable, see `_seed`
    checkpoint_every = 50  # epochs
    dataset: ClassVar[type[LesionVolumeDataset]] = LesionVolumeDataset
    takes_absent: ClassVar[bool] = False  # whether cases may lack sequences, see `channels.refuse_absent`

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net reads this signature
    ) -> None:
        check_names(plans, f"the plans of {type(self).__name__}")
        if not self.takes_absent:
            refuse_absent(dataset_json, type(self).__name__)
        plans = deepcopy(plans)
        # build_network_architecture sees only the plans, at inference too, so the names have to be in them
        plans["channel_names"] = list(dataset_json["channel_names"].values())
        self._fit_plans(plans, configuration)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self._refuse_unsupported()
        self.initial_lr = self.learning_rate
        self.num_epochs = self.epochs
        self.num_iterations_per_epoch = self.iterations_per_epoch
        self.num_val_iterations_per_epoch = self.validation_iterations_per_epoch
        self.oversample_foreground_percent = 1.0  # every patch is centred on a lesion voxel
        self.save_every = self.checkpoint_every

    @classmethod
    def _fit_plans(cls, plans: dict[str, Any], configuration: str) -> None:
        """Apply this trainer's caps to the plans, which nnU-Net stores beside the model and reads at inference."""
        plan = plans["configurations"][configuration]
        if cls.max_patch_voxels is not None and "patch_size" in plan:
            cap = cls.max_patch_voxels
            plan["patch_size"] = shrink_until(
                lambda patch: int(np.prod(patch)) <= cap,
                plan["patch_size"],
                plan["spacing"],
                divisors(plan["architecture"]["arch_kwargs"]["strides"]),
            )
        if cls.max_batch_size is not None and "batch_size" in plan:
            plan["batch_size"] = min(plan["batch_size"], cls.max_batch_size)

    def _refuse_unsupported(self) -> None:
        name = type(self).__name__
        if self.is_cascaded:
            raise NotImplementedError(f"{name} has no cascade: train the configuration 3d_fullres.")
        if self.label_manager.has_ignore_label:
            raise NotImplementedError(f"{name} has no ignore label: label every voxel, or train with nnUNetTrainer.")
        if self.label_manager.has_regions:
            raise NotImplementedError(f"{name} has no regions: give each lesion type one label in dataset.json.")

    # network ---------------------------------------------------------------------------------------------------

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,  # noqa: ARG003 - nnU-Net's signature; the channel names say more
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Network for training and inference (a class method, so that variants only change attributes).

        Raises
        ------
        ModelError
            If a sequence of an arm is not among the channels, or the plans do not have four levels.
        """
        strides = tuple(tuple(int(s) for s in level) for level in configuration_manager.pool_op_kernel_sizes)
        if len(strides) != len(cls.filters) or len(strides[0]) != 3:
            raise ModelError(
                f"{cls.__name__} has {len(cls.filters)} levels in 3-D, these plans have strides {strides}. "
                "Plan with nnUNetv2_plan_and_preprocess -pl nnUNetPlannerMS and train with -p nnUNetPlansMS."
            )
        settings = {
            "foreground_classes": num_output_channels - 1,  # the background logit is the constant 0
            "filters": cls.filters,
            "strides": strides,
            "dropout": cls.dropout,
            "deep_supervision": enable_deep_supervision,
        }
        first_kernel = (1, 3, 3) if is_anisotropic(configuration_manager.spacing) else (3, 3, 3)
        return cls._network(plans_manager.plans["channel_names"], first_kernel, settings)

    @classmethod
    def _network(cls, channel_names: list[str], first_kernel: Stride, settings: dict[str, Any]) -> nn.Module:
        main = channel_indices(channel_names, cls.main_sequences, cls.__name__)
        extra = [channel_indices(channel_names, (sequence,), cls.__name__) for sequence in cls.extra_arms]
        arms = [Arm(main), *(Arm(channels, cls.extra_arm_divisor) for channels in extra)]
        switches: dict[str, Any] = {name: getattr(cls, name) for name in ("shortcuts", "skip_attention", "dimensions")}
        return MultiArmUNet(arms, first_kernel=first_kernel, **switches, **settings)

    # loss and optimiser ----------------------------------------------------------------------------------------

    def _build_loss(self) -> nn.Module:
        loss = self._loss(float(np.prod(self.configuration_manager.patch_size)) * self._voxel_volume_mm3())
        loss.to(self.device)
        if not self.enable_deep_supervision:
            return loss
        return DeepSupervisionWrapper(loss, (1.0,) * len(self._get_deep_supervision_scales()))

    def _loss(self, patch_volume_mm3: float) -> nn.Module:
        """Loss of one resolution, see `losses`."""
        return SmoothTruncatedLoss(patch_volume_mm3)

    def _voxel_volume_mm3(self) -> float:
        return float(np.prod(self.configuration_manager.spacing))

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """Adam with nnU-Net's polynomial decay."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.initial_lr)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def initialize(self) -> None:
        """Build network, loss and optimiser; seeded, see `_seed`. See `pretrained` for the check."""
        check_pretrained_weights(sys.argv)
        self._seed(-1)
        super().initialize()

    def _seed(self, epoch: int) -> None:
        """Seed by epoch, so that a resumed training draws what an uninterrupted one would have drawn.

        Repeatable where augmentation runs in the training process (`nnUNet_n_proc_DA=0`) and on CPU.
        """
        if self.seed is not None:
            np.random.seed((self.seed + 7919 * (epoch + 1)) % 2**32)  # noqa: NPY002 - what nnU-Net draws from
            torch.manual_seed(self.seed + 7919 * (epoch + 1))

    def on_train_epoch_start(self) -> None:
        """Also moves the truncation point gamma; it follows the epoch number, so a resumed training continues it."""
        self._seed(self.current_epoch)
        super().on_train_epoch_start()
        loss = self.loss.loss if isinstance(self.loss, DeepSupervisionWrapper) else self.loss
        loss.set_epoch(self.current_epoch, self.num_epochs)

    # data ------------------------------------------------------------------------------------------------------

    def get_tr_and_val_datasets(self) -> tuple[LesionVolumeDataset, LesionVolumeDataset]:
        """Datasets with lesion-volume maps; training leaves out cases that give no patches.

        Raises
        ------
        ModelError
            If no training case has a lesion.
        """
        folder = Path(self.preprocessed_dataset_folder)
        train, validation = self.do_split()
        with_lesions = [case for case in train if lesion_labels(folder, case)]
        if not with_lesions:
            raise ModelError(f"{folder}: none of the {len(train)} training cases of fold {self.fold} has a lesion.")
        chosen = self._training_cases(train, with_lesions)
        write_volume_maps(folder, [*chosen, *validation], self._voxel_volume_mm3(), self.dataset.together)
        return self.dataset(str(folder), chosen), self.dataset(str(folder), list(validation))

    def _training_cases(self, train: list[str], with_lesions: list[str]) -> list[str]:
        """Cases that give patches: those with a lesion, on which every patch is centred."""
        if len(with_lesions) < len(train):
            self.print_to_log_file(f"{len(train) - len(with_lesions)} training cases without lesions give no patches.")
        return with_lesions

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(  # noqa: N802 - nnU-Net's name
        self,
    ) -> tuple[tuple[float, float], bool, Any, tuple[int, ...] | None]:
        """Small rotations, in-plane only where voxels are anisotropic; mirroring only for variants that ask for it."""
        patch = self.configuration_manager.patch_size
        rotation = (-MAX_ROTATION, MAX_ROTATION)
        in_plane_only = is_anisotropic(self.configuration_manager.spacing)
        initial = get_patch_size(patch, rotation, rotation, rotation, SCALING)
        if in_plane_only:
            initial[0] = patch[0]
        axes = self.mirror_axes or None
        self.inference_allowed_mirroring_axes = axes
        return rotation, in_plane_only, initial, axes

    @staticmethod
    def get_training_transforms(
        patch_size: Any,
        rotation_for_DA: Any,  # noqa: ARG004 - nnU-Net's signature
        deep_supervision_scales: Any,
        mirror_axes: tuple[int, ...] | None,
        do_dummy_2d_data_aug: bool,
        use_mask_for_norm: list[bool] | None = None,
        is_cascaded: bool = False,  # noqa: ARG004
        foreground_labels: Any = None,  # noqa: ARG004
        regions: Any = None,  # noqa: ARG004
        ignore_label: int | None = None,  # noqa: ARG004
    ) -> BasicTransform:
        """Affine and elastic deformation on half of the patches; see `augmentation.training_transforms`."""
        masked = [i for i, use in enumerate(use_mask_for_norm or []) if use]
        return training_transforms(patch_size, deep_supervision_scales, do_dummy_2d_data_aug, masked, mirror_axes)

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Loss and hard counts of one batch; as nnU-Net's, but the target's second channel holds lesion volumes."""
        data = batch["data"].to(self.device, non_blocking=True)
        target = [t.to(self.device, non_blocking=True) for t in _as_list(batch["target"])]
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            output = self.network(data)
            loss = self.loss(output, target if self.enable_deep_supervision else target[0])
        finest = _as_list(output)[0]
        predicted = torch.zeros_like(finest).scatter_(1, finest.argmax(1, keepdim=True), 1)
        axes = [0, *range(2, finest.ndim)]
        counts = get_tp_fp_fn_tn(predicted, target[0][:, :1], axes=axes)[:3]
        tp, fp, fn = (c.detach().cpu().numpy()[1:] for c in counts)  # without the background
        return {"loss": loss.detach().cpu().numpy(), "tp_hard": tp, "fp_hard": fp, "fn_hard": fn}


class nnUNetTrainerMSSingleArm(nnUNetTrainerMSMultiArm):  # noqa: N801
    """Ablation: the first encoder only, everything else equal."""

    extra_arms: ClassVar[tuple[str, ...]] = ()


class nnUNetTrainerMSPlain(nnUNetTrainerMSMultiArm):  # noqa: N801
    """The paper's baseline: a plain 3-D U-Net with the same filters, everything else equal."""

    @classmethod
    def _network(cls, channel_names: list[str], first_kernel: Stride, settings: dict[str, Any]) -> nn.Module:  # noqa: ARG003
        return PlainUNet(len(channel_names), **settings)


class nnUNetTrainerMSMultiArmSmall(nnUNetTrainerMSMultiArm):  # noqa: N801
    """The multi-arm network with 374 k parameters and 200 steps of four small patches: minutes on two CPU cores.

    For the demo and for trying things out. Everything but the sizes, the learning rate, the dropout and the mirroring,
    which makes more of few patients, is the real one.
    """

    filters: ClassVar[tuple[int, ...]] = (8, 16, 32, 64)
    learning_rate = 3e-3  # few steps of a narrow network
    dropout = 0.0
    mirror_axes: ClassVar[tuple[int, ...]] = (0, 1, 2)
    epochs = 20
    iterations_per_epoch = 10
    validation_iterations_per_epoch = 1
    max_patch_voxels: ClassVar[int | None] = 16 * 64 * 64
    max_batch_size: ClassVar[int | None] = 4
    seed: ClassVar[int | None] = 0
    checkpoint_every = 5


class nnUNetTrainerMSMultiArmSmallDropout(nnUNetTrainerMSMultiArmSmall):  # noqa: N801
    """The small network trained with the dropout of the full one, so that samples of it are what it was trained for."""

    dropout = nnUNetTrainerMSMultiArm.dropout


class nnUNetTrainerMSMultiArmTiny(nnUNetTrainerMSMultiArmSmall):  # noqa: N801
    """Seconds instead of minutes: for tests of the whole way, not for results."""

    epochs = 2
    iterations_per_epoch = 4
    max_batch_size: ClassVar[int | None] = 2


class nnUNetTrainerMSFlairT1(nnUNetTrainerMSMultiArm):  # noqa: N801
    """For scans without T2: two encoders (FLAIR and T1, FLAIR), everything else equal. Ours; the paper has T2."""

    main_sequences: ClassVar[tuple[str, ...]] = ("flair", "t1")
    extra_arms: ClassVar[tuple[str, ...]] = ("flair",)


class nnUNetTrainerMSFlairT1Small(nnUNetTrainerMSFlairT1, nnUNetTrainerMSMultiArmSmall):  # noqa: N801
    """The small network for scans without T2, on two CPU cores."""


class nnUNetTrainerMSFlairT1Tiny(nnUNetTrainerMSFlairT1, nnUNetTrainerMSMultiArmTiny):  # noqa: N801
    """As `nnUNetTrainerMSMultiArmTiny`, for scans without T2."""


class nnUNetTrainerMSPlainSmall(nnUNetTrainerMSPlain, nnUNetTrainerMSMultiArmSmall):  # noqa: N801
    """The plain network at the small one's sizes: whatever channels there are, FLAIR alone too, on two CPU cores."""


class nnUNetTrainerMSPlainTiny(nnUNetTrainerMSPlain, nnUNetTrainerMSMultiArmTiny):  # noqa: N801
    """As `nnUNetTrainerMSMultiArmTiny`, for whatever channels there are."""


def _as_list(value: Any) -> list[torch.Tensor]:
    return list(value) if isinstance(value, list | tuple) else [value]
