import pytest

from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.channels import channel_indices, sequence_of


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
