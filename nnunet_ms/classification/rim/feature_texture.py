"""Texture of a lesion: which grey levels are neighbours (GLCM) and how long their runs are (GLRLM), in 13 directions.

A feature is the mean over the directions in which the lesion has pairs of neighbours, as in PyRadiomics. What depends
on the mask alone, pairs and lines of voxels, is found once (`directions_of`) for the image and its eight wavelets.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from nnunet_ms.arrays import Bools, Floats, Indices, Ints
from nnunet_ms.classification.rim.feature_intensity import EPSILON

# one of each pair of opposite directions
OFFSETS = tuple((x, y, z) for x, y, z in product((-1, 0, 1), repeat=3) if (x, y, z) > (0, 0, 0))

_AT_ONCE = 2_000_000  # pairs of levels: 16 MB for an array; an artefact of 20,000 ppb has 600,000 in a direction


@dataclass(frozen=True)
class Directions:
    """Neighbours and lines of a lesion's voxels, which are numbered as in `mask.nonzero()`.

    Attributes
    ----------
    first, second : (M,) int arrays
        The two voxels of each pair of neighbours.
    pair_direction : (M,) int array
        Number of each pair's direction, from 0, without those that have no pair.
    n_pair_directions : int
    order : (K,) int array
        Voxels along the lines of every direction, one line after another.
    is_joined : (K,) bool array
        Whether a voxel of `order` follows the one before it without a gap.
    line_direction : (K,) int array
        Number of the direction, from 0, without those in which no line has two voxels.
    n_line_directions : int
    """

    first: Indices
    second: Indices
    pair_direction: Ints
    n_pair_directions: int
    order: Indices
    is_joined: Bools
    line_direction: Ints
    n_line_directions: int


def directions_of(mask: Bools) -> Directions:
    """Find the pairs and the lines of a lesion's voxels.

    Parameters
    ----------
    mask : (X, Y, Z) bool array

    Examples
    --------
    >>> row = np.ones((3, 1, 1), dtype=bool)
    >>> found = directions_of(row)
    >>> found.first.tolist(), found.second.tolist(), found.n_line_directions
    ([0, 1], [1, 2], 1)
    """
    padded = np.pad(mask, 1)
    number = np.full(padded.shape, -1, dtype=np.intp)
    number[padded] = np.arange(np.count_nonzero(mask))
    places = np.argwhere(padded)
    pairs = [_pairs(number, places, offset) for offset in OFFSETS]
    kept = [pair for pair in pairs if pair[0].size]
    lines = [line for offset in OFFSETS if (line := _lines(places, np.array(offset))) is not None]
    return Directions(
        first=np.concatenate([pair[0] for pair in kept] or [np.empty(0, np.intp)]),
        second=np.concatenate([pair[1] for pair in kept] or [np.empty(0, np.intp)]),
        pair_direction=np.repeat(np.arange(len(kept)), [pair[0].size for pair in kept]),
        n_pair_directions=len(kept),
        order=np.concatenate([order for order, _ in lines] or [np.empty(0, np.intp)]),
        is_joined=np.concatenate([joined for _, joined in lines] or [np.empty(0, bool)]),
        line_direction=np.repeat(np.arange(len(lines)), len(places)),
        n_line_directions=len(lines),
    )


def _pairs(number: Indices, places: Indices, offset: tuple[int, int, int]) -> tuple[Indices, Indices]:
    x, y, z = (places + offset).T
    neighbour = number[x, y, z]
    has_one = neighbour >= 0
    return np.flatnonzero(has_one), neighbour[has_one]


def _lines(places: Indices, offset: Indices) -> tuple[Indices, Bools] | None:
    """Voxels line by line, and which follow one another; None where no line has two voxels, gaps or not."""
    axis = int(np.flatnonzero(offset)[0])  # its sign is positive, see OFFSETS
    step = places[:, axis]
    begin = places - step[:, None] * offset  # where the line meets the plane 0 of that axis
    wide = begin - begin.min(axis=0)
    line = np.ravel_multi_index(tuple(wide.T), tuple(wide.max(axis=0) + 1))
    order = np.lexsort((step, line))
    is_same_line = line[order][1:] == line[order][:-1]
    if not is_same_line.any():
        return None
    is_next = step[order][1:] - step[order][:-1] == 1
    return order, np.concatenate([[False], is_same_line & is_next])


def glcm_features(levels: Ints, directions: Directions) -> dict[str, float]:
    """23 features of the symmetric grey level co-occurrence matrix: those of PyRadiomics without SumAverage.

    Parameters
    ----------
    levels : (N,) int array
        Of the lesion's voxels, from 1.
    directions : Directions
        Of the same N voxels, with at least one pair.

    References
    ----------
    .. [1] Haralick RM et al. IEEE Trans Syst Man Cybern 3:610-621, 1973.

    Examples
    --------
    >>> levels = np.array([1, 1, 2])
    >>> round(glcm_features(levels, directions_of(np.ones((3, 1, 1), dtype=bool)))["Contrast"], 3)
    0.5
    """
    present, index = np.unique(levels, return_inverse=True)
    some = max(1, _AT_ONCE // len(present) ** 2)
    parts = []
    for begin in range(0, directions.n_pair_directions, some):
        joint = _joint(index, len(present), directions, begin, min(begin + some, directions.n_pair_directions))
        parts.append({**_of_sums(joint, present), **_of_differences(joint, present), **_of_information(joint)})
    return {name: float(np.mean(np.concatenate([part[name] for part in parts]))) for name in parts[0]}


def _joint(index: Indices, n_levels: int, directions: Directions, begin: int, end: int) -> Floats:
    """Probability of each pair of levels in some of the directions, (D, G, G)."""
    chosen = slice(*np.searchsorted(directions.pair_direction, [begin, end]))  # they stand in order
    shape = (end - begin, n_levels, n_levels)
    pairs = (
        directions.pair_direction[chosen] - begin,
        index[directions.first[chosen]],
        index[directions.second[chosen]],
    )
    code = np.ravel_multi_index(pairs, shape)
    counts = np.bincount(code, minlength=int(np.prod(shape))).reshape(shape).astype(float)
    counts += counts.transpose(0, 2, 1)
    return np.asarray(counts / counts.sum(axis=(1, 2), keepdims=True))


def _distribution(joint: Floats, of: Ints, length: int) -> Floats:
    """Probability of each value of a function of two levels, (D, length)."""
    rows = np.arange(len(joint))[:, None] * length + of.ravel()
    flat: Floats = np.bincount(rows.ravel(), joint.ravel(), len(joint) * length).astype(np.float64)
    return flat.reshape(len(joint), length)


def _of_sums(joint: Floats, present: Ints) -> dict[str, Floats]:
    """Features of the sum of two neighbours' levels, and of its spread, (D,) each."""
    i, j = present[:, None], present[None, :]
    probability = _distribution(joint, i + j, 2 * int(present[-1]) + 1)
    mean = joint.sum(axis=2) @ present.astype(float)
    from_mean = np.arange(probability.shape[1]) - 2 * mean[:, None]
    tendency = (probability * from_mean**2).sum(axis=1)
    contrast = (joint * (i - j) ** 2).sum(axis=(1, 2))
    variance = (tendency + contrast) / 4  # of one neighbour; their covariance is the difference over 4
    correlation = np.ones(len(joint))  # of one level with itself
    varies = variance > 0
    correlation[varies] = (tendency - contrast)[varies] / 4 / (variance[varies] + EPSILON)
    return {
        "Autocorrelation": (joint * (i * j)).sum(axis=(1, 2)),
        "ClusterProminence": (probability * from_mean**4).sum(axis=1),
        "ClusterShade": (probability * from_mean**3).sum(axis=1),
        "ClusterTendency": tendency,
        "Contrast": contrast,
        "Correlation": correlation,
        "JointAverage": mean,
        "SumEntropy": _entropy(probability),
        "SumSquares": variance,
    }


