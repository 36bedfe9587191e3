"""What a network adds to a regression: a likelihood-ratio test that holds its level on probabilities out of fold.

The network's log odds are added to the *predictors* of the regression, which are fitted again together. Added to the
regression's own log odds out of fold they would pass too often: two noisy views of one cause are better than one, so
that a network that has seen nothing but the regression's predictors "adds" something (in half of such cohorts, at 5 %).

Probabilities out of fold are no given predictor [1]_: the network that judges a scan was trained on the others'
outcomes, and theirs on its. Under the null the test's score is a sum over pairs of scans of w_ij y_i y_j, with the
influence w_ij of scan j on the judgement of scan i. Its variance has terms w_ij^2 and w_ij w_ji; the usual one has the
first alone, and w_ij w_ji <= (w_ij^2 + w_ji^2) / 2, so that the true variance is at most twice the usual one.
Halving the statistic therefore keeps the level, for learners of any strength; without it up to 10 % of null cohorts
are called.
A network frozen before these patients came is a given predictor: nothing is halved.

The test has one side: a network that is right must have a coefficient above 0. The other side is not only useless but
misleading: a network that repeats the regression has, out of fold, the sign of overfitting, and two-sided tests call
it.
`benchmarks/stratification_null.py` measures all of this.

References
----------
.. [1] Höfling H, Tibshirani R. Ann Appl Stat 2:643-664, 2008 (pre-validation). doi:10.1214/07-AOAS152
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.special
import scipy.stats

from nnunet_ms.arrays import Floats
from nnunet_ms.statistics.input_checks import as_numbers
from nnunet_ms.statistics.logistic import fit_logistic, likelihood_ratio_test

NAN = float("nan")
INFLATION = 2.0  # bound of the variance of a score out of fold, against that of a given predictor
NEAREST = 1e-6  # probabilities of 0 and 1 are taken for this far from them: their log odds would be infinite


@dataclass(frozen=True)
class Increment:
    """What log odds add to predictors; NaN where there is no test, and `problem` says why.

    Attributes
    ----------
    statistic, df, p_as_given : float, int, float
        Twice the gain of log-likelihood and its two-sided p, as R's `anova(base, full, test = "LRT")` prints them:
        right for a given predictor only.
    coefficient : float
        Of the added log odds; the network is right where it is above 0.
    p : float
        One-sided; of probabilities out of fold from half the statistic.
    n, positive : int
        Scans, and disabled ones: one of each patient.
    problem : str
        Blank, why there is no test, or what was done to probabilities of 0 and 1.
    """

    statistic: float
    df: int
    p_as_given: float
    coefficient: float
    p: float
    n: int
    positive: int
    problem: str = ""


def increment(
    truth: npt.ArrayLike, predictors: npt.ArrayLike, probability: npt.ArrayLike, *, out_of_fold: bool
) -> Increment:
    """Test whether a network's log odds add to predictors. Rows are taken as independent: give one of each patient.

    Parameters
    ----------
    truth : (n,) array
        1 disabled, 0 not.
    predictors : (n, k) floats
        Of the regression, without an intercept.
    probability : (n,) floats
        The network's, of patients that it was not trained on.
    out_of_fold : bool
        Whether the network was trained in folds on these very patients; False for one that was frozen before.

    Raises
    ------
    StatisticsError
        If lengths differ, or a value is no number.

    Examples
    --------
    The example of `logistic.likelihood_ratio_test`: R prints a deviance of 0.47188 and p = 0.4921.

    >>> y, x = [0, 0, 1, 0, 1, 1, 0, 1], np.arange(8.0)
    >>> found = increment(y, x[:, None], scipy.special.expit(-(x % 4)), out_of_fold=False)
    >>> round(found.statistic, 3), round(found.p_as_given, 4), round(found.p, 4), found.coefficient > 0
    (0.472, 0.4921, 0.2461, True)
    >>> round(increment(y, x[:, None], scipy.special.expit(-(x % 4)), out_of_fold=True).p, 4)
    0.3136
    """
    X, (odds, note) = as_numbers(predictors, "predictors", 2), log_odds(as_numbers(probability, "probability"))
    test = likelihood_ratio_test(truth, X, odds[:, None])
    sizes = test.n, test.events
    if test.problem:
        return Increment(NAN, 1, NAN, NAN, NAN, *sizes, test.problem)
    full = fit_logistic(truth, np.column_stack([np.ones(len(X)), X, odds]))
    coefficient = float(full.estimates[-1])
    root = float(np.copysign(np.sqrt(test.statistic / (INFLATION if out_of_fold else 1.0)), coefficient))
    return Increment(test.statistic, 1, test.p, coefficient, float(scipy.stats.norm.sf(root)), *sizes, note)


def log_odds(probability: Floats) -> tuple[Floats, str]:
    """Log odds, and what was done to probabilities of exactly 0 or 1; blank where there are none.

    Examples
    --------
    >>> odds, note = log_odds(np.array([0.5, 1.0]))
    >>> odds.round(1).tolist(), note
    ([0.0, 13.8], '1 probabilities of exactly 0 or 1 taken as 1e-06 from them')
    """
    extreme = int(((probability <= 0) | (probability >= 1)).sum())
    note = f"{extreme} probabilities of exactly 0 or 1 taken as {NEAREST:g} from them" if extreme else ""
    return np.asarray(scipy.special.logit(np.clip(probability, NEAREST, 1 - NEAREST))), note


def widened(estimate: float, low: float, high: float, *, out_of_fold: bool, least: float = 0.0) -> tuple[float, float]:
    """Limits of a measure out of fold: as far from the estimate as the variance may be larger, within `least` and 1.

    Resampling patients leaves the models as they are, so that it misses the same terms as the usual test: without
    widening, 95 % intervals of balanced accuracy hold 50 % in 90 to 91 % of null cohorts. NaN stays NaN.

    Examples
    --------
    >>> [round(limit, 3) for limit in widened(0.6, 0.5, 0.7, out_of_fold=True)]
    [0.459, 0.741]
    >>> widened(0.6, 0.5, 0.7, out_of_fold=False)
    (0.5, 0.7)
    """
    if not out_of_fold:
        return low, high
    factor = float(np.sqrt(INFLATION))
    limits = estimate - factor * (estimate - low), estimate + factor * (high - estimate)
    return (float(limits[0] if np.isnan(low) else max(limits[0], least)),
            float(limits[1] if np.isnan(high) else min(limits[1], 1.0)))  # fmt: skip
