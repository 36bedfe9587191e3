"""Door into nnU-Net: trainers found by name. Re-exports only; see nnunet_ms/doors/__init__.py."""

from nnunet_ms.trainers.multi_arm_t2 import (
    nnUNetTrainerMSMultiArm,
    nnUNetTrainerMSMultiArmSmall,
    nnUNetTrainerMSMultiArmSmallDropout,
    nnUNetTrainerMSMultiArmTiny,
    nnUNetTrainerMSPlain,
    nnUNetTrainerMSSingleArm,
)

__all__ = [
    "nnUNetTrainerMSMultiArm",
    "nnUNetTrainerMSMultiArmSmall",
    "nnUNetTrainerMSMultiArmSmallDropout",
    "nnUNetTrainerMSMultiArmTiny",
    "nnUNetTrainerMSPlain",
    "nnUNetTrainerMSSingleArm",
]
