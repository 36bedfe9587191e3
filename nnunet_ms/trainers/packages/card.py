"""What a packed model says about itself: `model.json` for programs, `MODEL_CARD.md` for people."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin

from nnunet_ms.errors import ModelError, SettingsError, one_line
from nnunet_ms.plain_names import plain_name

FORMAT = 1  # of model.json; a later one is refused with the advice to upgrade
FACTS = "model.json"
CARD = "MODEL_CARD.md"
# headings that a card must have, each with text below: what a reader needs before using somebody's weights
SECTIONS = ("Data", "Licence", "Citation", "Results", "Limits")
DISCLAIMER = "not a medical device"
TO_FILL = re.compile(r"<fill in[^>]*>")
_VERSION = re.compile(r"\d+(\.\d+){0,3}")


@dataclass(frozen=True)
class ModelFacts:
    """What `model.json` says.

    Attributes
    ----------
    name, version : str
        Under which it is installed; the version is numbers and dots.
    title : str
        One line for lists.
    licence : str
        Of the weights, as SPDX names it, such as CC-BY-4.0.
    dataset, trainer, plans, configuration : str
        Of nnU-Net: names of the folders.
    folds : tuple of str
        Such as ("0", "1", "2").
    channels : tuple of str
        Image channels in order.
    labels : mapping of str to int
        Lesion labels.
    spacing_mm : tuple of float
        Voxels that the network works in.
    parameters : int
        Of the network of one fold.
    precision : {"float32", "float16"}
        In which the weights are stored.
    made_with : str
        Version of this package.
    files : mapping of str to str
        SHA-256 of every other file of the package, by its path below the model's folder.
    """

    name: str
    version: str
    title: str
    licence: str
    dataset: str
    trainer: str
    plans: str
    configuration: str
    folds: tuple[str, ...]
    channels: tuple[str, ...]
    labels: Mapping[str, int]
    spacing_mm: tuple[float, ...]
    parameters: int
    precision: str
    made_with: str
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """Name and version as commands take them."""
        return f"{self.name}=={self.version}"

    @property
    def folder(self) -> str:
        """Folder of the model inside the package, as nnU-Net names it."""
        return f"{self.dataset}/{self.trainer}__{self.plans}__{self.configuration}"

    def to_json(self) -> str:
        """Text of `model.json`: the same facts give the same text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read_facts(text: str | bytes, where: str | Path) -> ModelFacts:
    """Read `model.json`.

    Raises
    ------
    ModelError
        If it is damaged, of a later format, or lacks something.

    Examples
    --------
    >>> read_facts("{}", "model.json")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: model.json: expected format 1 of a packed model, found None. Install a newer ...
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}: expected JSON, cannot read it ({one_line(error)}). Get the file again.") from error
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != FORMAT:
        raise ModelError(
            f"{where}: expected format {FORMAT} of a packed model, found {found}. Install a newer nnunet-ms, or get "
            "the file again."
        )
    kinds = {one.name: one.type for one in fields(ModelFacts)}
    wrong = sorted(set(kinds) ^ set(content)) or [name for name in kinds if not _is_kind(content[name], kinds[name])]
    if wrong:
        raise ModelError(f"{where}: expected {', '.join(kinds)}, found others: {', '.join(wrong)}. Get the file again.")
    listed = {name: tuple(content[name]) for name, kind in kinds.items() if get_origin(kind) is tuple}
    facts = ModelFacts(**{**content, **listed})
    for what in ("name", "dataset", "trainer", "plans", "configuration"):
        plain_name(getattr(facts, what), f"{where}: {what}", ModelError)
    checked_version(facts.version, where, ModelError)
    return facts


def _is_kind(value: Any, kind: Any) -> bool:
    """Whether a value of JSON is of a field's type."""
    if kind in (str, int):
        return isinstance(value, kind) and not isinstance(value, bool)
    of = get_args(kind)[-1] if get_origin(kind) is not tuple else get_args(kind)[0]
    holds = list if get_origin(kind) is tuple else dict
    if not isinstance(value, holds):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return all(isinstance(one, int | float if of is float else of) and not isinstance(one, bool) for one in inside)


def checked_version(version: object, where: str | Path, error: type[ModelError | SettingsError]) -> str:
    """Return a version of numbers and dots, or raise `error`.

    Examples
    --------
    >>> checked_version("1.2", "version", SettingsError)
    '1.2'
    """
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise error(f"{where}: expected a version of numbers and dots, such as 1.0, found {version!r}. Correct it.")
    return version


def version_order(version: str) -> tuple[int, ...]:
    """Key that sorts versions as numbers, 1.10 after 1.9.

    Examples
    --------
    >>> max(["1.9", "1.10"], key=version_order)
    '1.10'
    """
    return tuple(int(part) for part in version.split("."))


def draft_card(facts: ModelFacts, training_cases: int | None) -> str:
    """Text of a card with what the model's files tell; the rest is to be filled in.

    Examples
    --------
    >>> told = dict(name="x", version="1", title="X", licence="", dataset="Dataset001_X", trainer="T", plans="P")
    >>> facts = ModelFacts(**told, configuration="3d_fullres", folds=("0",), channels=("flair",), labels={"lesion": 1},
    ...     spacing_mm=(1.0, 1.0, 3.0), parameters=374_000, precision="float32", made_with="0.2.0")
    >>> "## Limits" in draft_card(facts, 8), len(card_problems(draft_card(facts, 8))) > 0
    (True, True)
    """
    cases = "an unknown number of" if training_cases is None else str(training_cases)
    rows = {
        "Input": ", ".join(facts.channels),
        "Output": ", ".join(facts.labels),
        "Network": f"{facts.trainer}, {facts.parameters:,} parameters per fold, folds {', '.join(facts.folds)}",
        "Voxels of the network": " x ".join(f"{one:g}" for one in facts.spacing_mm) + " mm",
        "Stored as": facts.precision,
        "Made with": f"nnunet-ms {facts.made_with}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    asked = {
        "Data": f"Trained on {cases} scans. <fill in: which data, scanners, patients, under which licences>",
        "Licence": f"Weights: {facts.licence or '<fill in: SPDX name>'}. <fill in: what the data's licences ask for>",
        "Citation": "<fill in: papers of the data and of the method>",
        "Results": "<fill in: Dice and lesion-wise results on data that training has not seen, by set, with n>",
        "Limits": f"This model is {DISCLAIMER}. <fill in: scanners, sequences, patients on which it fails or is new>",
    }
    return (
        f"# {facts.title}\n\n{facts.reference}\n\n| | |\n|---|---|\n{table}\n\n"
        + "\n\n".join(f"## {heading}\n\n{text}" for heading, text in asked.items())
        + "\n"
    )


def card_problems(text: str) -> list[str]:
    """What a card lacks; nothing if it can be packed.

    Examples
    --------
    >>> card_problems("# X")
    ['no section Data', 'no section Licence', 'no section Citation', 'no section Results', 'no section Limits', ...
    """
    below = dict(re.findall(r"^##+ *([^\n]+?) *\n(.*?)(?=^##|\Z)", text, flags=re.MULTILINE | re.DOTALL))
    problems = [f"no section {name}" for name in SECTIONS if name not in below]
    problems += [f"nothing in section {name}" for name in SECTIONS if name in below and not below[name].strip()]
    problems += [f"still to be filled in: {one}" for one in TO_FILL.findall(text)]
    if DISCLAIMER not in " ".join(text.split()):
        problems.append(f'the words "{DISCLAIMER}"')
    return problems
