"""Lesion sizes against the paper's shares; lesion maps against their definition by SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.simulation.images.anatomy import draw_anatomy
from nnunet_ms.simulation.images.lesion_shapes import (
    NEVER,
    Lesion,
    draw_centres,
    draw_sizes,
    draw_sizes_up_to,
    shape_level,
    small_components,
    smooth_noise,
    visit_map,
)
from nnunet_ms.simulation.model.presets import GRIDS

EIGHTEEN = ndimage.generate_binary_structure(3, 2)


@pytest.fixture(scope="module")
def anatomy():
    return draw_anatomy(GRIDS["demo"].spacing_mm, np.random.default_rng(0))


@pytest.fixture(scope="module")
def trial_anatomy():
    return draw_anatomy(GRIDS["trial"].spacing_mm, np.random.default_rng(0))


def place(anatomy, voxels, rng, visits=1):
    noise = smooth_noise(anatomy, 2.5, rng)
    centres = draw_centres(list(voxels), anatomy, np.empty((0, 4)), rng)
    shapes = [shape_level(c, int(n), anatomy, noise, rng) for c, n in zip(centres, voxels, strict=True)]
    growth = np.ones(visits)
    return [Lesion(*shape, 0, growth, 1.0, hole_from=NEVER, enhancing_at=NEVER) for shape in shapes]


def component_sizes(mask):
    labels, count = ndimage.label(mask, structure=EIGHTEEN)
    return np.bincount(labels.ravel(), minlength=count + 1)[1:]


def test_sizes_at_1x1x3_mm_follow_the_paper(trial_anatomy):
    # Oracle: Krishnan et al., Sci Rep 2023;13:4102, OPERA II: 41 % of lesions have 3-10 voxels, 83 % at most 50.
    rng, sizes = np.random.default_rng(1), []
    for _ in range(8):
        voxels = draw_sizes_up_to(4000, GRIDS["trial"].sizes, 3.0, rng)
        found = visit_map(place(trial_anatomy, voxels, rng), 0, int(voxels.sum()), trial_anatomy, 3)
        sizes.append(component_sizes(found.mask))
    pooled = np.concatenate(sizes)
    assert pooled.size > 600
    assert np.mean(pooled <= 10) == pytest.approx(0.41, abs=0.05)
    assert np.mean(pooled <= 50) == pytest.approx(0.83, abs=0.05)


def test_drawn_sizes_stay_within_limits():
    sizes = GRIDS["demo"].sizes
    drawn = draw_sizes(2000, sizes, 16.0, np.random.default_rng(0))
    assert drawn.min() >= 3
    assert drawn.max() <= sizes.largest_mm3 / 16


@pytest.mark.parametrize("voxels", [3, 40, 700])
def test_sizes_add_up_to_the_wanted_volume(voxels):
    drawn = draw_sizes_up_to(voxels, GRIDS["demo"].sizes, 16.0, np.random.default_rng(4))
    assert drawn.size >= 1
    assert int(drawn.sum()) == pytest.approx(voxels, abs=40)  # half of a common lesion at most


@pytest.mark.parametrize("voxels", [3, 20, 150])
def test_a_lesion_has_its_voxels_in_brain_tissue(anatomy, voxels):
    lesion = place(anatomy, [voxels], np.random.default_rng(voxels))[0]
    inside = lesion.level <= 1
    assert int(inside.sum()) == voxels
    assert anatomy.brain[lesion.box][inside].all()
    assert (anatomy.csf[lesion.box][inside] < 0.5).all()


def test_map_has_the_wanted_volume_and_no_small_component(anatomy):
    lesions = place(anatomy, [60, 30, 12, 5, 3, 3, 3], np.random.default_rng(3))
    for wanted in (60, 116, 150):
        found = visit_map(lesions, 0, wanted, anatomy, 3)
        assert int(found.mask.sum()) == pytest.approx(wanted, abs=3)
        assert component_sizes(found.mask).min() >= 3


def test_mask_is_where_the_depth_is_not_negative(anatomy):
    lesions = place(anatomy, [60, 30, 12, 5], np.random.default_rng(5))
    found = visit_map(lesions, 0, 100, anatomy, 3)
    np.testing.assert_array_equal(found.mask, found.depth_mm >= 0)
    assert set(np.unique(found.owner[found.mask])) <= set(range(len(lesions)))


def test_lesions_only_grow_with_the_wanted_volume(anatomy):
    lesions = place(anatomy, [80, 40, 40], np.random.default_rng(6))
    small, large = (visit_map(lesions, 0, wanted, anatomy, 1).mask for wanted in (120, 200))
    assert not (small & ~large).any()


def test_a_lesion_is_absent_before_its_birth(anatomy):
    first, second = place(anatomy, [40, 40], np.random.default_rng(7), visits=2)
    later = Lesion(second.box, second.level, second.radius_mm, 1, np.array([0.0, 1.0]), 1.0, NEVER, 1)
    assert set(np.unique(visit_map([first, later], 0, 40, anatomy, 3).owner)) == {-1, 0}
    assert len(component_sizes(visit_map([first, later], 1, 80, anatomy, 3).mask)) == 2


def test_small_components_against_scipy():
    rng = np.random.default_rng(8)
    mask = rng.random((20, 20, 12)) < 0.08
    labels, count = ndimage.label(mask, structure=EIGHTEEN)
    naive = np.zeros_like(mask)
    for label in range(1, count + 1):
        if (labels == label).sum() < 3:
            naive |= labels == label
    np.testing.assert_array_equal(small_components(mask, 3), naive)
