"""Building blocks shared by the networks: residual block, projection, heads, decoder."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import interpolate

from nnunet_ms.trainers.networks.dropout import MaskedDropout3d

Stride = tuple[int, int, int]


class Convolution(nn.Conv3d):
    """`Conv3d` that is fast for inference on a CPU; parameters, names and results are those of `Conv3d`.

    PyTorch sends convolutions of one narrow image, and 1x1x1 ones on a single thread, to an unvectorised fallback;
    called by name, its own vectorised one is faster (benchmarks/cpu_inference.py).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, Z, Y, X) to (B, out_channels, ...)."""
        fits = x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32
        if not fits or torch.is_grad_enabled() or not VECTORISED:
            return super().forward(x)
        padding = tuple(int(n) for n in self.padding)  # the class allows words too
        return torch.mkldnn_convolution(x, self.weight, self.bias, padding, self.stride, self.dilation, self.groups)


VECTORISED = torch.backends.mkldnn.is_available()


class ResidualBlock(nn.Module):
    """Convolution, BN, ReLU, dropout, convolution, BN, plus the input; then ReLU.

    The shortcut is a 1x1x1 convolution when the number of channels changes, else the identity. Dropout stands
    after the non-linearity, so that no normalisation undoes its scaling.

    Parameters
    ----------
    channels_in, channels_out : int
        Numbers of feature channels.
    first_kernel : tuple of int
        Kernel of the first convolution (z, y, x): (1, 3, 3) for anisotropic voxels, (3, 3, 3) for isotropic ones.
    dropout : float
        Probability that a channel is dropped.
    second_kernel : tuple of int
        Kernel of the second convolution.

    References
    ----------
    .. [1] Krishnan et al., Sci Rep 13:4102, 2023, Fig. 1. doi:10.1038/s41598-023-31207-5

    Examples
    --------
    >>> block = ResidualBlock(2, 4, first_kernel=(1, 3, 3), dropout=0.1).eval()
    >>> block(torch.zeros(1, 2, 4, 8, 8)).shape
    torch.Size([1, 4, 4, 8, 8])
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        first_kernel: Stride,
        dropout: float,
        second_kernel: Stride = (3, 3, 3),
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Convolution(channels_in, channels_out, first_kernel, padding=same_size(first_kernel)),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
            MaskedDropout3d(dropout),
            Convolution(channels_out, channels_out, second_kernel, padding=same_size(second_kernel)),
            nn.BatchNorm3d(channels_out),
        )
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else Convolution(channels_in, channels_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, channels_in, Z, Y, X) to (B, channels_out, Z, Y, X)."""
        # in place: a normalisation's gradient does not need its output, and large tensors cost time to allocate
        return torch.relu_(self.body(x).add_(self.shortcut(x)))


def projection(
    channels_in: int, channels_out: int, stride: Stride = (1, 1, 1), kernel: int | Stride = 1
) -> nn.Sequential:
    """Convolution and BN that bring a feature map to another width and, with a stride, to a lower resolution.

    Examples
    --------
    >>> projection(8, 4, stride=(1, 2, 2)).eval()(torch.zeros(1, 8, 4, 8, 8)).shape
    torch.Size([1, 4, 4, 4, 4])
    """
    size = (kernel, kernel, kernel) if isinstance(kernel, int) else kernel
    return nn.Sequential(
        Convolution(channels_in, channels_out, size, stride=stride, padding=same_size(size)),
        nn.BatchNorm3d(channels_out),
    )


def same_size(kernel: Stride) -> Stride:
    """Padding with which a convolution of odd `kernel` and stride 1 keeps the size.

    Examples
    --------
    >>> same_size((1, 3, 3))
    (0, 1, 1)
    """
    return kernel[0] // 2, kernel[1] // 2, kernel[2] // 2


def resize_like(x: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Interpolate (B, C, z, y, x) linearly to the spatial size of `reference`.

    Examples
    --------
    >>> resize_like(torch.zeros(1, 2, 2, 4, 4), torch.zeros(1, 7, 4, 8, 8)).shape
    torch.Size([1, 2, 4, 8, 8])
    """
    return interpolate(x, size=reference.shape[2:], mode="trilinear", align_corners=False)


