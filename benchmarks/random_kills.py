"""Every command is killed at random moments and repeated: its output must be what an undisturbed run leaves.

    python benchmarks/random_kills.py            # 20 kills of each command, about half an hour on two cores
    python benchmarks/random_kills.py -n 3 evaluate

The oracle is a run that nothing disturbs. A kill is SIGKILL, at a moment drawn evenly over the time of that run: in
turn to the command and all its processes (a machine that stops) and to the command alone (out of memory). The command
is then repeated at once, until it ends; all files must be equal, byte for byte but for the report's date, and nothing
else may be there. A row counts the kills that came before the command had ended by itself.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.trainers.prediction.time_taken import MEMORY, SECONDS

ROOT = Path(__file__).resolve().parents[1]
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
DATE = re.compile(rb'"created_utc": "[^"]*"')


@dataclass(frozen=True)
class Command:
    """A command that is killed: its module and arguments; what it reads is in `inputs`, it writes `output`."""

    module: str
    arguments: str
    output: str
    prepare: Callable[[Path], object]
    again: str = ""  # further arguments of a repeated run
    same: str = ""  # regular expression of the files whose content must be the same; of the others the names
    passing: str = "(?!)"  # of those that need not be there: dated logs of a training

    def start(self, folder: Path, arguments: str) -> "subprocess.Popen[bytes]":
        """Start it in a session of its own."""
        code = f"import sys; from {self.module} import main; sys.exit(main(sys.argv[1:]))"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the demo's stages
        return subprocess.Popen(
            [sys.executable, "-c", f'if __name__ == "__main__":\n    {code}', *arguments.split()],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def finish(self, folder: Path, *, repeated: bool) -> str:
        """Run it to its end; return what is wrong, or nothing."""
        more = f" {self.again}" if repeated and (folder / self.output).exists() else ""
        while True:
            process = self.start(folder, self.arguments + more)
            _, errors = process.communicate()
            if not (repeated and b"another run is writing it" in errors):  # a stage of the killed demo is still at work
                break
            time.sleep(1)
        return "" if process.returncode == 0 else f"exit code {process.returncode}: {errors.decode()[-300:]}"


def write_masks(folder: Path) -> None:
    """Twelve cases of predictions and references."""
    from nnunet_ms.images.volumes import write_volume

    for number in range(12):
        rng = np.random.default_rng(number)
        for kind in ("p", "r"):
            mask = (rng.random((40, 40, 12)) > 0.93).astype(np.uint8)
            write_volume(folder / kind / f"c{number:02}.nii.gz", mask, AFFINE)


def write_study(folder: Path) -> None:
    """Eight patients with FLAIR, T1 on another grid, so that it is resampled, and a mask of floats."""
    from nnunet_ms.images.volumes import write_volume

    rows = []
    for patient in (f"P{number}" for number in range(8)):
        rng = np.random.default_rng(len(rows))
        image = rng.normal(100, 20, (40, 40, 12)).astype(np.float32)
        write_volume(folder / patient / "flair.nii.gz", image, AFFINE)
        write_volume(folder / patient / "t1.nii.gz", image[:, :, :10] + 1, AFFINE)
        write_volume(folder / patient / "mask.nii.gz", (image > 130).astype(np.float32), AFFINE)
        rows.append((patient, "base", 0, *(f"{patient}/{name}.nii.gz" for name in ("flair", "t1", "mask"))))
    columns = ["patient_id", "visit", "week", "flair", "t1", "t2_lesions"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "manifest.csv", index=False)


def write_trial(folder: Path) -> None:
    """Tables of a simulated trial with its settings; few draws and one outcome, which else take most of the time."""
    from nnunet_ms.simulation.cli import main

    main(["trial", "--patients", "60", "-o", str(folder / "trial")])
    settings = folder / "trial" / "trial.toml"
    text = re.sub("outcomes = .*", 'outcomes = ["cdp24"]', settings.read_text("utf-8"))
    settings.write_text(f"{text}\n[analysis]\nbootstrap_draws = 20\n", "utf-8")


def write_model(folder: Path) -> None:
    """A tiny untrained model and two cases of images."""
    sys.path.insert(0, str(ROOT))
    from tests.trainers import tiny_model

    place = folder / "nnunet"  # nnU-Net's three folders, which making a trainer asks for
    place.mkdir(parents=True)
    shutil.copytree(tiny_model.write_results(place).parent, folder / "model")
    shutil.rmtree(place)
    tiny_model.write_images(folder / "images")


def nothing(_: Path) -> None:
    """Prepare nothing."""


MODEL = "model/nnUNetTrainerMSMultiArmTiny__nnUNetPlansMS__3d_fullres"
COMMANDS = {
    "convert": Command(
        "nnunet_ms.dataset_conversion.cli",
        "trial manifest.csv --channels flair,t1 --dataset-id 5 --raw raw --workers 2 --overwrite",
        "raw",
        write_study,
    ),
    "evaluate": Command(
        "nnunet_ms.analysis.evaluate_cli", "--predictions p --references r --workers 2 -o out", "out", write_masks
    ),
    "simulate": Command(
        "nnunet_ms.simulation.cli", "trial --preset demo --patients 2 --images --workers 2 -o out", "out", nothing
    ),
    "endpoints": Command("nnunet_ms.analysis.endpoints_cli", "run trial/trial.toml -o out", "out", write_trial),
    "predict": Command(
        "nnunet_ms.trainers.predict_cli",
        f"-i images -o out -m {MODEL} -device cpu --mc-samples 2 --no-pictures --workers 2",
        "out",
        write_model,
        again="--continue",
    ),
    "demo": Command(
        "nnunet_ms.demo",
        "--quick -o out",
        "out",
        nothing,
        same="^out/(trial/|nnunet/raw|analysis)",  # a training that goes on is another one
        passing=r"training_log_|/\.mpl|progress\.png|debug\.json|checkpoint_latest",
    ),
}


def tree(folder: Path, command: Command) -> dict[str, str]:
    """Checksum of every file, folders by their name; dates, seconds and memory of the run are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if re.search(command.passing, name):
            continue
        is_compared = path.is_file() and re.search(command.same, name)
        content = _without_run(path) if is_compared else b"there"
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def _without_run(path: Path) -> bytes:
    """What is in a file, but for what belongs to the run: its date, and what predict writes of its time and memory."""
    if path.name == "cases.csv":
        table = pd.read_csv(path, dtype=str)
        return table.drop(columns=[*SECONDS, *MEMORY], errors="ignore").to_csv().encode()
    if path.name == "prediction.json":
        return json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "time"}).encode()
    return DATE.sub(b"", path.read_bytes())


