"""Training of a network on lesions: one fold, seeded, and resumed after a kill as if there had been none."""

import copy
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softplus
from torch.optim.swa_utils import AveragedModel

from nnunet_ms.arrays import Floats, SingleFloats
from nnunet_ms.checkpoints import load_checkpoint, save_checkpoint
from nnunet_ms.classification.rim.batches import Augmentation, augmented, stratified_batches
from nnunet_ms.classification.torch_runs import Seeded, adamw, check_same_training
from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.options import chosen
from nnunet_ms.progress import Progress, unseen

Loss = Literal["bce", "focal"]
Schedule = Literal["cosine", "poly"]
STATE = "last_epoch.pth"
GAMMA, ALPHA = 2.0, 0.2  # of RimNet's focal loss (public code)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are ours, as QSMRim-Net's authors tell none.

    Attributes
    ----------
    epochs : int
        Passes over the rim- lesions, at most.
    batch_size, least_rim : int
        See `batches.stratified_batches`.
    learning_rate, weight_decay : float
        Of AdamW.
    loss : {"bce", "focal"}
        Of the logits of all rows, synthetic ones included.
    schedule : {"cosine", "poly"}
        How the learning rate falls to 0.
    average : float
        Weight of the past in the running mean of weights, which is what is validated and kept.
    patience : int
        Epochs without a better validation after which training ends.
    augmentation : {"flips", "moves", "none"}
        See `batches.augmented`.

    Raises
    ------
    OptionError
        If a word is unknown, or a number cannot be.
    """

    epochs: int = 60
    batch_size: int = 32
    least_rim: int = 4
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    loss: Loss = "bce"
    schedule: Schedule = "cosine"
    average: float = 0.999
    patience: int = 20
    augmentation: Augmentation = "flips"

    def __post_init__(self) -> None:
        chosen(self.loss, get_args(Loss), "loss")
        chosen(self.schedule, get_args(Schedule), "schedule")
        chosen(self.augmentation, get_args(Augmentation), "augmentation")
        for name, least in (("epochs", 1), ("batch_size", 4), ("least_rim", 1), ("patience", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name}: expected a whole number >= {least}, found {value!r}. Correct it.")
        if self.least_rim >= self.batch_size:
            raise OptionError(f"least_rim: expected less than the batch of {self.batch_size}, found {self.least_rim}.")


QSMRIMNET = Recipe()
# public code of RimNet's authors: focal loss, polynomial decay, as many rim+ as rim- in a batch, 80 epochs on QSM: of
# draws, of which half are rim+, so that they are about 40 passes over the rim- lesions; flips, quarter turns, shifts by
# 3 voxels and turns by 5 degrees
RIMNET = Recipe(epochs=40, least_rim=16, weight_decay=3e-5, loss="focal", schedule="poly", augmentation="moves")


@dataclass(frozen=True)
class Examples:
    """Lesions as a network takes them: patches (n, 2, D, H, W), scaled features (n, F), labels (n,) of 0 and 1."""

    patches: SingleFloats
    features: SingleFloats
    labels: Floats


@dataclass(frozen=True)
class Trained:
    """What a training ends with: the best epoch's weights, their number, and one row per epoch."""

    weights: dict[str, torch.Tensor]
    best_epoch: int
    history: pd.DataFrame


