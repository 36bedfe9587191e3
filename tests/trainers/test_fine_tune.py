"""Oracle: the source's own weights and outputs, nnU-Net's functions that construct, continue and validate."""

import json

import pytest
import torch
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

import nnunet_ms.doors.trainers as door
from nnunet_ms.checkpoints import sha256_of
from nnunet_ms.errors import ModelError, OptionError
from nnunet_ms.trainers import fine_tune
from nnunet_ms.trainers.fine_tune import POLICY, REPORT, SOURCE, WarmUpPolyLRScheduler
from nnunet_ms.trainers.prediction.open_model import open_model
from tests.trainers.test_construction import DATASET_JSON, construct, make_plans, nnunet_folders  # noqa: F401
from tests.trainers.test_multi_arm_t2 import PATIENTS, Bomb, preprocessed, train  # noqa: F401
from tests.trainers.tiny_model import write_images, write_model

ONE = {**DATASET_JSON, "channel_names": {"0": "FLAIR"}}


def trainer_of(name, plans=None, dataset=DATASET_JSON):
    return construct(getattr(door, name), plans or make_plans(shape=(12, 60, 60), dataset_json=dataset), dataset)


def checkpoint(tmp_path, name, seed=5, **changes):
    """A checkpoint of an untrained trainer."""
    torch.manual_seed(seed)
    source = trainer_of(name, **changes)
    source.seed = None
    source.initialize()
    source.logger.log("ema_fg_dice", 0.1, 0)
    path = tmp_path / f"{name}.pth"
    source.save_checkpoint(str(path))
    return source, path


def same(one, other):
    state = other.state_dict()
    return all(torch.equal(value, state[key]) for key, value in one.state_dict().items())


@pytest.fixture(autouse=True)
def plain_command(monkeypatch):
    monkeypatch.setattr("sys.argv", ["nnUNetv2_train"])
    for name in (SOURCE, POLICY):
        monkeypatch.delenv(name, raising=False)


PAIRS = [
    ("nnUNetTrainerMSBalancedTiny", "nnUNetTrainerMSFineTuneTiny"),
    ("nnUNetTrainerMSMultiArmTiny", "nnUNetTrainerMSFineTuneMultiArmTiny"),
    ("nnUNetTrainerMSFlairT1Small", "nnUNetTrainerMSFineTuneFlairT1Small"),
    ("nnUNetTrainerMSDeNovoNnUNetSmall", "nnUNetTrainerMSFineTuneNnUNetSmall"),
]


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize(("source", "name"), PAIRS)
def test_training_begins_with_the_sources_weights_head_included(tmp_path, monkeypatch, source, name):
    theirs, path = checkpoint(tmp_path, source)
    monkeypatch.setenv(SOURCE, str(path))
    trainer = trainer_of(name)
    trainer.initialize()
    assert same(theirs.network, trainer.network)
    optimised = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in trainer.network.parameters()} <= optimised
    written = json.loads((tmp_path / trainer.output_folder / REPORT).read_text())
    assert (written["file"], written["sha256"], written["share"]) == (path.name, sha256_of(path), 1.0)
    assert (written["policy"], written["named_by"], written["tensors"]) == ("all", SOURCE, [])
    with open(trainer.log_file) as stream:  # noqa: PTH123
        assert "100.0% of what it asks for" in stream.read()


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("form", ["absolute", "beside the plans"])
def test_the_plans_can_name_the_source_and_its_policy(tmp_path, form):
    theirs, path = checkpoint(tmp_path, "nnUNetTrainerMSBalancedTiny")
    plans = make_plans(shape=(12, 60, 60))
    if form != "absolute":
        path = path.rename(tmp_path / "preprocessed" / "Dataset001_Test" / "source.pth")
        path.with_name("source.pth.sha256").unlink(missing_ok=True)
    plans["nnunet_ms"] = {"source": str(path) if form == "absolute" else path.name, "policy": "all_but_head"}
    trainer = trainer_of("nnUNetTrainerMSFineTuneTiny", plans)
    trainer.initialize()
    assert torch.equal(theirs.network.blocks[0].body[0].weight, trainer.network.blocks[0].body[0].weight)
    assert not torch.equal(theirs.network.decoder.seg_layers[0].weight, trainer.network.decoder.seg_layers[0].weight)
    assert trainer.source_report.policy == "all_but_head"


