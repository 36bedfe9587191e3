"""A trained model folder of nnU-Net, opened without running code that a checkpoint may carry."""

import json
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_ms.checkpoints import load_checkpoint
from nnunet_ms.errors import ModelError, NnunetMsError, SettingsError, one_line
from nnunet_ms.plain_names import plain_name
from nnunet_ms.trainers.allowed_names import check_names, find_trainer
from nnunet_ms.trainers.networks.any_joint_unet import AnyJointUNet
from nnunet_ms.trainers.networks.any_sequence_unet import AnySequenceUNet
from nnunet_ms.trainers.networks.blocks import LesionNetwork

READERS = ("SimpleITKIO", "NibabelIO")  # they leave the axes as they are in the file
NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Model:
    """A network with the weights of each fold, and nnU-Net's managers for it; `network` holds no fold's weights yet."""

    folder: Path
    trainer: str
    folds: tuple[str, ...]
    weights: tuple[dict[str, torch.Tensor], ...]
    network: nn.Module
    plans: Any
    configuration: Any
    labels: Any
    dataset_json: dict[str, Any]
    mirror_axes: tuple[int, ...]
    configuration_name: str  # by the checkpoints: a folder may have been renamed

    @property
    def classes(self) -> list[tuple[str, int]]:
        """Names and values of the lesion labels, in the order of the foreground channels."""
        named = [(name, value) for name, value in self.dataset_json["labels"].items() if name not in _NO_LESION]
        return sorted(((name, int(value)) for name, value in named), key=lambda pair: pair[1])

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the image channels, in order."""
        return tuple(str(name) for name in self.dataset_json["channel_names"].values())

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return len(self.channel_names)

    @property
    def needed(self) -> tuple[int, ...]:
        """Channels of which one is enough, of a model that was trained with sequences left out; else empty."""
        return self.network.needed if isinstance(self.network, AnySequenceUNet | AnyJointUNet) else ()

    def log_odds(self, logits: torch.Tensor) -> torch.Tensor:
        """Log-odds of each lesion type from a network's logits: (B, heads, ...) -> (B, classes, ...).

        Ours read the foreground channels as logits of sigmoids. Others compete in a softmax, whose log-odds are the
        logit less the logarithm of the sum over all other channels.
        """
        if isinstance(self.network, LesionNetwork):
            return logits[:, 1:]
        if logits.shape[1] == 2:
            return logits[:, 1:] - logits[:, :1]
        others = [
            torch.logsumexp(logits[:, [i for i in range(logits.shape[1]) if i != c]], dim=1)
            for c in range(1, logits.shape[1])
        ]
        return logits[:, 1:] - torch.stack(others, dim=1)


_NO_LESION = ("background", "ignore")


def read_model(
    folder: Path, folds: Sequence[str] | None = None, checkpoint: str = "checkpoint_final.pth", trainer: str = ""
) -> Model:
    """Read a folder `TRAINER__PLANS__CONFIGURATION` of nnU-Net's results.

    Parameters
    ----------
    folder : Path
        Holds plans.json, dataset.json and a folder `fold_X` per fold.
    folds : sequence of str, optional
        Such as ("0", "1", "2") or ("all",); without it, every numbered fold that has the checkpoint.
    checkpoint : str, optional
        File name in each fold's folder.
    trainer : str, optional
        The trainer that the checkpoints have to come from.

    Raises
    ------
    ModelError
        If a file is missing, damaged or cannot be trusted, or the parts do not belong together.

    Examples
    --------
    >>> model = read_model(Path("trained"))
    >>> model.channel_names, model.classes
    (('t1', 'flair', 't2'), [('lesion', 1)])
    """
    plans_json, dataset_json = _read_json(folder / "plans.json"), _read_json(folder / "dataset.json")
    check_names(plans_json, folder / "plans.json")
    _check_dataset(dataset_json, folder / "dataset.json")
    chosen = _choose_folds(folder, folds, checkpoint)
    paths = [folder / f"fold_{fold}" / checkpoint for fold in chosen]
    loaded = [_load(path) for path in paths]
    trainer = trainer or str(loaded[0]["trainer_name"])
    for path, one in zip(paths, loaded, strict=True):
        _check_trainer(path, one, trainer)
    trainer_class = find_trainer(trainer, paths[0])
    configuration_name = str(loaded[0]["init_args"]["configuration"])
    with _belonging_together(folder):
        plans = PlansManager(plans_json)
        configuration = plans.get_configuration(configuration_name)
        labels = plans.get_label_manager(dataset_json)
        _check_supported(folder, plans_json, configuration, labels, dataset_json)
        _check_preprocessing(folder, plans, configuration, len(dataset_json["channel_names"]))
        network = _build(trainer_class, plans, configuration, labels, dataset_json)
    for path, one in zip(paths, loaded, strict=True):
        _check_weights(network, one["network_weights"], path)
    return Model(
        folder=folder,
        trainer=trainer,
        folds=chosen,
        weights=tuple(one["network_weights"] for one in loaded),
        network=network.eval(),
        plans=plans,
        configuration=configuration,
        labels=labels,
        dataset_json=dataset_json,
        mirror_axes=tuple(loaded[0].get("inference_allowed_mirroring_axes") or ()),
        configuration_name=configuration_name,
    )


def _load(path: Path) -> dict[str, Any]:
    """Load one fold's checkpoint, its parameters under the names that the network has for them."""
    loaded = load_checkpoint(path, ("network_weights", "trainer_name", "init_args"), "a checkpoint of nnU-Net")
    weights, arguments = loaded["network_weights"], loaded["init_args"]
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ModelError(f"{path}: expected network_weights of tensors by name, found others. Is it of nnU-Net?")
    if not isinstance(arguments, dict) or "configuration" not in arguments:
        raise ModelError(f"{path}: expected init_args with the configuration, found none. Is it of nnU-Net?")
    check_names(arguments.get("plans"), path)
    axes = loaded.get("inference_allowed_mirroring_axes") or ()
    if not (isinstance(axes, list | tuple) and all(axis in (0, 1, 2) for axis in axes)):
        raise ModelError(f"{path}: expected mirroring axes out of 0, 1, 2, found {axes}. Copy the file again.")
    return {**loaded, "network_weights": {_plain(str(key)): value for key, value in weights.items()}}


