import json
import os

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

import nnunet_ms.doors.trainers as door
from nnunet_ms.checkpoints import check_checksum, write_checksum
from nnunet_ms.errors import ModelError
from tests.trainers.test_construction import DATASET_JSON, construct, make_plans, nnunet_folders  # noqa: F401

PATIENTS = {"A_1": "A", "A_2": "A", "B_1": "B", "C_1": "C"}
FOLDS = [{"train": ["A_1", "A_2", "B_1"], "val": ["C_1"]}]


@pytest.fixture
def preprocessed(nnunet_folders):  # noqa: F811
    """Four preprocessed cases, one of them (B_1) without a lesion."""
    base = nnunet_folders / "preprocessed" / "Dataset001_Test"
    folder = base / "nnUNetPlansMS_3d_fullres"
    (folder / "case.b2nd").unlink()
    rng = np.random.default_rng(0)
    for case in PATIENTS:
        seg = np.zeros((1, 12, 60, 60), np.int16)
        if case != "B_1":
            seg[0, 4:8, 20:40, 20:40] = 1
        data = rng.normal(size=(3, *seg.shape[1:])).astype(np.float32) + 3 * seg
        locations = {1: np.argwhere(seg == 1)}
        blocks = (1, 12, 60, 60)
        nnUNetDatasetBlosc2.save_case(
            data, seg, {"class_locations": locations}, str(folder / case), chunks=blocks, blocks=blocks
        )
    (base / "splits_final.json").write_text(json.dumps(FOLDS))
    (base / "dataset_fingerprint.json").write_text("{}")
    return base


def trainer_for(fold=0, **settings):
    class Tiny(door.nnUNetTrainerMSMultiArmTiny):
        iterations_per_epoch = 2

    for name, value in settings.items():
        setattr(Tiny, name, value)
    return construct(Tiny, make_plans(shape=(12, 60, 60)), {**DATASET_JSON, "patients": PATIENTS}, fold)


def test_split_by_patient_is_taken_as_it_is(preprocessed):
    assert trainer_for().do_split() == (FOLDS[0]["train"], FOLDS[0]["val"])


def test_a_split_that_leaks_a_patient_is_refused(preprocessed):
    (preprocessed / "splits_final.json").write_text(json.dumps([{"train": ["A_1", "B_1"], "val": ["A_2", "C_1"]}]))
    with pytest.raises(ModelError, match=r"visits of \['A'\] in training and in validation"):
        trainer_for().do_split()


def test_without_a_split_file_visits_are_not_split_blindly(preprocessed):
    (preprocessed / "splits_final.json").unlink()
    with pytest.raises(ModelError, match="would split visits, not patients"):
        trainer_for().do_split()


def test_only_cases_with_lesions_give_patches(preprocessed):
    train, validation = trainer_for().get_tr_and_val_datasets()
    assert train.identifiers == ["A_1", "A_2"]
    assert validation.identifiers == ["C_1"]


def test_no_lesion_anywhere_is_one_clear_error(preprocessed):
    (preprocessed / "splits_final.json").write_text(json.dumps([{"train": ["B_1"], "val": ["C_1"]}]))
    with pytest.raises(ModelError, match="none of the 1 training cases of fold 0 has a lesion"):
        trainer_for().get_tr_and_val_datasets()


def test_every_training_patch_holds_a_lesion_and_its_volume(preprocessed, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    trainer = trainer_for()
    trainer.initialize()
    loader, _ = trainer.get_dataloaders()
    whole_lesion = 4 * 20 * 20 * 3.0  # mm3, also where the patch cuts it
    for _ in range(5):
        finest = next(loader)["target"][0]
        for labels, volumes in finest:
            assert (labels == 1).any()
            assert set(volumes.unique().tolist()) == {0.0, whole_lesion}
            assert torch.equal(volumes > 0, labels == 1)


def test_only_the_small_trainers_mirror(preprocessed):
    axes = []
    for cls in (door.nnUNetTrainerMSMultiArm, door.nnUNetTrainerMSMultiArmSmall):
        trainer = construct(cls, make_plans(shape=(12, 60, 60)), {**DATASET_JSON, "patients": PATIENTS}, 0)
        *_, mirrored = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        assert trainer.inference_allowed_mirroring_axes == mirrored
        axes.append(mirrored)
    assert axes == [None, (0, 1, 2)]


def train(trainer, epochs):
    trainer.on_train_start()
    for _ in range(trainer.current_epoch, epochs):
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end([trainer.train_step(next(trainer.dataloader_train)) for _ in range(2)])
        with torch.no_grad():
            trainer.on_validation_epoch_start()
            trainer.on_validation_epoch_end([trainer.validation_step(next(trainer.dataloader_val))])
        trainer.on_epoch_end()
    return trainer


@pytest.mark.slow
def test_resumed_training_equals_an_uninterrupted_one(preprocessed, monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    whole = train(trainer_for(epochs=3), 3)
    half = train(trainer_for(epochs=3), 2)
    half.current_epoch -= 1  # nnU-Net saves before it counts the epoch on
    half.save_checkpoint(str(tmp_path / "half.pth"))
    resumed = trainer_for(epochs=3)
    resumed.load_checkpoint(str(tmp_path / "half.pth"))
    train(resumed, 3)
    assert resumed.loss.loss.gamma.item() == pytest.approx(0.15)
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key]), key