@pytest.mark.usefixtures("nnunet_folders")
def test_the_environment_comes_before_the_plans(tmp_path, monkeypatch):
    _, path = checkpoint(tmp_path, "nnUNetTrainerMSBalancedTiny")
    monkeypatch.setenv(SOURCE, str(path))
    monkeypatch.setenv(POLICY, "encoder")
    plans = make_plans(shape=(12, 60, 60))
    plans["nnunet_ms"] = {"source": "/nowhere/x.pth", "policy": "all"}
    trainer = trainer_of("nnUNetTrainerMSFineTuneTiny", plans)
    found = trainer.source()
    assert (found.path, found.policy, found.told_by) == (path, "encoder", SOURCE)


@pytest.mark.usefixtures("nnunet_folders")
def test_one_channel_of_the_source_becomes_those_of_the_dataset(tmp_path, monkeypatch):
    theirs, path = checkpoint(tmp_path, "nnUNetTrainerMSBalancedTiny", dataset=ONE)
    monkeypatch.setenv(SOURCE, str(path))
    trainer = trainer_of("nnUNetTrainerMSFineTuneTiny")
    trainer.initialize()
    trainer.set_deep_supervision_enabled(enabled=False)
    theirs.set_deep_supervision_enabled(enabled=False)
    image = torch.randn(1, 1, 8, 16, 16)
    with torch.no_grad():
        one, three = theirs.network.eval()(image), trainer.network.eval()(image.expand(-1, 3, -1, -1, -1))
    assert torch.allclose(one, three, atol=1e-5)
    assert "flair -> t1, flair, t2 (repeated, divided by 3)" in trainer.source_report.text()


@pytest.mark.usefixtures("nnunet_folders")
def test_continued_training_does_not_read_the_source_again(tmp_path, monkeypatch):
    _, path = checkpoint(tmp_path, "nnUNetTrainerMSBalancedTiny")
    monkeypatch.setenv(SOURCE, str(path))
    begun = trainer_of("nnUNetTrainerMSFineTuneTiny")
    begun.initialize()
    with torch.no_grad():
        begun.network.blocks[0].body[0].weight += 1  # what training changed
    begun.logger.log("ema_fg_dice", 0.1, 0)
    begun.save_checkpoint(f"{begun.output_folder}/checkpoint_latest.pth")
    path.unlink()  # the source is gone

    def read_again(*_arguments, **_settings):
        raise AssertionError("the source was read again")

    monkeypatch.setattr(fine_tune, "load_source_weights", read_again)
    for forget in (False, True):  # whatever the environment of the second command
        if forget:
            monkeypatch.delenv(SOURCE)
        goes_on = trainer_of("nnUNetTrainerMSFineTuneTiny")
        maybe_load_checkpoint(goes_on, continue_training=True, validation_only=False)
        assert same(begun.network, goes_on.network)
        assert goes_on.current_epoch == 1
    begun.save_checkpoint(f"{begun.output_folder}/checkpoint_final.pth")
    validated = trainer_of("nnUNetTrainerMSFineTuneTiny")
    maybe_load_checkpoint(validated, continue_training=False, validation_only=True)
    assert same(begun.network, validated.network)


@pytest.mark.usefixtures("nnunet_folders")
def test_continuing_where_there_is_no_checkpoint_begins_with_the_source(tmp_path, monkeypatch):
    theirs, path = checkpoint(tmp_path, "nnUNetTrainerMSBalancedTiny")
    monkeypatch.setenv(SOURCE, str(path))
    trainer = trainer_of("nnUNetTrainerMSFineTuneTiny")
    maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)  # nnU-Net starts anew
    trainer.initialize()
    assert same(theirs.network, trainer.network)


