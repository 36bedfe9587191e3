"""Scores of a learning curve: every model's masks against the reference, in the space in which the reference was drawn.

nnU-Net and `nnunet-ms-predict` bring a prediction back to the grid of the images, whatever the spacing that was trained
on, before `nnunet-ms-evaluate` counts lesions under rule wahlig2023.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.cases_table import CASES_FILE, NO_VISIT, read_cases
from nnunet_ms.commands import OK, SOME_CASES_FAILED
from nnunet_ms.errors import NnunetMsError
from nnunet_ms.learning.plan import FIRST_SUBSET, LESION_TYPES, Plan
from nnunet_ms.learning.published import PPV, SENSITIVITY
from nnunet_ms.learning.runs import DEFAULT, is_done, place, predictions
from nnunet_ms.learning.studies import ENDING
from nnunet_ms.outputs import whole_file
from nnunet_ms.parallel import Failure, attempt
from nnunet_ms.programs import end_of_log, run_logged

GRADER = "grader"
RULE = "wahlig2023"
METRICS = {"ltpr": SENSITIVITY, "lppv": PPV}  # name in the evaluation -> the paper's

SCORES = tables.Table(
    "learning_curve",
    (
        tables.Column("task"),
        tables.Column("metric"),
        tables.Column("arm"),
        tables.Column("size", "integer", blank=True, minimum=1),
        tables.Column("study"),
        tables.Column("patient_id"),
        tables.Column("subset", "integer", minimum=0),
        tables.Column("value", "number", blank=True, minimum=0, maximum=1),
    ),
    key=("task", "metric", "arm", "size", "study"),
)


@dataclass(frozen=True)
class Scored:
    """Masks that are scored as one model: arm, size (None: it has none), and the mask of each study."""

    arm: str
    size: int | None
    masks: dict[str, Path]

    @property
    def name(self) -> str:
        """Names its folder."""
        return self.arm if self.size is None else f"{self.arm}_{self.size}"


def scored_models(plan: Plan) -> Iterator[Scored]:
    """Yield what there are masks of: models of each arm and size, the default model, the second grader."""
    for size in plan.steps:
        for arm in plan.arms:
            masks: dict[str, Path] = {}
            for run in plan.runs:
                if (run.arm, run.size) == (arm, size) and is_done(plan, run.name):
                    masks |= _masks(predictions(plan, run.name), plan.studies.subsets[run.test])
            if masks:
                yield Scored(arm, size, masks)
    first = plan.studies.subsets[FIRST_SUBSET]
    if plan.default_masks is not None:
        yield Scored(DEFAULT, None, _masks(plan.default_masks, first))
    elif is_done(plan, DEFAULT):
        yield Scored(DEFAULT, None, _masks(predictions(plan, DEFAULT), first))
    if plan.grader2 is not None:
        yield Scored(GRADER, None, _masks(plan.grader2, first))


def _masks(folder: Path, cases: Sequence[str]) -> dict[str, Path]:
    return {case: folder / f"{case}{ENDING}" for case in cases}


def score(plan: Plan) -> tuple[pd.DataFrame, list[Failure]]:
    """Evaluate every model that there are masks of; return `SCORES` and what could not be scored.

    Raises
    ------
    MachineError
        If the machine gave out.
    """
    parts, failures = [], []
    for model in scored_models(plan):
        found = attempt(model.name, partial(_evaluate, plan), model)
        if isinstance(found, Failure):
            failures.append(found)
            continue
        parts.append(_read(plan, model, found))
        failures += _failed(model, found)
    scores = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=SCORES.names)
    return scores.astype({"size": "Int64"}), failures


def _evaluate(plan: Plan, model: Scored) -> Path:
    """Run `nnunet-ms-evaluate` unless it has scored the same masks against the same references; return its folder."""
    folder = plan.out / "evaluation" / model.name
    note = folder.with_name(f"{model.name}.json")
    there = {case: file for case, file in model.masks.items() if file.is_file()}
    references = {f"reference {case}": plan.studies.raw / "labelsTr" / f"{case}{ENDING}" for case in model.masks}
    read = {name: file for name, file in {**there, **references}.items() if file.is_file()}
    cases = _cases(plan, list(model.masks))
    seen = {name: [str(file), file.stat().st_mtime_ns] for name, file in read.items()}
    wanted = json.dumps([plan.note, cases.to_csv(index=False), seen])
    if folder.is_dir() and note.is_file() and note.read_text(encoding="utf-8") == wanted:
        return folder
    masks = plan.out / "masks" / model.name
    shutil.rmtree(masks, ignore_errors=True)
    for file in there.values():
        place(file, masks / file.name)
    listed = plan.out / "masks" / f"{model.name}.csv"
    tables.write_table(cases, listed)
    log = folder.with_name(f"{model.name}.log")
    code = run_logged(_command(plan, model, masks, listed, folder), plan.out, log, plan.environment())
    if code not in (OK, SOME_CASES_FAILED) or not folder.is_dir():
        raise NnunetMsError(f"exit code {code}, expected {folder}. The end of {log}:\n{end_of_log(log)}")
    with whole_file(note) as aside:
        aside.write_text(wanted, encoding="utf-8")
    return folder


def _cases(plan: Plan, names: Sequence[str]) -> pd.DataFrame:
    """Return the rows of the table of cases that are scored; made up where the dataset has no such table."""
    if (plan.studies.raw / CASES_FILE).is_file():
        found = read_cases(plan.studies.raw)
        return found[found["case_id"].isin(names)]
    rows = [(name, name, NO_VISIT, np.nan, "train") for name in names]
    return pd.DataFrame(rows, columns=tables.CASES.names)


def _command(plan: Plan, model: Scored, masks: Path, cases: Path, out: Path) -> tuple[str, ...]:
    label = f"{LESION_TYPES[plan.task]}={plan.studies.value}"
    note = ("--data-note", plan.note) if plan.note else ()
    return (
        *("nnunet-ms-evaluate", "--predictions", str(masks), "--references", str(plan.studies.raw / "labelsTr")),
        *("--cases", str(cases), "--rules", RULE, "--rater", model.name, "--labels", label, *note, "-o", str(out)),
    )


def _read(plan: Plan, model: Scored, evaluation: Path) -> pd.DataFrame:
    """Return the rows of `SCORES` of one model."""
    found = tables.read_table(evaluation / "agreement_cases.csv", tables.AGREEMENT_CASES)
    found = found[(found["rule"] == RULE) & found["metric"].isin(list(METRICS))]
    subset_of = {case: number for number, subset in enumerate(plan.studies.subsets) for case in subset}
    rows = {
        "task": plan.task,
        "metric": found["metric"].map(METRICS),
        "arm": model.arm,
        "size": pd.array([model.size] * len(found), dtype="Int64"),
        "study": found["case_id"],
        "patient_id": found["patient_id"],
        "subset": found["case_id"].map(subset_of).astype(np.int64),
        "value": found["value"],
    }
    return pd.DataFrame(rows)[SCORES.names]


def _failed(model: Scored, evaluation: Path) -> list[Failure]:
    rows = tables.read_table(evaluation / "failures.csv", tables.FAILURES)
    return [
        Failure(f"{model.name}/{case}", reason) for case, reason in zip(rows["case_id"], rows["reason"], strict=True)
    ]
