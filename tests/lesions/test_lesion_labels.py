"""Labels on two touching lesions and one apart: those that fit, and those that are listed instead."""

import numpy as np
import pytest

from nnunet_ms.errors import ImageError, TableError
from nnunet_ms.images.volumes import Grid, write_volume
from nnunet_ms.lesions.confluent import split_confluent
from nnunet_ms.lesions.lesion_labels import label_lesions
from tests.classification.rim.visits import AFFINE, CENTRES, SHAPE, SPACING, in_mm, lesion_mask, write_points

GRID = Grid(SHAPE, AFFINE)


@pytest.fixture(scope="module")
def lesions():
    numbers = split_confluent(lesion_mask(), SPACING)
    assert numbers.max() == 3
    return numbers


def of(lesions, place):
    return int(lesions[place]) - 1


def test_each_point_labels_the_lesion_it_lies_in(lesions, tmp_path):
    path = write_points(tmp_path / "rims.csv", [(*in_mm(CENTRES[0]), 1), (*in_mm(CENTRES[1]), 0)])
    found = label_lesions(path, lesions, GRID)
    assert found.problems == ()
    assert found.values[of(lesions, CENTRES[0])] == 1
    assert found.values[of(lesions, CENTRES[1])] == 0
    assert np.isnan(found.values[of(lesions, CENTRES[2])])


def test_a_point_outside_is_listed_with_the_nearest_lesion_and_its_distance(lesions, tmp_path):
    place = np.add(CENTRES[2], [0, 10, 0])  # 10 mm away from the centre of a ball whose voxels reach 6 mm
    path = write_points(tmp_path / "rims.csv", [(*in_mm(place), 1)])
    (problem,) = label_lesions(path, lesions, GRID).problems
    assert (problem.kind, problem.label, problem.lesion_id) == ("outside", 1, of(lesions, CENTRES[2]) + 1)
    assert problem.distance_mm == pytest.approx(4.0)
    assert "nearest, 4.0 mm away" in problem.reason
    reached = label_lesions(path, lesions, GRID, reach_mm=4.5)
    assert [one.kind for one in reached.problems] == ["moved"]
    assert reached.values[of(lesions, CENTRES[2])] == 1


@pytest.mark.parametrize("place", [(-5, 3, 3), (100, 100, 100), (-1e4, 0, 0)])
def test_a_point_outside_the_image_is_listed_too(lesions, tmp_path, place):
    path = write_points(tmp_path / "rims.csv", [(*in_mm(place), 0)])
    (problem,) = label_lesions(path, lesions, GRID).problems
    assert problem.kind == "outside"
    assert problem.distance_mm > 5


def test_two_labels_of_both_kinds_leave_a_lesion_without_one(lesions, tmp_path):
    first, second = CENTRES[2], np.add(CENTRES[2], [1, 0, 0])
    path = write_points(tmp_path / "rims.csv", [(*in_mm(first), 1), (*in_mm(second), 0)])
    found = label_lesions(path, lesions, GRID)
    assert [one.kind for one in found.problems] == ["conflict", "conflict"]
    assert np.isnan(found.values).all()
    assert "labels of both kinds" in found.problems[0].reason


def test_equal_labels_of_one_lesion_count_once(lesions, tmp_path):
    first, second = CENTRES[2], np.add(CENTRES[2], [1, 0, 0])
    path = write_points(tmp_path / "rims.csv", [(*in_mm(first), 1), (*in_mm(second), 1)])
    found = label_lesions(path, lesions, GRID)
    assert [one.kind for one in found.problems] == ["doubled"]
    assert np.nansum(found.values) == 1


def test_two_labels_in_one_component_are_resolved_by_splitting_and_in_conflict_without(lesions, tmp_path):
    path = write_points(tmp_path / "rims.csv", [(*in_mm(CENTRES[0]), 1), (*in_mm(CENTRES[1]), 0)])
    assert label_lesions(path, lesions, GRID).problems == ()
    merged = np.where(lesions == of(lesions, CENTRES[1]) + 1, of(lesions, CENTRES[0]) + 1, lesions)
    assert {one.kind for one in label_lesions(path, merged, GRID).problems} == {"conflict"}


def test_labels_of_a_visit_without_lesions_are_listed(tmp_path):
    path = write_points(tmp_path / "rims.csv", [(*in_mm(CENTRES[0]), 1)])
    found = label_lesions(path, np.zeros(SHAPE, np.int32), GRID)
    assert found.values.size == 0
    assert found.problems[0].lesion_id is None
    assert "no lesion" in found.problems[0].reason


def image(tmp_path, lesions, values, affine=AFFINE, more=()):
    data = np.array([0, *values], np.uint8)[lesions]
    for place, value in more:
        data[place] = value
    write_volume(tmp_path / "labels.nii.gz", data, affine)
    return tmp_path / "labels.nii.gz"


