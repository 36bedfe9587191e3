"""Multi-arm 3-D U-Net: a parameter-matched reconstruction of Krishnan et al. 2023 (system `multi_arm_t2`).

From the paper: one encoder that sees every channel and one per FLAIR and T2; four levels; residual blocks
1x3x3 + 3x3x3; deeper blocks receive all previous levels, strided and summed; the encoders are concatenated and
projected per level; a level's skip is the sum over all levels; one decoder; probability maps at three levels.
Ours, because the paper's filter table could not be read: widths 32/64/128/256 with the single-channel encoders at a
quarter of them, and the kernels of the couplings; chosen so that the number of parameters (5.9 M) and that of the
plain U-Net with the same filters (7.7 M) agree with the paper.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from nnunet_ms.options import chosen, whole_numbers
from nnunet_ms.trainers.networks.blocks import (
    Heads,
    LesionNetwork,
    ResidualBlock,
    Stride,
    channels_last,
    initialise,
    projection,
    resize_like,
    stride_between,
)

Shortcut = Literal["encoder", "skip", "decoder"]
SHORTCUTS: tuple[Shortcut, ...] = get_args(Shortcut)
SkipAttention = Literal["none", "gates"]
Dimensions = Literal["3d", "2.5d"]


@dataclass(frozen=True)
class Arm:
    """One encoder: the input channels it sees (indices) and its width as a divisor of the main filters."""

    channels: tuple[int, ...]
    width_divisor: int = 1


@dataclass(frozen=True)
class Kernels:
    """Kernels (z, y, x): of the very first convolution, of a block's two, and of the strided one between levels."""

    entry: Stride
    first: Stride
    second: Stride = (3, 3, 3)
    down: Stride = (3, 3, 3)


IN_SLICE: Stride = (1, 3, 3)
FILTERS = (32, 64, 128, 256)
STRIDES: tuple[Stride, ...] = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))  # of anisotropic voxels
# 2.5-D: three neighbouring slices enter the first convolution as they would enter a 2-D one as channels
SLICES = Kernels(entry=(3, 3, 3), first=IN_SLICE, second=IN_SLICE, down=IN_SLICE)


