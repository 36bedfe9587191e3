"""Sliding window over a preprocessed case: every sample's log-odds on the whole volume.

Tiles, their Gaussian weights and the averaging of logits over tiles are nnU-Net's; a sample keeps its masks on all
tiles, so it is one function. Samples are never averaged here: probabilities are, on the image's own grid.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window

from nnunet_ms.errors import ImageError, ModelError
from nnunet_ms.trainers.networks.any_sequence_unet import AnySequenceUNet, present_channels
from nnunet_ms.trainers.networks.blocks import LesionNetwork
from nnunet_ms.trainers.networks.closed_form import head_moments
from nnunet_ms.trainers.networks.dropout import HEAD, channels_of, draw_masks, finest_head
from nnunet_ms.trainers.networks.sampling import SplitForward, head_input, plain_logits
from nnunet_ms.trainers.prediction.model import Model
from nnunet_ms.trainers.prediction.views import Axes, View, fewer_channels

AT_ONCE = {"cpu": 2, "cuda": 10}  # samples per pass; a CPU is fastest with tensors that stay small


@dataclass(frozen=True)
class Sampling:
    """How samples are made.

    Attributes
    ----------
    samples : int
        Samples per fold; 0: no dropout, each fold and flip is a sample.
    site : str
        Where channels are dropped, see `dropout.SITES`.
    probability : float
        That a channel is dropped; 0 as `samples` 0.
    seed : int
        Masks depend on it and on the fold, never on the case.
    tta : bool
        Whether samples are spread over the checkpoint's mirrorings: sample k sees view k modulo their number. A network
        for any sequences sees another subset of a scan's sequences in each, see `fewer_channels`.
    closed_form : bool
        Site `head` only: mean and variance of the logit instead of samples.
    deterministic : bool
        Whether a pass without dropout is made too.
    step_size : float
        Step between tiles as a share of the patch.

    Examples
    --------
    >>> Sampling(samples=10, probability=0.1).drops, Sampling(samples=0).drops
    (True, False)
    """

    samples: int = 10
    site: str = "decoder"
    probability: float = 0.1
    seed: int = 0
    tta: bool = True
    closed_form: bool = False
    deterministic: bool = False
    step_size: float = 0.5

    @property
    def drops(self) -> bool:
        """Whether any channel is dropped."""
        return self.samples > 0 and self.probability > 0


@dataclass(frozen=True)
class Prediction:
    """Log-odds of a case on the preprocessed grid.

    Attributes
    ----------
    log_odds : (M, T, Z, Y, X) float32 array
        M samples, T lesion types. With `spread`, their means.
    spread : (M, T, Z, Y, X) float32 array or None
        Standard deviations, when the samples are given in closed form.
    deterministic : (folds, T, Z, Y, X) float32 array or None
        The pass without dropout of each fold.
    """

    log_odds: np.ndarray[Any, np.dtype[np.float32]]
    spread: np.ndarray[Any, np.dtype[np.float32]] | None = None
    deterministic: np.ndarray[Any, np.dtype[np.float32]] | None = None


@dataclass
class TileRunner:
    """Runs folds over tiles; gives way when a GPU's memory is too small: fewer samples at once, then the CPU."""

    model: Model
    sampling: Sampling
    device: torch.device
    at_once: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at_once = self.at_once or AT_ONCE.get(self.device.type, 2)

    def predict(self, data: torch.Tensor) -> Prediction:
        """Predict a preprocessed case.

        Parameters
        ----------
        data : (C, Z, Y, X) float tensor
            As nnU-Net's preprocessor gives it; padded here to at least one patch.

        Raises
        ------
        ImageError
            If a log-odds is NaN or infinite.
        ModelError
            If memory is too small for one tile on the CPU too.
        """
        with torch.inference_mode():
            volumes = [self._fold(number, data) for number in range(len(self.model.folds))]
        for fold, (samples, _) in zip(self.model.folds, volumes, strict=True):
            if not torch.isfinite(samples).all():  # as a mask it would be an empty one
                raise ImageError(
                    f"fold {fold}: expected probabilities, found NaN or infinity. Look for NaN or huge values in the "
                    "image; if every case has them, the model is of no use."
                )
        rows = torch.cat([samples for samples, _ in volumes]).numpy()
        sure = torch.stack([one for _, one in volumes]).numpy() if self.sampling.deterministic else None
        if not self.sampling.closed_form:
            return Prediction(rows, None, sure)
        return Prediction(rows[0::2], np.sqrt(np.maximum(rows[1::2], 0)), sure)

    def flips(self) -> list[Axes]:
        """Mirrorings in use, axes of (B, C, Z, Y, X); the first is none. All of them where nothing is dropped."""
        axes = self.model.mirror_axes if self.sampling.tta else ()
        every = [tuple(2 + a for a in c) for n in range(len(axes) + 1) for c in itertools.combinations(axes, n)]
        whole = not self.sampling.drops or self.sampling.closed_form
        return every if whole else every[: self.sampling.samples]

    @property
    def leaves_out(self) -> bool:
        """Whether each mirroring of a case with several sequences shows another subset of them."""
        return len(self.flips()) > 1 and isinstance(self.model.network, AnySequenceUNet)

    def views(self, data: torch.Tensor) -> list[View]:
        """How a case (C, Z, Y, X) is shown: the flips, and of its sequences each subset in turn."""
        fewer: list[tuple[int, ...]] = [()]
        if self.leaves_out:
            present = present_channels(data[None])[0].tolist()
            fewer = fewer_channels(present, cast(AnySequenceUNet, self.model.network).needed)
        return [View(axes, left) for axes, left in zip(self.flips(), itertools.cycle(fewer), strict=False)]

    def samples_per_fold(self) -> int:
        """Number of samples that one fold gives."""
        return self.sampling.samples if self.sampling.drops and not self.sampling.closed_form else len(self.flips())

    def total_samples(self) -> int:
        """Number of samples that all folds give."""
        return self.samples_per_fold() * len(self.model.folds)

    def _fold(self, number: int, data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples (m, T, Z, Y, X) of one fold, and its deterministic pass (T, Z, Y, X)."""
        self.model.network.load_state_dict(self.model.weights[number])
        self.model.network.to(self.device).eval()
        passes = _Passes(
            self.model, self.sampling, self.views(data), _fold_seed(self.sampling.seed, self.model.folds[number])
        )
        patch = tuple(int(n) for n in self.model.configuration.patch_size)
        padded, inside = pad_nd_image(data, patch, "constant", {"value": 0}, True, None)  # noqa: FBT003 - their order
        total = self._mean_over_tiles(passes, padded, patch)[(slice(None), slice(None), *inside[1:])]
        return (total[:-1], total[-1]) if self.sampling.deterministic else (total, total[-1])

    def _mean_over_tiles(self, passes: "_Passes", padded: torch.Tensor, patch: tuple[int, ...]) -> torch.Tensor:
        """Rows of all tiles, averaged with nnU-Net's weights: (n, T, Z, Y, X)."""
        shape = tuple(int(n) for n in padded.shape[1:])
        gaussian = compute_gaussian(patch, 1.0 / 8, 10, torch.float32, torch.device("cpu"))
        total: torch.Tensor | None = None
        weight = torch.zeros(shape)
        for where in tiles(shape, patch, self.sampling.step_size):
            values = self._tile(passes, padded[(slice(None), *where)][None])
            if total is None:
                total = torch.zeros((*values.shape[:2], *shape))
            total[(slice(None), slice(None), *where)] += values * gaussian
            weight[where] += gaussian
        assert total is not None
        return total.div_(weight)

    def _tile(self, passes: "_Passes", tile: torch.Tensor) -> torch.Tensor:
        while True:
            try:
                with torch.autocast("cuda", enabled=self.device.type == "cuda"):
                    return torch.cat([part.float().cpu() for part in passes.run(tile.to(self.device), self.at_once)])
            except torch.cuda.OutOfMemoryError:
                self._give_way()
            except (MemoryError, RuntimeError) as error:
                if "can't allocate memory" not in str(error) and not isinstance(error, MemoryError):
                    raise
                raise ModelError(
                    f"{self.model.folder}: out of memory with a tile of {tuple(tile.shape[2:])} and {self.at_once} "
                    "samples at once. Close other programs, or take a machine with more memory."
                ) from error

    def _give_way(self) -> None:
        torch.cuda.empty_cache()
        if self.at_once > 2:
            self.at_once = max(2, self.at_once // 2)
            self.notes.append(f"GPU memory too small: {self.at_once} samples at once from here on")
        else:
            self.device = torch.device("cpu")
            self.model.network.to(self.device)
            self.notes.append("GPU memory too small for two samples of one tile: on the CPU from here on (-device cpu)")


class _Passes:
    """Everything that is asked of one tile with one fold's weights."""

    def __init__(self, model: Model, sampling: Sampling, views: Sequence[View], seed: int) -> None:
        self.model, self.sampling, self.views = model, sampling, views
        self.split = SplitForward(model.network, sampling.site) if sampling.drops else None
        channels = channels_of(model.network, sampling.site) if sampling.drops else {}
        self.masks = draw_masks(channels, sampling.samples, sampling.probability, seed)

    def run(self, tile: torch.Tensor, at_once: int) -> Iterator[torch.Tensor]:
        """Log-odds (n, T, Z, Y, X) of all samples in order; last, if asked, one row for the pass without dropout."""
        if self.split is None or self.sampling.closed_form:
            rows = [self._view(tile, view) for view in self.views]
        else:
            rows = self._sampled(tile, at_once)
        sure = [row[-1:] for row in rows] if self.sampling.deterministic else []
        rows = [row[:-1] for row in rows] if sure else rows
        yield from rows if self.split is None or self.sampling.closed_form else _in_order(rows)
        if sure:
            yield torch.stack(sure).mean(0)

    def _view(self, tile: torch.Tensor, view: View) -> torch.Tensor:
        """One view without samples: log-odds (1, T, ...), or mean and variance (2, T, ...); with the plain row last."""
        image = view.of(tile)
        if self.sampling.closed_form:
            head = finest_head(self.model.network)
            assert head is not None
            mean, variance = head_moments(head, head_input(self.model.network, image), self.sampling.probability)
            parts = [mean, variance, mean] if self.sampling.deterministic else [mean, variance]
        else:
            plain = self.model.log_odds(plain_logits(self.model.network, image))
            parts = [plain, plain] if self.sampling.deterministic else [plain]
        return torch.flip(torch.cat(parts), view.axes)

    def _sampled(self, tile: torch.Tensor, at_once: int) -> list[torch.Tensor]:
        """Per view its samples, the deterministic one last if asked: masks of ones ride along after the cached part."""
        assert self.split is not None
        rows = []
        for number, view in enumerate(self.views):
            masks = {name: mask[number :: len(self.views)] for name, mask in self.masks.items()}
            if self.sampling.deterministic:
                masks = {name: torch.cat((mask, torch.ones_like(mask[:1]))) for name, mask in masks.items()}
            parts = self.split.samples(view.of(tile), masks, at_once)
            rows.append(torch.cat([torch.flip(self.model.log_odds(part), view.axes) for part in parts]))
        return rows


def tiles(shape: Sequence[int], patch: Sequence[int], step_size: float) -> Iterator[tuple[slice, ...]]:
    """nnU-Net's tiles of a volume that is at least one patch large."""
    steps = compute_steps_for_sliding_window(tuple(shape), tuple(patch), step_size)
    for corner in itertools.product(*steps):
        yield tuple(slice(start, start + size) for start, size in zip(corner, patch, strict=True))


def check_sampling(model: Model, sampling: Sampling) -> None:
    """Raise ModelError when the model cannot give the samples that are asked for."""
    trainer = model.trainer
    if sampling.drops and not channels_of(model.network, sampling.site):
        raise ModelError(
            f"{trainer} has no dropout layer at the site {sampling.site}. Ask for dropout_site {HEAD} (--dropout-site) "
            "or mc_samples 0 (--mc-samples) with several folds, whose disagreement then is the sample set."
        )
    if sampling.closed_form and not (sampling.site == HEAD and isinstance(model.network, LesionNetwork)):
        raise ModelError(f"the closed form is for dropout_site {HEAD} and this package's trainers, found {trainer}.")


def _in_order(rows: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Undo the spreading over views: sample k is row k // views of view k % views."""
    for sample in range(sum(len(row) for row in rows)):
        yield rows[sample % len(rows)][sample // len(rows)][None]


def _fold_seed(seed: int, fold: str) -> int:
    return 1000 * seed + (int(fold) if fold.isdigit() else 999)