def fit_network(
    make: Callable[[], torch.nn.Module],
    train: Examples,
    validation: Examples,
    recipe: Recipe,
    folder: Path,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = unseen,
) -> Trained:
    """Train a network until the validation gets no better; keep the weights that were best there.

    Parameters
    ----------
    make : callable
        Makes a network that takes patches, features and labels, and returns logits and labels.
    train, validation : Examples
        Of different patients. The best epoch has the largest average precision on the validation; of equals the one
        with the lowest cross-entropy there.
    recipe : Recipe
    folder : Path
        Where the state of the last epoch is kept. A killed training goes on from there and ends with the same weights.
    seed : int, optional
        Of first weights, batches, augmentation, dropout and interpolation; every epoch has its own.
    device : str, optional
        Of torch. On a GPU sums are rounded in an order that changes from run to run.
    progress : Progress, optional
        Shows the epochs.

    Raises
    ------
    SettingsError
        If a set has too few lesions of a kind, or the loss is no number any more.
    ModelError
        If the state in the folder is damaged.
    """
    _check_validation(validation)
    state = _State(make, recipe, seed, device)
    marks = _marks(train, validation, recipe, seed)
    path = folder / STATE
    if path.is_file():
        state.load(load_checkpoint(path, _KEYS, "the state of a training"), marks, path)
    first = len(state.history)
    for epoch in progress(range(first, recipe.epochs), folder.name, lambda number: f"epoch {number + 1}"):
        if epoch - state.best_epoch > recipe.patience and state.history:
            break
        loss = state.train_epoch(train, epoch)
        state.validate(validation, epoch, loss)
        save_checkpoint({**state.saved(), "marks": marks}, path, checksum=False)
    return Trained(state.best, state.best_epoch, pd.DataFrame(state.history))


def network_probabilities(
    network: torch.nn.Module, patches: SingleFloats, features: SingleFloats, device: str = "cpu", size: int = 128
) -> Floats:
    """Probability of a rim of each lesion, (n,).

    Parameters
    ----------
    network : torch.nn.Module
        Put into `eval`.
    patches : (n, 2, D, H, W) float32 array
    features : (n, F) float32 array
        Scaled.
    device : str, optional
        Where the network is.
    size : int, optional
        Lesions at a time; it changes nothing but the memory.
    """
    network.eval()
    found = [np.zeros(0)]
    with torch.inference_mode():
        for start in range(0, len(patches), size):
            part = slice(start, start + size)
            images, numbers = (torch.from_numpy(x[part]).to(device) for x in (patches, features))
            logits, _ = network(images, numbers, images.new_zeros(len(images)))
            found.append(torch.sigmoid(logits.double()).cpu().numpy())
    return np.concatenate(found)


def loss_of(logits: torch.Tensor, labels: torch.Tensor, kind: Loss) -> torch.Tensor:
    """Mean loss of logits (m,) against labels (m,) of 0 and 1.

    The focal loss [1]_ weighs what is wrong by (1 - p)^2, rim+ lesions by .2 and others by .8, as RimNet's authors do.

    References
    ----------
    .. [1] Lin T-Y et al. Focal loss for dense object detection. ICCV 2017, equation 5.

    Examples
    --------
    >>> loss_of(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]), "bce")
    tensor(0.6931)
    """
    if kind == "bce":
        return binary_cross_entropy_with_logits(logits, labels)
    signed = torch.where(labels > 0, logits, -logits)  # large where right
    weight = torch.where(labels > 0, ALPHA, 1 - ALPHA)
    return (weight * torch.sigmoid(-signed) ** GAMMA * softplus(-signed)).mean()


def rate_of(epoch: int, recipe: Recipe) -> float:
    """Learning rate of an epoch, from 0: half a cosine, or RimNet's power of .9.

    Examples
    --------
    >>> [round(rate_of(epoch, Recipe(epochs=4, learning_rate=1.0)), 3) for epoch in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    part = epoch / recipe.epochs
    falls = (1 + math.cos(math.pi * part)) / 2 if recipe.schedule == "cosine" else (1 - part) ** 0.9
    return recipe.learning_rate * falls


def average_precision(labels: Floats, probability: Floats) -> float:
    """Area under precision and recall as average precision, by scikit-learn."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, probability))


_KEYS = ("network", "average", "optimiser", "best", "best_epoch", "history", "marks")


