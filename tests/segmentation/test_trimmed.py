"""Tissue outside of the brain: cut away where the template fits, and the brain and its lesions left alone."""

from dataclasses import replace

import numpy as np
import pytest

from nnunet_ms.images.itk import simpleitk_threads
from nnunet_ms.images.patient_regions import BrainPlace
from nnunet_ms.images.template import mni152, mni152_brain
from nnunet_ms.images.volumes import Grid, read_volume, write_volume
from nnunet_ms.segmentation import trimmed
from nnunet_ms.segmentation.trimmed import trim_images


@pytest.fixture(scope="module")
def head():
    """The template's brain at 2 mm, with a piece of neck below and an eye before it, turned and larger."""
    template = mni152()
    brain = mni152_brain()[::2, ::2, ::2]
    affine = template.grid.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    data = np.where(brain, template.data[::2, ::2, ::2], 0).astype(np.float32)
    x, y, z = np.moveaxis(Grid(brain.shape, affine).to_world(np.argwhere(np.ones(brain.shape, bool))), -1, 0)
    places = {"neck": (0, -15, -62, 12), "eye": (33, 62, -38, 11)}
    lumps = {
        name: (np.sqrt((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) < radius).reshape(brain.shape) & ~brain
        for name, (a, b, c, radius) in places.items()
    }
    for lump in lumps.values():
        data[lump] = 2 * data.max()
    angle = np.radians(8)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = 1.04 * turn, (5, -8, 11)
    return data, moved @ affine, brain, lumps


def test_neck_and_eye_are_cut_out_of_all_images_and_the_brain_is_kept(head, tmp_path):
    data, affine, brain, lumps = head
    images = {"flair": tmp_path / "a_0000.nii.gz", "t1": tmp_path / "a_0001.nii.gz"}
    write_volume(images["flair"], data, affine)
    write_volume(images["t1"], np.where(data > 0, data + 1, 0).astype(np.float32), affine)
    told, place = trim_images(images)
    assert place.is_good
    assert "outside of MNI152's brain" in told
    for number, path in enumerate(images.values()):
        after = read_volume(path)
        assert np.allclose(after.grid.affine, affine, atol=1e-4)
        kept = after.data != 0
        assert kept[brain & (data > 0)].mean() > 0.995
        assert np.array_equal(after.data[kept], data[kept] + number)
        assert all(kept[lump].mean() < 0.35 for lump in lumps.values())  # what is left lies beside the brain


@pytest.mark.parametrize("kind", ["skull", "crop", "ball"])
def test_what_is_no_brain_that_fits_is_left_alone(kind, head, tmp_path):
    data, affine, *_ = head
    ball = np.zeros_like(data)
    ball[30:60, 30:60, 30:60] = 1
    shown = {"skull": data + 1, "crop": data[40:60, 40:60, 40:60], "ball": ball}[kind]
    path = tmp_path / "a_0000.nii.gz"
    write_volume(path, shown, affine)
    before = path.read_bytes()
    told, place = trim_images({"flair": path})
    assert told == ""
    assert place is None or not place.is_good
    assert path.read_bytes() == before


def test_a_brain_lies_where_it_lay_whatever_the_threads(head, tmp_path):
    data, affine, *_ = head
    path = tmp_path / "a_0000.nii.gz"
    cut = []
    for threads in (1, 2, 5):
        write_volume(path, data, affine)
        with simpleitk_threads(threads):
            trim_images({"flair": path})
        cut.append(path.read_bytes())
    assert cut[0] == cut[1] == cut[2]


def test_where_the_template_fits_but_loosely_nothing_is_cut(head, tmp_path, monkeypatch):
    data, affine, *_ = head
    path = tmp_path / "a_0000.nii.gz"
    write_volume(path, data, affine)
    before = path.read_bytes()
    loose = BrainPlace(affine @ np.linalg.inv(mni152().grid.affine @ np.diag([2.0, 2.0, 2.0, 1.0])), 0.89, -0.5)
    monkeypatch.setattr(trimmed, "place_brain", lambda *_: loose)
    assert trim_images({"flair": path}) == ("", loose)
    assert path.read_bytes() == before
    monkeypatch.setattr(trimmed, "place_brain", lambda *_: replace(loose, dice=0.9))
    assert trim_images({"flair": path})[0]
    assert path.read_bytes() != before