class SumOfProjections(nn.Module):
    """Bring feature maps of several levels to one width and resolution, and add them."""

    def __init__(self, projections: Sequence[nn.Module]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(projections)

    def forward(self, features: Sequence[torch.Tensor], like: torch.Tensor | None = None) -> torch.Tensor:
        """Sum of the projected features; those of another size than `like` are interpolated to it.

        Coarser features pass the 1x1x1 convolution before the interpolation: the same map in far fewer operations.
        """
        projected = [project(feature) for project, feature in zip(self.projections, features, strict=True)]
        if like is not None:
            projected = [x if x.shape[2:] == like.shape[2:] else resize_like(x, like) for x in projected]
        total = projected[0]
        for x in projected[1:]:
            total = total + x
        return total


class Encoder(nn.Module):
    """One arm: residual blocks whose input is the sum of all previous levels, brought down by strided convolutions.

    The adjacent level passes a 3x3x3 convolution, farther levels pass 1x1x1 convolutions. Without `shortcuts` a level
    receives the adjacent one only.
    """

    def __init__(
        self,
        channels_in: int,
        filters: Sequence[int],
        strides: Sequence[Stride],
        kernels: Kernels,
        dropout: float,
        shortcuts: bool = True,
    ) -> None:
        super().__init__()
        self.first = ResidualBlock(channels_in, filters[0], kernels.entry, dropout, kernels.second)
        self.blocks = nn.ModuleList(
            ResidualBlock(width, width, kernels.first, dropout, kernels.second) for width in filters[1:]
        )
        self.shortcuts = shortcuts
        self.downs = nn.ModuleList(
            SumOfProjections(
                [
                    projection(
                        filters[m],
                        filters[level],
                        stride_between(strides, m, level),
                        kernels.down if m == level - 1 else 1,
                    )
                    for m in range(0 if shortcuts else level - 1, level)
                ]
            )
            for level in range(1, len(filters))
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (B, channels_in, Z, Y, X) to one feature map per level, finest first."""
        features = [self.first(x)]
        for block, down in zip(self.blocks, self.downs, strict=True):
            features.append(block(torch.relu(down(features if self.shortcuts else features[-1:]))))
        return features


class DenseSkips(nn.Module):
    """Skip feature of a level: the sum of the projected encoders of all levels, resampled to that level.

    Without `shortcuts` it is the level's own projection.
    """

    def __init__(self, filters: Sequence[int], strides: Sequence[Stride], shortcuts: bool = True) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            SumOfProjections([_skip_path(filters, strides, m, level) for m in range(len(filters)) if m != level])
            for level in range(len(filters) - 1 if shortcuts else 0)
        )

    def forward(self, projected: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Skips of all levels; the deepest feature goes to the decoder as it is."""
        if not self.paths:
            return [*(torch.relu(feature) for feature in projected[:-1]), projected[-1]]
        skips = []
        for level, path in enumerate(self.paths):
            others = [feature for m, feature in enumerate(projected) if m != level]
            skips.append(torch.relu(projected[level] + path(others, projected[level])))
        return [*skips, projected[-1]]


def _skip_path(filters: Sequence[int], strides: Sequence[Stride], source: int, level: int) -> nn.Module:
    stride = stride_between(strides, source, level) if source < level else (1, 1, 1)
    return projection(filters[source], filters[level], stride)


class SkipGate(nn.Module):
    """Additive attention gate: how much of the skip passes at each voxel, judged from the skip and the decoder [1]_.

    Half of the width inside; unlike the paper's, the decoder's feature is at the skip's resolution already.

    References
    ----------
    .. [1] Oktay et al., Attention U-Net: Learning Where to Look for the Pancreas. MIDL 2018. arXiv:1804.03999
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inside = max(width // 2, 1)
        self.of_skip = projection(width, inside)
        self.of_decoder = projection(width, inside)
        self.weight = projection(inside, 1)

    def forward(self, skip: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Weigh (B, C, Z, Y, X) skips by the sigmoid of one number per voxel."""
        inside = torch.relu(self.of_skip(skip) + self.of_decoder(up))
        weighed: torch.Tensor = skip * torch.sigmoid(self.weight(inside))
        return weighed


class DenseDecoder(Heads):
    """Decoder whose level receives every deeper decoded level, interpolated and summed, plus its skip.

    Without `shortcuts` it receives the adjacent decoded level only; with `gates` its skip passes a `SkipGate`.
    """

    def __init__(
        self,
        filters: Sequence[int],
        foreground_classes: int,
        kernels: Kernels,
        dropout: float,
        deep_supervision: bool,
        shortcuts: bool = True,
        gates: bool = False,
    ) -> None:
        super().__init__(filters, foreground_classes, deep_supervision)
        self.shortcuts = shortcuts
        levels = range(len(filters) - 1)
        self.ups = nn.ModuleList(
            SumOfProjections(
                [
                    projection(filters[m], filters[level])
                    for m in range(level + 1, len(filters) if shortcuts else level + 2)
                ]
            )
            for level in levels
        )
        self.blocks = nn.ModuleList(
            ResidualBlock(width, width, kernels.first, dropout, kernels.second) for width in filters[:-1]
        )
        self.gates = nn.ModuleList(SkipGate(filters[level]) for level in levels) if gates else None

    def forward(self, skips: Sequence[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        """Map the skips (finest first) to logits, see `Heads.heads`."""
        decoded = [skips[-1]]  # finest first
        for level in reversed(range(len(self.blocks))):
            deeper = decoded if self.shortcuts else decoded[:1]
            up = torch.relu_(self.ups[level](deeper, skips[level]))  # in place: large tensors cost time to allocate
            skip = skips[level] if self.gates is None else self.gates[level](skips[level], up)
            decoded.insert(0, self.blocks[level](up + skip))
        return self.heads(decoded[:-1])


class MultiArmUNet(LesionNetwork):
    """Several encoders, one decoder.

    Parameters
    ----------
    arms : sequence of Arm
        The encoders; the first one has full width in the paper's system.
    foreground_classes : int
        Number of lesion types; each has one logit.
    filters : sequence of int
        Channels per level of a full-width encoder and of the decoder.
    strides : sequence of tuple
        Stride (z, y, x) on entering each level; the first is (1, 1, 1).
    first_kernel : tuple of int
        Kernel of the first convolution of each residual block.
    dropout : float
        Channel dropout probability in the residual blocks.
    deep_supervision : bool
        Whether `forward` returns the logits of three levels or of the finest only.
    shortcuts : collection of {"encoder", "skip", "decoder"}
        Where far levels enter too: the previous ones a deeper encoder block, all of them a skip, the deeper ones a
        decoder block. The paper's system has all three; without one, only the adjacent (or own) level enters there.
    skip_attention : {"none", "gates"}
        Whether each skip passes an additive attention gate [2]_; the paper's system has none.
    dimensions : {"3d", "2.5d"}
        "2.5d": the first convolution sees three neighbouring slices, everything after it one slice; `first_kernel` is
        then not used, and the strides must leave z alone.

    Raises
    ------
    OptionError
        If a shortcut, the attention or the dimensions are none of the known words, or a width or channel is no whole
        number.
    ValueError
        If there is no arm, one that sees no channel or one twice, fewer than two levels or a width below 1; if
        `dimensions` is "2.5d" and a stride along z is not 1.

    References
    ----------
    .. [1] Krishnan et al., Sci Rep 13:4102, 2023. doi:10.1038/s41598-023-31207-5
    .. [2] Oktay et al., Attention U-Net. MIDL 2018. arXiv:1804.03999

    Examples
    --------
    >>> arms = [Arm((0, 1, 2)), Arm((1,), width_divisor=2)]
    >>> network = MultiArmUNet(arms, filters=(4, 8, 16, 32)).eval()
    >>> [tuple(level.shape) for level in network(torch.zeros(1, 3, 8, 16, 16))]
    [(1, 2, 8, 16, 16), (1, 2, 8, 8, 8), (1, 2, 4, 4, 4)]
    >>> network.decoder.deep_supervision = False
    >>> tuple(network(torch.zeros(1, 3, 8, 16, 16)).shape)
    (1, 2, 8, 16, 16)
    >>> plain = MultiArmUNet(arms[:1], filters=(4, 8, 16, 32), shortcuts=())
    >>> [sum(p.numel() for p in n.parameters()) for n in (network, plain)]
    [102921, 82203]
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        foreground_classes: int = 1,
        filters: Sequence[int] = FILTERS,
        strides: Sequence[Stride] = STRIDES,
        first_kernel: Stride = (1, 3, 3),
        dropout: float = 0.1,
        deep_supervision: bool = True,
        shortcuts: Collection[Shortcut] = SHORTCUTS,
        skip_attention: SkipAttention = "none",
        dimensions: Dimensions = "3d",
    ) -> None:
        super().__init__()
        _check_sizes(arms, filters, strides)
        if not isinstance(shortcuts, Collection):
            raise ValueError(f"shortcuts: expected words such as ('encoder', 'skip'), found {shortcuts!r}. () is none.")
        for name in (shortcuts,) if isinstance(shortcuts, str) else shortcuts:  # a word alone is no collection of them
            chosen(name, SHORTCUTS, "shortcuts")
        gates = chosen(skip_attention, get_args(SkipAttention), "skip_attention") == "gates"
        kernels = _kernels(dimensions, first_kernel, strides)
        self.arms = tuple(arms)
        widths = [[f // arm.width_divisor for f in filters] for arm in self.arms]
        self.encoders = nn.ModuleList(
            Encoder(len(arm.channels), width, strides, kernels, dropout, shortcuts="encoder" in shortcuts)
            for arm, width in zip(self.arms, widths, strict=True)
        )
        self.projections = nn.ModuleList(
            projection(sum(width[level] for width in widths), filters[level]) for level in range(len(filters))
        )
        self.skips = DenseSkips(filters, strides, shortcuts="skip" in shortcuts)
        self.decoder = DenseDecoder(
            filters, foreground_classes, kernels, dropout, deep_supervision, "decoder" in shortcuts, gates
        )
        initialise(self)

    def input_blocks(self) -> dict[str, tuple[int, ...]]:
        """Return the first block of each arm; see `LesionNetwork.input_blocks`."""
        return {f"encoders.{number}.first": arm.channels for number, arm in enumerate(self.arms)}

    def logits(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Compute the logits of a batch, see `LesionNetwork.forward`."""
        per_arm = [
            encoder(channels_last(x[:, list(arm.channels)]))
            for encoder, arm in zip(self.encoders, self.arms, strict=True)
        ]
        projected = [
            project(torch.cat(level, dim=1))
            for project, level in zip(self.projections, zip(*per_arm, strict=True), strict=True)
        ]
        output: torch.Tensor | list[torch.Tensor] = self.decoder(self.skips(projected))
        return output


def _check_sizes(arms: Sequence[Arm], filters: Sequence[int], strides: Sequence[Stride]) -> None:
    """Raise ValueError unless every arm sees channels, each once, and every level has a width and a stride."""
    widths = whole_numbers(filters, "filters")
    if not 1 < len(widths) <= len(strides) or min(widths) < 1:
        raise ValueError(
            f"filters: expected 2 to {len(strides)} numbers above 0, one per level, which has a stride, found "
            f"{widths}. Correct them."
        )
    if not arms:
        raise ValueError("arms: expected one at least, found none. Give such as Arm((0, 1)).")
    for arm in arms:
        channels = whole_numbers(arm.channels, "arms")
        if not channels or min(channels) < 0 or len(set(channels)) < len(channels):
            raise ValueError(
                f"arms: expected different channels, counted from 0, found {arm.channels}. Give such as Arm((0, 1))."
            )
        if not 1 <= arm.width_divisor <= min(widths):
            raise ValueError(
                f"arms: expected a width_divisor of 1 to {min(widths)}, the narrowest level, found "
                f"{arm.width_divisor}. Correct it."
            )


def _kernels(dimensions: Dimensions, first_kernel: Stride, strides: Sequence[Stride]) -> Kernels:
    if chosen(dimensions, get_args(Dimensions), "dimensions") == "3d":
        return Kernels(first_kernel, first_kernel)
    if any(stride[0] != 1 for stride in strides):
        raise ValueError(
            f"dimensions: '2.5d' sees one slice at a time and needs strides of 1 along z, found {list(strides)}. "
            "Give strides like (1, 2, 2), or take '3d'."
        )
    return SLICES
