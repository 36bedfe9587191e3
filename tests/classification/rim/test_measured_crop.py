"""A measured gradient echo (healthy tissue): its phase is refused, a map made from it goes the whole way.

The map is made here by a short way: unwrap, fit over echoes, take out what varies slowly, invert. Echo times are not
told with the data, so its scale is a guess, which changes nothing of what is asked here.
"""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from skimage.restoration import unwrap_phase

from nnunet_ms.classification.rim.cohort import RimCase
from nnunet_ms.classification.rim.lesion_boxes import visit_lesions
from nnunet_ms.errors import ImageError
from nnunet_ms.images.volumes import write_volume
from nnunet_ms.simulation.images.dipole import invert, make_dipole

ECHO_STEP_S, HZ = 4.5e-3, 3 * 42.577e6  # assumed


@pytest.fixture(scope="module")
def crop(shared_data, tmp_path_factory):
    """Files of the phase of the last echo, of the map in ppb, and of the mean magnitude."""
    folder = tmp_path_factory.mktemp("crop")
    phase, magnitude = (nib.load(shared_data / "qsm_crop" / name) for name in ("Phase.nii", "Mag.nii"))
    stored = np.asarray(phase.dataobj, dtype=np.float64)
    radians = stored / np.abs(stored).max() * np.pi  # the header's factor is lost
    steps = np.angle(np.exp(1j * np.diff(radians, axis=3)))
    field = unwrap_phase(np.ma.masked_array(steps.mean(axis=3)), rng=0).filled(0) / (2 * np.pi * ECHO_STEP_S * HZ) * 1e9
    spacing = tuple(float(mm) for mm in phase.header.get_zooms()[:3])
    local = field - ndimage.gaussian_filter(field, [6 / mm for mm in spacing])
    qsm = invert(local, make_dipole(field.shape, spacing), 0.02)
    write_volume(folder / "qsm.nii.gz", np.clip(qsm, -1000, 1000).astype(np.float32), phase.affine)
    write_volume(folder / "phase.nii.gz", stored[..., 2].astype(np.float32), phase.affine)
    image = np.asarray(magnitude.dataobj, dtype=np.float64).mean(axis=3)
    write_volume(folder / "magnitude.nii.gz", image.astype(np.float32), phase.affine)
    return folder


def case(folder, qsm, lesions):
    write_volume(folder / "lesions.nii.gz", lesions.astype(np.uint8), nib.load(folder / "qsm.nii.gz").affine)
    return RimCase("P1", "base", 0.0, folder / qsm, folder / "magnitude.nii.gz", folder / "lesions.nii.gz")


def test_its_phase_is_refused_by_name(crop):
    with pytest.raises(ImageError, match=r"phase.nii.gz: expected QSM in ppb, found phase"):
        visit_lesions(case(crop, "phase.nii.gz", np.zeros((51, 51, 41))))


def test_its_magnitude_is_refused_as_ppm_would_be(crop):
    with pytest.raises(ImageError, match="expected QSM in ppb"):
        visit_lesions(case(crop, "magnitude.nii.gz", np.zeros((51, 51, 41))))


def test_its_map_goes_through_without_a_lesion_and_with_one_drawn_by_hand(crop):
    mask = np.zeros((51, 51, 41))
    assert visit_lesions(case(crop, "qsm.nii.gz", mask)).lesions == ()
    mask[20:32, 20:32, 18:24] = 1
    (lesion,) = visit_lesions(case(crop, "qsm.nii.gz", mask)).lesions
    assert lesion.voxels == 12 * 12 * 6
    assert lesion.patch.shape == (2, 8, 32, 32)
    assert lesion.padded_share > 0  # 51 voxels of 0.47 mm are 23.9 mm, less than the cube
    assert np.isfinite(lesion.patch).all()
