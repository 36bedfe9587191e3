"""A trained model that is opened once and predicts images that are given from Python, one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy.typing as npt
import torch

from nnunet_ms.errors import SettingsError
from nnunet_ms.lesions.rims import RIM_THRESHOLD
from nnunet_ms.options import known_keywords
from nnunet_ms.trainers.networks.dropout import Site
from nnunet_ms.trainers.packages.installed import model_path
from nnunet_ms.trainers.prediction.case_measures import Map
from nnunet_ms.trainers.prediction.given_channels import Channels, given_channels
from nnunet_ms.trainers.prediction.image_prediction import ImagePrediction, predict_image
from nnunet_ms.trainers.prediction.model import Model, read_model
from nnunet_ms.trainers.prediction.settings import export_settings, lesion_types, make_runner, resolve_measuring

Folds = str | int | Sequence[str | int]


@dataclass(frozen=True)
class OpenModel:
    """A trained model, ready to predict; from `open_model`."""

    model: Model
    device: torch.device

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the image channels, in the model's order."""
        return self.model.channel_names

    @property
    def lesion_types(self) -> tuple[str, ...]:
        """Names of the lesion types that it finds."""
        return tuple(name for name, _ in lesion_types(self.model, ""))

    def __repr__(self) -> str:
        channels, types, folds = (", ".join(names) for names in (self.channels, self.lesion_types, self.model.folds))
        return f"<OpenModel {self.model.trainer}: {channels} -> {types}, folds {folds}>"

    @known_keywords
    def predict(
        self,
        image: Channels,
        *,
        affine: npt.ArrayLike | None = None,
        spacing: Sequence[float] | None = None,
        mc_samples: int = 10,
        dropout_site: Site = "decoder",
        dropout: float | None = None,
        closed_form: bool = False,
        seed: int = 0,
        tta: bool = True,
        step_size: float = 0.5,
        threshold: float = 0.5,
        fold_thresholds: Sequence[float] = (),
        maps: Sequence[Map] = ("entropy",),
        minimum_voxels: int = 3,
        rater: str = "model",
        lesion_type: str = "",
        rim_threshold: float = RIM_THRESHOLD,
        rim_split: bool = True,
        note: str = "",
    ) -> ImagePrediction:
        """Predict one image with samples of the network; the numbers are those of `nnunet-ms-predict` for its files.

        Parameters
        ----------
        image : mapping, sequence, or one image
            Channel name -> image, or images in the order of `channels`; for one channel also the image itself. A
            mapping may lack channels that the model can do without (`nnUNetTrainerMSMultiArmAny`). An
            image is a path, a nibabel image, or an (X, Y, Z) array with `affine` or `spacing`.
        affine : (4, 4) array, optional
            Voxel -> world in mm, of arrays.
        spacing : (3,) sequence of float, optional
            Voxel edges in mm, of arrays, instead of `affine`.
        mc_samples : int, optional
            Per fold; 0: none, dropout off.
        dropout_site : {"head", "last", "decoder2", "decoder", "bottleneck", "all"}, optional
            Where channels are dropped.
        dropout : float, optional
            Probability in [0, 1); without it what the network was trained with.
        closed_form : bool, optional
            With site "head": mean and variance of the logit instead of samples.
        seed : int, optional
            Of the dropped channels.
        tta : bool, optional
            Whether the samples are spread over mirrored images, and over subsets of the sequences where the network
            takes any.
        step_size : float, optional
            Between tiles, as a share of the patch, in (0, 1].
        threshold : float, optional
            Of the mean probability, in (0, 1).
        fold_thresholds : sequence of float, optional
            One per fold, fitted on its validation cases: LSU+ and PSU+ with them.
        maps : sequence of str, optional
            Which uncertainty maps are kept, of `case_measures.MAPS`; 4 bytes per voxel each.
        minimum_voxels : int, optional
            Of a lesion in the tables.
        rater, note : str, optional
            The model's name and what the data are, in picture and files.
        lesion_type : str, optional
            Name of the lesion type; without it from the label.
        rim_threshold : float, optional
            Of a model of lesion core and rim: the score from which a lesion is rim+, in (0, 1).
        rim_split : bool, optional
            Of such a model: whether confluent lesions are taken apart before each part is decided on.

        Returns
        -------
        ImagePrediction
            `.mask`, `.probability`, `.uncertainty`, `.lesions`, `.patient`, `.plot()`, `.save(folder)`.

        Raises
        ------
        ImageError
            If channels are missing or strange, an image cannot be used, or grids differ.
        SettingsError
            If an argument is outside its range, or an array has no geometry.
        ModelError
            If the model cannot give the samples.

        Examples
        --------
        >>> image = {"t1": "t1.nii.gz", "flair": "flair.nii.gz", "t2": "t2.nii.gz"}
        >>> found = open_model("trained", device="cpu").predict(image, mc_samples=2, dropout=0.1)
        >>> found.probability.shape == found.uncertainty["entropy"].shape == found.mask.shape
        True
        >>> lesions = found.lesions[["volume_ml", "x_mm", "y_mm", "z_mm", "uncertainty"]]
        >>> figure, mask = found.plot(), found.save("predicted", "P1")
        """
        runner = make_runner(
            self.model,
            self.device,
            mc_samples=mc_samples,
            dropout_site=dropout_site,
            dropout=dropout,
            closed_form=closed_form,
            seed=seed,
            tta=tta,
            step_size=step_size,
            maps=maps,
        )
        measuring = resolve_measuring(
            runner,
            threshold=threshold,
            fold_thresholds=fold_thresholds,
            maps=maps,
            minimum_voxels=minimum_voxels,
            lesion_type=lesion_type,
            rim_threshold=rim_threshold,
            rim_split=rim_split,
        )
        given = given_channels(image, self.channels, affine, spacing, self.model.needed)
        settings = export_settings(runner, measuring, Path(), rater=rater, note=note, pictures=False)
        return predict_image(runner, settings, given)


