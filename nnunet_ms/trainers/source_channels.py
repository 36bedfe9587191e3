"""Which layers of a network read the image, and how their weights are made to fit other channels and kernels."""

from collections.abc import Sequence

import torch
from torch import nn

from nnunet_ms.trainers.channels import sequence_of
from nnunet_ms.trainers.networks.blocks import LesionNetwork, ResidualBlock


def input_layers(network: nn.Module, channel_names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Convolutions that read the image, by the name of their weight, and the sequences that each sees, in its order.

    Parameters
    ----------
    network : nn.Module
        One of ours, or one of nnU-Net's, which say where they read the image. Of others the first convolution is taken.
    channel_names : sequence of str
        Names of the image channels, in their order; empty where they are not known.

    Examples
    --------
    >>> from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet
    >>> network = MultiArmUNet([Arm((1, 0)), Arm((1,))], filters=(2, 4, 8))
    >>> input_layers(network, ["T1w", "FLAIR"])["encoders.0.first.body.0.weight"]
    ('flair', 't1')
    """
    names = [sequence_of(name) for name in channel_names]
    if isinstance(network, LesionNetwork):
        found = {}
        for block, channels in network.input_blocks().items():
            seen = tuple(names[channel] for channel in channels if channel < len(names))
            layers = network.get_submodule(block)
            found[f"{block}.body.0.weight"] = seen
            if isinstance(layers, ResidualBlock) and isinstance(layers.shortcut, nn.Conv3d):
                found[f"{block}.shortcut.weight"] = seen
        return found
    # nnU-Net's networks name their input layer, once for each of its names
    declared = getattr(network, "keys_to_in_proj", None)
    if declared is None:
        first = next((name for name, part in network.named_modules() if isinstance(part, _CONVOLUTIONS)), None)
        declared = () if first is None else (first,)
    return {f"{key}.weight": tuple(names) for key in declared}


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def fit_channels(weight: torch.Tensor, source: Sequence[str], target: Sequence[str]) -> tuple[torch.Tensor, str]:
    """Weights of a layer that read the channels `source`, for one that reads `target`.

    Parameters
    ----------
    weight : (out, len(source), ...) tensor
        Of the source.
    source, target : sequences of str
        Names of the sequences that each layer reads, in its order.

    Returns
    -------
    tuple of tensor, str
        (out, len(target), ...), and in words what was done; blank where nothing had to be. One channel is given to all
        n with 1 / n of its weights, so that n copies of an image give what one gave. Otherwise each channel takes the
        weights of its own sequence, and one that the source has not seen the mean of the source's.

    Examples
    --------
    >>> weight = torch.tensor([[2.0, 4.0]])
    >>> fit_channels(weight, ["t1", "flair"], ["flair", "t2", "t1"])
    (tensor([[4., 3., 2.]]), 't1, flair -> flair, t2, t1 (by name; t2: mean of the source)')
    >>> fit_channels(weight[:, :1], ["flair"], ["flair", "t1"])[0]
    tensor([[1., 1.]])
    """
    if tuple(source) == tuple(target):
        return weight, ""
    change = f"{', '.join(source)} -> {', '.join(target)}"
    if len(source) == len(target) == 1:
        return weight, f"{change} (the only one, as it is)"
    if len(source) == 1:
        n = len(target)
        return weight.repeat_interleave(n, dim=1) / n, f"{change} (repeated, divided by {n})"
    mean = weight.mean(dim=1)
    columns = [weight[:, source.index(name)] if source.count(name) == 1 else mean for name in target]
    unseen = [name for name in target if source.count(name) != 1]
    told = f"by name; {', '.join(unseen)}: mean of the source" if unseen else "by name"
    return torch.stack(columns, dim=1), f"{change} ({told})"


def fit_kernel(weight: torch.Tensor, shape: Sequence[int]) -> tuple[torch.Tensor, str] | None:
    """Weights of a convolution for another kernel, with what was done in words; None where there is no way.

    Along an axis where the kernel becomes 1 wide, the weights are averaged; where it was 1 wide they stand in the
    middle, so that the layer computes what it did.

    Parameters
    ----------
    weight : (out, in, z, y, x) tensor
        Of the source.
    shape : sequence of int
        Of the weights that are wanted; out and in must be those of `weight`.

    Examples
    --------
    >>> kernel = torch.arange(3.0).reshape(1, 1, 3, 1, 1)
    >>> fit_kernel(kernel, (1, 1, 1, 1, 1))
    (tensor([[[[[1.]]]]]), 'kernel 3x1x1 -> 1x1x1 (averaged)')
    >>> fit_kernel(kernel, (1, 1, 3, 3, 1))[0][0, 0, 2, :, 0]
    tensor([0., 2., 0.])
    """
    if weight.ndim != len(shape) or weight.ndim < 3 or tuple(weight.shape[:2]) != tuple(shape[:2]):
        return None
    fitted, told = weight, []
    for axis in range(2, weight.ndim):
        had, wanted = weight.shape[axis], shape[axis]
        if had == wanted:
            continue
        if wanted == 1:
            fitted = fitted.mean(dim=axis, keepdim=True)
            told.append("averaged")
        elif had == 1 and wanted % 2 == 1:
            wide = fitted.new_zeros([*fitted.shape[:axis], wanted, *fitted.shape[axis + 1 :]])
            wide.select(axis, wanted // 2).copy_(fitted.select(axis, 0))
            fitted = wide
            told.append("in the middle")
        else:
            return None
    if not told:
        return weight, ""
    change = " -> ".join("x".join(map(str, sizes[2:])) for sizes in (tuple(weight.shape), tuple(shape)))
    return fitted, f"kernel {change} ({', '.join(dict.fromkeys(told))})"
