"""Which voxels a network's logit came from: Grad-CAM, integrated gradients, and relevance propagated layer by layer.

All three are captum's. Ours is where Grad-CAM's coarse cells are put, and the rules of the propagation for 3-D layers.
"""

import copy
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.errors import ModelError, SettingsError
from nnunet_ms.options import different_words

Method = Literal["gradcam", "ig", "lrp"]
METHODS: tuple[Method, ...] = get_args(Method)
METHOD_NAMES = {"gradcam": "Grad-CAM", "ig": "Integrated gradients", "lrp": "LRP (epsilon rule)"}
LEAST_CELLS = 4  # of Grad-CAM's layer along each axis: the last layers of deep networks have two or three
STEPS = 32
EPSILON = 1e-3  # Eitel's
_AT_ONCE = 4  # points of the path of integrated gradients in one batch
_PASSED_BY = (nn.ELU, nn.ReLU, nn.Dropout, nn.Identity)  # element by element: relevance goes through as it is
_SPREAD = (nn.Conv3d, nn.Linear, nn.MaxPool3d, nn.AvgPool3d, nn.Flatten)


@dataclass(frozen=True)
class Explanation:
    """What a method says of one scan.

    Attributes
    ----------
    relevance : (X, Y, Z) float32 array
        On the grid of the network's input, of T1 and FLAIR together; positive where a voxel speaks for the class.
    logit : float
        Of the scan.
    expected_sum : float
        What the relevances sum to by theory: for integrated gradients the logit less that of an empty image, for LRP
        the logit, if the network has no biases (they keep their share). NaN for Grad-CAM, which promises none.
    """

    relevance: SingleFloats
    logit: float
    expected_sum: float

    @property
    def sum(self) -> float:
        """Of all relevances."""
        return float(self.relevance.sum(dtype=np.float64))


@dataclass(frozen=True)
class Placed:
    """A layer whose cells lie on the voxels of the input: cell `c` of an axis has its middle at `start + c * step`."""

    name: str
    cells: tuple[int, ...]
    start: tuple[float, ...]
    step: tuple[float, ...]


def methods_for(network: nn.Module) -> tuple[Method, ...]:
    """Methods that can explain a network: LRP only where all layers stand in one row.

    Examples
    --------
    >>> methods_for(nn.Sequential(nn.Conv3d(2, 4, 3), nn.ELU(), nn.Flatten(), nn.Linear(4, 1)))
    ('gradcam', 'ig', 'lrp')
    >>> methods_for(nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4)))
    ('gradcam', 'ig')
    """
    return METHODS if _without_rule(network) is None else ("gradcam", "ig")


def checked_methods(methods: Sequence[str] | None, network: nn.Module, name: str) -> tuple[Method, ...]:
    """Methods that were asked for, or all that fit the network.

    Raises
    ------
    OptionError
        If there is no such method, one is named twice, or none.
    ModelError
        If LRP is asked for of a network that it has no rules for.

    Examples
    --------
    >>> checked_methods(["lrp"], nn.Sequential(nn.BatchNorm3d(4)), "densenet121")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: methods: expected gradcam or ig of densenet121, found lrp, which has no rule for ...
    """
    if methods is None:
        return methods_for(network)
    found = cast("list[Method]", different_words(methods, METHODS, "methods"))
    kind = _without_rule(network)
    if "lrp" in found and kind is not None:
        raise ModelError(
            f"methods: expected gradcam or ig of {name}, found lrp, which has no rule for its {kind}. Leave lrp out, "
            "or train the network compact (--network compact)."
        )
    return tuple(method for method in METHODS if method in found)


