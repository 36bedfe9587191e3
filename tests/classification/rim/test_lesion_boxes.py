"""Lesions of a small visit: number, boxes and cubes against places that are known, and every input that is refused."""

import numpy as np
import pytest

from nnunet_ms.classification.rim.case_images import read_case
from nnunet_ms.classification.rim.lesion_boxes import (
    BoxSettings,
    lesions_of,
    numbered_lesions,
    settings_from,
    visit_lesions,
)
from nnunet_ms.classification.rim.lesion_set import DATASET_LESIONS
from nnunet_ms.errors import ImageError, OptionError, SettingsError
from nnunet_ms.images.volumes import write_volume
from tests.classification.rim.visits import AFFINE, CENTRES, SHAPE, in_mm, volumes, write_points, write_visit


def test_confluent_lesions_are_two_and_boxes_hold_their_voxels(tmp_path):
    case = write_visit(tmp_path)
    lesions = lesions_of(case)
    qsm, _, mask, _ = volumes()
    assert len(lesions) == 3
    assert sum(lesion.voxels for lesion in lesions) == mask.sum()
    assert sorted(lesion.parts for lesion in lesions) == [1, 2, 2]
    for lesion in lesions:
        box = tuple(slice(a, a + n) for a, n in zip(lesion.first_voxel, lesion.mask.shape, strict=True))
        assert np.array_equal(lesion.qsm_ppb, qsm[box])
        assert lesion.mask.sum() == lesion.voxels
        assert (mask[box][lesion.mask] == 1).all()
        assert lesion.volume_ml == pytest.approx(lesion.voxels * 1.5e-3)
        assert list(lesion.row) == DATASET_LESIONS.names
    nearest = [min(np.linalg.norm(np.subtract(lesion.centre_mm, in_mm(c))) for c in CENTRES) for lesion in lesions]
    assert max(nearest) < 0.8
    assert len(lesions_of(case, BoxSettings(split=False))) == 2


@pytest.mark.parametrize("geometry", [(8, 32, 32), (32, 32, 32)])
def test_cubes_are_clipped_scaled_and_centred(tmp_path, geometry):
    qsm, flair, mask, brain = volumes()
    qsm[mask > 0] = 900  # beyond the clip
    case = write_visit(tmp_path, qsm=qsm)
    lesion = lesions_of(case, BoxSettings(geometry=geometry))[2]
    assert lesion.patch.shape == (2, *geometry)
    assert lesion.patch.dtype == np.float32
    assert lesion.patch[0].max() == pytest.approx(1.0, abs=1e-6)
    middle = tuple(n // 2 for n in geometry)
    inside = flair[brain > 0].astype(float)
    expected = (flair[mask > 0].mean() - inside.mean()) / inside.std()
    assert lesion.patch[0][middle] == pytest.approx(1.0, abs=1e-6)
    assert lesion.patch[1][middle[0] - 1 : middle[0] + 1, 14:18, 14:18].mean() == pytest.approx(expected, abs=0.5)
    assert lesion.brain_from == "given"


@pytest.mark.parametrize("turn", ["LPS", "ASR", "oblique"])
def test_an_image_stored_in_another_order_gives_the_same_cubes(tmp_path, turn):
    import nibabel as nib

    case = write_visit(tmp_path / "one", labels=write_points(tmp_path / "rims.csv", [(*in_mm(CENTRES[2]), 1)]))
    affine, names = AFFINE, ("qsm", "flair", "lesions", "brain_mask")
    other = write_visit(tmp_path / "two")
    if turn == "oblique":
        angle = np.deg2rad(20)
        rotation = np.eye(4)
        rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        affine = rotation @ AFFINE
    for name in names:
        image = nib.load(getattr(case, name))
        if turn == "oblique":
            write_volume(getattr(other, name), np.asanyarray(image.dataobj), affine)
        else:
            wanted = nib.orientations.axcodes2ornt(turn)
            change = nib.orientations.ornt_transform(nib.io_orientation(image.affine), wanted)
            nib.save(image.as_reoriented(change), getattr(other, name))
    centre = (affine @ [*CENTRES[2], 1.0])[:3]
    points = write_points(tmp_path / "other.csv", [(*centre, 1)])
    first = next(one for one in lesions_of(case) if one.label == 1)
    again = next(one for one in lesions_of(type(other)(**{**vars(other), "labels": points})) if one.label == 1)
    np.testing.assert_allclose(first.patch, again.patch, atol=2e-5)
    np.testing.assert_allclose(again.centre_mm, centre, atol=1e-3)


def test_files_of_one_visit_may_be_stored_in_different_orders_but_not_on_different_grids(tmp_path):
    import nibabel as nib

    case = write_visit(tmp_path)
    expected = lesions_of(case)[0].patch
    image = nib.load(case.lesions)
    flipped = image.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(AFFINE), [[0, -1], [1, 1], [2, 1]])
    )
    nib.save(flipped, case.lesions)
    np.testing.assert_array_equal(lesions_of(case)[0].patch, expected)
    shifted = AFFINE.copy()
    shifted[0, 3] += 2
    for name, data in zip(("flair", "lesions", "brain_mask"), volumes()[1:], strict=True):
        case = write_visit(tmp_path)
        write_volume(getattr(case, name), data, shifted)
        with pytest.raises(ImageError, match=rf"{name}.nii.gz: expected the grid of .*qsm.nii.gz.*Resample one onto"):
            lesions_of(case)


