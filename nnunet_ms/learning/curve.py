"""How many labelled scans are enough, and what a source model saves: the learning curve of Wahlig et al. [1]_.

Written into the output folder:

========================  =================================================================================
`plan.json`               what stays as it is when the folder is gone on with
`results/`                nnU-Net's results: one fold per training
`runs/`                   logs and masks of every training
`runs.csv`                one row per training, and what became of it
`evaluation/`             output of `nnunet-ms-evaluate` per model
`scores.csv`              `scoring.SCORES`: sensitivity and PPV of every study
`learning_curve.csv`      `curve_tables.CURVE`: means, with the paper's beside
`comparisons.csv`         `curve_tables.COMPARISONS`: tests of the paper, and others beside
`learning_curve.svg`      also as PNG: sensitivity and PPV against the number of training studies
`failures.csv`            trainings, models and studies that are in none of the above, and why
========================  =================================================================================

References
----------
.. [1] Wahlig SG et al. Front Neurosci 17:1188336, 2023. doi:10.3389/fnins.2023.1188336
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nnunet_ms import tables
from nnunet_ms.cases_table import CASES_FILE
from nnunet_ms.checkpoints import load_checkpoint
from nnunet_ms.doors.classes import CLASSES
from nnunet_ms.doors.classes import TRAINERS as OF_NNUNET
from nnunet_ms.errors import NnunetMsError, OptionError, SettingsError
from nnunet_ms.learning.curve_figure import curve_figure
from nnunet_ms.learning.curve_tables import comparison_table, curve_table
from nnunet_ms.learning.plan import (
    DE_NOVO,
    DEVICES,
    FINE_TUNED,
    FIRST_SUBSET,
    LESION_TYPES,
    POLICIES,
    TRAINERS,
    Plan,
    check_masks,
    checked_source,
    chosen_arms,
    claim,
)
from nnunet_ms.learning.runs import do_runs, is_done, is_trained, predict_default, prepare_images
from nnunet_ms.learning.scoring import score
from nnunet_ms.learning.studies import check_lesions, read_studies, steps_of
from nnunet_ms.locks import sole_run
from nnunet_ms.nnunet import require_nnunet
from nnunet_ms.options import chosen, known_keywords, whole_numbers
from nnunet_ms.outputs import PARTIAL_PREFIX
from nnunet_ms.parallel import Dask, Failure
from nnunet_ms.plotting.style import save_figure
from nnunet_ms.programs import GRACE_S

RUNS = tables.Table(
    "learning_curve",
    (
        tables.Column("run"),
        tables.Column("arm"),
        tables.Column("size", "integer", minimum=1),
        tables.Column("subset", "integer", minimum=0),
        tables.Column("fold", "integer", minimum=0),
        tables.Column("n_train", "integer", minimum=1),
        tables.Column("n_test", "integer", minimum=1),
        tables.Column("done", "flag"),
        tables.Column("reason", blank=True),
    ),
    key=("run",),
)


@dataclass(frozen=True)
class LearningCurve:
    """The tables of a learning curve, as written to `out`, and what is missing from them."""

    scores: pd.DataFrame
    means: pd.DataFrame
    comparisons: pd.DataFrame
    runs: pd.DataFrame
    failures: list[Failure]
    out: Path


def silent(_: str) -> None:
    """Say nothing."""


@known_keywords
def plan_learning_curve(
    dataset: int | str,
    source: str | Path | None,
    out: str | Path | None = None,
    *,
    sizes: Sequence[int] | None = None,
    arms: Sequence[str] = (FINE_TUNED, DE_NOVO),
    task: str = "flair",
    label: str | None = None,
    policy: str = "all",
    grader2: str | Path | None = None,
    default_masks: str | Path | None = None,
    trainers: Mapping[str, str] | None = None,
    configuration: str = "3d_fullres",
    plans: str = "nnUNetPlansMS",
    device: str = "cuda",
    gpus: Sequence[int] = (),
    tta: bool = True,
    note: str = "",
    raw: str | Path | None = None,
    preprocessed: str | Path | None = None,
) -> Plan:
    """Plan a learning curve and write nothing; arguments as `learning_curve`.

    Returns
    -------
    Plan
        `plan.script` prints its trainings as commands.

    Raises
    ------
    OptionError, SettingsError
        As `learning_curve`.

    Examples
    --------
    >>> plan_learning_curve(816, None, arms=["fine"])
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: --arms: expected one of 'FT', 'DN', found 'fine'. ...
    """
    found = chosen_arms(arms)
    chosen(task, LESION_TYPES, "--task")
    chosen(policy, POLICIES, "--policy")
    chosen(device, DEVICES, "--device")
    checked = checked_source(_path(source), found)
    studies = read_studies(dataset, _path(raw), _path(preprocessed), configuration, plans, label)
    place = Path(out) if out is not None else Path("learning_curve") / f"{studies.raw.name}_{task}"
    first = studies.subsets[FIRST_SUBSET]
    check_masks(_path(grader2), first, "--grader2")
    check_masks(_path(default_masks), first, "--default-masks")
    return Plan(
        out=place.resolve(),
        studies=studies,
        task=task,
        arms=found,
        steps=steps_of(sizes, studies),
        source=checked,
        policy=policy,
        trainers=_trainers(trainers or {}),
        configuration=configuration,
        plans=plans,
        device=device,
        gpus=_gpus(gpus, device),
        grader2=_path(grader2),
        default_masks=_path(default_masks),
        note=note.strip(),
        tta=tta,
    )


def _path(place: str | Path | None) -> Path | None:
    return None if place is None else Path(place).resolve()


def _trainers(given: Mapping[str, str]) -> dict[str, str]:
    for arm, name in given.items():
        chosen(arm, TRAINERS, "--trainers")
        if name.startswith("nnUNetTrainerMS"):
            chosen(name, CLASSES[OF_NNUNET], f"--trainers {arm}")
        if ("FineTune" in name) != (arm == FINE_TUNED):  # others read no source: a curve would call them fine-tuned
            does = "begins with the source" if arm == FINE_TUNED else "begins with none"
            raise SettingsError(
                f"--trainers {arm}={name}: expected a trainer that {does}, such as {TRAINERS[arm]}, found another. "
                "Choose one."
            )
    return {**TRAINERS, **given}


def _gpus(given: Sequence[int], device: str) -> tuple[int, ...]:
    gpus = whole_numbers(given, "--gpus")
    if gpus and (len(set(gpus)) < len(gpus) or min(gpus) < 0):
        raise SettingsError(f"--gpus: expected different numbers >= 0, found {gpus}. Correct it.")
    if gpus and device != "cuda":
        raise OptionError(f"--gpus: expected device cuda, found {device}. Leave one of the two out.")
    return tuple(gpus)


@known_keywords
def learning_curve(
    dataset: int | str,
    source: str | Path | None,
    out: str | Path | None = None,
    *,
    sizes: Sequence[int] | None = None,
    arms: Sequence[str] = (FINE_TUNED, DE_NOVO),
    task: str = "flair",
    label: str | None = None,
    policy: str = "all",
    grader2: str | Path | None = None,
    default_masks: str | Path | None = None,
    trainers: Mapping[str, str] | None = None,
    configuration: str = "3d_fullres",
    plans: str = "nnUNetPlansMS",
    device: str = "cuda",
    gpus: Sequence[int] = (),
    dask: Dask | None = None,
    tta: bool = True,
    note: str = "",
    raw: str | Path | None = None,
    preprocessed: str | Path | None = None,
    say: Callable[[str], object] = silent,
) -> LearningCurve:
    """Train on few and on more studies, fine-tuned and de novo, test on the others, and compare.

    Parameters
    ----------
    dataset : int or str
        Number or folder name of an nnU-Net dataset, preprocessed, with the folds of
        `nnunet-ms-convert splits --scheme learning-curve`.
    source : path or None
        Checkpoint that the arm FT begins with, and that is scored on the first subset as the default model, where it
        lies in a results folder of nnU-Net. None without FT.
    out : path, optional
        Folder to fill; what an earlier call has done there is kept. `learning_curve/DATASET_TASK`.
    sizes : sequence of int, optional
        Numbers of training studies, multiples of a subset; all that there are.
    arms : sequence of {"FT", "DN"}, optional
        Fine-tuned and de novo.
    task : {"flair", "new", "enhancing"}, optional
        What the lesions are: their name in the tables, and which published numbers stand beside ours.
    label : str, optional
        Name of the label in dataset.json, where there are several.
    policy : {"all", "all_but_head", "encoder"}, optional
        What fine-tuning takes from the source; the paper takes all, the head too.
    grader2 : path, optional
        Folder of a second grader's masks of the first subset.
    default_masks : path, optional
        Folder of the default model's masks of the first subset, instead of predicting them with the source.
    trainers : mapping, optional
        Arm -> trainer, instead of `plan.TRAINERS`.
    configuration, plans, device : str, optional
        As nnU-Net has them.
    gpus : sequence of int, optional
        GPUs that train side by side, one training each.
    dask : Dask, optional
        A cluster instead, whose workers see the same files under the same paths.
    tta : bool, optional
        Predict mirrored images too, where the trainer mirrors; without, a mask takes an eighth of the time.
    note : str, optional
        What the data are, such as "simulated"; stands in tables (`data_note`) and the figure.
    raw, preprocessed : path, optional
        nnU-Net's folders, else its environment variables name them.
    say : callable, optional
        Is told of notes and of every training that ends.

    Returns
    -------
    LearningCurve
        A training that failed is in `failures`; the tables hold the others.

    Raises
    ------
    OptionError, SettingsError
        If an option is unknown, the folds are no learning curve, a size does not fit, a subset has no lesion, the
        source is missing, or the folder holds a curve that was planned in another way.
    ModelError
        If the source cannot be read, or could run code.
    NnunetMsError
        If not one model could be scored.

    Examples
    --------
    >>> learning_curve(816, "none.pth", task="flare")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: --task: expected one of 'flair', 'new', 'enhancing', found 'flare'. Did you mean...
    """
    plan = plan_learning_curve(
        dataset,
        source,
        out,
        sizes=sizes,
        arms=arms,
        task=task,
        label=label,
        policy=policy,
        grader2=grader2,
        default_masks=default_masks,
        trainers=trainers,
        configuration=configuration,
        plans=plans,
        device=device,
        gpus=gpus,
        tta=tta,
        note=note,
        raw=raw,
        preprocessed=preprocessed,
    )
    require_nnunet()
    say(plan.title())
    for line in notes(plan):
        say(line)
    with sole_run(plan.out, wait_s=GRACE_S):
        claim(plan)
        for left in plan.out.glob(f"{PARTIAL_PREFIX}*"):  # not below: trainings that outlived a killed run may write
            shutil.rmtree(left, ignore_errors=True)
        open_source(plan)
        prepare_images(plan)
        failures = do_runs(plan, dask, say)
        failed = {failure.case: failure.reason for failure in failures}
        failures += _default(plan, dask, say)
        return _finish(plan, failures, failed)


def open_source(plan: Plan) -> None:
    """Refuse a source that cannot be read, once and not in every training that would begin with it.

    Raises
    ------
    ModelError
        If it cannot be read, or could run code.
    """
    runs = [run for run in plan.runs if run.arm == FINE_TUNED and not is_trained(plan, run)]
    if runs and plan.source is not None:
        load_checkpoint(plan.source, (), "a checkpoint to fine-tune")


def notes(plan: Plan) -> list[str]:
    """Return what a reader of the curve must know before it is trained.

    Raises
    ------
    SettingsError
        If a subset has no lesion.
    """
    empty = check_lesions(plan.studies)
    found = []
    if empty:
        found.append(f"{len(empty)} studies have no lesion, their sensitivity is undefined: {', '.join(empty[:5])}")
    each = sorted({len(subset) for subset in plan.studies.subsets})
    if len(each) > 1:
        found.append(
            f"subsets hold {each[0]} to {each[-1]} studies: N counts the smallest, runs.csv has n_train of each"
        )
    if not (plan.studies.raw / CASES_FILE).is_file():
        found.append(f"no {CASES_FILE} in {plan.studies.raw}: every study counts as a patient of its own")
    if len({_kind(plan.trainers[arm]) for arm in plan.arms}) > 1:
        named = " and ".join(f"{arm} {plan.trainers[arm]}" for arm in plan.arms)
        found.append(f"the arms differ in more than the source, by the names of their trainers: {named}")
    return found


def _kind(trainer: str) -> str:
    """What a trainer's name says besides how it begins: network and length."""
    return re.sub(r"^nnUNetTrainerMS(FineTune|Balanced|DeNovo)", "", trainer)


