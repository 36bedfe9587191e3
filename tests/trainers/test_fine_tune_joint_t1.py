"""The joint T1 network from the checkpoint of another one; oracle: the source's own weights and outputs."""

import pytest
import torch

import nnunet_ms.doors.trainers as door
from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.fine_tune import POLICY, SOURCE
from tests.trainers.test_construction import construct, make_plans, nnunet_folders  # noqa: F401
from tests.trainers.test_fine_tune import plain_command, same  # noqa: F401
from tests.trainers.test_joint_t1 import DATASET_JSON

OTHER_ORDER = {**DATASET_JSON, "channel_names": {"0": "T2w", "1": "FLAIR", "2": "T1wGd", "3": "T1w"}}


def trainer_of(name, dataset=DATASET_JSON):
    return construct(getattr(door, name), make_plans(shape=(12, 60, 60), dataset_json=dataset), dataset)


def checkpoint(tmp_path, name, dataset=DATASET_JSON):
    source = trainer_of(name, dataset)
    source.seed = None
    torch.manual_seed(5)
    source.initialize()
    with torch.no_grad():  # as trained: the head is not that of a beginning
        for weight in source.network.parameters():
            weight += 0.01 * torch.randn_like(weight)
    source.logger.log("ema_fg_dice", 0.1, 0)
    source.save_checkpoint(str(tmp_path / "source.pth"))
    return source.network


def outputs(network, image):
    with torch.no_grad():
        return network.eval()(image)[0]


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("name", ["nnUNetTrainerMSFineTuneJointT1", "nnUNetTrainerMSFineTuneJointT1Small"])
def test_the_joint_network_begins_with_the_sources_weights(tmp_path, monkeypatch, name):
    theirs = checkpoint(tmp_path, name.replace("FineTune", ""))
    monkeypatch.setenv(SOURCE, str(tmp_path / "source.pth"))
    trainer = trainer_of(name)
    trainer.initialize()
    assert same(theirs, trainer.network)
    assert trainer.source_report.share == 1.0
    image = torch.randn(1, 4, 8, 16, 16)
    assert torch.equal(outputs(theirs, image), outputs(trainer.network, image))


@pytest.mark.usefixtures("nnunet_folders")
def test_channels_of_the_joint_network_are_matched_by_name(tmp_path, monkeypatch):
    theirs = checkpoint(tmp_path, "nnUNetTrainerMSJointT1Small", OTHER_ORDER)
    monkeypatch.setenv(SOURCE, str(tmp_path / "source.pth"))
    trainer = trainer_of("nnUNetTrainerMSFineTuneJointT1Small")
    trainer.initialize()
    image = torch.randn(1, 4, 8, 16, 16)
    assert torch.allclose(outputs(theirs, image[:, [3, 2, 1, 0]]), outputs(trainer.network, image), atol=1e-5)


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("policy", ["all_but_head", "encoder"])
def test_what_the_policy_leaves_is_not_the_sources(tmp_path, monkeypatch, policy):
    theirs = checkpoint(tmp_path, "nnUNetTrainerMSJointT1Small").state_dict()
    monkeypatch.setenv(SOURCE, str(tmp_path / "source.pth"))
    monkeypatch.setenv(POLICY, policy)
    trainer = trainer_of("nnUNetTrainerMSFineTuneJointT1Small")
    trainer.initialize()
    ours = trainer.network.state_dict()
    equal = {name for name, value in ours.items() if torch.equal(value, theirs[name])}
    parts = {name.partition(".")[0] for name in equal if ours[name].ndim > 1}
    assert not any("seg_layers" in name for name in equal)
    assert (
        parts
        == {"all_but_head": {"encoders", "in_encoder", "decoder", "in_decoder"}, "encoder": {"encoders", "in_encoder"}}[
            policy
        ]
    )


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("name", ["nnUNetTrainerMSIndividualT1Small", "nnUNetTrainerMSJointT1EncoderSmall"])
def test_a_joint_network_begins_with_one_without_its_connections(tmp_path, monkeypatch, name):
    theirs = checkpoint(tmp_path, name)
    monkeypatch.setenv(SOURCE, str(tmp_path / "source.pth"))
    trainer = trainer_of("nnUNetTrainerMSFineTuneJointT1Small")
    trainer.initialize()
    ours, source = trainer.network.state_dict(), theirs.state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in source.items())
    left = [entry.name for entry in trainer.source_report.entries if entry.action == "skipped"]
    assert left == [key for key in ours if key not in source]


@pytest.mark.usefixtures("nnunet_folders")
def test_a_plain_network_is_no_source_of_a_joint_one(tmp_path, monkeypatch):
    checkpoint(tmp_path, "nnUNetTrainerMSBalancedSmall")
    monkeypatch.setenv(SOURCE, str(tmp_path / "source.pth"))
    with pytest.raises(ModelError, match=r"fits at least 50% .* found 0\.0%: weights of nnUNetTrainerMSBalancedSmall"):
        trainer_of("nnUNetTrainerMSFineTuneJointT1Small").initialize()
