"""Two U-Nets that help each other: T1 unenhancing and contrast-enhancing lesions (system `joint_t1`).

From the paper (Krishnan et al., Radiology 2022): two U-Nets, connections between the networks, a combined loss.
Every detail is ours: the blocks of `multi_arm_unet`, four levels, widths 24/48/96/192 in each branch, which channels a
branch sees, and gated 1x1x1 connections at every encoder and decoder level. The gates start at zero, so training
starts from two independent networks.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, cast, get_args

import torch
from torch import nn

from nnunet_ms.options import chosen
from nnunet_ms.trainers.networks.blocks import (
    Convolution,
    Heads,
    LesionNetwork,
    ResidualBlock,
    Stride,
    channels_last,
    initialise,
    projection,
    resize_like,
)

CrossConnections = Literal["none", "encoder", "decoder", "both"]
BRANCHES = ("unenhancing", "enhancing")  # in the order of the labels 1 and 2

Features = dict[str, torch.Tensor]


class BranchEncoder(nn.Module):
    """Encoder of one branch: a residual block per level, strided 3x3x3 convolutions between them."""

    def __init__(
        self, channels_in: int, filters: Sequence[int], strides: Sequence[Stride], first_kernel: Stride, dropout: float
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(channels_in if level == 0 else width, width, first_kernel, dropout)
            for level, width in enumerate(filters)
        )
        self.downs = nn.ModuleList(
            projection(filters[level - 1], filters[level], strides[level], kernel=3) for level in range(1, len(filters))
        )

    def level(self, level: int, x: torch.Tensor) -> torch.Tensor:
        """Feature of a level from the branch's channels (level 0) or from the level above."""
        entered = x if level == 0 else torch.relu(self.downs[level - 1](x))
        feature: torch.Tensor = self.blocks[level](entered)
        return feature


