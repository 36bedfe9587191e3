"""Oracle: the network itself: with fitted weights it computes what the source computed."""

import pytest
import torch
from torch import nn

from nnunet_ms.trainers.networks.joint_unet import JointUNet
from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet
from nnunet_ms.trainers.networks.plain_unet import PlainUNet
from nnunet_ms.trainers.source_channels import fit_channels, fit_kernel, input_layers

SMALL = {"filters": (4, 6, 8), "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2))}
NETWORKS = [
    PlainUNet(3, **SMALL),
    MultiArmUNet([Arm((1, 2, 0)), Arm((1,), 2), Arm((2,), 2)], **SMALL),
    JointUNet({"unenhancing": (0, 2), "enhancing": (0, 1, 2)}, **SMALL),
]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)
def test_layers_that_read_the_image_are_those_that_a_change_of_a_channel_reaches(network):
    # Oracle: hooks. A convolution reads channel c if its input changes with c while nothing else was computed before.
    names = ["a", "b", "c"]
    found = input_layers(network, names)
    seen = {}
    image = torch.randn(1, 3, 4, 8, 8)

    def look(name):
        def hook(_module, inputs):
            x = inputs[0]
            if x.shape[2:] == image.shape[2:] and x.shape[1] <= 3:
                which = [
                    next((n for n, c in zip(names, image[0], strict=True) if torch.equal(c, one)), None) for one in x[0]
                ]
                if None not in which:
                    seen[f"{name}.weight"] = tuple(which)

        return hook

    hooks = [m.register_forward_pre_hook(look(n)) for n, m in network.named_modules() if isinstance(m, nn.Conv3d)]
    network.eval()(image)
    for hook in hooks:
        hook.remove()
    assert found == seen


def test_of_other_networks_the_first_convolution_reads_the_image():
    network = nn.Sequential(nn.Conv3d(2, 4, 3), nn.Conv3d(4, 1, 1))
    assert input_layers(network, ["FLAIR", "T1w"]) == {"0.weight": ("flair", "t1")}
    assert input_layers(nn.ReLU(), ["FLAIR"]) == {}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (("flair", "t1"), ("t1", "flair")),
        (("flair", "t1", "t2"), ("t2", "flair")),
        (("flair",), ("flair", "t1", "t2")),
        (("flair", "t1"), ("flair",)),
        (("flair", "t2"), ("flair", "t2")),
    ],
)
def test_each_channel_takes_the_weights_of_its_own_sequence(source, target):
    weight = torch.randn(5, len(source), 3, 3, 3)
    images = {name: torch.randn(1, 1, 6, 6, 6) for name in {*source, *target}}
    if len(source) == 1:  # copies of one image
        images = dict.fromkeys(images, images[source[0]])
    absent = set(source) - set(target)
    images |= {name: torch.zeros(1, 1, 6, 6, 6) for name in absent}
    fitted, told = fit_channels(weight, source, target)
    one, other = (torch.cat([images[name] for name in names], dim=1) for names in (source, target))
    expected, found = nn.functional.conv3d(one, weight), nn.functional.conv3d(other, fitted)
    assert torch.allclose(expected, found, atol=1e-5)
    assert (told == "") == (source == target)


def test_one_channel_stands_for_another_and_says_so():
    weight = torch.randn(2, 1, 3, 3, 3)
    fitted, told = fit_channels(weight, ["flair"], ["subtraction"])
    assert torch.equal(fitted, weight)
    assert told == "flair -> subtraction (the only one, as it is)"


def test_unseen_sequences_take_the_mean_and_are_named():
    weight = torch.tensor([[1.0, 5.0]])
    fitted, told = fit_channels(weight, ["t1", "t2"], ["qsm", "t2"])
    assert fitted.tolist() == [[3.0, 5.0]]
    assert told == "t1, t2 -> qsm, t2 (by name; qsm: mean of the source)"


@pytest.mark.parametrize(
    ("had", "wanted"),
    [
        ((3, 3, 3), (1, 3, 3)),
        ((3, 3, 3), (1, 1, 1)),
        ((1, 3, 3), (3, 3, 3)),
        ((1, 1, 1), (3, 5, 1)),
        ((3, 1, 3), (1, 3, 3)),
    ],
)
def test_kernels(had, wanted):
    weight = torch.randn(2, 3, *had)
    fitted, told = fit_kernel(weight, (2, 3, *wanted))
    assert fitted.shape == (2, 3, *wanted)
    averaged = tuple(axis for axis in (2, 3, 4) if had[axis - 2] > 1 and wanted[axis - 2] == 1)
    middle = fitted
    for axis in (2, 3, 4):
        if had[axis - 2] == 1 and wanted[axis - 2] > 1:
            middle = middle.narrow(axis, wanted[axis - 2] // 2, 1)
    expected = weight.mean(dim=averaged, keepdim=True) if averaged else weight
    assert torch.allclose(middle, expected)
    assert fitted.sum() == pytest.approx(expected.sum().item(), abs=1e-5)
    assert told.startswith("kernel ")


def test_kernels_that_cannot_be_fitted():
    weight = torch.randn(2, 3, 3, 3, 3)
    for shape in [(2, 4, 3, 3, 3), (2, 3, 5, 3, 3), (2, 3, 3, 3), (2, 3, 2, 3, 3)]:
        assert fit_kernel(weight, shape) is None
    assert fit_kernel(torch.randn(3), (4,)) is None
    assert fit_kernel(weight, tuple(weight.shape))[1] == ""
