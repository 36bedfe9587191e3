"""What fine-tuning leaves behind names no folder of this machine; oracle: the files themselves."""

import json
from pathlib import Path

import pytest
import torch

import nnunet_ms.doors.trainers as door
from nnunet_ms.checkpoints import sha256_of
from nnunet_ms.trainers.fine_tune import POLICY, REPORT, SOURCE
from tests.trainers.test_construction import DATASET_JSON, construct, make_plans, nnunet_folders  # noqa: F401
from tests.trainers.test_fine_tune import checkpoint, same


@pytest.fixture(autouse=True)
def plain_command(monkeypatch):
    monkeypatch.setattr("sys.argv", ["nnUNetv2_train"])
    for name in (SOURCE, POLICY):
        monkeypatch.delenv(name, raising=False)


def begin(source, name="nnUNetTrainerMSFineTuneTiny"):
    plans = make_plans(shape=(12, 60, 60))
    if source is not None:
        plans["nnunet_ms"] = {"source": str(source), "policy": "all"}
    trainer = construct(getattr(door, name), plans, DATASET_JSON)
    trainer.initialize()
    return trainer


def stored(trainer, tmp_path):
    """Everything that is written beside a model: plans.json as nnU-Net writes it, checkpoint, report."""
    trainer.logger.log("ema_fg_dice", 0.1, 0)
    trainer.save_checkpoint(str(tmp_path / "checkpoint_final.pth"))
    content = torch.load(tmp_path / "checkpoint_final.pth", weights_only=False)
    report = json.loads(Path(trainer.output_folder, REPORT).read_text())
    return json.dumps(trainer.plans_manager.plans), repr(content["init_args"]), json.dumps(report)


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("by", ["plans", "environment", "plans, relative", "both"])
@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("nnUNetTrainerMSBalancedTiny", "nnUNetTrainerMSFineTuneTiny"),
        ("nnUNetTrainerMSMultiArmTiny", "nnUNetTrainerMSFineTuneMultiArmTiny"),
    ],
)
def test_a_model_names_its_source_without_the_folder(tmp_path, monkeypatch, by, source, name):
    (tmp_path / "private").mkdir()
    theirs, path = checkpoint(tmp_path / "private", source)
    if by in ("environment", "both"):
        monkeypatch.setenv(SOURCE, str(path))
    named = {"plans": path, "both": path, "environment": None, "plans, relative": f"../../private/{path.name}"}[by]
    trainer = begin(named, name)
    assert same(theirs.network, trainer.network)
    written = stored(trainer, tmp_path)
    assert not any("private" in text for text in written)
    assert sha256_of(path) in written[2]
    if by.startswith("plans"):
        entry = {"source": path.name, "policy": "all", "sha256": sha256_of(path)}
        assert trainer.plans_manager.plans["nnunet_ms"] == entry
        assert json.loads(written[0])["nnunet_ms"] == entry


@pytest.mark.usefixtures("nnunet_folders")
def test_a_continued_training_still_says_which_source_it_was(tmp_path):
    (tmp_path / "private").mkdir()
    _, path = checkpoint(tmp_path / "private", "nnUNetTrainerMSBalancedTiny")
    begun = begin(path)
    checksum = sha256_of(path)
    stored(begun, tmp_path)
    path.unlink()
    plans = {**make_plans(shape=(12, 60, 60)), "nnunet_ms": {"source": str(path)}}
    again = construct(door.nnUNetTrainerMSFineTuneTiny, plans, DATASET_JSON)
    again.load_checkpoint(str(tmp_path / "checkpoint_final.pth"))
    assert same(begun.network, again.network)
    assert again.plans_manager.plans["nnunet_ms"] == {"source": path.name, "sha256": checksum}
