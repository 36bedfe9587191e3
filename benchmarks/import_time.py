"""What `import nnunet_ms` and every command's `--help` cost, against `python -c pass` in the same run.

Processor time of a fresh interpreter, the least of several runs: what else the machine does hardly changes it.
Limits: 0.05 s for the import beyond an empty interpreter, 0.3 s for each command's help and version.

    python benchmarks/import_time.py --repeats 5 --csv benchmarks/results/import_time.csv
"""

import argparse
import csv
import resource
import subprocess
import sys
from pathlib import Path

from nnunet_ms.__main__ import COMMANDS

IMPORT_LIMIT_S, HELP_LIMIT_S = 0.05, 0.3


def processor_seconds(words: list[str], repeats: int) -> float:
    """Least processor time of an interpreter with these arguments."""
    times = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def measure(repeats: int) -> list[dict[str, object]]:
    """One row per start: what, seconds, times an empty interpreter's, limit, and whether it holds."""
    empty = processor_seconds(["-c", "pass"], repeats)
    starts = {"import nnunet_ms": (["-c", "import nnunet_ms"], empty + IMPORT_LIMIT_S)}
    starts["python -m nnunet_ms"] = (["-m", "nnunet_ms"], HELP_LIMIT_S)
    starts |= {f"{word} --help": (["-m", "nnunet_ms", word, "--help"], HELP_LIMIT_S) for word in COMMANDS}
    starts["--version"] = (["-m", "nnunet_ms", "--version"], HELP_LIMIT_S)
    rows: list[dict[str, object]] = [{"start": "python -c pass", "seconds": round(empty, 4), "ratio": 1.0}]
    for name, (words, limit) in starts.items():
        seconds = processor_seconds(words, repeats)
        numbers = {"seconds": round(seconds, 4), "ratio": round(seconds / empty, 2), "limit": round(limit, 4)}
        rows.append({"start": name, **numbers, "met": seconds <= limit})
    return rows


def main() -> int:
    """Measure, print, and write a table; 1 if a limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    rows = measure(args.repeats)
    for row in rows:
        limit = f"limit {row['limit']:.3f} s: {'met' if row['met'] else 'NOT met'}" if "met" in row else ""
        print(f"{row['start']:<22}{row['seconds']:>8.3f} s{row['ratio']:>7.1f} x   {limit}")
    if args.csv:
        with args.csv.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, ["start", "seconds", "ratio", "limit", "met"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return 0 if all(row.get("met", True) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
