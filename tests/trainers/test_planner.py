import numpy as np
import pytest

from nnunet_ms.trainers.planner import estimated_gpu_memory_gb, nnUNetPlannerMS


@pytest.fixture
def planner():
    made = object.__new__(nnUNetPlannerMS)  # without the files of a dataset
    made.UNet_vram_target_GB = 16
    made.dataset_json = {"channel_names": {"0": "flair", "1": "t2", "2": "t1"}}
    return made


def test_the_papers_patch_at_its_spacing(planner):
    assert planner.patch_for((3, 1, 1), (61, 218, 182)) == (32, 96, 96)


def test_isotropic_voxels_get_a_cube(planner):
    assert planner.patch_for((1, 1, 1), (182, 218, 182)) == (64, 64, 64)


def test_small_images_shrink_the_patch(planner):
    assert planner.patch_for((6.5, 0.9, 0.9), (20, 192, 156)) == (20, 96, 96)
    assert planner.patch_for((4, 2, 2), (36, 90, 73)) == (32, 96, 80)


@pytest.mark.parametrize("gigabytes", [2, 4, 8])
def test_little_memory_shrinks_the_patch_and_keeps_the_batch(planner, gigabytes):
    planner.UNet_vram_target_GB = gigabytes
    patch = planner.patch_for((3, 1, 1), (61, 218, 182))
    assert np.prod(patch) < 32 * 96 * 96
    assert estimated_gpu_memory_gb(patch, 10) <= gigabytes
    assert all(p % d == 0 for p, d in zip(patch, (4, 8, 8), strict=True))


def test_configuration_names_our_normalisation_and_four_levels(planner):
    planner.preprocessor_name = "DefaultPreprocessor"
    plan = planner.get_plans_for_configuration((3, 1, 1), (61, 218, 182), "id", 1e9, {})
    assert plan["batch_size"] == 10
    assert plan["normalization_schemes"] == ["BrainPercentileNormalization"] * 3
    assert plan["architecture"]["arch_kwargs"]["strides"] == ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    assert planner.get_plans_for_configuration((1, 1), (218, 182), "id", 1e9, {}) == {}
