"""The models of the comparison behind one interface: trained on a fold, saved as plain tensors, asked for judgement."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from nnunet_ms.arrays import Floats
from nnunet_ms.checkpoints import load_checkpoint
from nnunet_ms.classification.patient_folds import validation_rows
from nnunet_ms.classification.rim import baselines
from nnunet_ms.classification.rim.batches import Augmentation, Scale, scale_of
from nnunet_ms.classification.rim.lesion_set import LesionSet
from nnunet_ms.classification.rim.network import FULL, SMALL, Fusion, NetworkSize, QsmRimNet
from nnunet_ms.classification.rim.thresholds import best_threshold
from nnunet_ms.classification.rim.training import (
    QSMRIMNET,
    RIMNET,
    Examples,
    Recipe,
    Trained,
    fit_network,
    network_probabilities,
)
from nnunet_ms.classification.torch_runs import check_device
from nnunet_ms.errors import ModelError, OptionError, SettingsError
from nnunet_ms.options import chosen, switch
from nnunet_ms.progress import Progress, unseen

FORMAT = "rim model 1"
WEIGHTS = "model.pth"
# what a checkpoint holds, and as what
KINDS: dict[str, type] = {
    "format": str,
    "model": str,
    "feature_names": list,
    "geometry": list,
    "lesion_settings": dict,
    "mean": torch.Tensor,
    "sd": torch.Tensor,
    "options": dict,
    "fold": int,
    "weights": dict,
    "threshold": float,
}
# for a CPU: few batches, large steps, and an early end
SMALL_RATE, SMALL_EPOCHS, SMALL_PATIENCE = 1e-3, {"qsmrimnet": 15, "rimnet": 4}, 4


@dataclass(frozen=True)
class RimModel:
    """One of the models: how it learns, and whether rim+ lesions are oversampled."""

    kind: Literal["qsmrimnet", "rimnet", "forest", "regression"]
    oversampling: bool


MODELS = {
    "qsmrimnet": RimModel("qsmrimnet", oversampling=True),
    "qsmrimnet-no-oversampling": RimModel("qsmrimnet", oversampling=False),
    "rimnet": RimModel("rimnet", oversampling=False),
    "rimnet-oversampling": RimModel("rimnet", oversampling=True),
    "aprl": RimModel("forest", oversampling=False),
    "aprl-oversampling": RimModel("forest", oversampling=True),
    "radiomics": RimModel("regression", oversampling=False),
    "radiomics-oversampling": RimModel("regression", oversampling=True),
}


@dataclass(frozen=True)
class TrainingOptions:
    """What the models of one comparison share.

    Attributes
    ----------
    seed : int
    epochs : int or None
        None: the recipe's, 60 for QSMRim-Net and 40 for RimNet; with `small` 15 and 4.
    small : bool
        Networks for a CPU: an eighth of the filters (RimNet: a quarter, and 8 of its 28 slices), ten times the learning
        rate.
    fusion : {"concat", "sum"}
    include_self : bool
        See `oversampling.LatentOversampling`.
    device : str
        Of torch: cpu, cuda, cuda:1.
    augmentation : {"flips", "moves", "none"} or None
        Of the networks' patches, see `batches.augmented`. None: the recipe's, "flips" for QSMRim-Net and "moves" for
        RimNet.
    """

    seed: int = 0
    epochs: int | None = None
    small: bool = False
    fusion: Fusion = "concat"
    include_self: bool = False
    device: str = "cpu"
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        if self.augmentation is not None:
            chosen(self.augmentation, get_args(Augmentation), "augmentation")
        chosen(self.fusion, ("concat", "sum"), "fusion")
        switch(self.small, "small")
        switch(self.include_self, "include_self")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise SettingsError(f"seed: expected a whole number >= 0, found {self.seed!r}. Correct it.")
        check_device(self.device)

    @property
    def size(self) -> NetworkSize:
        """Widths of QSMRim-Net's layers."""
        return SMALL if self.small else FULL

    def recipe(self, kind: str) -> Recipe:
        """How a kind of network is trained."""
        recipe = RIMNET if kind == "rimnet" else QSMRIMNET
        if self.small:
            recipe = replace(recipe, learning_rate=SMALL_RATE, epochs=SMALL_EPOCHS[kind], patience=SMALL_PATIENCE)
        recipe = replace(recipe, augmentation=self.augmentation or recipe.augmentation)
        return recipe if self.epochs is None else replace(recipe, epochs=self.epochs)


