"""What a learning curve trains: one run per arm, size and tested subset, as commands that a user could type.

The results folder of nnU-Net lies inside the output folder: no training with another source, or of another dataset, is
taken for one of these.
"""

import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_ms.errors import SettingsError
from nnunet_ms.learning.studies import ENDING, Studies
from nnunet_ms.locks import LOCK
from nnunet_ms.options import chosen
from nnunet_ms.outputs import whole_file

FINE_TUNED, DE_NOVO = "FT", "DN"
# arm -> trainer; both train for as long as the paper's models (10.8 epochs per study)
TRAINERS = {FINE_TUNED: "nnUNetTrainerMSFineTune", DE_NOVO: "nnUNetTrainerMSBalanced"}
LESION_TYPES = {"flair": "t2_lesions", "new": "new_lesions", "enhancing": "t1_enhancing"}  # task -> name in the tables
# what the fine-tuning trainers ask for (`trainers.fine_tune`): their source, and what they take from it
SOURCE_VARIABLE, POLICY_VARIABLE = "NNUNET_MS_SOURCE", "NNUNET_MS_SOURCE_POLICY"
DEVICES = ("cuda", "cpu", "mps")  # as nnU-Net has them
POLICIES = ("all", "all_but_head", "encoder")
PLAN, RESULTS = "plan.json", "results"
FIRST_SUBSET = 0  # the default model and the second grader are scored on it alone, as in the paper


@dataclass(frozen=True)
class Run:
    """One training: arm, number of training studies, subsets that it trains on, subset that it is tested on."""

    arm: str
    size: int
    k: int
    test: int
    fold: int

    @property
    def model(self) -> str:
        """Arm and size: what is scored as one."""
        return f"{self.arm}_{self.size}"

    @property
    def name(self) -> str:
        """Names its folder and stands in messages."""
        return f"{self.model}_t{self.test}"


