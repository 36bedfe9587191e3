"""Rims on susceptibility maps: where the truth says so, bright at the border; and the shares of lesions' fates."""

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.simulation.images.lesion_fates import draw_rims
from nnunet_ms.simulation.images.lesion_shapes import NEVER, Lesion
from nnunet_ms.simulation.images.phantom import draw_patient, visit_masks
from nnunet_ms.simulation.images.susceptibility import susceptibility_map
from nnunet_ms.simulation.model.course import Course
from nnunet_ms.simulation.model.presets import GRIDS, SUSCEPTIBILITY


@pytest.fixture(scope="module")
def patient():
    course = Course((15.0,), (0,), (0,), (0,), 0.3)
    return draw_patient(GRIDS["trial"], course, 3, 0, qsm=True)


def test_rim_lesions_have_a_bright_border_and_others_do_not(patient):
    # Oracle: erosion by SciPy gives the border; drawn rims are brighter than other lesions' borders.
    found = visit_masks(patient, 0)
    qsm = susceptibility_map(patient.lesions, found.found, patient.anatomy, SUSCEPTIBILITY, np.random.default_rng(0))
    borders = {True: [], False: []}
    for number, lesion in enumerate(patient.lesions, start=1):
        mask = found.owner == number
        if mask.sum() >= 20:
            border = mask & ~ndimage.binary_erosion(mask, np.ones((3, 3, 1)))
            borders[lesion.rim].append(float(qsm[border].mean()))
    assert len(borders[True]) >= 1
    assert np.mean(borders[True]) > np.median(borders[False]) + 0.02  # ppm; some others touch iron-rich nuclei


def test_deep_grey_matter_holds_iron_and_white_matter_is_diamagnetic(patient):
    anatomy = patient.anatomy
    assert anatomy.iron.max() == pytest.approx(0.13, abs=0.005)
    iron_ml = (anatomy.iron > 0.08).sum() * anatomy.grid.voxel_volume_ml
    assert 1 < iron_ml < 8  # both pallida and smaller nuclei: 2-4 ml in atlases


def test_share_of_rims_is_the_published_one():
    # Zhang et al., NeuroImage Clin 2022: 177 of 4163 lesions.
    lesion = Lesion((slice(0, 5),) * 3, np.zeros((5, 5, 5), np.float32), 3.0, 0, np.ones(1), 1.0, NEVER, NEVER)
    drawn = draw_rims([lesion] * 4000, SUSCEPTIBILITY, 3.0, np.random.default_rng(0))
    assert np.mean([one.rim for one in drawn]) == pytest.approx(177 / 4163, abs=0.01)
