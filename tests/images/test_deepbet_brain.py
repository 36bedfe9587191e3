"""deepbet on made-up heads. Oracle: the template's own brain inside of a skull that is drawn around it."""

import socket
import sys

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.images import deepbet_brain
from nnunet_ms.images.deepbet_brain import check_deepbet, deepbet_mask
from nnunet_ms.images.itk import resample, to_itk, voxels
from nnunet_ms.images.template import mni152, mni152_brain
from nnunet_ms.images.volumes import Grid

GRID = Grid((56, 64, 52), np.array([[-4.0, 0, 0, 110], [0, 4, 0, -146], [0, 0, 4, -96], [0, 0, 0, 1]]))


class Stub:
    """In the place of the network: a ball as mask, in the axes of the image that it gets."""

    def __init__(self, radius=14):
        self.radius = radius

    def run(self, image):
        import nibabel as nib

        if self.radius == 0:
            raise ValueError("attempt to get argmax of an empty sequence")
        middle = (np.indices(image.shape) - np.array(image.shape).reshape(3, 1, 1, 1) / 2) ** 2
        return image, nib.Nifti1Image((middle.sum(0) < self.radius**2).astype(np.uint8), image.affine), 0.0


@pytest.mark.slow
def test_a_brain_in_a_skull_is_found_without_the_network_and_without_a_word(monkeypatch, capsys):
    brain = voxels(resample(to_itk(mni152_brain().astype(np.uint8), mni152().grid), GRID, np.eye(4), is_label=True)) > 0
    t1 = voxels(resample(to_itk(mni152().data, mni152().grid), GRID, np.eye(4), is_label=False))
    away = ndimage.distance_transform_edt(~brain, sampling=4.0)
    skull = (away > 8) & (away < 14)
    head = np.where(brain, t1, 0) + np.where(skull, 0.9 * t1.max(), 0)

    def closed(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", closed)
    deepbet_brain._network.cache_clear()
    found = deepbet_mask(head.astype(np.float32), GRID, "t1.nii.gz") > 0
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.9
    assert not (found & skull)[:, :, 12:].any()  # below the brain, of whose skull nothing is known, it may err
    assert capsys.readouterr() == ("", "")


CONTENTS = {
    "empty": (np.zeros((20, 20, 20)), "one value in all voxels"),
    "one value": (np.full((20, 20, 20), 7.0), "one value in all voxels"),
    "nan": (np.where(np.arange(8000).reshape(20, 20, 20) == 3, np.nan, 1.0), "NaN or infinity"),
    "infinite": (np.where(np.arange(8000).reshape(20, 20, 20) == 3, np.inf, 1.0), "NaN or infinity"),
    "four dimensions": (np.arange(16000.0).reshape(20, 20, 20, 2), "4 dimensions"),
    "no voxel": (np.zeros((0, 20, 20)), "one value in all voxels"),
}


@pytest.mark.parametrize(("data", "found"), CONTENTS.values(), ids=CONTENTS)
def test_what_is_no_head_is_one_error(data, found):
    with pytest.raises(ImageError, match=rf"flair.nii.gz: expected the image of a head for deepbet, found {found}\."):
        deepbet_mask(data, Grid(data.shape[:3], np.eye(4)), "flair.nii.gz")


@pytest.mark.parametrize(
    ("radius", "edge_mm", "message"),
    [
        (0, 4.0, "deepbet found no brain in it"),
        (14, 1.0, r"expected a brain of 400 to 2300 ml, deepbet found one of 1\d ml"),
        (6, 4.0, "deepbet found one of 5[0-9] ml"),
        (18, 5.0, r"deepbet found one of 3\d\d\d ml"),
    ],
)
def test_a_mask_that_can_be_no_brain_is_refused(monkeypatch, radius, edge_mm, message):
    monkeypatch.setattr(deepbet_brain, "_network", lambda: Stub(radius))
    grid = Grid((40, 40, 40), np.diag([edge_mm, edge_mm, edge_mm, 1.0]))
    with pytest.raises(ImageError, match=message):
        deepbet_mask(np.random.default_rng(0).normal(size=grid.shape), grid, "t1.nii.gz")


def test_without_the_extra_the_message_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepbet", None)
    monkeypatch.delitem(sys.modules, "deepbet.bet", raising=False)
    with pytest.raises(SettingsError, match=r"expected deepbet, found none. Run: pip install .nnunet-ms\[brain\]"):
        check_deepbet()
