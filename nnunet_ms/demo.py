"""`nnunet-ms-demo`: the whole way on a simulated trial, from scans to the report.

Every stage is a command that a user could type; it is shown, its output goes to a log, and a stage that is done is not
done again. Killed at any moment and started again, the demo goes on where it stopped and ends with the same result.
"""

import argparse
import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nnunet_ms.commands import OK, parser, run
from nnunet_ms.errors import ImageError, NnunetMsError, SettingsError
from nnunet_ms.locks import LOCK, sole_run
from nnunet_ms.nnunet import require_nnunet
from nnunet_ms.outputs import whole_file
from nnunet_ms.programs import GRACE_S, end_of_log, run_logged

PROGRAM = "nnunet-ms-demo"
DATASET = "801"
ONE_PATIENT = "trial/one_patient.csv"
DONE = ".done"  # one file per finished stage
CONFIGURATION, PLANS, FOLD = "3d_fullres", "nnUNetPlansMS", "0"


@dataclass(frozen=True)
class Size:
    """How much the demo does: patients of the trial, those among them that only train, and the trainer."""

    patients: int
    training_patients: int
    trainer: str


FULL = Size(patients=40, training_patients=10, trainer="nnUNetTrainerMSMultiArmSmall")
QUICK = Size(patients=12, training_patients=3, trainer="nnUNetTrainerMSMultiArmTiny")


@dataclass(frozen=True)
class Stage:
    """One command, run in the demo's folder; `output` is what it makes there, `before` prepares the folder for it."""

    name: str
    command: tuple[str, ...]
    output: str
    before: Callable[[Path], None] | None = None


def build_parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    result = parser(
        PROGRAM,
        "Simulate a small trial, convert, plan, train, predict, evaluate, and report its endpoints.",
        f"{PROGRAM} -o demo",
    )
    result.add_argument("-o", "--out", type=Path, default=Path("demo"), help="folder for everything (default: demo)")
    result.add_argument("--seed", type=int, default=0, help="seed of the simulated trial (default: 0)")
    result.add_argument("--quick", action="store_true", help="tiny network and trial: shows that the way is open")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when the report is there, 2 when a stage failed."""
    remains = "Stages that are done are kept. Repeat the command to go on."
    return run(PROGRAM, lambda: _demo(build_parser().parse_args(argv)), remains)


def _demo(args: argparse.Namespace) -> int:
    return demo(args.out.resolve(), QUICK if args.quick else FULL, args.seed)


def demo(out: Path, size: Size, seed: int) -> int:
    """Run all stages that are not done yet."""
    require_nnunet()  # now, not after the minutes of the first stages
    with sole_run(out, wait_s=GRACE_S) as lock:
        return _demo_in(out, size, seed, lock)


def _demo_in(out: Path, size: Size, seed: int, lock: tuple[int, ...]) -> int:
    settings = f"{size} seed={seed}"
    _claim(out, settings)
    started = time.monotonic()
    todo = stages(size, seed)
    for number, stage in enumerate(todo, start=1):
        run_stage(stage, out, f"[{number}/{len(todo)}] {stage.name}", lock)
    minutes = (time.monotonic() - started) / 60
    pages = out / "segmented" / "pages"
    print(f"done in {minutes:.1f} min. Simulated data; open {out / 'report' / 'index.html'} and the page in {pages}")
    return OK


def stages(size: Size, seed: int) -> list[Stage]:
    """All stages, in order; paths are relative to the demo's folder, in which they run."""
    raw = f"nnunet/raw/Dataset{DATASET}_Demo"
    cores = os.cpu_count() or 1
    workers = ("--workers", str(cores))
    np = str(min(2, cores))
    model = ("-d", DATASET, "-c", CONFIGURATION, "-f", FOLD, "-tr", size.trainer, "-p", PLANS, "-device", "cpu")
    commands = {
        "simulate a trial": (
            *("nnunet-ms-simulate", "trial", "--preset", "demo", "--patients", str(size.patients), "--images"),
            *("--seed", str(seed), *workers, "-o", "trial"),
        ),
        "convert": (
            *("nnunet-ms-convert", "trial", "trial/manifest.csv", "--dataset-id", DATASET, "--name", "Demo"),
            *("--test-patients", ",".join(trial_patients(size)), *workers, "--overwrite"),
        ),
        "plan and preprocess": (
            *("nnUNetv2_plan_and_preprocess", "-d", DATASET, "-pl", "nnUNetPlannerMS", "-c", CONFIGURATION),
            *("-npfp", np, "-np", np),
        ),
        "train": (
            *("nnUNetv2_train", DATASET, CONFIGURATION, FOLD, "-tr", size.trainer, "-p", PLANS),
            *("-device", "cpu", "--c"),
        ),
        "predict the other patients": (
            *("nnUNetv2_predict", "-i", f"{raw}/imagesTs", "-o", "predictions", *model),
            *("-step_size", "0.8", "-npp", "1", "-nps", "1", "--disable_tta", "--continue_prediction"),
        ),
        "evaluate": (
            *("nnunet-ms-evaluate", "--predictions", "predictions", "--references", f"{raw}/labelsTs"),
            *("--cases", f"{raw}/cases.csv", "--rater", "multi_arm_t2", "--data-note", "simulated"),
            *(*workers, "-o", "evaluation"),
        ),
        "describe the trial": (
            *("nnunet-ms-endpoints", "init", "trial.toml", "--patients", "analysis/patients.csv"),
            *("--assessments", "analysis/assessments.csv", "--visits", "evaluation/visits.csv"),
            *("--relapses", "analysis/relapses.csv", "--agreement", "evaluation/agreement.csv"),
            *("--size-bin-figure", "evaluation/size_bins_krishnan2023.png"),
            *("--truth", "trial/truth.json", "--simulated"),
        ),
        "endpoints and report": ("nnunet-ms-endpoints", "run", "trial.toml", "-o", "report"),
        "segment one patient's scans": (
            *("nnunet-ms-segment", ONE_PATIENT, "-o", "segmented", "--overwrite", "--device", "cpu", "--samples", "2"),
            *("--model", f"nnunet/results/Dataset{DATASET}_Demo/{size.trainer}__{PLANS}__{CONFIGURATION}"),
            *("--data-note", "simulated"),
        ),
    }
    before = _before(trial_patients(size))
    outputs = {
        "simulate a trial": "trial/manifest.csv",
        "convert": f"{raw}/dataset.json",
        "plan and preprocess": f"nnunet/preprocessed/Dataset{DATASET}_Demo/{PLANS}.json",
        "train": f"nnunet/results/Dataset{DATASET}_Demo/{size.trainer}__{PLANS}__{CONFIGURATION}/plans.json",
        "predict the other patients": "predictions/plans.json",
        "evaluate": "evaluation/agreement.csv",
        "describe the trial": "trial.toml",
        "endpoints and report": "report/index.html",
        "segment one patient's scans": "segmented/visits.csv",
    }
    return [Stage(name, command, outputs[name], before.get(name)) for name, command in commands.items()]


