"""Strata of the predicted risk of disability (`disability_risk` of the patients): below a threshold, and above."""

import numpy as np

STRATUM = "disability_stratum"
THRESHOLD = 0.5


def risk_strata(threshold: float = THRESHOLD) -> tuple[str, str]:
    """Names of the two strata, in order.

    Examples
    --------
    >>> risk_strata(), risk_strata(0.35)
    (('< 0.5', '>= 0.5'), ('< 0.35', '>= 0.35'))
    """
    return f"< {threshold:g}", f">= {threshold:g}"


def risk_stratum(risk: float, threshold: float = THRESHOLD) -> str:
    """Stratum of a patient with this risk; "missing" of a blank.

    Examples
    --------
    >>> [risk_stratum(risk) for risk in (0.2, 0.5, float("nan"))]
    ['< 0.5', '>= 0.5', 'missing']
    """
    return "missing" if np.isnan(risk) else risk_strata(threshold)[int(risk >= threshold)]
