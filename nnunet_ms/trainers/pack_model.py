"""Pack a trained model into one file with card, licence and hashes, and install such files."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nnunet_ms.checkpoints import load_checkpoint, save_checkpoint
from nnunet_ms.errors import ModelError, SettingsError
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import whole_file, whole_folder
from nnunet_ms.plain_names import plain_name
from nnunet_ms.trainers.packages.archive import ENDING, opened_archive, write_archive
from nnunet_ms.trainers.packages.card import CARD, ModelFacts, card_problems, checked_version, draft_card
from nnunet_ms.trainers.packages.installed import InstalledModel, models_folder
from nnunet_ms.trainers.prediction.calibration_file import FILE as CALIBRATION
from nnunet_ms.trainers.prediction.calibration_file import read_calibration
from nnunet_ms.trainers.prediction.check_model import check_forward
from nnunet_ms.trainers.prediction.model import Model, read_model
from nnunet_ms.trainers.prediction.open_model import Folds, fold_names
from nnunet_ms.trainers.training_range import RANGE
from nnunet_ms.versions import version_of

CHECKPOINT = "checkpoint_final.pth"
# of a checkpoint: what prediction reads. Optimiser, log and the copies of plans and dataset.json are left out
KEPT = ("network_weights", "trainer_name", "inference_allowed_mirroring_axes")
# of dataset.json: patients and cases of the training stay at home
LEFT_OUT = ("patients", "cases", "training", "test", "dataset")
# files of the model's folder that are carried where they are there
CARRIED = ("dataset_fingerprint.json", RANGE)
HALF_MOST = 65504.0  # the largest float16


@dataclass(frozen=True)
class Packed:
    """What was written: the file, what it says of itself, and what a reader should know."""

    path: Path
    facts: ModelFacts
    notes: tuple[str, ...]


@known_keywords
def pack_model(
    folder: str | Path,
    output: str | Path,
    *,
    name: str,
    licence: str,
    card: str | Path,
    version: str = "1",
    title: str = "",
    folds: Folds | None = None,
    checkpoint: str = CHECKPOINT,
    half: bool = False,
) -> Packed:
    """Pack a trained model of nnU-Net into one file.

    Parameters
    ----------
    folder : str or Path
        `TRAINER__PLANS__CONFIGURATION` below a dataset's folder of nnU-Net's results.
    output : str or Path
        A file `*.model.zip`, or a folder, in which `NAME-VERSION.model.zip` is written. An older file is replaced.
    name, version : str
        Under which it is installed; the version is numbers and dots.
    licence : str
        Of the weights, as SPDX names it, such as CC-BY-4.0.
    card : str or Path
        Markdown with the sections Data, Licence, Citation, Results, Limits and the words "not a medical device";
        `draft_model_card` begins one.
    title : str, optional
        One line for lists; without it the name.
    folds : int, str or sequence, optional
        Without it, every numbered fold that has the checkpoint.
    checkpoint : str, optional
        File name in each fold's folder; in the package it is checkpoint_final.pth, which nnU-Net looks for.
    half : bool, optional
        Store the weights in half precision: half the size; the notes say what that changes.

    Returns
    -------
    Packed

    Raises
    ------
    ModelError
        If the model cannot be read, or its weights do not fit into half precision.
    SettingsError
        If the name, version, licence or card are not usable.

    Examples
    --------
    >>> import re
    >>> text = draft_model_card("trained", name="random", licence="CC0-1.0")
    >>> _ = Path("CARD.md").write_text(re.sub("<fill in[^>]*>", "None: random weights.", text))
    >>> packed = pack_model("trained", "out", name="random", licence="CC0-1.0", card="CARD.md", folds=0)
    >>> packed.path.name, packed.facts.folds
    ('random-1.model.zip', ('0',))
    """
    model = read_model(Path(folder), fold_names(folds), checkpoint)
    facts = _facts(model, name=name, version=version, title=title, licence=licence, half=half)
    text = _checked_card(Path(card))
    target = Path(output)
    if not target.name.endswith(".zip"):
        target = target / f"{facts.name}-{facts.version}{ENDING}"
    with tempfile.TemporaryDirectory(prefix="nnunet_ms_") as place:
        notes = _collect(model, checkpoint, Path(place), half=half)
        (Path(place) / CARD).write_text(text, encoding="utf-8")
        sources = {str(path.relative_to(place)): path for path in Path(place).rglob("*") if path.is_file()}
        return Packed(target, write_archive(facts, sources, target), tuple(notes))


@known_keywords
def draft_model_card(
    folder: str | Path,
    output: str | Path | None = None,
    *,
    name: str,
    version: str = "1",
    title: str = "",
    licence: str = "",
    folds: Folds | None = None,
    checkpoint: str = CHECKPOINT,
) -> str:
    """Begin a model card: what the model's files tell stands there, the rest is marked `<fill in: ...>`.

    Parameters
    ----------
    folder, name, version, title, licence, folds, checkpoint
        As `pack_model`.
    output : str or Path, optional
        File to write; one that exists is not replaced.

    Raises
    ------
    ModelError
        If the model cannot be read.
    SettingsError
        If `output` exists.

    Examples
    --------
    >>> "## Limits" in draft_model_card("trained", name="random")
    True
    """
    model = read_model(Path(folder), fold_names(folds), checkpoint)
    facts = _facts(model, name=name, version=version, title=title, licence=licence or "unknown", half=False)
    text = draft_card(replace(facts, licence=licence), _count(model.dataset_json.get("numTraining")))
    if output is not None:
        if Path(output).exists():
            raise SettingsError(f"{output}: expected no such file, found one. Choose another -o, or remove it.")
        with whole_file(output) as partial:
            partial.write_text(text, encoding="utf-8")
    return text


@known_keywords
def install_model(path: str | Path, *, replace: bool = False) -> InstalledModel:
    """Install a packed model; afterwards its name is enough.

    Every hash is compared, the network is built and run once before anything is in place.

    Parameters
    ----------
    path : str or Path
        File that `pack_model` wrote.
    replace : bool, optional
        Whether an installed model of the same name and version is replaced.

    Raises
    ------
    ModelError
        If the file is damaged or was changed, or the model cannot be used.
    SettingsError
        If it is installed already.

    Examples
    --------
    >>> install_model("absent.model.zip")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: absent.model.zip: expected a packed model, found no such file. Check the path and ...
    """
    with opened_archive(path) as packed:
        facts = packed.facts
        target = models_folder() / facts.name / facts.version
        if target.exists() and not replace:
            raise SettingsError(
                f"{path}: {facts.reference} is installed already, in {target}. Use --replace, or pack it under another "
                "version."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(target, replace=replace) as folder:
            check_forward(read_model(packed.unpack(folder), facts.folds))
    return InstalledModel(facts, target / facts.folder, "installed")


def _facts(model: Model, *, name: str, version: str, title: str, licence: str, half: bool) -> ModelFacts:
    plain_name(name, "name")
    if len(name.split()) != 1 or "=" in name:
        raise SettingsError(f"name: expected a name without blanks and =, found {name!r}. Rename it.")
    if not licence.strip():
        raise SettingsError("licence: expected the licence of the weights (SPDX), found a blank. Say CC-BY-4.0 or so.")
    trainer, plans, configuration = model.trainer, model.folder.name.split("__")[1:2], model.configuration_name
    return ModelFacts(
        name=name,
        version=checked_version(version, "version", SettingsError),
        title=title.strip() or name,
        licence=licence.strip(),
        dataset=_dataset_name(model),
        trainer=trainer,
        plans=plans[0] if plans else str(model.plans.plans_name),
        configuration=configuration,
        folds=model.folds,
        channels=model.channel_names,
        labels=dict(model.classes),
        spacing_mm=tuple(float(one) for one in model.configuration.spacing),
        parameters=sum(value.numel() for value in model.network.state_dict().values()),
        precision="float16" if half else "float32",
        made_with=version_of("nnunet-ms"),
    )


def _dataset_name(model: Model) -> str:
    """Of the folder above, as nnU-Net has it, or of the plans where the folder was moved."""
    above = model.folder.resolve().parent.name
    return above if above.startswith("Dataset") else str(model.plans.dataset_name)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _checked_card(path: Path) -> str:
    if not path.is_file():
        raise SettingsError(f"{path}: expected the model card, found no such file. Begin one: nnunet-ms-model card.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: expected Markdown in UTF-8, found other bytes. Save it as UTF-8.") from error
    problems = card_problems(text)
    if problems:
        raise SettingsError(f"{path}: expected a whole model card, found {'; '.join(problems)}. Fill it in.")
    return text


def _collect(model: Model, checkpoint: str, place: Path, *, half: bool) -> list[str]:
    """Put the files of the package into a folder; return what a reader should know."""
    notes = []
    for fold in model.folds:
        loaded = load_checkpoint(model.folder / f"fold_{fold}" / checkpoint)
        contents, change = _slim(loaded, fold, half=half)
        (place / f"fold_{fold}").mkdir()
        save_checkpoint(contents, place / f"fold_{fold}" / CHECKPOINT)
        notes += [f"fold {fold}: half precision changes a weight by at most {change:.2g} of itself"] if half else []
    _copy_json(model.folder / "plans.json", place)
    left = _copy_json(model.folder / "dataset.json", place, LEFT_OUT)
    notes += [f"dataset.json: {', '.join(left)} left out: they name patients or cases"] if left else []
    for name in CARRIED:
        if (model.folder / name).is_file():
            shutil.copyfile(model.folder / name, place / name)
    notes += _copy_calibration(model, place)
    return notes


def _copy_calibration(model: Model, place: Path) -> list[str]:
    """Copy the calibration of volumes, which names no patient, if there is one."""
    calibration = read_calibration(model.folder)
    if calibration is None:
        return []
    shutil.copyfile(model.folder / CALIBRATION, place / CALIBRATION)
    return calibration.lines()


def _slim(loaded: Mapping[str, Any], fold: str, *, half: bool) -> tuple[dict[str, Any], float]:
    """What prediction needs of a checkpoint, and the largest relative change of a weight."""
    arguments = {"configuration": loaded["init_args"]["configuration"], "fold": fold}
    kept = {key: loaded[key] for key in KEPT if key in loaded} | {"init_args": arguments}
    if not half:
        return kept, 0.0
    weights: dict[str, torch.Tensor] = loaded["network_weights"]
    halved = {name: one.half() if one.is_floating_point() else one for name, one in weights.items()}
    largest = max((float(one.abs().max()) for one in weights.values() if one.numel()), default=0.0)
    if largest > HALF_MOST:
        raise ModelError(f"fold {fold}: expected weights up to {HALF_MOST:g}, found {largest:g}. Pack without --half.")
    changes = [_change(weights[name], halved[name]) for name in weights if weights[name].is_floating_point()]
    return kept | {"network_weights": halved}, max(changes, default=0.0)


def _change(whole: torch.Tensor, half: torch.Tensor) -> float:
    """Largest relative change among weights that float16 holds as normal numbers."""
    normal = whole.abs() > 2**-14
    if not normal.any():
        return 0.0
    return float(((half.float() - whole.float()).abs()[normal] / whole.float().abs()[normal]).max())


def _copy_json(source: Path, place: Path, left_out: Sequence[str] = ()) -> list[str]:
    content = json.loads(source.read_text(encoding="utf-8"))
    left = [key for key in left_out if key in content]
    kept = {key: value for key, value in content.items() if key not in left}
    (place / source.name).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return left
