"""A network of one strategy and one fold: trained, saved as plain tensors with what it needs to know, asked again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import torch
from scipy.special import expit

from nnunet_ms.arrays import Floats, Ints, SingleFloats
from nnunet_ms.checkpoints import load_checkpoint
from nnunet_ms.classification.stratification.inputs import network_input
from nnunet_ms.classification.stratification.networks import NetworkName, stratification_network
from nnunet_ms.classification.stratification.prediction_tables import youden_threshold
from nnunet_ms.classification.stratification.preparation import CROP_MM, PreparedScan
from nnunet_ms.classification.stratification.regions import STRATEGIES
from nnunet_ms.classification.stratification.training import (
    SMALL,
    Examples,
    Recipe,
    Task,
    Trained,
    augmentation_of,
    classification_task,
    fit_network,
    network_logits,
)
from nnunet_ms.classification.torch_runs import check_device
from nnunet_ms.errors import ModelError, NnunetMsError, OptionError, SettingsError
from nnunet_ms.options import chosen, switch
from nnunet_ms.progress import Progress, unseen

FORMAT = "stratification model 1"
WEIGHTS = "model.pt"
DISABILITY = "disability"
# what a checkpoint holds, and as what
KINDS: dict[str, type] = {
    "format": str,
    "task": str,
    "strategy": str,
    "network": str,
    "small": bool,
    "outputs": int,
    "shape": list,
    "coarser": int,
    "fold": int,
    "folds": int,
    "options": dict,
    "preparation": dict,
    "threshold": float,
    "weights": dict,
}


@dataclass(frozen=True)
class TrainingOptions:
    """What the networks of all strategies and folds share.

    Attributes
    ----------
    network : {"densenet121", "resnet18", "compact"}
    small : bool
        A small network, for a CPU, and few, large steps: `training.SMALL` instead of `training.Recipe`.
    seed : int
    device : str
        Of torch: cpu, cuda, cuda:1.
    coarser : int
        See `inputs.network_input`.
    augmentation : bool
    epochs, batch_size, learning_rate, weight_decay, patience : numbers or None
        See `training.Recipe`; None: the recipe's.

    Raises
    ------
    OptionError
        If a word or a number cannot be.
    SettingsError
        If torch has no such device.
    """

    network: NetworkName = "densenet121"
    small: bool = False
    seed: int = 0
    device: str = "cpu"
    coarser: int = 1
    augmentation: bool = True
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        chosen(self.network, get_args(NetworkName), "network")
        switch(self.small, "small")
        switch(self.augmentation, "augmentation")
        for name, least in (("seed", 0), ("coarser", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name}: expected a whole number >= {least}, found {value!r}. Correct it.")
        check_device(self.device)
        if self.recipe.learning_rate == 0:
            raise OptionError("learning_rate: expected a number above 0, found 0, with which nothing is learnt.")

    @property
    def recipe(self) -> Recipe:
        """How the networks are trained."""
        names = {field.name for field in fields(Recipe)}
        given = {name: value for name, value in asdict(self).items() if name in names and value is not None}
        return replace(SMALL if self.small else Recipe(), **given)


@dataclass(frozen=True)
class Fold:
    """Rows of the examples that train, validate and are judged in a fold, and its number of how many."""

    number: int
    folds: int
    train: Ints
    validation: Ints
    judged: Ints


def fit_fold(
    examples: Examples,
    fold: Fold,
    folder: Path,
    options: TrainingOptions,
    about: Mapping[str, Any],
    task: Task | None = None,
    marks: str = "",
    progress: Progress = unseen,
) -> tuple[dict[str, Any], Trained]:
    """Train the network of one strategy and one fold.

    Parameters
    ----------
    examples : Examples
    fold : Fold
    folder : Path
        For the state of a training under way.
    options : TrainingOptions
    about : mapping
        What the model remembers: `strategy`, `preparation` (settings of the prepared folder), `validation_patients`;
        and `task` with what that needs where it is not disability.
    task : Task, optional
        `training.classification_task` of the training scans where it is None; the threshold is then that of the largest
        balanced accuracy on the validation scans, and .5 for other tasks, which have none.
    marks : str, optional
        What tells the scans from others.
    progress : Progress, optional

    Returns
    -------
    contents : dict
        What a checkpoint holds.
    trained : Trained

    Raises
    ------
    SettingsError
        If the training or the validation scans are of one class only, or the loss is no number any more.
    """
    is_class = task is None
    task = task or classification_task(examples.targets[fold.train, 0])
    shape = [int(n) for n in examples.images.shape[2:]]
    given: dict[str, Any] = {"small": options.small, "outputs": task.outputs, "shape": shape}
    augmentation = augmentation_of(options.recipe, CROP_MM[0] / shape[0])
    trained = fit_network(
        lambda: stratification_network(options.network, **given),
        *(examples, fold.train, fold.validation, task, options.recipe, folder),
        *(options.seed * 1000 + fold.number, options.device, augmentation, marks, progress),
    )
    contents: dict[str, Any] = {
        "format": FORMAT,
        "task": DISABILITY,
        **about,
        "network": options.network,
        **given,
        "coarser": options.coarser,
        "fold": fold.number,
        "folds": fold.folds,
        "options": asdict(options.recipe) | {"seed": options.seed},
        "best_epoch": trained.best_epoch + 1,
        "threshold": 0.5,
        "weights": dict(trained.weights),
    }
    if is_class:
        logits = model_logits(contents, examples.images, fold.validation, options.device)
        contents["threshold"] = youden_threshold(examples.targets[fold.validation, 0], expit(logits[:, 0]))
    return contents, trained


def check_images(scan: PreparedScan, strategy: str, options: TrainingOptions, name: str = "scan") -> None:
    """Raise where a network cannot be made for such images, before anything is trained.

    Raises
    ------
    ImageError
        If the region has no voxel, or the images do not divide into the blocks of `coarser`.
    OptionError
        If the images are too small for the network.

    Examples
    --------
    >>> import numpy as np
    >>> told = ({}, {}, "", 0.9, np.eye(4))
    >>> scan = PreparedScan(np.ones((2, 4, 4, 4), np.float32), np.ones((4, 4, 4), bool), *told)
    >>> check_images(scan, "global", TrainingOptions("compact"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: ...
    """
    images = network_input(scan, strategy, options.coarser, name)  # type: ignore[arg-type]
    stratification_network(options.network, options.small, 1, shape=[int(n) for n in images.shape[1:]])


def network_of(contents: Mapping[str, Any]) -> torch.nn.Module:
    """The network of a fold's model, with its weights, in `eval`, on the CPU.

    Examples
    --------
    >>> shape = [20, 24, 20]
    >>> made = stratification_network("compact", small=True, shape=shape)
    >>> contents = {"network": "compact", "small": True, "outputs": 1, "shape": shape, "weights": made.state_dict()}
    >>> network_of(contents).training
    False
    """
    network = stratification_network(
        contents["network"], contents["small"], contents["outputs"], shape=[int(n) for n in contents["shape"]]
    )
    network.load_state_dict(contents["weights"])
    return network.eval()


def input_of(contents: Mapping[str, Any], scan: PreparedScan, name: str = "scan") -> SingleFloats:
    """Images (2, X, Y, Z) of a scan as a fold's model takes them.

    Raises
    ------
    ImageError
        If the model's region has no voxel, or the images hold values that are no numbers.
    ModelError
        If the scan's grid is another than that of the training.

    Examples
    --------
    >>> import numpy as np
    >>> told = ({}, {}, "", 0.9, np.eye(4))
    >>> scan = PreparedScan(np.zeros((2, 4, 4, 4), np.float32), np.ones((4, 4, 4), bool), *told)
    >>> input_of({"strategy": "global", "coarser": 1, "shape": [20, 24, 20]}, scan)
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: scan: expected images of (20, 24, 20) voxels, as the model was trained on, found ...
    """
    expected = tuple(n * contents["coarser"] for n in contents["shape"])
    found = scan.images.shape[1:]
    if found != expected:
        raise ModelError(
            f"{name}: expected images of {expected} voxels, as the model was trained on, found {found}. Prepare the "
            f"scans with --edge-mm {CROP_MM[0] / expected[0]:g}, or train a model on these."
        )
    return network_input(scan, contents["strategy"], contents["coarser"], name)


def model_logits(contents: Mapping[str, Any], images: SingleFloats, rows: Ints, device: str = "cpu") -> Floats:
    """Logits (len(rows), outputs) of images that `input_of` made, by one fold's model.

    Examples
    --------
    >>> import numpy as np
    >>> shape = [20, 24, 20]
    >>> made = stratification_network("compact", small=True, shape=shape)
    >>> contents = {"network": "compact", "small": True, "outputs": 1, "shape": shape, "weights": made.state_dict()}
    >>> model_logits(contents, np.zeros((2, 2, *shape), np.float32), np.arange(2)).shape
    (2, 1)
    """
    return network_logits(network_of(contents).to(device), images, rows, device)


def load_fold_model(path: str | Path) -> dict[str, Any]:
    """Read a fold's model by the safe loader.

    Raises
    ------
    ModelError
        If it is damaged or altered, or of another format than this version knows.

    Examples
    --------
    >>> load_fold_model("model.pt")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: model.pt: expected a model of nnunet-ms-stratify, found no such file. ...
    """
    contents = load_checkpoint(path, tuple(KINDS), "a model of nnunet-ms-stratify")
    if contents["format"] != FORMAT:
        raise ModelError(
            f"{path}: expected {FORMAT!r}, found {contents['format']!r}. Use the version of nnunet-ms that trained it, "
            "or train again."
        )
    if damage := _damage(contents):
        raise ModelError(
            f"{path}: expected a model of nnunet-ms-stratify, found {damage}. Copy it again, or train again."
        )
    return contents


def _damage(contents: Mapping[str, Any]) -> str:
    """What shows that no training has written this; blank where nothing does."""
    for key, kind in KINDS.items():
        if type(contents[key]) is not kind:
            return f"{key} of type {type(contents[key]).__name__}"
    if contents["strategy"] not in STRATEGIES:
        return f"strategy {contents['strategy']!r}"
    if len(contents["shape"]) != 3 or not all(type(n) is int and n > 0 for n in contents["shape"]):
        return f"shape {contents['shape']}"
    if contents["coarser"] < 1 or not 0 <= contents["fold"] < contents["folds"]:
        return f"fold {contents['fold']} of {contents['folds']}, coarser {contents['coarser']}"
    if not 0 <= contents["threshold"] <= 1:
        return f"threshold {contents['threshold']}"
    for name, tensor in contents["weights"].items():
        if not isinstance(tensor, torch.Tensor) or not torch.isfinite(tensor).all():
            return f"no finite numbers as {name}"
    try:
        network_of(contents)
    except SettingsError as error:
        if not isinstance(error, OptionError):
            raise  # MONAI is not there
        return f"a network that cannot be ({error})"
    except (NnunetMsError, RuntimeError) as error:
        return f"weights that are not its network's ({' '.join(str(error).split())[:200]})"
    return ""