def explain(
    network: nn.Module, images: SingleFloats, method: Method, *, steps: int = STEPS, device: str = "cpu"
) -> Explanation:
    """Explain the logit of one scan.

    Parameters
    ----------
    network : torch.nn.Module
        (1, C, X, Y, Z) to (1, outputs) logits, its last layer dense; it is not changed. Of several outputs (hazards of
        intervals) the mean is explained.
    images : (C, X, Y, Z) float32 array
        The network's input, z-scored, 0 outside of what it sees.
    method : {"gradcam", "ig", "lrp"}
        Grad-CAM [1]_ in `cam_layer`; integrated gradients [2]_ from an image of zeros, along `steps` points by Gauss
        and Legendre; LRP by the epsilon rule [3]_ with epsilon 0.001.
    steps : int, optional
        Of integrated gradients.
    device : str, optional
        Of torch.

    Raises
    ------
    SettingsError
        If captum is not installed.
    ModelError
        If the images are too small for Grad-CAM, or the method does not fit the network.

    References
    ----------
    .. [1] Selvaraju RR et al. ICCV 2017. doi:10.1109/ICCV.2017.74
    .. [2] Sundararajan M et al. ICML 2017. arXiv:1703.01365
    .. [3] Bach S et al. PLoS ONE 10:e0130140, 2015. doi:10.1371/journal.pone.0130140; Eitel F et al. NeuroImage Clin
       24:102003, 2019. doi:10.1016/j.nicl.2019.102003

    Examples
    --------
    A linear network: each voxel's share is its weight times its value.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(8, 1, bias=False))
    >>> _ = nn.init.constant_(network[1].weight, 0.5)
    >>> found = explain(network, np.full((1, 2, 2, 2), 3, np.float32), "ig")
    >>> found.relevance.shape, round(float(found.relevance[0, 0, 0]), 3), found.logit
    ((2, 2, 2), 1.5, 12.0)
    """
    single = one_output(network).to(device).eval()
    batch = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[None].to(device)
    with torch.no_grad():
        logit = float(single(batch))
        empty = float(single(torch.zeros_like(batch))) if method == "ig" else 0.0
    if method == "gradcam":
        return Explanation(_grad_cam(single, batch), logit, float("nan"))
    found = _integrated(single, batch, steps) if method == "ig" else _propagated(single, batch)
    relevance = found.detach().cpu().numpy()[0].sum(axis=0, dtype=np.float64).astype(np.float32)
    return Explanation(relevance, logit, logit - empty)


def one_output(network: nn.Module) -> nn.Module:
    """Copy a network; of several outputs the copy gives the mean: the last dense layer is averaged.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    >>> batch = torch.ones(1, 1, 2, 2, 2)
    >>> bool(torch.isclose(one_output(network)(batch)[0, 0], network(batch).mean()))
    True
    """
    network = copy.deepcopy(network)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    if last.out_features > 1:
        last.weight = nn.Parameter(last.weight.detach().mean(0, keepdim=True))
        if last.bias is not None:
            last.bias = nn.Parameter(last.bias.detach().mean(0, keepdim=True))
        last.out_features = 1
    return network


def cam_layer(network: nn.Module, shape: Sequence[int]) -> Placed:
    """Layer that Grad-CAM looks at: the last with four cells or more along each axis, and where the cells lie.

    The last layer of a deep network has two or three cells per axis, which tell no region. A convolution without
    padding sees less and less of the border, and one with steps shifts its cells: spread evenly over the image, as
    is usual, cells of the compact network would be up to 17 voxels off.

    Parameters
    ----------
    network : torch.nn.Module
        With layers in one row or with short cuts past some.
    shape : sequence of ints
        Of the images, (C, X, Y, Z).

    Raises
    ------
    ModelError
        If no layer has as many cells.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.MaxPool3d(3), nn.Flatten(), nn.Linear(128, 1))
    >>> cam_layer(network, (1, 14, 14, 14))
    Placed(name='1', cells=(4, 4, 4), start=(2.0, 2.0, 2.0), step=(3.0, 3.0, 3.0))
    """
    calls = _calls(network, shape)
    once = [one for one in calls if len(one[2]) == 5 and sum(other[0] == one[0] for other in calls) == 1]
    able = [place for place, (_, _, size) in enumerate(once) if min(size[2:]) >= LEAST_CELLS]
    if not able:
        raise ModelError(
            f"gradcam: expected a layer of {LEAST_CELLS} cells or more along each axis, found none for images of "
            f"{' x '.join(map(str, shape[1:]))} voxels. Leave gradcam out, or prepare the scans with smaller voxels."
        )
    name, module, size = once[able[-1]]
    before = calls[: calls.index((name, module, size)) + 1]
    start, step, cells = np.zeros(3), np.ones(3), np.array(shape[1:])
    for its_name, one, _ in before:
        if hasattr(one, "kernel_size") and "downsample" not in its_name:  # a short cut's, beside the row
            start, step, cells = _through(one, start, step, cells)
    if tuple(cells) != tuple(size[2:]):  # layers that are neither in the row nor a short cut
        raise ModelError(f"gradcam: expected {name} with {tuple(cells)} cells, found {tuple(size[2:])}. Leave it out.")
    return Placed(name, tuple(map(int, cells)), tuple(map(float, start)), tuple(map(float, step)))