def test_a_lesion_at_the_border_is_padded_by_zeros_and_says_so(tmp_path):
    qsm = volumes()[0]
    mask = np.zeros(SHAPE, np.uint8)
    mask[:6, 20:28, :5] = 1
    (lesion,) = lesions_of(write_visit(tmp_path, lesions=mask, qsm=np.where(mask, 80, qsm).astype(np.float32)))
    assert lesion.touches_border
    # the cube reaches 12 mm to both sides of 2.5 voxels of 1 mm and of 2 voxels of 1.5 mm
    share = (12 + 2.5 + 0.5) / 24 * (12 + (2 + 0.5) * 1.5) / 24
    assert lesion.padded_share == pytest.approx(1 - share, abs=1e-6)
    assert (lesion.patch[0][0] == 0).all()  # below the image
    assert (lesion.patch[:, :, :, 0] == 0).all()  # left of it
    assert all(not one.touches_border for one in lesions_of(write_visit(tmp_path)))


def sparse(qsm):
    qsm[::3, ::3, ::2] = 0  # single voxels of 0, none beside another
    return qsm


@pytest.mark.parametrize(
    ("changed", "empty"),
    [
        (lambda qsm: qsm, slice(0, 0)),
        (np.rint, slice(0, 0)),  # whole numbers: 0 here and there
        (sparse, slice(0, 0)),
        (lambda qsm: np.where(np.arange(60)[:, None, None] < 18, 0, qsm), slice(0, 18)),  # the map ends in a lesion
        (lambda qsm: np.where(np.arange(60)[:, None, None] >= 42, 0, qsm), slice(42, 60)),
        (lambda qsm: np.rint(np.where(np.arange(60)[:, None, None] < 27, 0, qsm)), slice(0, 27)),
        (lambda qsm: np.where(np.abs(np.arange(60) - 31)[:, None, None] < 3, 0, qsm), slice(29, 34)),  # a hole
    ],
)
def test_the_share_of_a_lesion_without_qsm_is_told(tmp_path, changed, empty):
    case = write_visit(tmp_path, qsm=changed(volumes()[0]).astype(np.float32))
    numbers = numbered_lesions(read_case(case))
    found = [lesion.no_qsm_share for lesion in lesions_of(case)]
    wanted = [(numbers[empty] == i).sum() / (numbers == i).sum() for i in (1, 2, 3)]
    assert found == pytest.approx(wanted, abs=0.02 if changed is np.rint or empty == slice(0, 27) else 0)


def test_lesions_that_are_too_small_are_counted_with_the_rims_among_them(tmp_path):
    mask = volumes()[2]
    mask[50:52, 50:52, 30:32] = mask[50:52, 5:7, 30:32] = 1
    points = write_points(tmp_path / "rims.csv", [(*in_mm((50, 50, 30)), 1), (*in_mm(CENTRES[0]), 0)])
    found = visit_lesions(write_visit(tmp_path, lesions=mask, labels=points))
    assert (len(found.lesions), found.too_small, found.too_small_rims) == (3, 2, 1)
    assert len(lesions_of(write_visit(tmp_path, lesions=mask), BoxSettings(minimum_voxels=8))) == 5


def test_a_patient_without_a_lesion_is_no_error(tmp_path):
    points = write_points(tmp_path / "rims.csv", [])
    found = visit_lesions(write_visit(tmp_path, lesions=np.zeros(SHAPE, np.uint8), labels=points))
    assert (found.lesions, found.problems, found.too_small) == ((), (), 0)


def test_lesions_without_a_label_are_unknown_or_rim_minus_as_asked(tmp_path):
    case = write_visit(tmp_path, labels=write_points(tmp_path / "rims.csv", [(*in_mm(CENTRES[2]), 1)]))
    labels = [lesion.label for lesion in lesions_of(case)]
    assert (np.nansum(labels), np.isnan(labels).sum()) == (1, 2)
    assert sorted(one.label for one in lesions_of(case, BoxSettings(unlabelled="rim-"))) == [0, 0, 1]
    assert np.isnan([one.label for one in lesions_of(write_visit(tmp_path))]).all()  # no labels at all


