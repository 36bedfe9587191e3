"""The network of QSMRim-Net: images and radiomic features of a lesion, joined, to one logit for a rim.

Written from the paper (Zhang et al., NeuroImage Clin 2022;34:102979) and a description of its layers; the authors' code
has no licence and none of it is here. Where paper and released code differ (`fusion`), the paper is the default.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from nnunet_ms.classification.rim.oversampling import LatentOversampling
from nnunet_ms.errors import OptionError
from nnunet_ms.options import chosen, switch

Fusion = Literal["concat", "sum"]
CHANNELS, FEATURES = 2, 527  # QSM and FLAIR; radiomic features of the QSM


@dataclass(frozen=True)
class NetworkSize:
    """Widths of the layers; the defaults are the paper's.

    Attributes
    ----------
    filters : tuple of 4 ints
        Of the encoder's stages; the last is the size of both branches' outputs, too.
    radiomic : int
        Of the radiomic branch's first layer.
    head : int
        Of the classifier's first layer.

    Raises
    ------
    OptionError
        Unless there are four stages and all widths are positive.
    """

    filters: tuple[int, ...] = (64, 128, 256, 512)
    radiomic: int = 1024
    head: int = 128

    def __post_init__(self) -> None:
        widths = (*self.filters, self.radiomic, self.head)
        if len(self.filters) != 4 or min(widths) < 1:
            raise OptionError(f"filters: expected four widths >= 1, found {widths}. The paper has 64, 128, 256, 512.")


FULL = NetworkSize()
SMALL = NetworkSize(filters=(8, 16, 32, 64), radiomic=256, head=64)  # ours, for a CPU: a twentieth of the time


class ResidualBlock(nn.Module):
    """Two 3 x 3 x 3 convolutions and a way around them (He et al., 2016), 1 x 1 x 1 where sizes change.

    Examples
    --------
    >>> ResidualBlock(4, 8, stride=2)(torch.zeros(1, 4, 8, 8, 8)).shape
    torch.Size([1, 8, 4, 4, 4])
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(inputs, outputs, 3, stride),
            nn.ReLU(inplace=True),
            *_convolution(outputs, outputs, 3, 1),
        )
        same = stride == 1 and inputs == outputs
        self.around = nn.Identity() if same else nn.Sequential(*_convolution(inputs, outputs, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, D, H, W) to (B, outputs, D / stride, H / stride, W / stride)."""
        return torch.relu(self.body(x) + self.around(x))


class Encoder(nn.Module):
    """A 3-D ResNet-18 whose last stage keeps its input's size: in all a sixteenth of the patch's.

    Examples
    --------
    >>> sum(weight.numel() for weight in Encoder().parameters())
    33181952
    >>> Encoder(filters=(2, 2, 2, 4)).stages(torch.zeros(1, 2, 8, 32, 32)).shape
    torch.Size([1, 4, 1, 2, 2])
    """

    def __init__(self, channels: int = CHANNELS, filters: Sequence[int] = FULL.filters) -> None:
        super().__init__()
        first, second, third, fourth = filters
        self.stages = nn.Sequential(
            *_convolution(channels, first, 7, 2),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(3, 2, 1),
            *(ResidualBlock(first, first), ResidualBlock(first, first)),
            *(ResidualBlock(first, second, 2), ResidualBlock(second, second)),
            *(ResidualBlock(second, third, 2), ResidualBlock(third, third)),
            *(ResidualBlock(third, fourth), ResidualBlock(fourth, fourth)),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(B, channels, D, H, W) patches to (B, filters[-1]), the mean over all places."""
        pooled: torch.Tensor = self.stages(patches).mean(dim=(2, 3, 4))
        return pooled


def radiomic_branch(features: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return the two dense layers for radiomic features.

    Examples
    --------
    >>> sum(weight.numel() for weight in radiomic_branch(527, 1024, 512).parameters())
    1068544
    """
    return nn.Sequential(
        *(nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.SiLU(), nn.Dropout(0.3)),
        *(nn.Linear(hidden, outputs), nn.BatchNorm1d(outputs), nn.SiLU()),
    )


def classifier(inputs: int, hidden: int) -> nn.Sequential:
    """Return the layers from a latent row to one logit.

    Examples
    --------
    >>> sum(weight.numel() for weight in classifier(512, 128).parameters())
    65793
    """
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Dropout(0.5), nn.Linear(hidden, 1))


class QsmRimNet(nn.Module):
    """Both branches, their fusion, the oversampling layer and the classifier.

    Before the encoder each channel is put on mean 0 and deviation 1, as the training's batches have them; that is ours
    and has no weights.

    Parameters
    ----------
    features : int, optional
        Radiomic features of a lesion.
    size : NetworkSize, optional
        Widths of the layers.
    fusion : {"concat", "sum"}, optional
        How the branches are joined: the paper's figures concatenate, the released code adds.
    oversampling, include_self : bool, optional
        See `LatentOversampling`.

    Raises
    ------
    OptionError
        If a word or a switch is unknown.

    Examples
    --------
    >>> sum(weight.numel() for weight in QsmRimNet().parameters())
    35105793
    >>> network = QsmRimNet(features=10, size=SMALL)
    >>> logits, labels = network(torch.zeros(8, 2, 8, 32, 32), torch.zeros(8, 10), torch.tensor([1.0] * 3 + [0.0] * 5))
    >>> logits.shape, labels.sum()
    (torch.Size([14]), tensor(9.))
    """

    def __init__(
        self,
        features: int = FEATURES,
        size: NetworkSize = FULL,
        *,
        fusion: Fusion = "concat",
        oversampling: bool = True,
        include_self: bool = False,
    ) -> None:
        super().__init__()
        self.fusion = chosen(fusion, get_args(Fusion), "fusion")
        latent = size.filters[-1]
        # QSM comes in 300 ppb and spreads by .07, FLAIR by 1 to 3: one first layer sees of both what is large
        self.same_spread = nn.BatchNorm3d(CHANNELS, affine=False)
        self.encoder = Encoder(CHANNELS, size.filters)
        self.radiomic = radiomic_branch(features, size.radiomic, latent)
        self.oversampling = LatentOversampling(
            2 * latent if fusion == "concat" else latent,
            latent,
            include_self=include_self,
            active=switch(oversampling, "oversampling"),
        )
        self.classifier = classifier(latent, size.head)

    def forward(
        self, patches: torch.Tensor, features: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits, and the labels that belong to them.

        Parameters
        ----------
        patches : (B, 2, D, H, W) float tensor
            QSM and FLAIR.
        features : (B, F) float tensor
            Standardised.
        labels : (B,) float tensor
            1 for rim+; not looked at in `eval`.

        Returns
        -------
        logits, labels : (B + m,) float tensors
            With m synthetic rim+ lesions while training; none in `eval`.
        """
        images, numbers = self.encoder(self.same_spread(patches)), self.radiomic(features)
        joined = images + numbers if self.fusion == "sum" else torch.cat([images, numbers], dim=1)
        latent, labels = self.oversampling(joined, labels)
        return self.classifier(latent)[:, 0], labels


def _convolution(inputs: int, outputs: int, width: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv3d(inputs, outputs, width, stride, width // 2, bias=False), nn.BatchNorm3d(outputs)
