import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.classification.rim.lesion_boxes import BoxSettings, visit_lesions
from nnunet_ms.classification.rim.predicted_masks import read_numbered, write_rim_mask
from nnunet_ms.errors import TableError
from tests.classification.rim.visits import AFFINE, in_mm, lesion_mask, write_visit

SETTINGS = BoxSettings()


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    case = write_visit(tmp_path_factory.mktemp("visit"))
    return case, pd.DataFrame([lesion.row for lesion in visit_lesions(case, SETTINGS).lesions])


def test_the_mask_holds_the_lesions_that_are_called_rim_and_no_other(visit, tmp_path):
    case, rows = visit
    rows = rows.assign(rim=[0, 1, 1])
    write_rim_mask(tmp_path / "rim.nii.gz", *read_numbered(case, rows, SETTINGS), rows)
    image = nib.load(tmp_path / "rim.nii.gz")
    mask = np.asarray(image.dataobj)
    assert np.array_equal(image.affine, AFFINE)
    assert set(np.unique(mask)) == {0, 2, 3}
    assert not (mask.astype(bool) & ~lesion_mask()).any()
    for row in rows[rows["rim"] == 1].itertuples():
        its = np.argwhere(mask == row.lesion_id)
        assert len(its) == row.voxels
        np.testing.assert_allclose(in_mm(its.mean(axis=0)), [row.x_mm, row.y_mm, row.z_mm], atol=1e-9)


def test_without_a_rim_the_mask_is_empty(visit, tmp_path):
    case, rows = visit
    rows = rows.assign(rim=0)
    write_rim_mask(tmp_path / "rim.nii.gz", *read_numbered(case, rows, SETTINGS), rows)
    assert not np.asarray(nib.load(tmp_path / "rim.nii.gz").dataobj).any()


@pytest.mark.parametrize(("lesion", "voxels"), [(2, 17), (9, 40)])
def test_a_mask_that_was_changed_since_is_refused(visit, lesion, voxels):
    case, rows = visit
    rows = rows.assign(lesion_id=[1, lesion, 3], voxels=[rows["voxels"][0], voxels, rows["voxels"][2]])
    with pytest.raises(TableError, match=rf"lesion {lesion}: expected {voxels} voxels as in lesions\.csv, found"):
        read_numbered(case, rows, SETTINGS)
