"""Attention maps. Oracles: w * x of a linear network, sums that theory fixes, a second plain LRP, receptive fields."""

import copy
import sys

import numpy as np
import pytest
import torch
from torch import nn

from nnunet_ms.classification.stratification.explain_methods import (
    METHODS,
    cam_layer,
    checked_methods,
    explain,
    methods_for,
    one_output,
    spread_cells,
)
from nnunet_ms.classification.stratification.networks import stratification_network
from nnunet_ms.errors import ModelError, OptionError, SettingsError

SHAPE = (20, 24, 20)
EPSILON = "nnunet_ms.classification.stratification.explain_methods.EPSILON"  # its 0.001 takes a share


def images(seed=0, shape=SHAPE, channels=2):
    """Made-up z-scores in a box, 0 around it."""
    found = np.zeros((channels, *shape), np.float32)
    inside = tuple(slice(n // 5, n - n // 5) for n in shape)
    rng = np.random.default_rng(seed)
    found[(slice(None), *inside)] = rng.normal(0, 1, found[(slice(None), *inside)].shape)
    return found


def made(name, seed=0, **options):
    torch.manual_seed(seed)
    shape = {"shape": SHAPE} if name == "compact" else {}
    return stratification_network(name, small=True, **shape, **options).eval()


def without_biases(network):
    for module in network.modules():
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    return network


@pytest.mark.parametrize("method", ["ig", "lrp"])
@pytest.mark.parametrize("convolved", [False, True])
def test_relevance_of_a_linear_network_is_weight_times_value(method, convolved, monkeypatch):
    # Oracle: the definition; of two linear layers the weight of a voxel is the gradient, which is the same everywhere
    monkeypatch.setattr(EPSILON, 1e-7)
    torch.manual_seed(1)
    first = [nn.Conv3d(2, 3, 3, bias=False)] if convolved else []
    network = nn.Sequential(*first, nn.Flatten(), nn.Linear(3 * 4**3 if convolved else 2 * 6**3, 1, bias=False))
    given = images(shape=(6, 6, 6))
    batch = torch.from_numpy(given)[None].requires_grad_()
    network(batch).sum().backward()
    expected = (batch.grad[0].numpy() * given).sum(0)
    found = explain(network, given, method, steps=3)
    assert found.relevance == pytest.approx(expected, abs=1e-5 * float(np.abs(expected).max()))
    assert found.expected_sum == pytest.approx(float(expected.sum()), abs=1e-5)


@pytest.mark.parametrize("name", ["compact", "densenet121", "resnet18"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_integrated_gradients_sum_to_the_logit_less_that_of_an_empty_image(name, outputs):
    network, given = made(name, outputs=outputs), images()
    with torch.no_grad():
        scan, empty = (float(network(torch.from_numpy(x)[None]).mean()) for x in (given, np.zeros_like(given)))
    found = explain(network, given, "ig", steps=64)
    assert found.logit == pytest.approx(scan, abs=1e-6)
    assert found.expected_sum == pytest.approx(scan - empty, abs=1e-6)
    assert found.sum == pytest.approx(scan - empty, rel=0.02)


def plain_lrp(layers, batch, epsilon):
    """The epsilon rule as Bach et al. write it, layer by layer: R_i = a_i sum_j w_ij R_j / (z_j + epsilon sign z_j)."""
    inputs = [batch]
    for layer in layers:
        inputs.append(layer(inputs[-1]).detach())
    relevance = inputs.pop()
    for layer, its in zip(reversed(layers), reversed(inputs), strict=True):
        if isinstance(layer, nn.ELU | nn.ReLU | nn.Dropout):
            continue
        its = its.clone().requires_grad_()
        z = layer(its)
        share = (relevance / (z + epsilon * torch.where(z < 0, -1.0, 1.0))).detach()
        relevance = (its * torch.autograd.grad(z, its, share)[0]).detach()
    return relevance


@pytest.mark.parametrize("biases", [False, True])
def test_lrp_is_the_epsilon_rule_and_sums_to_the_logit_where_there_are_no_biases(biases, monkeypatch):
    monkeypatch.setattr(EPSILON, 1e-6)
    network, given = made("compact", seed=2), images(3)
    network = network if biases else without_biases(network)
    found = explain(network, given, "lrp")
    expected = plain_lrp(list(network.layers), torch.from_numpy(given)[None], 1e-6)[0].sum(0).numpy()
    assert found.relevance == pytest.approx(expected, abs=1e-6 * float(np.abs(expected).max()) + 1e-7)
    assert found.expected_sum == found.logit
    if biases:  # they keep their share
        assert abs(found.sum - found.logit) > 0.01 * abs(found.logit)
    else:
        assert found.sum == pytest.approx(found.logit, rel=1e-3)


def test_lrp_of_several_outputs_sums_to_their_mean(monkeypatch):
    monkeypatch.setattr(EPSILON, 1e-6)
    network, given = without_biases(made("compact", seed=4, outputs=3)), images(5)
    with torch.no_grad():
        mean = float(network(torch.from_numpy(given)[None]).mean())
    assert explain(network, given, "lrp").sum == pytest.approx(mean, rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_explaining_changes_nothing_of_the_network(method):
    network, given = made("compact"), images()
    network.train()
    before = copy.deepcopy(network.state_dict())
    first, again = (explain(network, given, method, steps=4).relevance for _ in range(2))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(not hasattr(module, "rule") and not module._forward_hooks for module in network.modules())
    assert np.array_equal(first, again)


def measured_middle(network, placed, shape, cell):
    """Middle of what a cell of a layer sees along x: of the gradient, all weights made equal and maxima means."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.constant_(module.weight, 1.0 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, nn.MaxPool3d):
            module.forward = lambda x, m=module: nn.functional.avg_pool3d(x, m.kernel_size, m.stride, m.padding)
    held = []
    network.get_submodule(placed.name).register_forward_hook(lambda *call: held.append(call[2]))
    batch = torch.ones(1, *shape, requires_grad=True)
    network(batch)
    held[0][(0, slice(None), *cell)].sum().backward()
    weight = batch.grad[0].sum((0, 2, 3)).numpy()
    assert weight[0] == weight[-1] == 0  # the border of the image is not in sight
    return float((weight * np.arange(shape[1])).sum() / weight.sum())


@pytest.mark.parametrize("name", ["compact", "densenet121", "resnet18"])
def test_cells_lie_where_their_receptive_fields_are(name):
    # Oracle: gradients. Long images, so that a cell in the middle sees no end.
    shape = (2, 144, 64, 64)
    torch.manual_seed(0)
    network = stratification_network(name, small=True, **({"shape": shape[1:]} if name == "compact" else {}))
    placed = cam_layer(network, shape)
    assert min(placed.cells) >= 4
    cell = tuple(n // 2 for n in placed.cells)
    expected = placed.start[0] + placed.step[0] * cell[0]
    assert measured_middle(network, placed, shape, cell) == pytest.approx(expected, abs=0.01)


def test_spread_cells_are_linear_between_and_level_outside():
    # Oracle: numpy's interp, axis by axis
    placed = cam_layer(made("compact"), (2, *SHAPE))
    values = np.arange(placed.cells[0], dtype=np.float32)[:, None, None] * np.ones(placed.cells, np.float32)
    found = spread_cells(values, placed, SHAPE)
    middles = placed.start[0] + placed.step[0] * np.arange(placed.cells[0])
    assert found[:, 3, 3] == pytest.approx(
        np.interp(np.arange(SHAPE[0]), middles, np.arange(placed.cells[0])), abs=1e-5
    )


@pytest.mark.parametrize("name", ["compact", "densenet121", "resnet18"])
def test_grad_cam_is_positive_inside_of_what_was_seen_and_promises_no_sum(name):
    shape = (40, 48, 40)
    given = images(shape=shape)
    torch.manual_seed(1)
    network = stratification_network(name, small=True)
    found = explain(network, given, "gradcam")
    assert found.relevance.shape == shape
    assert found.relevance.min() >= 0
    assert not found.relevance[(given == 0).all(0)].any()
    assert np.isnan(found.expected_sum)


def test_grad_cam_finds_the_corner_that_the_logit_comes_from():
    # Oracle: a network made by hand, whose logit is the mean of one corner of the map
    network = nn.Sequential(nn.Conv3d(1, 1, 1, bias=False), nn.AvgPool3d(5), nn.Flatten(), nn.Linear(64, 1, bias=False))
    nn.init.constant_(network[0].weight, 1.0)
    nn.init.constant_(network[3].weight, 1.0)
    given = np.full((1, 20, 20, 20), 0.1, np.float32)
    given[0, :5, 15:, :5] = 5
    relevance = explain(network, given, "gradcam").relevance
    assert np.unravel_index(relevance.argmax(), relevance.shape)[1] >= 15
    assert relevance[2, 17, 2] == pytest.approx(relevance.max())
    assert relevance[17, 2, 17] < 0.05 * relevance.max()


@pytest.mark.parametrize(
    ("methods", "name", "error", "told"),
    [
        (["saliency"], "compact", OptionError, "methods: expected one of 'gradcam', 'ig', 'lrp', found 'saliency'"),
        (["LRP"], "compact", OptionError, "Did you mean 'lrp'"),
        (["ig", "ig"], "compact", OptionError, "Name each once"),
        ([], "compact", OptionError, "at least one, found \\[\\]"),
        (["lrp"], "densenet121", ModelError, "gradcam or ig of densenet121, found lrp.*--network compact"),
        (["gradcam", "lrp"], "resnet18", ModelError, "gradcam or ig of resnet18, found lrp.*--network compact"),
    ],
)
def test_methods_that_cannot_be_are_refused(methods, name, error, told):
    with pytest.raises(error, match=told):
        checked_methods(methods, made(name), name)


def test_methods_left_out_are_all_that_fit():
    assert [checked_methods(None, made(n), n) for n in ("compact", "resnet18")] == [METHODS, ("gradcam", "ig")]
    assert checked_methods(["lrp", "gradcam"], made("compact"), "compact") == ("gradcam", "lrp")
    assert methods_for(made("densenet121")) == ("gradcam", "ig")


def test_images_too_small_for_grad_cam_are_refused():
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(), nn.Linear(54, 1))
    with pytest.raises(ModelError, match="4 cells or more along each axis, found none for images of 5 x 5 x 5 voxels"):
        explain(network, np.ones((1, 5, 5, 5), np.float32), "gradcam")


def test_without_captum_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(SettingsError, match=r"nnunet-ms\[classification\]"):
        explain(made("compact"), images(), "ig")


def test_the_mean_of_outputs_is_made_without_touching_the_network():
    network = made("compact", outputs=4)
    batch = torch.from_numpy(images())[None]
    assert torch.allclose(one_output(network)(batch), network(batch).mean(1, keepdim=True), atol=1e-6)
    assert network(batch).shape == (1, 4)