class _State:
    """All that changes from epoch to epoch."""

    def __init__(self, make: Callable[[], torch.nn.Module], recipe: Recipe, seed: int, device: str) -> None:
        self.recipe, self.seed, self.device = recipe, seed, device
        with Seeded(seed, 0, device):
            self.network = make().to(device)
        self.average = AveragedModel(self.network, avg_fn=_running_mean(recipe.average), use_buffers=True)
        self.optimiser = adamw(self.network, recipe.learning_rate, recipe.weight_decay)
        self.best: dict[str, torch.Tensor] = {}
        self.best_epoch = 0
        self.history: list[dict[str, float]] = []

    def train_epoch(self, train: Examples, epoch: int) -> float:
        """Mean loss of an epoch's batches."""
        generator = np.random.default_rng([self.seed, epoch])
        for group in self.optimiser.param_groups:
            group["lr"] = rate_of(epoch, self.recipe)
        self.network.train()
        with Seeded(self.seed, epoch + 1, self.device):
            sizes = self.recipe.batch_size, self.recipe.least_rim
            batches = stratified_batches(train.labels == 1, generator, *sizes)
            losses = [self._step(train, places, generator) for places in batches]
        loss = float(np.mean(losses))
        if not np.isfinite(loss):
            raise SettingsError(
                f"training: expected a loss that is a number, found {loss} in epoch {epoch + 1}. Look for strange "
                "values in features.csv, or lower the learning rate."
            )
        return loss

    def _step(self, train: Examples, places: Any, generator: np.random.Generator) -> float:
        patches = augmented(train.patches[places], generator, self.recipe.augmentation)
        images = torch.from_numpy(patches).to(self.device)
        numbers = torch.from_numpy(train.features[places]).to(self.device)
        labels = torch.from_numpy(train.labels[places].astype(np.float32)).to(self.device)
        logits, truth = self.network(images, numbers, labels)
        loss = loss_of(logits, truth, self.recipe.loss)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.average.update_parameters(self.network)
        return float(loss.detach())

    def validate(self, validation: Examples, epoch: int, loss: float) -> None:
        """Add a row to the history; keep the averaged weights if they are the best so far."""
        found = network_probabilities(self.average.module, validation.patches, validation.features, self.device)
        ahead = np.where(validation.labels == 1, found, 1 - found)
        cross_entropy = float(-np.log(np.clip(ahead, 1e-12, 1)).mean())
        precision = average_precision(validation.labels, found)
        row = {
            "epoch": epoch + 1,
            "learning_rate": rate_of(epoch, self.recipe),
            "train_loss": loss,
            "validation_loss": cross_entropy,
            "validation_pr_auc": precision,
        }
        if not self.history or (precision, -cross_entropy) > self._best_so_far():
            self.best_epoch = epoch
            weights = self.average.module.state_dict()
            self.best = {name: value.detach().cpu().clone() for name, value in weights.items()}
        self.history.append(row)

    def _best_so_far(self) -> tuple[float, float]:
        row = self.history[self.best_epoch]
        return row["validation_pr_auc"], -row["validation_loss"]

    def saved(self) -> dict[str, Any]:
        """Tensors and plain values, as `load` takes them."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "history": self.history,
        }

    def load(self, saved: Mapping[str, Any], marks: str, path: Path) -> None:
        """Go on from a saved state; SettingsError if it is of another training."""
        check_same_training(saved, marks, path, "lesions")
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(copy.deepcopy(saved["optimiser"]))
        self.best, self.best_epoch, self.history = saved["best"], saved["best_epoch"], saved["history"]


def _running_mean(past: float) -> Callable[[torch.Tensor, torch.Tensor, Any], torch.Tensor]:
    """An exponential mean of weights that forgets faster at first, when the weights are still those of the draw."""

    def mean(kept: torch.Tensor, new: torch.Tensor, steps: Any) -> torch.Tensor:
        if not kept.is_floating_point():  # the number of batches that a norm has seen
            return new
        weight = min(past, (1 + int(steps)) / (10 + int(steps)))
        return torch.lerp(new, kept, weight)

    return mean


def _marks(train: Examples, validation: Examples, recipe: Recipe, seed: int) -> str:
    """What tells one training from another: its lesions, settings and seed."""
    digest = hashlib.sha256(repr((sorted(asdict(recipe).items()), seed)).encode())
    for part in (train, validation):
        for array in (part.patches, part.features, part.labels):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _check_validation(validation: Examples) -> None:
    rim = int((validation.labels == 1).sum())
    if not rim or rim == len(validation.labels):
        raise SettingsError(
            f"validation set: expected rim+ and rim- lesions, found {rim} rim+ of {len(validation.labels)}. Add "
            "labelled patients."
        )