def stride_between(strides: Sequence[Stride], fine: int, coarse: int) -> Stride:
    """Return the total stride from level `fine` to level `coarse` > `fine`.

    Examples
    --------
    >>> stride_between([(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)], 0, 3)
    (4, 8, 8)
    """
    total = [1, 1, 1]
    for level in range(fine + 1, coarse + 1):
        total = [t * s for t, s in zip(total, strides[level], strict=True)]
    return total[0], total[1], total[2]


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """Lay (B, C, Z, Y, X) out with channels last on a CPU, where 3-D convolutions then take half the time.

    A single channel counts as laid out either way, and what follows it would fall back to channels first; hence the
    explicit copy.

    Examples
    --------
    >>> channels_last(torch.zeros(1, 1, 4, 8, 8)).is_contiguous(memory_format=torch.channels_last_3d)
    True
    """
    if x.device.type != "cpu":
        return x
    return torch.empty_like(x, memory_format=torch.channels_last_3d).copy_(x)


def kept_last(x: torch.Tensor) -> torch.Tensor:
    """Lay channels last on a CPU, without a copy where they are.

    Some operations forget it, and all layers after them would run channels first: 1.6 times the time of a training step
    in bfloat16.

    Examples
    --------
    >>> kept_last(torch.zeros(2, 4, 4, 8, 8)).is_contiguous(memory_format=torch.channels_last_3d)
    True
    """
    return x.contiguous(memory_format=torch.channels_last_3d) if x.device.type == "cpu" else x


def with_background(foreground: torch.Tensor) -> torch.Tensor:
    """Prepend a constant zero as background logit: (B, T, ...) becomes (B, 1 + T, ...).

    Softmax over (0, z) equals the sigmoid of z, so one lesion type keeps one logit and nnU-Net's commands, which
    expect a background channel, work unchanged.

    Examples
    --------
    >>> with_background(torch.tensor([[[1.5], [-2.0]]]))
    tensor([[[ 0.0000],
             [ 1.5000],
             [-2.0000]]])
    """
    return torch.cat((torch.zeros_like(foreground[:, :1]), foreground), dim=1)


def initialise(network: nn.Module) -> None:
    """He initialisation for ReLU networks (He et al., ICCV 2015); biases start at zero.

    Examples
    --------
    >>> layer = nn.Conv3d(1, 1, 1)
    >>> initialise(layer)
    >>> float(layer.bias.detach())
    0.0
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Heads(nn.Module):
    """What every decoder shares: one 1x1x1 head per supervised level and nnU-Net's deep-supervision switch.

    nnU-Net toggles `network.decoder.deep_supervision`, and `-pretrained_weights` starts the keys that contain
    `.seg_layers.` anew; both names are therefore fixed.
    """

    def __init__(self, filters: Sequence[int], foreground_classes: int, deep_supervision: bool) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        self.seg_layers = nn.ModuleList(Convolution(width, foreground_classes, 1) for width in filters[:-1])

    def heads(self, decoded: Sequence[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        """Logits of the supervised levels, full resolution first; one tensor when deep supervision is off."""
        if not self.deep_supervision:
            return with_background(self.seg_layers[0](decoded[0]))
        return [with_background(head(x)) for head, x in zip(self.seg_layers, decoded, strict=True)]


class LesionNetwork(nn.Module):
    """What every network shares: on a CPU, the input in the shape that PyTorch's 3-D convolutions are fast on.

    Channels last in memory take about half the time of channels first; for a single image see `Convolution`.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Map images (B, C, Z, Y, X) to logits (B, 1 + foreground classes, Z, Y, X), background logit 0.

        With deep supervision a list of three, full resolution first.
        """
        return self.logits(channels_last(x))

    def input_blocks(self) -> dict[str, tuple[int, ...]]:
        """Names of the residual blocks that read the image, and the indices of the channels that each reads."""
        raise NotImplementedError(f"{type(self).__name__} does not say which blocks read the image")

    def logits(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Compute the logits of a batch, see `forward`."""
        raise NotImplementedError(f"{type(self).__name__} defines no logits")
