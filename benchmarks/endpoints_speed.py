"""Time and memory of a whole endpoint analysis: 800 patients, 4 visits, two raters, every endpoint, 2000 draws.

    python benchmarks/endpoints_speed.py [--patients 800] [--draws 2000]

Limits (the project's own): report below 90 s and 2 GB on two cores, bootstrap below 60 s, MMRM below 2 s. Prints each
measurement (processor time of this process, and wall time) with the processor time's share of the limit. Data are
simulated.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nnunet_ms.analysis.effect_agreement import effect_agreement_statistics
from nnunet_ms.analysis.endpoint_files import run_trial
from nnunet_ms.analysis.progression import progression_data
from nnunet_ms.analysis.t2_volume import changes
from nnunet_ms.analysis.trial_data import read_trial
from nnunet_ms.analysis.trial_settings import read_settings
from nnunet_ms.analysis.volume_models import volume_mmrm, with_covariates
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, patients, timed_assessments, write_trial

T = TypeVar("T")
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
        rows, whole = timed(lambda: run_trial(path, folder / "out").endpoints)
        trial = read_trial(read_settings(path))
        table, _ = changes(trial)
        one = with_covariates(trial, table[table["rater"] == trial.raters[0]])
        (fit, _), mmrm = timed(lambda: volume_mmrm(trial, one))
        outcomes = [progression_data(trial, outcome) for outcome in trial.settings.outcomes]
        _, bootstrap = timed(lambda: list(effect_agreement_statistics(trial, table, outcomes)))
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"what,processor,wall,limit,share  # {args.patients} patients, {args.draws} draws, {len(rows)} statistics")
    for what, value, limit in (
        ("whole analysis and report (s)", whole, 90.0),
        ("bootstrap alone (s)", bootstrap, 60.0),
        (f"one MMRM of {fit.n_rows} rows (s)", mmrm, 2.0),
    ):
        print(f"{what},{value[0]:.2f},{value[1]:.2f},{limit:g},{value[0] / limit:.2f}")
    print(f"peak memory (GB),{gigabytes:.2f},,2,{gigabytes / 2:.2f}")


def timed(task: Callable[[], T]) -> tuple[T, tuple[float, float]]:
    """Return what the task returns, and its processor and wall time in seconds."""
    started = (time.process_time(), time.perf_counter())
    found = task()
    return found, (time.process_time() - started[0], time.perf_counter() - started[1])


if __name__ == "__main__":
    main()
