"""What networks are compared with: the larger class, age, what confounds, lesion load, and volumes of regions.

All are fitted on the folds that a network is trained on, and their threshold is chosen on the fold that stops it, so
that no baseline has seen more or less than a network has. The regressions are unpenalised, as papers fit them; where
that has no solution, because the predictors separate the classes or depend on each other, a ridge takes its place, and
the table of fits says so. Nothing is imputed: a scan that lacks a predictor has no probability of that model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.special

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.classification.stratification.prediction_tables import (
    CROSS_VALIDATION,
    validation_fold,
    youden_threshold,
)
from nnunet_ms.errors import TableError
from nnunet_ms.statistics.logistic import fit_logistic
from nnunet_ms.tables import Column, Table

MAJORITY, AGE, CONFOUNDERS, LESION_LOAD, VOLUMES = "majority", "age", "confounders", "lesion_load", "volumes"
# Volumes of regions are shares of the brain: heads differ in size by a quarter, men's are larger. The shares sum to
# nearly one, so that white matter is left out as what remains; the brain itself stands beside them, for atrophy.
SHARES = ("gm_ml", "sgm_ml", "ventricles_ml", "brainstem_ml")
PREDICTORS: Mapping[str, tuple[str, ...]] = {
    MAJORITY: (),
    AGE: ("age_years",),
    CONFOUNDERS: ("age_years", "sex", "field_tesla"),
    LESION_LOAD: ("lesion_volume_ml",),
    VOLUMES: ("age_years", "sex", "lesion_volume_ml", "brain_ml", *SHARES),
}
RIDGE = 1.0  # inverse strength (scikit-learn's C) on predictors of unit variance
LARGEST_CONDITION = 1e4  # of predictors of unit variance; beyond, coefficients are noise
BASELINE_FITS = Table(
    "disability baselines",
    (
        Column("model"),
        Column("fold", "integer", minimum=0),
        Column("term"),
        Column("estimate", "number"),
        Column("penalty"),
        Column("reason", blank=True),
        Column("n", "integer", minimum=0),
        Column("positive", "integer", minimum=0),
        Column("threshold", "number", minimum=0, maximum=1),
    ),
    key=("model", "fold", "term"),
)
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Baselines:
    """Probabilities out of fold, and how they came about.

    Attributes
    ----------
    rows : pandas.DataFrame
        `prediction_tables.CROSS_VALIDATION`.
    fits : pandas.DataFrame
        `BASELINE_FITS`: log odds per unit of each term, by model and fold; `penalty` is "none" or "ridge".
    notes : tuple of str
        What was left out of which model, and why; which folds have a ridge.
    """

    rows: pd.DataFrame
    fits: pd.DataFrame
    notes: tuple[str, ...]


def baseline_rows(scans: pd.DataFrame, fold: npt.ArrayLike, tell: Tell = print) -> pd.DataFrame:
    """Rows of `cross_validation.csv` of every baseline; `tell` is called with each line that a reader must know.

    Examples
    --------
    >>> scans = pd.DataFrame({"patient_id": [f"P{k}" for k in range(42)], "visit": "base"})
    >>> scans = scans.assign(disabled=np.arange(42) % 2, age_years=40.0 + np.arange(42) % 5)
    >>> rows = baseline_rows(scans, np.arange(42) // 2 % 7)
    confounders: without sex, which no scan has.
    confounders: without field_tesla, which no scan has.
    lesion_load: left out, because no scan has lesion_volume_ml.
    volumes: left out, because no scan has a volume.
    >>> rows["model"].value_counts().to_dict()
    {'majority': 42, 'age': 42, 'confounders': 42}
    """
    found = baselines(scans, fold)
    for note in found.notes:
        tell(note)
    return found.rows


def baselines(scans: pd.DataFrame, fold: npt.ArrayLike) -> Baselines:
    """Fit every baseline of `PREDICTORS` in a cross-validation: five parts to fit on, the next for the threshold.

    Parameters
    ----------
    scans : pandas.DataFrame
        `scans.csv` of `prepare`: `patient_id`, `visit`, `disabled` and predictors; blank = not known.
    fold : (n,) ints
        Of each scan, the networks' own; all scans of one patient in one.

    Returns
    -------
    Baselines

    Raises
    ------
    TableError
        If the numbers of scans and folds differ, a patient is in two folds, or an outcome is missing.

    Examples
    --------
    >>> k = np.arange(84)
    >>> scans = pd.DataFrame({"patient_id": [f"P{i}" for i in k], "visit": "base", "age_years": 30.0 + k % 29})
    >>> found = baselines(scans.assign(disabled=((k % 29) + (k * 7) % 13 > 20).astype(int)), k % 7)
    >>> found.fits[found.fits["term"] == "age_years"]["estimate"].round(2).tolist()[:2]
    [0.66, 0.56]
    """
    folds = _checked(scans, fold)
    rows, fits, notes = [], [], []
    for model in PREDICTORS:
        X, told = baseline_terms(scans, model)
        notes += told
        if X is None:
            continue
        fitted = _cross_validated(scans, folds, model, X)
        notes += fitted.notes
        if len(fitted.rows):  # pandas warns of tables without rows
            rows.append(fitted.rows)
            fits.append(fitted.fits)
    return Baselines(pd.concat(rows, ignore_index=True), pd.concat(fits, ignore_index=True), tuple(notes))


def baseline_terms(scans: pd.DataFrame, model: str) -> tuple[pd.DataFrame | None, list[str]]:
    """Terms of a baseline, one row per scan and blank where one is not known; and what a reader must be told.

    Parameters
    ----------
    scans : pandas.DataFrame
        `scans.csv` of `prepare`.
    model : str
        Of `PREDICTORS`.

    Returns
    -------
    terms : pandas.DataFrame or None
        None where nothing is left of the model; no columns for the larger class.
    notes : list of str

    Examples
    --------
    >>> scans = pd.DataFrame({"lesion_volume_ml": [0.0, 5.0, None]})
    >>> terms, notes = baseline_terms(scans, "lesion_load")
    >>> terms.round(2).to_dict("list")
    {'log(1 + lesion_volume_ml)': [0.0, 1.79, nan]}
    >>> notes
    ['lesion_load: 1 of 3 scans lack a predictor and have no probability.']
    """
    names = PREDICTORS[model]
    there = [name for name in names if name in scans and scans[name].notna().any()]
    if model == VOLUMES and not {"brain_ml"} < {*there} & {"brain_ml", *SHARES}:
        return None, [f"{model}: left out, because no scan has a volume."]
    if names and not there:
        return None, [f"{model}: left out, because no scan has {', '.join(names)}."]
    told = [f"{model}: without {name}, which no scan has." for name in names if name not in there]
    columns: dict[str, Floats] = {}
    for name in there:
        columns |= {term: _term(scans, term) for term in _terms_of(scans, name)}
    X = pd.DataFrame(columns, index=scans.index)
    known = X.notna().all(axis=1)
    constant = [name for name in X if X.loc[known, name].nunique() < 2]
    told += [f"{model}: without {name}, the same in all scans." for name in constant]
    X = X.drop(columns=constant)
    if names and X.shape[1] == 0:
        return None, [*told, f"{model}: left out, because nothing remains of it."]
    if not known.all():
        told.append(f"{model}: {int((~known).sum())} of {len(scans)} scans lack a predictor and have no probability.")
    return X.where(known, axis=0), told


def baseline_predictions(fits: pd.DataFrame, scans: pd.DataFrame) -> pd.DataFrame:
    """Frozen baselines on other scans: the mean of the folds' probabilities, and of their thresholds.

    Parameters
    ----------
    fits : pandas.DataFrame
        `BASELINE_FITS` of `baselines`.
    scans : pandas.DataFrame
        With the same predictors; scans that lack one have no row of that model.

    Returns
    -------
    pandas.DataFrame
        `patient_id, visit, model, probability, threshold, disabled`.

    Raises
    ------
    TableError
        If a predictor is not a column of `scans`, or a fold or a coefficient is missing.

    Examples
    --------
    >>> fits = pd.DataFrame({"model": "age", "fold": 0, "term": ["intercept", "age_years"], "estimate": [-4.0, 0.1]})
    >>> scans = pd.DataFrame({"patient_id": ["P1", "P2"], "visit": "base", "age_years": [40.0, None]})
    >>> found = baseline_predictions(fits.assign(threshold=0.4), scans)
    >>> found[["patient_id", "probability", "disabled"]].round(6).to_dict("list")
    {'patient_id': ['P1'], 'probability': [0.5], 'disabled': [1]}
    """
    parts = []
    for model, of_model in fits.groupby("model", sort=False):
        table = _coefficients(str(model), of_model)
        names = [str(name) for name in table.columns if name != "intercept"]
        X = np.column_stack([np.ones(len(scans)), *(_term(scans, name) for name in names)])
        known = ~np.isnan(X).any(axis=1)
        odds = X[known] @ table[["intercept", *names]].to_numpy(float).T
        probability = scipy.special.expit(odds).mean(axis=1)
        threshold = float(of_model.groupby("fold")["threshold"].first().mean())
        part = scans.loc[known, ["patient_id", "visit"]].assign(model=model, probability=probability)
        parts.append(part.assign(threshold=threshold, disabled=(probability >= threshold).astype(int)))
    return pd.concat(parts, ignore_index=True)


def _coefficients(model: str, fits: pd.DataFrame) -> pd.DataFrame:
    """Estimates of a model, a row per fold and a column per term; each term in each fold, folds from 0 on."""
    table = fits.pivot_table(index="fold", columns="term", values="estimate", sort=False, dropna=False)
    numbers = sorted(int(number) for number in table.index)
    if "intercept" not in table or table.isna().to_numpy().any() or numbers != list(range(len(numbers))):
        raise TableError(
            f"baselines: model {model}: expected every term, intercept too, in folds 0 to {numbers[-1]}, found "
            f"{', '.join(map(str, table.columns))} in folds {', '.join(map(str, numbers))}, some of them without a "
            "number. Copy baselines.csv of train again."
        )
    return table


def _checked(scans: pd.DataFrame, fold: npt.ArrayLike) -> npt.NDArray[np.int64]:
    folds = np.asarray(fold, dtype=np.int64)
    if folds.shape != (len(scans),):
        raise TableError(f"folds: expected one per scan, found {folds.size} for {len(scans)} scans.")
    outcome = pd.to_numeric(scans["disabled"])
    if not outcome.isin((0, 1)).all():
        row = scans.loc[~outcome.isin((0, 1))].iloc[0]
        raise TableError(
            f"scans: patient {row['patient_id']}, visit {row['visit']}, column disabled: expected 0 or 1, found "
            f"{row['disabled']!r}. Prepare the scans again, or correct it."
        )
    several = pd.Series(folds).groupby(scans["patient_id"].to_numpy()).nunique()
    if (several > 1).any():
        raise TableError(
            f"folds: expected all scans of a patient in one fold, found patient {several.idxmax()} in "
            f"{several.max()}. Draw folds by patient: else a model has seen whom it is judged on."
        )
    return folds


def _terms_of(scans: pd.DataFrame, name: str) -> list[str]:
    """Names of the terms of a predictor; each tells how it is computed."""
    if name == "sex":
        levels = sorted(scans[name].dropna().astype(str).unique())
        return [f"sex: {level}" for level in levels[1:]] or ["sex: " + levels[0]]
    if name == "lesion_volume_ml":
        return ["log(1 + lesion_volume_ml)"]
    return [f"{name} / brain_ml"] if name in SHARES else [name]


def _term(scans: pd.DataFrame, term: str) -> Floats:
    """Values of a term, (n,); NaN where not known. Shares are percent of the brain's volume."""
    name = term.split(": ")[0].removeprefix("log(1 + ").removesuffix(")").removesuffix(" / brain_ml")
    if name not in scans:
        raise TableError(f"scans: expected the column {name}, which a baseline needs, found {list(scans.columns)}.")
    if name == "sex":
        is_level = (scans[name].astype(str) == term.removeprefix("sex: ")).astype(float)
        return np.asarray(is_level.where(scans[name].notna()), dtype=np.float64)
    values = pd.to_numeric(scans[name]).to_numpy(dtype=np.float64, na_value=np.nan)
    if term.startswith("log"):
        return np.asarray(np.log1p(values))
    if term.endswith(" / brain_ml"):
        brain = pd.to_numeric(scans["brain_ml"]).to_numpy(dtype=np.float64, na_value=np.nan)
        return 100 * values / np.where(brain > 0, brain, np.nan)  # no brain: not known
    return values


def _cross_validated(scans: pd.DataFrame, folds: npt.NDArray[np.int64], model: str, X: pd.DataFrame) -> Baselines:
    truth, known = pd.to_numeric(scans["disabled"]).to_numpy(dtype=np.int64), X.notna().all(axis=1).to_numpy()
    numbers, values = [int(number) for number in np.unique(folds)], X.to_numpy(dtype=np.float64)
    rows, fits, ridges = [], [], []
    for number in numbers:
        aside = numbers[validation_fold(numbers.index(number), len(numbers))]
        train, chosen, judged = (
            known & part for part in ((folds != number) & (folds != aside), folds == aside, folds == number)
        )
        problem = _too_few(truth, train, chosen, X.shape[1])
        if problem:
            return Baselines(
                pd.DataFrame(columns=CROSS_VALIDATION.names),
                pd.DataFrame(columns=BASELINE_FITS.names),
                (f"{model}: left out, because fold {number} has {problem}.",),
            )
        weights, reason = _fitted(truth[train], values[train])
        ridges += [f"{number} ({reason})"] if reason else []
        odds = weights[0] + np.where(known[:, None], values, 0) @ weights[1:]
        p = scipy.special.expit(odds)
        threshold = youden_threshold(truth[chosen], p[chosen]) if len(weights) > 1 else 0.5
        rows.append(_rows(scans, judged, model, number, truth, p, threshold))
        fits.append(
            pd.DataFrame({"term": ["intercept", *X.columns], "estimate": weights}).assign(
                model=model, fold=number, penalty="ridge" if reason else "none", reason=reason,
                n=int(train.sum()), positive=int(truth[train].sum()), threshold=threshold,
            )[BASELINE_FITS.names]
        )  # fmt: skip
    notes = (f"{model}: ridge in fold {'; '.join(ridges)}.",) if ridges else ()
    return Baselines(pd.concat(rows), pd.concat(fits), notes)


def _too_few(truth: npt.NDArray[np.int64], train: Bools, chosen: Bools, predictors: int) -> str:
    """Why a fold cannot be fitted or given a threshold; blank where it can."""
    for words, part in (("to fit on", train), ("to choose the threshold on", chosen)):
        positive, n = int(truth[part].sum()), int(part.sum())
        if not 0 < positive < n:
            return f"{positive} disabled of {n} scans {words}"
    return f"{int(train.sum())} scans to fit {predictors} predictors on" if train.sum() <= predictors + 1 else ""


def _fitted(truth: npt.NDArray[np.int64], X: Floats) -> tuple[Floats, str]:
    """Intercept and log odds per unit of each column, and why they are a ridge's; blank where they are not."""
    n = len(truth)
    middle, spread = X.mean(axis=0), X.std(axis=0)
    scaled = (X - middle) / np.where(spread > 0, spread, 1)
    found = fit_logistic(truth, np.column_stack([np.ones(n), scaled]))
    reason = found.problem
    if not reason and X.shape[1] and np.linalg.cond(scaled) > LARGEST_CONDITION:
        reason = "predictors nearly depend on each other"
    inner = _ridge(truth, scaled) if reason else found.estimates
    slopes = inner[1:] / np.where(spread > 0, spread, 1)
    return np.concatenate([[inner[0] - slopes @ middle], slopes]), reason


def _ridge(truth: npt.NDArray[np.int64], X: Floats) -> Floats:
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(C=RIDGE, max_iter=5000, tol=1e-8).fit(X, truth)
    return np.concatenate([found.intercept_, found.coef_[0]])


def _rows(
    scans: pd.DataFrame,
    judged: Bools,
    model: str,
    number: int,
    truth: npt.NDArray[np.int64],
    probability: Floats,
    threshold: float,
) -> pd.DataFrame:
    part = scans.loc[judged, ["patient_id", "visit"]].assign(model=model, fold=number)
    part = part.assign(truth=truth[judged], probability=probability[judged], threshold=threshold)
    return part[CROSS_VALIDATION.names]
