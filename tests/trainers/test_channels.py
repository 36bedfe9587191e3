import pytest

from nnunet_ms.doors.classes import CLASSES, TRAINERS
from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.channels import channel_indices, fitting_trainer, sequence_of


@pytest.mark.parametrize(
    ("name", "sequence"),
    [("FLAIR", "flair"), ("T2-FLAIR", "flair"), ("T2w", "t2"), ("t1", "t1"), ("T1w", "t1"), ("T1wGd", "t1post")],
)
def test_usual_spellings(name, sequence):
    assert sequence_of(name) == sequence


def test_order_of_the_channels_does_not_matter():
    assert channel_indices(["T1w", "FLAIR", "T2w"], ("flair", "t2", "t1"), "trainer") == (1, 2, 0)


@pytest.mark.parametrize("names", [["flair", "t1"], ["flair", "t2", "T2w", "t1"]])
def test_missing_or_double_sequence_is_named(names):
    with pytest.raises(ModelError, match=r"nnUNetTrainerMSMultiArm needs .* \(t2 missing or twice\)"):
        channel_indices(names, ("flair", "t2", "t1"), "nnUNetTrainerMSMultiArm")


FITTING = {  # channels, trainer that was asked for -> the one that the message names, by hand
    ("flair,t1", "nnUNetTrainerMSMultiArm"): "nnUNetTrainerMSFlairT1",
    ("T1w,FLAIR", "nnUNetTrainerMSMultiArmSmall"): "nnUNetTrainerMSFlairT1Small",
    ("flair,t1,qsm", "nnUNetTrainerMSMultiArmTiny"): "nnUNetTrainerMSFlairT1Tiny",
    ("flair,t1", "nnUNetTrainerMSSingleArm"): "nnUNetTrainerMSFlairT1",
    ("flair", "nnUNetTrainerMSMultiArmSmall"): "nnUNetTrainerMSPlainSmall",
    ("t1,t1post", "nnUNetTrainerMSMultiArmSmallDropout"): "nnUNetTrainerMSPlainSmall",
    ("flair", "nnUNetTrainerMSFlairT1Tiny"): "nnUNetTrainerMSPlainTiny",
}


@pytest.mark.parametrize(("channels", "asked"), FITTING)
def test_the_advice_is_a_trainer_that_these_channels_fit(channels, asked):
    names, advice = channels.split(","), FITTING[channels, asked]
    assert fitting_trainer(names, asked) == advice
    assert advice in CLASSES[TRAINERS]
    wanted = ("flair", "t1") if "FlairT1" in asked else ("flair", "t2", "t1")
    with pytest.raises(
        ModelError, match=f"Train with -tr {advice}, which these channels fit; or, where the scans have"
    ):
        channel_indices(names, wanted, asked)


def test_trainers_of_another_task_get_no_advice_of_this_one():
    assert fitting_trainer(["flair", "t1"], "nnUNetTrainerMSJointT1, branch unenhancing,") == ""
    with pytest.raises(ModelError, match="Where the scans have all of them, convert with --channels t1,t1post"):
        channel_indices(["t1"], ("t1", "t1post"), "nnUNetTrainerMSJointT1, branch enhancing,")
