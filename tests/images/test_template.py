"""Registration to a template. Oracle: motions that were made of the template's own brain, with a skull around it."""

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from nnunet_ms.images import template as template_module
from nnunet_ms.images.template import MARGIN_MM, Template, mni152, register_to_mni
from nnunet_ms.images.volumes import Grid
from tests.images.moving_head import AFFINE, SHAPE, apart, image_of, motion

MNI = Grid((49, 58, 47), np.array([[4.0, 0, 0, -98], [0, 4, 0, -134], [0, 0, 4, -72], [0, 0, 0, 1]]))


@pytest.fixture
def _small(monkeypatch):
    data = image_of(MNI)
    near = ndimage.binary_dilation(data > 80, iterations=2)
    small = Template(data, near.astype(np.uint8), MNI, "MNI152 at 4 mm")
    monkeypatch.setattr(template_module, "mni152", lambda: small)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def head(matrix, skull):
    """A scan: the brain moved, in another contrast; with `skull` a bright shell around it and a neck below."""
    grid = Grid((SHAPE[0], SHAPE[1], SHAPE[2] + 8), AFFINE - np.outer([0, 0, 40.0, 0], [0, 0, 0, 1.0]))
    image = image_of(grid, matrix, other=True)
    if skull:
        brain = ndimage.binary_fill_holes(image > 80)
        distance = ndimage.distance_transform_edt(~brain, sampling=grid.spacing)
        image = np.where((distance > 8) & (distance < 20), 700, image)
        image[18:30, 15:35, :14] = np.maximum(image[18:30, 15:35, :14], 450)
    return image.astype(np.float32), grid


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    ("degrees", "shift", "skull"),
    [
        ((0, 0, 0), (0, 0, 0), False),
        ((12, -6, 8), (10, -12, 18), True),
        ((4, -3, 6), (180, -240, 120), True),  # scanners put the origin where they like
    ],
)
def test_a_head_is_found_wherever_it_lies(degrees, shift, skull):
    near = motion(degrees, np.array(shift) if max(np.abs(shift)) < 100 else (5, 5, 5))
    data, grid = head(near, skull)
    made = near
    if max(np.abs(shift)) >= 100:  # the same voxels, whose header puts them elsewhere
        there = np.eye(4)
        there[:3, 3] = shift
        grid, made = Grid(grid.shape, there @ grid.affine), near @ np.linalg.inv(there)
    found = register_to_mni(data, grid)
    # the image shows at p the brain's made @ p; half of a voxel of 4 mm, in millimetres anywhere in the brain
    assert apart(made @ found.matrix, np.eye(4)) < 2
    assert found.after >= found.before


@pytest.mark.slow
def test_the_template_is_that_of_nilearn():
    # Oracle: nilearn's own statement of its grid; brain of 1.88 litres, and a margin around it
    found = mni152()
    assert (found.grid.shape, found.grid.spacing) == ((197, 233, 189), (1, 1, 1))
    brain = found.data > 0
    assert 1.8e6 < brain.sum() < 1.95e6
    assert found.inside[brain].mean() > 0.999
    grown = ndimage.binary_dilation(brain[::2, ::2, ::2], iterations=MARGIN_MM // 2)
    assert abs(found.inside[::2, ::2, ::2].sum() / grown.sum() - 1) < 0.1
    assert found.name.startswith("MNI152NLin2009aAsym of nilearn ")
