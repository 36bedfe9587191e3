"""Time of the simulator against its limits, on one core: a trial's tables, and one visit with five contrasts.

    OMP_NUM_THREADS=1 python benchmarks/simulator_speed.py

Limits: 800 patients, tables only, 5 s (with the start of the program); a visit on the 1x1x3 mm grid 4 s (images,
masks and lesion tables written; the brain itself, drawn once per patient, is shared by the visits). Processor time is
shown beside wall time, because it does not depend on what else the machine does.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from nnunet_ms.simulation.images.anatomy import load_template
from nnunet_ms.simulation.images.files import PhantomSettings, write_phantoms
from nnunet_ms.simulation.model.presets import GRIDS
from nnunet_ms.simulation.model.trial_presets import PRESETS
from nnunet_ms.simulation.trial import TrialSettings, write_trial

RESULTS = Path(__file__).parent / "results" / "simulator_speed.csv"
VISITS, TABLES_LIMIT_S, VISIT_LIMIT_S = 4, 5.0, 4.0


def measured(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - processor


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ratios; 1 when the processor time is over a limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for preset in ("opera2", "oratorio"):
            settings = TrialSettings(PRESETS[preset], 800, 0, "trial", images=False)
            times = measured(lambda settings=settings, preset=preset: write_trial(settings, folder / preset))  # type: ignore[misc]
            rows.append((f"tables of 800 patients, {preset}", *times, TABLES_LIMIT_S))
        load_template(GRIDS["trial"].spacing_mm)  # once per process
        settings_of_scans = PhantomSettings(1, 0, "trial", visits=VISITS)
        wall, processor = measured(lambda: write_phantoms(settings_of_scans, folder / "phantom"))
        rows.append(("visit, 1x1x3 mm, five contrasts", wall / VISITS, processor / VISITS, VISIT_LIMIT_S))
    table = pd.DataFrame(rows, columns=["what", "wall_s", "processor_s", "limit_s"])
    table["processor_over_limit"] = table["processor_s"] / table["limit_s"]
    args.results.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.results, index=False, float_format="%.3f")
    print(table.to_string(index=False, float_format="{:.2f}".format))
    return int((table["processor_over_limit"] > 1).any())


if __name__ == "__main__":
    sys.exit(main())
