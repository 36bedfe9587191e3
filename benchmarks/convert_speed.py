"""Conversion that copies against `cp` and one checksum pass; memory of a large cohort; kill -9 and start again.

    python benchmarks/convert_speed.py copy     # 24 scans of 182x218x182 voxels, compressed
    python benchmarks/convert_speed.py cohort   # 2,000 small cases through --dask local:2
    python benchmarks/convert_speed.py kill     # 20 times, at random moments

`copy`: the peer is `cp -r` of the same files followed by SHA-256 (hashlib, the faster of it and `sha256sum` here) of
each; bar: 0.8 of its speed with `--headers-only`. What reading every voxel costs is shown beside a peer that also
unpacks the files, which no reader of compressed voxels can do without. Processor seconds of this process and its
children, best of the repeats, everything in the page cache. `cohort`: largest private memory of the command and its
workers together; bar: not more than 1.1 of that with a quarter of the cases. `kill`: the dataset after the next run
must be the same, file by file, as one that was never disturbed.
"""

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import psutil

from nnunet_ms.dataset_conversion.cli import main as convert
from nnunet_ms.images.volumes import read_volume

RESULTS = Path(__file__).parent / "results"
LARGE, SMALL = (182, 218, 182), (24, 28, 12)
BAR, MEMORY_BAR = 0.8, 1.1
CHANNELS = ("flair", "t2", "t1")


