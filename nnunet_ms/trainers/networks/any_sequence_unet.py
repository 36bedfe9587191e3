"""A multi-arm U-Net for whatever sequences a scan has: arms of absent ones are not run, and the skips know of it.

Ours; the multi-arm network is that of Krishnan et al. 2023. Leaving out modalities in training is known from HeMIS [1]_
and from ModDrop [2]_; here the encoders of absent sequences cost nothing, and a bias per level that depends on which
sequences are there takes the place of what they would have given.

References
----------
.. [1] Havaei et al., HeMIS: Hetero-Modal Image Segmentation. MICCAI 2016. arXiv:1607.05194
.. [2] Neverova et al., ModDrop. IEEE TPAMI 38:1692-1706, 2016. doi:10.1109/TPAMI.2015.2461544
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nnunet_ms.trainers.networks.blocks import Stride, channels_last, kept_last, stride_between
from nnunet_ms.trainers.networks.multi_arm_unet import FILTERS, STRIDES, Arm, MultiArmUNet

NOTHING = -10.0  # logit where no sequence has a voxel: a tile outside of the head holds no lesion


def present_channels(x: torch.Tensor) -> torch.Tensor:
    """Which channels of each image hold more than zeros: (B, C, Z, Y, X) -> (B, C) bool.

    An absent sequence is a channel of zeros, as nnU-Net's own commands can give it; normalised, it still is.

    Examples
    --------
    >>> image = torch.zeros(1, 3, 2, 2, 2)
    >>> image[0, 1, 0, 0, 0] = -1.5
    >>> present_channels(image)
    tensor([[False,  True, False]])
    """
    return (x != 0).flatten(2).any(dim=2)


class AnySequenceUNet(MultiArmUNet):
    """`MultiArmUNet` for any non-empty subset of its channels.

    Each level's projection gets a bias per present channel beside the features. An arm whose channels are all absent is
    not run: its features are zeros. Statistics of its normalisations come from the images that have it.

    Parameters
    ----------
    arms, settings
        As `MultiArmUNet`.
    needed : sequence of int, optional
        Channels of which one at least must be there; without it, any will do. What calls the network checks it.

    Examples
    --------
    >>> network = AnySequenceUNet([Arm((0, 1)), Arm((0,), 2), Arm((1,), 2)], filters=(4, 8, 16, 32)).eval()
    >>> image = torch.randn(1, 2, 8, 16, 16)
    >>> image[:, 1] = 0
    >>> [tuple(level.shape) for level in network(image)]
    [(1, 2, 8, 16, 16), (1, 2, 8, 8, 8), (1, 2, 4, 4, 4)]
    """

    def __init__(self, arms: Sequence[Arm], needed: Sequence[int] = (), **settings: Any) -> None:
        super().__init__(arms, **settings)
        self.channels = 1 + max(channel for arm in self.arms for channel in arm.channels)
        self.needed = tuple(needed) or tuple(range(self.channels))
        self.widths = tuple(settings.get("filters", FILTERS))
        self.strides: tuple[Stride, ...] = tuple(settings.get("strides", STRIDES))
        biases = [nn.Linear(self.channels, width, bias=False) for width in self.widths]
        for layer in biases:
            nn.init.zeros_(layer.weight)  # it begins as the network without them
        self.of_presence = nn.ModuleList(biases)

    def logits(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Compute the logits of a batch, see `LesionNetwork.forward`."""
        present = present_channels(x)
        per_arm = [self._arm(number, x, present) for number in range(len(self.arms))]
        known = present.to(x.dtype)
        projected = [
            project(kept_last(torch.cat(level, dim=1))) + bias(known)[:, :, None, None, None]
            for project, bias, level in zip(self.projections, self.of_presence, zip(*per_arm, strict=True), strict=True)
        ]
        output = self.decoder(self.skips(projected))
        return nothing_where(~present.any(dim=1), output)

    def _arm(self, number: int, x: torch.Tensor, present: torch.Tensor) -> list[torch.Tensor]:
        """Features of one encoder, finest first; zeros for images without any of its channels."""
        channels = list(self.arms[number].channels)
        has = present[:, channels].any(dim=1)
        if bool(has.all()):
            features: list[torch.Tensor] = self.encoders[number](channels_last(x[:, channels]))
            return features
        if must_run_all(self):
            features = self.encoders[number](channels_last(x[:, channels]))
            return [feature * has.to(feature.dtype)[:, None, None, None, None] for feature in features]
        if not bool(has.any()):
            return self._zeros(number, x)
        some = self.encoders[number](channels_last(x[has][:, channels]))
        return [spread(feature, has) for feature in some]

    def _zeros(self, number: int, x: torch.Tensor) -> list[torch.Tensor]:
        shapes = []
        for level, whole in enumerate(self.widths):
            stride, width = stride_between(self.strides, 0, level), whole // self.arms[number].width_divisor
            shapes.append((x.shape[0], width, *(-(-n // s) for n, s in zip(x.shape[2:], stride, strict=True))))
        return [channels_last(x.new_zeros(shape)) for shape in shapes]  # as what is computed: else all after it is slow


def must_run_all(network: nn.Module) -> bool:
    """Whether a process must not leave out an arm that another one runs: their gradients are averaged."""
    return network.training and torch.distributed.is_available() and torch.distributed.is_initialized()


def spread(feature: torch.Tensor, has: torch.Tensor) -> torch.Tensor:
    """Put the features of some images into their places among all, zeros elsewhere."""
    whole = feature.new_zeros((len(has), *feature.shape[1:]))
    return kept_last(whole.index_copy(0, has.nonzero().flatten(), feature))


def nothing_where(empty: torch.Tensor, output: torch.Tensor | list[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
    """Output of a network with `NOTHING` for every lesion type of images that are `empty`, (B,) bool."""
    if not bool(empty.any()):
        return output
    if isinstance(output, list):
        return [_without_lesion(empty, one) for one in output]
    return _without_lesion(empty, output)


def _without_lesion(empty: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Logits with `NOTHING` for every lesion type of images that are empty; the background's stays 0."""
    if logits.shape[0] != len(empty):  # samples of one image
        empty = empty.expand(logits.shape[0])
    lesions = torch.where(empty[:, None, None, None, None], torch.full_like(logits, NOTHING), logits)
    return torch.cat((logits[:, :1], lesions[:, 1:]), dim=1)
