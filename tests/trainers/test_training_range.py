"""What a model has seen: measured on datasets whose images are made here, so that every span is known."""

import json

import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.errors import ModelError, SettingsError
from nnunet_ms.images.template import mni152_tissues
from nnunet_ms.trainers.model_cli import main
from nnunet_ms.trainers.training_range import groups_of, read_training_range, span_words, write_training_range

TRAINER = "nnUNetTrainerMSMultiArmAnySmall"


@pytest.fixture
def places(tmp_path):
    """A model's folder without weights, and a raw dataset of three cases; T1 of the third is absent."""
    tissues = mni152_tissues()
    flair = (90 * tissues.white + 100 * tissues.grey) * tissues.brain
    raw, model = tmp_path / "Dataset801_X", tmp_path / f"{TRAINER}__nnUNetPlansMS__3d_fullres"
    (raw / "imagesTr").mkdir(parents=True)
    model.mkdir()
    for place in (raw, model):
        (place / "dataset.json").write_text(
            json.dumps({"channel_names": {"0": "T1w", "1": "FLAIR"}, "file_ending": ".nii.gz"})
        )
    for number, step in enumerate((1, 1, 3)):
        affine = tissues.grid.affine @ np.diag([1, 1, step, 1])
        for channel, data in enumerate((1.2 * flair * (number < 2) / 200, flair.round())):
            kind = np.int16 if channel else np.float32
            image = nib.Nifti1Image(np.ascontiguousarray(data[:, :, ::step]).astype(kind), affine)
            nib.save(image, raw / "imagesTr" / f"P{number}_{channel:04d}.nii.gz")
    return model, raw


def test_the_range_of_a_dataset_is_that_of_its_images(places, capsys):
    assert main(["range", str(places[0]), "--raw", str(places[1])]) == 0
    assert "flair: 3 scans; slices of 2 and 6 mm" in capsys.readouterr().out
    seen = read_training_range(places[0])
    flair, t1 = seen.sequences["flair"], seen.sequences["t1"]
    assert (flair.cases, flair.slice_mm, flair.in_plane_mm) == (3, ((2.0, 2.0), (6.0, 6.0)), (2.0, 2.0))
    assert (t1.cases, t1.slice_mm) == (2, ((2.0, 2.0),))
    assert flair.field_mm[0] == (190.0, 192.0)  # 95 planes of 2 mm, and 32 of 6
    assert (flair.intensities, t1.intensities, flair.stripped) == (("whole numbers",), ("0 to 1",), "all")
    assert flair.white_to_grey == pytest.approx((0.97, 1.05), abs=0.08)  # smoothed tissues
    assert seen.simulated_slice_mm == (1.0, 7.0)  # of the trainer
    assert write_training_range(*places) == seen


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1, "sequences": {"t2": {}}}'])
def test_a_damaged_range_is_told(tmp_path, text):
    (tmp_path / "training_range.json").write_text(text)
    with pytest.raises(ModelError, match=r"training_range\.json.*nnunet-ms-model range"):
        read_training_range(tmp_path)


def test_other_folders_are_told(places, tmp_path):
    model, raw = places
    with pytest.raises(ModelError, match="expected a trained model"):
        write_training_range(tmp_path / "absent", raw)
    (raw / "dataset.json").write_text('{"channel_names": {"0": "FLAIR"}}')
    with pytest.raises(ModelError, match=r"expected the channels \['t1', 'flair'\]"):
        write_training_range(model, raw)
    (raw / "dataset.json").write_text("{}")
    with pytest.raises(ModelError, match="expected channel_names"):
        write_training_range(model, raw)
    with pytest.raises(SettingsError, match="expected a dataset of nnU-Net"):
        write_training_range(model, tmp_path / "absent")


@pytest.mark.parametrize(
    ("values", "groups"),
    [([], ()), ([3.0], ((3.0, 3.0),)), ([1.0, 1.2, 1.4], ((1.0, 1.4),)), ([6.0, 1.0, 3.0], ((1, 1), (3, 3), (6, 6)))],
)
def test_thicknesses_are_grouped(values, groups):
    assert groups_of(values) == groups
    assert all(span_words(one) for one in groups)
