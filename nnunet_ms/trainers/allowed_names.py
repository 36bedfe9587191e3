"""What a model's plans may name: layers, architectures and parts of nnU-Net, trainers of nnU-Net and of this package.

nnU-Net looks up names of plans.json and calls what it finds: a layer called "os.system" would run a program. So names
are compared with lists first; looking imports the module of nnU-Net or of this package that defines one, no other.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import nnunetv2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_ms.doors.classes import CLASSES, NORMALISATION, TRAINERS
from nnunet_ms.errors import ModelError

_LAYER_MODULES = tuple(
    f"torch.nn.modules.{name}"
    for name in ("conv", "instancenorm", "batchnorm", "normalization", "dropout", "activation", "pooling", "linear")
)
_BLOCKS = "dynamic_network_architectures.building_blocks.residual"
_ARCHITECTURES = "dynamic_network_architectures.architectures"
# besides torch's; arguments of residual networks
BLOCKS = frozenset(f"{_BLOCKS}.{name}" for name in ("BasicBlockD", "BottleneckD"))
ARCHITECTURES = frozenset(
    [f"{_ARCHITECTURES}.unet.{name}" for name in ("PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet")]
    + [f"{_ARCHITECTURES}.primus.Primus{kind}{size}" for kind in ("", "V2", "V3") for size in ("", *"XSBML")]
)
OLD_ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet")  # `UNet_class_name` of plans before 2.4
# key of the plans -> where nnU-Net looks for what it names
PARTS = {
    "image_reader_writer": "nnunetv2.imageio",
    "label_manager": "nnunetv2.utilities.label_handling",
    "preprocessor_name": "nnunetv2.preprocessing",
    "normalization_schemes": NORMALISATION,
    "resampling_fn_data": "nnunetv2.preprocessing.resampling",
    "resampling_fn_seg": "nnunetv2.preprocessing.resampling",
    "resampling_fn_probabilities": "nnunetv2.preprocessing.resampling",
}
# keys whose text nobody looks up as code; a name of a dataset may have a dot
_TEXTS = {"dataset_name", "plans_name", "data_identifier", "channel_names", "inherits_from", "previous_stage"}
_TEXTS |= {"next_stage", "original_plans_name", "source_plans_identifier"}
_TEXTS |= {"nnunet_ms"}  # our own entry: a path of weights, see `fine_tune`
_DOTTED = re.compile(r"\.*[^\W\d]\w*(\.+[^\W\d]\w*)+\.*")

Place = tuple[str | int, ...]


@cache
def layers() -> frozenset[str]:
    """Full names of torch's layers that plans may name, such as torch.nn.LeakyReLU.

    Examples
    --------
    >>> "torch.nn.modules.conv.Conv3d" in layers(), "torch.nn.functional.relu" in layers()
    (True, False)
    """
    kinds = [kind for kind in vars(nn).values() if isinstance(kind, type) and kind.__module__ in _LAYER_MODULES]
    return BLOCKS | {f"{module}.{kind.__name__}" for kind in kinds for module in ("torch.nn", kind.__module__)}


def check_names(plans: Any, where: str | Path) -> None:
    """Raise ModelError unless everything that plans name, in any configuration, is on the lists; nothing is run.

    Parameters
    ----------
    plans : dict
        Of plans.json, as read.
    where : str or Path
        The file, for the message.

    Raises
    ------
    ModelError
        If an entry names something else; the message says which.

    Examples
    --------
    >>> check_names({"image_reader_writer": "NibabelIO"}, "plans.json")
    >>> check_names({"configurations": {"2d": {"nonlin": ["os.system"]}}}, "plans.json")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: plans.json: configurations.2d.nonlin.0 names 'os.system', which is no layer or part...
    """
    for place, value in _entries(plans):
        if not _is_allowed(place, value):
            raise ModelError(_refusal(where, ".".join(map(str, place)), value))


def find_trainer(name: str, where: str | Path) -> Any:
    """Return a trainer's class by its name in a checkpoint: ours, or one inside nnU-Net.

    Raises
    ------
    ModelError
        If it is neither.

    Examples
    --------
    >>> find_trainer("nnUNetTrainerMSPlain", "checkpoint_final.pth").__module__
    'nnunet_ms.trainers.multi_arm_t2'
    """
    found = _part_of_nnunet(name, TRAINERS) if isinstance(name, str) else None
    if not (isinstance(found, type) and issubclass(found, nnUNetTrainer)):
        raise ModelError(
            f"{where}: the trainer {ascii(name)[:100]} is none of nnU-Net's or of this package; no such trainer is "
            "installed that may be opened. Ask the model's maker, or use nnUNetv2_predict if you trust it."
        )
    return found


def _entries(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every place of a JSON value and what is there, without the containers unless a name should stand there."""
    if isinstance(value, Mapping):
        yield from _located(value, place)
        for key, inner in value.items():
            yield from _entries(inner, (*place, key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _entries(inner, (*place, number))
    else:
        yield place, value


class _Located:
    """A value that nnU-Net looks up as code, whatever it looks like."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)


def _located(architecture: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, Any]]:
    """Arguments that nnU-Net looks up because they are listed; it would go through a text or a dict as well."""
    listed, arguments = architecture.get("_kw_requires_import"), architecture.get("arch_kwargs")
    if isinstance(listed, list) and isinstance(arguments, Mapping):
        for name in listed:
            yield (*place, "arch_kwargs", str(name)), _Located(arguments.get(name) if isinstance(name, str) else name)
    elif listed:
        yield (*place, "_kw_requires_import"), _Located(listed)


def _is_allowed(place: Place, value: Any) -> bool:
    if isinstance(value, _Located):
        return value.value is None or (isinstance(value.value, str) and value.value in layers())
    if not isinstance(value, str):
        return True
    key = next((step for step in reversed(place) if isinstance(step, str)), "")
    if key in PARTS:
        return _part_of_nnunet(value, PARTS[key]) is not None
    if key == "network_class_name":
        return value in ARCHITECTURES
    if key == "UNet_class_name":
        return value in OLD_ARCHITECTURES
    if "architecture" in place:
        return "." not in value or value in layers()
    return not _TEXTS.isdisjoint(place) or not _DOTTED.fullmatch(value.strip()) or value in layers()


@cache
def _part_of_nnunet(name: str, package: str) -> Any:
    """What nnU-Net finds by this name in one of its packages, if it is ours or defined there; else None."""
    if not name.isidentifier() or name.startswith("_"):
        return None
    ours = CLASSES.get(package, {}).get(name)
    if ours:
        return getattr(import_module(ours), name)
    # by the text of the files: modules hold others' names too, such as `os`, and not each of them can be imported
    defined = re.compile(rf"^(class|def) {name}\b", re.MULTILINE)
    root = Path(nnunetv2.__path__[0])
    for path in sorted(root.joinpath(*package.split(".")[1:]).rglob("*.py")):
        if defined.search(path.read_text(encoding="utf-8")):
            inside = path.relative_to(root).with_suffix("").parts
            return getattr(import_module(".".join(("nnunetv2", *inside))), name, None)
    return None


def _refusal(where: str | Path, place: str, value: Any) -> str:
    return (
        f"{where}: {ascii(place)[1:-1]} names {ascii(value)[:100]}, which is no layer or part of torch, nnU-Net or "
        "this package that models may name; it could run code. Do not open this model; ask its maker."
    )
