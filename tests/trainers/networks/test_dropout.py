import pytest
import torch

from nnunet_ms.trainers.networks.dropout import HEAD, MaskedDropout3d, channels_of, draw_masks, dropout_layers
from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet
from nnunet_ms.trainers.networks.plain_unet import PlainUNet

ARMS = (Arm((0, 1, 2)), Arm((0,), 4), Arm((1,), 4))


@pytest.fixture(scope="module")
def network():
    return MultiArmUNet(ARMS, filters=(8, 16, 32, 64))


def test_with_masks_every_channel_is_multiplied_by_its_factor():
    layer = MaskedDropout3d(0.5).eval()
    x = torch.randn(1, 3, 2, 2, 2)
    assert torch.equal(layer(x), x)
    layer.masks = torch.tensor([[0.0, 2.0, 1.0], [1.0, 0.0, 2.0]])
    dropped = layer(x)
    assert dropped.shape == (2, 3, 2, 2, 2)
    assert torch.equal(dropped[0, 1], 2 * x[0, 1])
    assert torch.equal(dropped[1, 1], torch.zeros(2, 2, 2))


def test_checkpoints_hold_nothing_of_the_masks(network):
    layer = dropout_layers(network, "last")["decoder.blocks.0.body.3"]
    before = list(network.state_dict())
    layer.masks = torch.ones(2, 8)
    assert list(network.state_dict()) == before
    layer.masks = None


def test_sites_are_where_they_are_said_to_be(network):
    # Oracle: the network's drawing; encoders have `first` and `blocks.0-2`, the decoder `blocks.0` (finest) to 2.
    decoder = [f"decoder.blocks.{level}.body.3" for level in range(3)]
    assert list(dropout_layers(network, "last")) == decoder[:1]
    assert list(dropout_layers(network, "decoder2")) == decoder[:2]
    assert list(dropout_layers(network, "decoder")) == decoder
    assert list(dropout_layers(network, "bottleneck")) == [f"encoders.{arm}.blocks.2.body.3" for arm in range(3)]
    assert len(dropout_layers(network, "all")) == 3 * 4 + 3
    assert dropout_layers(network, "head") == {}
    assert channels_of(network, "head") == {HEAD: 8}
    assert channels_of(network, "bottleneck") == {
        f"encoders.{arm}.blocks.2.body.3": w for arm, w in enumerate((64, 16, 16))
    }


def test_the_plain_networks_bottleneck_is_its_last_encoder_block():
    plain = PlainUNet(2, filters=(4, 8, 16, 32))
    assert list(dropout_layers(plain, "bottleneck")) == ["blocks.3.body.3"]
    assert channels_of(plain, "last") == {"decoder.blocks.0.body.3": 4}


def test_masks_are_repeatable_and_do_not_depend_on_how_many_are_drawn():
    few, many = (draw_masks({"a": 16, "b": 5}, n, 0.25, seed=7) for n in (3, 30))
    assert all(torch.equal(few[name], many[name][:3]) for name in "ab")
    other = draw_masks({"a": 16, "b": 5}, 3, 0.25, seed=8)
    assert not torch.equal(few["a"], other["a"])


def test_masks_drop_with_the_probability_and_keep_the_mean():
    # Oracle: the binomial distribution; 200 000 draws, five standard errors.
    mask = draw_masks({"a": 200}, 1000, 0.1, seed=0)["a"]
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.9])
    assert (mask == 0).float().mean().item() == pytest.approx(0.1, abs=5 * (0.09 / 200_000) ** 0.5)
    assert mask.mean().item() == pytest.approx(1.0, abs=0.004)
