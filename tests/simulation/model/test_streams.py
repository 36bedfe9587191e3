import numpy as np
import pytest

from nnunet_ms.simulation.model.streams import Step, stream


def test_streams_are_those_that_numpy_spawns():
    # Oracle: SeedSequence(seed).spawn, whose children never overlap.
    for step in (Step.BASELINE, Step.READER):
        child = np.random.SeedSequence(7).spawn(len(Step))[step]
        patient = child.spawn(5)[3]
        visit = patient.spawn(3)[2]
        for spawned, found in ((child, stream(7, step)), (patient, stream(7, step, 3)), (visit, stream(7, step, 3, 2))):
            assert np.random.default_rng(spawned).random(4).tolist() == found.random(4).tolist()


def test_every_seed_step_patient_and_visit_has_its_own_numbers():
    keys = [(seed, step, patient, visit) for seed in (0, 1) for step in Step for patient in (0, 1) for visit in (0, 1)]
    drawn = [stream(seed, step, patient, visit).random() for seed, step, patient, visit in keys]
    assert len(set(drawn)) == len(keys)
    assert stream(0, Step.VOLUME, 1).random() == stream(0, Step.VOLUME, 1).random()


@pytest.mark.parametrize("step", Step)
def test_numbers_of_the_steps_are_part_of_every_simulated_trial(step):
    # Regression test: renumbering a step would change every trial that was ever made.
    order = ["ALLOCATION", "BASELINE", "VOLUME", "PROGRESSION", "ASSESSMENTS", "RELAPSES", "NEW_LESIONS", "ANATOMY"]
    order += [
        "LESIONS",
        "ACQUISITION",
        "READER",
        "COURSE",
        "QSM",
        "RESOLUTION",
        "GROWTH_READER",
        "RIM_COHORT",
        "RIM_READER",
        "DISABILITY",
        "SCANS",
    ]
    assert step.value == order.index(step.name)
