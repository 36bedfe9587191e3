"""Type I error of the test of what a network adds, and coverage of intervals, over cohorts where nothing is added.

    python benchmarks/stratification_null.py            (one core, ten minutes; --cohorts 40 for a look)

Every cohort has 160 patients with age, sex, lesion load and volumes, seven folds by patient, and one of:

- `random`: EDSS >= 3.0 by a coin; the network's probabilities are noise.
- `random, true baseline`: age and lesion load act; the network's probabilities are noise.
- `learned noise`: a coin; the network is a ridge regression on 30 features that mean nothing, out of fold.
- `learned noise, wide`: the same on 200 features.
- `learned noise, few`: the same on 3.
- `learned, true baseline`: age and lesion load act; the network learns from them and 30 such features, out of fold.
- `repeats the regression`: the same, from the regression's own predictors alone.

Whatever the network learns it could only have from the regression's predictors, so that "adds" is a false alarm.
Compared are the test of this package (`increment`); the same without halving; the usual two-sided test; and the usual
test on the regression's own log odds out of fold. Of the cohorts whose outcome is a coin the interval of the network's
balanced accuracy should hold 50 % (95 %), widened and as resampled. Rates have their Wilson 95 % intervals.

The result is in `results/stratification_null.csv`.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.special
import scipy.stats
from statsmodels.stats.proportion import proportion_confint

from nnunet_ms.classification.patient_folds import patient_folds
from nnunet_ms.classification.stratification.baselines import VOLUMES, baseline_terms
from nnunet_ms.classification.stratification.increment import increment, widened
from nnunet_ms.classification.stratification.prediction_tables import validation_fold
from nnunet_ms.statistics.classification import decision_rates

PATIENTS, FOLDS, LEVEL = 160, 7, 0.05
OUT = Path(__file__).parent / "results" / "stratification_null.csv"
KINDS = {  # whether age and lesion load act; features of the network, of them without meaning; ridge
    "random": (False, 0, 0, 0.0),
    "random, true baseline": (True, 0, 0, 0.0),
    "learned noise, few": (False, 0, 3, 0.1),
    "learned noise": (False, 0, 30, 5.0),
    "learned noise, wide": (False, 0, 200, 20.0),
    "learned, true baseline": (True, 8, 30, 5.0),
    "repeats the regression": (True, 8, 0, 0.5),
}


def cohort(rng: np.random.Generator, acts: bool) -> pd.DataFrame:
    """A table of scans, one per patient; the outcome is a coin unless age and lesion load act."""
    n = PATIENTS
    age, lesion = rng.uniform(20, 65, n), rng.gamma(2, 5, n)
    odds = 0.06 * (age - 42) + 0.9 * (np.log1p(lesion) - 2.2) if acts else np.zeros(n)
    return pd.DataFrame(
        {
            "patient_id": [f"P{k:03d}" for k in range(n)], "visit": "base", "age_years": age,
            "sex": rng.choice(["F", "M"], n), "lesion_volume_ml": lesion, "brain_ml": rng.normal(1500, 120, n),
            "gm_ml": rng.normal(600, 40, n), "sgm_ml": rng.normal(50, 4, n), "ventricles_ml": rng.normal(30, 8, n),
            "brainstem_ml": rng.normal(20, 2, n), "disabled": (rng.random(n) < scipy.special.expit(odds)).astype(int),
        }
    )  # fmt: skip


def ridge(X: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    """Coefficients of a ridge logistic regression by Newton's steps; the first column is the intercept."""
    weights, penalty = np.zeros(X.shape[1]), strength * np.eye(X.shape[1])
    penalty[0, 0] = 0
    for _ in range(50):
        p = scipy.special.expit(X @ weights)
        slope = X.T @ (y - p) - penalty @ weights
        step = np.linalg.solve((X * (p * (1 - p))[:, None]).T @ X + penalty, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def network(rng: np.random.Generator, kind: str, terms: np.ndarray, y: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Probabilities of a stand-in for a network, of scans that it was not trained on."""
    _, known, noise, strength = KINDS[kind]
    if not known + noise:
        return scipy.special.expit(rng.standard_normal(len(y)))
    scaled = (terms - terms.mean(axis=0)) / terms.std(axis=0)
    X = np.column_stack([np.ones(len(y)), scaled[:, :known], rng.standard_normal((len(y), noise))])
    return scipy.special.expit(out_of_fold(X, y, fold, strength))


def out_of_fold(X: np.ndarray, y: np.ndarray, fold: np.ndarray, strength: float) -> np.ndarray:
    """Log odds of each scan by the five folds that neither judge it nor choose the threshold."""
    found = np.empty(len(y))
    for number in range(FOLDS):
        train = (fold != number) & (fold != validation_fold(number, FOLDS))
        found[fold == number] = X[fold == number] @ ridge(X[train], y[train], strength)
    return found


def one_cohort(kind: str, seed: int) -> dict[str, float]:
    """False alarms of each test, and whether intervals hold 50 %."""
    rng = np.random.default_rng([list(KINDS).index(kind), seed])
    scans = cohort(rng, KINDS[kind][0])
    y = scans["disabled"].to_numpy()
    fold = patient_folds(list(scans["patient_id"]), y, FOLDS, seed, "disabled scan")
    terms, _ = baseline_terms(scans, VOLUMES)
    X = terms.to_numpy(float)
    p = network(rng, kind, X, y, fold)
    scaled = np.column_stack([np.ones(len(y)), (X - X.mean(axis=0)) / X.std(axis=0)])
    base = out_of_fold(scaled, y, fold, 1e-6)
    ours = increment(y, X, p, out_of_fold=True)
    not_halved = scipy.stats.norm.sf(np.copysign(np.sqrt(ours.statistic), ours.coefficient))
    of_odds = increment(y, base[:, None], p, out_of_fold=False)
    rates = decision_rates(y, p >= 0.5, list(scans["patient_id"]), 500, seed)
    accuracy = next(rate for rate in rates if rate.measure == "balanced_accuracy")
    low, high = widened(accuracy.estimate, accuracy.low, accuracy.high, out_of_fold=True)
    coin = not KINDS[kind][0]
    return {
        "increment": ours.p < LEVEL,
        "increment, not halved": not_halved < LEVEL,
        "two-sided": ours.p_as_given < LEVEL,
        "two-sided, on the regression's log odds": of_odds.p_as_given < LEVEL,
        "one-sided, on the regression's log odds": of_odds.p < LEVEL,
        "interval of balanced accuracy holds .5": low <= 0.5 <= high if coin else np.nan,
        "the same as resampled, not widened": accuracy.low <= 0.5 <= accuracy.high if coin else np.nan,
    }


def summary(kind: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Shares over cohorts with their Wilson intervals."""
    rows = []
    for name in frame:
        values = frame[name].dropna().astype(float)
        if len(values):
            low, high = proportion_confint(values.sum(), len(values), method="wilson")
            rows.append(
                {"cohorts": kind, "share_of": name, "share": values.mean(), "low": low, "high": high, "n": len(values)}
            )
    return pd.DataFrame(rows)


def main() -> None:
    """Write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=500, help="of each kind (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    args = parser.parse_args()
    parts = []
    for kind in KINDS:
        parts.append(summary(kind, pd.DataFrame([one_cohort(kind, seed) for seed in range(args.cohorts)])))
        print(parts[-1].round(3).to_string(index=False), flush=True)
    args.output.parent.mkdir(exist_ok=True)
    pd.concat(parts).round(4).to_csv(args.output, index=False)


if __name__ == "__main__":
    main()
