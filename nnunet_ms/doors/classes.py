"""Our classes that nnU-Net looks up by name, and the module of each: a table, so that looking imports nothing else."""

from importlib import import_module

TRAINERS, PLANNERS, NORMALISATION = (
    "nnunetv2.training.nnUNetTrainer",
    "nnunetv2.experiment_planning",
    "nnunetv2.preprocessing.normalization",
)
# where nnU-Net looks (the module that its search begins with) -> class -> our module
CLASSES = {
    TRAINERS: {
        **dict.fromkeys(
            (
                "nnUNetTrainerMSFlairT1",
                "nnUNetTrainerMSFlairT1Small",
                "nnUNetTrainerMSFlairT1Tiny",
                "nnUNetTrainerMSMultiArm",
                "nnUNetTrainerMSMultiArmSmall",
                "nnUNetTrainerMSMultiArmSmallDropout",
                "nnUNetTrainerMSMultiArmTiny",
                "nnUNetTrainerMSPlain",
                "nnUNetTrainerMSPlainSmall",
                "nnUNetTrainerMSPlainTiny",
                "nnUNetTrainerMSSingleArm",
            ),
            "nnunet_ms.trainers.multi_arm_t2",
        ),
        **dict.fromkeys(
            (
                "nnUNetTrainerMSJointT1Any",
                "nnUNetTrainerMSJointT1AnySmall",
                "nnUNetTrainerMSJointT1AnyTiny",
                "nnUNetTrainerMSMultiArmAny",
                "nnUNetTrainerMSMultiArmAnySmall",
                "nnUNetTrainerMSMultiArmAnySmallLong",
                "nnUNetTrainerMSMultiArmAnyTiny",
            ),
            "nnunet_ms.trainers.any_sequence",
        ),
        **dict.fromkeys(
            (
                "nnUNetTrainerMSJointT1AnySmallSynthetic",
                "nnUNetTrainerMSMultiArmAnySmallSynthetic",
                "nnUNetTrainerMSMultiArmAnySynthetic",
            ),
            "nnunet_ms.trainers.any_sequence_synthetic",
        ),
        **dict.fromkeys(
            (
                "nnUNetTrainerMSMultiArmAsymmetric",
                "nnUNetTrainerMSMultiArmDiceCE",
                "nnUNetTrainerMSMultiArmNoShortcuts",
                "nnUNetTrainerMSMultiArmSkipAttention",
                "nnUNetTrainerMSMultiArmTversky",
                "nnUNetTrainerMSSingleArm25D",
                "nnUNetTrainerMSSingleArmEncoder",
                "nnUNetTrainerMSSingleArmEncoderSkip",
                "nnUNetTrainerMSSingleArmNoShortcuts",
            ),
            "nnunet_ms.trainers.multi_arm_ablation",
        ),
        **dict.fromkeys(
            (
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
            ),
            "nnunet_ms.trainers.joint_t1",
        ),
        **dict.fromkeys(
            (
                "nnUNetTrainerMSBalanced",
                "nnUNetTrainerMSBalancedDepth3",
                "nnUNetTrainerMSBalancedDepth5",
                "nnUNetTrainerMSBalancedSmall",
                "nnUNetTrainerMSBalancedTiny",
                "nnUNetTrainerMSBalancedVolumeLoss",
            ),
            "nnunet_ms.trainers.new_lesions",
        ),
        **dict.fromkeys(
            ("nnUNetTrainerMSRim", "nnUNetTrainerMSRimSmall", "nnUNetTrainerMSRimTiny"), "nnunet_ms.trainers.rim"
        ),
        **dict.fromkeys(
            (
                "nnUNetTrainerMSDeNovoFlairT1",
                "nnUNetTrainerMSDeNovoFlairT1Small",
                "nnUNetTrainerMSDeNovoJointT1",
                "nnUNetTrainerMSDeNovoJointT1Small",
                "nnUNetTrainerMSDeNovoMultiArm",
                "nnUNetTrainerMSDeNovoMultiArmSmall",
                "nnUNetTrainerMSDeNovoNnUNet",
                "nnUNetTrainerMSDeNovoNnUNetSmall",
                "nnUNetTrainerMSFineTune",
                "nnUNetTrainerMSFineTuneDepth3",
                "nnUNetTrainerMSFineTuneDepth5",
                "nnUNetTrainerMSFineTuneFlairT1",
                "nnUNetTrainerMSFineTuneFlairT1Small",
                "nnUNetTrainerMSFineTuneJointT1",
                "nnUNetTrainerMSFineTuneJointT1Small",
                "nnUNetTrainerMSFineTuneMultiArm",
                "nnUNetTrainerMSFineTuneMultiArmSmall",
                "nnUNetTrainerMSFineTuneMultiArmTiny",
                "nnUNetTrainerMSFineTuneNnUNet",
                "nnUNetTrainerMSFineTuneNnUNetSmall",
                "nnUNetTrainerMSFineTuneSmall",
                "nnUNetTrainerMSFineTuneTiny",
                "nnUNetTrainerMSFineTuneVolumeLoss",
            ),
            "nnunet_ms.trainers.fine_tune",
        ),
    },
    PLANNERS: {
        "nnUNetPlannerMS": "nnunet_ms.trainers.planner",
        "nnUNetPlannerMSMixed": "nnunet_ms.trainers.mixed_planner",
    },
    NORMALISATION: dict.fromkeys(
        ("BrainPercentileNormalization", "QsmWindowNormalization"), "nnunet_ms.trainers.normalization"
    ),
}


def our_class(class_name: str, searched: str | None) -> type | None:
    """Return the class of this package that nnU-Net asks for, or None where the name is not one of ours.

    Parameters
    ----------
    class_name : str
        What nnU-Net looks for.
    searched : str or None
        The module that its search begins with; None in a folder of `nnUNet_extTrainer`.

    Examples
    --------
    >>> our_class("nnUNetTrainer", "nnunetv2.training.nnUNetTrainer") is None
    True
    >>> our_class("nnUNetPlannerMS", "nnunetv2.experiment_planning").__module__
    'nnunet_ms.trainers.planner'
    """
    module = CLASSES.get(searched or "", {}).get(class_name)
    if module is None:
        return None
    found: type = getattr(import_module(module), class_name)
    return found
