"""Bootstrap draws of a multivariable Cox model: all together (`bootstrap_cox.py`) against one by one (`cox.maximise`).

    python benchmarks/cox_draws_speed.py [--draws 200]

800 simulated patients, seven covariates, visits every 12 weeks (tied times). Prints the ratio of processor times; both
ways must give the same coefficients.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nnunet_ms.statistics.bootstrap_cox import cox_draws
from nnunet_ms.statistics.cox import maximise, risk_sets


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of Cox models over bootstrap draws.")
    parser.add_argument("--draws", type=int, default=200)
    args = parser.parse_args()
    rng, n, k = np.random.default_rng(0), 800, 7
    X = rng.normal(size=(n, k))
    weeks = np.ceil(np.minimum(rng.exponential(300, n), 108) / 12) * 12
    event = rng.random(n) < 0.3
    weights = rng.multinomial(n, np.full(n, 1 / n), args.draws).astype(float)
    sets = risk_sets(weeks, event, X)
    start, *_ = maximise(sets, "efron")
    started = time.process_time()
    one_by_one = np.array([maximise(sets, "efron", row, start)[0] for row in weights])
    middle = time.process_time()
    together = cox_draws(weeks, event, X, "efron", weights, start)
    ended = time.process_time()
    np.testing.assert_allclose(together, one_by_one, rtol=1e-6, atol=1e-9)
    print("what,measured")
    print(f"one by one (ms per draw),{1000 * (middle - started) / args.draws:.2f}")
    print(f"together (ms per draw),{1000 * (ended - middle) / args.draws:.2f}")
    print(f"ratio,{(middle - started) / (ended - middle):.1f}")


if __name__ == "__main__":
    main()
