"""The two joint U-Nets for whatever sequences a scan has beside T1 after contrast agent (system `joint_t1`).

Ours. As `any_sequence_unet`: a branch none of whose sequences is there does not run its encoder, and a bias per
level that depends on which sequences are there enters its skips.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from nnunet_ms.trainers.networks.any_sequence_unet import must_run_all, nothing_where, present_channels, spread
from nnunet_ms.trainers.networks.blocks import Stride, channels_last, stride_between
from nnunet_ms.trainers.networks.joint_unet import BRANCHES, BranchEncoder, Features, JointUNet

FILTERS = (24, 48, 96, 192)
STRIDES: tuple[Stride, ...] = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))


class AnyJointUNet(JointUNet):
    """`JointUNet` for any subset of its channels that holds one of `needed`.

    The encoder of a branch without any channel is not run: its features are zeros and what the other branch gives it;
    its decoder goes on from there. Statistics of an encoder's normalisations come from the images that have it. Of a
    branch with some of its channels nothing but the first convolution could be spared, and is not.

    Parameters
    ----------
    channels, settings
        As `JointUNet`.
    needed : sequence of int, optional
        Channels of which one at least must be there; without it, any will do. What calls the network checks it.

    Examples
    --------
    >>> branches = {"unenhancing": (0,), "enhancing": (0, 1)}
    >>> network = AnyJointUNet(branches, (1,), filters=(4, 8, 16, 32), deep_supervision=False).eval()
    >>> image = torch.randn(1, 2, 8, 16, 16)
    >>> image[:, 0] = 0
    >>> network(image).shape
    torch.Size([1, 3, 8, 16, 16])
    """

    def __init__(self, channels: Mapping[str, Sequence[int]], needed: Sequence[int] = (), **settings: Any) -> None:
        super().__init__(channels, **settings)
        number = 1 + max(channel for several in self.channels.values() for channel in several)
        self.needed = tuple(needed) or tuple(range(number))
        self.widths = tuple(settings.get("filters", FILTERS))
        self.strides: tuple[Stride, ...] = tuple(settings.get("strides", STRIDES))
        self.of_presence = nn.ModuleDict({name: _biases(number, self.widths) for name in BRANCHES})

    def logits(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Compute the logits of a batch, see `LesionNetwork.forward`."""
        present = present_channels(x)
        known = present.to(x.dtype)
        has = {name: present[:, list(self.channels[name])].any(dim=1) for name in BRANCHES}
        here = {name: channels_last(x[:, list(self.channels[name])]) for name in BRANCHES}
        skips: list[Features] = []
        for level in range(self.levels):
            here = {name: self._level(name, level, here[name], has[name], x) for name in BRANCHES}
            if self.in_encoder is not None:
                here = self.in_encoder[level](here)
            skips.append({name: here[name] + self._bias(name, level, known) for name in BRANCHES})
        return nothing_where(~present.any(dim=1), self.decoder(skips, self.in_decoder))

    def _bias(self, name: str, level: int, known: torch.Tensor) -> torch.Tensor:
        biases = cast(nn.ModuleList, self.of_presence[name])
        bias: torch.Tensor = biases[level](known)[:, :, None, None, None]
        return bias

    def _level(self, name: str, level: int, here: torch.Tensor, has: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Feature of one level of one encoder; zeros for images without any channel of the branch."""
        encoder = cast(BranchEncoder, self.encoders[name])
        if bool(has.all()):
            return encoder.level(level, here)
        if must_run_all(self):
            return encoder.level(level, here) * has.to(here.dtype)[:, None, None, None, None]
        if not bool(has.any()):
            stride = stride_between(self.strides, 0, level)
            size = (-(-n // s) for n, s in zip(x.shape[2:], stride, strict=True))
            return channels_last(x.new_zeros((x.shape[0], self.widths[level], *size)))
        return spread(encoder.level(level, channels_last(here[has])), has)


def _biases(channels: int, widths: Sequence[int]) -> nn.ModuleList:
    """A bias per level and present channel; zeros, so that training begins as the network without them."""
    layers = [nn.Linear(channels, width, bias=False) for width in widths]
    for layer in layers:
        nn.init.zeros_(layer.weight)
    return nn.ModuleList(layers)