@pytest.mark.usefixtures("nnunet_folders")
def test_bad_sources_are_one_clear_error(tmp_path, monkeypatch):
    def begin(plans=None, name="nnUNetTrainerMSFineTuneTiny"):
        trainer_of(name, plans).initialize()

    with pytest.raises(ModelError, match=rf"FineTuneTiny: expected a source of weights, found none\. Set .* {SOURCE}"):
        begin()
    with pytest.raises(ModelError, match=r"plans: expected .*source.*, found 'x\.pth'"):
        begin({**make_plans(), "nnunet_ms": "x.pth"})
    monkeypatch.setenv(SOURCE, str(tmp_path / "none.pth"))
    with pytest.raises(ModelError, match=r"none\.pth: expected a source of weights, found no such file"):
        begin()
    monkeypatch.setenv(POLICY, "everything")
    with pytest.raises(OptionError, match="policy: expected one of 'all'"):
        begin()
    monkeypatch.delenv(POLICY)
    torch.save({"network_weights": {}, "logging": Bomb(tmp_path / "crater")}, tmp_path / "bomb.pth")
    monkeypatch.setenv(SOURCE, str(tmp_path / "bomb.pth"))
    with pytest.raises(ModelError, match=r"bomb\.pth: .*loading it could run code"):
        begin()
    assert not (tmp_path / "crater").exists()
    _, path = checkpoint(tmp_path, "nnUNetTrainerMSMultiArmTiny")
    monkeypatch.setenv(SOURCE, str(path))
    with pytest.raises(ModelError, match="weights of nnUNetTrainerMSMultiArmTiny, channels t1, flair, t2"):
        begin()
    monkeypatch.setattr("sys.argv", ["nnUNetv2_train", "-pretrained_weights", str(path)])
    with pytest.raises(ModelError, match="expected one source of weights, found -pretrained_weights"):
        begin()


@pytest.mark.parametrize(("share", "steps"), [(0.1, 100), (0.5, 8), (0.1, 3)])
def test_the_rate_rises_and_then_falls_as_nnunets(share, steps):
    def rates(make):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        scheduler, found = make(optimizer), []
        for epoch in range(steps):
            scheduler.step(epoch)
            found.append(optimizer.param_groups[0]["lr"])
        return found

    plain = rates(lambda o: PolyLRScheduler(o, 0.5, steps))
    found = rates(lambda o: WarmUpPolyLRScheduler(o, 0.5, steps, share))
    rise = max(1, round(share * steps))
    expected = [rate * min(1, (epoch + 1) / rise) for epoch, rate in enumerate(plain)]
    assert found == pytest.approx(expected)
    assert found[rise:] == plain[rise:]


@pytest.mark.usefixtures("nnunet_folders")
def test_nnunets_network_is_trained_further_at_a_tenth_of_its_rate(tmp_path, monkeypatch):
    source, path = checkpoint(tmp_path, "nnUNetTrainerMSDeNovoNnUNetSmall")
    monkeypatch.setenv(SOURCE, str(path))
    trainer = trainer_of("nnUNetTrainerMSFineTuneNnUNetSmall")
    trainer.initialize()
    assert (source.initial_lr, trainer.initial_lr) == (1e-2, 1e-3)
    assert isinstance(trainer.lr_scheduler, WarmUpPolyLRScheduler)
    assert type(trainer.optimizer) is type(source.optimizer)


def test_a_training_from_a_source_and_on_from_its_checkpoint(preprocessed, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    dataset = {**DATASET_JSON, "patients": PATIENTS}
    _, path = checkpoint(tmp_path, "nnUNetTrainerMSBalancedTiny")
    monkeypatch.setenv(SOURCE, str(path))

    def begin():
        plans = make_plans(shape=(12, 60, 60))
        plans["configurations"]["3d_fullres"]["patch_size"] = [8, 16, 16]
        return construct(door.nnUNetTrainerMSFineTuneTiny, plans, dataset)

    whole, half = train(begin(), 2), train(begin(), 1)
    half.current_epoch -= 1  # nnU-Net saves before it counts the epoch on
    half.save_checkpoint(str(tmp_path / "half.pth"))
    path.unlink()
    resumed = begin()
    resumed.load_checkpoint(str(tmp_path / "half.pth"))
    train(resumed, 2)
    assert same(whole.network, resumed.network)


@pytest.mark.usefixtures("nnunet_folders")
def test_ten_samples_and_uncertainty_of_a_fine_tuned_model(tmp_path, monkeypatch):
    _, path = checkpoint(tmp_path, "nnUNetTrainerMSBalancedTiny")
    monkeypatch.setenv(SOURCE, str(path))
    model = write_model(tmp_path / "model", (0,), "nnUNetTrainerMSFineTuneTiny")
    monkeypatch.delenv(SOURCE)
    images = write_images(tmp_path / "images", ("a_1",))
    channels = {name: images / f"a_1_{i:04d}.nii.gz" for i, name in enumerate(("t1", "flair", "t2"))}
    found = open_model(model, device="cpu").predict(channels, mc_samples=10)
    entropy = found.uncertainty["entropy"]
    assert found.mask.shape == found.probability.shape == entropy.shape == (20, 26, 11)
    assert entropy.max() > 0
    without = open_model(model, device="cpu").predict(channels, mc_samples=0, tta=False)
    assert not (found.probability == without.probability).all()  # dropout is in the samples
