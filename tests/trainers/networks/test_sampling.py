"""Oracle: one whole pass of the network per sample, with the same masks."""

import pytest
import torch
from torch import nn

from nnunet_ms.trainers.networks.dropout import SITES, channels_of, draw_masks
from nnunet_ms.trainers.networks.joint_unet import JointUNet
from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet
from nnunet_ms.trainers.networks.plain_unet import PlainUNet
from nnunet_ms.trainers.networks.sampling import SplitForward, plain_logits
from tests.trainers.networks.naive_sampling import naive_samples

SMALL = (4, 8, 16, 32)


def make(kind):
    torch.manual_seed(0)
    settings = {"filters": SMALL, "deep_supervision": False, "dropout": 0.3}
    if kind == "multi":
        made = MultiArmUNet((Arm((0, 1, 2)), Arm((0,), 4), Arm((1,), 4)), **settings)
    elif kind == "gates":
        made = MultiArmUNet((Arm((0, 1, 2)),), **settings, shortcuts=(), skip_attention="gates")
    elif kind == "joint":
        made = JointUNet({"unenhancing": (0, 2), "enhancing": (0, 1, 2)}, **settings)
        for name, parameter in made.named_parameters():
            if name.endswith(".gate"):
                nn.init.constant_(parameter, 0.5)
    else:
        made = PlainUNet(3, **settings)
    made.train()
    made(torch.randn(2, 3, 8, 16, 16))  # so that the running statistics are not 0 and 1
    return made.eval()


@pytest.fixture(scope="module", params=["multi", "gates", "plain", "joint"])
def network(request):
    return make(request.param)


@pytest.fixture(scope="module")
def tile():
    return torch.randn(1, 3, 8, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("at_once", [2, 3, 10])
@pytest.mark.parametrize("site", SITES)
def test_cached_samples_equal_naive_passes(network, tile, site, at_once):
    masks = draw_masks(channels_of(network, site), 7, 0.3, seed=3)
    with torch.inference_mode():
        cached = torch.cat(list(SplitForward(network, site).samples(tile, masks, at_once)))
        expected = naive_samples(network, tile, masks)
    assert cached.shape == expected.shape == (7, 3 if isinstance(network, JointUNet) else 2, 8, 16, 16)
    scale = expected.abs().max()
    assert torch.allclose(cached / scale, expected / scale, atol=1e-5)
    assert (expected[1:] - expected[:1]).abs().max() > 1e-3  # the samples differ at all


@pytest.mark.parametrize("site", SITES)
def test_masks_of_ones_give_the_deterministic_pass(network, tile, site):
    masks = {name: torch.ones(1, width) for name, width in channels_of(network, site).items()}
    with torch.inference_mode():
        (one,) = SplitForward(network, site).samples(tile, masks, 4)
        assert torch.allclose(one, network(tile), atol=1e-4)


@pytest.mark.parametrize("site", ["last", "decoder", "bottleneck"])
def test_the_deterministic_part_runs_once(network, tile, site, monkeypatch):
    # Oracle: counting the convolutions of one image, of which every one before the site is run exactly once.
    ran = {}
    forward = nn.Conv3d._conv_forward

    def count(self, x, *rest):
        ran[id(self), x.shape[0]] = ran.get((id(self), x.shape[0]), 0) + 1
        return forward(self, x, *rest)

    monkeypatch.setattr(nn.Conv3d, "_conv_forward", count)
    masks = draw_masks(channels_of(network, site), 6, 0.3, seed=3)
    list(SplitForward(network, site).samples(tile, masks, 2))  # grads on, so that PyTorch's own routine counts
    assert {n for (_, images), n in ran.items() if images == 1} == {1}
    assert {n for (_, images), n in ran.items() if images == 2} == {3}
    assert len({layer for layer, _ in ran}) == len(ran)  # no layer runs both ways


def test_the_network_is_left_as_it_was(network, tile):
    before = plain_logits(network, tile)
    masks = draw_masks(channels_of(network, "decoder"), 2, 0.3, seed=3)
    list(SplitForward(network, "decoder").samples(tile, masks, 2))
    assert torch.equal(plain_logits(network, tile), before)
    assert not any("forward" in vars(module) for module in network.modules())


def test_an_error_inside_leaves_the_network_as_it_was(network):
    masks = draw_masks(channels_of(network, "decoder"), 2, 0.3, seed=3)
    with pytest.raises((RuntimeError, IndexError)):
        list(SplitForward(network, "decoder").samples(torch.randn(1, 1, 8, 16, 16), masks, 2))
    assert not any("forward" in vars(module) for module in network.modules())


def test_a_network_without_dropout_is_refused():
    with pytest.raises(ValueError, match="Sequential has no dropout layer at the site decoder"):
        SplitForward(nn.Sequential(nn.Conv3d(1, 1, 1)), "decoder")
