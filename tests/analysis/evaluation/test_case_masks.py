import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.analysis.evaluation.case_masks import Extras, onto_grid, read_case
from nnunet_ms.analysis.evaluation.pairing import CaseFiles
from nnunet_ms.errors import ImageError
from nnunet_ms.images.volumes import read_mask, read_volume

AFFINE = np.array([[-1.0, 0, 0, 9], [0, 1, 0, -4], [0, 0, 3, 2], [0, 0, 0, 1]])


def labels(seed=0):
    return np.random.default_rng(seed).integers(0, 3, size=(4, 5, 6)).astype(np.uint8)


@pytest.mark.parametrize("axes", ["RAS", "PSR", "IAL", "SRP"])
def test_other_orientations_of_the_same_grid_are_turned(write_nifti, axes):
    # Oracle: nibabel's own reorientation writes the file; its inverse must be found from the affines.
    data = labels()
    reference = write_nifti("reference.nii.gz", data, affine=AFFINE)
    image = nib.Nifti1Image(data, AFFINE)
    change = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(tuple(axes)))
    turned = image.as_reoriented(change)
    path = write_nifti("turned.nii.gz", np.asarray(turned.dataobj), affine=turned.affine)
    volume = onto_grid(read_volume(path), read_volume(reference))
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.grid.affine, AFFINE)


@pytest.mark.parametrize("change", [np.diag([1, 1, 1.1, 1]), np.array([[1, 0, 0, 0.5], *np.eye(4)[1:]])])
def test_other_grids_are_refused(write_nifti, change):
    reference = read_mask(write_nifti("reference.nii.gz", labels() // 2, affine=AFFINE))
    other = read_mask(write_nifti("other.nii.gz", labels() // 2, affine=AFFINE @ change))
    with pytest.raises(ImageError, match=r"other.nii.gz: expected the grid of .*reference.nii.gz"):
        onto_grid(other, reference)


def test_labels_become_lesion_types(write_nifti):
    paths = [write_nifti(f"{name}/c.nii.gz", labels(seed), affine=AFFINE) for seed, name in enumerate(("r", "p"))]
    brain = write_nifti("brain/c.nii.gz", np.ones((4, 5, 6), np.uint8), affine=AFFINE)
    values = write_nifti("map/c.nii.gz", np.full((4, 5, 6), 0.5, np.float32), affine=AFFINE)
    extras = Extras(maps={"probability": values.parent}, brain=brain.parent)
    types = {"t1_unenhancing": 1, "t1_enhancing": 2}
    case = read_case(CaseFiles("c", paths[0], {"net": paths[1]}, "p"), types, extras)
    assert list(case.masks) == ["reference", "net"]
    for label, name in enumerate(types, start=1):
        np.testing.assert_array_equal(case.masks["net"][name].data, labels(1) == label)
    assert (case.brain_voxels, case.maps["probability"].data.mean(), case.grid.shape) == (120, 0.5, (4, 5, 6))


@pytest.mark.parametrize(("value", "shown"), [(293, "293"), (0.999, "0.999")])
def test_unknown_labels(write_nifti, value, shown):
    data = labels().astype(np.float32)
    data[0, 0, 0] = value
    path = write_nifti("r/c.nii.gz", data, affine=AFFINE)
    with pytest.raises(ImageError, match=rf"values \[0, 1, 2\], found {shown}"):
        read_case(CaseFiles("c", path, {"net": path}, "p"), {"a": 1, "b": 2}, Extras())


def test_map_of_a_case_is_missing(write_nifti):
    path = write_nifti("r/c.nii.gz", labels() // 2, affine=AFFINE)
    extras = Extras(maps={"probability": path.parent.parent})
    with pytest.raises(ImageError, match=r"c.nii.gz: no such file"):
        read_case(CaseFiles("c", path, {"net": path}, "p"), {"a": 1}, extras)


def test_empty_brain_mask(write_nifti):
    path = write_nifti("r/c.nii.gz", np.zeros((4, 5, 6), np.uint8), affine=AFFINE)
    with pytest.raises(ImageError, match="expected a brain mask, found no voxel"):
        read_case(CaseFiles("c", path, {"net": path}, "p"), {"a": 1}, Extras(brain=path.parent))
