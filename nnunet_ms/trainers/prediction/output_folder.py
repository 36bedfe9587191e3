"""The output folder of `nnunet-ms-predict`: whose it is, what it was made with, and the tables of all its cases."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from nnunet_ms import tables
from nnunet_ms.checkpoints import sha256_of
from nnunet_ms.errors import SettingsError
from nnunet_ms.lesions.rims import RimDecision
from nnunet_ms.locks import LOCK
from nnunet_ms.outputs import PARTIAL_PREFIX, remove_leftovers, whole_file
from nnunet_ms.parallel import Failure
from nnunet_ms.trainers.packages.card import FACTS, read_facts
from nnunet_ms.trainers.prediction.calibration_file import read_calibration
from nnunet_ms.trainers.prediction.case_measures import Measuring
from nnunet_ms.trainers.prediction.export import DONE
from nnunet_ms.trainers.prediction.image_cases import ImageCase
from nnunet_ms.trainers.prediction.model import Model
from nnunet_ms.trainers.prediction.tiles import TileRunner
from nnunet_ms.trainers.prediction.time_taken import summary
from nnunet_ms.versions import version_of

RECORD, SPOOL = "prediction.json", ".spool"


def record_of(runner: TileRunner, measuring: Measuring, rater: str, note: str) -> dict[str, Any]:
    """Everything that the numbers depend on, for prediction.json."""
    model = runner.model
    calibration = read_calibration(model.folder)
    return {
        "model": model.folder.name,
        "dataset": model.folder.parent.name,
        **_packed(model),
        "trainer": model.trainer,
        "folds": list(model.folds),
        "sampling": asdict(runner.sampling),
        "samples": runner.total_samples(),
        "threshold": measuring.threshold,
        "fold_thresholds": list(measuring.fold_thresholds),
        "minimum_voxels": measuring.minimum_voxels,
        "maps": list(measuring.maps),
        "lesion_types": [name for name, _ in measuring.classes],
        **({"pairs": {"target": measuring.pairs, "lesions": measuring.lesions}} if measuring.pairs else {}),
        **({} if measuring.rim is None else _rim_record(measuring.rim)),
        **({} if calibration is None else {"volume_calibration": calibration.record()}),
        "rater": rater,
        "data_note": note,
        "average": "probabilities over samples and folds; logits over tiles",
        "versions": {name: version_of(name) for name in ("nnunet-ms", "nnunetv2", "torch")},
    }


def _rim_record(decision: RimDecision) -> dict[str, Any]:
    splitting = None if decision.splitting is None else asdict(decision.splitting)
    return {"rim_threshold": decision.threshold, "rim_shell_mm": decision.shell_mm, "rim_splitting": splitting}


def _packed(model: Model) -> dict[str, str]:
    """Name, version and hash of a model that was packed; nothing of others."""
    path = model.folder / FACTS
    if not path.is_file():
        return {}
    return {"packed": read_facts(path.read_bytes(), path).reference, "packed_sha256": sha256_of(path)}


def write_record(record: dict[str, Any], folder: Path) -> None:
    """Write prediction.json into a folder."""
    with whole_file(folder / RECORD) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def add_time(out: Path, cases: pd.DataFrame) -> None:
    """Add what the cases of the folder cost to its prediction.json; settings are compared without it."""
    record = json.loads((out / RECORD).read_text(encoding="utf-8"))
    write_record({**record, "time": summary(cases)}, out)


def claim(out: Path, record: dict[str, Any], *, resume: bool) -> None:
    """Make the folder ours, or find that it is, with the same settings.

    Raises
    ------
    SettingsError
        If it holds something else, or a prediction with other settings, or one that was not asked to go on.
    """
    path = out / RECORD
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out}: expected a folder or nothing, found a file. Choose another -o.")
    names = sorted(item.name for item in out.iterdir()) if out.exists() else []
    there = [name for name in names if name != LOCK and not name.startswith(PARTIAL_PREFIX)]
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if there and (not resume or earlier is None):
        raise SettingsError(
            f"{out}: expected an empty folder, found {', '.join(there[:3])}. Choose another -o"
            + (", or go on with resume (--continue)." if earlier else ".")
        )
    if earlier is not None:
        _check_same_settings(path, earlier, record)
    remove_leftovers(out)
    shutil.rmtree(out / SPOOL, ignore_errors=True)
    write_record(record, out)


def _check_same_settings(path: Path, earlier: dict[str, Any], record: dict[str, Any]) -> None:
    differing = sorted(key for key in record if earlier.get(key) != record[key])
    if differing:
        raise SettingsError(
            f"{path}: to go on (--continue) expects the settings of the earlier run, found other "
            f"{', '.join(differing)}. Repeat the earlier options, or choose another -o."
        )


def withdraw(out: Path) -> None:
    """Leave nothing of a run in which no case worked."""
    (out / RECORD).unlink(missing_ok=True)
    shutil.rmtree(out / SPOOL, ignore_errors=True)
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()


def collect(finished: Sequence[ImageCase], failures: Sequence[Failure], out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the tables of all finished cases together, write them, and return those of lesions and of cases."""
    parts = {
        # without round_trip pandas reads one float in three as the one beside it, and writes other digits
        name: [
            pd.read_csv(out / DONE / case.case_id / f"{name}.csv", dtype=_TEXT, float_precision="round_trip")
            for case in finished
        ]
        for name in ("lesions", "cases")
    }
    # cases without lesions give empty tables, whose columns have no type of their own
    lesions = pd.concat([part for part in parts["lesions"] if len(part)] or parts["lesions"][:1], ignore_index=True)
    cases = pd.concat(parts["cases"], ignore_index=True)
    for name, frame in {"lesions": lesions, "cases": cases}.items():
        tables.write_table(frame, out / f"{name}.csv")
    tables.write_failures(failures, out / "failures.csv")
    return lesions, cases


_TEXT = dict.fromkeys(("case_id", "patient_id", "visit", "rater", "lesion_type", "device", "data_note"), str)