def fit_fold(
    name: str,
    lesions: LesionSet,
    folder: Path,
    options: TrainingOptions,
    fold: int = 0,
    progress: Progress = unseen,
) -> tuple[dict[str, Any], Any]:
    """Train a model on the training lesions of one fold.

    Parameters
    ----------
    name : str
        Of `MODELS`.
    lesions : LesionSet
        All labelled. A fifth of their patients is held back, to stop the training and for the threshold.
    folder : Path
        For the state of a training under way.
    options : TrainingOptions
    fold : int, optional
        Makes another seed of each fold.
    progress : Progress, optional

    Returns
    -------
    contents : dict
        What a checkpoint holds: weights and how to use them; see `probabilities`.
    history : pandas.DataFrame or None
        One row per epoch of a network.

    Raises
    ------
    OptionError
        If the model is unknown.
    SettingsError
        If too few lesions or patients are rim+.
    """
    model = MODELS[chosen(name, MODELS, "model")]
    seed = options.seed * 1000 + fold
    held = validation_rows(lesions.patients, lesions.rim, seed=seed)
    train, validation = lesions.take(~held), lesions.take(held)
    names = _features_of(model, lesions)
    scale = scale_of(train.columns(names))
    parts = tuple(Examples(part.patches, scale(part.columns(names)), part.labels) for part in (train, validation))
    weights, trained = _fit(model, parts[0], parts[1], options, folder, seed, progress)
    contents: dict[str, Any] = {
        "format": FORMAT,
        "model": name,
        "feature_names": list(names),
        "geometry": list(lesions.geometry),
        "lesion_settings": dict(lesions.settings),
        "mean": torch.from_numpy(scale.mean),
        "sd": torch.from_numpy(scale.sd),
        "options": asdict(options) | {"device": "cpu"},
        "fold": fold,
        "best_epoch": trained.best_epoch + 1 if trained else 0,
        "validation_patients": sorted(set(validation.patients)),
        "weights": weights,
    }
    contents["threshold"] = best_threshold(validation.rim, probabilities(contents, validation, options.device))
    return contents, None if trained is None else trained.history


def probabilities(contents: Mapping[str, Any], lesions: LesionSet, device: str = "cpu") -> Floats:
    """Probability of a rim of each lesion, by one fold's model; (n,).

    Raises
    ------
    ModelError
        If the lesions were cut or measured in another way than the model's: by name.
    """
    model = MODELS[contents["model"]]
    check_fits(contents, lesions)
    scale = Scale(contents["mean"].numpy(), contents["sd"].numpy())
    features = scale(lesions.columns(contents["feature_names"]))
    if model.kind == "forest":
        return baselines.forest_probabilities(contents["weights"], features)
    if model.kind == "regression":
        return baselines.regression_probabilities(contents["weights"], features)
    network = _network(model, features.shape[1], _options_of(contents))
    network.load_state_dict(contents["weights"])
    return network_probabilities(network.to(device), lesions.patches, features, device)


def load_fold_model(path: str | Path) -> dict[str, Any]:
    """Read a fold's model by the safe loader.

    Raises
    ------
    ModelError
        If it is damaged, or of another format or model than this version knows.
    """
    contents = load_checkpoint(path, tuple(KINDS), "a rim model")
    if contents["format"] != FORMAT or str(contents["model"]) not in MODELS:
        raise ModelError(
            f"{path}: expected {FORMAT!r} of one of {', '.join(MODELS)}, found {contents['format']!r} of "
            f"{contents['model']!r}. Use the version of nnunet-ms that trained it, or train again."
        )
    if damage := _damage(contents):
        raise ModelError(f"{path}: expected a rim model, found {damage}. Copy it again, or train again.")
    return contents


def _damage(contents: Mapping[str, Any]) -> str:
    """What shows that no training has written this; blank where nothing does."""
    for key, kind in KINDS.items():
        if not isinstance(contents[key], kind):
            return f"{key} of type {type(contents[key]).__name__}"
    count = len(contents["feature_names"])
    if any(contents[key].shape != (count,) for key in ("mean", "sd")):
        return f"mean and sd of {contents['mean'].numel()} and {contents['sd'].numel()} features for {count} names"
    if not 0 <= contents["threshold"] <= 1:
        return f"threshold {contents['threshold']}"
    tensors = {"mean": contents["mean"], "sd": contents["sd"], **contents["weights"]}
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or not torch.isfinite(tensor).all():
            return f"no finite numbers as {name}"
    return _wrong_weights(contents, count)