def test_an_image_labels_lesions_by_its_voxels(lesions, tmp_path):
    found = label_lesions(image(tmp_path, lesions, [2, 1, 0]), lesions, GRID)
    assert found.values[:2].tolist() == [1, 0]
    assert np.isnan(found.values[2])
    assert found.problems == ()


def test_a_few_voxels_of_the_other_kind_do_not_count_but_half_does(lesions, tmp_path):
    i = of(lesions, CENTRES[0])
    places = np.argwhere(lesions == i + 1)
    values = [2 if k == i else 0 for k in range(3)]
    few = image(tmp_path, lesions, values, more=[(tuple(p), 1) for p in places[:20]])
    assert label_lesions(few, lesions, GRID).values[i] == 1
    half = image(tmp_path, lesions, values, more=[(tuple(p), 1) for p in places[: len(places) // 2]])
    found = label_lesions(half, lesions, GRID)
    assert np.isnan(found.values[i])
    assert [one.kind for one in found.problems] == ["conflict", "conflict"]


def test_a_labelled_region_outside_all_lesions_is_listed(lesions, tmp_path):
    path = image(tmp_path, lesions, [1, 1, 1], more=[((5, 5, 5), 2), ((5, 6, 5), 2)])
    (problem,) = label_lesions(path, lesions, GRID).problems
    assert (problem.kind, problem.label) == ("outside", 1)
    assert problem.place_mm == pytest.approx(tuple(in_mm((5, 5.5, 5))))


def test_an_image_on_another_grid_is_refused(lesions, tmp_path):
    with pytest.raises(ImageError, match="expected the grid of the QSM"):
        label_lesions(image(tmp_path, lesions, [1, 1, 1], affine=np.diag([1, 1, 2, 1.0])), lesions, GRID)


def test_values_that_are_no_label_are_refused(lesions, tmp_path):
    with pytest.raises(ImageError, match=r"expected a mask with values \[0, 1, 2\], found 3"):
        label_lesions(image(tmp_path, lesions, [1, 2, 3]), lesions, GRID)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, 2, 3, 2)], "column label: expected a whole number from 0 to 1, found '2'.*Write 1 for rim"),
        ([(1, 2, 3, 0.5)], "column label: expected a whole number"),
        ([(1, 2, 3, 1), (1, 2, 3, 0)], r"row 2: a label stands at \[1.0, 2.0, 3.0\] mm already"),
        ([(1, float("nan"), 3, 1)], "column y_mm: expected a number"),
    ],
)
def test_rows_that_are_no_label_are_refused(lesions, tmp_path, rows, message):
    with pytest.raises(TableError, match=message):
        label_lesions(write_points(tmp_path / "rims.csv", rows), lesions, GRID)


def test_a_missing_table_is_named(lesions, tmp_path):
    with pytest.raises(TableError, match="no such file"):
        label_lesions(tmp_path / "rims.csv", lesions, GRID)


@pytest.mark.parametrize("chosen", [CENTRES, CENTRES[:2], CENTRES[1:]])
@pytest.mark.parametrize(
    ("read_as", "place"),
    [("LPS", lambda c: in_mm(c) * [-1, -1, 1]), ("voxels from 0", lambda c: np.array(c, float))],
)
def test_points_in_another_frame_are_refused_with_the_conversion(lesions, tmp_path, chosen, read_as, place):
    path = write_points(tmp_path / "rims.csv", [(*place(centre), i % 2) for i, centre in enumerate(chosen)])
    with pytest.raises(
        TableError, match=rf"found 0 of {len(chosen)} in lesions, but {len(chosen)} if they are {read_as}"
    ):
        label_lesions(path, lesions, GRID)


def test_one_point_alone_does_not_tell_its_frame(lesions, tmp_path):
    path = write_points(tmp_path / "rims.csv", [(*(in_mm(CENTRES[0]) * [-1, -1, 1]), 1)])
    assert [problem.kind for problem in label_lesions(path, lesions, GRID).problems] == ["outside"]


@pytest.mark.parametrize("value", ["1e300", "-1e6", "inf", "nan"])
def test_places_that_no_scanner_has_are_refused(lesions, tmp_path, value):
    (tmp_path / "rims.csv").write_text(f"x_mm,y_mm,z_mm,label\n{value},0,0,1\n")
    with pytest.raises(TableError, match=r"row 1, column x_mm: expected a number from -100000 to 100000, found"):
        label_lesions(tmp_path / "rims.csv", lesions, GRID)


@pytest.mark.parametrize("name", ["rims.xlsx", "rims.ods", "rims.json", "rims"])
def test_labels_in_another_kind_of_file_are_told_what_to_save_as(lesions, tmp_path, name):
    (tmp_path / name).write_text("x_mm,y_mm,z_mm,label\n0,0,0,1\n")
    with pytest.raises(TableError, match=r"expected a CSV of points or a NIfTI image of labels.*Save .* as CSV UTF-8"):
        label_lesions(tmp_path / name, lesions, GRID)
