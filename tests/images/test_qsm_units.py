"""Maps of susceptibility in ppb are let through; ppm, phase of many kinds and empty images are refused."""

import numpy as np
import pytest

from nnunet_ms.errors import ImageError
from nnunet_ms.images.qsm_units import check_qsm, qsm_fault

RNG = np.random.default_rng(7)


def brain(noise=12.0):
    """A map as the literature describes it, in ppb: white -30, grey 20, nuclei 150, two veins of 300, lesions, rims."""
    means = np.repeat([-30.0, 20.0, 150.0, 300.0, 90.0], [6000, 4000, 200, 30, 60])
    return means + noise * RNG.standard_normal(means.size)


PPB = {
    "brain": brain(),
    "without noise": brain(0.0),
    "noisy": brain(60.0),
    "crop of one lesion": np.concatenate([RNG.normal(20, 15, 700), RNG.normal(90, 15, 60)]),
    "crop of a nucleus": RNG.normal(130, 40, 500),
    "with air around": np.concatenate([np.zeros(90_000), brain()]),
    "a bleed": np.concatenate([brain(), RNG.normal(900, 100, 300)]),
}
FAULTS = {
    "ppm": (brain() / 1000, "ppm.* multiply it by 1000"),
    "ppm with air": (np.concatenate([np.zeros(90_000), brain() / 1000]), "multiply it by 1000"),
    "ppm with a few bad voxels": (np.concatenate([brain() / 1000, [40.0, -30.0]]), "multiply it by 1000"),
    "ppm crop": (RNG.normal(0.02, 0.03, 300), "multiply it by 1000"),
    "phase -pi to pi": (RNG.uniform(-np.pi, np.pi, 9000), "in radians: a phase image"),
    "phase 0 to 2 pi": (RNG.uniform(0, 2 * np.pi, 9000), "in radians: a phase image"),
    "phase in degrees": (RNG.uniform(-180, 180, 9000), "in degrees: a phase image"),
    "phase 0 to 360": (RNG.uniform(0, 360, 9000), "in degrees: a phase image"),
    "phase 0 to 4095": (RNG.integers(0, 4096, 9000), "raw phase image"),
    "phase -4096 to 4094": (RNG.integers(-4096, 4095, 9000), "raw phase image"),
    "phase, filtered, around 2048": (RNG.normal(2048, 90, 9000), "raw phase image"),
    "phase, filtered, in radians": (RNG.normal(0, 0.08, 9000), "filtered phase image in radians"),
    "phase, stored in thousandths": (RNG.uniform(-0.0037, 0.0037, 9000), "a phase image, scaled"),
    "parts per trillion": (brain() * 1000, "parts per trillion"),
    "nothing": (np.zeros(500), "found 0 voxels with a value"),
    "no number": (np.full(500, np.nan), "found 0 voxels with a value"),
}


@pytest.mark.parametrize("values", PPB.values(), ids=PPB.keys())
def test_maps_in_ppb_are_let_through(values):
    check_qsm(values, "qsm.nii.gz")
    check_qsm(-values, "qsm.nii.gz")  # another sign convention is not a fault of units


@pytest.mark.parametrize(("values", "told"), FAULTS.values(), ids=FAULTS.keys())
def test_what_is_no_map_in_ppb_is_refused_with_the_next_step(values, told):
    with pytest.raises(ImageError, match=rf"qsm\.nii\.gz: expected QSM in ppb.*{told}"):
        check_qsm(values, "qsm.nii.gz")


def test_only_the_brain_counts_where_there_is_a_mask():
    outside = RNG.uniform(-4000, 4000, 3 * brain().size)
    values = np.concatenate([brain(), outside])
    inside = np.arange(values.size) < brain().size
    assert qsm_fault(values, inside) == ""
    assert "raw phase" in qsm_fault(values)


def test_conversion_that_the_message_names_makes_a_map_that_is_let_through():
    ppm = (brain() / 1000).astype(np.float32).reshape(-1, 10)
    assert "1000" in qsm_fault(ppm)
    assert qsm_fault(1000 * ppm) == ""
