"""Networks from T1 and FLAIR in MNI space to one logit (or one per interval of time): three, each also small for a CPU.

The paper tells no architecture. DenseNet-121 and ResNet-18 are MONAI's (extra `classification`); the compact one is
written from the description of its ancestor's layers (Eitel et al., NeuroImage Clin 2019;24:102003).
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import nn

from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.options import chosen, switch

NetworkName = Literal["densenet121", "resnet18", "compact"]
CHANNELS = 2  # T1 and FLAIR
SHAPE, SMALL_SHAPE = (80, 96, 80), (40, 48, 40)  # of 2 and 4 mm, see `preparation.target_grid`
SMALL_DENSE: dict[str, Any] = {"init_features": 8, "growth_rate": 8, "block_config": (2, 2, 2)}
SMALL_RESIDUAL = ("basic", [1, 1, 1, 1], [8, 16, 32, 64])


def stratification_network(
    name: NetworkName = "densenet121",
    small: bool = False,
    outputs: int = 1,
    channels: int = CHANNELS,
    shape: Sequence[int] | None = None,
) -> nn.Module:
    """Make a network with fresh weights from torch's generator: (B, channels, X, Y, Z) to (B, outputs) logits.

    Parameters
    ----------
    name : {"densenet121", "resnet18", "compact"}, optional
        MONAI's DenseNet-121 (11,265,601 parameters), MONAI's ResNet-18 with shortcuts of type A (33,008,641), or
        `CompactNet` (335,553). With `small` 51,363, 222,177 and 11,417.
    small : bool, optional
        Few filters, for CPUs and for images of 4 mm. The name stays that of the design.
    outputs : int, optional
        One logit of the class, or one per interval of discrete time.
    channels : int, optional
        Images of a scan.
    shape : sequence of 3 ints, optional
        X, Y, Z of the images. Only the compact network's last layer depends on it; blank is (80, 96, 80), and
        (40, 48, 40) with `small`.

    Raises
    ------
    OptionError
        If the name is unknown, or a number is none that can be.
    SettingsError
        If MONAI is not installed.

    Examples
    --------
    >>> network = stratification_network("compact", small=True)
    >>> sum(weight.numel() for weight in network.parameters())
    11417
    >>> network(torch.zeros(3, 2, 40, 48, 40)).shape
    torch.Size([3, 1])
    """
    chosen(name, get_args(NetworkName), "network")
    switch(small, "small")
    for what, number in (("outputs", outputs), ("channels", channels)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise OptionError(f"{what}: expected a whole number >= 1, found {number!r}. Correct it.")
    if name == "compact":
        size = shape or (SMALL_SHAPE if small else SHAPE)
        return SmallCompactNet(outputs, channels, size) if small else CompactNet(outputs, channels, size)
    return _dense(small, outputs, channels) if name == "densenet121" else _residual(small, outputs, channels)


def _dense(small: bool, outputs: int, channels: int) -> nn.Module:
    size: dict[str, Any] = {"spatial_dims": 3, "in_channels": channels, "out_channels": outputs}
    nets = monai("networks.nets")
    network: nn.Module = nets.DenseNet(**size, **SMALL_DENSE) if small else nets.DenseNet121(**size)
    return network


def _residual(small: bool, outputs: int, channels: int) -> nn.Module:
    size: dict[str, Any] = {"spatial_dims": 3, "n_input_channels": channels, "num_classes": outputs}
    nets = monai("networks.nets")
    # Type A has no weights in the shortcuts, as the published 3-D ResNet-18 of 33.0 M; MONAI's own default is B.
    if small:
        kernel = {"conv1_t_size": 3, "conv1_t_stride": 2}  # as it comes, the first layer works on all voxels
        network: nn.Module = nets.ResNet(*SMALL_RESIDUAL, **size, **kernel, shortcut_type="A")
    else:
        network = nets.resnet18(**size, shortcut_type="A")
    for block in list(network.modules()):
        # MONAI 1.6.1's shortcut of type A lets no gradient through (`out.data`): the same one that does
        if isinstance(made := getattr(block, "downsample", None), partial):
            block.downsample = Shortcut(made.keywords["planes"], made.keywords["stride"])
    return network


class Shortcut(nn.Module):
    """Way past a residual block that changes size: every `stride`-th voxel, and zeros as the further filters.

    Parameters
    ----------
    filters : int
        Of the block's output.
    stride : int

    Examples
    --------
    >>> Shortcut(4, 2)(torch.ones(1, 3, 5, 5, 5)).shape
    torch.Size([1, 4, 3, 3, 3])
    """

    def __init__(self, filters: int, stride: int) -> None:
        super().__init__()
        self.filters, self.stride = filters, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, X, Y, Z) to (B, filters, X / stride, Y / stride, Z / stride), rounded up."""
        taken = x[..., :: self.stride, :: self.stride, :: self.stride]
        return nn.functional.pad(taken, (0, 0) * 3 + (0, self.filters - x.shape[1]))


