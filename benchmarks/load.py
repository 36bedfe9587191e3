"""How processor time and memory grow with the work: with n patients, n cases, n voxels.

    python benchmarks/load.py                      # every part; about an hour on two free cores
    python benchmarks/load.py evaluate convert     # some
    python benchmarks/load.py threads              # with the libraries' own number of threads, and ours

Each row is one command in a process of its own, as the system counts it (wait4: processor time of the process and those
that it waited for, largest resident memory). The exponent is the power of n from the second largest size to the
largest: 1 is linear, the limit is 1.1, and far below 1 the start still counts for most.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
LIMIT = 1.1
LARGE = 512 * 512 * 400  # voxels


@dataclass(frozen=True)
class Used:
    """What a process took."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Part:
    """One kind of load: sizes, what is made for each, and the Python that is measured."""

    sizes: tuple[int, ...]
    unit: str
    prepare: Callable[[Path, int], object]
    code: str


def measured(code: str, folder: Path, **environment: str) -> Used:
    """Run Python in a folder and say what it took."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", **environment}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=variables, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{code!r} ended with {os.waitstatus_to_exitcode(status)}")
    return Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """The power of n by which the cost grows from the second largest size to the largest."""
    return math.log(costs[-1] / costs[-2]) / math.log(sizes[-1] / sizes[-2])


def write_trial(folder: Path, patients: int) -> None:
    """Tables of a simulated trial, two readers."""
    run = f"trial --preset oratorio --patients {patients} -o trial"
    measured(f"from nnunet_ms.simulation.cli import main; main({run.split()!r})", folder)


def blobs(
    shape: tuple[int, int, int], number: int, seed: int, side: int = 2
) -> "np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]":
    """Mask with so many separate cubes, each in a cell of its own of a grid of them."""
    rng = np.random.default_rng(seed)
    cells = [length // (side + 2) for length in shape]
    chosen = rng.choice(math.prod(cells), number, replace=False)
    corners = np.stack(np.unravel_index(chosen, cells), axis=1) * (side + 2) + 1
    mask = np.zeros(shape, np.uint8, order="F")  # as files have it
    for step in np.ndindex(side, side, side):
        mask[tuple((corners + step).T)] = 1
    return mask


def write_masks(folder: Path, cases: int) -> None:
    """Predicted and reference masks of many small scans with a dozen lesions each."""
    from nnunet_ms.images.volumes import write_volume

    for number in range(cases):
        for kind, seed in (("p", 0), ("r", 1)):
            mask = blobs((48, 48, 16), 12, 2 * number + seed)
            write_volume(folder / kind / f"c{number:05}.nii.gz", mask, AFFINE)


def write_study(folder: Path, cases: int) -> None:
    """A manifest of many small scans with masks."""
    from nnunet_ms.images.volumes import write_volume

    rows = []
    for number in range(cases):
        patient = f"P{number:05}"
        mask = blobs((48, 48, 16), 12, number)
        image = np.random.default_rng(number).normal(100, 10, mask.shape).astype(np.float32) + 60 * mask
        write_volume(folder / "study" / f"{patient}_flair.nii.gz", image, AFFINE)
        write_volume(folder / "study" / f"{patient}_mask.nii.gz", mask, AFFINE)
        rows.append((patient, "base", 0, f"{patient}_flair.nii.gz", f"{patient}_mask.nii.gz"))
    columns = ["patient_id", "visit", "week", "flair", "t2_lesions"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "study" / "manifest.csv", index=False)


def write_large_masks(folder: Path, voxels: int, components: int = 20_000) -> None:
    """Two masks in the proportions of 512 x 512 x 400 with so many voxels and components."""
    part = (voxels / LARGE) ** (1 / 3)
    shape = (round(512 * part), round(512 * part), round(400 * part))
    for name, seed in (("p", 0), ("r", 1)):
        np.save(folder / f"{name}.npy", blobs(shape, components, seed))


def write_many_components(folder: Path, components: int) -> None:
    """Two masks of 512 x 512 x 400 voxels."""
    write_large_masks(folder, LARGE, components)


EVALUATE = "--predictions p --references r -o out"
CONVERT = "trial study/manifest.csv --channels flair --dataset-id 5 --raw raw"
TWO_MASKS = """
import numpy as np
import nnunet_ms as ms
p, r = np.load("p.npy"), np.load("r.npy")
print(ms.evaluate_masks(p, r, spacing=(0.5, 0.5, 0.5)))
"""
PARTS = {
    "endpoints": Part(
        (200, 800, 3_200, 10_000),
        "patients",
        write_trial,
        "from nnunet_ms.analysis.endpoints_cli import main; main('run trial/trial.toml -o out'.split())",
    ),
    "evaluate": Part(
        (100, 1_000, 2_500, 5_000),
        "cases",
        write_masks,
        f"from nnunet_ms.analysis.evaluate_cli import main; main({EVALUATE.split()!r})",
    ),
    "convert": Part(
        (100, 1_000, 2_500, 5_000),
        "cases",
        write_study,
        f"from nnunet_ms.dataset_conversion.cli import main; main({CONVERT.split()!r})",
    ),
    "voxels": Part((LARGE // 2, LARGE, 2 * LARGE, 4 * LARGE), "voxels", write_large_masks, TWO_MASKS),
    "components": Part((20_000, 100_000, 400_000, 800_000), "components", write_many_components, TWO_MASKS),
}


def rows(part: Part) -> Iterator[tuple[int, Used]]:
    """Each size with what it took."""
    for size in part.sizes:
        with tempfile.TemporaryDirectory() as place:
            part.prepare(Path(place), size)
            yield size, measured(part.code, Path(place))


def print_part(name: str, part: Part) -> list[str]:
    """Print the rows of one part and its exponents; return what is over the limit."""
    found = []
    for size, used in rows(part):
        found.append((size, used))
        print(f"| {name} | {size:,} {part.unit} | {used.seconds:.1f} | {used.megabytes:,.0f} |", flush=True)
    sizes = [size for size, _ in found]
    powers = [exponent(sizes, [getattr(used, what) for _, used in found]) for what in ("seconds", "megabytes")]
    print(f"| {name} | exponent | {powers[0]:.2f} | {powers[1]:.2f} |", flush=True)
    return [f"{name}: exponent {power:.2f}" for power in powers if power > LIMIT]


SIMULATE = "trial --preset oratorio --patients 400 -o new"
COMMANDS = {
    "simulate": f"from nnunet_ms.simulation.cli import main; main({SIMULATE.split()!r})",
    "endpoints": PARTS["endpoints"].code,
    "evaluate": PARTS["evaluate"].code,
    "convert": PARTS["convert"].code,
    "evaluate, 2 processes": PARTS["evaluate"].code.replace("'-o'", "'--workers', '2', '-o'"),
    "convert, 2 processes": PARTS["convert"].code.replace("'--raw'", "'--workers', '2', '--raw'"),
}
UNLIMITED = """
import nnunet_ms.threads as threads
threads.one_thread = lambda function: function
threads.threads_of_each = lambda processes: threads.processors()
"""


def print_threads() -> None:
    """Print the processor time of each command with the libraries' own number of threads, and with ours."""
    print("| command | libraries' own (s) | limited (s) | ratio |\n|---|---|---|---|")
    for name, code in COMMANDS.items():
        used = []
        for before in (UNLIMITED, ""):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                for prepare, size in ((write_trial, 200), (write_masks, 60), (write_study, 60)):
                    prepare(folder, size)
                used.append(measured(before + code, folder))
        print(f"| {name} | {used[0].seconds:.1f} | {used[1].seconds:.1f} | {used[0].seconds / used[1].seconds:.2f} |")
        sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 1 if an exponent is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS, "threads"], help="which (default: all)")
    parser.add_argument("--sizes", type=json.loads, help="instead of a part's own, such as [100,1000]")
    args = parser.parse_args(argv)
    over: list[str] = []
    asked = args.parts or [*PARTS, "threads"]
    if set(asked) & set(PARTS):
        print(
            "| part | n | processor time (s) | memory (MB) |\n|---|---|---|---|",
            flush=True,
        )
    for name in asked:
        if name in PARTS:
            part = PARTS[name]
            over += print_part(name, Part(tuple(args.sizes or part.sizes), part.unit, part.prepare, part.code))
    if "threads" in asked:
        print_threads()
    print("\n".join(over))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
