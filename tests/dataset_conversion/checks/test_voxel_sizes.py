"""The voxel size that nnU-Net will plan, against nnU-Net's own planner."""

from types import SimpleNamespace

import numpy as np
import pytest
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

from nnunet_ms.dataset_conversion.checks.voxel_sizes import planned_spacing

PROTOCOLS = {
    "one": [((1, 1, 1), (180, 210, 180))] * 7,
    "thick slices": [((0.9, 0.9, 6.5), (256, 256, 20))] * 9,
    "a third thin": [((1, 1, 1), (180, 210, 180))] * 3 + [((0.9, 0.9, 6.5), (256, 256, 20))] * 6,
    "one of twenty thin": [((1, 1, 1), (180, 210, 180))] + [((0.9, 0.9, 6.5), (256, 256, 20))] * 19,
    "thick along y": [((1, 5, 1), (180, 30, 180))] * 4 + [((1, 3, 1), (180, 50, 180))],
    "finer than its plane": [((1, 1, 0.5), (180, 210, 300))] * 2 + [((1, 1, 4), (180, 210, 40))] * 9,
}


@pytest.mark.parametrize("protocols", PROTOCOLS)
def test_the_planned_spacing_is_nnunets(protocols):
    # Oracle: nnU-Net 2.8's `determine_fullres_target_spacing`, which reads axes as (z, y, x).
    spacings, shapes = (np.array(values, dtype=float) for values in zip(*PROTOCOLS[protocols], strict=True))
    fingerprint = {"spacings": spacings[:, ::-1].tolist(), "shapes_after_crop": shapes[:, ::-1].tolist()}
    planner = SimpleNamespace(overwrite_target_spacing=None, dataset_fingerprint=fingerprint, anisotropy_threshold=3)
    expected = ExperimentPlanner.determine_fullres_target_spacing(planner)[::-1]
    np.testing.assert_allclose(planned_spacing(spacings, shapes), expected, atol=2e-5)
