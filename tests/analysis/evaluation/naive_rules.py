"""Oracle for the rules: SciPy's labels, Python sets of voxels and a loop over lesions, from each rule's definition."""

import math

import numpy as np
from scipy import ndimage

STRUCTURES = {6: 1, 18: 2, 26: 3}


def lesions_of(mask, connectivity, minimum):
    """Each lesion as a set of flat voxel indices, in scan order."""
    labels, count = ndimage.label(mask, ndimage.generate_binary_structure(3, STRUCTURES[connectivity]))
    sets = [set(np.flatnonzero(labels == label).tolist()) for label in range(1, count + 1)]
    return sorted((lesion for lesion in sets if len(lesion) >= minimum), key=min)


def covered_tenth(lesion, others):
    return 10 * len(lesion & set().union(*others)) >= len(lesion)


def any_voxel(lesion, others):
    return bool(lesion & set().union(*others))


def iou_quarter(lesion, others):
    return any(4 * len(lesion & other) >= len(lesion | other) for other in others)


def msseg(lesion, others, own):
    """`own`: all lesions of this lesion's mask."""
    mine = set().union(*own)
    covered = len(lesion & set().union(*others))
    if not 10 * covered > len(lesion):
        return False
    accumulated = 0
    for other in sorted(others, key=lambda other: -len(lesion & other)):  # stable, as the labels are numbered
        if not lesion & other or 100 * accumulated >= 65 * covered:
            break
        if 10 * len(other - mine) > 7 * len(other):
            return False
        accumulated += len(lesion & other)
    return True


def one_to_one(first, second):
    """Flags of both sides after matching by falling Dice, at 0.1."""
    pairs = []
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            dice = 2 * len(one & other) / (len(one) + len(other))
            if one & other and dice >= 0.1:
                pairs.append((-dice, min(len(one), len(other)), max(len(one), len(other)), i, j))
    found, confirmed = [False] * len(first), [False] * len(second)
    for *_, i, j in sorted(pairs):
        if not found[i] and not confirmed[j]:
            found[i] = confirmed[j] = True
    return found, confirmed


SETTINGS = {
    "krishnan2023": (18, lambda _: 3, covered_tenth),
    "isbi2015": (18, lambda _: 1, any_voxel),
    "isbi2015_26": (26, lambda _: 1, any_voxel),
    "msseg2016": (6, lambda volume_mm3: math.floor(3 / volume_mm3) + 1, None),
    "msseg2_2021": (6, lambda volume_mm3: math.floor(3 / volume_mm3) + 1, None),
    "wahlig2023": (26, lambda _: 1, any_voxel),
    "shifts2022": (6, lambda _: 1, iou_quarter),
    "panoptica_ms": (26, lambda _: 1, None),
}


def flags(name, reference, prediction, volume_mm3):
    """Which reference lesions are found and which predicted ones are confirmed, in scan order."""
    connectivity, minimum, found = SETTINGS[name]
    first, second = (lesions_of(mask, connectivity, minimum(volume_mm3)) for mask in (reference, prediction))
    if name == "panoptica_ms":
        return one_to_one(first, second)
    if name.startswith("msseg"):
        return [msseg(a, second, first) for a in first], [msseg(b, first, second) for b in second]
    return [found(a, second) for a in first], [found(b, first) for b in second]
