"""Trainers that draw some of their patches: few steps, what they note, what is refused. Oracle: counted patches."""

import json
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import nnunet_ms.doors.trainers as door
from nnunet_ms.checkpoints import load_checkpoint
from nnunet_ms.errors import ImageError, ModelError, SettingsError
from nnunet_ms.trainers.any_sequence_synthetic import RECORD
from nnunet_ms.trainers.synthetic_patches import SyntheticPatches
from nnunet_ms.trainers.synthetic_sources import SYNTHETIC, find_settings, read_sources
from tests.trainers.test_construction import DATASET_JSON, construct, make_plans, nnunet_folders  # noqa: F401
from tests.trainers.test_multi_arm_t2 import PATIENTS, preprocessed, train  # noqa: F401 - a fixture

SMALL = door.nnUNetTrainerMSMultiArmAnySmallSynthetic
HERE = np.eye(4).tolist()


def ball(radius, centre=(24, 24, 24)):
    axes = np.ogrid[0:48, 0:48, 0:48]
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2


@pytest.fixture
def sources(tmp_path):
    """A label map and a mask with a synthetic.json beside them."""
    folder = tmp_path / "sources"
    (folder / "masks").mkdir(parents=True)
    labels = np.where(ball(21), 3, 0)
    labels[ball(19)] = 2
    nib.save(nib.Nifti1Image(labels.astype(np.int16), np.eye(4)), folder / "map.nii.gz")
    nib.save(nib.Nifti1Image(ball(5, (30, 24, 24)).astype(np.uint8), np.eye(4)), folder / "masks" / "P1_lesion.nii.gz")
    write(folder)
    return folder


def write(folder, **changed):
    content = {
        "label_maps": [{"file": "map.nii.gz", "from_mni": HERE}],
        "lesion_masks": [{"file": "masks", "from_mni": HERE}],
        **changed,
    }
    kept = {name: value for name, value in content.items() if value is not None}
    (folder / SYNTHETIC).write_text(json.dumps(kept))
    return folder / SYNTHETIC


def trainer_of(cls=SMALL, **json_changes):
    trainer = construct(cls, make_plans(shape=(12, 60, 60)), {**DATASET_JSON, "patients": PATIENTS, **json_changes}, 0)
    trainer.num_epochs, trainer.configuration_manager.configuration["batch_size"] = 2, 2
    return trainer


def log_of(trainer):
    return Path(trainer.log_file).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_training_says_what_it_draws_and_goes_on_with_it(preprocessed, sources, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    drawn = []
    plain = SyntheticPatches.drawn
    monkeypatch.setattr(SyntheticPatches, "drawn", lambda self, *how: drawn.append(how[0]) or plain(self, *how))
    where = {name: [{"file": str(sources / file), "from_mni": HERE}] for name, file in FILES.items()}
    write(preprocessed, **where, share=1.0)
    trainer = train(trainer_of(), 1)
    assert len(drawn) == 3 * 2  # two steps and nnU-Net's first look, two patches each, and none of the validation
    assert "a share of 1 of the training patches is synthetic" in log_of(trainer)
    assert "P1_lesion.nii.gz" in json.loads((Path(trainer.output_folder) / "debug.json").read_text())["synthetic"]
    trainer.current_epoch -= 1
    trainer.save_checkpoint(str(tmp_path / "half.pth"))
    kept = load_checkpoint(tmp_path / "half.pth", (RECORD,), "a checkpoint")[RECORD]
    assert kept["share"] == 1.0
    assert [len(one["sha256"]) for one in (*kept["label_maps"], *kept["lesion_masks"])] == [64, 64]
    write(preprocessed, **where, share=0.0)
    resumed = trainer_of()
    resumed.load_checkpoint(str(tmp_path / "half.pth"))
    train(resumed, 2)
    assert len(drawn) == 3 * 2
    assert "Other synthetic patches than before" in log_of(resumed)
    pickle.dumps(resumed.dataloader_train.data_loader.transforms)  # nnU-Net's processes get it so on some systems


FILES = {"label_maps": "map.nii.gz", "lesion_masks": "masks/P1_lesion.nii.gz"}


def test_without_its_file_nothing_is_trained(preprocessed, monkeypatch):  # noqa: F811
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    with pytest.raises(SettingsError, match=r"synthetic\.json: expected what synthetic .*no such file\. Write it: \{"):
        trainer_of().on_train_start()


def test_it_may_lie_beside_the_raw_dataset(tmp_path, sources):
    assert find_settings([tmp_path, sources]) == sources / SYNTHETIC


@pytest.mark.usefixtures("preprocessed")
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"labels": {"background": 0, "black_hole": 1, "enhancing": 2}}, r"labels: expected \[1\] .*found \[1, 2\]"),
        ({"channel_names": {"0": "T1w", "1": "FLAIR", "2": "T2w", "3": "SWI"}}, "which can be drawn, found swi"),
    ],
)
def test_a_dataset_that_synthetic_scans_do_not_fit_is_refused(changes, match, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    with pytest.raises(ModelError, match=match):
        trainer_of(**changes).on_train_start()


def test_sources_are_read_with_shares_and_hashes(sources):
    found = read_sources(write(sources, share=0.25, lesion_share=1))
    assert (len(found.heads), len(found.lesions), found.share, found.lesion_share) == (1, 1, 0.25, 1.0)
    assert found.heads[0].name.endswith("map.nii.gz")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"label_maps": None}, "label_maps: expected a list of files or folders, found None"),
        ({"lesion_masks": None}, "lesion_masks: expected a list of files or folders, found None"),
        ({"lesion_masks": []}, r"lesion_masks: .* found \[\]\. Name at least one"),
        ({"label_maps": "map.nii.gz"}, "label_maps: expected a list"),
        ({"label_maps": ["absent.nii.gz"]}, "label_maps: .*absent.nii.gz: expected a file, or a folder"),
        ({"lesion_masks": ["."]}, None),
        ({"lesion_masks": [7]}, "expected a path, or file and from_mni, found 7"),
        ({"label_maps": [{"file": "map.nii.gz", "from_mni": [1, 2]}]}, "from_mni: expected 4 rows of 4 numbers"),
        ({"share": 1.5}, "share: expected a number from 0 to 1, found 1.5"),
        ({"share": "half"}, "share: expected a number from 0 to 1, found 'half'"),
        ({"lesion_share": True}, "lesion_share: expected a number"),
        ({"probability": 1}, "expected label_maps, lesion_masks, share, lesion_share, found probability"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(sources, changes, match):
    if match is None:  # a mask far outside of the template's brain, by its header
        far = np.eye(4) + np.eye(4, k=3) * 500
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), far), sources / "masks" / "P1_lesion.nii.gz")
        with pytest.raises(ImageError, match="aligned to MNI space, found 0% of its voxels"):
            read_sources(write(sources, **changes))
        return
    with pytest.raises(SettingsError, match=match):
        read_sources(write(sources, **changes))


@pytest.mark.parametrize("content", ["", "[1]", "{", '"text"'])
def test_a_file_that_is_no_object_is_refused(sources, content):
    (sources / SYNTHETIC).write_text(content)
    with pytest.raises(SettingsError, match=r"synthetic\.json: expected"):
        read_sources(sources / SYNTHETIC)
