"""One plan for thin and thick slices; intensities of channels that some cases lack."""

import numpy as np
import pytest
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

from nnunet_ms.doors.planners import nnUNetPlannerMS, nnUNetPlannerMSMixed
from nnunet_ms.trainers.mixed_planner import mixed_spacing
from nnunet_ms.trainers.planner import present_intensities


def planner_of(kind, spacings, shapes, overwrite=None):
    made = object.__new__(kind)  # without the files of a dataset
    made.overwrite_target_spacing, made.UNet_vram_target_GB, made.anisotropy_threshold = overwrite, 16, 3
    made.preprocessor_name = "DefaultPreprocessor"
    made.dataset_json = {"channel_names": {"0": "flair", "1": "t2", "2": "t1"}}
    made.dataset_fingerprint = {"spacings": spacings, "shapes_after_crop": shapes}
    return made


THICK, THIN = ([6.8, 0.9, 0.9], [20, 180, 150]), ([1.0, 1.0, 1.0], [150, 180, 150])


@pytest.mark.parametrize(
    ("number_thick", "number_thin"),
    [(8, 2), (2, 8), (29, 1), (1, 29)],
)
def test_neither_protocol_decides_alone_whichever_is_the_more_frequent(number_thick, number_thin):
    cases = [THICK] * number_thick + [THIN] * number_thin
    found = planner_of(nnUNetPlannerMSMixed, *zip(*cases, strict=True)).determine_fullres_target_spacing()
    assert found[0] == pytest.approx(2.0)  # every second thin slice, by hand: 2 x 1 mm < sqrt(6.8)
    assert found[1:].tolist() == ([0.9, 0.9] if number_thick > number_thin else [1.0, 1.0])
    plain = planner_of(nnUNetPlannerMS, *zip(*cases, strict=True)).determine_fullres_target_spacing()
    assert (plain[0] < 1.1) or (plain[0] > 6)


@pytest.mark.parametrize(
    ("spacings", "expected"),
    [
        ([[1, 1, 1], [1.2, 1, 1]], [1.1, 1, 1]),  # alike: the median
        ([[3, 1, 1], [1, 1, 1], [1, 1, 1]], [3**0.5, 1, 1]),
        ([[3, 1, 1], [1, 1, 3]], [3**0.5, 1, 3**0.5]),  # slices along two axes
        ([[0.5, 0.5, 0.5], [1, 1, 1]], [0.5**0.5] * 3),
        ([[8, 0.9, 0.9], [3, 0.5, 0.5]], [24**0.5, 0.45**0.5, 0.45**0.5]),
        ([[6.5, 0.9, 0.9]], [6.5, 0.9, 0.9]),
    ],
)
def test_the_rule_by_hand(spacings, expected):
    assert mixed_spacing(spacings) == pytest.approx(np.array(expected))


def test_nnunets_own_option_decides():
    planner = planner_of(nnUNetPlannerMSMixed, [THICK[0], THIN[0]], [THICK[1], THIN[1]], (1.0, 1.0, 1.0))
    assert planner.determine_fullres_target_spacing().tolist() == [1.0, 1.0, 1.0]


def test_the_plan_is_printed_and_its_patch_fits_its_voxels(monkeypatch, capsys):
    planner = planner_of(nnUNetPlannerMSMixed, *zip(THICK, THICK, THIN, strict=True))
    monkeypatch.setattr(ExperimentPlanner, "plan_experiment", lambda _: {"plans_name": "made by nnU-Net"})
    assert planner.plan_experiment() == {"plans_name": "made by nnU-Net"}
    told = "voxels of 1 to 6.8 mm along the first axis: planned 2 mm; 1 of 3 cases are reduced, up to 2-fold, 2 interp"
    assert told in capsys.readouterr().out
    plan = planner.get_plans_for_configuration((2.0, 0.9, 0.9), (62, 182, 149), "id", 1e9, {})
    assert plan["patch_size"] == (32, 96, 96)
    assert plan["architecture"]["arch_kwargs"]["strides"][1] == (1, 2, 2)


def test_between_thick_slices_images_are_linear_and_labels_are_of_the_nearest():
    # Oracle: a ramp stays a ramp. nnU-Net's own default makes steps of it.
    ramp = np.broadcast_to(np.arange(8.0)[:, None, None], (8, 6, 6))[None].copy()
    planner = planner_of(nnUNetPlannerMSMixed, [THICK[0], THIN[0]], [THICK[1], THIN[1]])
    function, settings, labels, of_labels = planner.determine_resampling()
    wide = [(7.0, 1.0, 1.0), (1.0, 1.0, 1.0)]
    fine = function(ramp, (56, 6, 6), *wide, **settings)[0, :, 3, 3]
    expected = np.clip((np.arange(56) + 0.5) / 7 - 0.5, 0, 7)
    np.testing.assert_allclose(fine, expected, atol=1e-5)
    plain = planner_of(nnUNetPlannerMS, [THICK[0]], [THICK[1]]).determine_resampling()[1]
    assert len(np.unique(function(ramp, (56, 6, 6), *wide, **plain)[0, :, 3, 3].round(3))) == 8
    assert set(np.unique(labels((ramp > 3).astype(np.float32), (56, 6, 6), *wide, **of_labels))) == {0, 1}
    back, of_back = planner.determine_segmentation_softmax_export_fn()
    slices = np.asarray(back(fine[None, :, None, None] * np.ones((1, 56, 6, 6)), (8, 6, 6), *wide[::-1], **of_back))
    np.testing.assert_allclose(slices[0, 1:-1, 3, 3], np.arange(1.0, 7.0), atol=1e-5)


class Reader:
    """Images and masks in memory, in the place of files."""

    def read_images(self, names):
        return np.stack([IMAGES[name] for name in names]), {}

    def read_seg(self, _):
        return MASK, {}


MASK = np.zeros((1, 4, 5, 6), np.uint8)
MASK[0, 1:3, 2:4] = 1
IMAGES = {f"{case}{channel}": np.full((4, 5, 6), value, np.float32) for case, channel, value in
          (("a", 0, 10), ("a", 1, 50), ("b", 0, 20), ("b", 1, 0), ("c", 0, 0), ("c", 1, 70))}  # fmt: skip


@pytest.mark.parametrize(
    ("lacking", "expected"),
    [
        ({"b": {1}}, {"1": 60.0}),
        ({"b": {1}, "c": {0}}, {"0": 15.0, "1": 60.0}),
        ({"a": {1}, "b": {1}, "c": {1}}, {}),  # nobody has it: nnU-Net's zeros stay
    ],
)
def test_intensities_of_a_channel_are_of_cases_that_have_it(lacking, expected):
    dataset = {case: {"images": [f"{case}0", f"{case}1"], "label": ""} for case in "abc"}
    found = present_intensities(dataset, lacking, Reader())
    assert {channel: values["mean"] for channel, values in found.items()} == expected
    for values in found.values():
        assert values["min"] > 0
        assert set(values) == {"mean", "median", "std", "min", "max", "percentile_99_5", "percentile_00_5"}
