"""Absent sequences: their arms are not run, and present ones give what they give without the others."""

from copy import deepcopy

import pytest
import torch

from nnunet_ms.trainers.networks.any_sequence_unet import NOTHING, AnySequenceUNet, present_channels
from nnunet_ms.trainers.networks.dropout import channels_of, draw_masks
from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet
from nnunet_ms.trainers.networks.sampling import SplitForward

ARMS = [Arm((0, 1, 2)), Arm((0,), 2), Arm((1,), 2)]
SHAPE = (8, 16, 16)


def network(seed=0, **how):
    torch.manual_seed(seed)
    made = AnySequenceUNet(ARMS, filters=(4, 8, 16, 32), dropout=0.0, **how)
    for layer in made.of_presence:
        torch.nn.init.normal_(layer.weight)
    return made


def images(present, seed=1):
    """One image per row; row says which channels it has."""
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn((len(present), 3, *SHAPE), generator=generator)
    return data * torch.tensor(present, dtype=torch.float32)[:, :, None, None, None]


def test_with_all_channels_and_no_bias_it_is_the_multi_arm_network():
    any_one, plain = network().eval(), MultiArmUNet(ARMS, filters=(4, 8, 16, 32), dropout=0.0).eval()
    for layer in any_one.of_presence:
        torch.nn.init.zeros_(layer.weight)
    plain.load_state_dict({k: v for k, v in any_one.state_dict().items() if not k.startswith("of_presence")})
    x = images([[1, 1, 1], [1, 1, 1]])
    for one, other in zip(any_one(x), plain(x), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_presence_is_that_of_each_image():
    assert present_channels(images([[1, 0, 1], [0, 1, 0]])).tolist() == [[True, False, True], [False, True, False]]


@pytest.mark.parametrize(
    "strides", [((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)), ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))]
)
def test_a_mixed_batch_gives_each_image_its_own_logits(strides):
    made = network(strides=strides).eval()
    x = images([[1, 1, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0]])
    together = made(x)
    for n in range(len(x)):
        for level, alone in zip(together, made(x[n : n + 1]), strict=True):
            torch.testing.assert_close(level[n : n + 1], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("present", "runs"),
    [([1, 1, 1], {0, 1, 2}), ([1, 0, 0], {0, 1}), ([0, 1, 0], {0, 2}), ([0, 0, 1], {0}), ([0, 0, 0], set())],
)
def test_an_absent_arm_is_not_run(present, runs):
    made, seen = network().eval(), set()
    for number, encoder in enumerate(made.encoders):
        encoder.register_forward_hook(lambda *_, number=number: seen.add(number))
    made(images([present]))
    assert seen == runs


def test_the_mask_reaches_every_level_of_the_skips():
    made = network().eval()
    made.decoder.deep_supervision = False
    x = images([[1, 0, 1]])
    before = made(x)
    for level in range(4):
        for channel, changes in ((1, False), (2, True)):  # the absent one, and one that is there
            other = deepcopy(made)
            with torch.no_grad():
                other.of_presence[level].weight[:, channel] += 5
            assert torch.equal(other(x), before) is not changes


def test_statistics_come_from_the_images_that_have_the_sequence():
    one, other = network(), network()
    x = images([[1, 1, 1], [0, 1, 1], [0, 1, 1]])
    one(x)
    other(x[:1])
    norm = "encoders.1.first.body.1.running_mean"  # the arm of channel 0
    torch.testing.assert_close(one.state_dict()[norm], other.state_dict()[norm])


def test_gradients_are_finite_and_an_absent_arm_gets_none():
    made = network()
    sum(level.square().mean() for level in made(images([[1, 0, 1], [1, 0, 0]]))).backward()
    assert all(p.grad is None for p in made.encoders[2].parameters())
    assert all(torch.isfinite(p.grad).all() for p in made.encoders[1].parameters())
    assert torch.isfinite(made.of_presence[0].weight.grad).all()


def test_processes_that_train_together_run_every_arm(monkeypatch):
    made = network()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    x = images([[1, 0, 1], [1, 0, 1]])
    sum(level.square().mean() for level in made(x)).backward()
    assert all(p.grad is not None and not p.grad.any() for p in made.encoders[2].parameters())


def test_an_empty_tile_holds_no_lesion():
    made = network().eval()
    for level in made(images([[0, 0, 0], [1, 1, 1]])):
        assert (level[0, 1:] == NOTHING).all()
        assert (level[0, 0] == 0).all()
        assert not (level[1, 1:] == NOTHING).any()


def test_samples_of_an_image_that_lacks_a_sequence():
    torch.manual_seed(0)
    made = AnySequenceUNet(ARMS, filters=(4, 8, 16, 32), dropout=0.5, deep_supervision=False).eval()
    for present in ([1, 0, 1], [0, 0, 0]):
        masks = draw_masks(channels_of(made, "all"), 3, 0.5, seed=0)
        samples = torch.cat(list(SplitForward(made, "all").samples(images([present]), masks, 2)))
        assert samples.shape == (3, 2, *SHAPE)
        assert torch.isfinite(samples).all()


@pytest.mark.parametrize(
    "present", [[[1, 1, 1], [1, 0, 0]], [[1, 0, 0], [1, 0, 1]], [[0, 1, 1], [1, 0, 1]], [[1, 1, 1]] * 2]
)
def test_what_is_absent_leaves_the_layers_after_it_channels_last(present):
    made, seen = network().train(), []
    for layer in made.projections:  # what they make of it is torch's choice, and differs with the number of threads
        layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    made(images(present))
    assert len(seen) == 4
    assert all(one.is_contiguous(memory_format=torch.channels_last_3d) for one in seen)
