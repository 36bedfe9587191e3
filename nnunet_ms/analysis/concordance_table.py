"""Table of the concordance of lesion volumes and counts between a model and the reference."""

from typing import Literal

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Floats
from nnunet_ms.options import chosen
from nnunet_ms.statistics.bootstrap_interval import LEVEL, UNKNOWN, concordance_interval, pearson_interval
from nnunet_ms.statistics.concordance import (
    Coefficient,
    Limits,
    bland_altman,
    bland_altman_ratio,
    concordance_correlation,
    intraclass_correlation,
    pearson_correlation,
)
from nnunet_ms.tables import Column, Table

Quantity = Literal["volume_ml", "lesion_count"]
QUANTITIES: dict[Quantity, str] = {"volume_ml": "ml", "lesion_count": "lesions"}

CONCORDANCE = Table(
    "concordance",
    (
        *(Column(name) for name in ("rater", "lesion_type", "rule", "quantity", "statistic", "unit")),
        *(Column(name, "number", blank=True) for name in ("estimate", "low", "high", "patient_low", "patient_high")),
        Column("level", "number", minimum=0),
        Column("n", "integer", minimum=0),
        Column("n_left_out", "integer", minimum=0),
        Column("data_note", blank=True),
    ),
    key=("rater", "lesion_type", "rule", "quantity", "statistic"),
)


def concordance_rows(pairs: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    """Pearson r, Lin's CCC, ICC(2,1), and Bland-Altman bias and limits as difference and as ratio.

    Parameters
    ----------
    pairs : pandas.DataFrame
        One row per case: `patient_id`, `reference`, `prediction`.
    quantity : {"volume_ml", "lesion_count"}
        What the values are.

    Returns
    -------
    pandas.DataFrame
        Columns of `CONCORDANCE` from `quantity` to `n_left_out`. `low` to `high` is the published interval, which takes
        cases as independent; `patient_low` to `patient_high` resamples patients (`pearson_r` and `lin_ccc` only).

    Raises
    ------
    OptionError
        If there is no such quantity.
    """
    chosen(quantity, QUANTITIES, "quantity")
    x, y = pairs["reference"].to_numpy(np.float64), pairs["prediction"].to_numpy(np.float64)
    patients = pairs["patient_id"].to_list()
    unit = QUANTITIES[quantity]
    r, ccc = pearson_correlation(x, y), concordance_correlation(x, y)
    rows = [
        _coefficient_row("pearson_r", r, _resampled(r, x, y, patients)),
        _coefficient_row("lin_ccc", ccc, _resampled(ccc, x, y, patients, lin=True)),
        _coefficient_row("icc_2_1", intraclass_correlation(np.column_stack([x, y])), UNKNOWN),
        *_limit_rows("difference", bland_altman(x, y), unit),
        *_limit_rows("ratio", bland_altman_ratio(x, y), "1"),
    ]
    return pd.DataFrame(rows).assign(quantity=quantity, level=LEVEL)


def _resampled(
    value: Coefficient,
    x: Floats,
    y: Floats,
    patients: list[str],
    *,
    lin: bool = False,
) -> tuple[float, float]:
    if np.isnan(value.estimate):
        return UNKNOWN
    return concordance_interval(x, y, patients) if lin else pearson_interval(x, y, patients)


def _coefficient_row(name: str, value: Coefficient, patient: tuple[float, float]) -> dict[str, object]:
    limits = {"low": value.low, "high": value.high, "patient_low": patient[0], "patient_high": patient[1]}
    return {"statistic": name, "unit": "1", "estimate": value.estimate, **limits, "n": value.n, "n_left_out": 0}


def _limit_rows(scale: str, limits: Limits, unit: str) -> list[dict[str, object]]:
    places = {"bias": "bias", "lower": "lower_limit", "upper": "upper_limit"}
    return [
        {
            "statistic": f"{name}_{scale}",
            "unit": unit,
            "estimate": getattr(limits, place),
            "low": getattr(limits, f"{place}_low"),
            "high": getattr(limits, f"{place}_high"),
            "patient_low": np.nan,
            "patient_high": np.nan,
            "n": limits.n,
            "n_left_out": limits.n_left_out,
        }
        for place, name in places.items()
    ]