def test_without_flair_its_channel_is_zero_and_without_a_brain_mask_the_nonzero_voxels_count(tmp_path):
    lesion = lesions_of(write_visit(tmp_path, flair=None, brain_mask=None))[0]
    assert (lesion.has_flair, lesion.brain_from) == (False, "nonzero QSM")
    assert (lesion.patch[1] == 0).all()
    assert lesions_of(write_visit(tmp_path, brain_mask=None))[0].brain_from == "nonzero FLAIR"


def broken(name, place, value):
    data = dict(zip(("qsm", "flair", "lesions", "brain_mask"), volumes(), strict=True))[name]
    data = data.astype(np.float32)
    data[place] = value
    return {name: data}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (broken("qsm", (0, 0, 0), np.nan), "qsm.nii.gz: expected finite voxels, found 1 NaN.*fslmaths QSM -nan"),
        (broken("qsm", (20, 30, 20), np.inf), "found 1 NaN or infinite.*compute the map again"),
        (broken("qsm", slice(None), np.nan), f"found {np.prod(SHAPE)} NaN"),
        (broken("flair", (3, 3, 3), np.nan), "flair.nii.gz: expected finite voxels"),
        ({"qsm": volumes()[0] / 1000}, "this is ppm. Multiply by 1000"),
        ({"qsm": np.random.default_rng(0).uniform(-3.14159, 3.14159, SHAPE)}, "found phase"),
        ({"flair": np.full(SHAPE, 7, np.int16)}, "found one value in all of the brain"),
        ({"brain_mask": np.zeros(SHAPE, np.uint8)}, "expected a brain mask, found no voxel"),
        ({"lesions": volumes()[2] * 2}, r"lesions.nii.gz: expected a mask with values \[0, 1\], found 2"),
        ({"lesions": volumes()[1]}, r"lesions.nii.gz: expected a mask with values \[0, 1\]"),
        ({"qsm": volumes()[0][:-1]}, "expected the grid of .*qsm.nii.gz"),
    ],
)
def test_images_that_cannot_be_meant_are_refused(tmp_path, changed, message):
    with pytest.raises(ImageError, match=message):
        lesions_of(write_visit(tmp_path, **changed))


@pytest.mark.parametrize("name", ["qsm", "flair", "lesions", "brain_mask"])
def test_a_missing_file_is_named(tmp_path, name):
    case = write_visit(tmp_path)
    getattr(case, name).unlink()
    with pytest.raises(ImageError, match=f"{name}.nii.gz: no such file"):
        lesions_of(case)


@pytest.mark.parametrize(
    "change", [{"geometry": (16, 16, 16)}, {"extent_mm": 0}, {"minimum_voxels": 0}, {"label_reach_mm": -1}]
)
def test_settings_outside_their_range_are_refused(change):
    with pytest.raises(OptionError, match=f"{next(iter(change))}: expected"):
        BoxSettings(**change)


@pytest.mark.parametrize("name", ["extent_mm", "label_reach_mm"])
@pytest.mark.parametrize("value", [1e9, np.inf, np.nan, -1.0])
def test_lengths_that_no_lesion_has_are_refused_before_memory_is_asked_for(name, value):
    with pytest.raises(OptionError, match=rf"{name}: expected a number >=? ?0, 200 at most, found"):
        BoxSettings(**{name: value})


@pytest.mark.parametrize(
    "written", [{"geometry": 8}, {"splitting": {"rise": 1}}, {"geometry": [1, 2, 3]}, {"qsm_unit": "T"}]
)
def test_settings_that_nothing_has_written_are_refused(written):
    with pytest.raises(SettingsError, match="model: expected how lesions were found and cut, found other settings"):
        settings_from(written, "model")


def test_a_brain_mask_in_the_place_of_lesions_and_lesions_of_another_visit_are_refused(tmp_path):
    brain = volumes()[3]
    case = write_visit(tmp_path, lesions=brain)
    with pytest.raises(ImageError, match=r"found 100% of the brain in it. Is it a brain mask"):
        lesions_of(case)
    elsewhere = np.zeros(SHAPE, np.uint8)
    elsewhere[40:50, 40:50, 30:] = 1
    brain[30:] = 0
    case = write_visit(tmp_path, lesions=elsewhere, brain_mask=brain)
    with pytest.raises(ImageError, match=r"found 1000 of 1000 voxels outside .*brain_mask.nii.gz. Are both of this"):
        lesions_of(case)