def _calls(network: nn.Module, shape: Sequence[int]) -> list[tuple[str, nn.Module, tuple[int, ...]]]:
    """Each module as it ends its work on an image: name, module, shape of its output."""
    calls: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def note(name: str) -> Callable[..., None]:
        return lambda module, _, output: calls.append((name, module, tuple(output.shape)))

    handles = [module.register_forward_hook(note(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad(), _still(network):
            network(torch.zeros(1, *shape, device=next(network.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return calls


@contextmanager
def _still(network: nn.Module) -> Iterator[None]:
    was = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was)


def _through(module: nn.Module, start: Any, step: Any, cells: Any) -> tuple[Any, Any, Any]:
    """Middle of the first cell, distance of cells and their number after a convolution or pooling."""
    kernel, stride, padding, dilation = (
        np.broadcast_to(np.asarray(getattr(module, what, default)), 3)
        for what, default in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1))
    )
    reach = dilation * (kernel - 1)
    return start + (reach / 2 - padding) * step, step * stride, (cells + 2 * padding - reach - 1) // stride + 1


def _grad_cam(network: nn.Module, batch: torch.Tensor) -> SingleFloats:
    """Grad-CAM on the voxels of the input, positive parts only; nothing where the network saw nothing."""
    placed = cam_layer(network, batch.shape[1:])
    layer = network.get_submodule(placed.name)
    found = captum().LayerGradCam(network, layer).attribute(batch, target=0, relu_attributions=True)
    spread = spread_cells(found.detach().cpu().numpy()[0, 0], placed, tuple(batch.shape[2:]))
    seen: Bools = (batch[0] != 0).any(dim=0).cpu().numpy()
    return np.where(seen, spread, np.float32(0))


def spread_cells(values: SingleFloats, placed: Placed, shape: Sequence[int]) -> SingleFloats:
    """Cells' values on the voxels of the input: linear between the cells' middles, the nearest cell's outside of them.

    Examples
    --------
    >>> placed = Placed("layer", (2, 1, 1), (1.0, 0.0, 0.0), (2.0, 1.0, 1.0))
    >>> spread_cells(np.array([[[0.0]], [[1.0]]], np.float32), placed, (5, 1, 1)).ravel().tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    places = [
        np.clip((np.arange(n) - start) / step, 0, cells - 1)
        for n, start, step, cells in zip(shape, placed.start, placed.step, placed.cells, strict=True)
    ]
    found = ndimage.map_coordinates(values, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")
    return np.asarray(found, dtype=np.float32)


def _integrated(network: nn.Module, batch: torch.Tensor, steps: int) -> torch.Tensor:
    method = captum().IntegratedGradients(network)
    found: torch.Tensor = method.attribute(_leaf(batch), target=0, n_steps=steps, internal_batch_size=_AT_ONCE)
    return found


def _propagated(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """Layer-wise relevance: captum has no rule for 3-D convolutions and ELU until they are told one."""
    kind = _without_rule(network)
    if kind is not None:
        raise ModelError(f"lrp: expected a network of layers in one row, found {kind}. Use gradcam or ig.")
    rules = importlib.import_module("captum.attr._utils.lrp_rules")
    for module in _leaves(network):
        if isinstance(module, _SPREAD):
            module.rule = rules.EpsilonRule(EPSILON)
        elif not isinstance(module, nn.ReLU | nn.Dropout):  # captum's own way with them is the same
            module.rule = rules.IdentityRule()
    found: torch.Tensor = captum().LRP(network).attribute(_leaf(batch), target=0)
    return found


def _leaf(batch: torch.Tensor) -> torch.Tensor:
    """The images, with gradients asked for: captum warns where it has to ask itself."""
    return batch.detach().clone().requires_grad_()


def _leaves(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if not list(module.children())]


def _without_rule(network: nn.Module) -> str | None:
    """The first kind of layer that LRP has no rule for, or None."""
    known = (*_PASSED_BY, *_SPREAD)
    return next((type(module).__name__ for module in _leaves(network) if not isinstance(module, known)), None)


def captum() -> Any:
    """Return captum's methods; imported when they are asked for.

    Raises
    ------
    SettingsError
        If it is not installed.

    Examples
    --------
    >>> captum().LayerGradCam.__name__
    'LayerGradCam'
    """
    try:
        return importlib.import_module("captum.attr")
    except ImportError as error:
        raise SettingsError(
            "captum: expected it for attention maps, found none. pip install 'nnunet-ms[classification]'."
        ) from error