class CompactNet(nn.Module):
    """Convolutions and poolings in one row of modules, no way around any: relevance can be followed back exactly.

    Four valid convolutions 3 x 3 x 3 of 64 filters with ELU; the first two and the last are followed by a pooling over
    3 and dropout; one dense layer. The ancestor's has 128 inputs, ours 64: its images are (96, 114, 96).

    Parameters
    ----------
    outputs, channels : int
    shape : sequence of 3 ints
        X, Y, Z of the images.

    Raises
    ------
    OptionError
        If the shape is none of three whole numbers, or too small for the layers.

    Examples
    --------
    >>> network = CompactNet()
    >>> [type(module).__name__ for module in network.layers][:4]
    ['Conv3d', 'ELU', 'MaxPool3d', 'Dropout']
    >>> network(torch.zeros(1, 2, 80, 96, 80)).shape
    torch.Size([1, 1])
    """

    blocks: tuple[tuple[int, ...], ...] = ((64,), (64,), (64, 64))  # filters of the convolutions before each pooling
    pool = 3
    dropout = 0.3

    def __init__(self, outputs: int = 1, channels: int = CHANNELS, shape: Sequence[int] = SHAPE) -> None:
        super().__init__()
        self.shape = tuple(shape)
        modules: list[nn.Module] = []
        here, width = self._checked(shape), channels
        for filters in self.blocks:
            for after in filters:
                modules += [nn.Conv3d(width, after, 3), nn.ELU()]
                here, width = self._convolved(here), after
            # a map that is smaller than the pooling's window is pooled whole
            window = tuple(min(self.pool, n) for n in here)
            modules += [nn.MaxPool3d(window), nn.Dropout(self.dropout)]
            here = tuple(n // size for n, size in zip(here, window, strict=True))
        self.layers = nn.Sequential(*modules, nn.Flatten(), nn.Linear(width * math.prod(here), outputs))

    def _checked(self, shape: Sequence[int]) -> tuple[int, ...]:
        if len(shape) != 3 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in shape):
            raise OptionError(f"shape: expected three whole numbers, voxels along x, y, z, found {tuple(shape)}.")
        return tuple(shape)

    def _convolved(self, here: tuple[int, ...]) -> tuple[int, ...]:
        if min(here) < 3:
            raise OptionError(
                f"shape: expected images large enough for {type(self).__name__}'s convolutions, found {self.shape}. "
                "Prepare the scans with smaller voxels, or take densenet121."
            )
        return tuple(n - 2 for n in here)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, channels, X, Y, Z) images to (B, outputs) logits."""
        logits: torch.Tensor = self.layers(images)
        return logits


class SmallCompactNet(CompactNet):
    """The same row of modules with 8 and 16 filters, poolings over 2, and one convolution less; ours, for a CPU.

    Examples
    --------
    >>> SmallCompactNet(shape=(20, 24, 20))(torch.zeros(1, 2, 20, 24, 20)).shape
    torch.Size([1, 1])
    """

    blocks = ((8,), (16,), (16,))
    pool = 2
    dropout = 0.1


def monai(part: str) -> Any:
    """Return a part of MONAI, such as "networks.nets"; it is imported when it is asked for (4 s).

    Raises
    ------
    SettingsError
        If it is not installed.

    Examples
    --------
    >>> monai("networks.nets").DenseNet121.__name__
    'DenseNet121'
    """
    import importlib

    try:
        import monai as found
    except ImportError as error:
        raise SettingsError(
            "MONAI: expected it for the networks and the augmentation of nnunet-ms-stratify, found none. Run: "
            'pip install "nnunet-ms[classification]".'
        ) from error
    return importlib.import_module(f"{found.__name__}.{part}")