def _before(patients: Sequence[str]) -> dict[str, Callable[[Path], None]]:
    """What prepares the folder for a stage."""
    return {
        "predict the other patients": remove_damaged_predictions,
        "describe the trial": partial(select_patients, patients=patients),
        "segment one patient's scans": partial(select_scans, patients=patients),
    }


def trial_patients(size: Size) -> list[str]:
    """Patients that are analysed; the ones before them only train the network."""
    return [f"P{number:03d}" for number in range(size.training_patients + 1, size.patients + 1)]


def select_patients(out: Path, patients: Sequence[str]) -> None:
    """Write the clinical tables of the analysed patients, and remove an unfinished trial.toml."""
    from nnunet_ms.tables import ASSESSMENTS, PATIENTS, RELAPSES, read_table, write_table

    for name, table in (("patients", PATIENTS), ("assessments", ASSESSMENTS), ("relapses", RELAPSES)):
        frame = read_table(out / "trial" / f"{name}.csv", table)
        write_table(frame[frame["patient_id"].isin(patients)], out / "analysis" / f"{name}.csv")
    (out / "trial.toml").unlink(missing_ok=True)


def select_scans(out: Path, patients: Sequence[str]) -> None:
    """Write the manifest of two visits of the first patient who has two, beside that of the trial."""
    from nnunet_ms.tables import MANIFEST, read_table, write_table

    manifest = read_table(out / "trial" / "manifest.csv", MANIFEST)
    counts = manifest["patient_id"].value_counts()
    patient = next((name for name in patients if counts.get(name, 0) > 1), patients[0])
    visits = manifest[manifest["patient_id"] == patient].sort_values("week").head(2)
    write_table(visits[["patient_id", "visit", "week", "flair", "t2", "t1"]], out / ONE_PATIENT)


def remove_damaged_predictions(out: Path) -> None:
    """Remove masks that a kill left half-written; nnU-Net would take them for finished ones."""
    from nnunet_ms.images.volumes import read_mask

    for path in sorted((out / "predictions").glob("*.nii.gz")):
        try:
            read_mask(path)
        except ImageError:
            path.unlink()


def _claim(out: Path, settings: str) -> None:
    """Raise SettingsError if the folder belongs to something else or to a demo with other settings."""
    marker = out / DONE / "settings"
    if marker.is_file() and marker.read_text(encoding="utf-8") == settings:
        return
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    if there - {LOCK, DONE}:  # a kill may have come before the settings were written
        found = marker.read_text(encoding="utf-8") if marker.is_file() else "other files"
        raise SettingsError(
            f"{out}: expected an empty folder or a demo with {settings}, found {found}. Choose another -o."
        )
    marker.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(marker) as aside:
        aside.write_text(settings, encoding="utf-8")


def run_stage(stage: Stage, out: Path, title: str, lock: tuple[int, ...] = ()) -> None:
    """Run a stage in the demo's folder unless it is done, and print how long it took.

    It holds the folder's lock too: when the demo alone is killed, no other demo works beside the stage that goes on.

    Raises
    ------
    NnunetMsError
        If the command fails or does not make its output; with the end of its log.
    """
    marker = out / DONE / stage.name.replace(" ", "_")
    if marker.is_file():
        print(f"{title}: done before", flush=True)
        return
    print(f"{title} ...", end=" ", flush=True)
    started = time.monotonic()
    if stage.before is not None:
        stage.before(out)
    log = out / "logs" / f"{marker.name}.log"
    try:
        code = run_logged(stage.command, out, log, _environment(out), lock)
    except KeyboardInterrupt:
        print(flush=True)
        raise
    if code != 0 or not (out / stage.output).exists():
        expected = f"exit code {code}, expected {out / stage.output}"
        raise NnunetMsError(f"{title}: {expected}. The end of {log}:\n{end_of_log(log)}")
    with whole_file(marker) as aside:
        aside.write_text(shlex.join(stage.command), encoding="utf-8")
    print(f"{time.monotonic() - started:.0f} s", flush=True)


def _environment(out: Path) -> dict[str, str]:
    folders = {f"nnUNet_{name}": str(out / "nnunet" / name) for name in ("raw", "preprocessed", "results")}
    # augmentation in the training process: its random numbers are then seeded, and a resumed training is the same one
    return {**os.environ, **folders, "nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "2", "PYTHONUNBUFFERED": "1"}


if __name__ == "__main__":
    raise SystemExit(main())
