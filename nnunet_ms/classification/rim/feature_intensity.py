"""First-order features of a lesion: its values, and their histogram in bins of 25 ppb.

Definitions and the treatment of constant lesions are PyRadiomics' (van Griethuysen et al., Cancer Res 2017;77:e104-7).
"""

import numpy as np

from nnunet_ms.arrays import Floats, Ints

BIN_WIDTH_PPB = 25.0
EPSILON = float(np.spacing(1.0))  # inside the logarithms of PyRadiomics


def grey_levels(values: Floats) -> Ints:
    """Number of the bin of each value, from 1: bins are 25 ppb wide, begin at multiples of 25 and are open above.

    Parameters
    ----------
    values : (N,) float array
        In ppb, N >= 1.

    Returns
    -------
    (N,) int array
        1 in the bin of the smallest value.

    Examples
    --------
    >>> grey_levels(np.array([54.0, 74.9, 75.0, 166.0])).tolist()
    [1, 1, 2, 5]
    """
    smallest = values.min()
    lowest = smallest - smallest % BIN_WIDTH_PPB
    edges = np.arange(lowest, values.max() + 2 * BIN_WIDTH_PPB, BIN_WIDTH_PPB)
    return np.digitize(values, edges).astype(np.int64)


def first_order(values: Floats, levels: Ints, voxel_mm3: float) -> dict[str, float]:
    """The 18 first-order features of PyRadiomics.

    Parameters
    ----------
    values : (N,) float array
        In ppb.
    levels : (N,) int array
        Of `grey_levels`.
    voxel_mm3 : float
        Volume of a voxel.

    Returns
    -------
    dict of str to float
        Skewness and kurtosis (not the excess) are 0 where all values are equal.

    Examples
    --------
    >>> values = np.array([0.0, 10.0, 20.0, 90.0])
    >>> found = first_order(values, grey_levels(values), 1.0)
    >>> found["Median"], found["Uniformity"]
    (15.0, 0.625)
    """
    mean = values.mean()
    low, first, middle, third, high = np.percentile(values, (10, 25, 50, 75, 90))
    robust = values[(values >= low) & (values <= high)]
    energy = float((values**2).sum())
    second, third_moment, fourth = (float(((values - mean) ** power).mean()) for power in (2, 3, 4))
    share = np.bincount(levels)[1:] / len(levels)
    share = share[share > 0]
    return {
        "10Percentile": float(low),
        "90Percentile": float(high),
        "Energy": energy,
        "Entropy": float(-(share * np.log2(share + EPSILON)).sum()),
        "InterquartileRange": float(third - first),
        "Kurtosis": fourth / (second**2 or 1.0),
        "Maximum": float(values.max()),
        "MeanAbsoluteDeviation": float(np.abs(values - mean).mean()),
        "Mean": float(mean),
        "Median": float(middle),
        "Minimum": float(values.min()),
        "Range": float(np.ptp(values)),
        "RobustMeanAbsoluteDeviation": float(np.abs(robust - robust.mean()).mean()),
        "RootMeanSquared": float(np.sqrt(energy / len(values))),
        "Skewness": third_moment / (second**1.5 or 1.0),
        "TotalEnergy": energy * voxel_mm3,
        "Uniformity": float((share**2).sum()),
        "Variance": second,
    }
