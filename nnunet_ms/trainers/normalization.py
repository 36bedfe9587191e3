"""Intensity normalisation: by the middle intensities of the brain (`multi_arm_t2`), or by a fixed window (QSM)."""

import numpy as np
import numpy.typing as npt
from nnunetv2.preprocessing.normalization.default_normalization_schemes import ImageNormalization


class BrainPercentileNormalization(ImageNormalization):
    """Clip outliers, then z-score with mean and SD of the intensities inside the 1st-99th percentile of the brain.

    The brain is the non-zero region that nnU-Net found (`seg` >= 0). The paper clips without saying where; ours is the
    0.1st and 99.9th percentile, because the brightest per cent of a FLAIR brain is largely lesion and must stay apart.
    Voxels outside the brain become 0, the mean of the brain.

    References
    ----------
    .. [1] Krishnan et al., Sci Rep 13:4102, 2023, "Image preprocessing". doi:10.1038/s41598-023-31207-5

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(300, 40, (8, 32, 32)).astype(np.float32)
    >>> brain = np.zeros(image.shape, dtype=np.int8)
    >>> brain[:, :4] = -1
    >>> scheme = BrainPercentileNormalization(use_mask_for_norm=True, intensityproperties={})
    >>> normalised = scheme.run(image, brain)
    >>> float(np.abs(normalised[:, :4]).max()), round(float(normalised[:, 4:].std()), 1)
    (0.0, 1.1)
    """

    leaves_pixels_outside_mask_at_zero_if_use_mask_for_norm_is_true = True
    clip_percentiles = (0.1, 99.9)
    statistics_percentiles = (1.0, 99.0)

    def run(
        self, image: npt.NDArray[np.floating], seg: npt.NDArray[np.integer] | None = None
    ) -> npt.NDArray[np.floating]:
        """Normalise one channel.

        Parameters
        ----------
        image : (Z, Y, X) array
            Intensities, any unit.
        seg : (Z, Y, X) integer array, optional
            Negative outside the brain. Without it, or when nothing is inside, every voxel counts as brain.

        Returns
        -------
        (Z, Y, X) array of `target_dtype`
            A constant image becomes 0.
        """
        image = image.astype(self.target_dtype, copy=False)
        brain = np.ones(image.shape, dtype=bool) if seg is None or not (seg >= 0).any() else seg >= 0
        # one sort for all four; percentiles of the values that are inside the brain and not background of this channel
        low, first, last, high = np.percentile(
            image[brain],
            [
                self.clip_percentiles[0],
                self.statistics_percentiles[0],
                self.statistics_percentiles[1],
                self.clip_percentiles[1],
            ],
        )
        inside = image[brain & (image >= first) & (image <= last)]
        mean, sd = float(inside.mean()), float(inside.std())
        normalised = (np.clip(image, low, high) - mean) / max(sd, 1e-8)
        normalised[~brain] = 0
        result: npt.NDArray[np.floating] = normalised.astype(self.target_dtype, copy=False)
        return result


class QsmWindowNormalization(ImageNormalization):
    """Clip a map of susceptibility to +-300 ppb and divide by 10: the same window for everybody, 0 stays 0.

    Signs and sizes mean something in these maps (iron above, myelin below water; a rim is some 50 to 100 ppb above its
    surroundings), and a z-score by the patient's own spread would take that away. The window is ours; Pignedoli et al.
    (2026) use the same limits. What is outside of the brain becomes 0. Whether the map is one in ppb is checked where
    it is read (`images.qsm_units`).

    Examples
    --------
    >>> scheme = QsmWindowNormalization(use_mask_for_norm=True, intensityproperties={})
    >>> scheme.run(np.array([[[-900.0, -50.0, 0.0, 75.0, 400.0]]]), np.zeros((1, 1, 5), np.int8)).tolist()
    [[[-30.0, -5.0, 0.0, 7.5, 30.0]]]
    """

    leaves_pixels_outside_mask_at_zero_if_use_mask_for_norm_is_true = True
    window_ppb = 300.0
    # of the network's input: a brain then has an SD of some 2, lesions one of 4, as much as FLAIR; at 100 ppb QSM is
    # lost beside FLAIR (docs/rim.md)
    unit_ppb = 10.0

    def run(
        self, image: npt.NDArray[np.floating], seg: npt.NDArray[np.integer] | None = None
    ) -> npt.NDArray[np.floating]:
        """Normalise one channel, see `BrainPercentileNormalization.run`."""
        image = image.astype(self.target_dtype, copy=False)
        normalised = np.clip(image, -self.window_ppb, self.window_ppb) / self.unit_ppb
        if seg is not None:
            normalised[seg < 0] = 0
        result: npt.NDArray[np.floating] = normalised.astype(self.target_dtype, copy=False)
        return result
