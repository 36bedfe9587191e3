"""One independent random stream per patient and step, whatever the order or the process in which they are used."""

from enum import IntEnum

import numpy as np


class Step(IntEnum):
    """What a stream is for. The numbers are part of every simulated trial: append, never renumber."""

    ALLOCATION = 0
    BASELINE = 1
    VOLUME = 2
    PROGRESSION = 3
    ASSESSMENTS = 4
    RELAPSES = 5
    NEW_LESIONS = 6
    ANATOMY = 7
    LESIONS = 8
    ACQUISITION = 9
    READER = 10
    COURSE = 11
    QSM = 12
    RESOLUTION = 13
    GROWTH_READER = 14
    RIM_COHORT = 15
    RIM_READER = 16
    DISABILITY = 17
    SCANS = 18


def stream(seed: int, step: Step, *index: int) -> np.random.Generator:
    """Return the generator of `step` for `index` (patient, then visit where there is one).

    The keys are those that `SeedSequence(seed).spawn` hands out, so streams do not overlap and patient 7 is the
    same in a trial of 10 and of 800 patients.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(step), *index)))