@dataclass(frozen=True)
class Outcome:
    """What became of a command that was killed a number of times."""

    kills: int
    in_time: int
    wrong: tuple[str, ...]


def try_command(command: Command, kills: int, seed: int, place: Path) -> Outcome:
    """Kill a command at random moments, each time in a new folder, and repeat it."""
    inputs = place / "inputs"
    inputs.mkdir()
    command.prepare(inputs)
    undisturbed = place / "undisturbed"
    shutil.copytree(inputs, undisturbed)
    started = time.monotonic()
    if problem := command.finish(undisturbed, repeated=False):
        raise RuntimeError(problem)
    seconds, expected = time.monotonic() - started, tree(undisturbed, command)
    moments = random.Random(seed)
    wrong, in_time = [], 0
    for number in range(kills):
        folder = place / f"kill{number}"
        shutil.copytree(inputs, folder)
        moment = moments.uniform(0.15, 1.0) * seconds
        in_time += kill(command, folder, moment, to_all=number % 2 == 0)
        problem = command.finish(folder, repeated=True) or difference(expected, tree(folder, command))
        if problem:
            wrong.append(f"kill {number} after {moment:.2f} s: {problem}")
        shutil.rmtree(folder)
    return Outcome(kills, in_time, tuple(wrong))


def kill(command: Command, folder: Path, moment: float, *, to_all: bool) -> bool:
    """Start a command and kill it; return whether it was still at work."""
    process = command.start(folder, command.arguments)
    try:
        process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGKILL)
        process.stderr.close()  # type: ignore[union-attr]
        process.wait()
        return True
    return False


def difference(expected: dict[str, str], found: dict[str, str]) -> str:
    """The first files that are not the same."""
    names = [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
    return f"{len(names)} files differ: {names[:4]}" if names else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row per command; 1 if a tree differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", choices=[[], *COMMANDS], help="which (default: all)")
    parser.add_argument("-n", "--kills", type=int, default=20, help="of each (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    print("| command | kills | before its end | trees equal |\n|---|---|---|---|", flush=True)
    wrong: list[str] = []
    for name in args.commands or COMMANDS:
        with tempfile.TemporaryDirectory() as place:
            outcome = try_command(COMMANDS[name], args.kills, args.seed, Path(place))
        print(f"| {name} | {outcome.kills} | {outcome.in_time} | {outcome.kills - len(outcome.wrong)} |", flush=True)
        wrong += [f"{name}: {line}" for line in outcome.wrong]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
