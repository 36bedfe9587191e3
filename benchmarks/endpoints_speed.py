"""Time and memory of a whole endpoint analysis: 800 patients, 4 visits, two raters, every endpoint, 2000 draws.

    python benchmarks/endpoints_speed.py [--patients 800] [--draws 2000]

Limits (the project's own): report below 90 s and 2 GB on two cores, bootstrap below 60 s, MMRM below 2 s. Prints each
measurement with its share of the limit. Data are simulated.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nnunet_ms.analysis.endpoints.effect_agreement import effect_agreement_statistics
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import progression_data
from nnunet_ms.analysis.endpoints.t2_volume import changes
from nnunet_ms.analysis.endpoints.t2_volume_models import volume_mmrm, with_covariates
from nnunet_ms.analysis.run_trial import run_trial
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, patients, timed_assessments, write_trial

OUTCOMES = '["cdp12", "cdp24", "t25fw12", "t25fw24", "9hpt12", "9hpt24", "ccdp12", "ccdp24", "cdi12", "cdi24"]'


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
        started = time.perf_counter()
        rows = run_trial(path, folder / "out").endpoints
        whole = time.perf_counter() - started
        trial = read_trial(read_settings(path))
        table, _ = changes(trial)
        one = with_covariates(trial, table[table["rater"] == trial.raters[0]])
        started = time.perf_counter()
        fit, _ = volume_mmrm(trial, one)
        mmrm = time.perf_counter() - started
        outcomes = [progression_data(trial, outcome) for outcome in trial.settings.outcomes]
        started = time.perf_counter()
        list(effect_agreement_statistics(trial, table, outcomes))
        bootstrap = time.perf_counter() - started
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"what,measured,limit,share  # {args.patients} patients, {args.draws} draws, {len(rows)} statistics")
    for what, value, limit in (
        ("whole analysis and report (s)", whole, 90.0),
        ("bootstrap alone (s)", bootstrap, 60.0),
        (f"one MMRM of {fit.n_rows} rows (s)", mmrm, 2.0),
        ("peak memory (GB)", gigabytes, 2.0),
    ):
        print(f"{what},{value:.2f},{limit:g},{value / limit:.2f}")


if __name__ == "__main__":
    main()