@known_keywords
def open_model(
    folder: str | Path,
    folds: Folds | None = None,
    checkpoint: str = "checkpoint_final.pth",
    device: str | None = None,
    trainer: str = "",
) -> OpenModel:
    """Open a trained model: a folder `TRAINER__PLANS__CONFIGURATION` of nnU-Net's results.

    Parameters
    ----------
    folder : str or Path
        Holds plans.json, dataset.json and a folder `fold_X` per fold. Or the name of an installed model, `NAME` or
        `NAME==VERSION`.
    folds : int, str or sequence, optional
        Such as 0, (0, 1, 2) or "all"; without it, every numbered fold that has the checkpoint.
    checkpoint : str, optional
        File name in each fold's folder.
    device : str, optional
        "cuda", "cuda:1", "cpu" or "mps"; without it the first of cuda, mps and cpu that is there.
    trainer : str, optional
        The trainer that the checkpoints have to come from.

    Raises
    ------
    ModelError
        If the folder is no model, a file is missing or cannot be trusted, or the parts do not belong together.
    SettingsError
        If the device is not there.

    Examples
    --------
    >>> open_model("trained", folds=0, device="cpu").channels
    ('t1', 'flair', 't2')
    """
    chosen_device = choose_device(device)
    return OpenModel(read_model(model_path(folder), fold_names(folds), checkpoint, trainer), chosen_device)


def fold_names(folds: Folds | None) -> tuple[str, ...] | None:
    """Names of folds as nnU-Net's folders have them, of one or several."""
    if folds is None:
        return None
    return tuple(str(fold) for fold in ([folds] if isinstance(folds, str | int) else folds))


def choose_device(asked: str | None) -> torch.device:
    """Return the device that is asked for, or the first of cuda, mps and cpu that is there.

    Raises
    ------
    SettingsError
        If it is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    found = [name for name, is_there in there.items() if is_there]
    if asked is None:
        return torch.device(found[0])
    if asked.partition(":")[0] not in found:
        raise SettingsError(f"device: expected one of {found} on this machine, found {asked}. Choose {found[0]}.")
    return torch.device(asked)
