"""Time and memory of a whole endpoint analysis: 800 patients, 4 visits, two raters, every endpoint, 2000 draws.

    python benchmarks/endpoints_speed.py [--patients 800] [--draws 2000]

Limits (the project's own): report below 90 s and 2 GB on two cores, bootstrap below 60 s, MMRM below 2 s. Prints each
measurement with its share of the limit, in processor time, and how much faster all draws of a multivariable Cox model
are together (`bootstrap_cox.py`) than one by one (`cox.maximise`). Data are simulated.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nnunet_ms.analysis.bootstrap_cox import cox_draws
from nnunet_ms.analysis.cox import maximise, risk_sets
from nnunet_ms.analysis.effect_agreement import effect_agreement_statistics
from nnunet_ms.analysis.endpoint_files import run_trial
from nnunet_ms.analysis.progression import progression_data
from nnunet_ms.analysis.t2_volume import changes
from nnunet_ms.analysis.trial_data import read_trial
from nnunet_ms.analysis.trial_settings import read_settings
from nnunet_ms.analysis.volume_models import volume_mmrm, with_covariates
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, patients, timed_assessments, write_trial

OUTCOMES = '["cdp12", "cdp24", "t25fw12", "t25fw24", "9hpt12", "9hpt24", "ccdp12", "ccdp24", "cdi12", "cdi24"]'


def cox_ratio(draws: int = 200, n: int = 800, k: int = 7) -> float:
    """Return processor time of the draws one by one, divided by that of all together; same coefficients."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, k))
    weeks = np.ceil(np.minimum(rng.exponential(300, n), 108) / 12) * 12
    event = rng.random(n) < 0.3
    weights = rng.multinomial(n, np.full(n, 1 / n), draws).astype(float)
    sets = risk_sets(weeks, event, X)
    start, *_ = maximise(sets, "efron")
    started = time.process_time()
    one_by_one = np.array([maximise(sets, "efron", row, start)[0] for row in weights])
    middle = time.process_time()
    together = cox_draws(weeks, event, X, "efron", weights, start)
    ended = time.process_time()
    np.testing.assert_allclose(together, one_by_one, rtol=1e-6, atol=1e-9)
    return (middle - started) / (ended - middle)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed and memory of the endpoint analysis.")
    parser.add_argument("--patients", type=int, default=800)
    parser.add_argument("--draws", type=int, default=2000)
    args = parser.parse_args()
    settings = SETTINGS.replace('["cdp24"]', OUTCOMES).replace("draws = 20", f"draws = {args.draws}")
    with tempfile.TemporaryDirectory() as name:
        folder, table = Path(name), patients(args.patients)
        tables = {"visits": all_lesion_types(table), "assessments": timed_assessments(table)}
        path = write_trial(folder / "in", settings, patients=table, **tables)
        started = time.process_time()
        rows = run_trial(path, folder / "out").endpoints
        whole = time.process_time() - started
        trial = read_trial(read_settings(path))
        table, _ = changes(trial)
        one = with_covariates(trial, table[table["rater"] == trial.raters[0]])
        started = time.process_time()
        fit, _ = volume_mmrm(trial, one)
        mmrm = time.process_time() - started
        outcomes = [progression_data(trial, outcome) for outcome in trial.settings.outcomes]
        started = time.process_time()
        list(effect_agreement_statistics(trial, table, outcomes))
        bootstrap = time.process_time() - started
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"what,measured,limit,share  # {args.patients} patients, {args.draws} draws, {len(rows)} statistics")
    for what, value, limit in (
        ("whole analysis and report (s)", whole, 90.0),
        ("bootstrap alone (s)", bootstrap, 60.0),
        (f"one MMRM of {fit.n_rows} rows (s)", mmrm, 2.0),
        ("peak memory (GB)", gigabytes, 2.0),
    ):
        print(f"{what},{value:.2f},{limit:g},{value / limit:.2f}")
    print(f"Cox draws one by one / together (ratio),{cox_ratio():.1f},,")


if __name__ == "__main__":
    main()
