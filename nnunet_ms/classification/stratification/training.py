"""Training of a network on scans: one fold, seeded, and resumed after a kill as if there had been none.

What is learnt is a `Task`: how many outputs, which loss, and what is measured on the validation scans. EDSS >= 3.0 is
one (`classification_task`); time to progression is another.
"""

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from nnunet_ms.arrays import Floats, Ints, SingleFloats
from nnunet_ms.checkpoints import load_checkpoint, save_checkpoint
from nnunet_ms.classification.stratification.inputs import Augmentation, seeds_of
from nnunet_ms.classification.torch_runs import Seeded, adamw, check_same_training
from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.progress import Progress, unseen

STATE = "last_epoch.pth"
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Scores = Callable[[Floats, Floats], Mapping[str, float]]
Augment = Callable[[torch.Tensor, list[int]], torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; ours, as the paper tells none.

    Attributes
    ----------
    epochs : int
        Passes over the training scans, at most.
    batch_size : int
        Scans at a time; a last batch of one scan joins the one before.
    learning_rate, weight_decay : float
        Of AdamW; the rate falls to 0 as half a cosine.
    patience : int
        Epochs without a better validation after which training ends.
    augmentation : bool
        See `inputs.Augmentation`.

    Raises
    ------
    OptionError
        If a number cannot be.
    """

    epochs: int = 100
    batch_size: int = 4
    learning_rate: float = 1e-4
    weight_decay: float = 1e-2
    patience: int = 20
    augmentation: bool = True

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("patience", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name}: expected a whole number >= {least}, found {value!r}. Correct it.")
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise OptionError(f"{name}: expected a number from 0 to 1, found {value!r}. Correct it.")


SMALL = Recipe(epochs=16, batch_size=8, learning_rate=3e-3, patience=8)  # for a CPU: few, large steps


@dataclass(frozen=True)
class Task:
    """What a network learns.

    Attributes
    ----------
    outputs : int
        Logits per scan.
    loss : callable
        Of logits (B, outputs) and targets (B, k), to a mean over the scans.
    scores : callable
        Of logits (n, outputs) and targets (n, k) of the validation scans, to named numbers, larger is better. The epoch
        with the largest first one is kept; of equals the one with the largest next one.
    """

    outputs: int
    loss: Loss
    scores: Scores


@dataclass(frozen=True)
class Examples:
    """Scans as a network takes them: images (n, C, X, Y, Z), perhaps on the disk, and targets (n, k)."""

    images: SingleFloats
    targets: SingleFloats


@dataclass(frozen=True)
class Trained:
    """What a training ends with: the best epoch's weights, its number from 0, and one row per epoch."""

    weights: dict[str, torch.Tensor]
    best_epoch: int
    history: pd.DataFrame


def classification_task(truth: npt.ArrayLike) -> Task:
    """Of one class against the other: cross-entropy in which both classes weigh the same, and balanced accuracy.

    Parameters
    ----------
    truth : (n,) array of bool or 0/1
        Of the *training* scans: the weight of the positive ones is the number of the others over theirs.

    Raises
    ------
    SettingsError
        If all are of one class.

    Examples
    --------
    >>> task = classification_task([1, 0, 0, 0])
    >>> task.loss(torch.zeros(2, 1), torch.tensor([[1.0], [0.0]]))  # (3 + 1) / 2 log 2
    tensor(1.3863)
    >>> {name: round(x, 4) for name, x in task.scores(np.array([[2.0], [-1.0]]), np.array([[1.0], [1.0]])).items()}
    {'balanced_accuracy': 0.5, 'log_likelihood': -0.7201}
    """
    values = np.asarray(truth).astype(bool)
    positive = int(values.sum())
    if not 0 < positive < values.size:
        raise SettingsError(
            f"training set: expected scans of both classes, found {positive} disabled of {values.size}. Add patients, "
            "or ask for fewer folds."
        )
    weight = torch.tensor([(values.size - positive) / positive])

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return binary_cross_entropy_with_logits(logits, targets, pos_weight=weight.to(logits.device))

    return Task(1, loss, _class_scores)


def _class_scores(logits: Floats, targets: Floats) -> dict[str, float]:
    """Mean of the shares that are right in each class that is there, and the mean log-likelihood."""
    called, truth = logits[:, 0] > 0, targets[:, 0] == 1
    shares = [float((called == truth)[truth == kind].mean()) for kind in (True, False) if (truth == kind).any()]
    signed = np.where(truth, logits[:, 0], -logits[:, 0])
    return {"balanced_accuracy": float(np.mean(shares)), "log_likelihood": float(-np.logaddexp(0, -signed).mean())}


def fit_network(
    make: Callable[[], torch.nn.Module],
    examples: Examples,
    train: Ints,
    validation: Ints,
    task: Task,
    recipe: Recipe,
    folder: Path,
    seed: int = 0,
    device: str = "cpu",
    augment: Augment | None = None,
    marks: str = "",
    progress: Progress = unseen,
) -> Trained:
    """Train a network until the validation gets no better; keep the weights that were best there.

    Parameters
    ----------
    make : callable
        Makes a network from (B, C, X, Y, Z) to (B, task.outputs).
    examples : Examples
    train, validation : int arrays
        Rows of the examples, of different patients.
    task : Task
    recipe : Recipe
    folder : Path
        Where the state of the last epoch is kept. A killed training goes on from there and ends with the same weights.
    seed : int, optional
        Of first weights, batches, augmentation and dropout; every epoch has its own.
    device : str, optional
        Of torch. On a GPU sums are rounded in an order that changes from run to run.
    augment : callable, optional
        Of a batch and a seed per scan, see `inputs.Augmentation`; None changes nothing.
    marks : str, optional
        What tells these examples and this task from others, such as a digest; a state with other marks is refused.
    progress : Progress, optional
        Shows the epochs.

    Raises
    ------
    SettingsError
        If the loss is no number any more, or the folder holds the state of another training.
    ModelError
        If the state in the folder is damaged.

    Examples
    --------
    >>> scans = Examples(np.ones((6, 1, 2, 2, 2), np.float32), np.float32([[0], [1]] * 3))
    >>> def make():
    ...     return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 1))
    >>> rows, task = np.arange(6), classification_task([0, 1, 0, 1])
    >>> trained = fit_network(make, scans, rows[:4], rows[4:], task, Recipe(epochs=2), Path("fold_0"))
    >>> trained.history["validation_balanced_accuracy"].tolist()
    [0.5, 0.5]
    """
    state = _State(make, task, recipe, seed, device)
    told = _marks(examples, train, validation, recipe, seed, marks)
    path = folder / STATE
    if path.is_file():
        state.load(load_checkpoint(path, _KEYS, "the state of a training"), told, path)
    for epoch in progress(range(len(state.history), recipe.epochs), folder.name, lambda number: f"epoch {number + 1}"):
        if state.history and epoch - state.best_epoch > recipe.patience:
            break
        loss = state.train_epoch(examples, train, epoch, augment if recipe.augmentation else None)
        state.validate(examples, validation, epoch, loss)
        save_checkpoint({**state.saved(), "marks": told}, path, checksum=False)
    return Trained(state.best, state.best_epoch, pd.DataFrame(state.history))


def network_logits(
    network: torch.nn.Module, images: SingleFloats, rows: Ints, device: str = "cpu", size: int = 8
) -> Floats:
    """Logits of scans, (len(rows), outputs).

    Parameters
    ----------
    network : torch.nn.Module
        On the device; put into `eval`.
    images : (n, C, X, Y, Z) float32 array
    rows : int array
        None of them gives (0, outputs).
    device : str, optional
    size : int, optional
        Scans at a time; it changes nothing but the memory.

    Examples
    --------
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 1))
    >>> network_logits(network, np.ones((3, 2, 1, 1, 1), np.float32), np.arange(3)).shape
    (3, 1)
    """
    network.eval()
    if not len(rows):  # networks refuse an empty batch; two scans tell how many outputs there are
        return network_logits(network, np.zeros((2, *images.shape[1:]), np.float32), np.arange(2), device)[:0]
    parts = np.split(rows, range(size, len(rows), size))
    with torch.inference_mode():
        found = [network(torch.from_numpy(images[part]).to(device)).double().cpu().numpy() for part in parts]
    return np.concatenate(found)


def batches(rows: Ints, size: int, generator: np.random.Generator) -> Iterator[Ints]:
    """Rows in a new order, `size` at a time; a single last one joins the others, as norms need two.

    Examples
    --------
    >>> [len(part) for part in batches(np.arange(9), 4, np.random.default_rng(0))]
    [4, 5]
    """
    parts = np.split(generator.permutation(rows), range(size, len(rows), size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    yield from parts


def rate_of(epoch: int, recipe: Recipe) -> float:
    """Learning rate of an epoch, from 0: half a cosine.

    Examples
    --------
    >>> [round(rate_of(epoch, Recipe(epochs=4, learning_rate=1.0)), 3) for epoch in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    return recipe.learning_rate * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2


_KEYS = ("network", "optimiser", "best", "best_epoch", "history", "marks")


class _State:
    """All that changes from epoch to epoch."""

    def __init__(self, make: Callable[[], torch.nn.Module], task: Task, recipe: Recipe, seed: int, device: str) -> None:
        self.task, self.recipe, self.seed, self.device = task, recipe, seed, device
        with Seeded(seed, 0, device):
            self.network = make().to(device)
        self.optimiser = adamw(self.network, recipe.learning_rate, recipe.weight_decay)
        self.best: dict[str, torch.Tensor] = {}
        self.best_epoch = 0
        self.history: list[dict[str, float]] = []

    def train_epoch(self, examples: Examples, rows: Ints, epoch: int, augment: Augment | None) -> float:
        """Mean loss of an epoch's batches."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate_of(epoch, self.recipe)
        self.network.train()
        generator = np.random.default_rng([self.seed, epoch])
        with Seeded(self.seed, epoch + 1, self.device):
            losses = [
                self._step(examples, part, seeds_of(self.seed, epoch, part), augment)
                for part in batches(rows, self.recipe.batch_size, generator)
            ]
        loss = float(np.mean(losses))
        if not np.isfinite(loss):
            raise SettingsError(
                f"training: expected a loss that is a number, found {loss} in epoch {epoch + 1}. Lower the learning "
                f"rate ({self.recipe.learning_rate:g}), or look for strange images in the folder's overview."
            )
        return loss

    def _step(self, examples: Examples, rows: Ints, seeds: list[int], augment: Augment | None) -> float:
        images = torch.from_numpy(examples.images[rows]).to(self.device)
        targets = torch.from_numpy(examples.targets[rows]).to(self.device)
        loss = self.task.loss(self.network(images if augment is None else augment(images, seeds)), targets)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def validate(self, examples: Examples, rows: Ints, epoch: int, loss: float) -> None:
        """Add a row to the history; keep the weights if they are the best so far."""
        logits = network_logits(self.network, examples.images, rows, self.device)
        scores = {
            f"validation_{name}": value
            for name, value in self.task.scores(logits, examples.targets[rows].astype(np.float64)).items()
        }
        if not self.history or tuple(scores.values()) > tuple(self.history[self.best_epoch][name] for name in scores):
            self.best_epoch = epoch
            weights = self.network.state_dict()
            self.best = {name: value.detach().cpu().clone() for name, value in weights.items()}
        told = {"epoch": epoch + 1, "learning_rate": rate_of(epoch, self.recipe), "train_loss": loss}
        self.history.append({**told, **scores})

    def saved(self) -> dict[str, Any]:
        """Tensors and plain values, as `load` takes them."""
        learnt = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        return {**learnt, "best": self.best, "best_epoch": self.best_epoch, "history": self.history}

    def load(self, saved: Mapping[str, Any], marks: str, path: Path) -> None:
        """Go on from a saved state; SettingsError if it is of another training."""
        check_same_training(saved, marks, path, "scans")
        self.optimiser.load_state_dict(copy.deepcopy(saved["optimiser"]))
        self.network.load_state_dict(saved["network"])
        self.best_epoch, self.best, self.history = saved["best_epoch"], saved["best"], saved["history"]


def augmentation_of(recipe: Recipe, edge_mm: float) -> Augmentation | None:
    """What changes the images of a training with this recipe; None where nothing does.

    Examples
    --------
    >>> augmentation_of(SMALL, 4.0), augmentation_of(Recipe(augmentation=False), 4.0)
    (Augmentation(edge_mm=4.0), None)
    """
    return Augmentation(edge_mm) if recipe.augmentation else None


def _marks(examples: Examples, train: Ints, validation: Ints, recipe: Recipe, seed: int, marks: str) -> str:
    """What tells one training from another: its scans, targets, settings and seed."""
    told = (sorted(asdict(recipe).items()), seed, marks, examples.images.shape)
    digest = hashlib.sha256(repr(told).encode())
    for array in (examples.targets, train, validation):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