def _default(plan: Plan, dask: Dask | None, say: Callable[[str], object]) -> list[Failure]:
    """Predict the first subset with the source as it is, where that can be done; say so where it cannot."""
    if plan.default_masks is not None or plan.source is None:
        return []
    fold, folder = plan.source.parent, plan.source.parent.parent
    described = folder / "dataset.json"
    if not (fold.name.startswith("fold_") and described.is_file() and (folder / "plans.json").is_file()):
        say(f"default model: not scored, {plan.source} is in no results folder of nnU-Net (see --default-masks)")
        return []
    channels = tuple(map(str, json.loads(described.read_text(encoding="utf-8"))["channel_names"].values()))
    if channels != plan.studies.channels:
        say(
            f"default model: not scored, its channels are {', '.join(channels)}, not {', '.join(plan.studies.channels)}"
        )
        return []
    return predict_default(plan, dask)


def _finish(plan: Plan, failures: list[Failure], failed: Mapping[str, str]) -> LearningCurve:
    """Score, compare, draw and write."""
    scores, not_scored = score(plan)
    failures = [*failures, *not_scored]
    runs = _runs(plan, failed)
    tables.write_table(runs, plan.out / "runs.csv")
    tables.write_failures(failures, plan.out / "failures.csv")
    if scores.empty:
        first = f"{failures[0].case}: {failures[0].reason}" if failures else "no masks"
        raise NnunetMsError(f"{plan.out}: none of {len(plan.runs)} trainings could be scored. {first}")
    total = sum(map(len, plan.studies.subsets))
    means = curve_table(scores, total, len(plan.studies.subsets[FIRST_SUBSET]), plan.note)
    comparisons = comparison_table(scores, list(plan.steps), plan.note)
    for name, frame in {"scores": scores, "learning_curve": means, "comparisons": comparisons}.items():
        tables.write_table(frame, plan.out / f"{name}.csv")
    title = f"{plan.studies.raw.name}, {plan.task}" + (f", {plan.note} data" if plan.note else "")
    save_figure(curve_figure(means, comparisons, title), plan.out, "learning_curve")
    return LearningCurve(scores, means, comparisons, runs, failures, plan.out)


def _runs(plan: Plan, failed: Mapping[str, str]) -> pd.DataFrame:
    rows = [
        (
            *(run.name, run.arm, run.size, run.test, run.fold, len(plan.studies.trained_on(run.k, run.test))),
            *(
                len(plan.studies.subsets[run.test]),
                is_done(plan, run.name),
                failed.get(run.name, "").partition("\n")[0],
            ),
        )
        for run in plan.runs
    ]
    return pd.DataFrame(rows, columns=RUNS.names)
