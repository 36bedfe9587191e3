"""Change between visits by hand on small masks; the numbers themselves have their oracles in `test_change`."""

from pathlib import Path

import numpy as np
import pytest

from nnunet_ms.cases_table import Place
from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.lesions.visits import NOT_RISING, Counting, MaskFile, Seen, change_since, patient_visits

GRID = Grid((12, 12, 6), np.eye(4))


def seen(visit, week, *boxes, grid=GRID):
    data = np.zeros(grid.shape, dtype=np.uint8)
    for x in boxes:
        data[x : x + 3, 2:5, 1:4] = 1
    return Seen(visit, week, Volume(data, grid, Path(visit)))


def test_new_and_resolved_lesions_of_two_visits():
    columns, rows = change_since(seen("a", 0, 1), seen("b", 24, 7))
    assert (columns["new_lesion_count"], columns["resolved_lesion_count"], columns["previous_week"]) == (1, 1, 0)
    assert rows["changed_ml"].tolist() == [0.027, 0.027]


@pytest.mark.parametrize("weeks", [(24, 24), (24, 0), (float("nan"), 24), (0, float("nan"))])
def test_weeks_that_do_not_rise_are_not_compared(weeks):
    columns, rows = change_since(seen("a", weeks[0], 1), seen("b", weeks[1], 1))
    assert (columns, rows) == ({"change_note": NOT_RISING}, None)


def test_another_grid_is_noted_and_nothing_is_guessed():
    columns, rows = change_since(seen("a", 0, 1, grid=Grid(GRID.shape, np.diag([2.0, 1, 1, 1]))), seen("b", 24, 1))
    assert rows is None
    assert set(columns) == {"change_note"}
    assert "grid" in columns["change_note"]


def test_a_damaged_visit_is_left_out_and_the_next_compared_with_the_one_before(write_nifti, tmp_path):
    paths = [write_nifti(f"{v}.nii.gz", seen(v, 0, *b).mask.data) for v, b in {"a": [1], "b": [], "c": [1, 7]}.items()]
    paths[1].write_bytes(b"no image")
    masks = [MaskFile(p.name[0], p, Place("P", p.name[0], 12.0 * i)) for i, p in enumerate(paths)]
    rows = patient_visits(masks, Counting("r", "any", 6, lambda ml: 1, {"x": 1}))
    assert [failure.case for failure in rows.failures] == ["b"]
    table = rows.visit_table()
    assert table["case_id"].tolist() == ["a", "c"]
    assert table["previous_visit"].tolist() == [None, "a"] or table["previous_visit"].isna().tolist() == [True, False]
    assert table["new_lesion_count"].tolist()[1] == 1
