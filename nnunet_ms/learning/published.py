"""What the paper prints of its own learning curves [1]_, to stand in a column of its own beside ours.

Real patients of one hospital, manual references; nothing here is computed from it.

References
----------
.. [1] Wahlig SG et al. Front Neurosci 17:1188336, 2023, tables 3, 5 and 6. doi:10.3389/fnins.2023.1188336
"""

SENSITIVITY, PPV = "sensitivity", "ppv"
Row = tuple[float, float]  # fine-tuned, de novo

CURVES: dict[str, dict[str, dict[int, Row]]] = {
    "flair": {
        SENSITIVITY: {10: (0.55, 0.49), 20: (0.59, 0.49), 30: (0.60, 0.53), 40: (0.62, 0.56), 50: (0.63, 0.62)},
        PPV: {10: (0.66, 0.32), 20: (0.68, 0.49), 30: (0.71, 0.50), 40: (0.70, 0.55), 50: (0.70, 0.57)},
    },
    "new": {
        SENSITIVITY: {10: (0.38, 0.46), 20: (0.41, 0.50), 30: (0.49, 0.51), 40: (0.48, 0.57), 50: (0.49, 0.55)},
        PPV: {10: (0.54, 0.29), 20: (0.55, 0.37), 30: (0.60, 0.43), 40: (0.56, 0.42), 50: (0.59, 0.53)},
    },
    "enhancing": {
        SENSITIVITY: {10: (0.68, 0.39), 20: (0.74, 0.44), 30: (0.72, 0.46)},
        PPV: {10: (0.67, 0.27), 20: (0.69, 0.37), 30: (0.58, 0.45)},
    },
}
# (task, metric) -> models that were not trained on any of the studies; the second grader's are known of one task
_DEFAULT = {
    ("flair", SENSITIVITY): 0.38,
    ("flair", PPV): 0.95,
    ("new", SENSITIVITY): 0.13,
    ("new", PPV): 0.18,
    ("enhancing", SENSITIVITY): 0.73,
    ("enhancing", PPV): 0.39,
}
_GRADER = {("flair", SENSITIVITY): 0.63, ("flair", PPV): 0.74}
# p of fine-tuned against de novo, as printed: (task, metric, size)
_P = {
    ("flair", SENSITIVITY, 10): "0.001",
    ("flair", PPV, 10): "<0.001",
    ("flair", SENSITIVITY, 50): "0.614",
    ("new", SENSITIVITY, 20): "0.003",
    ("new", SENSITIVITY, 30): "0.437",
    ("new", PPV, 30): "0.002",
    ("new", SENSITIVITY, 40): "0.010",
    ("enhancing", SENSITIVITY, 20): "0.001",
    ("enhancing", PPV, 20): "0.001",
}


# standard errors that are printed: (task, metric, arm, size); the text has .08 for the default model of enhancement
_SE: dict[tuple[str, str, str, int | None], float] = {
    ("flair", SENSITIVITY, "FT", 10): 0.02,
    ("flair", SENSITIVITY, "DN", 10): 0.02,
    ("flair", PPV, "FT", 10): 0.02,
    ("flair", PPV, "DN", 10): 0.02,
    ("flair", SENSITIVITY, "grader", None): 0.06,
    ("flair", PPV, "grader", None): 0.05,
    ("new", SENSITIVITY, "FT", 30): 0.05,
    ("new", SENSITIVITY, "DN", 30): 0.04,
    ("new", PPV, "FT", 30): 0.05,
    ("new", PPV, "DN", 30): 0.04,
    ("enhancing", SENSITIVITY, "FT", 20): 0.06,
    ("enhancing", SENSITIVITY, "DN", 20): 0.09,
    ("enhancing", PPV, "FT", 20): 0.05,
    ("enhancing", PPV, "DN", 20): 0.05,
    ("enhancing", SENSITIVITY, "default", None): 0.07,
}


def published_mean(task: str, metric: str, arm: str, size: int | None) -> float | None:
    """Return the mean that the paper prints, or None where it has no such model.

    Examples
    --------
    >>> published_mean("flair", "ppv", "FT", 10), published_mean("flair", "ppv", "default", None)
    (0.66, 0.95)
    >>> published_mean("flair", "ppv", "FT", 12) is None
    True
    """
    if arm in ("FT", "DN"):
        found = CURVES.get(task, {}).get(metric, {}).get(size or 0)
        return None if found is None else found[arm == "DN"]
    return {"default": _DEFAULT, "grader": _GRADER}.get(arm, {}).get((task, metric))


def published_se(task: str, metric: str, arm: str, size: int | None) -> float | None:
    """Return the standard error that the paper prints of a mean, or None where we know of none.

    Examples
    --------
    >>> published_se("flair", "ppv", "FT", 10), published_se("flair", "ppv", "FT", 20)
    (0.02, None)
    """
    return _SE.get((task, metric, arm, size))


def published_p(task: str, metric: str, size: int) -> str:
    """Return the p value of fine-tuned against de novo as the paper prints it, blank where we know of none.

    Examples
    --------
    >>> published_p("flair", "ppv", 10)
    '<0.001'
    """
    return _P.get((task, metric, size), "")
