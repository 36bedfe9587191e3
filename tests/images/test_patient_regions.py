"""Regions of heads of known build: the template itself, moved about, and drawn with other ventricles."""

from pathlib import Path

import numpy as np
import pytest

from nnunet_ms.errors import ImageError
from nnunet_ms.images.patient_regions import place_again, place_brain, regions_of
from nnunet_ms.images.template import mni152, mni152_brain
from nnunet_ms.images.template_regions import ventricles_mm
from nnunet_ms.images.volumes import Grid, Volume

EVERY = 3  # voxels of the template: 3 mm are enough for what is tested


def head(linear=1.0, shift=(0.0, 0.0, 0.0)):
    """The template as a T1 on coarser voxels whose header moves it, its brain, and the matrix from MNI to it."""
    template, brain = mni152(), mni152_brain()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear * np.eye(3) if np.isscalar(linear) else linear, shift
    part = (slice(None, None, EVERY),) * 3
    data = template.data[part]
    grid = Grid(data.shape, matrix @ template.grid.affine @ np.diag([EVERY, EVERY, EVERY, 1.0]))
    return Volume(np.where(brain[part], data, 0), grid, Path("t1.nii.gz")), brain[part], matrix


@pytest.mark.parametrize(
    ("linear", "shift"),
    [
        (np.diag([0.93, 1.05, 0.96]), (12.0, -20.0, 31.0)),
        (np.array([[0.98, 0.1, 0.0], [-0.1, 0.97, 0.12], [0.0, -0.12, 1.02]]), (0.0, 5.0, -60.0)),
    ],
    ids=["scaled", "turned"],
)
def test_the_way_of_a_moved_template_is_found(linear, shift):
    image, brain, matrix = head(linear, shift)
    place = place_brain(image, brain)
    assert place.is_good
    corners = np.array([[0, -20, 20, 1], [50, 30, 10, 1], [-50, -60, -30, 1.0]]).T
    assert np.abs(place.matrix @ corners - matrix @ corners).max() < 2.5  # mm, less than a voxel


@pytest.mark.parametrize("away", [(0.0, 0.0, 40.0), (45.0, 0.0, 0.0), (0.0, 60.0, -30.0)])
def test_a_template_that_lies_elsewhere_is_no_good_fit(away):
    image, brain, matrix = head()
    wrong = matrix.copy()
    wrong[:3, 3] += away
    assert place_again(image, brain, matrix).is_good
    assert not place_again(image, brain, wrong).is_good


def test_the_outline_alone_does_not_make_a_good_fit():
    image, brain, matrix = head()
    flat = Volume(np.where(brain, np.float32(0.8), np.float32(0)), image.grid, image.path)
    found = place_again(flat, brain, matrix)
    assert found.dice > 0.95
    assert found.contrast == pytest.approx(0)
    assert not found.is_good


@pytest.mark.parametrize("fluid", [0.2, 2.5], ids=["dark as in FLAIR", "bright as in T2"])
def test_wide_ventricles_are_followed_by_their_fluid(fluid):
    image, brain, matrix = head()
    places = image.grid.to_world(np.argwhere(brain))
    far = np.full(brain.shape, np.inf)
    far[brain] = ventricles_mm().at(places)
    wide = brain & (far < 6.5)  # of this patient: the template's and 6.5 mm around
    drawn = Volume(np.where(wide, fluid, np.where(brain, 1.0, 0.0)).astype(np.float32), image.grid, image.path)
    found = regions_of(drawn, brain, matrix)["ventricles"].data != 0
    np.testing.assert_array_equal(found, wide)


def test_fluid_apart_from_the_ventricles_is_none():
    image, brain, matrix = head()
    places = image.grid.to_world(np.argwhere(brain))
    drawn = np.where(brain, 1.0, 0.0).astype(np.float32)
    drawn[brain] = np.where(ventricles_mm().at(places) < 0, 0.2, 1.0)
    cyst = np.linalg.norm(places - np.array([45.0, 10.0, 30.0]), axis=1) < 6
    drawn[brain] = np.where(cyst, 0.2, drawn[brain])
    found = regions_of(Volume(drawn, image.grid, image.path), brain, matrix)["ventricles"].data != 0
    assert found.any()
    assert not found[brain][cyst].any()


def test_too_few_voxels_are_no_brain():
    image, brain, _ = head()
    with pytest.raises(ImageError, match=r"t1\.nii\.gz: expected a brain, found too few voxels"):
        place_brain(image, np.zeros_like(brain))