@dataclass(frozen=True)
class Plan:
    """All that a learning curve does, before anything is done; `steps`: size -> subsets that train."""

    out: Path
    studies: Studies
    task: str
    arms: tuple[str, ...]
    steps: Mapping[int, int]
    source: Path | None = None
    policy: str = "all"
    trainers: Mapping[str, str] = field(default_factory=lambda: dict(TRAINERS))
    configuration: str = "3d_fullres"
    plans: str = "nnUNetPlansMS"
    device: str = "cuda"
    gpus: tuple[int, ...] = ()
    grader2: Path | None = None
    default_masks: Path | None = None
    note: str = ""
    tta: bool = True

    @property
    def runs(self) -> list[Run]:
        """Every training; small ones first, so that a curve begins to show early."""
        tests = range(len(self.studies.subsets))
        return [
            Run(arm, size, k, test, self.studies.fold(k, test))
            for size, k in self.steps.items()
            for test in tests
            for arm in self.arms
        ]

    def results(self, run: Run) -> Path:
        """Folder in which nnU-Net puts a trainer's folds."""
        folder = f"{self.trainers[run.arm]}__{self.plans}__{self.configuration}"
        return self.out / RESULTS / self.studies.raw.name / folder

    def train(self, run: Run) -> tuple[str, ...]:
        """Command of a training; `--c` goes on with one that was begun."""
        place = (str(self.studies.number), self.configuration, str(run.fold))
        return (
            "nnUNetv2_train",
            *place,
            "-tr",
            self.trainers[run.arm],
            "-p",
            self.plans,
            "-device",
            self.device,
            "--c",
        )

    def predict(self, run: Run, out: Path) -> tuple[str, ...]:
        """Command that predicts the tested subset with it."""
        return self.predict_with(self.results(run), str(run.fold), run.test, run.model, out)

    def predict_with(self, model: Path, fold: str, subset: int, rater: str, out: Path) -> tuple[str, ...]:
        """Command that predicts a subset with a model folder of nnU-Net."""
        return (
            *("nnunet-ms-predict", "-i", str(self.images(subset)), "-o", str(out), "-m", str(model), "-f", fold),
            *("--mc-samples", "0", "--minimum-voxels", "1", "--no-pictures", "--rater", rater, "-device", self.device),
            *(() if self.tta else ("--no-tta",)),
            "--continue",
        )

    def images(self, subset: int) -> Path:
        """Folder of links to the images of a subset."""
        return self.out / "images" / f"subset_{subset}"

    def variables(self, arm: str = "", gpu: int | None = None) -> dict[str, str]:
        """Environment variables that the commands of an arm need."""
        found = {
            "nnUNet_raw": str(self.studies.raw.parent),
            "nnUNet_preprocessed": str(self.studies.preprocessed.parent),
            "nnUNet_results": str(self.out / RESULTS),
        }
        if arm == FINE_TUNED and self.source is not None:
            found |= {SOURCE_VARIABLE: str(self.source), POLICY_VARIABLE: self.policy}
        if gpu is not None:
            found["CUDA_VISIBLE_DEVICES"] = str(gpu)
        return found

    def environment(self, arm: str = "", gpu: int | None = None) -> dict[str, str]:
        """All variables of a command: those of this process too, but for a source that another arm begins with."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(SOURCE_VARIABLE)}
        return {**inherited, **self.variables(arm, gpu), "PYTHONUNBUFFERED": "1"}

    def title(self) -> str:
        """Return in one line what is planned."""
        each = sorted({len(subset) for subset in self.studies.subsets})
        of = str(each[0]) if len(each) == 1 else f"{each[0]} to {each[-1]}"
        total = sum(len(subset) for subset in self.studies.subsets)
        sizes = ", ".join(map(str, self.steps))
        return (
            f"{self.studies.raw.name}, task {self.task}, label {self.studies.label}: {total} studies in "
            f"{len(self.studies.subsets)} subsets of {of}; {' and '.join(self.arms)}; N = {sizes}; "
            f"{len(self.runs)} trainings"
        )

    def identity(self) -> dict[str, Any]:
        """All that must stay as it is when an output folder is gone on with; sizes and arms may be added."""
        source = None if self.source is None else {"file": self.source.name, "sha256": _sha256(self.source)}
        return {
            "dataset": self.studies.raw.name,
            "label": self.studies.label,
            "task": self.task,
            "configuration": self.configuration,
            "plans": self.plans,
            "trainers": dict(self.trainers),
            "source": source,
            "policy": self.policy if source else None,
            "subsets": [list(subset) for subset in self.studies.subsets],
            "tta": None
            if self.tta
            else False,  # not in the notes of curves that were begun before it could be left out
        }


def script(plan: Plan, is_done: Mapping[str, bool]) -> Iterator[str]:
    """Yield the lines of a shell script that trains everything; what is done before is a comment.

    Parameters
    ----------
    plan : Plan
        What is planned.
    is_done : mapping
        Names of runs that need not be trained again.
    """
    yield f"# {plan.title()}"
    yield " ".join(("export", *_assignments(plan.variables())))
    for number, run in enumerate(plan.runs):
        tested = f"{len(plan.studies.subsets[run.test])} studies of subset {run.test}"
        trained = len(plan.studies.trained_on(run.k, run.test))
        yield f"# {run.name}: {run.arm}, trained on {trained} studies, tested on the {tested}"
        if is_done.get(run.name):
            yield "#   done before"
            continue
        gpu = plan.gpus[number % len(plan.gpus)] if plan.gpus else None
        own = {name: value for name, value in plan.variables(run.arm, gpu).items() if not name.startswith("nnUNet_")}
        yield " ".join((*_assignments(own), shlex.join(plan.train(run))))
    yield "# then the same command without --dry-run: it takes over what is trained, predicts, scores and draws"


def _assignments(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={shlex.quote(value)}" for name, value in variables.items()]


def chosen_arms(arms: Sequence[str]) -> tuple[str, ...]:
    """Return the arms if they are known and different.

    Raises
    ------
    OptionError, SettingsError
        If an arm is unknown, stands twice, or there is none.
    """
    found = tuple(chosen(arm, TRAINERS, "--arms") for arm in arms)
    if not found or len(set(found)) < len(found):
        raise SettingsError(
            f"--arms: expected different arms out of {', '.join(TRAINERS)}, found {list(arms)}. Correct it."
        )
    return found


def checked_source(source: Path | None, arms: Sequence[str]) -> Path | None:
    """Return the source checkpoint, in full.

    Raises
    ------
    SettingsError
        If it is missing or a folder, or needed and not given.
    """
    if source is None:
        if FINE_TUNED in arms:
            raise SettingsError("--source: expected a checkpoint to fine-tune, found none. Give one, or --arms DN.")
        return None
    if source.is_dir():
        found = sorted(str(one) for one in source.rglob("checkpoint_*.pth"))[:1]
        step = f"Name one of its files, such as {found[0]}." if found else "Name a file."
        raise SettingsError(f"--source {source}: expected a checkpoint, a file, found a folder. {step}")
    if not source.is_file():
        raise SettingsError(
            f"--source {source}: expected a checkpoint, found no such file. Check the path and the spelling."
        )
    return source.resolve()


def claim(plan: Plan) -> None:
    """Make the output folder this plan's, or find that it is.

    Raises
    ------
    SettingsError
        As `check_place`.
    """
    if check_place(plan):
        return
    with whole_file(plan.out / PLAN) as aside:
        aside.write_text(json.dumps(plan.identity(), indent=1) + "\n", encoding="utf-8")


def check_place(plan: Plan) -> bool:
    """Whether the output folder is this plan's already; not yet if it is empty or missing.

    Raises
    ------
    SettingsError
        If it holds something else, or a learning curve that was planned in another way.
    """
    file, wanted = plan.out / PLAN, plan.identity()
    if file.is_file():
        earlier = json.loads(file.read_text(encoding="utf-8"))
        if source := earlier.get("source"):  # with its folder, in notes of earlier versions
            source["file"] = Path(source["file"]).name
        for name, value in wanted.items():
            if earlier.get(name) != value:
                raise SettingsError(
                    f"{file}: {name} was {_brief(earlier.get(name))} in the earlier run, now it is {_brief(value)}: "
                    "their trainings cannot stand in one curve. Ask for what was planned, or choose another -o."
                )
        return True
    if not plan.out.exists():
        return False
    others = {path.name for path in plan.out.iterdir()} - {LOCK, RESULTS}
    if others:
        raise SettingsError(
            f"{plan.out}: expected an empty folder or a learning curve, found {sorted(others)[0]}. Choose another -o."
        )
    return False


def _brief(value: Any) -> str:
    if isinstance(value, list):
        text = json.dumps(value)
        return f"{len(value)} subsets (SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:8]})"
    return json.dumps(value)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_masks(folder: Path | None, cases: Sequence[str], option: str) -> None:
    """Refuse a folder that holds no mask of any of the cases.

    Raises
    ------
    SettingsError
        If it is missing, or holds none of them.
    """
    if folder is None:
        return
    there = [case for case in cases if (folder / f"{case}{ENDING}").is_file()]
    if not there:
        found = "no such folder" if not folder.is_dir() else f"{sum(1 for _ in folder.glob(f'*{ENDING}'))} other masks"
        raise SettingsError(
            f"{option} {folder}: expected masks of the first subset, such as {cases[0]}{ENDING}, found {found}. "
            "Check the path."
        )
