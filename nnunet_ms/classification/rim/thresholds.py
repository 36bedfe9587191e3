"""The probability above which a lesion is called rim+: chosen on lesions that the model was not trained on."""

import numpy as np
import numpy.typing as npt

from nnunet_ms.errors import SettingsError


def best_threshold(rim: npt.ArrayLike, probability: npt.ArrayLike) -> float:
    """Threshold of the largest F1, the harmonic mean of precision and sensitivity.

    Parameters
    ----------
    rim : (n,) array of bool or 0/1
    probability : (n,) array of floats
        From 0 to 1.

    Returns
    -------
    float
        Half-way between the least probability that is called rim+ and the next below (0 below the last). Of thresholds
        with the same F1 the one with the fewest rim+.

    Raises
    ------
    SettingsError
        If no lesion is rim+.

    Examples
    --------
    >>> best_threshold([0, 0, 1, 0, 1], [0.1, 0.2, 0.5, 0.6, 0.9])
    0.35
    """
    truth, values = np.asarray(rim, dtype=bool), np.asarray(probability, dtype=np.float64)
    if not truth.any():
        raise SettingsError("threshold: expected a rim+ lesion among those that it is chosen on, found none.")
    levels = np.unique(values)[::-1]
    called = values[None] >= levels[:, None]
    hits = (called & truth).sum(axis=1)
    f1 = 2 * hits / (called.sum(axis=1) + truth.sum())
    best = int(np.argmax(f1))
    below = levels[best + 1] if best + 1 < len(levels) else 0.0
    return float((levels[best] + below) / 2)
