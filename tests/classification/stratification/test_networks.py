"""Oracle of sizes: the spec's counts, and counting by hand from the description of the layers."""

import sys

import pytest
import torch
from torch import nn

from nnunet_ms.classification.stratification.networks import (
    CompactNet,
    SmallCompactNet,
    monai,
    stratification_network,
)
from nnunet_ms.errors import OptionError, SettingsError

NAMES = ("densenet121", "resnet18", "compact")


def parameters(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("name", "small", "count"),
    [
        ("densenet121", False, 11_265_601),  # 11.27 M in the spec
        ("resnet18", False, 33_008_641),  # 33.0 M in the spec
        # 27 weights per filter and channel: four convolutions and the dense layer, with their biases
        ("compact", False, (27 * 2 * 64 + 64) + 3 * (27 * 64 * 64 + 64) + (64 + 1)),
        ("densenet121", True, 51_363),  # regression tests: the small ones are ours
        ("resnet18", True, 222_177),
        ("compact", True, (27 * 2 * 8 + 8) + (27 * 8 * 16 + 16) + (27 * 16 * 16 + 16) + (16 * 3 * 4 * 3 + 1)),
    ],
)
def test_number_of_parameters(name, small, count):
    assert parameters(stratification_network(name, small)) == count


def test_compact_network_at_its_ancestors_size():
    # Eitel 2019: (96, 114, 96) ends in 64 maps of (1, 2, 1)
    assert CompactNet(shape=(96, 114, 96)).layers[-1].in_features == 128


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(20, 24, 20), (40, 48, 40)])
def test_small_networks_take_small_images_and_give_the_outputs_asked_for(name, shape):
    network = stratification_network(name, small=True, outputs=5, channels=3, shape=shape)
    assert network(torch.zeros(2, 3, *shape)).shape == (2, 5)


@pytest.mark.parametrize("name", NAMES)
def test_first_weights_come_from_the_seed(name):
    kept = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        kept.append(torch.cat([w.flatten() for w in stratification_network(name, small=True).parameters()]))
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])


@pytest.mark.parametrize("network", [CompactNet(shape=(60, 60, 60)), SmallCompactNet()], ids=["full", "small"])
def test_compact_network_is_one_row_of_modules(network):
    # what relevance propagation needs: every step is a module, and none is passed by
    x = torch.randn(1, 2, *network.shape)
    network.eval()
    with torch.inference_mode():
        out = network(x)
        for module in network.layers:
            assert isinstance(module, nn.Conv3d | nn.ELU | nn.MaxPool3d | nn.Dropout | nn.Flatten | nn.Linear)
            x = module(x)
    assert torch.equal(x, out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "densenet"}, "network: expected one of .*Did you mean 'densenet121'"),
        ({"name": "ResNet18"}, "Did you mean 'resnet18'"),
        ({"outputs": 0}, "outputs: expected a whole number >= 1, found 0"),
        ({"outputs": 1.0}, "outputs: expected a whole number >= 1, found 1.0"),
        ({"channels": True}, "channels: expected a whole number >= 1, found True"),
        ({"small": "no"}, "small: expected"),
        (
            {"name": "compact", "shape": (20, 24, 20)},
            "large enough for CompactNet.*smaller voxels, or take densenet121",
        ),
        ({"name": "compact", "small": True, "shape": (8, 24, 20)}, "large enough for SmallCompactNet"),
        ({"name": "compact", "shape": (80, 96)}, "shape: expected three whole numbers"),
        ({"name": "compact", "shape": (80, 96, 80.0)}, "shape: expected three whole numbers"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        stratification_network(**options)


def test_without_monai_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai", None)
    with pytest.raises(SettingsError, match=r'pip install "nnunet-ms\[classification\]"'):
        stratification_network("densenet121")
    with pytest.raises(SettingsError, match="MONAI: expected it"):
        monai("transforms")
    assert stratification_network("compact", small=True)(torch.zeros(1, 2, 40, 48, 40)).shape == (1, 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_slope(name):
    # Oracle: difference quotients. MONAI 1.6.1's own shortcut of type A passes values on, but no gradient.
    torch.manual_seed(3)
    network = stratification_network(name, small=True, shape=(20, 24, 20)).double().eval()
    x, way = torch.randn(2, 1, 2, 20, 24, 20, dtype=torch.float64)
    x.requires_grad_()
    network(x).sum().backward()
    with torch.inference_mode():
        slope = (network(x + 1e-6 * way) - network(x - 1e-6 * way)).sum() / 2e-6
    assert float((x.grad * way).sum()) == pytest.approx(float(slope), rel=1e-3)


def test_shortcuts_give_what_monais_give():
    # Oracle: MONAI's network with the same weights
    torch.manual_seed(4)
    ours = stratification_network("resnet18", small=True).eval()
    size = {"spatial_dims": 3, "n_input_channels": 2, "num_classes": 1, "shortcut_type": "A"}
    theirs = monai("networks.nets").ResNet("basic", [1] * 4, [8, 16, 32, 64], **size, conv1_t_size=3, conv1_t_stride=2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 2, 20, 24, 20)
    with torch.inference_mode():
        assert torch.equal(ours(x), theirs.eval()(x))