@pytest.mark.slow
def test_gamma_follows_the_epochs(preprocessed, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    trainer = train(trainer_for(epochs=3), 1)
    assert trainer.loss.loss.gamma.item() == pytest.approx(0.02)
    train_epochs = []
    for epoch in (1, 2):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        train_epochs.append(trainer.loss.loss.gamma.item())
    assert train_epochs == pytest.approx([0.085, 0.15])


def test_an_interrupted_checkpoint_leaves_the_old_one(preprocessed, tmp_path, monkeypatch):
    trainer = trainer_for()
    trainer.initialize()
    target = tmp_path / "checkpoint.pth"
    target.write_bytes(b"old")
    write_checksum(target)

    def stop(_content, name):
        with open(name, "wb") as stream:  # noqa: PTH123
            stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.save_checkpoint(str(target))
    assert target.read_bytes() == b"old"
    check_checksum(target)
    names = sorted(path.name for path in tmp_path.glob("*checkpoint*"))
    assert names == ["checkpoint.pth", "checkpoint.pth.sha256"]


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_training_goes_on_from_no_checkpoint_that_could_run_code_or_was_changed(preprocessed, tmp_path):
    trainer, path, crater = trainer_for(), tmp_path / "checkpoint_latest.pth", tmp_path / "crater"
    torch.save({"network_weights": {}, "logging": Bomb(crater)}, path)
    with pytest.raises(
        ModelError, match=r"checkpoint_latest\.pth: expected a checkpoint to go on .*mkdir; loading it could"
    ):
        trainer.load_checkpoint(str(path))
    assert not crater.exists()
    write_checksum(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"expected SHA-256 \w{12} as checkpoint_latest\.pth\.sha256 says"):
        trainer.load_checkpoint(str(path))


def test_weights_to_begin_with_are_looked_at_before_nnunet_loads_them(preprocessed, tmp_path, monkeypatch):
    torch.save({"network_weights": {}, "logging": Bomb(tmp_path / "crater")}, tmp_path / "bomb.pth")
    monkeypatch.setattr("sys.argv", ["nnUNetv2_train", "-pretrained_weights", str(tmp_path / "bomb.pth")])
    with pytest.raises(ModelError, match=r"bomb\.pth: expected weights to begin with.*mkdir; loading it could"):
        trainer_for().initialize()
    assert not (tmp_path / "crater").exists()


def test_the_latest_checkpoint_goes_with_its_checksum(preprocessed, tmp_path):
    trainer = trainer_for()
    trainer.initialize()
    trainer.output_folder = str(tmp_path)
    trainer.logger.log("ema_fg_dice", 0.1, 0)
    trainer.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    trainer.current_epoch = 1
    trainer.on_train_end()
    assert sorted(path.name for path in tmp_path.glob("checkpoint*")) == [
        "checkpoint_final.pth",
        "checkpoint_final.pth.sha256",
    ]


TWO = {**DATASET_JSON, "channel_names": {"0": "flair", "1": "t1"}}
ONE = {**DATASET_JSON, "channel_names": {"0": "flair"}}


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize(
    ("name", "content", "channels"),
    [
        ("nnUNetTrainerMSFlairT1", TWO, 2),
        ("nnUNetTrainerMSFlairT1Small", TWO, 2),
        ("nnUNetTrainerMSFlairT1Tiny", TWO, 2),
        ("nnUNetTrainerMSPlainSmall", TWO, 2),
        ("nnUNetTrainerMSPlainSmall", ONE, 1),
        ("nnUNetTrainerMSPlainTiny", ONE, 1),
    ],
)
def test_scans_without_t2_have_trainers_of_every_size(name, content, channels):
    # the sizes are those of the trainers with three channels, by what they set
    trainer = construct(getattr(door, name), make_plans(shape=(12, 60, 60), dataset_json=content), content)
    trainer.initialize()
    size = next((word for word in ("Small", "Tiny") if name.endswith(word)), "")
    like = getattr(door, f"nnUNetTrainerMSMultiArm{size}")
    assert (trainer.filters, trainer.num_epochs, trainer.num_iterations_per_epoch) == (
        like.filters, like.epochs, like.iterations_per_epoch
    )  # fmt: skip
    outputs = trainer.network(torch.randn(1, channels, 8, 16, 16))
    assert outputs[0].shape == (1, 2, 8, 16, 16)


@pytest.mark.usefixtures("nnunet_folders")
def test_the_small_trainer_says_which_one_fits_two_channels():
    with pytest.raises(ModelError, match="Train with -tr nnUNetTrainerMSFlairT1Small, which these channels fit"):
        construct(door.nnUNetTrainerMSMultiArmSmall, make_plans(dataset_json=TWO), TWO).initialize()
