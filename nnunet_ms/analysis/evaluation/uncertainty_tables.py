"""Tables of an uncertainty evaluation."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nnunet_ms.analysis.evaluation.uncertainty_curves import (
    BINS,
    SHARES,
    area_above,
    calibration_errors,
    lesion_curves,
    rank_correlation,
    removal_curves,
)
from nnunet_ms.arrays import Floats
from nnunet_ms.parallel import Failure
from nnunet_ms.tables import Column, Table

CANDIDATE = 0.01  # probability from which a voxel counts as candidate
KINDS = ("probability", "deterministic")  # folders of probability maps: samples averaged, and without dropout


CALIBRATION = Table(
    "calibration",
    (
        *(Column(name) for name in ("rater", "kind", "region")),
        *(Column(name, "number") for name in ("bin_low", "bin_high")),
        Column("voxels", "integer", minimum=0),
        *(Column(name, "number", blank=True) for name in ("mean_probability", "lesion_share")),
    ),
    key=("rater", "kind", "region", "bin_low"),
)


RETENTION = Table(
    "retention",
    (
        Column("rater"),
        Column("curve"),
        Column("order"),
        Column("kept_share", "number"),
        Column("value", "number", blank=True),
    ),
    key=("rater", "curve", "order", "kept_share"),
)


UNCERTAINTY = Table(
    "uncertainty",
    (
        *(Column(name) for name in ("rater", "lesion_type", "rule", "kind", "region", "metric")),
        Column("value", "number", blank=True),
        Column("n", "integer", minimum=0),
        Column("unit"),
    ),
    key=("rater", "kind", "region", "metric"),
)


@dataclass(frozen=True)
class CaseUncertainty:
    """What one case adds: sums of calibration bins, nDSC curves by order, its lesions, its Dice and PSU."""

    case_id: str
    bins: dict[tuple[str, str], Floats]
    curves: dict[str, Floats]
    lesions: pd.DataFrame
    touched: list[tuple[str, ...]]
    dice: float


@dataclass(frozen=True)
class UncertaintyEvaluation:
    """Tables of a cohort, and the cases that are not in them."""

    calibration: pd.DataFrame
    retention: pd.DataFrame
    uncertainty: pd.DataFrame
    lesions: pd.DataFrame
    n_cases: int
    failures: list[Failure]


def tables_of(
    cases: list[CaseUncertainty],
    patients: pd.DataFrame,
    failures: list[Failure],
    rule: str,
    rater: str,
    lesion_type: str,
) -> UncertaintyEvaluation:
    """Return the tables of a cohort from what was found in each case."""
    lesions = pd.concat([case.lesions for case in cases], ignore_index=True)
    touched = [keys for case in cases for keys in case.touched]
    bins = {key: np.sum([case.bins[key] for case in cases if key in case.bins], axis=0) for key in cases[0].bins}
    voxel = {order: np.mean([case.curves[order] for case in cases], axis=0) for order in cases[0].curves}
    missed = sum(not keys for keys in touched)
    curves = {"ndsc": voxel, "f1": lesion_curves(lesions, len(touched), missed)}
    removal = removal_curves(lesions, touched)
    numbers = [
        *_calibration_numbers(bins),
        *_retention_numbers(curves, len(cases), len(lesions)),
        *_removal_numbers(removal, len(lesions), len(touched)),
        *_correlation_numbers(lesions, cases, patients),
    ]
    names = {"rater": rater, "lesion_type": lesion_type, "rule": rule}
    return UncertaintyEvaluation(
        calibration=_calibration_table(bins).assign(rater=rater)[CALIBRATION.names],
        retention=_retention_table({**curves, **{k: {"uncertainty": v} for k, v in removal.items()}}).assign(
            rater=rater
        )[RETENTION.names],
        uncertainty=pd.DataFrame(numbers).assign(**names)[UNCERTAINTY.names],
        lesions=lesions,
        n_cases=len(cases),
        failures=failures,
    )


def _number(
    metric: str, value: float, n: int, unit: str, kind: str = KINDS[0], region: str = "all"
) -> dict[str, object]:
    return {"kind": kind, "region": region, "metric": metric, "value": value, "n": int(n), "unit": unit}


def _calibration_numbers(bins: dict[tuple[str, str], Floats]) -> list[dict[str, object]]:
    return [
        _number(metric, value, int(sums[:, 0].sum()), "voxels", kind, region)
        for (kind, region), sums in bins.items()
        for metric, value in calibration_errors(sums).items()
    ]


def _retention_numbers(curves: dict[str, dict[str, Floats]], cases: int, lesions: int) -> list[dict[str, object]]:
    n = {"ndsc": (cases, "cases"), "f1": (lesions, "lesions")}
    rows = []
    for curve, orders in curves.items():
        rows += [_number(f"{curve}_raac_{order}", area_above(values), *n[curve]) for order, values in orders.items()]
        rows.append(_number(curve, float(orders["uncertainty"][-1]), *n[curve]))
    return rows


def _removal_numbers(removal: dict[str, Floats], lesions: int, references: int) -> list[dict[str, object]]:
    n = {"lppv": (lesions, "lesions"), "ltpr": (references, "lesions")}
    kept = {"": -1, "_without_least_certain_20_percent": int(np.flatnonzero(np.isclose(SHARES, 0.8))[0])}
    return [
        _number(f"{name}{what}", float(removal[name][at]), *n[name]) for name in removal for what, at in kept.items()
    ]


def _correlation_numbers(
    lesions: pd.DataFrame, cases: list[CaseUncertainty], patients: pd.DataFrame
) -> list[dict[str, object]]:
    psu = patients.set_index("case_id")["psu"]
    pairs = {
        "spearman_lsu_false": (lesions["uncertainty"], ~lesions["true"].astype(bool), "lesions"),
        "spearman_lsu_1_minus_iou": (lesions["uncertainty"], 1 - lesions["iou"], "lesions"),
        "spearman_psu_1_minus_dice": (
            [psu.get(case.case_id, np.nan) for case in cases],
            [1 - case.dice for case in cases],
            "cases",
        ),
    }
    return [_number(name, *rank_correlation(first, second), unit) for name, (first, second, unit) in pairs.items()]


def _calibration_table(bins: dict[tuple[str, str], Floats]) -> pd.DataFrame:
    edges = np.linspace(0, 1, BINS + 1)
    frames = []
    for (kind, region), sums in bins.items():
        voxels = sums[:, 0]
        share = np.divide(sums[:, 1:3], voxels[:, None], out=np.full((BINS, 2), np.nan), where=voxels[:, None] > 0)
        frames.append(
            pd.DataFrame(
                {
                    "kind": kind,
                    "region": region,
                    "bin_low": edges[:-1],
                    "bin_high": edges[1:],
                    "voxels": voxels.astype(np.int64),
                    "mean_probability": share[:, 0],
                    "lesion_share": share[:, 1],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _retention_table(curves: dict[str, dict[str, Floats]]) -> pd.DataFrame:
    frames = [
        pd.DataFrame({"curve": curve, "order": order, "kept_share": SHARES, "value": values})
        for curve, orders in curves.items()
        for order, values in orders.items()
    ]
    return pd.concat(frames, ignore_index=True)
