"""Samples of a network with channel dropout, at the price of its last part: the deterministic part runs once.

An image enters alone and becomes K images at the first dropout layer that has masks. So a tensor of one image has met
no mask: whatever module gives one is deterministic, and its output is kept for the samples that follow. No network has
to be cut by hand, and a further one needs no code here. What the modules do between them (sums, interpolation,
concatenation) is done again, and joins one image to K by repeating it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from nnunet_ms.trainers.networks.blocks import LesionNetwork, channels_last
from nnunet_ms.trainers.networks.dropout import (
    HEAD,
    Masks,
    dropout_layers,
    finest_head,
    fixed_masks,
    select,
    whole_weight,
)


class _Repeating(TorchFunctionMode):
    """Lets `torch.cat` join one image to K, as sums do by themselves."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.cat:
            tensors, *rest = args
            images = max(x.shape[0] for x in tensors)
            args = ([x.expand(images, *x.shape[1:]) if x.shape[0] == 1 else x for x in tensors], *rest)
        return func(*args, **(kwargs or {}))


@dataclass
class _Kept:
    """Outputs of one image that modules gave, by (module, how often it was called before); nested ones left out."""

    outputs: dict[tuple[str, int], Any] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    def run(self, name: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what is kept for this call, or compute it, and keep it if it is of one image."""
        key = (name, self.calls.get(name, 0))
        self.calls[name] = key[1] + 1
        if key in self.outputs:
            return _copy(self.outputs[key])
        before = len(self.outputs)
        output = forward(*args, **kwargs)
        if _is_of_one_image(output):
            for inner in list(self.outputs)[before:]:
                del self.outputs[inner]
            self.outputs[key] = _copy(output)
        return output


class SplitForward:
    """A network, cut at the first dropout layer of a site: `samples` runs what is before it once.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode, deep supervision off. For the sites in the network it has `MaskedDropout3d` layers; for the
        site `head` it has `decoder.seg_layers`.
    site : str
        One of `dropout.SITES`.

    Raises
    ------
    ValueError
        If the network has no dropout layer at the site.
    """

    def __init__(self, network: nn.Module, site: str) -> None:
        self.network = network
        self.head = finest_head(network) if site == HEAD else None
        sampled = set(dropout_layers(network, site))
        if (site != HEAD and not sampled) or (site == HEAD and self.head is None):
            raise ValueError(f"{type(network).__name__} has no dropout layer at the site {site}")
        above = {parent for name in sampled for parent in _parents(name)}
        self.modules = {
            name: module for name, module in network.named_modules() if name and name not in sampled | above
        }

    def samples(self, x: torch.Tensor, masks: Masks, at_once: int) -> Iterator[torch.Tensor]:
        """Logits of every sample, in order, a few at a time.

        Parameters
        ----------
        x : (1, C, Z, Y, X) float tensor
            One tile.
        masks : mapping of (K, width) tensors
            See `dropout.draw_masks`; K >= 1.
        at_once : int
            Samples per pass of the last part, >= 2; memory grows with it. The result does not depend on it.

        Yields
        ------
        (k, 1 + classes, Z, Y, X) float tensor
            k <= `at_once` samples; together K.
        """
        if self.head is not None:
            yield from self._at_the_head(x, masks[HEAD], at_once)
            return
        kept = _Kept()
        total = len(next(iter(masks.values())))
        for chosen in _groups(total, at_once):
            yield self._pass(x, select(masks, chosen, x.device), kept)[: len(set(chosen))]

    def _pass(self, x: torch.Tensor, masks: Masks, kept: _Kept) -> torch.Tensor:
        kept.calls.clear()
        try:
            for name, module in self.modules.items():
                module.forward = _through(kept, name, module.forward)
            with fixed_masks(self.network, masks), _Repeating():
                return plain_logits(self.network, x)
        finally:
            for module in self.modules.values():
                vars(module).pop("forward", None)  # the class's own comes back

    def _at_the_head(self, x: torch.Tensor, mask: torch.Tensor, at_once: int) -> Iterator[torch.Tensor]:
        """All samples by one 1x1x1 convolution, since a channel's mask can be put on the head's weights."""
        feature = head_input(self.network, x)
        for chosen in _groups(len(mask), at_once):
            samples = [self._with_head_logits(row, feature) for row in mask[sorted(set(chosen))].to(x.device)]
            yield torch.cat(samples)

    def _with_head_logits(self, mask: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        assert self.head is not None
        weight = whole_weight(self.head) * mask.to(self.head.weight.dtype)[None, :, None, None, None]
        logits = torch.conv3d(feature, weight, self.head.bias)
        return with_zero_background(self.network, logits)


def plain_logits(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Full-resolution logits (B, heads, Z, Y, X) of a network in evaluation mode."""
    output = network.logits(channels_last(x)) if isinstance(network, LesionNetwork) else network(x)
    return output if isinstance(output, torch.Tensor) else output[0]


def head_input(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Feature map (1, C, Z, Y, X) that the finest head reads."""
    seen: list[torch.Tensor] = []
    head = finest_head(network)
    assert head is not None
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        plain_logits(network, x)
    finally:
        hook.remove()
    return seen[-1]


def with_zero_background(network: nn.Module, logits: torch.Tensor) -> torch.Tensor:
    """Prepend the constant background logit of our networks; nnU-Net's own have a background channel already."""
    if not isinstance(network, LesionNetwork):
        return logits
    return torch.cat((torch.zeros_like(logits[:, :1]), logits), dim=1)


def _through(kept: _Kept, name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        return kept.run(name, forward, *args, **kwargs)

    return run


def _groups(total: int, at_once: int) -> Iterator[Sequence[int]]:
    """Sample numbers in groups of at least two, since a single image counts as deterministic."""
    starts = range(0, total, max(at_once, 2))
    for start in starts:
        group = list(range(start, min(start + max(at_once, 2), total)))
        yield group if len(group) > 1 else group * 2


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))


def _is_of_one_image(output: Any) -> bool:
    tensors = list(output) if isinstance(output, list | tuple) else [output]
    return bool(tensors) and all(isinstance(x, torch.Tensor) and x.shape[0] == 1 for x in tensors)


def _copy(output: Any) -> Any:
    return list(output) if isinstance(output, list) else output
