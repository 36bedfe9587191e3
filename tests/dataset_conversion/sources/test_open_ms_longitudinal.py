"""Two visits in the half-way space of their mask of change, on the real data."""

import cc3d
import numpy as np
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.images.volumes import read_mask, read_volume


def test_longitudinal_patients_in_the_common_space(shared_data, tmp_path):
    # Oracle: the data's README, measured for this project: FLAIR correlation .94 in the common space of patient 01,
    # 8 components of 2.96 ml brighter and 5 of 0.54 ml darker.
    source = shared_data / "open_ms_longitudinal"
    arguments = ["--dataset-id", "7", "--raw", str(tmp_path), "--folds", "2", "--target", "signed_change"]
    assert main(["open_ms_longitudinal", str(source), *arguments]) == 0
    folder = tmp_path / "Dataset007_OpenMSLongitudinal"
    first, second = (read_volume(folder / "imagesTr" / f"patient01_000{i}.nii.gz") for i in (0, 1))
    brain = read_mask(source / "patient01" / "brainmask_common.nii.gz").data > 0
    assert np.corrcoef(first.data[brain], second.data[brain])[0, 1] >= 0.94
    label = read_mask(folder / "labelsTr" / "patient01.nii.gz", labels=(0, 1, 2))
    for value, number, volume_ml in ((1, 8, 2.96), (2, 5, 0.54)):
        part = label.data == value
        assert cc3d.connected_components(part, connectivity=18).max() == number
        assert part.sum() * label.grid.voxel_volume_ml == pytest.approx(volume_ml, rel=0.05)
    other = read_mask(folder / "labelsTr" / "patient03.nii.gz", labels=(0, 1, 2)).data
    truth = read_mask(source / "patient03" / "change_gt_common.nii.gz").data
    np.testing.assert_array_equal(other > 0, truth > 0)