def write_study(folder: Path, patients: int, visits: int, shape: tuple[int, int, int], seed: int = 0) -> Path:
    """Manifest of visits with three int16 channels and a mask; the last channel of each patient's first visit differs.

    For `SMALL` it has other voxels, so that it is resampled, and the mask is float, so that it is rewritten: a killed
    run is then cut in every kind of work.
    """
    rng, rows = np.random.default_rng(seed), []
    for patient in range(patients):
        for visit in range(visits):
            place = folder / f"P{patient:04d}" / f"v{visit}"
            place.mkdir(parents=True)
            recodes = shape == SMALL and visit == 0
            for name in CHANNELS:
                zoom = 2 if recodes and name == "t1" else 1
                size = tuple(n // zoom for n in shape)
                data = rng.integers(0, 1000, size, dtype=np.int16)
                _save(place / f"{name}.nii.gz", data, float(zoom))
            mask = np.zeros(shape, np.float32 if recodes else np.uint8)
            mask[5:9, 5:9, 3:5] = 1
            _save(place / "mask.nii.gz", mask, 1.0)
            home = place.relative_to(folder)
            paths = {name: f"{home}/{name}.nii.gz" for name in CHANNELS} | {"t2_lesions": f"{home}/mask.nii.gz"}
            rows.append({"patient_id": place.parent.name, "visit": place.name, "week": visit * 24, **paths})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def _save(path: Path, data: np.ndarray, spacing: float) -> None:
    image = nib.Nifti1Image(data, np.diag([spacing] * 3 + [1.0]))
    with nib.openers.Opener(str(path), "wb", compresslevel=1) as stream:
        image.to_stream(stream)


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """Processor (children included) and wall seconds."""
    before, wall = os.times(), time.perf_counter()
    call()
    after = os.times()
    processor = sum(after[:4]) - sum(before[:4])
    return processor, time.perf_counter() - wall


def copy(args: argparse.Namespace) -> pd.DataFrame:
    """Time conversion and peers on the same files, in turn."""
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        manifest = write_study(folder / "study", args.patients, 2, LARGE)
        files = sorted((folder / "study").rglob("*.nii.gz"))
        size = sum(path.stat().st_size for path in files) / 1e9
        target = folder / "out"

        def peer() -> None:
            subprocess.run(["cp", "-r", str(folder / "study"), str(target)], check=True)
            for path in files:
                with path.open("rb") as stream:
                    hashlib.file_digest(stream, "sha256")

        def unpacking_peer() -> None:
            peer()
            for path in files:
                read_volume(path)

        runs: dict[str, Callable[[], object]] = {
            "cp + SHA-256": peer,
            "convert --headers-only": lambda: _convert(manifest, target, "--headers-only"),
            "cp + SHA-256 + reading every voxel": unpacking_peer,
            "convert": lambda: _convert(manifest, target),
        }
        times: dict[str, list[tuple[float, float]]] = {what: [] for what in runs}
        for repeat in range(args.repeats + 1):
            for what, run in runs.items():
                measured = seconds(run)
                shutil.rmtree(target)
                if repeat:  # the first round fills the page cache and imports what is imported late
                    times[what].append(measured)
    rows = [(what, size, *np.min(pairs, axis=0)) for what, pairs in times.items()]
    table = pd.DataFrame(rows, columns=["what", "gigabytes", "processor_s", "wall_s"])
    for kind in ("processor", "wall"):
        peers = table[f"{kind}_s"].iloc[[0, 0, 2, 2]].to_numpy()
        table[f"speed_over_peer_{kind}"] = peers / table[f"{kind}_s"]
    return table


def _convert(manifest: Path, target: Path, *more: str) -> None:
    with redirect_stdout(StringIO()):
        code = convert(["trial", str(manifest), "--dataset-id", "5", "--raw", str(target), "--folds", "2", *more])
    if code:
        raise RuntimeError(f"conversion ended with {code}")


def cohort(args: argparse.Namespace) -> pd.DataFrame:
    """Largest memory of the command on a Dask cluster of two, with a quarter of the cases and with all."""
    rows = []
    for cases in (args.cases // 4, args.cases):
        with tempfile.TemporaryDirectory(dir=args.folder) as name:
            rows.append({"cases": cases, **_watched(Path(name), cases)})
    table = pd.DataFrame(rows)
    table["peak_over_quarter"] = table["peak_mb"] / table["peak_mb"].iloc[0]
    return table


def _watched(folder: Path, cases: int) -> dict[str, float]:
    write_study(folder / "study", cases // 5, 5, SMALL)
    command = [sys.executable, "-m", "nnunet_ms.dataset_conversion.cli", "trial", "study/manifest.csv"]
    command += ["--dataset-id", "5", "--raw", "raw", "--dask", "local:2"]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    samples = []
    while process.poll() is None:
        samples.append(_memory(process.pid))
        time.sleep(0.1)
    done = len(list((folder / "raw").rglob("labelsTr/*.nii.gz")))
    row = {"written": done, "exit": process.returncode, "wall_s": time.perf_counter() - started}
    return row | {"peak_mb": max(samples) / 1e6, "median_mb": float(np.median(samples)) / 1e6}


def _memory(pid: int) -> float:
    """Private memory of a process and all its children, in bytes."""
    total = 0.0
    try:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            total += process.memory_full_info().uss
    except psutil.NoSuchProcess:
        pass
    return total


def kill(args: argparse.Namespace) -> pd.DataFrame:
    """Kill a conversion at a random moment, start it again, compare with an undisturbed one; many times."""
    rows = []
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        manifest = write_study(folder / "study", 30, 2, SMALL)
        _convert(manifest, folder / "undisturbed")  # imports
        expected = tree(folder / "undisturbed")
        _, whole = seconds(lambda: _convert(manifest, folder / "timed"))
        rng = np.random.default_rng(args.seed)
        for number, moment in enumerate(rng.uniform(0, 1.1 * whole, args.times)):
            raw = folder / f"raw{number}"
            state = _killed_after(float(moment), manifest, raw)
            kept = len(list(raw.rglob("*.written.json")))
            _, again = seconds(lambda raw=raw: _convert(manifest, raw, "--overwrite"))  # type: ignore[misc]
            rows.append((number, moment / whole, state, kept, again / whole, tree(raw) == expected))
    return pd.DataFrame(rows, columns=["run", "moment_share", "left", "cases_kept", "second_run_share", "identical"])


def _killed_after(moment: float, manifest: Path, raw: Path) -> str:
    """Convert in a child process that is killed after `moment` seconds; say what it left."""
    child = os.fork()  # everything is imported already, so that the kill falls into the work
    if child == 0:
        code = 1
        try:
            _convert(manifest, raw)
            code = 0
        finally:
            os._exit(code)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if not raw.exists():
        return "nothing"
    return "whole" if any(path.name.startswith("Dataset") for path in raw.iterdir()) else "partial, hidden"


def tree(folder: Path) -> dict[str, str]:
    """Checksum of every file below, hidden ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print and store a table; 1 when its bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("copy", "cohort", "kill"))
    parser.add_argument("--patients", type=int, default=4, help="copy: two visits of three channels each")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", type=int, default=2000, help="cohort")
    parser.add_argument("--times", type=int, default=20, help="kill")
    parser.add_argument("--seed", type=int, default=0, help="kill: of the moments")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    table = {"copy": copy, "cohort": cohort, "kill": kill}[args.what](args)
    args.results.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.results / f"convert_speed_{args.what}.csv", index=False, float_format="%.3f")
    print(table.to_string(index=False, float_format="{:.3f}".format))
    if args.what == "copy":
        is_met = table["speed_over_peer_processor"].iloc[1] >= BAR
    elif args.what == "cohort":
        is_met = table["peak_over_quarter"].iloc[1] <= MEMORY_BAR and table["written"].iloc[1] == args.cases
    else:
        is_met = bool(table["identical"].all())
    print("bar met" if is_met else "bar MISSED")
    return int(not is_met)


if __name__ == "__main__":
    sys.exit(main())
