"""Least squares without the assumption of one variance: HC2 standard errors with Bell-McCaffrey degrees of freedom.

Arms of a trial differ in their spread, and with unequal allocation the ordinary interval of the treatment effect then
covers too little or too much. HC2 is unbiased where variances are equal, and for two arms without covariates it is
Welch's standard error [1]_. The degrees of freedom are Satterthwaite's of that estimator where variances are equal
[2]_, as clubSandwich's `coef_test(vcov = "CR2", cluster = patient)` and estimatr's `lm_robust(se_type = "CR2")` give.
Written here, because statsmodels has HC2 without these degrees of freedom.

.. [1] MacKinnon JG, White H. J Econometrics 29:305-325, 1985.
.. [2] Bell RM, McCaffrey DF. Surv Methodol 28:169-181, 2002; Imbens GW, Kolesár M. Rev Econ Stat 98:701-712, 2016.
"""

from dataclasses import dataclass

import numpy as np

from nnunet_ms.arrays import Floats

FULL_LEVERAGE = 1e-9  # 1 - h below this: the patient's own coefficient fits the value exactly


@dataclass(frozen=True)
class RobustEstimate:
    """A linear combination of coefficients with its HC2 standard error and degrees of freedom."""

    estimate: float
    se: float
    df: float
    problem: str = ""


@dataclass(frozen=True)
class RobustFit:
    """A least-squares fit.

    `beta` (k,), `residuals` (n,), `influence` (n, k): d beta / d y; `leverage` (n,); `basis` (n, k): orthonormal
    columns that span the design.
    """

    beta: Floats
    residuals: Floats
    influence: Floats
    leverage: Floats
    basis: Floats

    def combination(self, point: Floats) -> RobustEstimate:
        """Return point @ beta; `problem` where one patient alone determines it, or nothing varies.

        With a = influence @ point / sqrt(1 - h) and the residuals' covariance M = I - H, the variance is the sum of
        a_i^2 e_i^2, and df = (sum a_i^2 M_ii)^2 / sum_ij a_i^2 a_j^2 M_ij^2.
        """
        estimate = float(point @ self.beta)
        free = 1 - self.leverage
        share = self.influence @ point
        alone = free < FULL_LEVERAGE
        if (np.abs(share[alone]) > FULL_LEVERAGE).any():
            return RobustEstimate(estimate, float("nan"), float("nan"), "one patient alone determines a coefficient")
        squared = np.where(alone, 0.0, share**2 / np.where(alone, 1.0, free))
        variance = float(squared @ self.residuals**2)
        inner = self.basis.T @ (squared[:, None] * self.basis)
        spread = float(squared**2 @ (1 - 2 * self.leverage) + (inner**2).sum())
        if variance <= 0 or spread <= 0:
            return RobustEstimate(estimate, float("nan"), float("nan"), "no spread around the fit")
        return RobustEstimate(estimate, float(np.sqrt(variance)), float((squared @ free) ** 2 / spread))


def robust_fit(y: Floats, X: Floats) -> RobustFit:
    """Fit y (n,) on X (n, k) of full rank, n > k."""
    basis, upper = np.linalg.qr(X)
    influence = np.linalg.solve(upper, basis.T).T
    beta = influence.T @ y
    leverage = np.minimum((basis**2).sum(axis=1), 1.0)
    return RobustFit(beta, y - X @ beta, influence, leverage, basis)
