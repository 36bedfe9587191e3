"""Synthetic scans of a small drawn head: what is bright, where lesions lie, what a seed gives."""

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.errors import ImageError, OptionError
from nnunet_ms.images.volumes import Grid
from nnunet_ms.synthesis.acquisition import Scanner
from nnunet_ms.synthesis.deformation import Deformation, draw_points
from nnunet_ms.synthesis.fields import sample, smooth_field
from nnunet_ms.synthesis.label_maps import NUMBER, prepare_map
from nnunet_ms.synthesis.lesion_masks import Pasting, paste, prepare_mask
from nnunet_ms.synthesis.scan import ENHANCING, Look, SyntheticScan, closed_sulci, synthetic_scan
from nnunet_ms.synthesis.tissue_signals import TYPICAL_LESION, draw_signals

STILL = Deformation(0, 0, 0, 0, 0, (0, 0), 0)
AS_IT_IS = Pasting(0, (1, 1), 0, 0, 0, 0.35)
CLEAR = Scanner(noise=(0.001, 0.0011), bias=0, blur_mm=(0.8, 0.9), thick=0, ghost=0)


def ball(centre, radius, shape=(56, 64, 52)):
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2


def small_labels():
    """A skull, fluid, cortex, white matter, ventricles, a brain stem, in FreeSurfer's numbers."""
    middle = (28, 32, 26)
    labels = np.zeros((56, 64, 52), dtype=np.int16)
    for radius, number in ((25, 515), (23, 24), (21, 3), (18, 2), (5, 4)):
        labels[ball(middle, radius)] = number
    labels[24:32, 28:36, 4:14] = 16
    return labels


GRID = Grid((56, 64, 52), np.array([[1.0, 0, 0, -28], [0, 1, 0, -32], [0, 0, 1, -26], [0, 0, 0, 1]]))


@pytest.fixture(scope="module")
def head():
    return prepare_map(small_labels(), GRID, from_mni=np.eye(4))


@pytest.fixture(scope="module")
def lesions():
    mask = ball((40, 32, 26), 4) | ball((28, 44, 30), 3)
    return [prepare_mask(mask, GRID, from_mni=np.eye(4))]


@pytest.fixture(scope="module")
def clear(head, lesions):
    """One scan without deformation, noise and thick slices."""
    return synthetic_scan(
        head,
        lesions,
        np.random.default_rng(1),
        ("flair", "t2", "t1", "t1post"),
        "3T",
        deformation=STILL,
        pasting=AS_IT_IS,
        scanner=CLEAR,
        look=Look(enhancing=1, enhancing_share=(1, 1), poor_mask=0, free_contrast=0),
    )


