"""Oracle for lesion matching: SciPy's labels and one pass over the volume per lesion, from the definitions."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from nnunet_ms.images.volumes import Grid, Volume

EIGHTEEN = ndimage.generate_binary_structure(3, 2)


def volume(data, affine=None):
    data = np.asarray(data)
    return Volume(data.astype(np.uint8), Grid(data.shape, np.eye(4) if affine is None else affine), Path("mask"))


def random_pair(seed):
    """Reference and prediction, (14, 13, 12) bool: blobs of many sizes that partly agree; either may be empty."""
    generator = np.random.default_rng(seed)
    shape = (14, 13, 12)
    field = ndimage.gaussian_filter(generator.standard_normal(shape), generator.uniform(0.4, 1.2))
    noise = ndimage.gaussian_filter(generator.standard_normal(shape), 0.6)
    mixed = field / field.std() + generator.uniform(0, 1.5) * noise / noise.std()
    reference = field > np.quantile(field, generator.uniform(0.6, 1.0))
    return reference, mixed > np.quantile(mixed, generator.uniform(0.6, 1.0))


def lesions_of(mask, minimum=3, structure=EIGHTEEN):
    labels, count = ndimage.label(mask, structure)
    lesions = [labels == label for label in range(1, count + 1)]
    return [lesion for lesion in lesions if lesion.sum() >= minimum]


def union(lesions, shape):
    return np.any(lesions, axis=0) if lesions else np.zeros(shape, dtype=bool)


def found_flags(lesions, others, shape):
    other = union(others, shape)
    return [10 * int((lesion & other).sum()) >= int(lesion.sum()) for lesion in lesions]


def dice_with_touched(lesion, others):
    touched = [other for other in others if (lesion & other).any()]
    together = union(touched, lesion.shape)
    return 2 * (lesion & together).sum() / (lesion.sum() + together.sum())


def ratio(part, whole):
    return part / whole if whole else np.nan


def scores(reference, prediction):
    """Every case metric of krishnan2023; NaN where undefined."""
    first, second = lesions_of(reference), lesions_of(prediction)
    r, p = union(first, reference.shape), union(second, reference.shape)
    found = found_flags(first, second, reference.shape)
    false = [not flag for flag in found_flags(second, first, reference.shape)]
    return {
        "ppv": ratio((r & p).sum(), p.sum()),
        "tpr": ratio((r & p).sum(), r.sum()),
        "dice": ratio(2 * (r & p).sum(), r.sum() + p.sum()),
        "lppv": ratio(len(second) - sum(false), len(second)),
        "ltpr": ratio(sum(found), len(first)),
        "lfpr": ratio(sum(false), len(second)),
        "lppv_by_reference": ratio(sum(found), sum(found) + sum(false)),
        "lfpr_complement": ratio(sum(false), sum(found) + sum(false)),
    }
