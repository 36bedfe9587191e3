"""Channel dropout whose masks can be given: a network with fixed masks is one function, the same on every tile.

Monte Carlo dropout reads a network with random masks as a sample of functions (Gal and Ghahramani 2016). What is said
about a lesion or a volume needs samples that are functions: masks drawn anew on every tile would give a patchwork.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import nn

from nnunet_ms.options import chosen

Site = Literal["head", "last", "decoder2", "decoder", "bottleneck", "all"]
SITES: tuple[Site, ...] = get_args(Site)
HEAD = "head"  # the name under which masks of the input of the finest head are kept

Masks = Mapping[str, torch.Tensor]


class MaskedDropout3d(nn.Dropout3d):
    """`Dropout3d` without masks; with `masks` set, sample k of the batch is multiplied by masks[k].

    Attributes
    ----------
    masks : (K, C) float tensor or None
        Factor of each channel in each sample: 0, or 1 / (1 - p). An input of one image (1, C, Z, Y, X) becomes K
        images; an input of K images keeps its number.

    References
    ----------
    .. [1] Gal Y, Ghahramani Z. Dropout as a Bayesian approximation. ICML 2016. arXiv:1506.02142

    Examples
    --------
    >>> layer = MaskedDropout3d(0.5).eval()
    >>> x = torch.ones(1, 2, 1, 1, 1)
    >>> layer(x).flatten()
    tensor([1., 1.])
    >>> layer.masks = torch.tensor([[0.0, 2.0], [2.0, 2.0]])
    >>> layer(x).flatten(1)
    tensor([[0., 2.],
            [2., 2.]])
    """

    masks: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop channels of (B, C, Z, Y, X); without masks only in training."""
        if self.masks is None:
            return super().forward(x)
        return x * self.masks.to(x.dtype)[:, :, None, None, None]


def dropout_layers(network: nn.Module, site: str) -> dict[str, MaskedDropout3d]:
    """Find the dropout layers of a site, by module name, in the order of the network.

    Parameters
    ----------
    network : nn.Module
        A network with `MaskedDropout3d` layers. A decoder's blocks are found by their names: `decoder.blocks.0` is the
        finest, for a network with several branches each branch's `...decoder.blocks.0`.
    site : str
        `last`: the finest decoder block; `decoder2`: the two finest; `decoder`: all decoder blocks; `bottleneck`: the
        blocks of the deepest encoder level; `all`: every layer; `head`: none, see `draw_masks`.

    Returns
    -------
    dict
        Empty when the network has no such layer.

    Raises
    ------
    OptionError
        If there is no such site.

    Examples
    --------
    >>> from nnunet_ms.trainers.networks.plain_unet import PlainUNet
    >>> list(dropout_layers(PlainUNet(1, filters=(2, 4, 8)), "decoder"))
    ['decoder.blocks.0.body.3', 'decoder.blocks.1.body.3']
    """
    chosen(site, SITES, "site")
    every = {name: m for name, m in network.named_modules() if isinstance(m, MaskedDropout3d)}
    levels = {"last": 1, "decoder2": 2, "decoder": len(every)}.get(site)
    if site == "all":
        return every
    if levels is not None:
        return {name: m for name, m in every.items() if _decoder_level(name) < levels}
    if site == "bottleneck":
        return _deepest({name: m for name, m in every.items() if not _in_decoder(name)})
    return {}


def channels_of(network: nn.Module, site: str) -> dict[str, int]:
    """Number of channels that each dropout layer of a site sees; `HEAD` for the input of the finest head.

    Returns
    -------
    dict
        Empty when the network has no such layer or no `decoder.seg_layers`.

    Examples
    --------
    >>> from nnunet_ms.trainers.networks.plain_unet import PlainUNet
    >>> channels_of(PlainUNet(1, filters=(2, 4, 8)), "decoder")
    {'decoder.blocks.0.body.3': 2, 'decoder.blocks.1.body.3': 4}
    """
    if site == HEAD:
        head = finest_head(network)
        return {} if head is None else {HEAD: head.in_channels}
    return {name: _next_width(network, name) for name in dropout_layers(network, site)}


def finest_head(network: nn.Module) -> nn.Conv3d | None:
    """Last layer of a network, a 1x1x1 convolution that gives the full-resolution logits; None if there is none.

    Ours is the first of `decoder.seg_layers`, that of nnU-Net's own networks the last.

    Examples
    --------
    >>> from nnunet_ms.trainers.networks.plain_unet import PlainUNet
    >>> finest_head(PlainUNet(1, filters=(2, 4, 8)))
    Convolution(2, 1, kernel_size=(1, 1, 1), stride=(1, 1, 1))
    """
    heads = getattr(getattr(network, "decoder", None), "seg_layers", None)
    if not isinstance(heads, nn.ModuleList) or len(heads) == 0:
        return None
    head = heads[0] if any(isinstance(m, MaskedDropout3d) for m in network.modules()) else heads[-1]
    return head if isinstance(head, nn.Conv3d) else None


