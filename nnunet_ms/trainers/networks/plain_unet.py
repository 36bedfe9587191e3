"""Plain 3-D U-Net with the filters of the multi-arm network: the paper's baseline (7.7 M parameters)."""

from collections.abc import Sequence

import torch
from torch import nn

from nnunet_ms.trainers.networks.blocks import (
    Heads,
    LesionNetwork,
    ResidualBlock,
    Stride,
    initialise,
    projection,
    resize_like,
)


class PlainDecoder(Heads):
    """Interpolate, project by 1x1x1, concatenate with the encoder's feature, residual block."""

    def __init__(self, filters: Sequence[int], foreground_classes: int, dropout: float, deep_supervision: bool) -> None:
        super().__init__(filters, foreground_classes, deep_supervision)
        levels = range(len(filters) - 1)
        self.ups = nn.ModuleList(projection(filters[level + 1], filters[level]) for level in levels)
        self.blocks = nn.ModuleList(
            ResidualBlock(2 * filters[level], filters[level], (3, 3, 3), dropout) for level in levels
        )

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        """Map encoder features (finest first) to logits, see `Heads.heads`."""
        decoded = [features[-1]]
        for level in reversed(range(len(self.blocks))):
            up = torch.relu(resize_like(self.ups[level](decoded[0]), features[level]))
            decoded.insert(0, self.blocks[level](torch.cat((features[level], up), dim=1)))
        return self.heads(decoded[:-1])


class PlainUNet(LesionNetwork):
    """Residual 3-D U-Net, one encoder, adjacent levels only; arguments as `MultiArmUNet`.

    Examples
    --------
    >>> network = PlainUNet(3, filters=(4, 8, 16, 32), deep_supervision=False).eval()
    >>> network(torch.zeros(1, 3, 8, 16, 16)).shape
    torch.Size([1, 2, 8, 16, 16])
    """

    def __init__(
        self,
        channels_in: int,
        foreground_classes: int = 1,
        filters: Sequence[int] = (32, 64, 128, 256),
        strides: Sequence[Stride] = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
        dropout: float = 0.1,
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        self.channels_in = channels_in
        self.blocks = nn.ModuleList(
            ResidualBlock(channels_in if level == 0 else filters[level], filters[level], (3, 3, 3), dropout)
            for level in range(len(filters))
        )
        self.downs = nn.ModuleList(
            projection(filters[level - 1], filters[level], strides[level], kernel=3) for level in range(1, len(filters))
        )
        self.decoder = PlainDecoder(filters, foreground_classes, dropout, deep_supervision)
        initialise(self)

    def input_blocks(self) -> dict[str, tuple[int, ...]]:
        """Return the first block, which reads every channel; see `LesionNetwork.input_blocks`."""
        return {"blocks.0": tuple(range(self.channels_in))}

    def logits(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Compute the logits of a batch, see `LesionNetwork.forward`."""
        features = [self.blocks[0](x)]
        for down, block in zip(self.downs, list(self.blocks)[1:], strict=True):
            features.append(block(torch.relu(down(features[-1]))))
        output: torch.Tensor | list[torch.Tensor] = self.decoder(features)
        return output
