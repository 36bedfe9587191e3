"""Oracles: nibabel's slicing of an image, and NumPy's transposition."""

import json

import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.images.volumes import read_grid, read_volume
from nnunet_ms.trainers.prediction.way_back import WayBack

BOX = ((1, 9), (2, 22), (3, 19))  # of the file's (z, y, x)


@pytest.fixture
def way(model_folder, image_folder):
    properties = {
        "spacing": [3.0, 1.0, 1.0],
        "bbox_used_for_cropping": BOX,
        "shape_after_cropping_and_before_resampling": tuple(high - low for low, high in BOX),
    }
    plans = json.loads((model_folder / "plans.json").read_text())
    return WayBack(plans, "3d_fullres", properties, read_grid(image_folder / "a_1_0000.nii.gz"))


def test_the_crop_lies_where_nibabel_puts_it(way, image_folder):
    cropped = nib.load(image_folder / "a_1_0000.nii.gz").slicer[3:19, 2:22, 1:9]
    assert way.box_grid.shape == cropped.shape
    assert np.allclose(way.box_grid.affine, cropped.affine)


def test_equal_spacing_only_turns_the_axes(way):
    volumes = np.random.default_rng(0).normal(size=(2, 8, 20, 16)).astype(np.float32)
    assert np.allclose(way.resample(volumes), volumes.transpose(0, 3, 2, 1), atol=1e-6)


def test_a_map_is_written_into_the_whole_image(way, tmp_path):
    values = np.random.default_rng(0).random(way.box_grid.shape).astype(np.float32)
    way.write_map(values, tmp_path / "map.nii.gz", around=-1.0)
    found = read_volume(tmp_path / "map.nii.gz").data
    assert np.array_equal(found[way.box], values)
    assert (found == -1).sum() == found.size - values.size