def _plain(key: str) -> str:
    """Parameter name without what DDP and torch.compile put before it."""
    return key.removeprefix("module.").removeprefix("_orig_mod.")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path}: no such file; expected a folder of nnU-Net's results. {_siblings(path.parent)}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError(f"{path}: expected JSON, cannot read it ({one_line(error)}). Copy it again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected an object {{...}}, found {type(content).__name__}. Copy it again.")
    return content


def _check_dataset(content: dict[str, Any], path: Path) -> None:
    """Raise ModelError unless labels and channels are there, and their names can be in file names."""
    for key in ("labels", "channel_names"):
        if not isinstance(content.get(key), dict) or not content[key]:
            raise ModelError(f"{path}: expected {key} as an object, found {str(content.get(key))[:80]}. Copy it again.")
    for name in content["labels"]:
        plain_name(name, f"{path}: label", ModelError)
    for name in content["channel_names"].values():
        plain_name(str(name), f"{path}: channel", ModelError)


@contextmanager
def _belonging_together(folder: Path) -> Iterator[None]:
    """Say in one line that a network cannot be made: whatever goes wrong inside, the model's files are the cause."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected old nnU-Net plans format")
            yield
    except NnunetMsError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"[:200]
        raise ModelError(
            f"{folder}: expected plans.json and dataset.json of one training, no network can be built from them "
            f"({reason}). Copy the folder again."
        ) from error


def _siblings(folder: Path) -> str:
    there = sorted(path.parent.name for path in folder.parent.glob("*/plans.json"))
    if not there:
        return "Check the path (-d, -m), or train first."
    return f"Beside it are {there}: check the trainer (-tr), plans (-p) and configuration (-c)."


def _choose_folds(folder: Path, folds: Sequence[str] | None, checkpoint: str) -> tuple[str, ...]:
    there = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}"))
    chosen = tuple(folds) if folds else tuple(fold for fold in there if fold != "all") or tuple(there)
    missing = [fold for fold in chosen if fold not in there]
    if missing or not chosen or len(set(chosen)) < len(chosen):
        raise ModelError(
            f"{folder}: expected {checkpoint} of different folds {list(chosen) or 'any'}, found folds {there}. "
            "Train the others, or choose among these (-f)."
        )
    return chosen


def _check_trainer(path: Path, checkpoint: dict[str, Any], trainer: str) -> None:
    found = checkpoint["trainer_name"]
    if found != trainer:
        raise ModelError(
            f"{path}: expected a checkpoint of {trainer}, found one of {found}. Ask for trainer {found} (-tr)."
        )


def _check_supported(folder: Path, plans: Any, configuration: Any, labels: Any, dataset_json: Any) -> None:
    reader, ending = plans.get("image_reader_writer"), dataset_json.get("file_ending")
    problems = {
        f"a cascade (needs {configuration.previous_stage_name})": configuration.previous_stage_name is not None,
        "regions": labels.has_regions,
        "no lesion label": not labels.has_regions and len(labels.all_labels) < 2,
        "a 2-D configuration": len(configuration.patch_size) != 3,
        f"the reader {reader} (known: {', '.join(READERS)})": reader not in READERS,
        f"files *{ending} (known: {', '.join(NIFTI)})": ending not in NIFTI,
    }
    found = [name for name, is_so in problems.items() if is_so]
    if found:
        raise ModelError(f"{folder}: this command does not sample models with {found}. Use nnUNetv2_predict.")


def _check_preprocessing(folder: Path, plans: Any, configuration: Any, channels: int) -> None:
    """Raise an error where preprocessing would fail only with the first case; nnU-Net looks up its parts here."""
    _ = plans.image_reader_writer_class, configuration.preprocessor_class
    _ = configuration.resampling_fn_data, configuration.resampling_fn_probabilities, configuration.resampling_fn_seg
    forward, backward = plans.transpose_forward, plans.transpose_backward
    sound = {
        "patch_size": all(isinstance(n, int) and n > 0 for n in configuration.patch_size),
        "spacing": len(configuration.spacing) == 3 and all(0 < one < math.inf for one in configuration.spacing),
        "transpose_forward": sorted(forward) == [0, 1, 2] and [forward[axis] for axis in backward] == [0, 1, 2],
        "normalization_schemes": len(configuration.normalization_schemes) == channels,
        "use_mask_for_norm": len(configuration.use_mask_for_norm) == channels,
        "foreground_intensity_properties_per_channel": {str(channel) for channel in range(channels)}
        <= set(plans.foreground_intensity_properties_per_channel),
    }
    strange = [name for name, is_sound in sound.items() if not is_sound]
    if strange:
        raise ModelError(
            f"{folder}: expected plans.json for {channels} channels in 3-D, found other {', '.join(strange)}. "
            "Copy it again."
        )


def _build(trainer_class: Any, plans: Any, configuration: Any, labels: Any, dataset_json: Any) -> nn.Module:
    channels = determine_num_input_channels(plans, configuration, dataset_json)
    network: nn.Module = trainer_class.build_network_architecture(
        plans, configuration, channels, labels.num_segmentation_heads, enable_deep_supervision=False
    )
    return network


def _check_weights(network: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if differing:
        raise ModelError(
            f"{path}: {len(differing)} of {len(expected)} parameters do not fit the network of plans.json, such as "
            f"{differing[0]}: expected {expected.get(differing[0])}, found {found.get(differing[0])}. "
            "Do the plans belong to this training?"
        )
    strange = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if strange:
        raise ModelError(
            f"{path}: expected finite weights, found NaN or infinity in {len(strange)} of {len(weights)} tensors, such "
            f"as {strange[0]}. Take another checkpoint, or copy it again; a training that diverged is of no use."
        )


def model_folder(dataset: str, trainer: str, plans: str, configuration: str) -> Path:
    """Folder of a model below nnU-Net's results.

    Raises
    ------
    NnunetMsError
        If `nnUNet_results` is not set, or no or several datasets have this id.
    """
    results = os.environ.get("nnUNet_results")  # noqa: SIM112 - nnU-Net's name
    if not results:
        raise SettingsError(
            "nnUNet_results: expected nnU-Net's results folder in the environment, found none. Set it, or name the "
            "model's folder (-m)."
        )
    pattern = f"Dataset{int(dataset):03d}_*" if dataset.isdigit() else dataset
    found = sorted(path for path in Path(results).glob(pattern) if path.is_dir())
    if len(found) != 1:
        there = sorted(path.name for path in Path(results).glob("Dataset*"))
        raise NnunetMsError(
            f"{results}: expected one folder {pattern}, found {len(found)} ({there}). Check the dataset (-d)."
        )
    return found[0] / f"{trainer}__{plans}__{configuration}"
