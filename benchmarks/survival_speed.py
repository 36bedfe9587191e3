"""Kaplan-Meier curve and stratified log-rank test: ours, by the definition, and by lifelines alone.

    python benchmarks/survival_speed.py [--patients 400 800 3000]

Ours take statsmodels' curve and test and lifelines' concordance, and add limits and the table; "definition" is one pass
over risk sets per event time, as this package did it before. Simulated patients, times of visits every 12 weeks (tied)
or to the day. Prints the best of several runs in milliseconds; all ways must give the same numbers, Harrell's C too.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nnunet_ms.statistics.cox import fit_cox
from nnunet_ms.statistics.survival import kaplan_meier, logrank


def curve(weeks: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Survival after every distinct time, by the definition."""
    at = np.unique(weeks)
    risk = np.array([(weeks >= t).sum() for t in at])
    died = np.array([(weeks[event] == t).sum() for t in at])
    return np.cumprod(1 - died / risk)


def chisq(weeks: np.ndarray, event: np.ndarray, group: np.ndarray, strata: np.ndarray) -> float:
    """Log-rank statistic of two groups, by the definition."""
    gap = variance = 0.0
    for s in np.unique(strata):
        here = strata == s
        for t in np.unique(weeks[here & event]):
            risk, died = here & (weeks >= t), here & event & (weeks == t)
            n, d, share = risk.sum(), died.sum(), group[risk].mean()
            gap += group[died].sum() - d * share
            variance += d * (n - d) / max(n - 1, 1) * share * (1 - share)
    return gap**2 / variance


def concordance(weeks: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    """Harrell's C, by the definition: every pair of an event and somebody who was followed longer."""
    agree = total = 0.0
    for i in np.flatnonzero(event):
        later = risk[(weeks > weeks[i]) | ((weeks == weeks[i]) & ~event)]
        agree += (later < risk[i]).sum() + (later == risk[i]).sum() / 2
        total += len(later)
    return agree / total


def best(call: Callable[[], object], runs: int = 20) -> float:
    """Shortest of several runs, in milliseconds."""
    took = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return 1000 * min(took)


def measure(n: int, tied: bool) -> None:
    """Print three rows."""
    rng = np.random.default_rng(1)
    weeks, event = rng.exponential(100, n), rng.random(n) < 0.6
    weeks = np.ceil(weeks / 12) * 12 if tied else weeks
    group, strata = rng.integers(0, 2, n), rng.integers(0, 4, n)
    x = rng.normal(size=n)
    fit = fit_cox(weeks, event, x, ["x"], "efron")
    np.testing.assert_allclose(kaplan_meier(weeks, event, "log")["survival"], curve(weeks, event), rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        logrank(weeks, event, group, strata).chisq, chisq(weeks, event, group, strata), rtol=1e-12
    )
    np.testing.assert_allclose(fit.concordance, concordance(weeks, event, fit.beta[0] * x), rtol=1e-14)
    rows = {
        "curve": (
            best(lambda: kaplan_meier(weeks, event, "log")),
            best(lambda: curve(weeks, event)),
            best(lambda: KaplanMeierFitter().fit(weeks, event)),
        ),
        "log-rank of 2 groups in 4 strata": (
            best(lambda: logrank(weeks, event, group, strata)),
            best(lambda: chisq(weeks, event, group, strata), 3),
            best(lambda: multivariate_logrank_test(weeks, group, event)),  # lifelines: without strata
        ),
    }
    for what, (ours, definition, peer) in rows.items():
        print(
            f"{what},{n},{'visits' if tied else 'days'},{ours:.2f},{definition:.2f},{peer:.2f},{definition / ours:.1f}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of curves and log-rank tests.")
    parser.add_argument("--patients", type=int, nargs="+", default=[400, 800, 3000])
    print("what,patients,times,ours_ms,definition_ms,lifelines_ms,definition_over_ours")
    for n in parser.parse_args().patients:
        for tied in (True, False):
            measure(n, tied)


if __name__ == "__main__":
    main()
