"""One scan explained: its maps, what they sum to, which regions they lie in, and the same with random weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from torch import nn

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.classification.stratification.explain_methods import STEPS, Explanation, Method, explain
from nnunet_ms.classification.stratification.explain_randomised import compare_with_random
from nnunet_ms.classification.stratification.explain_regions import region_relevance
from nnunet_ms.tables import Column, Table

EXPLAINED = Table(
    "explained scans",
    (
        *(Column(name) for name in ("case_id", "patient_id", "visit", "method", "explained_by")),
        Column("truth", "integer", minimum=0, maximum=1),
        Column("probability", "number", minimum=0, maximum=1),
        Column("threshold", "number", minimum=0, maximum=1),
        Column("logit", "number"),
        Column("expected_sum", "number", blank=True),
        Column("relevance_sum", "number"),
    ),
    key=("case_id", "method"),
)
Parcellations = Mapping[str, Mapping[str, Bools]]  # "regions" and perhaps "atlas": names and masks


@dataclass(frozen=True)
class Explainer:
    """A fold's network on the grid that scans are prepared to, the fold's number, and its threshold of probability."""

    network: nn.Module
    fold: int
    threshold: float


@dataclass(frozen=True)
class ScanSettings:
    """How each scan is explained.

    Attributes
    ----------
    methods : tuple of str
    steps : int
        Of integrated gradients.
    seed : int
        Of random weights.
    device : str
        Of torch.
    """

    methods: tuple[Method, ...]
    steps: int = STEPS
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class ExplainedScan:
    """What is found of a scan.

    Attributes
    ----------
    maps : mapping of method to (X, Y, Z) float32 array
        Mean over the models.
    seen : (X, Y, Z) bool array
        Where the networks' input is not 0.
    sums : list of dict
        Of each method: `method`, `logit`, `expected_sum`, `relevance_sum`, `probability`, `threshold`.
    regions : list of dict
        Rows of `region_relevance` with `method` and `parcellation`.
    randomised : list of dict
        Rows of `compare_with_random` with `method`; of the first of the models.
    random_regions : list of dict
        As `regions`, of two networks with random weights.
    """

    maps: dict[Method, SingleFloats]
    seen: Bools
    sums: list[dict[str, Any]]
    regions: list[dict[str, Any]]
    randomised: list[dict[str, Any]]
    random_regions: list[dict[str, Any]]


def explain_scan(
    images: SingleFloats,
    models: Sequence[Explainer],
    parcellations: Parcellations,
    settings: ScanSettings,
    *,
    randomise: bool = False,
) -> ExplainedScan:
    """Explain one scan by each of the models, and take the mean.

    Parameters
    ----------
    images : (2, X, Y, Z) float32 array
        What the networks see.
    models : sequence of Explainer
        The one that has not seen the patient, or all.
    parcellations : mapping
        Masks (X, Y, Z) of regions.
    settings : ScanSettings
    randomise : bool, optional
        Whether maps are drawn with random weights too: five times the work.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(54, 1))
    >>> images = np.ones((2, 3, 3, 3), np.float32)
    >>> found = explain_scan(images, [Explainer(network, 0, 0.5)], {}, ScanSettings(("ig",), steps=2))
    >>> found.maps["ig"].shape, sorted(found.sums[0])[:2]
    ((3, 3, 3), ['expected_sum', 'logit'])
    """
    seen = np.any(images != 0, axis=0)
    maps: dict[Method, SingleFloats] = {}
    sums, regions, randomised, random_regions = [], [], [], []
    for method in settings.methods:
        one = [explain(model.network, images, method, steps=settings.steps, device=settings.device) for model in models]
        mean = np.mean([single.relevance for single in one], axis=0, dtype=np.float64)
        maps[method] = np.asarray(mean, dtype=np.float32)
        sums.append({"method": method, **_sums(one, models)})
        regions += _region_rows(maps[method], seen, parcellations, method)
        if randomise:
            how: dict[str, Any] = {"steps": settings.steps, "seed": settings.seed, "device": settings.device}
            found = compare_with_random(models[0].network, images, method, **how)
            randomised += _rows(found.rows, method=method)
            random_regions += [row for one in found.maps for row in _region_rows(one, seen, parcellations, method)]
    return ExplainedScan(maps, seen, sums, regions, randomised, random_regions)


def _region_rows(
    relevance: SingleFloats, seen: Bools, parcellations: Parcellations, method: Method
) -> list[dict[str, Any]]:
    return [
        row
        for parcellation, masks in parcellations.items()
        for row in _rows(
            region_relevance(relevance, seen, masks, elsewhere=parcellation == "regions"),
            method=method,
            parcellation=parcellation,
        )
    ]


def _sums(found: Sequence[Explanation], models: Sequence[Explainer]) -> dict[str, float]:
    return {
        "logit": float(np.mean([one.logit for one in found])),
        "expected_sum": float(np.mean([one.expected_sum for one in found])),
        "relevance_sum": float(np.mean([one.sum for one in found])),
        "probability": float(np.mean([expit(one.logit) for one in found])),
        "threshold": float(np.mean([model.threshold for model in models])),
    }


def _rows(table: pd.DataFrame, **more: str) -> list[dict[str, Any]]:
    return [{**more, **row} for row in table.to_dict("records")]
