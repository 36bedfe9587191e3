"""Weights of another training as the beginning of this one, safely opened, fitted, and with a report of what was done.

Wahlig et al. (Front Neurosci 17:1188336, 2023) train further all weights of a network that was trained on another
disease, its head included. nnU-Net's `-pretrained_weights` asks for the same channels, never takes the head, and runs
what is in the file; here channels are fitted by name, kernels by averaging, and nothing in the file is run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_ms.checkpoints import load_checkpoint
from nnunet_ms.doors.classes import CLASSES, TRAINERS
from nnunet_ms.errors import ModelError, NnunetMsError, OptionError, one_line
from nnunet_ms.options import chosen
from nnunet_ms.trainers.allowed_names import check_names, find_trainer
from nnunet_ms.trainers.channels import sequence_of
from nnunet_ms.trainers.networks.blocks import LesionNetwork
from nnunet_ms.trainers.source_channels import fit_channels, fit_kernel, input_layers

Policy = Literal["all", "all_but_head", "encoder"]
Action = Literal["loaded", "adapted", "skipped", "left"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
FEWEST = 0.5  # share of the numbers asked for that must be found
WRAPPERS = ("module", "_orig_mod")  # what DDP and torch.compile put into names
NESTED = ("network_weights", "state_dict", "model_state_dict", "model", "network")
WHAT = "a source of weights"
BY_POSITION = "channels by position"


@dataclass(frozen=True)
class Entry:
    """One tensor of the network: what was done with it, how many numbers it holds, and why."""

    name: str
    action: Action
    numbers: int
    note: str = ""


@dataclass(frozen=True)
class SourceReport:
    """What became of every tensor of the network; `source` says in words what the weights are of.

    `unused`: tensors of the source that the network has not.
    """

    path: Path
    policy: Policy
    source: str
    entries: tuple[Entry, ...]
    unused: tuple[str, ...] = ()

    def numbers(self, *actions: Action) -> int:
        """Count the numbers of the tensors with these actions; all without one."""
        return sum(entry.numbers for entry in self.entries if not actions or entry.action in actions)

    @property
    def share(self) -> float:
        """Share of the numbers that the policy asks for which came from the source."""
        asked = self.numbers("loaded", "adapted", "skipped")
        return self.numbers("loaded", "adapted") / asked if asked else 0.0

    def text(self) -> str:
        """Return the report: one line of sums, then what was adapted or skipped, tensor by tensor up to twenty."""
        sums = ", ".join(
            f"{action} {self.numbers(action):,} in {sum(entry.action == action for entry in self.entries)} tensors"
            for action in get_args(Action)
        )
        head = f"{self.path}: {self.source}; policy {self.policy}: {self.share:.1%} of what it asks for ({sums})."
        lines = [head, *self._lines("adapted"), *self._lines("skipped")]
        if as_they_stand := [entry.name for entry in self.entries if entry.action == "loaded" and entry.note]:
            lines.append(f"  channels by position, the source does not name them: {', '.join(as_they_stand[:3])}")
        if self.unused:
            some = ", ".join(self.unused[:3]) + (", ..." if len(self.unused) > 3 else "")
            lines.append(f"  not used: {len(self.unused)} tensors of the source: {some}")
        return "\n".join(lines)

    def _lines(self, action: Action) -> Iterator[str]:
        found = [entry for entry in self.entries if entry.action == action]
        yield from (f"  {action}: {entry.name}: {entry.note}" for entry in found[:20])
        if len(found) > 20:
            yield f"  {action}: {len(found) - 20} more"


@dataclass(frozen=True)
class _Source:
    """Tensors of a file by their plain names, what they are of, and the channels of each layer that reads the image."""

    weights: dict[str, torch.Tensor]
    told: str
    layers: dict[str, tuple[str, ...]]
    channels: tuple[str, ...]  # of the image, where no layer is known; empty: not known


def load_source_weights(
    network: nn.Module,
    path: str | Path,
    policy: Policy = "all",
    *,
    channels: Sequence[str] = (),
    source_channels: Sequence[str] = (),
    report_to: Callable[[str], object] = print,
) -> SourceReport:
    """Put the weights of a file into a network, as far as they fit.

    Parameters
    ----------
    network : nn.Module
        One of ours or of nnU-Net's, on any device, wrapped by DDP or torch.compile or not. It is changed in place, and
        not at all where the file is refused.
    path : str or Path
        A checkpoint of nnU-Net, of nnssl, or a state dict (also below `state_dict`, `model` and the like).
    policy : {"all", "all_but_head", "encoder"}, optional
        What is asked for: every weight (the head too, where it has the same number of classes: the paper's way), all
        but the head, or the encoder alone.
    channels : sequence of str, optional
        Names of the network's image channels, in order. Without them equal numbers of channels are matched by position.
    source_channels : sequence of str, optional
        Those of the source, if the file does not say (checkpoints of nnU-Net do).
    report_to : callable, optional
        Takes the text of the report.

    Returns
    -------
    SourceReport

    Raises
    ------
    OptionError
        If the policy is none of these, one name is given where a list of them is expected, two channels of the source
        have one name, or the network is none.
    ModelError
        If names of channels are not as many as channels; if the file is missing, damaged, holds no weights or could
        run code, or if less than half of the numbers that the policy asks for can be taken from it; the report is in
        the message.

    References
    ----------
    .. [1] Wahlig SG et al. Front Neurosci 17:1188336, 2023. doi:10.3389/fnins.2023.1188336

    Examples
    --------
    >>> from nnunet_ms.trainers.networks.plain_unet import PlainUNet
    >>> source, network = PlainUNet(1, filters=(4, 8)), PlainUNet(2, filters=(4, 8))
    >>> torch.save({"state_dict": source.state_dict()}, "source.pth")
    >>> report = load_source_weights(network, "source.pth", channels=["flair", "t1"], source_channels=["flair"])
    source.pth: a state dict; policy all: 100.0% of what it asks for (loaded 6,353 in 60 tensors, adapted 224 in 2 ...
      adapted: blocks.0.body.0.weight: flair -> flair, t1 (repeated, divided by 2)
      adapted: blocks.0.shortcut.weight: flair -> flair, t1 (repeated, divided by 2)
    """
    chosen(policy, POLICIES, "policy")
    _check_network(network)
    path, bare = Path(path), unwrapped(network)
    own, channels = _listed(source_channels, "source_channels"), _listed(channels, "channels")
    if len(set(own)) < len(own) and own != channels:
        raise OptionError(
            f"source_channels: expected different names, found {list(own)}: which of them is meant cannot be told. "
            "Correct them, or leave them out: equal numbers of channels are then taken by position."
        )
    source = _read_source(path, bare, own)
    _check_arms(source, own, channels, bare)
    wanted = input_layers(bare, channels)
    fitted = [_fit(names, tensor, source, wanted, policy, bare) for names, tensor in _tensors(bare)]
    unused = tuple(sorted(set(source.weights) - {name for names, _ in _tensors(bare) for name in names}))
    report = SourceReport(path, policy, source.told, tuple(entry for entry, _, _ in fitted), unused)
    if report.share < FEWEST:
        raise ModelError(_refusal(report, bare))
    with torch.no_grad():
        for _, tensor, values in fitted:
            if values is not None:
                tensor.copy_(values)
    report_to(report.text())
    return report


def _check_network(given: object) -> None:
    if not isinstance(given, nn.Module):
        found = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
        raise OptionError(
            f"network: expected a network (torch.nn.Module), found {found}. Build one, then load into it."
        )


def _listed(names: Sequence[str], option: str) -> tuple[str, ...]:
    """Sequences by their plain names; one name alone would be read letter by letter."""
    if isinstance(names, str):
        raise OptionError(f"{option}: expected a list of names, found {names!r}. Write [{names!r}].")
    return tuple(sequence_of(str(name)) for name in names)


def _check_arms(source: _Source, own: Sequence[str], here: Sequence[str], network: nn.Module) -> None:
    """Refuse names that cannot be used: which of them an arm of the source read, only a checkpoint of nnU-Net says."""
    if own and _has_arms(network) and not source.layers and tuple(own) != tuple(here):
        raise ModelError(
            f"source_channels: expected a checkpoint of nnU-Net, which says what each arm of {type(network).__name__} "
            f"reads, found {source.told}. Name such a checkpoint, or leave source_channels out: its channels are then "
            "taken in the order of the network's."
        )


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside DDP and torch.compile."""
    while True:
        inner = next((getattr(network, name) for name in WRAPPERS if name in network._modules), None)
        if not isinstance(inner, nn.Module) or len(network._modules) != 1:
            return network
        network = inner


def _tensors(network: nn.Module) -> Iterator[tuple[list[str], torch.Tensor]]:
    """Each parameter and buffer once, with all its names: nnU-Net's decoders hold the encoder a second time."""
    names: dict[int, tuple[list[str], torch.Tensor]] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), ([], tensor))[0].append(name)
    yield from names.values()