def _wrong_weights(contents: Mapping[str, Any], features: int) -> str:
    model, weights = MODELS[contents["model"]], contents["weights"]
    if model.kind == "forest":
        return baselines.forest_damage(weights, features)
    if model.kind == "regression":
        shapes = {name: tuple(weights[name].shape) for name in ("weights", "intercept") if name in weights}
        return "" if shapes == {"weights": (features,), "intercept": ()} else f"a regression of {shapes}"
    try:
        network = _network(model, features, _options_of(contents))
        network.load_state_dict(weights)
    except (KeyError, OptionError, RuntimeError) as error:
        return f"weights that are not its network's ({' '.join(str(error).split())[:200]})"
    return ""


def _options_of(contents: Mapping[str, Any]) -> TrainingOptions:
    given = contents["options"]
    return TrainingOptions(small=given["small"], fusion=given["fusion"], include_self=given["include_self"])


def check_fits(contents: Mapping[str, Any], lesions: LesionSet) -> None:
    """Raise ModelError unless lesions have the features, and their patches the cells, that a model was trained on."""
    its_cells = tuple(contents["geometry"])
    if MODELS[contents["model"]].kind in ("qsmrimnet", "rimnet") and its_cells != lesions.geometry:
        raise ModelError(
            f"{lesions.source}: expected patches of {its_cells} cells as the model {contents['model']} was trained on, "
            f"found {lesions.geometry}. Run nnunet-ms-rim features with that geometry."
        )
    for setting in ("extent_mm", "features"):
        its, found = (given.get(setting) for given in (contents["lesion_settings"], lesions.settings))
        if its is not None and found is not None and its != found:
            raise ModelError(
                f"{lesions.source}: expected lesions measured with {setting} {its!r} as those that the model "
                f"{contents['model']} was trained on, found {found!r}. Run nnunet-ms-rim features in the same way."
            )
    missing = [name for name in contents["feature_names"] if name not in lesions.names]
    if missing:
        raise ModelError(
            f"{lesions.source}: expected the {len(contents['feature_names'])} features of the model "
            f"{contents['model']}, {len(missing)} are missing, such as {missing[0]}. Measure the features with the "
            "settings and the version that the model was trained with."
        )


def _features_of(model: RimModel, lesions: LesionSet) -> tuple[str, ...]:
    """Names of the features that a model looks at."""
    if model.kind == "rimnet":
        return ()
    if model.kind != "forest":
        return lesions.names
    names = tuple(name for name in lesions.names if name.startswith(baselines.FIRST_ORDER))
    if not names:
        raise SettingsError(
            f"{lesions.source}: expected features called {baselines.FIRST_ORDER}..., found none among "
            f"{len(lesions.names)}. Measure the features with nnunet-ms-rim features."
        )
    return names


def _fit(
    model: RimModel,
    train: Examples,
    validation: Examples,
    options: TrainingOptions,
    folder: Path,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, torch.Tensor], Trained | None]:
    if model.kind in ("qsmrimnet", "rimnet"):
        recipe = options.recipe(model.kind)
        trained = fit_network(
            lambda: _network(model, train.features.shape[1], options),
            *(train, validation, recipe, folder, seed, options.device, progress),
        )
        return trained.weights, trained
    features, rim = train.features, train.labels == 1
    if rim.sum() < 2:
        raise SettingsError(f"training set: expected 2 rim+ lesions or more, found {int(rim.sum())}. Add patients.")
    if model.oversampling:
        features, rim = baselines.oversampled(features, rim, seed)
    if model.kind == "forest":
        return baselines.fit_forest(features, rim, seed, baselines.TREES), None
    return baselines.fit_regression(features, rim, validation.features, validation.labels == 1), None


def _network(model: RimModel, features: int, options: TrainingOptions) -> torch.nn.Module:
    if model.kind == "rimnet":
        small = (baselines.SMALL_FILTERS, baselines.SMALL_CELLS)
        sizes = small if options.small else (baselines.FILTERS, baselines.CELLS)
        return baselines.RimNet(*sizes, oversampling=model.oversampling)
    return QsmRimNet(
        features,
        options.size,
        fusion=options.fusion,
        oversampling=model.oversampling,
        include_self=options.include_self,
    )
