import numpy as np

from nnunet_ms.trainers.normalization import BrainPercentileNormalization


def scheme():
    return BrainPercentileNormalization(use_mask_for_norm=True, intensityproperties={})


def test_mean_and_sd_of_the_middle_intensities():
    # Oracle: a normal sample cut at its 1st and 99th percentile has mean mu and SD 0.9323 sigma (truncated normal).
    rng = np.random.default_rng(0)
    image = rng.normal(500, 50, (40, 50, 50)).astype(np.float32)
    z = scheme().run(image.copy(), np.zeros(image.shape, np.int8))
    slope, intercept = np.polyfit(image.ravel()[::50], z.ravel()[::50], 1)
    assert abs(-intercept / slope - 500) < 1
    assert abs(1 / slope / 50 - 0.9323) < 0.01


def test_outliers_do_not_move_the_scale_and_are_clipped():
    rng = np.random.default_rng(0)
    image = rng.normal(500, 50, (40, 50, 50)).astype(np.float32)
    brain = np.zeros(image.shape, np.int8)
    plain = scheme().run(image.copy(), brain)
    image[0, 0, :20] = 1e6
    spiked = scheme().run(image, brain)
    assert spiked.max() < 5
    assert np.abs(spiked[1:] - plain[1:]).max() < 0.06  # 20 voxels shift the clipping by their rank


def test_outside_the_brain_is_zero_and_does_not_count():
    image = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    seg = np.full(image.shape, -1, np.int8)
    seg[5:] = 0
    z = scheme().run(image.copy(), seg)
    assert (z[:5] == 0).all()
    assert abs(z[5:].mean()) < 0.05


def test_constant_image_becomes_zero():
    assert (scheme().run(np.full((4, 4, 4), 7.0, np.float32), np.zeros((4, 4, 4), np.int8)) == 0).all()
