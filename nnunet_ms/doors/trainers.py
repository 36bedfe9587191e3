"""Door into nnU-Net: trainers found by name. Re-exports only; see nnunet_ms/doors/__init__.py."""

from nnunet_ms.trainers.joint_t1 import (
    nnUNetTrainerMSIndividualT1,
    nnUNetTrainerMSIndividualT1Small,
    nnUNetTrainerMSJointT1,
    nnUNetTrainerMSJointT1Decoder,
    nnUNetTrainerMSJointT1DecoderSmall,
    nnUNetTrainerMSJointT1Encoder,
    nnUNetTrainerMSJointT1EncoderSmall,
    nnUNetTrainerMSJointT1NoExclusivity,
    nnUNetTrainerMSJointT1Small,
    nnUNetTrainerMSJointT1Tiny,
)
from nnunet_ms.trainers.multi_arm_t2 import (
    nnUNetTrainerMSMultiArm,
    nnUNetTrainerMSMultiArmSmall,
    nnUNetTrainerMSMultiArmSmallDropout,
    nnUNetTrainerMSMultiArmTiny,
    nnUNetTrainerMSPlain,
    nnUNetTrainerMSSingleArm,
)

__all__ = [
    "nnUNetTrainerMSIndividualT1",
    "nnUNetTrainerMSIndividualT1Small",
    "nnUNetTrainerMSJointT1",
    "nnUNetTrainerMSJointT1Decoder",
    "nnUNetTrainerMSJointT1DecoderSmall",
    "nnUNetTrainerMSJointT1Encoder",
    "nnUNetTrainerMSJointT1EncoderSmall",
    "nnUNetTrainerMSJointT1NoExclusivity",
    "nnUNetTrainerMSJointT1Small",
    "nnUNetTrainerMSJointT1Tiny",
    "nnUNetTrainerMSMultiArm",
    "nnUNetTrainerMSMultiArmSmall",
    "nnUNetTrainerMSMultiArmSmallDropout",
    "nnUNetTrainerMSMultiArmTiny",
    "nnUNetTrainerMSPlain",
    "nnUNetTrainerMSSingleArm",
]