def _plain_name(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


# what a file holds --------------------------------------------------------------------------------------------------


def _read_source(path: Path, network: nn.Module, channels: tuple[str, ...]) -> _Source:
    if path.is_dir():
        found = sorted(str(one) for one in path.rglob("checkpoint_*.pth"))[:3]
        step = f"Name one of its files, such as {found[0]}." if found else "Name a file."
        raise ModelError(f"{path}: expected {WHAT}, a file, found a folder. {step}")
    content = load_checkpoint(path, (), WHAT)
    weights = _weights_of(content, path)
    told, plan = "a state dict", content.get("nnssl_adaptation_plan")
    layers: dict[str, tuple[str, ...]] = {}
    if isinstance(plan, Mapping):
        told = "weights of nnssl"
        weights = {_of_nnssl(name, plan, network): tensor for name, tensor in weights.items()}
    elif isinstance(content.get("init_args"), Mapping):
        arguments, trainer = content["init_args"], str(content.get("trainer_name", ""))
        told = f"weights of {trainer or 'nnU-Net'}"
        own = _channels_of(arguments)
        told += f", channels {', '.join(own)}" if own else ""
        channels = channels or own
        if trainer in CLASSES[TRAINERS]:
            layers = _layers_of(arguments, trainer, path)
    return _Source(weights, told, layers, channels)


def _weights_of(content: Mapping[str, Any], path: Path) -> dict[str, torch.Tensor]:
    inner = next((content[key] for key in NESTED if isinstance(content.get(key), Mapping)), content)
    found = {_plain_name(str(key)): value for key, value in inner.items() if isinstance(value, torch.Tensor)}
    if not found:
        raise ModelError(
            f"{path}: expected {WHAT}, tensors by name, found {sorted(map(str, content))[:6]}. "
            "Name a checkpoint of nnU-Net or nnssl, or a file of network.state_dict()."
        )
    broken = [name for name, value in found.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise ModelError(
            f"{path}: expected {WHAT}, finite numbers, found infinite or missing ones in {len(broken)} tensors, the "
            f"first {broken[0]}: that training went wrong. Name another checkpoint, such as checkpoint_best.pth."
        )
    return found


def _channels_of(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    dataset = arguments.get("dataset_json")
    names = dataset.get("channel_names") if isinstance(dataset, Mapping) else None
    return tuple(sequence_of(str(name)) for name in names.values()) if isinstance(names, Mapping) else ()


def _layers_of(arguments: Mapping[str, Any], trainer: str, path: Path) -> dict[str, tuple[str, ...]]:
    """Sequences of the layers that read the image in a network of ours, which its trainer knows."""
    try:
        plans, dataset = arguments["plans"], arguments["dataset_json"]
        check_names(plans, path)
        names = [str(name) for name in dataset["channel_names"].values()]
        manager = PlansManager({**plans, "channel_names": names})
        configuration = manager.get_configuration(arguments["configuration"])
        heads = manager.get_label_manager(dataset).num_segmentation_heads
        with torch.device("meta"):  # the layers alone are asked for
            network = find_trainer(trainer, path).build_network_architecture(
                manager, configuration, len(names), heads, enable_deep_supervision=True
            )
    except NnunetMsError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path}: expected plans that {trainer} can build its network from, cannot ({one_line(error)[:150]}). "
            "Copy the file again."
        ) from error
    return input_layers(network, names)


def _of_nnssl(name: str, plan: Mapping[str, Any], network: nn.Module) -> str:
    """Name that the network has for a weight of nnssl: the plan says where the encoder and the stem were."""
    for key in ("key_to_stem", "key_to_encoder"):
        theirs, here = plan.get(key), getattr(network, key, None)
        if isinstance(theirs, str) and isinstance(here, str) and name.startswith(f"{theirs}."):
            return here + name.removeprefix(theirs)
    return name


# fitting ------------------------------------------------------------------------------------------------------------


def is_head(name: str) -> bool:
    """Whether a weight is of the layers that give the logits, `.seg_layers.`, which nnU-Net starts anew.

    Examples
    --------
    >>> is_head("decoder.seg_layers.0.weight")
    True
    """
    return "seg_layers" in name.split(".")


def is_encoder(names: Sequence[str], network: nn.Module) -> bool:
    """Whether a weight, by any of its names, is of the encoder.

    nnU-Net's networks say where it is; in ours it is all but the decoder and what leads to it.

    Examples
    --------
    >>> is_encoder(["blocks.0.body.0.weight"], nn.Module()), is_encoder(["decoder.ups.0.0.weight"], nn.Module())
    (True, False)
    """
    declared = tuple(f"{key}." for name in ("key_to_encoder", "key_to_stem") if (key := getattr(network, name, None)))
    if declared:
        return any(name.startswith(declared) for name in names)
    return not any(name.partition(".")[0] in ("decoder", "skips", "in_decoder") or is_head(name) for name in names)


def _fit(
    names: list[str],
    tensor: torch.Tensor,
    source: _Source,
    wanted: Mapping[str, tuple[str, ...]],
    policy: Policy,
    network: nn.Module,
) -> tuple[Entry, torch.Tensor, torch.Tensor | None]:
    """What becomes of one tensor: its line of the report, itself, and its new values if it gets any."""
    name, numbers = names[0], tensor.numel()
    outside = (policy == "encoder" and not is_encoder(names, network)) or (policy != "all" and is_head(name))
    if outside:
        return Entry(name, "left", numbers, f"not asked for by {policy}"), tensor, None
    key = next((one for one in names if one in source.weights), None)
    if key is None:
        return Entry(name, "skipped", numbers, "not in the source"), tensor, None
    values, told, by_position = source.weights[key], [], ""
    if values.is_floating_point() != tensor.is_floating_point():
        kinds = " and ".join(str(one.dtype).removeprefix("torch.") for one in (values, tensor))
        return Entry(name, "skipped", numbers, f"other numbers, {kinds}"), tensor, None
    layer = next((one for one in names if one in wanted), None)
    if layer is not None and values.ndim == tensor.ndim and values.ndim > 2:
        theirs = source.layers.get(key, () if _has_arms(network) else source.channels)
        values, note = _fit_input(values, int(tensor.shape[1]), theirs, wanted[layer])
        told += [note] if note else []
        by_position = BY_POSITION if wanted[layer] and not theirs and not note else ""
    if values.shape != tensor.shape:
        other = fit_kernel(values, tuple(tensor.shape))
        if other is None:
            shapes = " and ".join(
                "x".join(map(str, one.shape)) or "one number" for one in (source.weights[key], tensor)
            )
            why = f"shapes differ, {shapes}" + (" (another number of classes)" if is_head(name) else "")
            return Entry(name, "skipped", numbers, why), tensor, None
        values, note = other
        told.append(note)
    return Entry(name, "adapted" if told else "loaded", numbers, "; ".join(told) or by_position), tensor, values


def _has_arms(network: nn.Module) -> bool:
    """Whether several layers read the image, each in an order of its own that no list of channels says."""
    return isinstance(network, LesionNetwork) and len(network.input_blocks()) > 1


def _fit_input(
    values: torch.Tensor, n: int, theirs: tuple[str, ...], here: tuple[str, ...]
) -> tuple[torch.Tensor, str]:
    """Weights of a layer that reads the image, for the n channels of the network's."""
    had = int(values.shape[1])
    if here and len(here) != n:
        raise ModelError(f"channels: expected {n} names, one per channel of the network, found {list(here)}.")
    if theirs and len(theirs) != had:
        raise ModelError(
            f"source_channels: expected {had} names, one per channel of the source, found {list(theirs)}. Correct them."
        )
    if theirs and len(here) == n:
        return fit_channels(values, theirs, here)
    if had == n:
        return values, ""  # nobody names them: by position
    unknown = [f"channel {number}" for number in range(had)]
    return fit_channels(values, unknown, here or [f"new channel {number}" for number in range(n)])


def _refusal(report: SourceReport, network: nn.Module) -> str:
    skipped = [entry for entry in report.entries if entry.action == "skipped"]
    reasons = "; ".join(f"{entry.name}: {entry.note}" for entry in skipped[:3])
    theirs = f" The source has {', '.join(report.unused[:3])}, which this network has not." if report.unused else ""
    return (
        f"{report.path}: expected {WHAT} for {type(network).__name__} that fits at least {FEWEST:.0%} of the numbers "
        f"that policy {report.policy} asks for, found {report.share:.1%}: {report.source}. {len(skipped)} tensors are "
        f"skipped ({reasons}).{theirs} "
        "Train with the trainer (and plans) of the source's network, or name another source."
    )


def read_policy(word: str) -> Policy:
    """Return a policy by its name.

    Raises
    ------
    OptionError
        If there is no such policy.

    Examples
    --------
    >>> read_policy("encoder")
    'encoder'
    """
    return cast(Policy, chosen(word, POLICIES, "policy"))