class BranchDecoder(nn.Module):
    """Decoder of one branch: interpolate, project by 1x1x1, concatenate with the encoder's feature, residual block."""

    def __init__(self, filters: Sequence[int], first_kernel: Stride, dropout: float) -> None:
        super().__init__()
        levels = range(len(filters) - 1)
        self.ups = nn.ModuleList(projection(filters[level + 1], filters[level]) for level in levels)
        self.blocks = nn.ModuleList(
            ResidualBlock(2 * filters[level], filters[level], first_kernel, dropout) for level in levels
        )

    def level(self, level: int, deeper: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Decoded feature of a level from the level below and the encoder's feature."""
        up = torch.relu(resize_like(self.ups[level](deeper), skip))
        feature: torch.Tensor = self.blocks[level](torch.cat((skip, up), dim=1))
        return feature


class GatedProjection(nn.Module):
    """What one branch takes from the other: 1x1x1 convolution, BN, times a learned gate per channel that starts at 0.

    At a gate of 0 the gate itself has a gradient, so a connection opens when it lowers the loss.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = projection(width, width)
        self.gate = nn.Parameter(torch.zeros(1, width, 1, 1, 1))

    def forward(self, other: torch.Tensor) -> torch.Tensor:
        """Map the other branch's (B, C, Z, Y, X) to what is added to this one."""
        taken: torch.Tensor = self.gate * self.project(other)
        return taken


class CrossConnection(nn.Module):
    """Connection of one level, both ways at once: each branch receives what the other had before the exchange."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.into = nn.ModuleDict({name: GatedProjection(width) for name in BRANCHES})

    def forward(self, features: Features) -> Features:
        """Exchange the features of a level."""
        first, second = BRANCHES
        return {
            first: features[first] + self.into[first](features[second]),
            second: features[second] + self.into[second](features[first]),
        }


class JointDecoder(Heads):
    """The decoders of both branches and one grouped head per supervised level.

    A head is one 1x1x1 convolution with a group per branch: it sees the branches side by side, and each logit sees its
    own branch only.
    """

    def __init__(self, filters: Sequence[int], first_kernel: Stride, dropout: float, deep_supervision: bool) -> None:
        super().__init__(filters, len(BRANCHES), deep_supervision)
        self.seg_layers = nn.ModuleList(
            Convolution(len(BRANCHES) * width, len(BRANCHES), 1, groups=len(BRANCHES)) for width in filters[:-1]
        )
        # attributes, not a list: the first number in a dropout layer's name is the level (`dropout.dropout_layers`)
        self.unenhancing = BranchDecoder(filters, first_kernel, dropout)
        self.enhancing = BranchDecoder(filters, first_kernel, dropout)

    def forward(
        self, skips: Sequence[Features], connections: nn.ModuleList | None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Map the skips (finest first) to logits, see `Heads.heads`; `connections` is one per level but the deepest."""
        decoded = [skips[-1]]  # finest first
        for level in reversed(range(len(skips) - 1)):
            here = {
                name: branch.level(level, decoded[0][name], skips[level][name])
                for name, branch in zip(BRANCHES, (self.unenhancing, self.enhancing), strict=True)
            }
            decoded.insert(0, here if connections is None else connections[level](here))
        return self.heads([torch.cat([feature[name] for name in BRANCHES], dim=1) for feature in decoded[:-1]])


class JointUNet(LesionNetwork):
    """Two U-Nets with gated cross-network connections; foreground channel 1 is unenhancing, 2 enhancing.

    Parameters
    ----------
    channels : mapping
        Branch ("unenhancing", "enhancing") -> indices of the input channels that it sees.
    filters : sequence of int
        Channels per level of each branch.
    strides : sequence of tuple
        Stride (z, y, x) on entering each level; the first is (1, 1, 1).
    first_kernel : tuple of int
        Kernel of the first convolution of each residual block.
    dropout : float
        Channel dropout probability in the residual blocks.
    deep_supervision : bool
        Whether `forward` returns the logits of three levels or of the finest only.
    cross_connections : {"none", "encoder", "decoder", "both"}
        Where the branches are connected. With "none" they are two independent networks. With the same random numbers
        every variant starts with the same weights in its branches.

    References
    ----------
    .. [1] Krishnan et al., Joint MRI T1 Unenhancing and Contrast-enhancing Multiple Sclerosis Lesion Segmentation with
       Deep Learning in OPERA Trials. Radiology 2022.

    Examples
    --------
    >>> channels = {"unenhancing": (0, 1), "enhancing": (0, 2)}
    >>> network = JointUNet(channels, filters=(4, 8, 16, 32), deep_supervision=False).eval()
    >>> network(torch.zeros(1, 3, 8, 16, 16)).shape
    torch.Size([1, 3, 8, 16, 16])
    """

    def __init__(
        self,
        channels: Mapping[str, Sequence[int]],
        filters: Sequence[int] = (24, 48, 96, 192),
        strides: Sequence[Stride] = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
        first_kernel: Stride = (1, 3, 3),
        dropout: float = 0.1,
        deep_supervision: bool = True,
        cross_connections: CrossConnections = "both",
    ) -> None:
        super().__init__()
        chosen(cross_connections, get_args(CrossConnections), "cross_connections")
        self.levels = len(filters)
        self.channels = {name: tuple(channels[name]) for name in BRANCHES}
        self.encoders = nn.ModuleDict(
            {
                name: BranchEncoder(len(self.channels[name]), filters, strides, first_kernel, dropout)
                for name in BRANCHES
            }
        )
        self.decoder = JointDecoder(filters, first_kernel, dropout, deep_supervision)
        initialise(self)
        # drawn last, so that the branches of all variants start alike
        self.in_encoder = _connections(filters) if cross_connections in ("encoder", "both") else None
        self.in_decoder = _connections(filters[:-1]) if cross_connections in ("decoder", "both") else None

    def input_blocks(self) -> dict[str, tuple[int, ...]]:
        """Return the first block of each branch; see `LesionNetwork.input_blocks`."""
        return {f"encoders.{name}.blocks.0": self.channels[name] for name in BRANCHES}

    def logits(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Compute the logits of a batch, see `LesionNetwork.forward`."""
        here = {name: channels_last(x[:, list(self.channels[name])]) for name in BRANCHES}
        skips: list[Features] = []
        for level in range(self.levels):
            here = {name: cast(BranchEncoder, self.encoders[name]).level(level, here[name]) for name in BRANCHES}
            if self.in_encoder is not None:
                here = self.in_encoder[level](here)
            skips.append(here)
        output: torch.Tensor | list[torch.Tensor] = self.decoder(skips, self.in_decoder)
        return output


def _connections(widths: Sequence[int]) -> nn.ModuleList:
    connections = nn.ModuleList(CrossConnection(width) for width in widths)
    initialise(connections)
    return connections