def whole_weight(head: nn.Conv3d) -> torch.Tensor:
    """Weights of a 1x1x1 head as if it had no groups: (T, C, 1, 1, 1), 0 where a logit does not see a channel.

    Examples
    --------
    >>> whole_weight(nn.Conv3d(4, 2, 1, groups=2)).shape
    torch.Size([2, 4, 1, 1, 1])
    """
    if head.groups == 1:
        return head.weight
    return torch.block_diag(*head.weight[..., 0, 0, 0].chunk(head.groups))[..., None, None, None]


def draw_masks(channels: Mapping[str, int], samples: int, probability: float, seed: int) -> dict[str, torch.Tensor]:
    """Draw the channel masks of a number of samples.

    Parameters
    ----------
    channels : mapping
        Layer name -> number of channels, see `channels_of`.
    samples : int
        Number of samples K; the first masks of a larger K are those of a smaller one.
    probability : float
        That a channel is dropped, in [0, 1).
    seed : int
        The same seed gives the same masks, whatever the case, the tile and the device.

    Returns
    -------
    dict
        Layer name -> (K, C) float32 tensor of 0 and 1 / (1 - probability).

    Examples
    --------
    >>> masks = draw_masks({"head": 4}, samples=2, probability=0.5, seed=0)
    >>> masks["head"]
    tensor([[2., 0., 2., 2.],
            [0., 2., 2., 0.]])
    >>> bool((draw_masks({"head": 4}, 1, 0.5, seed=0)["head"] == masks["head"][:1]).all())
    True
    """
    keep = 1.0 - probability
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in channels}
    for sample in range(samples):
        generator = torch.Generator().manual_seed((seed * 1_000_003 + sample) % 2**63)
        for name, width in channels.items():
            rows[name].append((torch.rand(width, generator=generator) < keep).float() / keep)
    return {name: torch.stack(row) if row else torch.zeros(0, channels[name]) for name, row in rows.items()}


def select(masks: Masks, samples: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
    """Masks of some of the samples, on a device.

    Examples
    --------
    >>> select({"head": torch.tensor([[0.0, 2.0], [2.0, 0.0]])}, [1], torch.device("cpu"))
    {'head': tensor([[2., 0.]])}
    """
    return {name: mask[list(samples)].to(device) for name, mask in masks.items()}


@contextmanager
def fixed_masks(network: nn.Module, masks: Masks) -> Iterator[None]:
    """Run the network with given masks inside this block; a naive pass per sample uses masks of one row.

    Examples
    --------
    >>> from nnunet_ms.trainers.networks.plain_unet import PlainUNet
    >>> network = PlainUNet(1, filters=(2, 4, 8), deep_supervision=False).eval()
    >>> masks = draw_masks(channels_of(network, "head"), 1, 0.5, seed=1)
    >>> x = torch.ones(1, 1, 4, 8, 8)
    >>> with torch.no_grad(), fixed_masks(network, masks):
    ...     first, second = network(x), network(x)
    >>> torch.equal(first, second), torch.equal(first, network(x))
    (True, False)
    """
    layers = {name: network.get_submodule(name) for name in masks if name != HEAD}
    head = finest_head(network) if HEAD in masks else None
    hook = head.register_forward_pre_hook(lambda _, x: (x[0] * masks[HEAD][:, :, None, None, None],)) if head else None
    try:
        for name, layer in layers.items():
            layer.masks = masks[name]
        yield
    finally:
        for layer in layers.values():
            layer.masks = None  # type: ignore[assignment]
        if hook is not None:
            hook.remove()


def _in_decoder(name: str) -> bool:
    return any("decoder" in part for part in name.split("."))


def _decoder_level(name: str) -> float:
    """Level of a decoder block's layer, 0 the finest; infinity outside decoders."""
    parts = name.split(".")
    return next((float(part) for part in parts if part.isdigit()), 0.0) if _in_decoder(name) else float("inf")


def _deepest(layers: dict[str, MaskedDropout3d]) -> dict[str, MaskedDropout3d]:
    """The last layer of each encoder; an encoder is what the name says before its list of blocks."""
    last: dict[str, str] = {}
    for name in layers:
        parts = name.split(".")
        branch = ".".join(parts[: parts.index("blocks")]) if "blocks" in parts else None
        if branch is not None:
            last[branch] = name
    return {name: layers[name] for name in last.values()}


def _next_width(network: nn.Module, name: str) -> int:
    """Channels that a dropout layer sees: the input of the convolution that follows it in its block."""
    parent, _, index = name.rpartition(".")
    block = list(network.get_submodule(parent).children())
    following = next(m for m in block[int(index) + 1 :] if isinstance(m, nn.Conv3d))
    return following.in_channels