def _of_differences(joint: Floats, present: Ints) -> dict[str, Floats]:
    """Features of the absolute difference of two neighbours' levels, (D,) each."""
    n_levels = int(present[-1])
    probability = _distribution(joint, np.abs(present[:, None] - present[None, :]), n_levels)
    k = np.arange(n_levels, dtype=float)
    mean = probability @ k
    return {
        "DifferenceAverage": mean,
        "DifferenceEntropy": _entropy(probability),
        "DifferenceVariance": (probability * (k - mean[:, None]) ** 2).sum(axis=1),
        "Id": probability @ (1 / (1 + k)),
        "Idm": probability @ (1 / (1 + k**2)),
        "Idmn": probability @ (1 / (1 + k**2 / n_levels**2)),
        "Idn": probability @ (1 / (1 + k / n_levels)),
        "InverseVariance": probability[:, 1:] @ (1 / k[1:] ** 2),
    }


def _of_information(joint: Floats) -> dict[str, Floats]:
    """Features of the joint distribution itself, (D,) each."""
    single = joint.sum(axis=2)
    independent = single[:, :, None] * single[:, None, :]
    logarithm = np.log2(independent + EPSILON)
    entropy = _entropy(joint.reshape(len(joint), -1))
    of_single = _entropy(single)
    first = entropy + (joint * logarithm).sum(axis=(1, 2))
    second = -(independent * logarithm).sum(axis=(1, 2)) - entropy
    return {
        "Imc1": np.divide(first, of_single, out=np.zeros_like(first), where=of_single != 0),
        # a difference below 0 is one of rounding
        "Imc2": np.sqrt(1 - np.exp(-2 * np.maximum(second, 0))),
        "JointEnergy": (joint**2).sum(axis=(1, 2)),
        "JointEntropy": entropy,
        "MaximumProbability": joint.max(axis=(1, 2)),
        "MCC": _maximal_correlation(joint, single),
    }


