"""An image that is not 0 outside, or goes below 0, is measured and written as the same image that is and does not."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms import convert
from nnunet_ms.images.appearance import appearance_of
from nnunet_ms.images.volumes import Grid, Volume, read_volume
from nnunet_ms.images.zero_level import from_zero, is_standardised, level_outside, with_zero_outside
from tests.dataset_conversion.damage import FLAIR, MASK, T1, make

AXES = np.indices((60, 70, 50)) - np.array([30, 35, 25]).reshape(3, 1, 1, 1)
BRAIN = (AXES[0] / 24) ** 2 + (AXES[1] / 29) ** 2 + (AXES[2] / 20) ** 2 < 1
GRID = Grid(BRAIN.shape, np.diag([3.0, 3.0, 3.0, 1.0]))


def scan(seed: int = 0) -> np.ndarray:
    """A brain without skull: two tissues, fluid, noise."""
    tissue = 60.0 + 40 * (np.sin(AXES[0] / 4) * np.cos(AXES[1] / 5) > 0) + 30 * (np.abs(AXES[2]) < 6)
    tissue[(np.abs(AXES) < 5).all(axis=0)] = 8
    noise = np.random.default_rng(seed).normal(0, 4, BRAIN.shape)
    return np.where(BRAIN, np.maximum(tissue + noise, 1), 0)


WAYS = {
    "standardised with all around": lambda one: (one - one.mean()) / one.std(),
    "standardised, moved in all": lambda one: (one - one[BRAIN].mean()) / one[BRAIN].std(),
    "-1 to 1": lambda one: 2 * one / one.max() - 1,
    "offset as in CT": lambda one: np.round(one - 1024).astype(np.int16),
    "offset above": lambda one: np.round(one + 100).astype(np.uint16),
    "small": lambda one: one * 1e-6 - 1e-6,
}


@pytest.mark.parametrize("way", WAYS)
def test_one_value_around_is_taken_away_and_the_image_is_as_it_was_but_for_its_scale(way):
    changed = WAYS[way](scan())
    level = level_outside(changed)
    assert level == pytest.approx(float(changed[0, 0, 0])) != 0
    back = with_zero_outside(Volume(changed, GRID, Path("t1.nii.gz"))).data
    assert back.dtype == np.float32
    assert not back[~BRAIN].any()
    rounding = 0.01 if np.issubdtype(changed.dtype, np.integer) else 1e-4
    np.testing.assert_allclose(back[BRAIN] / back[BRAIN].max(), scan()[BRAIN] / scan().max(), atol=rounding)


@pytest.mark.parametrize(
    "image",
    [
        scan(),
        scan() + np.abs(np.random.default_rng(1).normal(0, 3, BRAIN.shape)),  # a head with noise around it
        np.where(BRAIN, (scan() - 80) / 30, 0),
        np.random.default_rng(2).integers(0, 3, BRAIN.shape),  # noise of few levels
    ],
    ids=["0 around", "noise around", "standardised inside", "few levels"],
)
def test_other_images_are_left_as_they_are(image):
    assert level_outside(image) == 0
    volume = Volume(image, GRID, Path("t1.nii.gz"))
    assert with_zero_outside(volume) is volume


def test_a_brain_that_the_field_of_view_cuts_off_is_seen_too():
    cut = (scan() - 70)[:, :, 18:]
    assert level_outside(cut) == -70


def test_below_zero_is_told_from_what_resampling_leaves():
    inside = np.where(BRAIN, (scan() - scan()[BRAIN].mean()) / scan()[BRAIN].std(), 0)
    ringing = scan() + np.where(BRAIN, 0, np.random.default_rng(3).normal(0, 1, BRAIN.shape))
    assert is_standardised(inside)
    assert not is_standardised(ringing)
    assert not is_standardised(scan())
    assert from_zero(scan()).min() == 0
    moved = from_zero(inside)
    assert moved.min() == 0
    np.testing.assert_array_equal(moved != 0, inside != 0)


def test_what_is_measured_of_a_standardised_brain_is_what_is_measured_of_the_brain():
    inside = np.where(BRAIN, (scan() - scan()[BRAIN].mean()) / scan()[BRAIN].std(), 0)
    first, second = (appearance_of(Volume(one, GRID, Path("t1.nii.gz"))) for one in (scan(), inside))
    assert second.nonzero_ml == pytest.approx(first.nonzero_ml)
    assert second.head_ml == pytest.approx(first.head_ml, rel=0.05)
    assert second.asymmetry == pytest.approx(first.asymmetry, rel=1e-3)


@pytest.mark.parametrize("steps", [{}, {"reorient": True}], ids=["copied", "prepared"])
@pytest.mark.parametrize("other_grid", [False, True])
def test_conversion_writes_0_around_and_says_so(tmp_path, steps, other_grid):
    manifest = make(tmp_path / "study", {}, ["A", "B"])
    folder = tmp_path / "study" / "A"
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    nib.save(nib.Nifti1Image((scan() - 70).astype(np.float32), affine), folder / FLAIR)
    t1 = scan(1)[:, :, ::2] if other_grid else scan(1)
    thick = affine @ np.diag([1, 1, 2.0 if other_grid else 1, 1])
    nib.save(nib.Nifti1Image((t1 - 50).astype(np.float32), thick), folder / T1)
    mask = (np.abs(AXES - 10) < 3).all(axis=0).astype(np.uint8)
    nib.save(nib.Nifti1Image(mask, affine), folder / MASK)
    notes, accept = [], ("mask_contrast", "mask_threshold", "alignment")
    asked = {"channels": ("flair", "t1"), "steps": steps, "accept": accept, "say": notes.append}
    done = convert(manifest, "trial", dataset_id=7, raw=tmp_path / "raw", **asked)
    assert not done.failures
    for channel in (0, 1):
        written = read_volume(next((tmp_path / "raw").rglob(f"A_v_{channel:04d}.nii.gz")))
        assert float(written.data[0, 0, 0]) == 0
        assert written.data.min() > -1e-3
        assert np.mean(written.data == 0) == pytest.approx(np.mean(~BRAIN), abs=0.02)
    assert any("around the head it is -70 and not 0" in line for line in notes), notes
    row = pd.read_csv(next((tmp_path / "raw").rglob("cases.csv"))).set_index("case_id").loc["A_v"]
    assert ("zero_outside" in row["steps"]) if steps else ("around the head it is -70" in row["rewritten"])
