"""An image unlike those of the training is named, by what the conversion or nnU-Net noted of them, or by its name."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.images.appearance import appearance_of, summary_of
from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.trainers.prediction.likeness import unlike
from nnunet_ms.trainers.prediction.open_model import open_model
from nnunet_ms.trainers.prediction.predict import predict
from tests.images.drawn_head import AFFINE, image, tissues

CHANNELS = ("t1", "flair", "t2")


def head(seed, skull=False, affine=AFFINE, step=1, order=CHANNELS):
    label, _ = tissues(seed, skull)
    volumes = [image(name, label, seed)[:, :, ::step] for name in order]
    return [Volume(data, Grid(data.shape, affine @ np.diag([1, 1, step, 1])), "image.nii.gz") for data in volumes]


def noted(skull):
    """What dataset.json says of five training patients."""
    shown = {
        f"P{k}": {name: appearance_of(one).as_json() for name, one in zip(CHANNELS, head(k, skull), strict=True)}
        for k in range(5)
    }
    return summary_of(shown, dict.fromkeys(shown, "train"))


def model(folder, content):
    names = {"channel_names": {str(k): name for k, name in enumerate(CHANNELS)}}
    return SimpleNamespace(folder=folder, dataset_json=names | content, channel_names=CHANNELS)


WRONG = {
    "right": (head(7), ""),
    "with skull": (head(7, skull=True), "Is the skull there, which the training images lack"),
    "slices of 9 mm": (head(7, step=3), r"voxels of 3 x 3 x 9 mm, in training 3 x 3 x 3 mm"),
    "half as large": (head(7, affine=AFFINE @ np.diag([0.5, 0.5, 0.5, 1])), r"voxels of 1.5 x 1.5 x 1.5 mm"),
    "FLAIR and T2 exchanged": (head(7, order=("t1", "t2", "flair")), "another sequence"),
    "T1 and T2 exchanged": (head(7, order=("t2", "flair", "t1")), "another sequence"),
}


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("known", ["dataset.json", "fingerprint"])
def test_what_is_unlike_the_training_is_named(tmp_path, how, known):
    volumes, expected = WRONG[how]
    content = noted(skull=False) if known == "dataset.json" else {}
    if known == "fingerprint":  # as nnU-Net writes it: axes (z, y, x), shapes after cropping to what is not 0
        boxes = [np.argwhere(head(k)[0].data)[:, ::-1] for k in range(5)]
        shapes = [(np.ptp(box, axis=0) + 1).tolist() for box in boxes]
        (tmp_path / "dataset_fingerprint.json").write_text(
            json.dumps({"spacings": [[3.0, 3.0, 3.0]] * 5, "shapes_after_crop": shapes})
        )
        expected = expected.replace(
            "Is the skull there, which the training images lack", "Is the skull there and was not"
        )
    found = unlike(volumes, model(tmp_path, content))
    assert bool(found) == bool(expected), found
    assert expected in " ".join(found)


def moved(volume, mm):
    """The same voxels further along x: `mm` must be whole voxels."""
    return Volume(np.roll(volume.data, round(mm / 3), axis=0), volume.grid, volume.path)


ELSEWHERE = {
    "of another patient": lambda own: head(8)[1],
    "turned left to right": lambda own: Volume(own.data[::-1].copy(), own.grid, own.path),
    "turned upside down": lambda own: Volume(own.data[:, :, ::-1].copy(), own.grid, own.path),
    "30 mm beside": lambda own: moved(own, 30),
    "turned by 180 degrees": lambda own: Volume(np.rot90(own.data, 2, axes=(1, 2)).copy(), own.grid, own.path),
}


@pytest.mark.parametrize("how", ELSEWHERE)
def test_a_sequence_of_another_head_or_place_is_named(tmp_path, how):
    t1, flair, t2 = head(7)
    found = unlike([t1, ELSEWHERE[how](flair), t2], model(tmp_path, noted(skull=False)))
    (told,) = [note for note in found if "another head" in note]
    assert told.startswith("flair: it shows another head than t1, or the same elsewhere"), found


def test_a_brain_on_a_model_of_heads(tmp_path):
    assert "Is the skull removed" in " ".join(unlike(head(7), model(tmp_path, noted(skull=True))))


@pytest.mark.parametrize("content", [{"appearance": {"t1": {"spacing_mm": "thick"}}}, {"appearance": {"t1": 3}}, {}])
def test_models_of_others_that_say_nothing_or_nonsense(tmp_path, content):
    assert unlike(head(7), model(tmp_path, content)) == []
    (tmp_path / "dataset_fingerprint.json").write_text('{"spacings": [[1, 1]]}')
    (note,) = unlike(head(7), model(tmp_path, content))
    assert "dataset_fingerprint.json: cannot be read" in note


def test_the_command_says_it(model_folder, tmp_path):
    (tmp_path / "images").mkdir()
    for number, volume in enumerate(head(7, skull=True, order=("flair", "t2", "t1"))):
        data = volume.data[::2, ::2, ::2]
        nib.save(nib.Nifti1Image(data, AFFINE @ np.diag([2, 2, 2, 1])), tmp_path / "images" / f"P1_{number:04d}.nii.gz")
    opened = open_model(model_folder, "0", device="cpu")
    done = predict(
        tmp_path / "images", tmp_path / "out", model=opened, mc_samples=0, tta=False, step_size=1.0, pictures=False
    )
    assert [note for note in done.notes if note.startswith("P1: t2: its fluid is dark, as in FLAIR and T1")]


@pytest.mark.parametrize(
    ("noted", "told"),
    [([1.0, 1.0, 1.0], 0), ([3.0, 1.0, 1.0], 1), ([1, 1], 0), ("isotropic", 0), (None, 0), ({"x": 1}, 0)],
)
def test_voxels_to_which_the_training_was_resampled(noted, told, tmp_path):
    small = Volume(np.ones((8, 8, 8), np.float32), Grid((8, 8, 8), np.eye(4)), "flair.nii.gz")
    known = model(tmp_path, {"spacing": noted})
    found = [text for text in unlike([small] * 3, known) if "were resampled to" in text]
    assert len(found) == told
    assert all("nnunet-ms-convert --spacing 3x1x1" in text for text in found)