def _maximal_correlation(joint: Floats, single: Floats) -> Floats:
    """Maximal correlation coefficient, (D,); 1 where the lesion has one level.

    The second eigenvalue of Haralick's matrix Q is the square of one of D^(-1/2) P D^(-1/2), which is symmetric.
    """
    if joint.shape[1] < 2:
        return np.ones(len(joint))
    root = np.sqrt(single)
    scale = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
    magnitudes = np.abs(np.linalg.eigvalsh(joint * scale[:, :, None] * scale[:, None, :]))
    return np.sort(magnitudes, axis=1)[:, -2]


def _entropy(probability: Floats) -> Floats:
    return -(probability * np.log2(probability + EPSILON)).sum(axis=-1)


def glrlm_features(levels: Ints, directions: Directions) -> dict[str, float]:
    """The 16 features of the grey level run length matrix.

    Parameters
    ----------
    levels : (N,) int array
        Of the lesion's voxels, from 1.
    directions : Directions
        Of the same N voxels, with at least one line of two voxels.

    References
    ----------
    .. [1] Galloway MM. Comput Graph Image Process 4:172-179, 1975.

    Examples
    --------
    >>> levels = np.array([1, 1, 2])
    >>> round(glrlm_features(levels, directions_of(np.ones((3, 1, 1), dtype=bool)))["RunPercentage"], 3)
    0.667
    """
    runs, i, j = _runs(levels, directions)
    number = runs.sum(axis=(1, 2))
    share = runs / number[:, None, None]
    of_level, of_length = share.sum(axis=2), share.sum(axis=1)
    voxels = runs.sum(axis=1) @ j
    found = {
        "GrayLevelNonUniformity": (of_level**2).sum(axis=1) * number,
        "GrayLevelNonUniformityNormalized": (of_level**2).sum(axis=1),
        "GrayLevelVariance": _variance(of_level, i),
        "HighGrayLevelRunEmphasis": of_level @ i**2,
        "LongRunEmphasis": of_length @ j**2,
        "LongRunHighGrayLevelEmphasis": (share @ j**2) @ i**2,
        "LongRunLowGrayLevelEmphasis": (share @ j**2) @ i**-2,
        "LowGrayLevelRunEmphasis": of_level @ i**-2,
        "RunEntropy": _entropy(share.reshape(len(share), -1)),
        "RunLengthNonUniformity": (of_length**2).sum(axis=1) * number,
        "RunLengthNonUniformityNormalized": (of_length**2).sum(axis=1),
        "RunPercentage": number / voxels,
        "RunVariance": _variance(of_length, j),
        "ShortRunEmphasis": of_length @ j**-2,
        "ShortRunHighGrayLevelEmphasis": (share @ j**-2) @ i**2,
        "ShortRunLowGrayLevelEmphasis": (share @ j**-2) @ i**-2,
    }
    return {name: float(np.mean(value)) for name, value in found.items()}


def _runs(levels: Ints, directions: Directions) -> tuple[Floats, Floats, Floats]:
    """Number of runs per direction, level and length, (D, G, L); the levels, (G,); the lengths, (L,)."""
    present, index = np.unique(levels, return_inverse=True)
    along = index[directions.order]
    is_start = ~directions.is_joined
    is_start[1:] |= along[1:] != along[:-1]
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=len(along))
    shape = (directions.n_line_directions, len(present), int(lengths.max()))
    code = np.ravel_multi_index((directions.line_direction[starts], along[starts], lengths - 1), shape)
    runs = np.bincount(code, minlength=int(np.prod(shape))).reshape(shape).astype(float)
    return runs, present.astype(float), np.arange(1.0, shape[2] + 1)


def _variance(share: Floats, values: Floats) -> Floats:
    mean = share @ values
    return np.asarray((share * (values - mean[:, None]) ** 2).sum(axis=1))
