"""Images of the phantom: masks consistent with each other, with the wanted volumes and with the intensities."""

import numpy as np
import pytest

from nnunet_ms.simulation.images.phantom import acquire_visit, draw_patient
from nnunet_ms.simulation.model.course import Course
from nnunet_ms.simulation.model.presets import GRIDS
from nnunet_ms.simulation.model.streams import Step, stream

COURSE = Course((9.0, 9.9, 8.1), (0, 3, 2), (2, 3, 2), (0, 2, 2), 0.5)


@pytest.fixture(scope="module")
def patient():
    return draw_patient(GRIDS["demo"], COURSE, seed=1, patient=0)


@pytest.fixture(scope="module")
def visits(patient):
    return [acquire_visit(patient, k, stream(1, Step.ACQUISITION, 0, k)) for k in range(3)]


def test_masks_lie_in_the_brain_and_images_are_zero_outside(visits):
    for visit in visits:
        brain = visit.masks["brain_mask"] > 0
        for name in ("t2_lesions", "t1_unenhancing", "t1_enhancing"):
            assert not visit.masks[name][~brain].any()
        for image in visit.contrasts.values():
            assert not image[~brain].any()
            assert (image[brain] > 0).all()


def test_t1_lesions_are_exclusive_parts_of_t2_lesions(visits):
    for visit in visits:
        t2, hole, enhancing = (visit.masks[n] > 0 for n in ("t2_lesions", "t1_unenhancing", "t1_enhancing"))
        assert hole.any()
        assert not (hole & enhancing).any()
        assert not ((hole | enhancing) & ~t2).any()


def test_volumes_follow_the_course(patient, visits):
    voxel = patient.anatomy.grid.voxel_volume_ml
    measured = [float(v.masks["t2_lesions"].sum()) * voxel for v in visits]
    assert measured == pytest.approx(COURSE.volume_ml, rel=0.01)


def test_new_lesions_enhance_where_there_was_none(visits):
    new = visits[1].masks["t1_enhancing"] > 0
    assert new.any()  # every new lesion of this course enhances
    assert (visits[0].masks["t2_lesions"][new] > 0).mean() < 0.2  # it may touch an old one


def test_contrasts_show_what_the_masks_say(patient, visits):
    # Oracle: radiology. T2 lesions are bright on FLAIR and T2, black holes dark on T1, enhancing lesions bright
    # on T1 after contrast agent, cerebrospinal fluid dark on FLAIR and T1 and bright on T2.
    white, csf = patient.anatomy.white > 0.9, patient.anatomy.csf > 0.9
    for visit in visits:
        t2, hole, enhancing = (visit.masks[n] > 0 for n in ("t2_lesions", "t1_unenhancing", "t1_enhancing"))
        signal = {name: {"white": np.median(image[white & ~t2])} for name, image in visit.contrasts.items()}
        for name, image in visit.contrasts.items():
            for key, where in (("t2", t2), ("hole", hole), ("enhancing", enhancing), ("csf", csf)):
                signal[name][key] = np.median(image[where]) / signal[name]["white"]
        assert signal["flair"]["t2"] > 1.15
        assert signal["t2"]["t2"] > 1.1
        assert signal["t1"]["hole"] < 0.85
        assert signal["t1post"]["enhancing"] > 1.05
        assert signal["flair"]["csf"] < 0.5
        assert signal["t1"]["csf"] < 0.5
        assert signal["t2"]["csf"] > 1.8


def test_the_same_brain_at_every_visit_and_another_for_another_patient(patient, visits):
    np.testing.assert_array_equal(visits[0].masks["brain_mask"], visits[2].masks["brain_mask"])
    other = draw_patient(GRIDS["demo"], COURSE, seed=1, patient=1)
    assert (other.anatomy.brain != patient.anatomy.brain).mean() > 0.01
    assert other.anatomy.grid.shape == patient.anatomy.grid.shape


def test_grid_is_in_mm_and_holds_the_brain(patient):
    anatomy = patient.anatomy
    assert anatomy.grid.spacing == pytest.approx((2, 2, 4))
    volume = anatomy.brain.sum() * anatomy.grid.voxel_volume_ml
    assert 1300 < volume < 2500  # the template has 1883 ml, cerebrospinal fluid included
    edges = [anatomy.brain.take(i, axis).any() for axis in (0, 1) for i in (0, -1)]
    assert not any(edges)
    np.testing.assert_allclose((anatomy.csf + anatomy.grey + anatomy.white)[anatomy.brain], 1, atol=1e-3)


def test_a_patient_without_new_lesions_and_with_one_tiny_lesion():
    course = Course((0.05,), (0,), (0,), (0,), 0.0)
    patient = draw_patient(GRIDS["demo"], course, seed=3, patient=0)
    visit = acquire_visit(patient, 0, np.random.default_rng(0))
    assert visit.masks["t2_lesions"].sum() == 3
    assert not visit.masks["t1_enhancing"].any()
    assert not visit.masks["t1_unenhancing"].any()
