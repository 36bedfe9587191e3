"""The tables between training, prediction and evaluation, and the threshold that a fold's decisions are made with."""

import numpy as np
import numpy.typing as npt

from nnunet_ms.errors import SettingsError
from nnunet_ms.tables import Column, Table

CROSS_VALIDATION = Table(
    "disability cross-validation",
    (
        Column("patient_id"),
        Column("visit"),
        Column("model"),
        Column("fold", "integer", minimum=0),
        Column("truth", "integer", minimum=0, maximum=1),
        Column("probability", "number", minimum=0, maximum=1),
        Column("threshold", "number", minimum=0, maximum=1),
    ),
    key=("patient_id", "visit", "model"),
    extra=True,
)
PREDICTIONS = Table(
    "disability predictions",
    (
        Column("patient_id"),
        Column("visit"),
        Column("probability", "number", minimum=0, maximum=1),
        Column("threshold", "number", minimum=0, maximum=1),
        Column("disabled", "integer", minimum=0, maximum=1),
    ),
    key=("patient_id", "visit"),
    extra=True,
)


def validation_fold(number: int, folds: int) -> int:
    """Fold whose scans stop the training and choose the threshold where fold `number` is judged: the next one.

    Examples
    --------
    >>> [validation_fold(number, 7) for number in (0, 5, 6)]
    [1, 6, 0]
    """
    return (number + 1) % folds


def youden_threshold(truth: npt.ArrayLike, probability: npt.ArrayLike) -> float:
    """Threshold of the largest sum of sensitivity and specificity, which is that of the largest balanced accuracy.

    Parameters
    ----------
    truth : (n,) array of bool or 0/1
    probability : (n,) floats
        From 0 to 1, of scans that the model was not trained on.

    Returns
    -------
    float
        Half-way between the least probability that is called disabled and the next below (0 below the last). Of
        thresholds with the same sum the one nearest to .5, then the lower one.

    Raises
    ------
    SettingsError
        If the scans are of one class, or lengths differ.

    Examples
    --------
    >>> youden_threshold([0, 0, 1, 0, 1], [0.1, 0.2, 0.5, 0.6, 0.9])
    0.35
    """
    positive, values = np.asarray(truth).astype(bool), np.asarray(probability, dtype=np.float64)
    if positive.shape != values.shape or not 0 < positive.sum() < positive.size:
        raise SettingsError(
            f"threshold: expected scans of both classes to choose it on, found {int(positive.sum())} disabled of "
            f"{values.size}. Ask for fewer folds, or add patients."
        )
    levels = np.unique(values)[::-1]
    called = values[None] >= levels[:, None]
    gain = (called & positive).sum(axis=1) / positive.sum() - (called & ~positive).sum(axis=1) / (~positive).sum()
    places = (levels + np.append(levels[1:], 0.0)) / 2
    best = np.flatnonzero(gain >= gain.max() - 1e-12)
    return float(places[min(best, key=lambda k: (abs(places[k] - 0.5), places[k]))])
