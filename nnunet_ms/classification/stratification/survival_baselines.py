"""What a network's survival curves are compared with: everybody alike, and a Cox regression without images."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.classification.stratification.prediction_tables import validation_fold
from nnunet_ms.classification.stratification.survival_tables import COVARIATES, curve_rows
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.cox_curves import cox_curves
from nnunet_ms.statistics.survival import kaplan_meier

KAPLAN_MEIER, COX = "kaplan-meier", "cox"
Tell = Callable[[str], None]


def cox_covariates(patients: pd.DataFrame) -> tuple[Floats, list[str]]:
    """Covariates of the Cox reference, (n, k), and their names: age, EDSS, log(1 + lesion volume in ml).

    Columns that hold one value only, or none at all, are not among them: they tell nothing of who progresses.

    Examples
    --------
    >>> rows = pd.DataFrame({"age_years": [30.0, 40.0], "edss_baseline": [2.0, 2.0], "lesion_volume_ml": [np.nan] * 2})
    >>> cox_covariates(rows)[1]
    ['age_years']
    """
    columns = {name: patients[name].to_numpy(np.float64) for name in COVARIATES}
    columns["log_lesion_volume"] = np.log1p(columns.pop("lesion_volume_ml"))
    kept = {name: column for name, column in columns.items() if len(set(column[~np.isnan(column)].tolist())) > 1}
    return np.column_stack(list(kept.values())) if kept else np.zeros((len(patients), 0)), list(kept)


def survival_baselines(patients: pd.DataFrame, fold: npt.ArrayLike, at: Floats, tell: Tell = print) -> pd.DataFrame:
    """Curves out of fold of the Kaplan-Meier estimate and of the Cox regression.

    Both are fitted on the folds that a network is trained on: without the judged one, and without the one that stops
    the training.

    Where a fold's regression has no solution there is no Cox model, and a line says so.

    Parameters
    ----------
    patients : pandas.DataFrame
        `survival_targets.TARGETS` with `fold`; nothing in `COVARIATES` is blank unless a whole column is.
    fold : (n,) ints
        Of `patient_folds`.
    at : (t,) floats
        Weeks of the curves.
    tell : callable, optional
        Called with each line that a reader must know.

    Returns
    -------
    pandas.DataFrame
        `SURVIVAL_CROSS_VALIDATION`.

    Examples
    --------
    >>> rows = pd.DataFrame({"case_id": [f"P{k}" for k in range(12)], "visit": "a", "fold": [0, 1, 2, 3] * 3})
    >>> rows = rows.assign(patient_id=rows["case_id"], time_weeks=[9.0, 5, 7, 3, 8, 12, 11, 2, 6, 10, 4, 13])
    >>> rows = rows.assign(event=[1] * 10 + [0, 0], age_years=[50.0, 31, 44, 39, 51, 28, 33, 36, 60, 31, 41, 52])
    >>> rows = rows.assign(edss_baseline=2.0, lesion_volume_ml=np.nan)
    >>> table = survival_baselines(rows, rows["fold"], np.array([6.0]))
    cox: edss_baseline and lesion_volume_ml tell nothing (one value, or none): left out.
    >>> table["model"].unique().tolist(), len(table)
    (['kaplan-meier', 'cox'], 24)
    """
    folds = np.asarray(fold)
    weeks, event = patients["time_weeks"].to_numpy(np.float64), patients["event"].to_numpy(np.float64)
    alike = np.ones((len(patients), len(at)))
    for number in np.unique(folds):
        others = trained_on(folds, int(number))
        alike[folds == number] = kaplan_meier_at(weeks[others], event[others], at)
    tables = [curve_rows(KAPLAN_MEIER, patients, alike, at)]
    curves = _cox(patients, folds, at, tell)
    if curves is not None:
        tables.append(curve_rows(COX, patients, curves, at))
    return pd.concat(tables, ignore_index=True)


def _cox(patients: pd.DataFrame, folds: Ints, at: Floats, tell: Tell) -> Floats | None:
    """Curves out of fold (n, t); None where a fold has no regression: half a reference would be none."""
    X, names = cox_covariates(patients)
    dull = [name for name in COVARIATES if name not in names and f"log_{name.removesuffix('_ml')}" not in names]
    if dull:
        tell(f"cox: {' and '.join(dull)} tell nothing (one value, or none): left out.")
    if not names:
        tell("cox: no covariate: there is no such model.")
        return None
    weeks, event = patients["time_weeks"].to_numpy(np.float64), patients["event"].to_numpy(np.float64)
    curves = np.ones((len(patients), len(at)))
    for number in np.unique(folds):
        held, others = folds == number, trained_on(folds, int(number))
        try:
            curves[held] = cox_curves(weeks[others], event[others], X[others], X[held], at, names=names)
        except StatisticsError as error:
            tell(f"cox: no such model, because fold {number} has none ({error})")
            return None
    return curves


def trained_on(folds: Ints, number: int) -> Bools:
    """Patients who train what is judged on a fold; `folds` (n,) holds 0 .. k - 1, k >= 3.

    Examples
    --------
    >>> trained_on(np.array([0, 1, 2, 3]), 3)
    array([False,  True,  True, False])
    """
    return np.asarray((folds != number) & (folds != validation_fold(number, int(folds.max()) + 1)))


def kaplan_meier_at(weeks: Floats, event: Floats, at: Floats) -> Floats:
    """Share without the event at each time (t,), of patients who are taken as alike.

    Examples
    --------
    >>> kaplan_meier_at(np.array([2.0, 4.0, 6.0]), np.array([1.0, 0.0, 1.0]), np.array([1.0, 2.0, 9.0])).round(3)
    array([1.   , 0.667, 0.   ])
    """
    curve = kaplan_meier(weeks, event, "log")
    whole = np.concatenate([[1.0], curve["survival"].to_numpy(np.float64)])
    return np.asarray(whole[np.searchsorted(curve["week"].to_numpy(np.float64), at, side="right")])
