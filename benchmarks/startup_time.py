"""What the start-up file of this package costs every other program: the start of Python with it and without.

    python benchmarks/startup_time.py

Starts by turns, without `site` so that nothing else varies; the limit is 1 ms. The ratio is to a bare start.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

STARTUP = Path(__file__).resolve().parents[1] / "startup"
BARE = f"import sys; sys.path.insert(0, {str(STARTUP)!r})"
WITH = f"{BARE}; import nnunet_ms_doors; nnunet_ms_doors.install()"  # the line of nnunet_ms_doors.pth
LIMIT_MS = 1.0


def start_ms(code: str) -> float:
    """Wall time of one start of Python, in ms."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
    return 1000 * (time.perf_counter() - begin)


def main(argv: Sequence[str] | None = None) -> int:
    """Print both medians, their difference against the limit, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200, help="starts of each kind (default: 200)")
    repeats = parser.parse_args(argv).repeats
    start_ms(WITH)  # writes the byte code
    pairs = [(start_ms(BARE), start_ms(WITH)) for _ in range(repeats)]
    bare, with_it = (statistics.median(column) for column in zip(*pairs, strict=True))
    cost = statistics.median(second - first for first, second in pairs)
    print(f"Python alone {bare:.2f} ms, with the start-up file {with_it:.2f} ms ({with_it / bare:.3f} times)")
    print(f"cost {cost:.2f} ms, limit {LIMIT_MS:g} ms: {'met' if cost < LIMIT_MS else 'NOT met'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
