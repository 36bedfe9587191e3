import re

import numpy as np
import pytest
from PIL import Image

from nnunet_ms.analysis.evaluation.evaluate import evaluate
from nnunet_ms.analysis.evaluation.matching import match_masks
from nnunet_ms.analysis.evaluation.rules import RULES
from nnunet_ms.analysis.evaluation.worst_case_pictures import BLUE, PURPLE, RED, mosaic, overlay, slices_of_case
from nnunet_ms.errors import ImageError
from nnunet_ms.images.volumes import Volume, write_volume
from tests.lesions.naive_matching import volume

RULE = RULES["krishnan2023"]
AFFINE = np.diag([-1.0, 1.0, 3.0, 1.0])


def masks():
    """Reference and prediction: one lesion shared in part, one missed (slice 2), one false (slice 7)."""
    reference, prediction = np.zeros((20, 24, 10)), np.zeros((20, 24, 10))
    reference[4:8, 4:8, 5] = prediction[5:9, 4:8, 5] = 1
    reference[12:15, 15:18, 2] = 1
    prediction[3:6, 18:21, 7] = 1
    return reference, prediction


def test_colours_by_hand():
    reference, prediction = np.array([[1, 1, 0, 0]], bool), np.array([[1, 0, 1, 0]], bool)
    rgb = overlay(np.zeros((1, 4)), reference, prediction)
    for place, colour in enumerate((PURPLE, RED, BLUE, (0, 0, 0))):
        assert rgb[0, place] == pytest.approx(0.75 * np.array(colour))


def test_slices_and_marks_are_where_the_lesions_are():
    # By hand. The affine runs from right to left, as the picture does, so it shows x as stored, from front to back.
    reference, prediction = (volume(mask, AFFINE) for mask in masks())
    slices = slices_of_case(match_masks(reference, prediction, RULE), reference, prediction, None)
    by_caption = {one.caption: one for one in slices}
    assert set(by_caption) == {"axial slice 2", "axial slice 5", "axial slice 7"}
    marks = {name: [mark.is_missed for mark in one.marks] for name, one in by_caption.items()}
    assert marks == {"axial slice 2": [True], "axial slice 5": [], "axial slice 7": [False]}
    missed = by_caption["axial slice 2"]
    rows, columns = np.nonzero(missed.rgb[..., 0] > 0.5)
    mark = missed.marks[0]
    assert (mark.column_mm, mark.row_mm) == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5))
    assert missed.view.pixel_mm == (1, 1)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_patients_left_is_on_the_right_hand_side(sign):
    # Oracle: the page that shows the pictures says so; in RAS, x grows to the patient's right.
    affine = np.diag([sign, 1.0, 3.0, 1.0])
    affine[0, 3] = -sign * 9.5  # x = 0 in the middle
    reference = np.zeros((20, 24, 10))
    x = affine[0, 0] * np.arange(20) + affine[0, 3]
    reference[(x > -8) & (x < -4), 10:14, 5] = 1  # on the left
    reference, nothing = volume(reference, affine), volume(np.zeros((20, 24, 10)), affine)
    image = Volume(np.random.default_rng(0).random((20, 24, 10)), reference.grid, reference.path)  # the whole is shown
    worst = slices_of_case(match_masks(reference, nothing, RULE), reference, nothing, image)[0]
    red = np.argwhere(worst.rgb[..., 0] - worst.rgb[..., 2] > 0.5)[:, 1]
    assert set(red) == {14, 15, 16, 17}
    assert worst.marks[0].column_mm == pytest.approx(16.0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_storage_order_does_not_change_the_picture(order):
    reference, prediction = masks()
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for new, old in enumerate(order):
        matrix[:, new] += AFFINE[:, old]
    pictures = []
    for axes, affine in (((0, 1, 2), AFFINE), (order, matrix)):
        pair = [volume(mask.transpose(axes), affine) for mask in (reference, prediction)]
        pictures.append(slices_of_case(match_masks(*pair, RULE), *pair, None))
    assert [one.caption for one in pictures[0]] == [one.caption for one in pictures[1]]
    for first, second in zip(*pictures, strict=True):
        np.testing.assert_array_equal(first.rgb, second.rgb)
        assert first.marks == second.marks


def test_no_lesion_at_all():
    none = volume(np.zeros((20, 24, 10)), AFFINE)
    image = Volume(np.random.default_rng(0).random((20, 24, 10)), none.grid, none.path)
    (only,) = slices_of_case(match_masks(none, none, RULE), none, none, image)
    assert (only.caption, only.marks, only.rgb.shape) == ("axial slice 5", [], (24, 20, 3))


@pytest.fixture
def folders(tmp_path, no_figures):
    reference, prediction = masks()
    image = np.random.default_rng(0).random(reference.shape).astype(np.float32)
    for case, guess in (("good", reference), ("bad", prediction), ("none", np.zeros_like(reference))):
        write_volume(tmp_path / "r" / f"{case}.nii.gz", reference.astype(np.uint8), AFFINE)
        write_volume(tmp_path / "p" / f"{case}.nii.gz", guess.astype(np.uint8), AFFINE)
        write_volume(tmp_path / "images" / f"{case}_0000.nii.gz", image, AFFINE)
    return tmp_path


def test_page_lists_the_worst_first_and_shows_its_pictures(folders):
    out = folders / "out"
    evaluate(folders / "p", folders / "r", out, qc=2, images=folders / "images", note="simulated")
    page = (out / "qc.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2 id=.*?>(.*?)</h2>", page) == ["none", "bad"]
    assert "2 of 3 masks, sorted by dice under rule krishnan2023" in page
    assert "simulated data" in page
    for name in re.findall(r'src="(.*?)"', page):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100
    assert len(list((out / "qc").iterdir())) == 3


def test_pictures_without_images_and_a_second_run(folders):
    for _ in range(2):
        evaluate(folders / "p", folders / "r", folders / "out", qc=5)
    assert {path.name for path in (folders / "out" / "qc").iterdir()} == {
        *(f"000{n}.png" for n in (1, 2, 3)),
        "contact_sheet.png",
    }


def test_missing_image_is_named(folders):
    (folders / "images" / "bad_0000.nii.gz").unlink()
    with pytest.raises(ImageError, match=r"case bad: .*expected bad_0000.nii.gz or bad.nii.gz, found neither"):
        evaluate(folders / "p", folders / "r", folders / "out", qc=3, images=folders / "images")
    assert not (folders / "out").exists()


def test_each_slice_stands_beside_the_image_alone_and_says_whose_side_is_where():
    reference, prediction = (volume(mask, AFFINE) for mask in masks())
    match = match_masks(reference, prediction, RULE)
    image = Volume(np.random.default_rng(0).random((20, 24, 10)), reference.grid, reference.path)
    for shown, per_slice in ((image, 2), (None, 1)):
        slices = slices_of_case(match, reference, prediction, shown)
        drawn = [axes for axes in mosaic(slices, "case").axes if axes.images]
        assert len(drawn) == per_slice * len(slices)
        assert all([text.get_text() for text in axes.texts] == ["R", "L"] for axes in drawn)
    alone, with_masks = mosaic(slices_of_case(match, reference, prediction, image), "case").axes[:2]
    assert alone.get_title() == "image alone"
    assert alone.images[0].get_array().ndim == 2
    assert list(alone.patches) == []
    assert with_masks.images[0].get_array().ndim == 3