def medians(scan: SyntheticScan, head, sequence):
    """Median by tissue, where the tissue is at least 2 voxels thick."""
    start = np.rint(head.grid.affine[:3, 3] - GRID.affine[:3, 3]).astype(int)
    labels = np.zeros(head.regions.shape, dtype=np.int16)
    low, high = np.maximum(start, 0), np.minimum(start + head.regions.shape, GRID.shape)
    inner = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
    labels[inner] = small_labels()[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    found = {}
    for name, number in (("white", 2), ("grey", 3), ("fluid", 4)):
        where = ndimage.binary_erosion(labels == number) & (scan.lesion == 0) & scan.brain  # a mask may be tight
        found[name] = float(np.median(scan.images[sequence][where]))
    found["lesion"] = float(np.median(scan.images[sequence][ndimage.binary_erosion(scan.lesion > 0)]))
    return found


def test_contrasts_are_those_that_radiologists_know(clear, head):
    # Oracle: textbook order of tissues. FLAIR: lesion over grey and white, fluid dark; T2: fluid brightest; T1: white
    # over grey over fluid. Enhancing lesions are brighter after the agent than before.
    flair, t2, t1, post = (medians(clear, head, one) for one in ("flair", "t2", "t1", "t1post"))
    assert flair["lesion"] > 1.1 * max(flair["grey"], flair["white"])
    assert flair["fluid"] < 0.5 * flair["white"]
    assert t2["fluid"] > t2["lesion"] > t2["white"]
    assert t2["grey"] > t2["white"]
    assert t1["white"] > t1["grey"] > t1["fluid"]
    assert post["lesion"] / post["white"] > t1["lesion"] / t1["white"]
    assert set(np.unique(clear.kinds)) == {0, ENHANCING}


def test_lesions_keep_their_place_and_volume_where_nothing_moves(clear, lesions):
    # Oracle: the two balls that were drawn, 257 and 123 voxels, at their places in mm.
    assert clear.lesion.sum() == pytest.approx(lesions[0].volume_ml * 1000, rel=0.12)
    parts, count = ndimage.label(clear.lesion)
    centres = [clear.grid.to_world(np.array([c]))[0] for c in ndimage.center_of_mass(clear.lesion, parts, [1, 2])]
    assert count == 2
    assert sorted(np.round(centres).tolist()) == [[0, 12, 4], [12, 0, 0]]


@pytest.mark.parametrize("seed", range(4))
def test_lesions_lie_in_the_brain_whatever_is_drawn(head, lesions, seed):
    rng = np.random.default_rng(seed)
    scan = synthetic_scan(head, lesions, rng, ("flair",), deformation=Deformation(rotation_degrees=10))
    assert scan.lesion.dtype == np.uint8
    assert set(np.unique(scan.lesion)) <= {0, 1}
    assert np.isfinite(scan.images["flair"]).all()
    assert (scan.images["flair"][~scan.brain] == 0).all()
    assert (scan.images["flair"][scan.brain] > 0).all()
    assert (scan.brain[scan.lesion > 0]).mean() > 0.9


def test_one_seed_gives_one_scan_and_another_another(head, lesions):
    one, again, other = (
        synthetic_scan(head, lesions, np.random.default_rng(s), ("t2",)).images["t2"] for s in (3, 3, 4)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_whole_head_without_a_mask_and_no_lesion_without_masks(head):
    scan = synthetic_scan(head, [], np.random.default_rng(0), ("t1",), masked=False)
    assert scan.lesion.sum() == 0
    assert (scan.images["t1"][~scan.brain] > 0).mean() > 0.9


def test_a_still_head_is_itself_and_a_mirrored_one_its_mirror_image(head):
    still, mirrored = (
        draw_points(head.grid, head.from_mni, np.random.default_rng(0), Deformation(0, 0, 0, 0, 0, (0, 0), p))
        for p in (0, 1)
    )
    regions = head.regions[None].astype(np.float32)
    assert np.array_equal(sample(regions, still, nearest=True)[0], head.regions)
    assert np.array_equal(sample(regions, mirrored, nearest=True)[0], head.regions[::-1])


def test_a_mask_is_moved_by_its_own_matrix(head):
    # Oracle: a ball that lies 10 mm to the right of MNI space in its own file, by the matrix that says so.
    far = np.eye(4)
    far[0, 3] = 10
    mask = prepare_mask(ball((50, 32, 26), 4), GRID, from_mni=far)
    points = draw_points(head.grid, head.from_mni, np.random.default_rng(0), STILL)
    depth = paste(mask, head, points, np.random.default_rng(0), AS_IT_IS)
    centre = head.grid.to_world(np.array([ndimage.center_of_mass(depth > 0)]))[0]
    assert centre == pytest.approx([12, 0, 0], abs=0.2)


@pytest.mark.parametrize("thickness", [2, 4, 7])
def test_masks_of_thick_slices_keep_their_volume(head, thickness):
    # Oracle: a box of one slice and a cylinder of three; what is pasted is as large as what was drawn.
    shape = (56, 64, 8)
    mask = np.zeros(shape, dtype=bool)
    mask[30:38, 26:34, 3] = True
    mask |= ball((22, 30, 4), 4, shape) & (np.abs(np.arange(8) - 4) <= 1)
    affine = GRID.affine.copy()
    affine[:3, 2] *= thickness
    affine[2, 3] = -4 * thickness
    prepared = prepare_mask(mask, Grid(shape, affine), from_mni=np.eye(4))
    assert prepared.volume_ml == pytest.approx(mask.sum() * thickness / 1000)
    assert (prepared.depth_mm > 0).sum() * prepared.grid.voxel_volume_ml == pytest.approx(prepared.volume_ml, rel=0.15)


def test_a_scan_on_its_own_slices_is_what_it_is_on_the_fine_grid(head, lesions):
    # Oracle: volumes by the grid's voxels; slices of 4 mm hold what planes of 1 mm hold.
    thick = Scanner(slice_axis=2, slices_mm=(4, 4), thick=1)
    fine, own = (
        synthetic_scan(head, lesions, np.random.default_rng(5), ("flair",), scanner=thick, own_grid=own)
        for own in (False, True)
    )
    assert own.images["flair"].shape == own.lesion.shape == own.grid.shape
    assert own.grid.spacing == pytest.approx((1, 1, 4))
    volumes = [one.lesion.sum() * one.grid.voxel_volume_ml for one in (fine, own)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.3)
    places = [one.grid.to_world(np.array([ndimage.center_of_mass(one.brain)]))[0] for one in (fine, own)]
    assert places[1] == pytest.approx(places[0], abs=1.0)  # a quarter of a slice


@pytest.mark.parametrize("strength", ["1.5T", "3T"])
def test_drawn_signals_show_lesions_on_flair_and_t2(strength):
    for seed in range(20):
        found = draw_signals(("flair", "t2", "t1", "t1post"), strength, np.random.default_rng(seed), free=seed % 2 > 0)
        for name in ("flair", "t2"):
            assert found.of_lesion(name, *TYPICAL_LESION) > 1.1 * found.white[name]
        after = found.of_regions["t1post"] / found.white["t1post"]
        assert after[NUMBER["blood"]] > 1 > after[NUMBER["grey_matter"]]


def test_smooth_fields_are_as_wide_as_said():
    # Oracle: neighbours alike, points several lengths apart not.
    field = smooth_field((60, 60, 60), 10.0, np.random.default_rng(0))
    near, far = (float(np.corrcoef(field[:-n].ravel(), field[n:].ravel())[0, 1]) for n in (1, 30))
    assert near > 0.97
    assert abs(far) < 0.3


def test_labels_that_the_table_does_not_name_are_refused_by_number():
    labels = small_labels()
    labels[0, 0, 0] = 9999
    with pytest.raises(ImageError, match=r"found \[9999\] that it does not name"):
        prepare_map(labels, GRID, from_mni=np.eye(4))


def test_a_map_without_white_matter_and_an_empty_mask_are_refused():
    with pytest.raises(ImageError, match="expected a label map with white matter"):
        prepare_map(np.zeros((4, 4, 4)), GRID, from_mni=np.eye(4))
    with pytest.raises(ImageError, match="expected a mask with lesions"):
        prepare_mask(np.zeros(GRID.shape, dtype=bool), GRID)


def test_a_sequence_of_another_name_is_refused(head):
    with pytest.raises(OptionError, match="sequence"):
        synthetic_scan(head, [], np.random.default_rng(0), ("dwi",))


@pytest.mark.parametrize("mm", [0, 1, 2, 3])
def test_cortex_grows_into_fluid_by_so_many_mm_and_not_into_ventricles(head, mm):
    grown = closed_sulci(head.regions, mm)
    was = {name: head.regions == NUMBER[name] for name in ("grey_matter", "fluid", "ventricle")}
    steps = ndimage.distance_transform_cdt(~was["grey_matter"], metric="taxicab")  # nothing lies between them here
    expected = np.where(was["fluid"] & (steps <= mm), NUMBER["grey_matter"], head.regions)
    np.testing.assert_array_equal(grown, expected)
    assert (grown[was["ventricle"]] == NUMBER["ventricle"]).all()
